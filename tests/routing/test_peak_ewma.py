"""Peak EWMA: a slow answer is believed at once, a quick one only with time."""

from __future__ import annotations

from math import exp, isclose

from hypothesis import given
from hypothesis import strategies as st

from onwards_py.routing.latency import DECAY, PeakEwma

SECONDS = st.floats(0.0, 100.0)


def observed(*answers: tuple[float, float]) -> PeakEwma:
    """Told of answers as (seconds, now)."""
    latency = PeakEwma()
    for seconds, now in answers:
        latency.observe(seconds, now)
    return latency


def test_a_peak_counts_at_once_and_fades() -> None:
    """1 s, then 5 s, then 1 s again ten seconds later."""
    assert observed((1.0, 0.0), (5.0, 0.0)).cost(0.0, 0, 1) == 5.0
    part = exp(-1)
    assert isclose(observed((5.0, 0.0), (1.0, DECAY)).cost(DECAY, 0, 1), 5.0 * part + 1.0 * (1 - part))


def test_what_is_old_is_forgotten() -> None:
    """A provider that was slow is tried again, although nobody asked it since."""
    slow = observed((5.0, 0.0))
    assert slow.cost(0.0, 0, 1) > 1.0 > slow.cost(2 * DECAY, 0, 1)


def test_the_load_counts_by_weight_and_the_exchange_itself_is_part_of_it() -> None:
    """Two in flight of weight 3: as much as an idle one of weight 1."""
    latency = observed((2.0, 0.0))
    assert latency.cost(0.0, 0, 1) == latency.cost(0.0, 2, 3) == 2.0
    assert latency.cost(0.0, 3, 1) == 8.0


def test_unknown_is_best_until_it_is_loaded() -> None:
    """One that nobody has asked comes before any other, but does not get everything at once."""
    unknown, quick = PeakEwma(), observed((0.02, 0.0))
    assert unknown.cost(0.0, 0, 1) < quick.cost(0.0, 0, 1)
    assert unknown.cost(0.0, 50, 1) > quick.cost(0.0, 0, 1)


@given(st.lists(st.tuples(SECONDS, st.floats(0.0, 50.0)), min_size=1, max_size=30))
def test_it_lies_between_what_was_observed(answers: list[tuple[float, float]]) -> None:
    """Never above the slowest; just after an answer never below that answer."""
    latency, now, slowest = PeakEwma(), 0.0, 0.0
    for seconds, passed in answers:
        now += passed
        slowest = max(slowest, seconds)
        latency.observe(seconds, now)
        cost = latency.cost(now, 0, 1)
        assert min(seconds, cost) >= seconds * (1 - 1e-9)
        assert cost <= max(slowest, 0.001) * (1 + 1e-9)
