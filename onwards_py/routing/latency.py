"""How long a provider takes to its first byte, as a peak EWMA. Pure.

The average jumps to a peak at once and comes down slowly, so that a provider that turns slow is avoided after one
answer, and is tried again once its bad time has faded.
"""

from __future__ import annotations

from math import exp

DECAY = 10.0
"""Seconds in which what was observed loses all but 1/e of its weight."""
_FLOOR = 0.001
"""Seconds: what is assumed of a provider nobody has asked, or not for long. The best there is, and yet not nothing, so
that the load still counts among providers of which nothing is known."""


class PeakEwma:
    """Seconds to the first byte of answers that were answers; failures are not told, since they may be quick."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """An answer began ``seconds`` after it was asked for."""
        kept = self._kept(now)
        if seconds > self._seconds:
            self._seconds = seconds
        else:
            self._seconds = self._seconds * kept + seconds * (1.0 - kept)
        self._at = max(self._at, now)

    def cost(self, now: float, in_flight: int, weight: int) -> float:
        """What one more exchange is expected to wait here: seconds, times the load with it, by weight (at least 1)."""
        return max(_FLOOR, self._seconds * self._kept(now)) * (in_flight + 1) / weight

    def _kept(self, now: float) -> float:
        return exp((self._at - now) / DECAY) if now > self._at else 1.0
