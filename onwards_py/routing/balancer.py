"""Choosing a provider: a pure function of who is in, who is busy, what is known of them, and a random number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, assert_never

from onwards_py.limits.counters import Limiter
from onwards_py.messages import Random
from onwards_py.model.policies import Affinity, Strategy
from onwards_py.model.provider import Provider
from onwards_py.routing.affinity import salt_of, score
from onwards_py.routing.health import Health, HealthState
from onwards_py.routing.latency import PeakEwma

_P2C: Final = Strategy.P2C
_PRIORITY: Final = Strategy.PRIORITY
_WEIGHTED_RANDOM: Final = Strategy.WEIGHTED_RANDOM


class Endpoint:
    """A provider with its live state: ``limiter.in_flight`` counts exchanges until their last byte.

    ``health`` None: it is never left out. ``latency`` None: the pool's strategy does not ask. ``salt``: what it puts
    into rendezvous hashing. ``duplicates``: other endpoints of the pool that are the same provider, listed again; they
    have one health.
    """

    __slots__ = ("duplicates", "health", "latency", "limiter", "provider", "salt", "weight")

    def __init__(
        self, provider: Provider, limiter: Limiter, health: Health | None = None, latency: PeakEwma | None = None
    ) -> None:
        self.provider = provider
        self.weight = provider.weight
        self.limiter = limiter
        self.health = health
        self.latency = latency
        self.salt = salt_of(provider.identity)
        self.duplicates: tuple[Endpoint, ...] = ()


def choose(
    strategy: Strategy,
    endpoints: Sequence[Endpoint],
    random: Random,
    now: float = 0.0,
    *,
    without: Collection[Endpoint] = (),
    affinity: Affinity | None = None,
    key: bytes | None = None,
) -> Endpoint | None:
    """One of ``endpoints`` that may be asked and is not in ``without``; None if there is none. Nothing is changed.

    ``random`` gives numbers in [0, 1). A ``key`` goes where affinity leads; without one the strategy decides:
    weighted_random takes the lowest load per weight, so that long streams steer new work elsewhere, and draws by weight
    among equals; least_inflight ignores weights in the load; priority takes the first; p2c the cheaper one of two.
    """
    free = candidates(endpoints, now, without)
    if len(free) < 2:
        return free[0] if free else None
    if key is not None and affinity is not None:
        return _by_key(free, affinity, key)
    if strategy is Strategy.PRIORITY:
        return free[0]
    if strategy is Strategy.WEIGHTED_RANDOM:
        loads = [endpoint.limiter.in_flight / endpoint.provider.weight for endpoint in free]
    elif strategy is Strategy.LEAST_INFLIGHT:
        loads = [float(endpoint.limiter.in_flight) for endpoint in free]
    elif strategy is Strategy.P2C:
        return _cheaper_of_two(free, random, now)
    else:
        assert_never(strategy)
    lowest = min(loads)
    equals = [endpoint for endpoint, load in zip(free, loads, strict=True) if load == lowest]
    return _draw(equals, random) if len(equals) > 1 else equals[0]


def choose_fast_path(strategy: Strategy, endpoints: Sequence[Endpoint], random: Random, now: float) -> Endpoint | None:
    """`choose` for the case of nearly all requests, at a quarter of its price: nobody is out, limited or drained, and
    no key is to be followed. None: that is not so."""
    by_weight = strategy is _WEIGHTED_RANDOM
    chosen: Endpoint | None = None
    lowest = drawn_from = 0.0
    for endpoint in endpoints:
        limiter, weight, health = endpoint.limiter, endpoint.weight, endpoint.health
        if limiter.bounded or not weight or (health is not None and health.excluded_until):
            return None
        load = limiter.in_flight / weight if by_weight else limiter.in_flight
        if chosen is None or load < lowest:
            chosen, lowest, drawn_from = endpoint, load, weight
        elif load == lowest:
            # Each of those that are equal so far is kept with the probability that its weight gives it.
            drawn_from += weight
            if random() * drawn_from < weight:
                chosen = endpoint
    if chosen is None or by_weight:
        return chosen
    if strategy is _PRIORITY:
        return endpoints[0]
    return _cheaper_of_two(endpoints, random, now) if strategy is _P2C and len(endpoints) > 1 else chosen


def candidates(endpoints: Sequence[Endpoint], now: float, without: Collection[Endpoint] = ()) -> list[Endpoint]:
    """Who may be asked: not drained (weight 0), with a free place, not in ``without``, and in, or due for a probe.

    Never the last: if nobody of ``endpoints`` is in, not even one that is full or in ``without``, those that are out
    may be asked. That one is full is no reason to ask one that is ejected: it would be the wrong cure.
    """
    free: list[Endpoint] = []
    out: list[Endpoint] = []
    anyone_in = False
    for endpoint in endpoints:
        if not endpoint.provider.weight:
            continue
        health = endpoint.health
        is_in = health is None or health.excluded_until <= now
        anyone_in = anyone_in or is_in
        if not endpoint.limiter.full and endpoint not in without:
            (free if is_in else out).append(endpoint)
    return free if anyone_in else _soonest(out)


def _soonest(out: list[Endpoint]) -> list[Endpoint]:
    """Whom to ask if all are out: who would be due first; those who are being tried already come after those who are
    not, and those that checks call down come last."""
    timed: Endpoint | None = None
    trying: list[Endpoint] = []
    due = 0.0
    for endpoint in out:
        health = endpoint.health
        if health is None or health.state is HealthState.UNHEALTHY:
            continue
        if health.state is HealthState.PROBATION:
            trying.append(endpoint)
        elif timed is None or health.excluded_until < due:
            timed, due = endpoint, health.excluded_until
    return [timed] if timed is not None else trying or out


def _by_key(free: list[Endpoint], affinity: Affinity, key: bytes) -> Endpoint:
    """The one with the highest score among those that have less than ``max_load`` times their fair share of all that
    is in flight and this one (bounded load: a popular key does not sink its provider)."""
    total = sum(endpoint.limiter.in_flight for endpoint in free) + 1
    share = affinity.max_load * total / sum(endpoint.provider.weight for endpoint in free)
    roomy = [endpoint for endpoint in free if endpoint.limiter.in_flight < share * endpoint.provider.weight]
    return max(roomy or free, key=lambda endpoint: score(key, endpoint.salt, endpoint.provider.weight))


def _cheaper_of_two(free: Sequence[Endpoint], random: Random, now: float) -> Endpoint:
    first = int(random() * len(free))
    second = int(random() * (len(free) - 1))
    one, other = free[first], free[second + (second >= first)]
    return one if _cost(one, now) <= _cost(other, now) else other


def _cost(endpoint: Endpoint, now: float) -> float:
    in_flight, weight = endpoint.limiter.in_flight, endpoint.provider.weight
    return endpoint.latency.cost(now, in_flight, weight) if endpoint.latency is not None else in_flight / weight


def _draw(endpoints: Sequence[Endpoint], random: Random) -> Endpoint:
    point = random() * sum(endpoint.provider.weight for endpoint in endpoints)
    for endpoint in endpoints:
        point -= endpoint.provider.weight
        if point < 0:
            return endpoint
    return endpoints[-1]
