"""Admission by several limits: all grant, or no limit is charged and the refusal names the blocking one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits_world import Caller, World, state_of

from onwards_py.errors import ErrorKind, LimitState, ProxyError
from onwards_py.limits.admission import Rejection, admit, release, try_acquire
from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import run_now
from onwards_py.model.limits import Limits, QueuePolicy, RateLimit

QUEUE = QueuePolicy()


def limiter(limits: Limits) -> Limiter:
    return Limiter(limits, 0.0, run_now)


def blocked(*limiters: Limiter, now: float = 0.0, estimate: float = 0.0) -> Rejection:
    verdict = try_acquire(limiters, now, estimate)
    assert verdict is not None
    return verdict


def test_a_rate_limit_refusal_has_retry_after() -> None:
    """Three requests may come at once and one every 10 seconds; the bucket is full again after 30."""
    limit = limiter(Limits(RateLimit(0.1, 3.0)))
    for _ in range(3):
        assert try_acquire([limit], 0.0) is None
    verdict = blocked(limit, now=4.0)
    assert verdict.limiter is limit
    assert verdict.retry_in == pytest.approx(6.0)
    assert (verdict.error.kind, verdict.error.code) == (ErrorKind.RATE_LIMIT, "rate_limit")
    assert verdict.error.retry_after == pytest.approx(6.0)
    assert verdict.error.limit == LimitState("requests", 3, 0, pytest.approx(26.0))  # type: ignore[arg-type]


def test_a_concurrency_refusal_names_the_limit() -> None:
    """The time until a permit is released is not known."""
    limit = limiter(Limits(concurrency=2))
    admit([limit], 0.0)
    admit([limit], 0.0)
    verdict = blocked(limit)
    assert verdict.retry_in is None
    assert verdict.error.kind is ErrorKind.CONCURRENCY_LIMIT
    assert verdict.error.retry_after == 1.0
    assert verdict.error.limit == LimitState("concurrent-requests", 2, 0, None)


def test_a_token_refusal_names_the_limit() -> None:
    """The code is that of a rate limit; the message and the fields name tokens."""
    limit = limiter(Limits(tokens=RateLimit(10.0, 600.0)))
    admit([limit], 0.0, 550.0)
    verdict = blocked(limit, estimate=100.0)
    assert verdict.retry_in == pytest.approx(5.0)
    assert (verdict.error.kind, verdict.error.code) == (ErrorKind.RATE_LIMIT, "rate_limit")
    assert "tokens" in verdict.error.message
    assert verdict.error.limit == LimitState("tokens", 600, 50, pytest.approx(55.0))  # type: ignore[arg-type]
    assert try_acquire([limit], 0.0, 50.0) is None


def test_the_usage_replaces_the_estimate() -> None:
    """Usage above the estimate is a debt; the rest of an estimate is refunded, up to a full bucket."""
    limit = limiter(Limits(tokens=RateLimit(10.0, 600.0)))
    admit([limit], 0.0, 100.0)
    limit.charge(900.0)
    assert limit.tokens is not None
    assert limit.tokens.remaining(0.0) == -400.0
    verdict = blocked(limit, estimate=100.0)
    assert verdict.retry_in == pytest.approx(50.0)
    assert verdict.error.limit == LimitState("tokens", 600, 0, pytest.approx(100.0))  # type: ignore[arg-type]
    assert try_acquire([limit], 50.0, 100.0) is None
    limit.charge(-10_000.0)
    assert limit.tokens.remaining(50.0) == 600.0


def test_an_estimate_above_the_burst_waits_for_a_full_bucket() -> None:
    """It does not wait for ever, and the excess is a debt."""
    limit = limiter(Limits(tokens=RateLimit(10.0, 100.0)))
    assert try_acquire([limit], 0.0, 500.0) is None
    assert blocked(limit, estimate=500.0).retry_in == pytest.approx(50.0)
    assert try_acquire([limit], 50.0, 500.0) is None


def test_a_debt_delays_requests_without_an_estimate() -> None:
    """A request without a body waits while the bucket is below zero."""
    limit = limiter(Limits(tokens=RateLimit(10.0, 100.0)))
    admit([limit], 0.0, 150.0)
    assert blocked(limit).retry_in == pytest.approx(5.0)
    assert try_acquire([limit], 5.0) is None


def test_settling_without_a_token_limit_has_no_effect() -> None:
    """The caller need not check first."""
    limit = limiter(Limits(RateLimit(1.0, 5.0), 3))
    limit.charge(100.0)
    assert try_acquire([limit], 0.0, 100.0) is None


def test_the_order_is_concurrency_requests_tokens() -> None:
    """The first blocking limit is named. Retry-After is the longest wait of all."""
    places, requests, tokens = (
        limiter(limits)
        for limits in (Limits(concurrency=0), Limits(RateLimit(0.1, 1.0)), Limits(tokens=RateLimit(0.01, 1.0)))
    )
    admit([requests, tokens], 0.0, 1.0)
    for limiters, first in (
        ([tokens, requests, places], places),
        ([tokens, requests], requests),
        ([tokens], tokens),
    ):
        verdict = blocked(*limiters, estimate=1.0)
        assert verdict.limiter is first
        assert verdict.error.retry_after == pytest.approx(100.0)


def test_retry_after_is_the_longer_of_two_waits() -> None:
    """The shorter one has passed by then."""
    quick, slow = (limiter(Limits(RateLimit(rate, 1.0))) for rate in (10.0, 0.1))
    admit([quick, slow], 0.0)
    for limiters in ([quick, slow], [slow, quick]):
        assert blocked(*limiters).limiter is slow


def test_a_rejecting_limit_prevents_a_useless_wait() -> None:
    """A limit that rejects is checked before one with a queue."""
    patient = limiter(Limits(concurrency=0, queue=QUEUE))
    strict = limiter(Limits(RateLimit(0.1, 1.0)))
    admit([strict], 0.0)
    verdict = blocked(patient, strict)
    assert verdict.limiter is strict
    assert verdict.error.kind is ErrorKind.RATE_LIMIT


@pytest.mark.parametrize(
    ("limits", "kind", "name"),
    [
        (Limits(concurrency=1, queue=QUEUE), ErrorKind.CONCURRENCY_LIMIT, "concurrent-requests"),
        (Limits(RateLimit(1.0, 1.0), queue=QUEUE), ErrorKind.RATE_LIMIT, "requests"),
        (Limits(tokens=RateLimit(1.0, 1.0), queue=QUEUE), ErrorKind.RATE_LIMIT, "tokens"),
    ],
    ids=["places", "requests", "tokens"],
)
def test_a_newcomer_waits_for_the_queue_before_it(limits: Limits, kind: ErrorKind, name: str) -> None:
    """A free permit is for the head of the queue. The refusal still names a limit."""
    world = World()
    limit = world.limiter(limits)
    holder, head = Caller(world, [limit], 1.0), Caller(world, [limit], 1.0)
    holder.enter()
    head.enter()
    assert (holder.state, head.state) == ("in", "waiting")
    release([limit])
    verdict = blocked(limit, now=60.0, estimate=1.0)
    assert verdict.retry_in is None
    assert (verdict.error.kind, verdict.error.retry_after) == (kind, 1.0)
    assert verdict.error.limit is not None
    assert verdict.error.limit.name == name


def test_admit_raises_the_refusal() -> None:
    """`admit` is `try_acquire` for callers that do not wait."""
    full = limiter(Limits(concurrency=0, queue=QUEUE))
    with pytest.raises(ProxyError) as refused:
        admit([full], 0.0)
    assert refused.value.limit == LimitState("concurrent-requests", 0, 0)


@pytest.mark.parametrize(
    ("limits", "bounded", "watched"),
    [
        (Limits(), False, False),
        (Limits(queue=QUEUE), False, False),
        (Limits(concurrency=1), True, False),
        (Limits(RateLimit(1.0, 1.0)), True, False),
        (Limits(concurrency=1, queue=QUEUE), True, True),
        (Limits(tokens=RateLimit(1.0, 1.0)), True, True),
    ],
)
def test_bounded_and_watched_follow_the_limits(limits: Limits, bounded: bool, watched: bool) -> None:
    """``bounded``: admission is needed before the exchange; ``watched``: a charge is needed after it. Both follow a
    reload."""
    made, adopted = limiter(limits), limiter(Limits(concurrency=7, queue=QUEUE))
    adopted.reconfigure(limits, 0.0)
    for one in (made, adopted):
        assert (one.bounded, one.watched) == (bounded, watched)


def test_unchanged_token_limits_keep_their_state() -> None:
    """A reload neither refills a bucket nor cancels a debt."""
    limits = Limits(tokens=RateLimit(1.0, 100.0))
    limit = limiter(limits)
    admit([limit], 0.0, 400.0)
    limit.reconfigure(Limits(RateLimit(1.0, 1.0), 5, RateLimit(1.0, 100.0), QUEUE), 0.0)
    assert limit.tokens is not None
    assert limit.tokens.remaining(0.0) == -300.0
    limit.reconfigure(Limits(tokens=RateLimit(2.0, 100.0)), 0.0)
    assert limit.tokens is not None
    assert limit.tokens.remaining(0.0) == 100.0


ANY_LIMITS = st.builds(
    Limits,
    st.none() | st.builds(RateLimit, st.sampled_from([0.5, 5.0]), st.integers(1, 3).map(float)),
    st.none() | st.integers(1, 3),
    st.none() | st.builds(RateLimit, st.just(10.0), st.sampled_from([10.0, 40.0])),
    st.none() | st.builds(QueuePolicy, st.integers(0, 4)),
)
STEPS = ["enter", "enter", "release", "settle", "tired", "wait", "run", "reload"]


class Mill:
    """Keys, a pool and providers with any limits, and callers that come, wait, leave and use them."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.world = World()
        self.limiters = [
            self.world.limiter(limits) for limits in data.draw(st.lists(ANY_LIMITS, min_size=1, max_size=4))
        ]
        self.callers: list[Caller] = []
        self.granted: list[Caller] = []

    def some(self, state: str) -> Caller | None:
        found = [caller for caller in self.callers if caller.state == state]
        return self.data.draw(st.sampled_from(found)) if found else None

    def step(self, step: str) -> None:
        if step == "enter":
            mine = self.data.draw(st.lists(st.sampled_from(self.limiters), min_size=1, unique=True))
            caller = Caller(self.world, mine, float(self.data.draw(st.integers(0, 10))), self.granted)
            self.callers.append(caller)
            caller.enter()
        elif step == "wait":
            self.world.advance(self.data.draw(st.sampled_from([0.01, 0.3, 2.0])))
        elif step == "run":
            self.world.run()
        elif step == "reload":
            self.reload(self.data.draw(st.sampled_from(self.limiters)))
        elif (caller := self.some("waiting" if step == "tired" else "in")) is not None:  # type: ignore[assignment]
            if step == "settle":
                for limiter in caller.limiters:
                    limiter.charge(-caller.estimate)
                caller.estimate = 0.0
            caller.leave()

    def reload(self, limit: Limiter) -> None:
        """Concurrency and queue change; rates stay, so that their sum can be computed."""
        old = limit.limits
        new = self.data.draw(ANY_LIMITS)
        limit.reconfigure(Limits(old.rate, new.concurrency, old.tokens, new.queue), self.world.now)

    def check(self) -> None:
        """The invariants."""
        inside = [caller for caller in self.callers if caller.state == "in"]
        for limit in self.limiters:
            used = [caller for caller in self.granted if limit in caller.limiters]
            assert limit.in_flight == sum(limit in caller.limiters for caller in inside)
            if limit.limits.rate is not None:
                assert len(used) <= _most(limit.limits.rate, self.world.now)
            if limit.limits.tokens is not None:
                assert sum(caller.estimate for caller in used) <= _most(limit.limits.tokens, self.world.now)
        for caller in self.callers:
            assert bool(caller.waiter.queues) == (caller.state == "waiting")


def _most(rate: RateLimit, now: float) -> float:
    return rate.burst + rate.per_second * now + 1e-3


@given(st.data(), st.lists(st.sampled_from(STEPS), max_size=50))
def test_limits_hold_and_no_caller_is_lost_in_any_order(data: st.DataObject, steps: list[str]) -> None:
    """Each try is all or nothing, permits add up, rates are kept, and each waiting caller is admitted or refused
    after the others have left and time has passed."""
    mill = Mill(data)
    for step in steps:
        mill.step(step)
        mill.check()
    for _ in range(len(mill.callers)):
        for caller in mill.callers:
            if caller.state == "in":
                caller.leave()
        mill.world.advance(20.0)
    assert [caller.state for caller in mill.callers if caller.state not in ("in", "out", "refused")] == []


@given(st.data(), st.lists(st.sampled_from(["enter", "release"]), max_size=30))
def test_permits_never_exceed_the_limit(data: st.DataObject, steps: list[str]) -> None:
    """The limits do not change in this test."""
    mill = Mill(data)
    for step in steps:
        mill.step(step)
        mill.world.run()
        for limit in mill.limiters:
            assert limit.limits.concurrency is None or limit.in_flight <= limit.limits.concurrency


def test_the_state_of_a_limiter_is_all_that_it_counts() -> None:
    """The helper for the check of all or nothing sees every counter."""
    limit = limiter(Limits(RateLimit(1.0, 5.0), 3, RateLimit(1.0, 9.0)))
    admit([limit], 0.0, 2.0)
    assert state_of(limit, 0.0) == (1, 4.0, 7.0)
