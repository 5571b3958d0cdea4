"""The fallback plan: which provider next, how long to wait before, and when to stop.

Everything here happens before commit; after the first byte went downstream nobody asks any more. The attempt
budget sits above the strategy: when every provider was tried and budget is left, a new pass begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onwards_py.messages import Fault
from onwards_py.routing.balancer import Member, choose
from onwards_py.routing.model import FallbackPolicy, Strategy


class FallbackPlan:
    """The attempts of one exchange. ``random`` gives numbers in [0, 1); ``elapsed``, which the caller sets when an
    attempt has failed, is the age of the exchange in seconds."""

    __slots__ = ("_budget", "_members", "_policy", "_random", "_strategy", "_tried", "_waited", "attempts", "elapsed")

    def __init__(
        self, policy: FallbackPolicy, strategy: Strategy, members: Sequence[Member], random: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._strategy = strategy
        self._members = members
        self._random = random
        self._budget = (policy.max_attempts or len(members)) if policy.enabled else 1
        self._tried: list[Member] = []
        self._waited = 0.0
        self.elapsed = 0.0
        self.attempts = 0

    def next(self) -> Member | None:
        """Whom to try; None when the budget is spent or nobody has a free place."""
        if self.attempts >= self._budget:
            return None
        members = self._members
        if self._tried:
            members = [member for member in members if member not in self._tried]
        member = choose(self._strategy, members, self._random)
        if member is None and self._tried:
            # This pass is over, or its rest has no free place: a new pass may take those tried before.
            self._tried.clear()
            member = choose(self._strategy, self._members, self._random)
        if member is not None:
            self.attempts += 1
            if not self._policy.with_replacement or self._strategy is Strategy.PRIORITY:
                self._tried.append(member)
        return member

    @property
    def may_continue(self) -> bool:
        """True while another attempt is allowed after the present one."""
        within = self._policy.only_if_failed_within
        return self.attempts < self._budget and (within is None or self.elapsed <= within)

    def retries_status(self, status: int) -> bool:
        """True if a response with this status is to be given up for another attempt."""
        return self._policy.enabled and status in self._policy.statuses

    def retries_fault(self, fault: Fault, *, repeatable: bool) -> bool:
        """True if this failure may be followed by another attempt.

        A request that may have been worked on is repeated only if its method is idempotent (RFC 9110 section 9.2.2)
        or the pool opts in; one that timed out has been given up by us, and is (as in Onwards) always moved on.
        """
        if not self._policy.enabled:
            return False
        if fault is Fault.CLOSED or fault is Fault.INVALID:
            return repeatable or self._policy.retry_sent
        return True

    def retries_rate_limit(self) -> bool:
        """True if a provider's own rate limit moves the exchange on instead of refusing it."""
        return self._policy.enabled and self._policy.on_rate_limit

    def backoff(self) -> float | None:
        """Seconds to wait before the next attempt; None if waiting so long would pass ``max_total_backoff``."""
        policy = self._policy
        if not policy.backoff_initial:
            return 0.0
        wait = min(policy.backoff_initial * policy.backoff_factor ** min(self.attempts - 1, 64), policy.backoff_max)
        if policy.backoff_jitter:
            wait *= self._random()
        if policy.max_total_backoff is not None and self._waited + wait > policy.max_total_backoff:
            return None
        self._waited += wait
        return wait
