"""One timer for many deadlines. It is set for the nearest deadline; a deadline that is later costs one comparison."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Final

LATENESS: Final = 1.005
"""A timeout fires after at most this multiple of its duration.

Deadlines within 0.5 % of the timeout share one check.
So a timeout causes at most 200 checks, however many connections use it.
"""

_MIN_INTERVAL: Final = 0.0005  # seconds between checks; event loops wait for whole milliseconds


class DeadlineTimer:
    """Calls ``check(now)`` at the nearest deadline, in the event loop's time.

    ``check`` acts on the deadlines that have passed.
    It returns the time of the next check: when `LATENESS` times the next remaining timeout has passed (inf: no timeout
    remains).
    A deadline that becomes later, or is removed, needs no call: the check then only sets the timer again.
    """

    __slots__ = ("_check", "_loop", "_timer", "at")

    def __init__(self, check: Callable[[float], float]) -> None:
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.at = inf
        """The time of the next check. inf: the timer is not set."""

    def schedule(self, when: float) -> None:
        """Check at ``when``, or before."""
        if when < self.at:
            if self._timer is not None:
                self._timer.cancel()
            self.at = when
            self._timer = self._loop.call_at(when, self._on_timer)

    def cancel(self) -> None:
        """Stop checking, until `schedule` is called."""
        if self._timer is not None:
            self._timer.cancel()
        self.at = inf

    def _on_timer(self) -> None:
        # The check may resume an exchange at once, which then schedules deadlines of its own.
        self.at = inf
        now = self._loop.time()
        again = self._check(now)
        if again < inf:
            self.schedule(max(again, now + _MIN_INTERVAL))
