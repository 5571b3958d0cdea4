"""Metrics: the names and labels that are documented, bounded labels, and sums that are right."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from support.tables import table

from onwards_py.config.parse import parse
from onwards_py.live_state import ConfigHolder, LiveState
from onwards_py.model.provider import EngineSettings
from onwards_py.observe.engine_metrics import EngineMetrics
from onwards_py.observe.log_row import LogRow
from onwards_py.observe.metrics import DURATION_BUCKETS, FIRST_BYTE_BUCKETS, Histogram, Metrics
from onwards_py.observe.outcomes import OUTCOMES, Outcome
from onwards_py.transports.engine.engine import EngineSupervisor

CONFIG = """
targets:
  a:
    rate_limit: {requests_per_second: 100}
    on_limit: queue
    providers: [{url: 'http://one/v1'}, {url: 'http://two/v1', name: second}]
  b: {local: {engine: echo}}
"""


def make() -> Metrics:
    holder = ConfigHolder(parse(CONFIG, "targets.yaml", {}).snapshot, LiveState(lambda: 0.0))
    return Metrics(
        holder, in_flight=lambda: 5, dropped_lines=lambda: 3, open_connections=lambda: 7, refused_connections=lambda: 2
    )


@pytest.fixture
def metrics() -> Metrics:
    return make()


@dataclass
class Ended:
    """An exchange as it ended."""

    status: int = 200
    outcome: Outcome = "done"
    target: str = "a"
    provider: str = "second"
    seconds: float = 0.0
    head_after: float | None = None
    via: str = ""
    dropped: tuple[str, ...] = ()


def count(metrics: Metrics, *exchanges: Ended) -> None:
    for number, made in enumerate(exchanges):
        began = 1000.0 + number
        committed = 0.0 if made.head_after is None else began + made.head_after
        row = LogRow(
            began,
            committed,
            began + made.seconds,
            b"POST",
            b"/v1/x",
            "",
            0,
            target=made.target,
            provider=made.provider,
            status=made.status,
            outcome=made.outcome,
            routed_from=made.via,
            reason="label",
            dropped=made.dropped,
        )
        metrics.record(row)


def families(metrics: Metrics) -> dict[str, Metric]:
    """By the name that is documented."""
    return {m.name + ("_total" if m.type == "counter" else ""): m for m in metrics.collect()}


def documented(section: str | None = None) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels by name."""
    rows = table("reference/metrics.md", "name", section)
    return {row[0]: (row[1], frozenset(filter(None, row[2].split(", ")))) for row in rows}


def existing(found: dict[str, Metric]) -> dict[str, tuple[str, frozenset[str]]]:
    """The same of the code."""
    return {
        name: (family.type, frozenset(label for sample in family.samples for label in sample.labels) - {"le"})
        for name, family in found.items()
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry.get_sample_value(name, labels)


def test_the_documented_metrics_are_those_that_exist(metrics: Metrics) -> None:
    """Name, type and labels of docs/reference/metrics.md, both ways."""
    count(metrics, Ended(via="auto", dropped=("truncation",)))
    assert documented() == existing(families(metrics))


def test_the_documented_metrics_of_pools_are_those_that_exist() -> None:
    """The same for the second table, by a pool of two, and one exchange that had everything."""
    metrics = make()
    pools = metrics.pools
    row = LogRow(
        1000.0,
        0.0,
        1001.0,
        b"POST",
        b"/",
        "",
        0,
        target="a",
        provider="second",
        attempts=6,
        limited_tokens=17,
        hedged=1,
        repeats=("p", "p"),
        over_budget=True,
        repaired=True,
    )
    metrics.record(row)
    found = {m.name + ("_total" if m.type == "counter" else ""): m for m in pools.collect()}
    assert documented("## Pools and limits") == existing(found)
    told = {name: [sample.value for sample in found[name].samples] for name in found}
    assert (told["onwards_retries_total"], told["onwards_limited_tokens_total"]) == ([2], [17])
    assert sum(told["onwards_provider_state"]) == 2, "each provider is in one state"


async def test_the_documented_metrics_of_local_models_are_those_that_exist() -> None:
    """The same for the second table, by an engine that was never started."""
    engine = EngineSupervisor(EngineSettings("llama_cpp", "small.gguf"), "small.gguf", "/nowhere/0.sock", "/nowhere")
    found = {m.name + ("_total" if m.type == "counter" else ""): m for m in EngineMetrics(lambda: [engine]).collect()}
    assert documented("## Local models") == existing(found)


def test_everything_can_be_exposed(metrics: Metrics) -> None:
    """Prometheus' own text encoder accepts all families, at once and again."""
    count(metrics, Ended(), Ended(404, "refused", "", ""))
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry).decode()
    assert text == generate_latest(registry).decode()
    assert 'onwards_requests_total{outcome="refused",provider="",status_class="4xx",target=""} 1.0' in text


def test_parts_that_were_dropped_make_a_bounded_number_of_series(metrics: Metrics) -> None:
    """A client can name members of its request as it likes."""
    count(metrics, *(Ended(dropped=(f"x{number}",)) for number in range(1000)))
    samples = families(metrics)["onwards_translate_dropped_total"].samples
    assert len(samples) == 501
    assert sum(sample.value for sample in samples) == 1000


def test_exchanges_are_counted_by_what_became_of_them(metrics: Metrics) -> None:
    """One series for each combination that occurred."""
    count(metrics, Ended(), Ended(), Ended(429), Ended(0, "client_gone_waiting"))
    labels = {"target": "a", "provider": "second"}
    name = "onwards_requests_total"
    assert value(metrics, name, **labels, status_class="2xx", outcome="done") == 2
    assert value(metrics, name, **labels, status_class="4xx", outcome="done") == 1
    assert value(metrics, name, **labels, status_class="none", outcome="client_gone_waiting") == 1


def test_permits_are_shown_for_every_configured_target_and_provider(metrics: Metrics) -> None:
    """Also for those that nobody has asked yet."""
    assert value(metrics, "onwards_target_in_flight", target="b") == 0
    samples = families(metrics)["onwards_provider_in_flight"].samples
    assert {(sample.labels["target"], sample.labels["provider"]) for sample in samples} == {
        ("a", "one"),
        ("a", "second"),
        ("b", "echo"),
    }


def test_what_others_count_is_asked_when_scraped(metrics: Metrics) -> None:
    """Exchanges in flight, dropped lines, open connections."""
    assert value(metrics, "onwards_requests_in_flight") == 5
    assert value(metrics, "onwards_access_log_lines_dropped_total") == 3
    assert value(metrics, "onwards_connections") == 7


def test_labels_are_bounded(metrics: Metrics) -> None:
    """As many series as configured providers times classes times outcomes, however many exchanges there were."""
    exchanges = [Ended(status, outcome) for status in range(0, 600, 7) for outcome in OUTCOMES]
    count(metrics, *exchanges)
    samples = families(metrics)["onwards_requests_total"].samples
    classes = {sample.labels["status_class"] for sample in samples}
    assert classes <= {"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
    assert len(samples) <= 6 * len(OUTCOMES)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("onwards_request_duration_seconds", DURATION_BUCKETS), ("onwards_first_byte_seconds", FIRST_BYTE_BUCKETS)],
)
def test_a_value_on_a_bound_belongs_to_that_bucket(metrics: Metrics, name: str, bounds: tuple[float, ...]) -> None:
    """``le`` means less than or equal."""
    count(metrics, Ended(seconds=0.25, head_after=0.25))
    labels = {"target": "a", "provider": "second"}
    at_or_above = [bound for bound in bounds if bound >= 0.25]
    for bound in bounds:
        assert value(metrics, name + "_bucket", **labels, le=str(bound)) == (1 if bound in at_or_above else 0)
    assert value(metrics, name + "_count", **labels) == 1
    assert value(metrics, name + "_sum", **labels) == pytest.approx(0.25)


def test_first_byte_counts_only_exchanges_that_got_so_far(metrics: Metrics) -> None:
    """A client that left, or a refusal, has no first byte."""
    count(metrics, Ended(seconds=9.0), Ended(seconds=2.0, head_after=1.5))
    labels = {"target": "a", "provider": "second"}
    assert value(metrics, "onwards_request_duration_seconds_count", **labels) == 2
    assert value(metrics, "onwards_request_duration_seconds_sum", **labels) == pytest.approx(11.0)
    assert value(metrics, "onwards_first_byte_seconds_count", **labels) == 1
    assert value(metrics, "onwards_first_byte_seconds_sum", **labels) == pytest.approx(1.5)


@given(st.lists(st.integers(0, 2_000), max_size=50))
def test_buckets_agree_with_counting_by_hand(milliseconds: list[int]) -> None:
    """Cumulative, monotonic, and the last one counts all: for any values."""
    metrics = make()
    # Halves of powers of two lie between the bounds, whatever rounding does to the sum of two times.
    seconds = [step / 1024 + 1 / 4096 for step in milliseconds]
    count(metrics, *(Ended(seconds=value) for value in seconds))
    labels = {"target": "a", "provider": "second"}
    for bound in (*DURATION_BUCKETS, float("inf")):
        le = "+Inf" if bound == float("inf") else str(bound)
        expected = sum(value <= bound for value in seconds)
        found = value(metrics, "onwards_request_duration_seconds_bucket", **labels, le=le)
        assert (found or 0) == expected


def test_a_fresh_histogram_is_empty() -> None:
    """All buckets are there, and zero."""
    rows = Histogram((1.0, 2.0)).cumulative()
    assert rows == [("1.0", 0), ("2.0", 0), ("+Inf", 0)]
