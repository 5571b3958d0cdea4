"""The waits of one local answer: for the clock and for a slow client, and what cuts them short."""

from __future__ import annotations

import asyncio

from onwards_py.messages import Ending
from onwards_py.model.provider import Timeouts


class Pacer:
    """Waits for one answer, one waiter at a time.

    It is the downstream's ``Source``: while paused, ``wait`` does not return. ``ending`` is None until
    something broke the answer off; ``wait`` then returns at once. The total time counts from now.
    ``live`` holds every pace from its making to its ``close``.
    """

    __slots__ = ("_due", "_live", "_loop", "_total", "_waiter", "ending", "paused", "timeouts")

    def __init__(self, timeouts: Timeouts, live: set[Pacer]) -> None:
        self._loop = asyncio.get_running_loop()
        self.timeouts = timeouts
        self._due = True
        self._waiter: asyncio.Future[None] | None = None
        self.ending: Ending | None = None
        self.paused = False
        total = timeouts.total
        self._total = None if total is None else self._loop.call_later(total, self.cut, Ending.LIMIT)
        self._live = live
        live.add(self)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self._wake()

    def cut(self, ending: Ending) -> None:
        """Break the answer off; the first cause counts."""
        if self.ending is None:
            self.ending = ending
            self._wake()

    async def wait(self, seconds: float = 0.0) -> None:
        """Return when the time is over and the client reads again, or when the answer was cut."""
        self._due = seconds <= 0
        timer = None if self._due else self._loop.call_later(seconds, self._on_due)
        try:
            while self.ending is None and (self.paused or not self._due):
                self._waiter = self._loop.create_future()
                await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """The answer is over: leave no timer behind."""
        self._live.discard(self)
        if self._total is not None:
            self._total.cancel()
            self._total = None

    def _on_due(self) -> None:
        self._due = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
