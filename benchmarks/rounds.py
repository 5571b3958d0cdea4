"""Unary and stream rounds: peers take turns (A B C, A B C, ...), the median round counts."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks import fleet, traffic
from benchmarks.load import LoadError, StreamLoad, Tally, UnaryLoad
from benchmarks.processes import Running


@dataclass(frozen=True, slots=True)
class UnaryPlan:
    """``requests`` in each round over ``connections``; ``rate`` in requests per second, None: closed loop."""

    rounds: int
    requests: int
    connections: int = 64
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """``streams`` at once in each round, each with ``events``, one every ``interval_ms`` milliseconds."""

    rounds: int
    streams: int = 200
    events: int = 50
    interval_ms: int = 25


@dataclass(slots=True)
class Row:
    """What one peer cost. ``cpu_us`` per unit and round; latencies in milliseconds; memory in bytes."""

    name: str
    cpu_us: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    rss: int = 0
    failed: int = 0

    @property
    def cpu(self) -> float:
        """CPU µs per unit: the median round."""
        return statistics.median(self.cpu_us)

    def ratio_to(self, other: Row) -> float:
        """Return the median of the ratios of rounds that ran next to each other."""
        return statistics.median(mine / its for mine, its in zip(self.cpu_us, other.cpu_us, strict=False))

    def add(self, tally: Tally) -> None:
        """Take in one round."""
        self.failed += tally.failed + tally.unanswered
        self.cpu_us.append(tally.cpu_ns / 1000 / max(tally.units, 1))
        self.p50_ms.append(tally.percentile(0.50) * 1000)
        self.p99_ms.append(tally.percentile(0.99) * 1000)
        self.per_second.append(tally.units / tally.seconds)


def unary(
    peers: dict[str, Running], plan: UnaryPlan, requests: Mapping[str, Sequence[bytes]] | None = None
) -> list[Row]:
    """Measure whole answers. The first, shorter round warms up and is not counted.

    ``requests`` are sent in turn to the peer of that name instead of the usual one.
    """
    given = requests or {}

    def one(name: str, share: float) -> Tally:
        peer = peers[name]
        count = max(plan.connections, int(plan.requests * share))
        request = given.get(name) or traffic.chat_request(peer.port)
        work = UnaryLoad(peer.port, request, connections=plan.connections, count=count, rate=plan.rate)
        return fleet.run(work.run(peer.cpu_ns))

    return _take_turns(peers, plan.rounds, one)


def streams(peers: dict[str, Running], plan: StreamPlan) -> list[Row]:
    """Measure event streams. The first, shorter round warms up and is not counted."""

    def one(name: str, share: float) -> Tally:
        peer = peers[name]
        events = max(2, int(plan.events * share))
        work = StreamLoad(peer.port, streams=plan.streams, events=events, interval_ms=plan.interval_ms)
        return fleet.run(work.run(peer.cpu_ns))

    return _take_turns(peers, plan.rounds, one)


def _take_turns(peers: dict[str, Running], rounds: int, one: Callable[[str, float], Tally]) -> list[Row]:
    rows = {name: Row(name) for name in peers}
    for number in range(rounds + 1):
        for name in list(rows):
            gc.collect()
            try:
                tally = one(name, 0.25 if number == 0 else 1.0)
            except LoadError as error:
                fleet.say(f"-- {name} fell out in round {number}: {error}")
                del rows[name]
                continue
            if number:
                rows[name].add(tally)
    for name, row in rows.items():
        row.rss = peers[name].rss_bytes()
    return list(rows.values())
