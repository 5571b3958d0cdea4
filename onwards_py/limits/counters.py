"""What limits: a bucket that refills, for requests or for tokens, and a gate with so many places."""

from __future__ import annotations

from math import inf

from onwards_py.limits.line import Line, Schedule
from onwards_py.model.limits import Limits, RateLimit

# Seconds. Keeps a caller that waits for exactly as long as it was told from being told again, for no more than
# the rounding of a clock.
_TOLERANCE = 1e-6


class TokenBucket:
    """Refills at ``per_second`` up to ``burst``; starts full. ``held`` is what it held at the last look; below zero, it
    is owed."""

    __slots__ = ("_at", "_burst", "_per_second", "held", "limit")

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._burst = self.held = limit.burst
        self._per_second = limit.per_second
        self._at = now

    def wait_for(self, count: float, now: float) -> float:
        """Seconds until ``count`` are there, or the bucket is full if ``count`` is more; 0 now. Takes nothing."""
        held, burst = self.held, self._burst
        if now > self._at:
            held += (now - self._at) * self._per_second
            self.held = held = held if held < burst else burst
            self._at = now
        if held >= count:
            return 0.0
        missing = (count if count < burst else burst) - held
        if missing <= 0.0:
            return 0.0
        wait = missing / self._per_second
        return wait if wait > _TOLERANCE else 0.0

    def take(self, count: float) -> None:
        """Take what `wait_for` has just found; all of ``count``, even if that is more than the bucket holds."""
        self.held -= count

    def settle(self, difference: float) -> None:
        """So much more was used than taken before; less, if negative. Counts from the last look on."""
        held = self.held - difference
        self.held = held if held < self._burst else self._burst

    def remaining(self, now: float) -> float:
        """What is there; negative: owed."""
        self.wait_for(0.0, now)
        return self.held


class Limiter:
    """The limits of one pool, provider or key, with their state. ``in_flight`` counts held permits, of which there may
    be ``places`` at one time.

    ``bucket`` counts requests, ``tokens`` tokens; ``line`` is where one waits instead of being refused. ``bounded``:
    there is something to ask before a permit is given. ``watched``: a permit that comes back means more than
    ``in_flight -= 1``: `given_back` after it and, once it is known how many tokens were used, `settle`.
    """

    __slots__ = ("_schedule", "bounded", "bucket", "in_flight", "limits", "line", "places", "tokens", "watched")

    def __init__(self, limits: Limits, now: float, schedule: Schedule) -> None:
        self._schedule = schedule
        self.in_flight = 0
        self.line: Line | None = None
        self.bucket = _bucket(limits.rate, now)
        self.tokens = _bucket(limits.tokens, now)
        self._apply(limits)

    def adopt(self, limits: Limits, now: float) -> None:
        """Take over new limits; what did not change keeps its state (a reload is no refill).

        Who waits is asked again: there may be more room now, or no line any more.
        """
        if limits.rate != self.limits.rate:
            self.bucket = _bucket(limits.rate, now)
        if limits.tokens != self.limits.tokens:
            self.tokens = _bucket(limits.tokens, now)
        line = self.line
        self._apply(limits)
        if line is not None:
            line.wake()

    def _apply(self, limits: Limits) -> None:
        self.limits = limits
        self.places = inf if limits.concurrency is None else limits.concurrency
        self.bounded = limits.concurrency is not None or self.bucket is not None or self.tokens is not None
        if limits.queue is None or not self.bounded:
            self.line = None
        elif self.line is None:
            self.line = Line(limits.queue, self._schedule)
        else:
            self.line.policy = limits.queue
        self.watched = self.line is not None or self.tokens is not None

    @property
    def full(self) -> bool:
        """True if no place is left, or somebody who came before still waits."""
        if self.in_flight >= self.places:
            return True
        line = self.line
        return line is not None and line.waiting > 0 and not line.turn

    @property
    def busy(self) -> bool:
        """True while somebody holds a permit, or waits for one."""
        return self.in_flight > 0 or (self.line is not None and self.line.waiting > 0)

    def given_back(self) -> None:
        """A permit came back (``in_flight`` says so already): whoever waits may try again."""
        if self.line is not None:
            self.line.wake()

    def close_line(self) -> None:
        """Nobody who waits is let in any more."""
        self.line = None

    def unspend(self) -> None:
        """An admitted exchange asked nobody after all: its request is not counted."""
        if self.bucket is not None:
            self.bucket.settle(-1.0)
            self.given_back()

    def settle(self, difference: float) -> None:
        """An admitted exchange used so many tokens more than were estimated (negative: less)."""
        if self.tokens is None:
            return
        self.tokens.settle(difference)
        if difference < 0.0:
            self.given_back()


def _bucket(limit: RateLimit | None, now: float) -> TokenBucket | None:
    return TokenBucket(limit, now) if limit is not None else None
