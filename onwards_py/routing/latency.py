"""The time to the first byte of a provider, as a peak EWMA. Pure.

The average rises to a peak at once and decays slowly: a provider that becomes slow is avoided after one response, and
is tried again when its peak has decayed.
"""

from __future__ import annotations

from math import exp

DECAY = 10.0
"""Seconds in which the weight of an observation falls to 1/e."""
_FLOOR = 0.001
"""Seconds: the latency of a provider without recent observations. It is the lowest possible one, but not 0, so that
the load still counts among such providers."""


class PeakEwma:
    """Seconds to the first byte of successful responses. Failures are not observed, since they may be fast."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """Record that a response began ``seconds`` after its request."""
        kept = self._kept(now)
        if seconds > self._seconds:
            self._seconds = seconds
        else:
            self._seconds = self._seconds * kept + seconds * (1.0 - kept)
        self._at = max(self._at, now)

    def cost(self, now: float, in_flight: int, weight: int) -> float:
        """The expected cost of one more exchange: seconds, times the load including it, divided by the weight (at
        least 1)."""
        return max(_FLOOR, self._seconds * self._kept(now)) * (in_flight + 1) / weight

    def _kept(self, now: float) -> float:
        return exp((self._at - now) / DECAY) if now > self._at else 1.0
