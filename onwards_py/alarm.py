"""One timer for many deadlines: it is set for the nearest, and costs a comparison where that does not change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

_LEAST_GRAIN = 0.0005
_MOST_GRAIN = 0.25
_GRAINS = 200


def grain_of(shortest: float) -> float:
    """Seconds that two looks lie apart at least where ``shortest`` seconds is the shortest timeout: 0.5 % of it, so
    that no timeout is noticed later than that, and a timeout costs 200 looks at most. The event loop itself waits in
    whole milliseconds."""
    return min(max(shortest / _GRAINS, _LEAST_GRAIN), _MOST_GRAIN)


class Alarm:
    """Calls ``look(now)`` when the nearest deadline has come, in the event loop's time. ``look`` acts on what is due
    and returns the nearest deadline that is left (inf: none).

    ``at``: when it goes off (inf: it is not set). ``grain``: see `grain_of`; many deadlines that lie close together
    then share one look. A deadline that becomes later, or is no more, need not be told: the look finds nothing due,
    and the alarm is set anew.
    """

    __slots__ = ("_look", "_loop", "_timer", "at", "grain")

    def __init__(self, look: Callable[[float], float], grain: float) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.at = inf
        self.grain = grain

    def by(self, when: float) -> None:
        """Look at ``when``, or before."""
        if when < self.at:
            if self._timer is not None:
                self._timer.cancel()
            self.at = when
            self._timer = self._loop.call_at(when, self._go_off)

    def cancel(self) -> None:
        """Never go off again, unless `by` is called."""
        if self._timer is not None:
            self._timer.cancel()
        self.at = inf

    def _go_off(self) -> None:
        # What is due may resume an exchange on the spot, which then tells deadlines of its own.
        self.at = inf
        now = self._loop.time()
        nearest = self._look(now)
        if nearest < inf:
            self.by(max(nearest, now + self.grain))
