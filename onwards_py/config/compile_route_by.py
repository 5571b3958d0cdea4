"""Checks of ``route_by``: targets that route to other targets."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.config.diagnostics import Path, quoted
from onwards_py.config.inherit import Reporter
from onwards_py.model.pool import Pool


def check_routes(pools: Mapping[str, Pool], reporter: Reporter) -> None:
    """Every ``route_by`` must name targets with providers, so that there are no loops."""
    for name, pool in pools.items():
        rule = pool.route_by
        if rule is None:
            continue
        at: Path = ("targets", name, "route_by")
        _check(rule.classifier, (*at, "classifier"), pools, reporter)
        _check(rule.default, (*at, "default"), pools, reporter)
        for label, target in rule.labels.items():
            _check(target, (*at, "labels", label), pools, reporter)


def _check(target: str, path: Path, pools: Mapping[str, Pool], reporter: Reporter) -> None:
    pool = pools.get(target)
    if pool is None:
        reporter.error(path, f"there is no target {quoted(target)}; there are: {', '.join(map(quoted, pools))}")
    elif pool.route_by is not None:
        reporter.error(path, f"the target {quoted(target)} has a 'route_by' itself; name a target with providers")
