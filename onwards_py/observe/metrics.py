"""Every metric, in one place. Labels come from closed sets: configured names, status classes, outcomes.

An exchange increments a few plain numbers; a scrape converts them to Prometheus' format.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from onwards_py.live_state import ConfigHolder
from onwards_py.observe.log_row import LogRow
from onwards_py.observe.outcomes import RULE, Outcome
from onwards_py.observe.pool_metrics import PoolMetrics

DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
ROUTE_BY_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FIRST_BYTE_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0,
                      20.0, 30.0, 45.0, 60.0)  # fmt: skip
_MOST_PARTS = 500
_CLASSES = {0: "none", 1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


class Histogram:
    """Counts per bucket (not cumulative; one more for values beyond the last bound) and a sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def cumulative(self) -> list[tuple[str, float]]:
        """The buckets in Prometheus' format."""
        rows: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            running += count
            rows.append((str(bound), running))
        return rows


class Series:
    """The counts of one target and provider."""

    __slots__ = ("duration", "first_byte", "requests")

    def __init__(self) -> None:
        self.requests: dict[tuple[int, Outcome], int] = {}
        self.duration = Histogram(DURATION_BUCKETS)
        self.first_byte = Histogram(FIRST_BYTE_BUCKETS)


class Metrics(Collector):
    """Counts exchanges; collects for Prometheus. The callables are called at a scrape."""

    def __init__(
        self,
        holder: ConfigHolder,
        *,
        in_flight: Callable[[], int],
        dropped_lines: Callable[[], int],
        open_connections: Callable[[], int],
        refused_connections: Callable[[], int],
    ) -> None:
        self._holder = holder
        self._in_flight = in_flight
        self._dropped_lines = dropped_lines
        self._open_connections = open_connections
        self._refused_connections = refused_connections
        self._series: dict[tuple[str, str], Series] = {}
        self._dropped: dict[tuple[str, str], int] = {}
        self._routed: dict[tuple[str, str, str], int] = {}
        self._route_by: dict[str, Histogram] = {}
        self.pools = PoolMetrics(holder)
        self.before_collect: Callable[[], None] = _nothing

    def record(self, row: LogRow) -> None:
        """Count one exchange. ``target`` is empty unless a configured target was resolved, so names stay bounded."""
        series = self._series.get((row.target, row.provider))
        if series is None:
            series = self._series[row.target, row.provider] = Series()
        result = (row.status // 100, row.outcome)
        series.requests[result] = series.requests.get(result, 0) + 1
        # Histogram.observe is inlined here, because this runs for every request.
        value = row.ended - row.began
        series.duration.counts[bisect_left(DURATION_BUCKETS, value)] += 1
        series.duration.total += value
        if row.committed:
            value = row.committed - row.began
            series.first_byte.counts[bisect_left(FIRST_BYTE_BUCKETS, value)] += 1
            series.first_byte.total += value
        if row.limited_tokens is not None:
            self.pools.tokens[row.target] += row.limited_tokens
        if row.attempts > 1 or row.over_budget or row.repaired:
            self.pools.record(row)
        if row.routed_from:
            self._count_routed(row)
        for part in row.dropped:
            self._count_dropped(row.target, part)

    def _count_dropped(self, target: str, part: str) -> None:
        """Names of parts may come from a request, so their number is bounded."""
        key = (target, part)
        if key not in self._dropped and len(self._dropped) >= _MOST_PARTS:
            key = (target, "other")
        self._dropped[key] = self._dropped.get(key, 0) + 1

    def _count_routed(self, row: LogRow) -> None:
        key = (row.routed_from, row.target, row.reason)
        self._routed[key] = self._routed.get(key, 0) + 1
        if row.reason == RULE:
            return
        histogram = self._route_by.get(row.routed_from)
        if histogram is None:
            histogram = self._route_by[row.routed_from] = Histogram(ROUTE_BY_BUCKETS)
        histogram.counts[bisect_left(ROUTE_BY_BUCKETS, row.route_by_seconds)] += 1
        histogram.total += row.route_by_seconds

    def collect(self) -> Iterator[Metric]:
        """The metric families in Prometheus' format; ``before_collect`` is called first."""
        self.before_collect()
        labels = ["target", "provider"]
        requests = CounterMetricFamily(
            "onwards_requests", "Completed exchanges.", labels=[*labels, "status_class", "outcome"]
        )
        duration = HistogramMetricFamily(
            "onwards_request_duration_seconds", "Time from the complete request to the last byte.", labels=labels
        )
        first_byte = HistogramMetricFamily(
            "onwards_first_byte_seconds", "Time from the complete request to the response head.", labels=labels
        )
        for key, series in self._series.items():
            for (status_class, outcome), count in series.requests.items():
                requests.add_metric([*key, _CLASSES[status_class], outcome], count)
            duration.add_metric(key, buckets=series.duration.cumulative(), sum_value=series.duration.total)
            first_byte.add_metric(key, buckets=series.first_byte.cumulative(), sum_value=series.first_byte.total)
        yield from (requests, duration, first_byte)
        routed = CounterMetricFamily(
            "onwards_route_by",
            "Exchanges that a classifier or a routing rule sent to another target.",
            labels=["target", "to", "reason"],
        )
        route_by_time = HistogramMetricFamily(
            "onwards_route_by_seconds",
            "Time until the classifier's label, its failure or its timeout.",
            labels=["target"],
        )
        dropped = CounterMetricFamily(
            "onwards_translate_dropped",
            "Parts of requests and answers that could not be translated.",
            labels=["target", "part"],
        )
        for dropped_key, count in self._dropped.items():
            dropped.add_metric(dropped_key, count)
        yield dropped
        for routed_key, count in self._routed.items():
            routed.add_metric(routed_key, count)
        for source, histogram in self._route_by.items():
            route_by_time.add_metric([source], buckets=histogram.cumulative(), sum_value=histogram.total)
        yield from (routed, route_by_time)
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("onwards_requests_in_flight", "Exchanges in flight.", value=self._in_flight())
        targets = GaugeMetricFamily("onwards_target_in_flight", "Permits in use per target.", labels=["target"])
        providers = GaugeMetricFamily(
            "onwards_provider_in_flight", "Permits in use per provider.", labels=["target", "provider"]
        )
        for target in self._holder.current.table.targets:
            targets.add_metric([target.pool.name], target.limiter.in_flight)
            for endpoint in target.endpoints:
                providers.add_metric([target.pool.name, endpoint.provider.name], endpoint.limiter.in_flight)
        yield from (targets, providers)
        yield GaugeMetricFamily("onwards_connections", "Open client connections.", value=self._open_connections())
        yield CounterMetricFamily(
            "onwards_connections_refused",
            "Rejected client connections: too many, or no file descriptor left.",
            value=self._refused_connections(),
        )
        yield CounterMetricFamily(
            "onwards_access_log_lines_dropped",
            "Access-log lines dropped because the queue was full, or could not be written.",
            value=self._dropped_lines(),
        )


def _nothing() -> None:
    """The default of ``before_collect``."""
