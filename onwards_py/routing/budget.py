"""A budget for further attempts: what a pool may ask beyond what it was asked. Pure."""

from __future__ import annotations

from onwards_py.model.policies import RetryBudgetPolicy

_SECONDS = 10.0
_LEAST = 10.0


class RetryBudget:
    """A bucket of further attempts: each request puts ``ratio`` of one in, time puts ``per_second`` in, and each
    further attempt takes one out. It holds what ten seconds bring, at least ten, and starts full.

    So of n requests within t seconds no more than ``ratio * n + per_second * t`` further attempts come, and a full
    bucket: a provider that is down is not asked many times as often as one that is well.
    """

    __slots__ = ("_at", "_policy", "_size", "_tokens")

    def __init__(self, policy: RetryBudgetPolicy, now: float = 0.0) -> None:
        self._policy = policy
        self._size = max(_LEAST, policy.per_second * _SECONDS)
        self._tokens = self._size
        self._at = now

    def reconfigure(self, policy: RetryBudgetPolicy) -> None:
        """Take over what a reload says; what was spent stays spent, in proportion to the size."""
        if policy != self._policy:
            left = self._tokens / self._size
            self._policy = policy
            self._size = max(_LEAST, policy.per_second * _SECONDS)
            self._tokens = left * self._size

    def deposit(self) -> None:
        """A request came."""
        self._tokens = min(self._size, self._tokens + self._policy.ratio)

    def take(self, now: float) -> bool:
        """Take one further attempt out; False if there is none."""
        if now > self._at:
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._policy.per_second)
            self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
