"""Metrics of local models. Labels are names of the configuration, so their number is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onwards_py.transports.engine.engine import EngineState, EngineSupervisor

_LABELS = ("engine", "model")


class EngineMetrics(Collector):
    """Collects from the engines that ``engines`` returns when scraped."""

    def __init__(self, engines: Callable[[], list[EngineSupervisor]]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        """The families, without samples if there are no engines."""
        gauges: dict[str, tuple[str, Callable[[EngineSupervisor], float]]] = {
            "onwards_engine_up": (
                "1 while the model is loaded and its process runs.",
                lambda engine: engine.state is EngineState.READY,
            ),
            "onwards_engine_load_seconds": (
                "Duration of the last loading.",
                lambda engine: engine.counters.load_seconds,
            ),
            "onwards_engine_in_flight": (
                "Requests at the engine, including waiting ones.",
                lambda engine: engine.in_flight,
            ),
            "onwards_engine_waiting": ("Requests waiting for a slot.", lambda engine: engine.waiting),
            "onwards_engine_tokens_per_second": (
                "Tokens generated per second in the last response.",
                lambda engine: engine.counters.last_rate,
            ),
        }
        counters: dict[str, tuple[str, Callable[[EngineSupervisor], float]]] = {
            "onwards_engine_restarts": (
                "Automatic restarts of the process.",
                lambda engine: engine.counters.restarts,
            ),
            "onwards_engine_prompt_tokens": ("Prompt tokens processed.", lambda engine: engine.counters.prompt_tokens),
            "onwards_engine_completion_tokens": ("Tokens generated.", lambda engine: engine.counters.completion_tokens),
            "onwards_engine_prompt_seconds": (
                "Seconds of prompt processing.",
                lambda engine: engine.counters.prompt_seconds,
            ),
            "onwards_engine_completion_seconds": (
                "Seconds of generation.",
                lambda engine: engine.counters.completion_seconds,
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
