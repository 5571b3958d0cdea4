"""What outlives a reload: counters by stable identity, never by object.

A snapshot is compiled against this once per reload; requests then hold references and look nothing up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from onwards_py.config.snapshot import Snapshot
from onwards_py.limits.counters import Limiter
from onwards_py.limits.line import Schedule, at_once
from onwards_py.routing.balancer import Member
from onwards_py.routing.model import NO_LIMITS, Limits, Pool
from onwards_py.routing.table import Leads, LivePool, RouteTable


class LiveState:
    """Limiters of pools, providers and keys. ``clock`` gives monotonic seconds; ``schedule`` calls back soon, and
    serves those who wait for a limit."""

    def __init__(self, clock: Callable[[], float], schedule: Schedule = at_once) -> None:
        self._clock = clock
        self._schedule = schedule
        self._limiters: dict[tuple[str, ...], Limiter] = {}

    def compile(self, snapshot: Snapshot) -> RouteTable:
        """The route table of ``snapshot``, its counters those of equal identity so far."""
        used: dict[tuple[str, ...], Limiter] = {}
        targets = {name: self._live_pool(pool, used) for name, pool in snapshot.pools.items()}
        targets |= {name: _leading(target, targets) for name, target in targets.items() if target.pool.route_by}
        keys = {
            digest: self._limiter(used, definition.limits, "key", definition.id)
            for digest, definition in snapshot.key_definitions.items()
            if definition.limits != NO_LIMITS
        }
        # Who is no longer configured is forgotten, but not while somebody holds a permit of it, or waits for one.
        busy = {identity: limiter for identity, limiter in self._limiters.items() if limiter.busy}
        self._limiters = busy | used
        return RouteTable(targets, keys)

    def _live_pool(self, pool: Pool, used: dict[tuple[str, ...], Limiter]) -> LivePool:
        members = tuple(
            Member(provider, self._limiter(used, provider.limits, "provider", pool.name, provider.identity))
            for provider in pool.providers
        )
        limiter = self._limiter(used, pool.limits, "pool", pool.name)
        alone = len(members) == 1 and members[0].provider.weight > 0 and not pool.fallback.enabled
        return LivePool(pool, limiter, members, members[0] if alone else None)

    def _limiter(self, used: dict[tuple[str, ...], Limiter], limits: Limits, *identity: str) -> Limiter:
        limiter = self._limiters.get(identity)
        if limiter is None:
            limiter = Limiter(limits, self._clock(), self._schedule)
        else:
            limiter.adopt(limits, self._clock())
        used[identity] = limiter
        return limiter


def _leading(target: LivePool, targets: Mapping[str, LivePool]) -> LivePool:
    rule = target.pool.route_by
    assert rule is not None
    labels = {label: targets[name] for label, name in rule.labels.items()}
    return replace(target, leads=Leads(targets[rule.classifier], labels, targets[rule.default], rule.timeout))


@dataclass(frozen=True, slots=True)
class Current:
    """One generation of configuration, ready for requests. ``identifies``: it matters who calls."""

    snapshot: Snapshot
    table: RouteTable
    identifies: bool


def _current(snapshot: Snapshot, live: LiveState) -> Current:
    closed = any(pool.keys is not None for pool in snapshot.pools.values())
    return Current(snapshot, live.compile(snapshot), closed or bool(snapshot.key_definitions))


class Holder:
    """Where the present configuration is found. An exchange takes ``current`` once and keeps it."""

    __slots__ = ("_live", "current")

    def __init__(self, snapshot: Snapshot, live: LiveState) -> None:
        self._live = live
        self.current = _current(snapshot, live)

    def replace(self, snapshot: Snapshot) -> None:
        """Swap the whole configuration; exchanges in flight keep theirs."""
        self.current = _current(snapshot, self._live)
