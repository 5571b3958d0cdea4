"""The bucket and the gate, alone and together: all limits grant, or no limit is charged."""

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
    """Take all tokens at ``now``; return their number."""
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
    """The rate is one request in 100 seconds, and the wait agrees."""
    bucket = TokenBucket(RateLimit(0.01, 1.0), 0.0)
    assert drain(bucket, 0.0) == 1
    assert bucket.wait_for(1.0, 40.0) == pytest.approx(60.0)


def test_a_clock_that_stops_or_steps_back_adds_no_tokens() -> None:
    """Only passing time adds tokens."""
    bucket = TokenBucket(RateLimit(1.0, 2.0), 50.0)
    assert drain(bucket, 50.0) == 2
    assert drain(bucket, 50.0) == 0
    assert drain(bucket, 10.0) == 0
    assert drain(bucket, 51.0) == 1


@given(RATES, st.lists(st.floats(0.0, 5.0), max_size=40))
def test_retry_after_is_exact(rate: RateLimit, pauses: list[float]) -> None:
    """A request after Retry-After is admitted, and one before it, within a tolerance, is not."""
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
def test_admissions_never_exceed_burst_and_rate(rate: RateLimit, pauses: list[float]) -> None:
    """In any time t there are at most burst + rate * t."""
    now, served, bucket = 0.0, 0, TokenBucket(rate, 0.0)
    for pause in pauses:
        now += pause
        served += drain(bucket, now)
        assert served <= rate.burst + rate.per_second * now + 1e-6


@given(st.floats(0.0, 1e7), RATES, st.floats(0.1, 1e6))
def test_the_wait_is_enough_on_a_clock_that_has_run_for_months(now: float, rate: RateLimit, count: float) -> None:
    """The sum of a wait and a large clock is rounded, which must not cause another wait of a nanosecond."""
    bucket = TokenBucket(rate, now)
    bucket.take(count)
    assert bucket.wait_for(count, now + bucket.wait_for(count, now)) == 0.0


def test_many_tokens_are_waited_for_together() -> None:
    """With ten per second and at most 100, after 40 were taken, 60 are available at once and 90 after 3 seconds."""
    bucket = TokenBucket(RateLimit(10.0, 100.0), 0.0)
    bucket.take(40.0)
    assert bucket.wait_for(60.0, 0.0) == 0.0
    assert bucket.wait_for(90.0, 0.0) == pytest.approx(3.0)
    assert bucket.wait_for(1000.0, 0.0) == pytest.approx(4.0)


def test_a_debt_is_refilled_first() -> None:
    """A bucket may be below zero; it refills from there."""
    bucket = TokenBucket(RateLimit(10.0, 100.0), 0.0)
    bucket.take(100.0)
    bucket.charge(50.0)
    assert bucket.remaining(0.0) == -50.0
    assert bucket.wait_for(0.0, 0.0) == pytest.approx(5.0)
    assert bucket.wait_for(10.0, 1.0) == pytest.approx(5.0)
    assert bucket.remaining(7.0) == pytest.approx(20.0)


def test_a_refund_does_not_overflow() -> None:
    """It fills the bucket at most."""
    bucket = TokenBucket(RateLimit(10.0, 100.0), 0.0)
    bucket.take(30.0)
    bucket.charge(-50.0)
    assert bucket.remaining(0.0) == 100.0


@given(RATES, st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 60.0), st.floats(-0.5, 2.0)), max_size=40))
def test_settled_usage_never_exceeds_burst_and_rate(rate: RateLimit, uses: list[tuple[float, float, float]]) -> None:
    """In any time t the usage is at most burst + rate * t, except for the debt of the last exchange."""
    now, used, bucket = 0.0, 0.0, TokenBucket(rate, 0.0)
    for pause, count, error in uses:
        now += pause
        if bucket.wait_for(count, now) == 0.0:
            assert used <= rate.burst + rate.per_second * now + 1e-2
            bucket.take(count)
            bucket.charge(count * error)
            used += count * (1.0 + error)


def test_a_gate_has_a_fixed_number_of_permits() -> None:
    """0 means no permits; None means no limit."""
    assert Limiter(Limits(concurrency=0), 0.0, run_now).full
    assert not Limiter(Limits(), 0.0, run_now).full
    gate = Limiter(Limits(concurrency=1), 0.0, run_now)
    admit([gate], 0.0)
    with pytest.raises(ProxyError) as refused:
        admit([gate], 0.0)
    assert refused.value.kind is ErrorKind.CONCURRENCY_LIMIT
    release([gate])
    admit([gate], 0.0)


def test_retry_after_is_the_longest_wait() -> None:
    """An earlier retry would be refused by the slower bucket."""
    quick, slow = (Limiter(Limits(RateLimit(rate, 1.0)), 0.0, run_now) for rate in (10.0, 0.1))
    admit([quick, slow], 0.0)
    with pytest.raises(ProxyError) as refused:
        admit([quick, slow], 0.0)
    assert refused.value.kind is ErrorKind.RATE_LIMIT
    assert refused.value.retry_after == pytest.approx(10.0)


@given(st.lists(LIMITS, min_size=1, max_size=4), st.lists(st.sampled_from(["admit", "release", "wait"]), max_size=40))
def test_all_or_nothing(limits: list[Limits], steps: list[str]) -> None:
    """A refusal changes no gate and no bucket."""
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


def test_adopting_the_same_rate_does_not_refill() -> None:
    """A reload keeps the state of an unchanged limit; a changed one begins anew."""
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
