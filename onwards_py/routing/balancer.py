"""Choosing a provider: a pure function of who is free, who is busy, and a random number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import assert_never

from onwards_py.limits.counters import Limiter
from onwards_py.routing.model import Provider, Strategy


class Member:
    """A provider with its live state: ``limiter.in_flight`` counts exchanges until their last byte."""

    __slots__ = ("limiter", "provider")

    def __init__(self, provider: Provider, limiter: Limiter) -> None:
        self.provider = provider
        self.limiter = limiter


def choose(strategy: Strategy, members: Sequence[Member], random: Callable[[], float]) -> Member | None:
    """One of ``members`` that has a free place and is not drained (weight 0); None if there is none.

    ``random`` gives numbers in [0, 1). weighted_random takes the lowest load per weight, so that long streams steer
    new work elsewhere, and draws by weight among equals; least_inflight ignores weights in the load; priority takes
    the first.
    """
    if len(members) == 1:
        only = members[0]
        return None if only.limiter.full or not only.provider.weight else only
    free = [member for member in members if member.provider.weight > 0 and not member.limiter.full]
    if len(free) < 2:
        return free[0] if free else None
    if strategy is Strategy.PRIORITY:
        return free[0]
    if strategy is Strategy.WEIGHTED_RANDOM:
        loads = [member.limiter.in_flight / member.provider.weight for member in free]
    elif strategy is Strategy.LEAST_INFLIGHT:
        loads = [float(member.limiter.in_flight) for member in free]
    else:
        assert_never(strategy)
    lowest = min(loads)
    equals = [member for member, load in zip(free, loads, strict=True) if load == lowest]
    return _draw(equals, random) if len(equals) > 1 else equals[0]


def _draw(members: Sequence[Member], random: Callable[[], float]) -> Member:
    point = random() * sum(member.provider.weight for member in members)
    for member in members:
        point -= member.provider.weight
        if point < 0:
            return member
    return members[-1]
