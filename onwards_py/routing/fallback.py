"""The fallback plan: which provider next, how long to wait before, and when to stop.

Everything here happens before commit; after the first byte went downstream nobody asks any more. The number of
attempts sits above the strategy: when every provider was tried and attempts are left, a new pass begins. Providers
that earlier exchanges have ejected come last in a pass: when all that are in have failed this exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec

from onwards_py.limits.admission import Blocked
from onwards_py.messages import Fault
from onwards_py.model.policies import FallbackPolicy, Strategy
from onwards_py.routing.balancer import Member, choose, choose_at_ease
from onwards_py.routing.health import State
from onwards_py.routing.table import LivePool
from onwards_py.wire.error_codes import REFUSALS

_NO_FALLBACK: Final = FallbackPolicy()
_SHORT_REST: Final = 5.0
"""Seconds: a Retry-After that is waited for at the same provider, although others may be there."""


class FallbackPlan(msgspec.Struct):
    """The attempts of one exchange with ``target``. Making one is what the pool's budgets count as a request.

    ``random`` gives numbers in [0, 1); ``key`` is what affinity goes by. ``elapsed``, which the caller sets when an
    attempt has failed, is the age of the exchange in seconds. ``members``: those that were not set aside.
    ``over_budget``: the pool's retry budget was the reason to stop. ``refusals``: limits of members that were to be
    asked and did not let in. ``policy`` is the pool's.
    """

    target: LivePool
    random: Callable[[], float]
    key: bytes | None = None
    policy: FallbackPolicy = _NO_FALLBACK
    attempts: int = 0
    elapsed: float = 0.0
    over_budget: bool = False
    members: Sequence[Member] = ()
    refusals: list[Blocked] = []
    _limit: int = 1
    _tried: list[Member] = []
    _last: Member | None = None
    _asked: list[Member] = []
    _planned: Member | None = None
    _same: Member | None = None
    _stays: int = 0
    _probed: Member | None = None
    _lease: float = 0.0
    _rests: dict[str, float] = {}
    _waited: float = 0.0

    def __post_init__(self) -> None:
        target = self.target
        self.members = members = target.members
        self.policy = policy = target.pool.fallback
        if policy.enabled:
            self._limit = policy.max_attempts or len(members)
        if target.budget is not None:
            target.budget.deposit()
        if target.hedges is not None:
            target.hedges.deposit()

    # Whom to ask

    def next(self, now: float) -> Member | None:
        """Whom to try; None when no attempt is left or nobody has a free place.

        A probe that the last attempt took, and of which nothing was told, is given back.
        """
        if not self.attempts and self.key is None:
            at_ease = choose_at_ease(self.target.pool.strategy, self.members, self.random, now)
            if at_ease is not None:
                self._note(at_ease)
                return at_ease
        self.abandon(now)
        same, self._same = self._same, None
        if same is not None and not same.limiter.full:
            self._stays += 1
            if self.policy.max_attempts is None:
                self._limit += 1  # what is said of the same provider takes nothing from the others
            self.attempts += 1
            return same
        self._stays = 0
        member = (self._as_planned(now) or self._candidate(now)) if self.attempts < self._limit else None
        if member is None:
            return None
        if member in self._tried:
            self._tried.clear()  # only a new pass asks somebody again
        self._note(member)
        health = member.health
        if health is not None and health.state is not State.IN and health.chosen(now):
            self._probed = member
            self._lease = health.out_until
        return member

    def hedge(self, now: float) -> Member | None:
        """Another one to ask while an attempt is still going on; None if there is none, or the hedge budget is empty.

        Counts as an attempt; without fallback it is the second of two. Never one that is out, or due for a probe.
        """
        hedges = self.target.hedges
        if hedges is None or self.attempts >= max(self._limit, 2):
            return None
        others = [member for member in self.members if self._is_fresh(member)]
        member = self._choose(others, now)
        if member is None or not hedges.take(now):
            return None
        if self._last is not None:
            self._asked.append(self._last)
        self._note(member)
        return member

    def set_aside(self, member: Member) -> None:
        """``member``, which was given last, cannot take this request at all: that was no attempt, and is asked no
        more. Others go on, also without fallback."""
        self.attempts -= 1
        self.members = [other for other in self.members if other is not member]
        self._tried = [other for other in self._tried if other is not member and other not in member.twins]

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
            if probed.health.state is State.PROBATION and probed.health.out_until == self._lease:
                probed.health.abandoned(now)

    # Whether to go on

    @property
    def may_continue(self) -> bool:
        """True while another attempt is allowed after the present one."""
        within = self.policy.only_if_failed_within
        return (self.attempts < self._limit or self._same is not None) and (within is None or self.elapsed <= within)

    @property
    def may_stay(self) -> bool:
        """True while another attempt at the same provider is allowed, for whatever reason."""
        same, most = self.policy.same, self.policy.max_attempts
        if same is None or not self.policy.enabled or self._stays >= same.attempts:
            return False
        return most is None or self.attempts < most

    @property
    def exhausted(self) -> bool:
        """True if more than one attempt was made: nobody else need try what the pool has tried already."""
        return self.policy.enabled and self.attempts > 1

    def retries_status(self, status: int, member: Member | None = None, now: float = 0.0) -> bool:
        """True if a response with this status is to be given up for another attempt: at ``member``, which gave it, or
        elsewhere."""
        policy = self.policy
        if not policy.enabled:
            return False
        stays = policy.same is not None and status in policy.same.statuses and self._stays_at(member, now)
        return stays or status in policy.statuses

    def retries_error(self, status: int, codes: Collection[str], member: Member, now: float) -> bool:
        """True if an answer that is an error, and calls itself by ``codes``, is to be given up for another attempt: of
        another provider, if one of its codes is listed. A refusal of what the request is about is not, unless it is."""
        if self.policy.enabled and not self.policy.codes.isdisjoint(codes):
            self._same = None
            return True
        return REFUSALS.isdisjoint(codes) and self.retries_status(status, member, now)

    def resets(self, member: Member | None, now: float) -> bool:
        """True if ``member``, whose connection died before it answered a request that may be sent again, is to be asked
        once more."""
        same = self.policy.same
        return same is not None and same.on_reset and self._stays_at(member, now)

    def _stays_at(self, member: Member | None, now: float) -> bool:
        """Plan to ask ``member`` again, unless it is out by now, or wants to be left alone for long."""
        self._same = None
        if member is None or not self.may_stay:
            return False
        if member.health is not None and member.health.state not in (State.IN, State.RESTING):
            return False
        rest = self._rest_of(member, now)
        if rest > min(_SHORT_REST, self.policy.max_retry_after):
            return False
        if not self._has_time(member, rest + self._longest_delay(self._times_asked(member) + 1)):
            return False
        self._same = member
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

    def rests(self, member: Member, seconds: float | None, now: float) -> None:
        """``member`` answered that it wants to be left alone for ``seconds`` (Retry-After; None: it did not say).

        For this exchange only, so that it is known of providers without health, too.
        """
        if seconds is not None:
            self._rests[member.provider.place] = now + seconds

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
        self._planned = member = self._same or self._candidate(now)
        wait = 0.0 if member is None else self._delay(member)
        if member is not None and policy.max_retry_after > 0.0:
            rest = self._rest_of(member, now)
            if rest > policy.max_retry_after:
                return None
            wait += rest
        if member is not None and not self._has_time(member, wait):
            return None
        budget = self.target.budget
        if budget is not None and not budget.take(now):
            self.over_budget = True
            return None
        self._waited += wait
        return wait

    def _delay(self, member: Member) -> float:
        wait = self._longest_delay(self._times_asked(member))
        return wait * self.random() if wait and self.policy.backoff_jitter else wait

    def _longest_delay(self, times: int) -> float:
        """Before a provider is asked that has failed this exchange ``times`` before."""
        policy = self.policy
        if not policy.backoff_initial or not times:
            return 0.0
        return min(policy.backoff_initial * policy.backoff_factor ** min(times - 1, 64), policy.backoff_max)

    def _times_asked(self, member: Member) -> int:
        place = member.provider.place
        return sum(asked.provider.place == place for asked in self._asked)

    def _has_time(self, member: Member, wait: float) -> bool:
        """True if ``wait`` seconds are within what all waits together, and the exchange with ``member``, may take."""
        most, total = self.policy.max_total_backoff, member.provider.timeouts.total
        return (most is None or self._waited + wait <= most) and (
            not wait or total is None or self.elapsed + wait < total
        )

    def _rest_of(self, member: Member, now: float) -> float:
        until = self._rests.get(member.provider.place, now)
        if member.health is not None:
            until = max(until, member.health.asked_until)
        return max(0.0, until - now)

    # Choosing

    def _candidate(self, now: float) -> Member | None:
        """The next one of those that this pass has not tried: one that is in, else one that is ejected, which may be
        well again by now. If there is none, any."""
        member = self._choose(self.members, now, self._tried)
        if member is None and self._tried:
            member = self._ejected(now) or self._choose(self.members, now)
        return member

    def _as_planned(self, now: float) -> Member | None:
        """The member that the wait was for, if that is still a good choice."""
        member, self._planned = self._planned, None
        if member is None or member.limiter.full or member not in self.members:
            return None
        return member if member.health is None or member.health.out_until <= now else None

    def _ejected(self, now: float) -> Member | None:
        out = [
            member
            for member in self.members
            if member.health is not None and member.health.may_be_well(now) and member not in self._tried
        ]
        return self._choose(out, now) if out else None

    def _choose(self, members: Sequence[Member], now: float, without: Sequence[Member] = ()) -> Member | None:
        pool = self.target.pool
        return choose(pool.strategy, members, self.random, now, without=without, affinity=pool.affinity, key=self.key)

    def _note(self, member: Member) -> None:
        self.attempts += 1
        self._last = member
        if not self.policy.with_replacement or self.target.pool.strategy is Strategy.PRIORITY:
            self._tried.append(member)
            if member.twins:
                self._tried += member.twins

    def _is_fresh(self, member: Member) -> bool:
        health = member.health
        is_in = health is None or health.state is State.IN
        other = member is not self._last and (self._last is None or member not in self._last.twins)
        return is_in and other and member not in self._tried
