"""The fallback plan: the next provider, the backoff before it, and when to stop.

A plan ends at the commit: after the first byte of a response was sent to the client, there are no further attempts. The
number of attempts is independent of the strategy: if every provider was tried and attempts remain, a new pass over the
providers begins. Ejected providers come last in a pass, after all available ones have failed this exchange.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from onwards_py.limits.admission import Rejection
from onwards_py.messages import Fault, Random
from onwards_py.model.policies import FallbackPolicy, Strategy
from onwards_py.routing.balancer import Endpoint, choose, choose_fast_path
from onwards_py.routing.health import HealthState
from onwards_py.routing.table import LivePool
from onwards_py.wire.error_codes import CONTENT_FILTER_CODES

_NO_FALLBACK: Final = FallbackPolicy()
_SHORT_RETRY_AFTER: Final = 5.0
"""Seconds: the longest Retry-After that is waited for at the same provider instead of trying another one."""


class FallbackPlan(msgspec.Struct):
    """The attempts of one exchange with ``target``. Constructing a plan counts as a request in the pool's budgets.

    ``key`` is the affinity key. ``elapsed``: age of the exchange in seconds; the caller sets it when an attempt has
    failed. ``endpoints``: those that were not excluded. ``over_budget``: the attempts ended because the pool's retry
    budget was empty. ``rejections``: limits of endpoints that were chosen but not acquired. ``policy`` is the pool's.
    """

    target: LivePool
    random: Random
    key: bytes | None = None
    policy: FallbackPolicy = _NO_FALLBACK
    attempts: int = 0
    elapsed: float = 0.0
    over_budget: bool = False
    endpoints: Sequence[Endpoint] = ()
    rejections: list[Rejection] = []
    _limit: int = 1
    _tried: list[Endpoint] = []
    _last: Endpoint | None = None
    _attempted: list[Endpoint] = []
    _planned: Endpoint | None = None
    _same: Endpoint | None = None
    _same_attempts: int = 0
    _probed: Endpoint | None = None
    _lease: float = 0.0
    _retry_after: dict[str, float] = {}
    _waited: float = 0.0

    def __post_init__(self) -> None:
        target = self.target
        self.endpoints = endpoints = target.endpoints
        self.policy = policy = target.pool.fallback
        if policy.enabled:
            self._limit = policy.max_attempts or len(endpoints)
        if target.retry_budget is not None:
            target.retry_budget.deposit()
        if target.hedge_budget is not None:
            target.hedge_budget.deposit()

    # The next endpoint

    def next(self, now: float) -> Endpoint | None:
        """The endpoint of the next attempt; None if no attempt remains or no endpoint has capacity.

        A probe that the last attempt took and that ended without a result is released.
        """
        if not self.attempts and self.key is None:
            fast = choose_fast_path(self.target.pool.strategy, self.endpoints, self.random, now)
            if fast is not None:
                self._record(fast)
                return fast
        self.abandon(now)
        same, self._same = self._same, None
        if same is not None and not same.limiter.full:
            self._same_attempts += 1
            if self.policy.max_attempts is None:
                self._limit += 1  # retries at the same provider are additional
            self.attempts += 1
            return same
        self._same_attempts = 0
        endpoint = (self._as_planned(now) or self._candidate(now)) if self.attempts < self._limit else None
        if endpoint is None:
            return None
        if endpoint in self._tried:
            self._tried.clear()  # a new pass
        self._record(endpoint)
        health = endpoint.health
        if health is not None and health.state is not HealthState.HEALTHY and health.try_probe(now):
            self._probed = endpoint
            self._lease = health.excluded_until
        return endpoint

    def hedge(self, now: float) -> Endpoint | None:
        """An endpoint for a hedged request; None if there is none or the hedge budget is empty.

        It counts as an attempt; without fallback it is the second of two. It is always a healthy one, and never a
        probe.
        """
        hedges = self.target.hedge_budget
        if hedges is None or self.attempts >= max(self._limit, 2):
            return None
        others = [endpoint for endpoint in self.endpoints if self._is_fresh(endpoint)]
        endpoint = self._choose(others, now)
        if endpoint is None or not hedges.take(now):
            return None
        if self._last is not None:
            self._attempted.append(self._last)
        self._record(endpoint)
        return endpoint

    def exclude(self, endpoint: Endpoint) -> None:
        """Remove ``endpoint``, the last one chosen, because it cannot serve this request. That is not counted as an
        attempt, and the other endpoints remain available, also without fallback."""
        self.attempts -= 1
        self.endpoints = [other for other in self.endpoints if other is not endpoint]
        self._tried = [other for other in self._tried if other is not endpoint and other not in endpoint.duplicates]

    def restart(self, now: float) -> None:
        """Begin again: no request was sent, and the state of the endpoints has changed."""
        self.abandon(now)
        self.attempts = 0
        self._tried.clear()

    @property
    def probing(self) -> bool:
        """True if the last `next` chose an ejected provider as its probe."""
        return self._probed is not None

    def abandon(self, now: float) -> None:
        """The attempt is over. If it was a probe without a result, another exchange may take the probe."""
        probed = self._probed
        if probed is not None and probed.health is not None:
            self._probed = None
            # Another lease belongs to the probe of another exchange.
            if probed.health.state is HealthState.PROBATION and probed.health.excluded_until == self._lease:
                probed.health.abandon_probe(now)

    # Whether to continue

    @property
    def may_continue(self) -> bool:
        """True while another attempt is allowed after the current one."""
        within = self.policy.only_if_failed_within
        return (self.attempts < self._limit or self._same is not None) and (within is None or self.elapsed <= within)

    @property
    def may_retry_same(self) -> bool:
        """True while another attempt at the same provider is allowed, for any reason."""
        same, most = self.policy.same, self.policy.max_attempts
        if same is None or not self.policy.enabled or self._same_attempts >= same.attempts:
            return False
        return most is None or self.attempts < most

    @property
    def exhausted(self) -> bool:
        """True if fallback made more than one attempt, so that the client's own retry would repeat them."""
        return self.policy.enabled and self.attempts > 1

    def retries_status(self, status: int, endpoint: Endpoint | None = None, now: float = 0.0) -> bool:
        """True if a response with this status is discarded for another attempt, at ``endpoint`` (its sender) or at
        another one."""
        policy = self.policy
        if not policy.enabled:
            return False
        same = policy.same is not None and status in policy.same.statuses and self._plan_same(endpoint, now)
        return same or status in policy.statuses

    def retries_error(self, status: int, codes: Collection[str], endpoint: Endpoint, now: float) -> bool:
        """True if an error response with these ``codes`` is discarded for another attempt. A listed code always
        moves to another provider; otherwise the status decides, but content refusals are final."""
        if self.policy.enabled and not self.policy.codes.isdisjoint(codes):
            self._same = None
            return True
        return CONTENT_FILTER_CODES.isdisjoint(codes) and self.retries_status(status, endpoint, now)

    def retries_reset(self, endpoint: Endpoint | None, now: float) -> bool:
        """True if ``endpoint``, whose connection failed before a response head to a repeatable request, is tried
        once more."""
        same = self.policy.same
        return same is not None and same.on_reset and self._plan_same(endpoint, now)

    def _plan_same(self, endpoint: Endpoint | None, now: float) -> bool:
        """Plan a retry at ``endpoint``, unless it is excluded by now or its Retry-After is long."""
        self._same = None
        if endpoint is None or not self.may_retry_same:
            return False
        if endpoint.health is not None and endpoint.health.state not in (HealthState.HEALTHY, HealthState.RATE_LIMITED):
            return False
        pause = self._retry_after_left(endpoint, now)
        if pause > min(_SHORT_RETRY_AFTER, self.policy.max_retry_after):
            return False
        if not self._has_time(endpoint, pause + self._longest_delay(self._times_attempted(endpoint) + 1)):
            return False
        self._same = endpoint
        return True

    def retries_fault(self, fault: Fault, *, repeatable: bool) -> bool:
        """True if another attempt may follow this failure.

        A request that a provider may have processed is retried only if it is ``repeatable``. A timeout always allows
        another attempt, as in Onwards: the proxy gave that attempt up itself.
        """
        if not self.policy.enabled:
            return False
        if fault is Fault.CLOSED or fault is Fault.INVALID:
            return repeatable
        return fault is not Fault.EXHAUSTED  # another attempt would lack the same resource

    def retries_rate_limit(self) -> bool:
        """True if another provider is tried when the proxy's own rate limit of a provider is exceeded."""
        return self.policy.enabled and self.policy.on_rate_limit

    # Backoff

    def note_retry_after(self, endpoint: Endpoint, seconds: float | None, now: float) -> None:
        """``endpoint`` sent Retry-After: ``seconds`` (None: it did not).

        It is recorded for this exchange only, so that it also works for providers without health.
        """
        if seconds is not None:
            self._retry_after[endpoint.provider.shared_identity] = now + seconds

    def backoff(self, now: float) -> float | None:
        """Seconds to wait before the next attempt; None to stop.

        The wait is the remaining Retry-After of the next provider, plus the policy's backoff if that provider has
        failed this exchange before. None if its Retry-After exceeds ``max_retry_after``, if all waits together would
        exceed ``max_total_backoff`` or the exchange its ``total`` timeout, or if the retry budget is empty. Otherwise
        one attempt is charged to that budget.
        """
        policy = self.policy
        if self._last is not None:
            self._attempted.append(self._last)
        self._planned = endpoint = self._same or self._candidate(now)
        wait = 0.0 if endpoint is None else self._delay(endpoint)
        if endpoint is not None and policy.max_retry_after > 0.0:
            pause = self._retry_after_left(endpoint, now)
            if pause > policy.max_retry_after:
                return None
            wait += pause
        if endpoint is not None and not self._has_time(endpoint, wait):
            return None
        budget = self.target.retry_budget
        if budget is not None and not budget.take(now):
            self.over_budget = True
            return None
        self._waited += wait
        return wait

    def _delay(self, endpoint: Endpoint) -> float:
        wait = self._longest_delay(self._times_attempted(endpoint))
        return wait * self.random() if wait and self.policy.backoff_jitter else wait

    def _longest_delay(self, times: int) -> float:
        """The backoff, without jitter, before an endpoint that has already failed ``times`` in this exchange."""
        policy = self.policy
        if not policy.backoff_initial or not times:
            return 0.0
        return min(policy.backoff_initial * policy.backoff_factor ** min(times - 1, 64), policy.backoff_max)

    def _times_attempted(self, endpoint: Endpoint) -> int:
        identity = endpoint.provider.shared_identity
        return sum(one.provider.shared_identity == identity for one in self._attempted)

    def _has_time(self, endpoint: Endpoint, wait: float) -> bool:
        """True if ``wait`` seconds fit into ``max_total_backoff`` and into the ``total`` timeout of ``endpoint``."""
        most, total = self.policy.max_total_backoff, endpoint.provider.timeouts.total
        return (most is None or self._waited + wait <= most) and (
            not wait or total is None or self.elapsed + wait < total
        )

    def _retry_after_left(self, endpoint: Endpoint, now: float) -> float:
        until = self._retry_after.get(endpoint.provider.shared_identity, now)
        if endpoint.health is not None:
            until = max(until, endpoint.health.retry_after_until)
        return max(0.0, until - now)

    # Choosing

    def _candidate(self, now: float) -> Endpoint | None:
        """The next endpoint that this pass has not tried: an available one, else an ejected one that may have
        recovered. If there is neither, any endpoint."""
        endpoint = self._choose(self.endpoints, now, self._tried)
        if endpoint is None and self._tried:
            endpoint = self._ejected(now) or self._choose(self.endpoints, now)
        return endpoint

    def _as_planned(self, now: float) -> Endpoint | None:
        """The endpoint that the backoff was computed for, if it is still available."""
        endpoint, self._planned = self._planned, None
        if endpoint is None or endpoint.limiter.full or endpoint not in self.endpoints:
            return None
        return endpoint if endpoint.health is None or endpoint.health.excluded_until <= now else None

    def _ejected(self, now: float) -> Endpoint | None:
        out = [
            endpoint
            for endpoint in self.endpoints
            if endpoint.health is not None and endpoint.health.may_have_recovered(now) and endpoint not in self._tried
        ]
        return self._choose(out, now) if out else None

    def _choose(self, endpoints: Sequence[Endpoint], now: float, without: Sequence[Endpoint] = ()) -> Endpoint | None:
        pool = self.target.pool
        return choose(pool.strategy, endpoints, self.random, now, without=without, affinity=pool.affinity, key=self.key)

    def _record(self, endpoint: Endpoint) -> None:
        self.attempts += 1
        self._last = endpoint
        if not self.policy.with_replacement or self.target.pool.strategy is Strategy.PRIORITY:
            self._tried.append(endpoint)
            if endpoint.duplicates:
                self._tried += endpoint.duplicates

    def _is_fresh(self, endpoint: Endpoint) -> bool:
        health = endpoint.health
        is_in = health is None or health.state is HealthState.HEALTHY
        other = endpoint is not self._last and (self._last is None or endpoint not in self._last.duplicates)
        return is_in and other and endpoint not in self._tried
