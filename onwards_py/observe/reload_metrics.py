"""Metrics of the configuration: the active file, and the results of reloads."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from onwards_py.config.reload import ReloadStatus

_DIGITS = 16  # enough digits to distinguish files


class ReloadMetrics(Collector):
    """Collects from ``status`` at a scrape."""

    def __init__(self, status: ReloadStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """The families. The info has one series, of the active file."""
        status = self._status
        reloads = CounterMetricFamily("onwards_config_reloads", "Reloads of the configuration.", labels=["result"])
        for result, count in status.results.items():
            reloads.add_metric([result], count)
        yield reloads
        yield GaugeMetricFamily(
            "onwards_config_last_reload_successful",
            "0 while the files contain an invalid configuration.",
            value=status.last_error is None,
        )
        yield GaugeMetricFamily(
            "onwards_config_applied_timestamp_seconds",
            "Time at which the active configuration was applied.",
            value=status.applied_at,
        )
        yield InfoMetricFamily("onwards_config", "The active file.", value={"sha256": status.sha256[:_DIGITS]})
