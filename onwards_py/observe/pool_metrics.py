"""Metrics of pools: retries, hedges, health states, queues, charged tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onwards_py.limits.counters import Limiter
from onwards_py.live_state import ConfigHolder
from onwards_py.observe.log_row import LogRow
from onwards_py.routing.health import HealthState

_STATES = [state.value for state in HealthState]


class PoolMetrics(Collector):
    """Counts of exchanges, and the state of the active configuration's pools and providers at a scrape.

    ``tokens`` by target: `Metrics.record` increments them, because they apply to every exchange with a token limit.
    """

    def __init__(self, holder: ConfigHolder) -> None:
        self._holder = holder
        self._retries: Counter[str] = Counter()
        self._hedges: Counter[str] = Counter()
        self._repeats: Counter[tuple[str, str]] = Counter()
        self._over_budget: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._repaired: Counter[tuple[str, str]] = Counter()

    def record(self, row: LogRow) -> None:
        """Count an exchange with several attempts, with a repaired stream, or over its retry budget."""
        target = row.target
        retries = row.attempts - 1 - row.hedged - len(row.repeats)
        if retries > 0:
            self._retries[target] += retries
        for provider in row.repeats:
            self._repeats[target, provider] += 1
        if row.hedged:
            self._hedges[target] += 1
        if row.over_budget:
            self._over_budget[target] += 1
        if row.repaired:
            self._repaired[target, row.provider] += 1

    def collect(self) -> Iterator[Metric]:
        """The families."""
        yield _by_target("onwards_retries", "Attempts after a failed one.", self._retries)
        repeats = CounterMetricFamily(
            "onwards_repeats",
            "Requests repeated because a reused connection had failed.",
            labels=["target", "provider"],
        )
        for names, count in self._repeats.items():
            repeats.add_metric(names, count)
        yield repeats
        yield _by_target("onwards_hedges", "Exchanges with a hedged request.", self._hedges)
        yield _by_target("onwards_retry_budget_exhausted", "Exchanges that the retry budget ended.", self._over_budget)
        yield _by_target("onwards_limited_tokens", "Tokens charged to exchanges with a token limit.", self.tokens)
        repaired = CounterMetricFamily(
            "onwards_repaired_answers", "Streams that 'repair' changed.", labels=["target", "provider"]
        )
        for names, count in self._repaired.items():
            repaired.add_metric(names, count)
        yield repaired
        yield from self._providers()
        yield self._waiting()

    def _providers(self) -> Iterator[Metric]:
        labels = ["target", "provider"]
        states = GaugeMetricFamily(
            "onwards_provider_state", "1 for the current state of the provider.", labels=[*labels, "state"]
        )
        ejections = CounterMetricFamily("onwards_provider_ejections", "Ejections of the provider.", labels=labels)
        for target in self._holder.current.table.targets:
            for endpoint in target.endpoints:
                if endpoint.health is None:
                    continue
                names = [target.pool.name, endpoint.provider.name]
                for state in _STATES:
                    states.add_metric([*names, state], float(endpoint.health.state.value == state))
                ejections.add_metric(names, endpoint.health.ejections)
        yield from (states, ejections)

    def _waiting(self) -> Metric:
        waiting = GaugeMetricFamily(
            "onwards_waiting", "Exchanges in the admission queue of a limit.", labels=["target", "provider"]
        )
        for target in self._holder.current.table.targets:
            own: tuple[tuple[str, Limiter], ...] = (("", target.limiter),)
            endpoints = ((endpoint.provider.name, endpoint.limiter) for endpoint in target.endpoints)
            for name, limiter in chain(own, endpoints):
                if limiter.queue is not None:
                    waiting.add_metric([target.pool.name, name], limiter.queue.waiting)
        return waiting


def _by_target(name: str, documentation: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=["target"])
    for target, count in counts.items():
        family.add_metric([target], count)
    return family
