"""What outlives a reload."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.targets import snapshot

from onwards_py.auth import Principal
from onwards_py.limits.admission import admit, release
from onwards_py.live_state import ConfigHolder, LiveState
from onwards_py.model.policies import Affinity, EjectionPolicy, FallbackPolicy, HedgePolicy, RetryBudgetPolicy, Strategy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import HealthCheck, Provider
from onwards_py.model.snapshot import Snapshot
from onwards_py.routing.health import Health, HealthState
from onwards_py.routing.table import LivePool

RATE = {"requests_per_second": 0.01, "burst_size": 1}


def targets(*urls: str, **options: object) -> Snapshot:
    return snapshot({"m": {"providers": [{"url": url} for url in urls], **options}})


def pool_of(holder: ConfigHolder, name: str = "m") -> LivePool:
    pool = holder.current.table.find(name)
    assert pool is not None
    return pool


def test_counters_follow_a_provider_through_a_reload() -> None:
    """By place, credential and model; not by position, weight or object."""
    holder = ConfigHolder(targets("http://a", "http://b"), LiveState(lambda: 0.0))
    for member, count in zip(pool_of(holder).endpoints, (1, 2), strict=True):
        member.limiter.in_flight = count
    holder.replace(targets("http://b", "http://c", "http://a", strategy="priority"))
    assert [member.limiter.in_flight for member in pool_of(holder).endpoints] == [2, 0, 1]


def test_a_changed_credential_or_model_is_another_provider() -> None:
    """What it did under another account says nothing about this one."""
    holder = ConfigHolder(targets("http://a"), LiveState(lambda: 0.0))
    pool_of(holder).endpoints[0].limiter.in_flight = 1
    holder.replace(snapshot({"m": {"providers": [{"url": "http://a", "onwards_key": "sk"}]}}))
    assert pool_of(holder).endpoints[0].limiter.in_flight == 0


def test_twins_are_counted_apart_and_stay_so() -> None:
    """Two members with equal settings are two members."""
    holder = ConfigHolder(targets("http://a", "http://a"), LiveState(lambda: 0.0))
    first, second = pool_of(holder).endpoints
    first.limiter.in_flight = 1
    assert second.limiter.in_flight == 0
    holder.replace(targets("http://a", "http://a"))
    assert [member.limiter.in_flight for member in pool_of(holder).endpoints] == [1, 0]


def test_twins_have_one_health_and_one_latency() -> None:
    """What is learnt by one listing of a provider is known to the other; alone in a pool it cannot be left out."""
    urls = ("http://a", "http://b", "http://a")
    holder = ConfigHolder(targets(*urls, strategy="p2c"), LiveState(lambda: 0.0))
    for _ in range(2):
        one, other, twin = pool_of(holder).endpoints
        assert one.health is twin.health is not other.health
        assert one.latency is twin.latency is not other.latency
        assert (one.duplicates, other.duplicates, twin.duplicates) == ((twin,), (), (one,))
        holder.replace(targets(*urls, strategy="p2c"))
    alone = ConfigHolder(targets("http://a", "http://a"), LiveState(lambda: 0.0))
    assert [member.health for member in pool_of(alone).endpoints] == [None, None]


def test_a_permit_from_before_a_reload_is_given_back_to_the_same_counter() -> None:
    """An exchange holds the limiter it was admitted by; the new table counts with the same."""
    holder = ConfigHolder(targets("http://a", concurrency_limit={"max_concurrent_requests": 1}), LiveState(lambda: 0.0))
    held = [pool_of(holder).limiter]
    admit(held, 0.0)
    holder.replace(targets("http://a", concurrency_limit={"max_concurrent_requests": 2}))
    assert pool_of(holder).limiter.in_flight == 1
    assert not pool_of(holder).limiter.full
    release(held)
    assert pool_of(holder).limiter.in_flight == 0


def test_a_reload_is_no_refill() -> None:
    """An unchanged rate limit keeps what was spent; a changed one begins anew."""
    holder = ConfigHolder(targets("http://a", rate_limit=RATE), LiveState(lambda: 0.0))
    admit([pool_of(holder).limiter], 0.0)
    holder.replace(targets("http://b", rate_limit=RATE))
    bucket = pool_of(holder).limiter.bucket
    assert bucket is not None
    assert bucket.wait_for(1.0, 0.0) > 0
    holder.replace(targets("http://b", rate_limit={**RATE, "burst_size": 2}))
    bucket = pool_of(holder).limiter.bucket
    assert bucket is not None
    assert bucket.wait_for(1.0, 0.0) == 0


def test_a_reload_is_no_refill_for_a_provider() -> None:
    """The limit of one provider, while another one of the pool changes."""

    def with_second(url: str) -> Snapshot:
        return snapshot({"m": {"providers": [{"url": "http://a", "rate_limit": RATE}, {"url": url}]}})

    holder = ConfigHolder(with_second("http://b"), LiveState(lambda: 0.0))
    admit([pool_of(holder).endpoints[0].limiter], 0.0)
    holder.replace(with_second("http://c"))
    bucket = pool_of(holder).endpoints[0].limiter.bucket
    assert bucket is not None
    assert bucket.wait_for(1.0, 0.0) > 0


def test_limits_of_keys_survive_too() -> None:
    """By the key's id."""

    def with_key(token: str) -> Snapshot:
        auth = {"key_definitions": {"a": {"key": token, "rate_limit": RATE}}}
        return snapshot({"m": {"url": "http://a", "keys": ["a"]}}, auth=auth)

    def key_bucket_wait(holder: ConfigHolder) -> float:
        (digest,) = holder.current.snapshot.key_definitions
        limiter = holder.current.table.resolve("m", Principal(digest)).limiters[-1]
        assert limiter.bucket is not None
        wait = limiter.bucket.wait_for(1.0, 0.0)
        if not wait:
            admit([limiter], 0.0)
        return wait

    holder = ConfigHolder(with_key("sk-1"), LiveState(lambda: 0.0))
    assert key_bucket_wait(holder) == 0
    holder.replace(with_key("sk-2"))
    assert key_bucket_wait(holder) > 0


def test_who_left_and_comes_back_while_busy_is_still_busy() -> None:
    """A provider taken out while a stream runs, and put back, has that stream on its account."""
    holder = ConfigHolder(targets("http://a", "http://b"), LiveState(lambda: 0.0))
    busy = pool_of(holder).endpoints[0].limiter
    busy.in_flight = 1
    holder.replace(targets("http://b"))
    holder.replace(targets("http://a", "http://b"))
    assert pool_of(holder).endpoints[0].limiter is busy


def test_who_left_idle_is_forgotten() -> None:
    """Memory follows the configuration, not its history."""
    state = LiveState(lambda: 0.0)
    holder = ConfigHolder(targets("http://a", "http://b"), state)
    for number in range(20):
        holder.replace(targets(f"http://h{number}"))
    assert len(state._limiters) == 2  # the pool and its one provider


def test_an_exchange_keeps_the_generation_it_began_with() -> None:
    """``current`` is replaced, never changed."""
    holder = ConfigHolder(targets("http://a"), LiveState(lambda: 0.0))
    before = holder.current
    holder.replace(targets("http://b"))
    assert before.snapshot.pools["m"].providers[0].host == b"a"
    assert holder.current.snapshot.pools["m"].providers[0].host == b"b"


# What was learnt by asking

PAIR = (Provider("a", "a"), Provider("b", "b"))
EJECTION = EjectionPolicy(consecutive_failures=1)


def compiled(*pools: Pool) -> Snapshot:
    return Snapshot({pool.name: pool for pool in pools})


def health_of(holder: ConfigHolder, place: int = 0) -> Health:
    health = pool_of(holder).endpoints[place].health
    assert health is not None
    return health


def test_an_ejection_survives_a_reload() -> None:
    """Like the counters: by identity, in whatever place."""
    holder = ConfigHolder(compiled(Pool("m", PAIR, ejection=EJECTION)), LiveState(lambda: 0.0))
    before = health_of(holder)
    before.failed(0.0)
    third = Provider("c", "c")
    holder.replace(compiled(Pool("m", (third, *PAIR), ejection=replace(EJECTION, base_time=7.0))))
    assert [health_of(holder, place).state for place in range(3)] == [
        HealthState.HEALTHY,
        HealthState.EJECTED,
        HealthState.HEALTHY,
    ]
    assert health_of(holder, 1) is before
    holder.replace(compiled(Pool("m", PAIR, ejection=EJECTION), Pool("other", PAIR)))
    other = pool_of(holder, "other").endpoints[0].health
    assert other is not None
    assert other is not before


def test_who_left_is_not_remembered_as_ill() -> None:
    """One that comes back is new."""
    holder = ConfigHolder(compiled(Pool("m", PAIR, ejection=EJECTION)), LiveState(lambda: 0.0))
    health_of(holder).failed(0.0)
    holder.replace(compiled(Pool("m", PAIR[1:])))
    holder.replace(compiled(Pool("m", PAIR, ejection=EJECTION)))
    assert health_of(holder).state is HealthState.HEALTHY


def knows_more(target: LivePool) -> bool:
    """True if anything but limiters is asked or told on the way of a request."""
    members = any(member.health is not None or member.latency is not None for member in target.endpoints)
    return (
        members
        or target.pool.affinity is not None
        or target.retry_budget is not None
        or target.hedge_budget is not None
    )


@pytest.mark.parametrize(
    "pool",
    [
        Pool("m", PAIR[:1]),
        Pool("m", (PAIR[0], Provider("b", "b", weight=0))),
        Pool("m", (Provider("a", "a", health_check=HealthCheck()),)),
        Pool("m", PAIR, ejection=None),
        Pool("m", ()),
    ],
)
def test_nothing_is_on_the_path_where_nobody_can_be_left_out(pool: Pool) -> None:
    """Of one undrained provider, or with ejection off: no health at all."""
    target = pool_of(ConfigHolder(compiled(pool), LiveState(lambda: 0.0)))
    assert [member.health for member in target.endpoints] == [None] * len(pool.providers)
    assert not knows_more(target)


def test_a_drained_provider_has_no_health() -> None:
    """It is not asked, so there is nothing to know."""
    pool = Pool("m", (*PAIR, Provider("c", "c", weight=0)))
    target = pool_of(ConfigHolder(compiled(pool), LiveState(lambda: 0.0)))
    assert [member.health is None for member in target.endpoints] == [False, False, True]


def test_who_is_checked_has_health_although_ejection_is_off() -> None:
    """Checks alone take it out then; exchanges do not."""
    checked = replace(PAIR[0], health_check=HealthCheck(unhealthy_after=1))
    target = pool_of(ConfigHolder(compiled(Pool("m", (checked, PAIR[1]), ejection=None)), LiveState(lambda: 0.0)))
    first, second = target.endpoints
    assert second.health is None
    assert first.health is not None
    for _ in range(100):
        first.health.failed(0.0)
    assert first.health.state is HealthState.HEALTHY
    first.health.checked(False, 0.0)
    assert first.health.state is HealthState.UNHEALTHY


@pytest.mark.parametrize(
    "pool",
    [
        Pool("m", PAIR),
        Pool("m", PAIR, Strategy.P2C, ejection=None),
        Pool("m", PAIR, fallback=FallbackPolicy(enabled=True), ejection=None),
        Pool("m", PAIR, affinity=Affinity(session=(b"x",)), ejection=None),
        Pool("m", PAIR, hedge=HedgePolicy(1.0), ejection=None),
    ],
)
def test_a_pool_of_which_more_is_known_is_not_plain(pool: Pool) -> None:
    """Health, latency, a budget, affinity or hedging: each by itself."""
    assert knows_more(pool_of(ConfigHolder(compiled(pool), LiveState(lambda: 0.0))))


@pytest.mark.parametrize(
    ("policy", "bound"),
    [
        (FallbackPolicy(enabled=True), True),
        (FallbackPolicy(enabled=True, max_attempts=1), False),
        (FallbackPolicy(enabled=True, budget=None), False),
        (FallbackPolicy(), False),
    ],
)
def test_a_pool_has_a_retry_budget_if_it_may_try_again(policy: FallbackPolicy, bound: bool) -> None:
    """And unless that is switched off."""
    target = pool_of(ConfigHolder(compiled(Pool("m", PAIR, fallback=policy)), LiveState(lambda: 0.0)))
    assert (target.retry_budget is not None) is bound


def test_budgets_and_latencies_survive_a_reload() -> None:
    """A reload is no refill; hedges have a budget of their own, which time does not fill."""
    fallback = FallbackPolicy(enabled=True, budget=RetryBudgetPolicy(0.0, 1.0))
    pool = Pool("m", PAIR, Strategy.P2C, fallback, hedge=HedgePolicy(1.0))
    now = 0.0
    holder = ConfigHolder(compiled(pool), LiveState(lambda: now))
    before = pool_of(holder)
    assert before.retry_budget is not None
    assert before.hedge_budget is not None
    assert sum(before.retry_budget.take(0.0) for _ in range(99)) == 10
    assert sum(before.hedge_budget.take(1e6) for _ in range(99)) == 10
    holder.replace(compiled(replace(pool, max_body=1)))
    after = pool_of(holder)
    assert after.retry_budget is before.retry_budget
    assert after.hedge_budget is before.hedge_budget
    assert after.retry_budget is not None
    assert not after.retry_budget.take(0.0)
    more = FallbackPolicy(enabled=True, budget=RetryBudgetPolicy(0.0, 5.0))
    holder.replace(compiled(replace(pool, fallback=more)))
    assert sum(after.retry_budget.take(1.0) for _ in range(99)) == 5
    holder.replace(compiled(pool))
    after = pool_of(holder)
    assert [member.latency for member in after.endpoints] == [member.latency for member in before.endpoints]
    assert after.endpoints[0].latency is not after.endpoints[1].latency
