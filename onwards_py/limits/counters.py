"""The two counters that limit: a bucket of tokens that refills, and a gate with so many places."""

from __future__ import annotations

from onwards_py.routing.model import NO_LIMITS, Limits, RateLimit


class TokenBucket:
    """Refills at ``per_second`` up to ``burst`` tokens; starts full."""

    __slots__ = ("_at", "_limit", "_tokens")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._limit = limit
        self._tokens = limit.burst
        self._at = now

    def wait_for_token(self, now: float) -> float:
        """Seconds until a token is there; 0 if one is there now. Takes nothing."""
        limit = self._limit
        if now > self._at:
            self._tokens = min(limit.burst, self._tokens + (now - self._at) * limit.per_second)
            self._at = now
        # The tolerance keeps a caller that waits for exactly as long as it was told from being told again.
        missing = 1.0 - self._tokens
        return missing / limit.per_second if missing > 1e-9 else 0.0

    def take(self) -> None:
        """Take the token that `wait_for_token` has just found."""
        self._tokens -= 1.0


class Limiter:
    """The limits of one pool, provider or key, with their state. ``in_flight`` counts held permits.

    ``bounded``: there is something to ask before a permit is given.
    """

    __slots__ = ("bounded", "bucket", "in_flight", "limits")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.in_flight = 0
        self.bucket = TokenBucket(limits.rate, now) if limits.rate is not None else None
        self.bounded = limits != NO_LIMITS

    def adopt(self, limits: Limits, now: float) -> None:
        """Take over new limits; what did not change keeps its state (a reload is no refill)."""
        if limits.rate != self.limits.rate:
            self.bucket = TokenBucket(limits.rate, now) if limits.rate is not None else None
        self.limits = limits
        self.bounded = limits != NO_LIMITS

    @property
    def full(self) -> bool:
        """True if no place is left."""
        places = self.limits.concurrency
        return places is not None and self.in_flight >= places
