"""The retry budget: how much more a pool asks than it is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.model.policies import RetryBudgetPolicy
from onwards_py.routing.budget import RetryBudget


def taken(budget: RetryBudget, times: int, now: float = 0.0) -> int:
    return sum(budget.take(now) for _ in range(times))


@pytest.mark.parametrize(("per_second", "size"), [(10.0, 100), (0.0, 10), (0.5, 10), (2.0, 20)])
def test_it_starts_full_with_what_ten_seconds_bring(per_second: float, size: int) -> None:
    """At least ten, so that the first requests of a quiet pool can be tried again."""
    assert taken(RetryBudget(RetryBudgetPolicy(0.2, per_second)), 1000) == size


def test_requests_and_time_fill_it() -> None:
    """A fifth of the requests, and so many a second; never beyond its size."""
    budget = RetryBudget(RetryBudgetPolicy(0.2, 1.0))
    assert taken(budget, 100) == 10
    for _ in range(21):
        budget.deposit()
    assert taken(budget, 100) == 4
    assert taken(budget, 100, now=3.0) == 3
    assert taken(budget, 100, now=1000.0) == 10
    for _ in range(1000):
        budget.deposit()
    assert taken(budget, 100, now=1000.0) == 10


@given(
    st.floats(0.0, 1.0),
    st.floats(0.0, 20.0),
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.floats(0.0, 5.0)), max_size=40),
)
def test_the_work_that_it_allows_is_bounded(
    ratio: float, per_second: float, rounds: list[tuple[int, int, float]]
) -> None:
    """ratio x requests + per_second x time + what it began with, in whatever order they come."""
    budget, requests, attempts, now = RetryBudget(RetryBudgetPolicy(ratio, per_second)), 0, 0, 0.0
    for came, wished, passed in rounds:
        now += passed
        for _ in range(came):
            budget.deposit()
        requests += came
        attempts += taken(budget, wished, now)
        assert attempts <= ratio * requests + per_second * now + max(10.0, 10.0 * per_second) + 1e-6


def test_a_clock_that_stands_still_fills_nothing() -> None:
    """Nor does one that goes back, which a monotonic clock of another processor may seem to do."""
    budget = RetryBudget(RetryBudgetPolicy(0.0, 1.0), now=5.0)
    assert taken(budget, 100, now=5.0) == 10
    assert taken(budget, 100, now=4.0) == 0
    assert taken(budget, 100, now=5.5) == 0


def test_a_reload_is_no_refill() -> None:
    """What was spent stays spent; another size is filled to the same part."""
    policy = RetryBudgetPolicy(0.2, 10.0)
    budget = RetryBudget(policy)
    taken(budget, 50)
    budget.reconfigure(policy)
    budget.reconfigure(RetryBudgetPolicy(0.2, 2.0))
    assert taken(budget, 1000) == 10
