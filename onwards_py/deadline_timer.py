"""One timer for many deadlines: it is set for the nearest, and costs a comparison where that does not change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

LATENESS: Final = 1.005
"""So many times a timeout may pass before it is acted on. Deadlines of connections lie anywhere; those that lie within
0.5 % of the timeout share one look, so a timeout costs 200 looks at most, however many connections wait for it."""

_LEAST: Final = 0.0005  # seconds from look to look; event loops wait in whole milliseconds


class DeadlineTimer:
    """Calls ``look(now)`` when the nearest deadline has come, in the event loop's time. ``look`` acts on what is due
    and returns when to look again: when the first of the timeouts that are left has passed `LATENESS` times (inf: none
    is).

    ``at``: when it goes off (inf: it is not set). A deadline that becomes later, or is no more, need not be told: the
    look finds nothing due, and the alarm is set anew.
    """

    __slots__ = ("_look", "_loop", "_timer", "at")

    def __init__(self, look: Callable[[float], float]) -> None:
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.at = inf

    def schedule(self, when: float) -> None:
        """Look at ``when``, or before."""
        if when < self.at:
            if self._timer is not None:
                self._timer.cancel()
            self.at = when
            self._timer = self._loop.call_at(when, self._go_off)

    def cancel(self) -> None:
        """Never go off again, unless `schedule` is called."""
        if self._timer is not None:
            self._timer.cancel()
        self.at = inf

    def _go_off(self) -> None:
        # What is due may resume an exchange on the spot, which then tells deadlines of its own.
        self.at = inf
        now = self._loop.time()
        again = self._look(now)
        if again < inf:
            self.schedule(max(again, now + _LEAST))
