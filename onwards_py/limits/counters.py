"""Limiters: token buckets for requests and tokens, and a bound on exchanges in flight."""

from __future__ import annotations

from math import inf

from onwards_py.limits.wait_queue import Schedule, WaitQueue
from onwards_py.model.limits import Limits, RateLimit

# Seconds. A client that waits exactly for Retry-After must not be rejected because of the rounding of a clock.
_TOLERANCE = 1e-6


class TokenBucket:
    """Refills at ``per_second`` up to ``burst``; starts full. ``available``: the level at the last check; it may be
    negative."""

    __slots__ = ("_at", "_burst", "_per_second", "available", "limit")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._burst = self.available = limit.burst
        self._per_second = limit.per_second
        self._at = now

    def wait_for(self, count: float, now: float) -> float:
        """Seconds until ``count`` are available, or the bucket is full if ``count`` exceeds it. Takes nothing."""
        available, burst = self.available, self._burst
        if now > self._at:
            available += (now - self._at) * self._per_second
            self.available = available = available if available < burst else burst
            self._at = now
        if available >= count:
            return 0.0
        missing = (count if count < burst else burst) - available
        if missing <= 0.0:
            return 0.0
        wait = missing / self._per_second
        return wait if wait > _TOLERANCE else 0.0

    def take(self, count: float) -> None:
        """Take ``count``, after `wait_for` has returned 0, even if that exceeds the size of the bucket."""
        self.available -= count

    def charge(self, difference: float) -> None:
        """Take the difference between actual and estimated usage; negative: return it."""
        available = self.available - difference
        self.available = available if available < self._burst else self._burst

    def remaining(self, now: float) -> float:
        """The current level; may be negative."""
        self.wait_for(0.0, now)
        return self.available


class Limiter:
    """The limits of one pool, provider or key, with their state. ``in_flight``: permits in use, at most
    ``max_in_flight``.

    ``bucket`` limits requests, ``tokens`` limits tokens; ``queue``: exchanges wait instead of being rejected.
    ``bounded``: at least one limit exists. ``watched``: the release of a permit needs more than ``in_flight -= 1``:
    `on_release` after it and, once the usage is known, `charge`.
    """

    __slots__ = ("_schedule", "bounded", "bucket", "in_flight", "limits", "max_in_flight", "queue", "tokens", "watched")

    def __init__(self, limits: Limits, now: float, schedule: Schedule) -> None:
        self._schedule = schedule
        self.in_flight = 0
        self.queue: WaitQueue | None = None
        self.bucket = _bucket(limits.rate, now)
        self.tokens = _bucket(limits.tokens, now)
        self._apply(limits)

    def reconfigure(self, limits: Limits, now: float) -> None:
        """Apply new limits; unchanged limits keep their state, so that a reload does not refill a bucket.

        Waiting exchanges are tried again: the limit may be higher, or the queue removed.
        """
        if limits.rate != self.limits.rate:
            self.bucket = _bucket(limits.rate, now)
        if limits.tokens != self.limits.tokens:
            self.tokens = _bucket(limits.tokens, now)
        queue = self.queue
        self._apply(limits)
        if queue is not None:
            queue.wake()

    def _apply(self, limits: Limits) -> None:
        self.limits = limits
        self.max_in_flight = inf if limits.concurrency is None else limits.concurrency
        self.bounded = limits.concurrency is not None or self.bucket is not None or self.tokens is not None
        if limits.queue is None or not self.bounded:
            self.queue = None
        elif self.queue is None:
            self.queue = WaitQueue(limits.queue, self._schedule)
        else:
            self.queue.policy = limits.queue
        self.watched = self.queue is not None or self.tokens is not None

    @property
    def full(self) -> bool:
        """True if no permit is available, or earlier exchanges are waiting."""
        if self.in_flight >= self.max_in_flight:
            return True
        queue = self.queue
        return queue is not None and queue.waiting > 0 and not queue.serving_head

    @property
    def in_use(self) -> bool:
        """True while a permit is in use or an exchange is waiting."""
        return self.in_flight > 0 or (self.queue is not None and self.queue.waiting > 0)

    def on_release(self) -> None:
        """Try waiting exchanges again after a release (``in_flight`` is already updated)."""
        if self.queue is not None:
            self.queue.wake()

    def close_queue(self) -> None:
        """Stop admitting waiting exchanges."""
        self.queue = None

    def refund(self) -> None:
        """Return the request of an admitted exchange that was not sent to a provider."""
        if self.bucket is not None:
            self.bucket.charge(-1.0)
            self.on_release()

    def charge(self, difference: float) -> None:
        """Charge the tokens that an admitted exchange used beyond the estimate (negative: refund)."""
        if self.tokens is None:
            return
        self.tokens.charge(difference)
        if difference < 0.0:
            self.on_release()


def _bucket(limit: RateLimit | None, now: float) -> TokenBucket | None:
    return TokenBucket(limit, now) if limit is not None else None
