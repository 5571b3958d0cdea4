"""Providers that are ejected, paused or down are skipped while any other one is available."""

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
    """The health of a provider in this state at NOW."""
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
def test_an_ejected_provider_is_skipped(state: str) -> None:
    """This holds for every strategy."""
    out, well = member(state), member()
    for strategy in Strategy:
        assert choose(strategy, (out, well), lambda: 0.0, NOW) is well


@pytest.mark.parametrize("state", ["in", "due", "rested", "none"])
def test_a_healthy_or_due_provider_is_not_skipped(state: str) -> None:
    """A probe is a choice like any other."""
    assert asked(member(state), member()) == [state, "none"]


def test_if_all_are_ejected_the_first_due_is_chosen() -> None:
    """A pool whose providers all fail still gets requests, and so finds out when one works again."""
    assert asked(member("later"), member("ejected"), member("probation"), member("down")) == ["ejected"]
    assert asked(member("later"), member("resting")) == ["resting"]


def test_while_all_are_ejected_probed_ones_come_later_and_down_ones_last() -> None:
    """Exchanges are spread over the providers that are being probed."""
    assert asked(member("probation"), member("down"), member("probation")) == ["probation", "probation"]
    assert asked(member("down"), member("down")) == ["down", "down"]
    assert asked(member("down")) == ["down"]


def test_a_full_or_tried_provider_is_not_replaced_by_an_ejected_one() -> None:
    """A full provider will have a permit again, and one that was tried may be retried."""
    well = member()
    assert asked(member("ejected"), member(full=True)) == []
    assert asked(member("ejected"), well, without=(well,)) == []


def test_a_drained_provider_does_not_count() -> None:
    """A provider of weight 0 is not chosen, and does not count as available."""
    assert asked(member(weight=0), member("ejected")) == ["ejected"]
    assert asked(member("due", weight=0)) == []


def test_if_all_are_ejected_a_full_or_tried_one_is_skipped() -> None:
    """The rules for available providers apply to ejected ones, too."""
    first = member("ejected")
    assert asked(first, member("later"), without=(first,)) == ["later"]
    assert asked(member("ejected", full=True), member("later")) == ["later"]


@given(
    st.lists(st.builds(member, st.sampled_from(STATES), st.integers(0, 2), st.booleans()), max_size=6),
    st.sampled_from(Strategy),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_provider_is_chosen_whenever_one_is_allowed(
    members: list[Endpoint], strategy: Strategy, number: float
) -> None:
    """The chosen provider is not drained, has a free permit, and is ejected only if all are."""
    chosen = choose(strategy, members, lambda: number, NOW)
    undrained = [one for one in members if one.provider.weight]
    inside = [one for one in undrained if one.health is None or one.health.excluded_until <= NOW]
    able = [one for one in inside or undrained if not one.limiter.full]
    assert (chosen is None) is (not able)
    assert chosen is None or chosen in able


def test_choosing_does_not_change_health() -> None:
    """The attempt takes a probe, not the choice."""
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
