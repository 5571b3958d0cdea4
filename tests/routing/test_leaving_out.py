"""Leaving providers out: who is ejected, rests or is down is passed over, as long as anybody else is in."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.endpoints import endpoint

from onwards_py.model.limits import Limits
from onwards_py.model.policies import EjectionPolicy, Strategy
from onwards_py.routing.balancer import Endpoint, candidates, choose
from onwards_py.routing.health import Health, HealthState
from onwards_py.routing.latency import PeakEwma

NOW = 100.0
STATES = ("in", "due", "ejected", "later", "resting", "rested", "probation", "down", "none")


def health(state: str) -> Health | None:
    """One in this state at NOW."""
    if state == "none":
        return None
    made = Health(EjectionPolicy(consecutive_failures=1, base_time=5.0, max_time=50.0))
    if state in ("due", "ejected", "later", "probation"):
        made.failed({"due": NOW - 5.0, "ejected": NOW - 4.0, "later": NOW - 1.0, "probation": NOW - 6.0}[state])
    if state == "probation":
        assert made.try_probe(NOW - 1.0)
    if state in ("resting", "rested"):
        made.rate_limited(NOW - 2.0, 4.0 if state == "resting" else 1.0)
    if state == "down":
        for _ in range(3):
            made.checked(False, NOW)
    return made


def member(state: str = "none", weight: int = 1, full: bool = False) -> Endpoint:
    return endpoint(weight, int(full), 1, name=state, health=health(state))


def names(members: list[Endpoint]) -> list[str]:
    return [member.provider.name for member in members]


def asked(*members: Endpoint, without: tuple[Endpoint, ...] = ()) -> list[str]:
    return names(candidates(members, NOW, without))


@pytest.mark.parametrize("state", ["ejected", "resting", "probation", "down"])
def test_who_is_out_is_passed_over(state: str) -> None:
    """By every strategy."""
    out, well = member(state), member()
    for strategy in Strategy:
        assert choose(strategy, (out, well), lambda: 0.0, NOW) is well


@pytest.mark.parametrize("state", ["in", "due", "rested", "none"])
def test_who_is_in_or_due_is_not(state: str) -> None:
    """A probe is a choice like any other."""
    assert asked(member(state), member()) == [state, "none"]


def test_if_all_are_out_the_one_that_is_due_first_is_asked() -> None:
    """Never the last: a pool that fails as a whole goes on being asked, and finds out when it is well again."""
    assert asked(member("later"), member("ejected"), member("probation"), member("down")) == ["ejected"]
    assert asked(member("later"), member("resting")) == ["resting"]


def test_who_is_being_tried_comes_after_who_is_not_and_who_is_down_last() -> None:
    """While all are out, exchanges are spread over those that are being tried."""
    assert asked(member("probation"), member("down"), member("probation")) == ["probation", "probation"]
    assert asked(member("down"), member("down")) == ["down", "down"]
    assert asked(member("down")) == ["down"]


def test_full_or_tried_is_no_reason_to_ask_one_that_is_ejected() -> None:
    """Who is busy will have a place again; who was tried once may be tried once more."""
    well = member()
    assert asked(member("ejected"), member(full=True)) == []
    assert asked(member("ejected"), well, without=(well,)) == []


def test_a_drained_one_is_nobody() -> None:
    """Weight 0 is not asked, and does not count as one that is in."""
    assert asked(member(weight=0), member("ejected")) == ["ejected"]
    assert asked(member("due", weight=0)) == []


def test_if_all_are_out_a_full_or_tried_one_is_passed_over() -> None:
    """Among those that are out, too."""
    first = member("ejected")
    assert asked(first, member("later"), without=(first,)) == ["later"]
    assert asked(member("ejected", full=True), member("later")) == ["later"]


@given(
    st.lists(st.builds(member, st.sampled_from(STATES), st.integers(0, 2), st.booleans()), max_size=6),
    st.sampled_from(Strategy),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_somebody_is_asked_whenever_anybody_could_be(
    members: list[Endpoint], strategy: Strategy, number: float
) -> None:
    """Who is chosen is undrained, has a place, and is out only if all are."""
    chosen = choose(strategy, members, lambda: number, NOW)
    undrained = [one for one in members if one.provider.weight]
    inside = [one for one in undrained if one.health is None or one.health.excluded_until <= NOW]
    able = [one for one in inside or undrained if not one.limiter.full]
    assert (chosen is None) is (not able)
    assert chosen is None or chosen in able


def test_nobody_is_changed_by_being_looked_at() -> None:
    """Probes are taken by asking, not by choosing."""
    due = member("due")
    assert choose(Strategy.PRIORITY, (due, member()), lambda: 0.0, NOW) is due
    assert due.health is not None
    assert due.health.state is HealthState.EJECTED


# Peak EWMA of two


def fast(seconds: float, in_flight: int = 0) -> Endpoint:
    made = endpoint(name=str(seconds))
    made.latency = PeakEwma()
    made.latency.observe(seconds, NOW)
    made.limiter.in_flight = in_flight
    return made


def test_p2c_takes_the_cheaper_of_two() -> None:
    """Time to first byte, times the load with this exchange."""
    for number in (0.0, 0.3, 0.6, 0.9):
        assert choose(Strategy.P2C, (fast(1.0), fast(3.0)), lambda n=number: n, NOW).provider.name == "1.0"  # type: ignore[misc, union-attr]
        assert choose(Strategy.P2C, (fast(1.0, 3), fast(3.0)), lambda n=number: n, NOW).provider.name == "3.0"  # type: ignore[misc, union-attr]


def test_p2c_draws_two_different_ones_all_pairs_alike() -> None:
    """Of four the slowest is never taken, and each of the others as often as it is in a pair with a slower one."""
    members, random = [fast(float(n)) for n in (1, 2, 3, 4)], Random(3)
    found = names([choose(Strategy.P2C, members, random.random, NOW) or members[0] for _ in range(6000)])
    for name, pairs in (("1.0", 3), ("2.0", 2), ("3.0", 1), ("4.0", 0)):
        wanted = 6000 * pairs / 6
        assert abs(found.count(name) - wanted) <= 4 * (wanted * (1 - pairs / 6)) ** 0.5


def test_without_latencies_the_load_decides() -> None:
    """As for members whose pool was not of this strategy before."""
    busy, idle = member(), member("in")
    busy.limiter.in_flight = 1
    busy.limiter.limits = Limits()
    assert choose(Strategy.P2C, (busy, idle), lambda: 0.0, NOW) is idle


def test_down_lasts_until_checks_say_otherwise() -> None:
    """However late it is."""
    assert names(candidates((member("down"), member()), 1e12)) == ["none"]
