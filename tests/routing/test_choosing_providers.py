"""The choice of a provider: the allowed members, and the spread of the draws."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.endpoints import endpoint

from onwards_py.model.policies import Strategy
from onwards_py.routing.balancer import Endpoint, choose

MEMBERS = st.lists(st.builds(endpoint, st.integers(0, 5), st.integers(0, 6), st.none() | st.integers(0, 6)), max_size=6)
STRATEGIES = st.sampled_from(Strategy)
NUMBERS = st.floats(0.0, 1.0, exclude_max=True)


def free(members: list[Endpoint]) -> list[Endpoint]:
    return [one for one in members if one.provider.weight and not one.limiter.full]


@given(STRATEGIES, MEMBERS, NUMBERS)
def test_only_a_free_undrained_provider_is_chosen_and_one_is_if_there_is_any(
    strategy: Strategy, members: list[Endpoint], number: float
) -> None:
    """A member with weight 0 or without a free permit is skipped. The result is None only if no member is left."""
    chosen = choose(strategy, members, lambda: number)
    assert (chosen is None) is (not free(members))
    assert chosen is None or chosen in free(members)


@given(MEMBERS, NUMBERS)
def test_priority_takes_the_first(members: list[Endpoint], number: float) -> None:
    """In the order of the file, whatever the load."""
    assert choose(Strategy.PRIORITY, members, lambda: number) == next(iter(free(members)), None)


@given(MEMBERS, NUMBERS)
def test_weighted_random_takes_the_lowest_load_per_weight(members: list[Endpoint], number: float) -> None:
    """Weighted least connections."""
    chosen = choose(Strategy.WEIGHTED_RANDOM, members, lambda: number)
    if chosen is not None:
        load = chosen.limiter.in_flight / chosen.provider.weight
        assert all(load <= one.limiter.in_flight / one.provider.weight for one in free(members))


@given(MEMBERS, NUMBERS)
def test_least_inflight_takes_the_fewest_in_flight(members: list[Endpoint], number: float) -> None:
    """Weights do not count in the load."""
    chosen = choose(Strategy.LEAST_INFLIGHT, members, lambda: number)
    if chosen is not None:
        assert all(chosen.limiter.in_flight <= one.limiter.in_flight for one in free(members))


@given(STRATEGIES, MEMBERS, NUMBERS)
def test_choosing_takes_no_permit(strategy: Strategy, members: list[Endpoint], number: float) -> None:
    """Admission takes permits, not the choice."""
    before = [one.limiter.in_flight for one in members]
    choose(strategy, members, lambda: number)
    assert [one.limiter.in_flight for one in members] == before


@pytest.mark.parametrize("strategy", [Strategy.WEIGHTED_RANDOM, Strategy.LEAST_INFLIGHT])
def test_idle_providers_are_drawn_by_weight(strategy: Strategy) -> None:
    """Weights 1, 2, 5 over 8,000 draws: within four standard deviations (seeded)."""
    members = [endpoint(weight) for weight in (1, 2, 5)]
    random = Random(1)
    draws = [choose(strategy, members, random.random) for _ in range(8000)]
    counts = [sum(drawn is one for drawn in draws) for one in members]
    for count, wanted in zip(counts, (1000, 2000, 5000), strict=True):
        assert abs(count - wanted) < 4 * (wanted * (1 - wanted / 8000)) ** 0.5


@pytest.mark.parametrize(("number", "at"), [(0.0, 0), (0.249, 0), (0.25, 1), (0.999999, 1)])
def test_a_draw_is_a_point_on_the_line_of_weights(number: float, at: int) -> None:
    """Half-open intervals: no weight is favoured at the borders."""
    members = [endpoint(1), endpoint(3)]
    assert choose(Strategy.WEIGHTED_RANDOM, members, lambda: number) is members[at]


def test_overlapping_work_settles_at_the_weights() -> None:
    """Eight exchanges that do not end over weights 3 and 1 are six and two, however the ties fall."""
    for seed in range(20):
        members, random = [endpoint(3), endpoint(1)], Random(seed)
        for _ in range(8):
            chosen = choose(Strategy.WEIGHTED_RANDOM, members, random.random)
            assert chosen is not None
            chosen.limiter.in_flight += 1
        assert [one.limiter.in_flight for one in members] == [6, 2]
