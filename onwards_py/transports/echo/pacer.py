"""The waits of one echo response: for its delays and for a slow client."""

from __future__ import annotations

import asyncio

from onwards_py.messages import Ending
from onwards_py.model.provider import Timeouts


class Pacer:
    """The waits of one response, one waiter at a time. It is the downstream's ``Source``."""

    __slots__ = ("_due", "_live", "_loop", "_total", "_waiter", "ending", "paused", "timeouts")

    def __init__(self, timeouts: Timeouts, live: set[Pacer]) -> None:
        """``live`` holds this object until `close`. The total timeout begins now."""
        self._loop = asyncio.get_running_loop()
        self.timeouts = timeouts
        self._due = True
        self._waiter: asyncio.Future[None] | None = None
        self.ending: Ending | None = None
        """Why the response was truncated. None: it was not."""
        self.paused = False
        total = timeouts.total
        self._total = None if total is None else self._loop.call_later(total, self.abort, Ending.LIMIT)
        self._live = live
        live.add(self)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self._wake()

    def abort(self, ending: Ending) -> None:
        """Truncate the response. Later calls are ignored."""
        if self.ending is None:
            self.ending = ending
            self._wake()

    async def wait(self, seconds: float = 0.0) -> None:
        """Return when the time has passed and the client reads, or when the response was aborted."""
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
        """The response has ended: cancel the timer."""
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
