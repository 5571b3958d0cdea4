"""The bucket and the gate, alone and together: all limits grant, or nothing is taken."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.admission import admit, release
from onwards_py.limits.counters import Limiter, TokenBucket
from onwards_py.limits.wait_queue import run_now
from onwards_py.model.limits import Limits, RateLimit

RATES = st.builds(RateLimit, st.floats(0.01, 1000), st.integers(1, 50).map(float))
LIMITS = st.builds(Limits, st.none() | RATES, st.none() | st.integers(0, 4))


def drain(bucket: TokenBucket, now: float) -> int:
    """Take what is there at ``now``; how many tokens that was."""
    taken = 0
    while bucket.wait_for(1.0, now) == 0.0:
        bucket.take(1.0)
        taken += 1
    return taken


def refused_for(limiters: Sequence[Limiter], now: float) -> float | None:
    """The Retry-After of a refusal; None if all limits grant."""
    try:
        admit(limiters, now)
    except ProxyError as refusal:
        return refusal.retry_after
    return None


def test_a_bucket_starts_full_and_refills_up_to_its_size() -> None:
    """Two per second, four at most: 4 at once, then 1 after half a second, 4 after an hour."""
    bucket = TokenBucket(RateLimit(2.0, 4.0), 100.0)
    assert drain(bucket, 100.0) == 4
    assert bucket.wait_for(1.0, 100.0) == 0.5
    assert drain(bucket, 100.4) == 0
    assert drain(bucket, 100.5) == 1
    assert drain(bucket, 3700.0) == 4


def test_less_than_one_per_second_is_possible() -> None:
    """One request per 100 seconds, and the wait says so."""
    bucket = TokenBucket(RateLimit(0.01, 1.0), 0.0)
    assert drain(bucket, 0.0) == 1
    assert bucket.wait_for(1.0, 40.0) == pytest.approx(60.0)


def test_a_clock_that_stands_or_steps_back_gives_nothing() -> None:
    """Tokens come with time only."""
    bucket = TokenBucket(RateLimit(1.0, 2.0), 50.0)
    assert drain(bucket, 50.0) == 2
    assert drain(bucket, 50.0) == 0
    assert drain(bucket, 10.0) == 0
    assert drain(bucket, 51.0) == 1


@given(RATES, st.lists(st.floats(0.0, 5.0), max_size=40))
def test_who_waits_as_long_as_told_is_served_and_nobody_before(rate: RateLimit, pauses: list[float]) -> None:
    """Retry-After is neither too short nor, by more than a tolerance, too long."""
    now, bucket = 0.0, TokenBucket(rate, 0.0)
    for pause in pauses:
        now += pause
        drain(bucket, now)
        wait = bucket.wait_for(1.0, now)
        assert wait > 0.0
        early = copy(bucket)
        assert wait < 1e-4 or early.wait_for(1.0, now + wait * 0.9) > 0.0
        now += wait
        assert bucket.wait_for(1.0, now) == 0.0


@given(RATES, st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40))
def test_never_more_than_the_burst_and_what_flowed_in(rate: RateLimit, pauses: list[float]) -> None:
    """Over any time t: at most burst + rate * t."""
    now, served, bucket = 0.0, 0, TokenBucket(rate, 0.0)
    for pause in pauses:
        now += pause
        served += drain(bucket, now)
        assert served <= rate.burst + rate.per_second * now + 1e-6


@given(st.floats(0.0, 1e7), RATES, st.floats(0.1, 1e6))
def test_the_wait_is_enough_on_a_clock_that_has_run_for_months(now: float, rate: RateLimit, count: float) -> None:
    """Adding a wait to a large clock rounds; nobody is told to wait for another nanosecond because of it."""
    bucket = TokenBucket(rate, now)
    bucket.take(count)
    assert bucket.wait_for(count, now + bucket.wait_for(count, now)) == 0.0


def test_many_are_waited_for_as_one_is() -> None:
    """Ten per second, 100 at most: 60 of them are there when 40 were taken, 90 are there 3 seconds later."""
    bucket = TokenBucket(RateLimit(10.0, 100.0), 0.0)
    bucket.take(40.0)
    assert bucket.wait_for(60.0, 0.0) == 0.0
    assert bucket.wait_for(90.0, 0.0) == pytest.approx(3.0)
    assert bucket.wait_for(1000.0, 0.0) == pytest.approx(4.0)


def test_what_is_owed_comes_first() -> None:
    """A bucket may be below zero; it refills from there."""
    bucket = TokenBucket(RateLimit(10.0, 100.0), 0.0)
    bucket.take(100.0)
    bucket.charge(50.0)
    assert bucket.remaining(0.0) == -50.0
    assert bucket.wait_for(0.0, 0.0) == pytest.approx(5.0)
    assert bucket.wait_for(10.0, 1.0) == pytest.approx(5.0)
    assert bucket.remaining(7.0) == pytest.approx(20.0)


def test_what_comes_back_does_not_overflow() -> None:
    """A refund fills the bucket and no more."""
    bucket = TokenBucket(RateLimit(10.0, 100.0), 0.0)
    bucket.take(30.0)
    bucket.charge(-50.0)
    assert bucket.remaining(0.0) == 100.0


@given(RATES, st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 60.0), st.floats(-0.5, 2.0)), max_size=40))
def test_what_is_settled_is_paid_for(rate: RateLimit, uses: list[tuple[float, float, float]]) -> None:
    """Over any time t: what was really used is at most burst + rate * t, but for what the last one overdrew."""
    now, used, bucket = 0.0, 0.0, TokenBucket(rate, 0.0)
    for pause, count, error in uses:
        now += pause
        if bucket.wait_for(count, now) == 0.0:
            assert used <= rate.burst + rate.per_second * now + 1e-2
            bucket.take(count)
            bucket.charge(count * error)
            used += count * (1.0 + error)


def test_a_gate_has_so_many_places() -> None:
    """0 places are no places; None is no limit."""
    assert Limiter(Limits(concurrency=0), 0.0, run_now).full
    assert not Limiter(Limits(), 0.0, run_now).full
    gate = Limiter(Limits(concurrency=1), 0.0, run_now)
    admit([gate], 0.0)
    with pytest.raises(ProxyError) as refused:
        admit([gate], 0.0)
    assert refused.value.kind is ErrorKind.CONCURRENCY_LIMIT
    release([gate])
    admit([gate], 0.0)


def test_the_longest_wait_is_told() -> None:
    """Coming back earlier would only be refused by the slower bucket."""
    quick, slow = (Limiter(Limits(RateLimit(rate, 1.0)), 0.0, run_now) for rate in (10.0, 0.1))
    admit([quick, slow], 0.0)
    with pytest.raises(ProxyError) as refused:
        admit([quick, slow], 0.0)
    assert refused.value.kind is ErrorKind.RATE_LIMIT
    assert refused.value.retry_after == pytest.approx(10.0)


@given(st.lists(LIMITS, min_size=1, max_size=4), st.lists(st.sampled_from(["admit", "release", "wait"]), max_size=40))
def test_all_or_nothing(limits: list[Limits], steps: list[str]) -> None:
    """A refusal leaves every gate and every bucket as it was: places and tokens alike."""
    limiters = [Limiter(limit, 0.0, run_now) for limit in limits]
    now, held = 0.0, 0
    for step in steps:
        if step == "wait":
            now += 0.3
        elif step == "release" and held:
            release(limiters)
            held -= 1
        elif step == "admit":
            before = [limiter.bucket.wait_for(1.0, now) if limiter.bucket else 0.0 for limiter in limiters]
            wait = refused_for(limiters, now)
            if wait is None:
                held += 1
            else:
                assert wait > 0
                after = [limiter.bucket.wait_for(1.0, now) if limiter.bucket else 0.0 for limiter in limiters]
                assert after == before
        assert [limiter.in_flight for limiter in limiters] == [held] * len(limiters)
        assert all(limit.concurrency is None or held <= limit.concurrency for limit in limits)


def test_adopting_the_same_rate_is_no_refill() -> None:
    """A reload that does not change a limit leaves its state; one that does begins anew."""
    rate = RateLimit(0.1, 2.0)
    limiter = Limiter(Limits(rate, 1), 0.0, run_now)
    admit([limiter], 0.0)
    limiter.reconfigure(Limits(RateLimit(0.1, 2.0), 5), 0.0)
    assert limiter.in_flight == 1
    assert limiter.bucket is not None
    assert drain(limiter.bucket, 0.0) == 1
    limiter.reconfigure(Limits(RateLimit(0.1, 3.0), 5), 0.0)
    assert limiter.bucket is not None
    assert drain(limiter.bucket, 0.0) == 3
    limiter.reconfigure(Limits(), 0.0)
    assert limiter.bucket is None
    assert limiter.in_flight == 1
