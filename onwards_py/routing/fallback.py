"""The fallback plan: which provider next, how long to wait before, and when to stop.

Everything here happens before commit; after the first byte went downstream nobody asks any more. The number of
attempts sits above the strategy: when every provider was tried and attempts are left, a new pass begins. Providers
that earlier exchanges have ejected come last in a pass: when all that are in have failed this exchange.
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
from onwards_py.wire.error_codes import REFUSALS

_NO_FALLBACK: Final = FallbackPolicy()
_SHORT_REST: Final = 5.0
"""Seconds: a Retry-After that is waited for at the same provider, although others may be there."""


class FallbackPlan(msgspec.Struct):
    """The attempts of one exchange with ``target``. Making one is what the pool's budgets count as a request.

    ``random`` gives numbers in [0, 1); ``key`` is what affinity goes by. ``elapsed``, which the caller sets when an
    attempt has failed, is the age of the exchange in seconds. ``endpoints``: those that were not set aside.
    ``over_budget``: the pool's retry budget was the reason to stop. ``rejections``: limits of endpoints that were to be
    asked and did not let in. ``policy`` is the pool's.
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
    _asked: list[Endpoint] = []
    _planned: Endpoint | None = None
    _same: Endpoint | None = None
    _stays: int = 0
    _probed: Endpoint | None = None
    _lease: float = 0.0
    _rests: dict[str, float] = {}
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

    # Whom to ask

    def next(self, now: float) -> Endpoint | None:
        """Whom to try; None when no attempt is left or nobody has a free place.

        A probe that the last attempt took, and of which nothing was told, is given back.
        """
        if not self.attempts and self.key is None:
            fast = choose_fast_path(self.target.pool.strategy, self.endpoints, self.random, now)
            if fast is not None:
                self._note(fast)
                return fast
        self.abandon(now)
        same, self._same = self._same, None
        if same is not None and not same.limiter.full:
            self._stays += 1
            if self.policy.max_attempts is None:
                self._limit += 1  # what is said of the same provider takes nothing from the others
            self.attempts += 1
            return same
        self._stays = 0
        endpoint = (self._as_planned(now) or self._candidate(now)) if self.attempts < self._limit else None
        if endpoint is None:
            return None
        if endpoint in self._tried:
            self._tried.clear()  # only a new pass asks somebody again
        self._note(endpoint)
        health = endpoint.health
        if health is not None and health.state is not HealthState.HEALTHY and health.try_probe(now):
            self._probed = endpoint
            self._lease = health.excluded_until
        return endpoint

    def hedge(self, now: float) -> Endpoint | None:
        """Another one to ask while an attempt is still going on; None if there is none, or the hedge budget is empty.

        Counts as an attempt; without fallback it is the second of two. Never one that is out, or due for a probe.
        """
        hedges = self.target.hedge_budget
        if hedges is None or self.attempts >= max(self._limit, 2):
            return None
        others = [endpoint for endpoint in self.endpoints if self._is_fresh(endpoint)]
        endpoint = self._choose(others, now)
        if endpoint is None or not hedges.take(now):
            return None
        if self._last is not None:
            self._asked.append(self._last)
        self._note(endpoint)
        return endpoint

    def exclude(self, endpoint: Endpoint) -> None:
        """``endpoint``, which was given last, cannot take this request at all: that was no attempt, and is asked no
        more. Others go on, also without fallback."""
        self.attempts -= 1
        self.endpoints = [other for other in self.endpoints if other is not endpoint]
        self._tried = [other for other in self._tried if other is not endpoint and other not in endpoint.duplicates]

    def restart(self, now: float) -> None:
        """Nobody was asked after all, and something has changed since: begin again."""
        self.abandon(now)
        self.attempts = 0
        self._tried.clear()

    @property
    def probing(self) -> bool:
        """True if the last `next` took the probe of a provider that was ejected."""
        return self._probed is not None

    def abandon(self, now: float) -> None:
        """The attempt is over. If it was a probe, and no verdict was told, the next one may try."""
        probed = self._probed
        if probed is not None and probed.health is not None:
            self._probed = None
            # Another lease is another's probe.
            if probed.health.state is HealthState.PROBATION and probed.health.excluded_until == self._lease:
                probed.health.abandon_probe(now)

    # Whether to go on

    @property
    def may_continue(self) -> bool:
        """True while another attempt is allowed after the present one."""
        within = self.policy.only_if_failed_within
        return (self.attempts < self._limit or self._same is not None) and (within is None or self.elapsed <= within)

    @property
    def may_retry_same(self) -> bool:
        """True while another attempt at the same provider is allowed, for whatever reason."""
        same, most = self.policy.same, self.policy.max_attempts
        if same is None or not self.policy.enabled or self._stays >= same.attempts:
            return False
        return most is None or self.attempts < most

    @property
    def exhausted(self) -> bool:
        """True if more than one attempt was made: nobody else need try what the pool has tried already."""
        return self.policy.enabled and self.attempts > 1

    def retries_status(self, status: int, endpoint: Endpoint | None = None, now: float = 0.0) -> bool:
        """True if a response with this status is to be given up for another attempt: at ``endpoint``, which gave it, or
        elsewhere."""
        policy = self.policy
        if not policy.enabled:
            return False
        stays = policy.same is not None and status in policy.same.statuses and self._stays_at(endpoint, now)
        return stays or status in policy.statuses

    def retries_error(self, status: int, codes: Collection[str], endpoint: Endpoint, now: float) -> bool:
        """True if an answer that is an error, and calls itself by ``codes``, is to be given up for another attempt: of
        another provider, if one of its codes is listed. A refusal of what the request is about is not, unless it is."""
        if self.policy.enabled and not self.policy.codes.isdisjoint(codes):
            self._same = None
            return True
        return REFUSALS.isdisjoint(codes) and self.retries_status(status, endpoint, now)

    def retries_reset(self, endpoint: Endpoint | None, now: float) -> bool:
        """True if ``endpoint``, whose connection died before it answered a request that may be sent again, is to be
        asked once more."""
        same = self.policy.same
        return same is not None and same.on_reset and self._stays_at(endpoint, now)

    def _stays_at(self, endpoint: Endpoint | None, now: float) -> bool:
        """Plan to ask ``endpoint`` again, unless it is out by now, or wants to be left alone for long."""
        self._same = None
        if endpoint is None or not self.may_retry_same:
            return False
        if endpoint.health is not None and endpoint.health.state not in (HealthState.HEALTHY, HealthState.RATE_LIMITED):
            return False
        rest = self._rest_of(endpoint, now)
        if rest > min(_SHORT_REST, self.policy.max_retry_after):
            return False
        if not self._has_time(endpoint, rest + self._longest_delay(self._times_asked(endpoint) + 1)):
            return False
        self._same = endpoint
        return True

    def retries_fault(self, fault: Fault, *, repeatable: bool) -> bool:
        """True if this failure may be followed by another attempt.

        A request that may have been worked on is moved on only if it is ``repeatable``; one that timed out has been
        given up by us, and is (as in Onwards) always moved on.
        """
        if not self.policy.enabled:
            return False
        if fault is Fault.CLOSED or fault is Fault.INVALID:
            return repeatable
        return fault is not Fault.EXHAUSTED  # a further attempt would lack the same

    def retries_rate_limit(self) -> bool:
        """True if a provider's own rate limit moves the exchange on instead of refusing it."""
        return self.policy.enabled and self.policy.on_rate_limit

    # How long to wait

    def note_retry_after(self, endpoint: Endpoint, seconds: float | None, now: float) -> None:
        """``endpoint`` answered that it wants to be left alone for ``seconds`` (Retry-After; None: it did not say).

        For this exchange only, so that it is known of providers without health, too.
        """
        if seconds is not None:
            self._rests[endpoint.provider.shared_identity] = now + seconds

    def backoff(self, now: float) -> float | None:
        """Seconds to wait before the next attempt; None to stop.

        That is the wait of the policy, if the provider that would be asked has failed this exchange before, and before
        it whatever Retry-After leaves of that provider's rest. None if that rest is longer than ``max_retry_after``, if
        all waits together would pass ``max_total_backoff``, or the exchange its ``total`` time, or if the retry budget
        is empty; else one attempt is taken out of it.
        """
        policy = self.policy
        if self._last is not None:
            self._asked.append(self._last)
        self._planned = endpoint = self._same or self._candidate(now)
        wait = 0.0 if endpoint is None else self._delay(endpoint)
        if endpoint is not None and policy.max_retry_after > 0.0:
            rest = self._rest_of(endpoint, now)
            if rest > policy.max_retry_after:
                return None
            wait += rest
        if endpoint is not None and not self._has_time(endpoint, wait):
            return None
        budget = self.target.retry_budget
        if budget is not None and not budget.take(now):
            self.over_budget = True
            return None
        self._waited += wait
        return wait

    def _delay(self, endpoint: Endpoint) -> float:
        wait = self._longest_delay(self._times_asked(endpoint))
        return wait * self.random() if wait and self.policy.backoff_jitter else wait

    def _longest_delay(self, times: int) -> float:
        """Before a provider is asked that has failed this exchange ``times`` before."""
        policy = self.policy
        if not policy.backoff_initial or not times:
            return 0.0
        return min(policy.backoff_initial * policy.backoff_factor ** min(times - 1, 64), policy.backoff_max)

    def _times_asked(self, endpoint: Endpoint) -> int:
        place = endpoint.provider.shared_identity
        return sum(asked.provider.shared_identity == place for asked in self._asked)

    def _has_time(self, endpoint: Endpoint, wait: float) -> bool:
        """True if ``wait`` seconds are within what all waits together, and the exchange with ``endpoint``, may take."""
        most, total = self.policy.max_total_backoff, endpoint.provider.timeouts.total
        return (most is None or self._waited + wait <= most) and (
            not wait or total is None or self.elapsed + wait < total
        )

    def _rest_of(self, endpoint: Endpoint, now: float) -> float:
        until = self._rests.get(endpoint.provider.shared_identity, now)
        if endpoint.health is not None:
            until = max(until, endpoint.health.retry_after_until)
        return max(0.0, until - now)

    # Choosing

    def _candidate(self, now: float) -> Endpoint | None:
        """The next one of those that this pass has not tried: one that is in, else one that is ejected, which may be
        well again by now. If there is none, any."""
        endpoint = self._choose(self.endpoints, now, self._tried)
        if endpoint is None and self._tried:
            endpoint = self._ejected(now) or self._choose(self.endpoints, now)
        return endpoint

    def _as_planned(self, now: float) -> Endpoint | None:
        """The endpoint that the wait was for, if that is still a good choice."""
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

    def _note(self, endpoint: Endpoint) -> None:
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
