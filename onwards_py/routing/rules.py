"""Routing rules: what the labels of the presented key mean for a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onwards_py.routing.model import RoutingRule


def matches(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """True if ``labels`` have every pair of ``wanted``."""
    return wanted.items() <= labels.items()


def first_match(rules: Sequence[RoutingRule], labels: Mapping[str, str]) -> RoutingRule | None:
    """The first rule that concerns a key with ``labels``; None: nothing is said of it."""
    for rule in rules:
        if matches(rule.labels, labels):
            return rule
    return None
