"""Access of a caller to a target: by the keys of the target, and by its rules on labels of keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onwards_py.auth import Principal
from onwards_py.model.policies import RoutingRule
from onwards_py.model.pool import Pool


def may_use(pool: Pool, principal: Principal) -> bool:
    """True if the target's keys, and the targets that the caller's key is limited to, allow the access."""
    if pool.keys is not None and principal.digest not in pool.keys:
        return False
    definition = principal.definition
    return definition is None or definition.targets is None or pool.name in definition.targets


def matches(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """True if ``labels`` have every pair of ``wanted``."""
    return wanted.items() <= labels.items()


def first_match(rules: Sequence[RoutingRule], labels: Mapping[str, str]) -> RoutingRule | None:
    """The first rule that matches ``labels``; None if no rule does."""
    for rule in rules:
        if matches(rule.labels, labels):
            return rule
    return None
