"""``routing_rules``: their compilation and checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from onwards_py.auth import Principal
from onwards_py.config.diagnostics import Path, did_you_mean, quoted
from onwards_py.config.inherit import Reporter
from onwards_py.config.schema import FileShape, RoutingActionShape, RoutingRuleShape, TargetShape
from onwards_py.model.policies import RoutingRule
from onwards_py.model.pool import KeyDefinition, Pool
from onwards_py.routing.rules import first_match, matches, may_use


def compile_rules(shapes: Sequence[RoutingRuleShape] | None) -> tuple[RoutingRule, ...]:
    """The rules of one target; `check_rules` reports their errors."""
    return tuple(
        RoutingRule(dict(shape.match_labels), shape.action.target if shape.action.type == "redirect" else None)
        for shape in shapes or ()
    )


def check_rules(file: FileShape, definitions: Iterable[KeyDefinition], reporter: Reporter) -> None:
    """Check every rule once, where it is written, even if many targets inherit it."""
    labels = _distinct_labels(definitions)
    for name, target in file.targets.items():
        if isinstance(target, TargetShape):
            _check(target.routing_rules, ("targets", name), file, labels, reporter)
    if file.defaults is not None:
        _check(file.defaults.routing_rules, ("defaults",), file, labels, reporter)


def warn_about_dead_ends(pools: Mapping[str, Pool], callers: Sequence[Principal], reporter: Reporter) -> None:
    """Warn about redirects to a target that rejects all keys that match the rule."""
    for name, pool in pools.items():
        if not pool.rules:
            continue
        matched = [(rule, caller) for caller in callers if (rule := _matching_rule(pool, caller)) is not None]
        for number, rule in enumerate(pool.rules):
            there = pools.get(rule.redirect or "")
            concerned = [caller for other, caller in matched if other is rule]
            if there is not None and concerned and not any(may_use(there, caller) for caller in concerned):
                at = ("targets", name, "routing_rules", number, "action", "target")
                reporter.warn(at, "this target accepts none of the keys that the rule matches")


def _matching_rule(pool: Pool, caller: Principal) -> RoutingRule | None:
    """The rule of ``pool`` that matches this client; None if there is none, or the pool rejects the client."""
    if caller.definition is None or not may_use(pool, caller):
        return None
    return first_match(pool.rules, caller.definition.labels)


def _distinct_labels(definitions: Iterable[KeyDefinition]) -> list[Mapping[str, str]]:
    """The distinct sets of labels of all keys."""
    return list({frozenset(definition.labels.items()): definition.labels for definition in definitions}.values())


def _check(
    rules: Sequence[RoutingRuleShape] | None,
    level: Path,
    file: FileShape,
    labels: Sequence[Mapping[str, str]],
    reporter: Reporter,
) -> None:
    for number, shape in enumerate(rules or ()):
        at = (*level, "routing_rules", number)
        _check_action(shape.action, (*at, "action"), level, file, reporter)
        if shape.match_labels and not any(matches(shape.match_labels, some) for some in labels):
            reporter.warn((*at, "match_labels"), "never matches: no key definition has these labels")
        if not shape.match_labels and number + 1 < len(rules or ()):
            reporter.warn(
                (*level, "routing_rules", number + 1), "is never reached: the rule before it matches every key"
            )


def _check_action(action: RoutingActionShape, path: Path, level: Path, file: FileShape, reporter: Reporter) -> None:
    if action.type == "deny":
        if action.target is not None:
            reporter.error((*path, "target"), "has no meaning for 'deny'")
    elif action.target is None:
        if not reporter.has_key((*path, "target")):
            reporter.error(path, "'redirect' needs a 'target'")
    elif not reporter.has_key(("targets", action.target)):
        hint = did_you_mean(action.target, file.targets)
        reporter.error((*path, "target"), f"there is no target {quoted(action.target)}{hint}")
    elif level == ("targets", action.target):
        reporter.error((*path, "target"), "is the target that the rule belongs to")
