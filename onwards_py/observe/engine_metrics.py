"""Metrics of local models. Labels are what the configuration names, so their number is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onwards_py.transports.engine.engine import Engine, State

_LABELS = ("engine", "model")


class EngineMetrics(Collector):
    """Collects from the engines that ``engines`` returns when scraped."""

    def __init__(self, engines: Callable[[], list[Engine]]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        """The families; without samples where there are no engines."""
        gauges: dict[str, tuple[str, Callable[[Engine], float]]] = {
            "onwards_engine_up": (
                "1 while the model is loaded and its process runs.",
                lambda engine: engine.state is State.READY,
            ),
            "onwards_engine_load_seconds": (
                "What loading took the last time.",
                lambda engine: engine.tally.load_seconds,
            ),
            "onwards_engine_in_flight": (
                "Requests at the engine, waiting ones included.",
                lambda engine: engine.in_flight,
            ),
            "onwards_engine_waiting": ("Requests that wait for a slot.", lambda engine: engine.waiting),
            "onwards_engine_tokens_per_second": (
                "Tokens made per second in the last answer.",
                lambda engine: engine.tally.last_rate,
            ),
        }
        counters: dict[str, tuple[str, Callable[[Engine], float]]] = {
            "onwards_engine_restarts": (
                "Times the process was started again by itself.",
                lambda engine: engine.tally.restarts,
            ),
            "onwards_engine_prompt_tokens": ("Tokens read.", lambda engine: engine.tally.prompt_tokens),
            "onwards_engine_completion_tokens": ("Tokens made.", lambda engine: engine.tally.completion_tokens),
            "onwards_engine_prompt_seconds": (
                "Seconds spent reading tokens.",
                lambda engine: engine.tally.prompt_seconds,
            ),
            "onwards_engine_completion_seconds": (
                "Seconds spent making tokens.",
                lambda engine: engine.tally.completion_seconds,
            ),
        }
        engines = self._engines()
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=_LABELS)
            for engine in engines:
                gauge.add_metric((engine.settings.engine, engine.name), value(engine))
            yield gauge
        for name, (text, value) in counters.items():
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            for engine in engines:
                counter.add_metric((engine.settings.engine, engine.name), value(engine))
            yield counter
