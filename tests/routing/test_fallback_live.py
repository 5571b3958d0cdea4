"""The fallback plan with the state of providers: Retry-After, probes, budgets, hedges, and untranslatable requests."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import run_now
from onwards_py.model.limits import Limits
from onwards_py.model.policies import EjectionPolicy, FallbackPolicy, RetryBudgetPolicy, Strategy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider, Timeouts
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.budget import RetryBudget
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.health import Health, HealthState
from onwards_py.routing.table import LivePool

ON = FallbackPolicy(enabled=True, max_attempts=4)
OFF = FallbackPolicy()
EJECTION = EjectionPolicy(consecutive_failures=1, base_time=5.0, max_time=50.0)


def members(count: int, healthy: bool = True) -> list[Endpoint]:
    return [
        Endpoint(
            Provider(str(n), str(n)),
            Limiter(Limits(concurrency=9), 0.0, run_now),
            Health(EJECTION) if healthy else None,
        )
        for n in range(count)
    ]


def pool(
    of: list[Endpoint],
    policy: FallbackPolicy = ON,
    budget: RetryBudget | None = None,
    hedges: RetryBudget | None = None,
    strategy: Strategy = Strategy.PRIORITY,
) -> LivePool:
    compiled = Pool("m", tuple(member.provider for member in of), strategy, policy)
    limiter = Limiter(Limits(), 0.0, run_now)
    return LivePool(compiled, limiter, tuple(of), retry_budget=budget, hedge_budget=hedges)


def plan(of: LivePool, seed: int = 0) -> FallbackPlan:
    return FallbackPlan(of, Random(seed).random)


def name(member: Endpoint | None) -> str | None:
    return None if member is None else member.provider.name


def health(member: Endpoint) -> Health:
    assert member.health is not None
    return member.health


# Ejected ones


def test_an_ejected_provider_comes_last_in_a_pass() -> None:
    """Health is checked at each attempt. Providers that this exchange has not tried come before those that it has."""
    three = members(3)
    asking = plan(pool(three))
    assert name(asking.next(0.0)) == "0"
    health(three[0]).failed(0.0)
    health(three[1]).failed(0.0)
    assert name(asking.next(0.0)) == "2"
    assert name(asking.next(0.0)) == "1"  # not asked yet: it may be well again
    health(three[2]).failed(0.0)
    assert name(asking.next(0.0)) == "0"  # all are out


def test_a_provider_that_would_refuse_is_not_the_last_resort() -> None:
    """It sent Retry-After or refuses the credential, so the same provider as before is tried rather than it."""
    three = members(3)
    health(three[1]).failed(0.0)
    health(three[1]).rate_limited(0.0, 60.0)
    for _ in range(5):
        health(three[2]).unauthorised(0.0)
    assert health(three[2]).state is HealthState.EJECTED
    asking = plan(pool(three))
    assert [name(asking.next(0.0)) for _ in range(3)] == ["0", "0", "0"]


def test_an_attempt_takes_the_probe_and_only_one_does() -> None:
    """The next exchange goes to another provider until the probe has a result."""
    two = members(2)
    health(two[0]).failed(0.0)
    first, second = plan(pool(two)), plan(pool(two))
    assert name(first.next(5.0)) == "0"
    assert first.probing
    assert name(second.next(5.0)) == "1"
    assert not second.probing
    health(two[0]).succeeded()
    assert name(plan(pool(two)).next(5.0)) == "0"


def test_a_probe_without_a_result_is_released() -> None:
    """It is released when the exchange ends or tries the next provider."""
    two = members(2)
    health(two[0]).failed(0.0)
    leaving = plan(pool(two))
    leaving.next(5.0)
    leaving.abandon(6.0)
    assert not leaving.probing
    refused = plan(pool(two))
    assert name(refused.next(6.0)) == "0"
    assert refused.probing
    assert name(refused.next(6.0)) == "1"  # its own rate limit refused the first: nothing was told
    assert not refused.probing
    third = plan(pool(two))
    third.next(6.0)
    assert third.probing


def test_an_exchange_does_not_release_the_probe_of_another() -> None:
    """An earlier failed probe does not matter when a later exchange tries the same provider."""
    two = members(2)
    health(two[0]).failed(0.0)
    failing, other, third = plan(pool(two)), plan(pool(two)), plan(pool(two))
    failing.next(5.0)
    health(two[0]).failed(5.0)
    assert name(other.next(15.0)) == "0"
    failing.abandon(15.0)
    assert name(third.next(15.0)) == "1"


# Retry-After


def test_the_only_provider_is_retried_after_its_retry_after() -> None:
    """The exchange waits for the rest of Retry-After, and then for its own backoff."""
    one = members(1)
    asking = plan(pool(one, replace(ON, backoff_initial=0.5, backoff_jitter=False)))
    asking.next(0.0)
    health(one[0]).rate_limited(0.0, 3.0)
    assert asking.backoff(1.0) == 2.5


def test_other_providers_are_tried_without_a_wait() -> None:
    """When no other provider is left, the exchange waits for the one that is available first."""
    two = members(2)
    asking = plan(pool(two))
    asking.next(0.0)
    health(two[0]).rate_limited(0.0, 3.0)
    assert asking.backoff(0.0) == 0.0
    assert name(asking.next(0.0)) == "1"
    health(two[1]).rate_limited(0.0, 9.0)
    assert asking.backoff(1.0) == 2.0
    assert name(asking.next(3.0)) == "0"


def test_without_health_the_exchange_keeps_retry_after() -> None:
    """This applies to pools of one provider, and to pools without ejection."""
    one = members(1, healthy=False)
    asking = plan(pool(one))
    asking.next(0.0)
    asking.note_retry_after(one[0], None, 0.0)
    assert asking.backoff(0.0) == 0.0
    asking.note_retry_after(one[0], 3.0, 0.0)
    assert asking.backoff(0.0) == 3.0
    assert plan(pool(one)).next(0.0) is one[0]


@pytest.mark.parametrize(
    ("longest", "asked", "wait"), [(10.0, 10.0, 10.0), (10.0, 10.5, None), (0.0, 3.0, 0.0), (0.0, 1e9, 0.0)]
)
def test_a_retry_after_is_waited_for_up_to_a_bound(longest: float, asked: float, wait: float | None) -> None:
    """A longer one is passed on to the client instead. 0: the exchange does not wait for Retry-After."""
    one = members(1, healthy=False)
    asking = plan(pool(one, replace(ON, max_retry_after=longest)))
    asking.next(0.0)
    asking.note_retry_after(one[0], asked, 0.0)
    assert asking.backoff(0.0) == wait


def test_retry_after_counts_against_the_total_backoff() -> None:
    """max_total_backoff limits the sum of all waits of a client, for any reason."""
    one = members(1, healthy=False)
    asking = plan(pool(one, replace(ON, max_total_backoff=4.0)))
    waits = []
    for _ in range(2):
        asking.next(0.0)
        asking.note_retry_after(one[0], 3.0, 0.0)
        waits.append(asking.backoff(0.0))
    assert waits == [3.0, None]
    assert not asking.over_budget


@pytest.mark.parametrize(("elapsed", "wait"), [(1.0, 3.0), (2.0, None), (9.0, None)])
@pytest.mark.parametrize("rests", [True, False])
def test_no_wait_is_longer_than_the_rest_of_the_exchange(elapsed: float, wait: float | None, rests: bool) -> None:
    """The client gets the last response, instead of waiting for its own timeout."""
    one = members(1, healthy=False)
    one[0].provider = replace(one[0].provider, timeouts=Timeouts(total=5.0))
    waits = ON if rests else replace(ON, backoff_initial=3.0, backoff_jitter=False)
    asking = plan(pool(one, waits))
    asking.next(0.0)
    if rests:
        asking.note_retry_after(one[0], 3.0, 0.0)
    asking.elapsed = elapsed
    assert asking.backoff(0.0) == wait


# The retry budget


def test_further_attempts_use_the_budget() -> None:
    """An empty budget ends the exchange, and is recorded as the reason."""
    budget = RetryBudget(RetryBudgetPolicy(0.0, 0.0))
    found = []
    for _ in range(12):
        asking = plan(pool(members(2), budget=budget))
        asking.next(0.0)
        found.append(asking.backoff(0.0))
        assert asking.over_budget is (found[-1] is None)
    assert found == [0.0] * 10 + [None] * 2


def test_each_exchange_pays_into_the_budget() -> None:
    """It does so with a further attempt or without."""
    budget = RetryBudget(RetryBudgetPolicy(0.5, 0.0))
    while budget.take(0.0):
        pass
    target = pool(members(2), budget=budget)
    for _ in range(4):
        plan(target)
    assert [budget.take(0.0) for _ in range(3)] == [True, True, False]


def test_an_exchange_that_stops_for_another_reason_does_not_use_the_budget() -> None:
    """A wait that is too long is not an attempt."""
    budget, one = RetryBudget(RetryBudgetPolicy(0.0, 0.0)), members(1, healthy=False)
    for _ in range(50):
        asking = plan(pool(one, budget=budget))
        asking.next(0.0)
        asking.note_retry_after(one[0], 99.0, 0.0)
        assert asking.backoff(0.0) is None
    assert sum(budget.take(0.0) for _ in range(50)) == 10


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 300), st.floats(0.0, 0.5))
def test_amplification_is_bounded_when_all_fail(count: int, attempts: int, requests: int, ratio: float) -> None:
    """There are at most 1 + ratio attempts for each request, and the ten of the initial budget."""
    budget, of = RetryBudget(RetryBudgetPolicy(ratio, 0.0)), members(count)
    target, asked = pool(of, replace(ON, max_attempts=attempts), budget), 0
    for _ in range(requests):
        asking = plan(target)
        while (member := asking.next(0.0)) is not None:
            asked += 1
            health(member).failed(0.0)
            if not asking.may_continue or asking.backoff(0.0) is None:
                break
    assert requests <= asked <= min(attempts * requests, requests * (1 + ratio) + 10 + 1e-6)


# Setting aside


def test_a_provider_that_cannot_serve_the_request_is_excluded() -> None:
    """It does not count as an attempt. Other providers are tried, even without fallback."""
    three = members(3)
    asking = plan(pool(three, OFF))
    assert asking.next(0.0) is three[0]
    asking.exclude(three[0])
    assert asking.attempts == 0
    assert name(asking.next(0.0)) == "1"
    assert asking.next(0.0) is None
    passes = plan(pool(three, ON))
    assert passes.next(0.0) is three[0]
    passes.exclude(three[0])
    assert [name(passes.next(0.0)) for _ in range(5)] == ["1", "2", "1", "2", None]


def test_if_no_provider_can_serve_the_request_there_is_no_attempt() -> None:
    """Ejected providers are not tried either."""
    asking = plan(pool(members(2)))
    while (member := asking.next(0.0)) is not None:
        asking.exclude(member)
    assert asking.attempts == 0


def test_a_restarted_plan_keeps_only_the_excluded_providers() -> None:
    """All providers were busy, and now one is free."""
    three = members(3)
    asking = plan(pool(three, replace(ON, max_attempts=2)))
    assert asking.next(0.0) is three[0]
    asking.exclude(three[0])
    assert [name(asking.next(0.0)) for _ in range(3)] == ["1", "2", None]
    asking.restart(0.0)
    assert [name(asking.next(0.0)) for _ in range(3)] == ["1", "2", None]


def test_a_pool_is_exhausted_when_more_than_one_attempt_was_made() -> None:
    """The client is then told not to retry."""
    asking, alone = plan(pool(members(2))), plan(pool(members(2), OFF))
    alone.next(0.0)
    asking.next(0.0)
    assert not asking.exhausted
    asking.next(0.0)
    assert asking.exhausted
    assert not alone.exhausted


# Hedging


def test_a_hedge_uses_another_provider() -> None:
    """It counts as an attempt; without fallback it is the only further one."""
    hedges = RetryBudget(RetryBudgetPolicy(0.05, 0.0))
    for policy, more in ((OFF, []), (replace(ON, max_attempts=3), ["2"])):
        asking = plan(pool(members(3), policy, hedges=hedges))
        assert asking.next(0.0) is not None
        assert name(asking.hedge(0.0)) == "1"
        assert asking.attempts == 2
        assert asking.exhausted is policy.enabled
        assert [name(asking.next(0.0)) for _ in more] == more
        assert asking.next(0.0) is None


def test_a_hedge_uses_neither_the_same_nor_an_ejected_provider() -> None:
    """This holds with replacement, too. A hedge does not take a due probe."""
    hedges = RetryBudget(RetryBudgetPolicy(0.05, 0.0))
    two = members(2)
    again = replace(ON, with_replacement=True)
    for seed in range(30):
        asking = plan(pool(two, again, hedges=hedges, strategy=Strategy.WEIGHTED_RANDOM), seed)
        first = asking.next(0.0)
        second = asking.hedge(0.0)
        assert second is None or second is not first
    health(two[1]).failed(0.0)
    for now in (1.0, 5.0):
        asking = plan(pool(two, hedges=RetryBudget(RetryBudgetPolicy())))
        asking.next(now)
        assert asking.hedge(now) is None
        assert asking.attempts == 1


def test_hedges_have_a_budget_of_their_own() -> None:
    """It allows one of twenty requests, and ten initially. Without another provider it is not used."""
    hedges, retries = RetryBudget(RetryBudgetPolicy(0.05, 0.0)), RetryBudget(RetryBudgetPolicy(0.0, 0.0))
    alone = pool(members(1), hedges=hedges)
    hedged = 0
    for _ in range(200):
        lonely, asking = plan(alone), plan(pool(members(2), OFF, retries, hedges))
        lonely.next(0.0)
        assert lonely.hedge(0.0) is None
        asking.next(0.0)
        hedged += asking.hedge(0.0) is not None
    assert 200 * 2 * 0.05 <= hedged <= 10 + 200 * 2 * 0.05
    assert retries.take(0.0)


def test_without_a_hedge_budget_there_is_no_hedging() -> None:
    """Hedging is not configured."""
    asking = plan(pool(members(2)))
    asking.next(0.0)
    assert asking.hedge(0.0) is None


# Whatever happens

ACTS = st.sampled_from(["next", "next", "hedge", "aside", "backoff", "fail", "succeed", "rest", "restart", "abandon"])


@given(
    st.integers(0, 4),
    st.builds(lambda on, most: replace(ON, enabled=on, max_attempts=most), st.booleans(), st.integers(1, 6)),
    st.sampled_from(Strategy),
    st.lists(st.tuples(ACTS, st.sampled_from([0.0, 1.0, 6.0])), max_size=40),
    st.integers(0, 100),
)
def test_no_plan_exceeds_its_attempts(
    count: int, policy: FallbackPolicy, strategy: Strategy, acts: list[tuple[str, float]], seed: int
) -> None:
    """Attempts since the last restart stay within the limit (two for a hedge), and an excluded provider is not
    tried."""
    of = members(count)
    attempts = (policy.max_attempts or 0) if policy.enabled else 1
    asking = plan(pool(of, policy, RetryBudget(RetryBudgetPolicy()), RetryBudget(RetryBudgetPolicy()), strategy), seed)
    aside: list[Endpoint] = []
    last: Endpoint | None = None
    now = 1.0
    for act, passed in acts:
        now += passed
        if act in ("next", "hedge"):
            last = asking.next(now) if act == "next" else asking.hedge(now)
            assert last not in aside
        elif act == "backoff":
            assert (asking.backoff(now) or 0.0) <= policy.max_retry_after
        elif act == "restart":
            asking.restart(now)
            last = None
        elif act == "abandon":
            asking.abandon(now)
        elif last is not None:
            if act == "aside":
                asking.exclude(last)
                aside.append(last)
                last = None
            elif act == "fail":
                health(last).failed(now)
            elif act == "succeed":
                health(last).succeeded()
            else:
                health(last).rate_limited(now, 4.0)
        assert 0 <= asking.attempts <= max(attempts, 2)
    asking.abandon(now)
    assert not asking.probing


def test_probes_of_plans_that_end_are_never_lost() -> None:
    """Many exchanges end without a result, and the next one may still probe."""
    two = members(2)
    health(two[0]).failed(0.0)
    for _ in range(100):
        gone = plan(pool(two))
        gone.next(5.0)
        gone.abandon(5.0)
    assert health(two[0]).state is HealthState.EJECTED
    assert name(plan(pool(two)).next(5.0)) == "0"
