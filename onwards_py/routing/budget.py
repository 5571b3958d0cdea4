"""A budget for retries and hedged requests. Pure."""

from __future__ import annotations

from onwards_py.model.policies import RetryBudgetPolicy

_SECONDS = 10.0
_LEAST = 10.0


class RetryBudget:
    """A token bucket of further attempts: each request adds ``ratio``, each second ``per_second``, and each further
    attempt takes one. Its size is that of ten seconds, at least ten; it starts full.

    So n requests within t seconds cause at most ``ratio * n + per_second * t`` further attempts, plus a full bucket: an
    outage does not multiply the load.
    """

    __slots__ = ("_at", "_policy", "_size", "_tokens")

    def __init__(self, policy: RetryBudgetPolicy, now: float = 0.0) -> None:
        self._policy = policy
        self._size = max(_LEAST, policy.per_second * _SECONDS)
        self._tokens = self._size
        self._at = now

    def reconfigure(self, policy: RetryBudgetPolicy) -> None:
        """Apply the policy of a reload; the fill level is kept in proportion to the size."""
        if policy != self._policy:
            left = self._tokens / self._size
            self._policy = policy
            self._size = max(_LEAST, policy.per_second * _SECONDS)
            self._tokens = left * self._size

    def deposit(self) -> None:
        """Add the share of one request."""
        self._tokens = min(self._size, self._tokens + self._policy.ratio)

    def take(self, now: float) -> bool:
        """Take one further attempt; False if the budget is empty."""
        if now > self._at:
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._policy.per_second)
            self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
