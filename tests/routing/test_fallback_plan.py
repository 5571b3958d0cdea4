"""The fallback plan: the order and number of attempts, the failures that allow another one, and the waits."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import run_now
from onwards_py.messages import Fault
from onwards_py.model.limits import Limits
from onwards_py.model.policies import FallbackPolicy, Strategy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.table import LivePool

ON = FallbackPolicy(enabled=True)
BACKOFF = replace(ON, max_attempts=6, backoff_initial=1.0, backoff_max=5.0, backoff_factor=2.0, backoff_jitter=False)


def members(count: int, places: int | None = None) -> list[Endpoint]:
    limits = Limits(concurrency=places)
    return [Endpoint(Provider(str(n), str(n), limits=limits), Limiter(limits, 0.0, run_now)) for n in range(count)]


def plan(
    policy: FallbackPolicy, of: list[Endpoint], strategy: Strategy = Strategy.PRIORITY, seed: int = 0
) -> FallbackPlan:
    pool = Pool("m", tuple(member.provider for member in of), strategy, policy)
    return FallbackPlan(LivePool(pool, Limiter(Limits(), 0.0, run_now), tuple(of)), Random(seed).random)


def tried(plan_: FallbackPlan) -> str:
    """The names of all providers that the plan gives, in order."""
    names = ""
    while (member := plan_.next(0.0)) is not None:
        names += member.provider.name
    return names


@pytest.mark.parametrize(
    ("count", "attempts", "order"),
    [(1, 3, "000"), (2, 5, "01010"), (3, None, "012"), (3, 2, "01"), (3, 1, "0"), (0, 3, "")],
)
def test_passes_over_the_pool_until_the_budget_is_spent(count: int, attempts: int | None, order: str) -> None:
    """The number of attempts is independent of the strategy. By default each provider is tried once."""
    assert tried(plan(replace(ON, max_attempts=attempts), members(count))) == order


def test_disabled_there_is_one_attempt() -> None:
    """The other settings of the policy do not matter."""
    policy = FallbackPolicy(enabled=False, max_attempts=5, statuses=frozenset({503}), retry_sent=True)
    only = plan(policy, members(3))
    assert tried(only) == "0"
    assert not only.may_continue
    assert not only.retries_status(503)
    assert not any(only.retries_fault(fault, repeatable=True) for fault in Fault)


@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 1000), st.sampled_from(Strategy))
def test_within_a_pass_no_provider_is_tried_twice(count: int, attempts: int, seed: int, strategy: Strategy) -> None:
    """Each provider is tried within a pass, while attempts are left."""
    names = tried(plan(replace(ON, max_attempts=attempts), members(count), strategy, seed))
    assert len(names) == attempts
    for start in range(0, attempts, count):
        part = names[start : start + count]
        assert len(set(part)) == len(part)


def test_with_replacement_the_same_may_be_drawn_again() -> None:
    """This applies only to weighted_random; with priority the first provider would be tried for ever."""
    policy = replace(ON, max_attempts=2, with_replacement=True)
    pairs = {tried(plan(policy, members(2), Strategy.WEIGHTED_RANDOM, seed)) for seed in range(60)}
    assert pairs == {"00", "01", "10", "11"}
    assert tried(plan(replace(policy, max_attempts=4), members(2))) == "0101"


def test_a_full_provider_is_skipped_without_an_attempt() -> None:
    """If the rest of a pass is full, earlier providers are tried again."""
    three = members(3, places=1)
    three[0].limiter.in_flight = 1
    busy = plan(replace(ON, max_attempts=4), three)
    assert tried(busy) == "1212"
    assert busy.attempts == 4
    three[2].limiter.in_flight = 1
    assert tried(plan(replace(ON, max_attempts=3), three)) == "111"
    three[1].limiter.in_flight = 1
    everybody_busy = plan(replace(ON, max_attempts=3), three)
    assert tried(everybody_busy) == ""
    assert everybody_busy.attempts == 0


def test_weight_zero_is_never_tried() -> None:
    """It is not the last resort either."""
    drained = Endpoint(Provider("x", "x", weight=0), Limiter(Limits(), 0.0, run_now))
    assert tried(plan(replace(ON, max_attempts=3), [drained, *members(1)])) == "000"


def test_another_attempt_is_allowed_while_budget_is_left() -> None:
    """`may_continue` is asked after the attempt."""
    two = plan(ON, members(2))
    two.next(0.0)
    assert two.may_continue
    two.next(0.0)
    assert not two.may_continue


@pytest.mark.parametrize(
    ("fault", "repeatable", "moves_on"),
    [
        (Fault.CONNECT, False, True),
        (Fault.CONNECT_TIMEOUT, False, True),
        (Fault.UNAVAILABLE, False, True),
        (Fault.FIRST_BYTE_TIMEOUT, False, True),
        (Fault.CLOSED, False, False),
        (Fault.CLOSED, True, True),
        (Fault.INVALID, False, False),
        (Fault.INVALID, True, True),
    ],
)
def test_which_failures_lead_to_another_attempt(fault: Fault, repeatable: bool, moves_on: bool) -> None:
    """A request that may have been processed is repeated only if this is harmless or configured."""
    asked = plan(ON, members(2))
    assert asked.retries_fault(fault, repeatable=repeatable) is moves_on


def test_only_listed_statuses_cause_fallback() -> None:
    """A provider's rate limit causes fallback only if this is configured."""
    asked = plan(replace(ON, statuses=frozenset({429, 503})), members(2))
    assert [status for status in (200, 400, 429, 500, 503) if asked.retries_status(status)] == [429, 503]
    assert not asked.retries_rate_limit()
    assert plan(replace(ON, on_rate_limit=True), members(1)).retries_rate_limit()


def waits(policy: FallbackPolicy, seed: int = 0) -> list[float | None]:
    backing_off = plan(policy, members(1), seed=seed)
    found: list[float | None] = []
    while backing_off.next(0.0) is not None:
        found.append(backing_off.backoff(0.0))
    return found


def test_waits_grow_up_to_their_bound() -> None:
    """Initial * factor ** (attempts - 1), at most max."""
    assert waits(BACKOFF) == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert waits(replace(ON, max_attempts=2)) == [0.0, 0.0]


def test_only_a_provider_that_failed_before_needs_a_wait() -> None:
    """In the order A, B, A the second attempt at A waits, by the number of its attempts."""
    asked = plan(BACKOFF, members(2))
    found = []
    for _ in range(6):
        assert asked.next(0.0) is not None
        found.append(asked.backoff(0.0))
    assert found == [0.0, 1.0, 1.0, 2.0, 2.0, 4.0]


@given(st.integers(0, 1000))
def test_after_a_wait_the_same_provider_is_tried(seed: int) -> None:
    """This holds for random draws, too: the wait belongs to one provider."""
    drawn = replace(BACKOFF, with_replacement=True, max_attempts=10)
    asked = plan(drawn, members(3), Strategy.WEIGHTED_RANDOM, seed)
    known: set[Endpoint] = set()
    wait = 0.0
    while (member := asked.next(0.0)) is not None:
        assert bool(wait) is (member in known)
        known.add(member)
        wait = asked.backoff(0.0) or 0.0


def test_the_second_entry_of_a_provider_counts_as_tried() -> None:
    """Another provider is tried first, and then there is a wait."""
    three = members(3)
    three[1].provider = replace(three[1].provider, duplicate_of=three[0].provider.identity)
    three[0].duplicates, three[1].duplicates = (three[1],), (three[0],)
    asked = plan(BACKOFF, three)
    assert [asked.next(0.0) is three[0], asked.backoff(0.0)] == [True, 0.0]
    assert [asked.next(0.0) is three[2], asked.backoff(0.0)] == [True, 1.0]


def test_a_thousand_attempts_do_not_overflow() -> None:
    """Overflow clamps to the bound."""
    policy = replace(BACKOFF, max_attempts=1000, backoff_factor=1000.0)
    assert set(waits(policy)[1:]) == {5.0}


@given(st.integers(0, 10_000))
def test_jitter_stays_within_the_wait(seed: int) -> None:
    """Full jitter: uniform between 0 and the delay."""
    for wait, bound in zip(waits(replace(BACKOFF, backoff_jitter=True), seed), (1, 2, 4, 5, 5, 5), strict=True):
        assert wait is not None
        assert 0.0 <= wait <= bound


def test_all_waits_together_are_bounded() -> None:
    """A wait that would exceed max_total_backoff does not begin, and does not count."""
    assert waits(replace(BACKOFF, max_total_backoff=7.0)) == [1.0, 2.0, 4.0, None, None, None]
