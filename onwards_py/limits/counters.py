"""What limits: a bucket that refills, for requests or for tokens, and a gate with so many places."""

from __future__ import annotations

from math import inf

from onwards_py.limits.wait_queue import Schedule, WaitQueue
from onwards_py.model.limits import Limits, RateLimit

# Seconds. Keeps a caller that waits for exactly as long as it was told from being told again, for no more than
# the rounding of a clock.
_TOLERANCE = 1e-6


class TokenBucket:
    """Refills at ``per_second`` up to ``burst``; starts full. ``available`` is what it held at the last look; below
    zero, it is owed."""

    __slots__ = ("_at", "_burst", "_per_second", "available", "limit")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._burst = self.available = limit.burst
        self._per_second = limit.per_second
        self._at = now

    def wait_for(self, count: float, now: float) -> float:
        """Seconds until ``count`` are there, or the bucket is full if ``count`` is more; 0 now. Takes nothing."""
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
        """Take what `wait_for` has just found; all of ``count``, even if that is more than the bucket holds."""
        self.available -= count

    def charge(self, difference: float) -> None:
        """So much more was used than taken before; less, if negative. Counts from the last look on."""
        available = self.available - difference
        self.available = available if available < self._burst else self._burst

    def remaining(self, now: float) -> float:
        """What is there; negative: owed."""
        self.wait_for(0.0, now)
        return self.available


class Limiter:
    """The limits of one pool, provider or key, with their state. ``in_flight`` counts held permits, of which there may
    be ``max_in_flight`` at one time.

    ``bucket`` counts requests, ``tokens`` tokens; ``queue`` is where one waits instead of being refused. ``bounded``:
    there is something to ask before a permit is given. ``watched``: a permit that comes back means more than
    ``in_flight -= 1``: `on_release` after it and, once it is known how many tokens were used, `charge`.
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
        """Take over new limits; what did not change keeps its state (a reload is no refill).

        Who waits is asked again: there may be more room now, or no queue any more.
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
        """True if no place is left, or somebody who came before still waits."""
        if self.in_flight >= self.max_in_flight:
            return True
        queue = self.queue
        return queue is not None and queue.waiting > 0 and not queue.serving_head

    @property
    def in_use(self) -> bool:
        """True while somebody holds a permit, or waits for one."""
        return self.in_flight > 0 or (self.queue is not None and self.queue.waiting > 0)

    def on_release(self) -> None:
        """A permit came back (``in_flight`` says so already): whoever waits may try again."""
        if self.queue is not None:
            self.queue.wake()

    def close_queue(self) -> None:
        """Nobody who waits is let in any more."""
        self.queue = None

    def refund(self) -> None:
        """An admitted exchange asked nobody after all: its request is not counted."""
        if self.bucket is not None:
            self.bucket.charge(-1.0)
            self.on_release()

    def charge(self, difference: float) -> None:
        """An admitted exchange used so many tokens more than were estimated (negative: less)."""
        if self.tokens is None:
            return
        self.tokens.charge(difference)
        if difference < 0.0:
            self.on_release()


def _bucket(limit: RateLimit | None, now: float) -> TokenBucket | None:
    return TokenBucket(limit, now) if limit is not None else None
