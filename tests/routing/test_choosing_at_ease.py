"""The fast path of the choice of a provider gives only results that the full choice could give."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.endpoints import endpoint

from onwards_py.model.policies import EjectionPolicy, Strategy
from onwards_py.routing.balancer import Endpoint, choose, choose_fast_path
from onwards_py.routing.health import Health


def member(weight: int = 1, in_flight: int = 0, limited: bool = False, ejected: bool | None = None) -> Endpoint:
    health = None if ejected is None else Health(EjectionPolicy(consecutive_failures=1))
    if health is not None and ejected:
        health.failed(0.0)
    return endpoint(weight, in_flight, 9 if limited else None, health=health)


MEMBERS = st.lists(
    st.builds(member, st.integers(0, 4), st.integers(0, 3), st.booleans(), st.none() | st.booleans()), max_size=5
)


@given(st.sampled_from(Strategy), MEMBERS, st.integers(0, 1000))
def test_the_fast_path_chooses_only_what_the_full_choice_could(
    strategy: Strategy, members: list[Endpoint], seed: int
) -> None:
    """Some draw of `choose` gives the same member."""
    chosen = choose_fast_path(strategy, members, Random(seed).random, 0.0)
    if chosen is not None:
        assert chosen in {choose(strategy, members, Random(other).random) for other in range(60)}


@given(st.sampled_from(Strategy), MEMBERS)
def test_an_ejected_limited_or_drained_member_needs_the_full_choice(
    strategy: Strategy, members: list[Endpoint]
) -> None:
    """Without such a member the fast path has a result."""
    plain = all(
        one.provider.weight and not one.limiter.bounded and (one.health is None or not one.health.excluded_until)
        for one in members
    )
    assert (choose_fast_path(strategy, members, Random(0).random, 0.0) is not None) is (plain and bool(members))


@pytest.mark.parametrize("strategy", [Strategy.WEIGHTED_RANDOM, Strategy.LEAST_INFLIGHT])
def test_equals_are_drawn_by_weight(strategy: Strategy) -> None:
    """Of 6,000 draws among idle members of weights 1, 2 and 3 each gets its share, within a twentieth."""
    members = [member(1), member(2), member(3)]
    random = Random(7).random
    counts = Counter(id(choose_fast_path(strategy, members, random, 0.0)) for _ in range(6000))
    shares = [counts[id(one)] / 1000 for one in members]
    assert shares == [pytest.approx(weight, rel=0.05) for weight in (1, 2, 3)]
    assert all(less < more for less, more in pairwise(shares))
