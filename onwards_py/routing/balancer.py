"""Choosing an endpoint: a pure function of health, load, latency and a random number."""

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

    ``health`` None: it is never ejected. ``latency`` None: the pool's strategy does not need it. ``salt``: the
    provider's part of the rendezvous hash. ``duplicates``: other endpoints of the pool with the same provider, which
    share its health.
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
    """An available endpoint that is not in ``without``; None if there is none. Changes no state.

    A ``key`` is resolved by affinity. Otherwise the strategy decides: weighted_random takes the lowest load per weight,
    so that long streams divert new requests, and draws by weight among equals; least_inflight ignores weights in the
    load; priority takes the first; p2c the cheaper one of two.
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
    """`choose` for nearly all requests, at a quarter of its cost: without ejected, limited or drained endpoints, and
    without an affinity key. None: this case does not apply."""
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
            # Reservoir sampling: each of the equal ones is kept with the probability of its weight.
            drawn_from += weight
            if random() * drawn_from < weight:
                chosen = endpoint
    if chosen is None or by_weight:
        return chosen
    if strategy is _PRIORITY:
        return endpoints[0]
    return _cheaper_of_two(endpoints, random, now) if strategy is _P2C and len(endpoints) > 1 else chosen


def candidates(endpoints: Sequence[Endpoint], now: float, without: Collection[Endpoint] = ()) -> list[Endpoint]:
    """The available endpoints: not drained (weight 0), not full, not in ``without``, and healthy or due for a probe.

    If no endpoint at all is healthy or due, also none that is full or in ``without``, excluded ones are returned, so
    that the pool always serves. A full healthy endpoint is no reason to use an ejected one.
    """
    free: list[Endpoint] = []
    out: list[Endpoint] = []
    any_available = False
    for endpoint in endpoints:
        if not endpoint.provider.weight:
            continue
        health = endpoint.health
        is_available = health is None or health.excluded_until <= now
        any_available = any_available or is_available
        if not endpoint.limiter.full and endpoint not in without:
            (free if is_available else out).append(endpoint)
    return free if any_available else _least_excluded(out)


def _least_excluded(out: list[Endpoint]) -> list[Endpoint]:
    """The endpoints to use if all are excluded: the one that is due first, then those with a running probe, and then
    those that fail their health checks."""
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
    """The endpoint with the highest score among those with less than ``max_load`` times their fair share of all
    exchanges, this one included (bounded load: a popular key does not overload its provider)."""
    total = sum(endpoint.limiter.in_flight for endpoint in free) + 1
    share = affinity.max_load * total / sum(endpoint.provider.weight for endpoint in free)
    below_share = [endpoint for endpoint in free if endpoint.limiter.in_flight < share * endpoint.provider.weight]
    return max(below_share or free, key=lambda endpoint: score(key, endpoint.salt, endpoint.provider.weight))


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
