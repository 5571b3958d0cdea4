"""Large bodies are read a slice at a time, so that nobody else has to wait for that."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from typing import Final, TypeVar

from onwards_py.eager import OneShot
from onwards_py.messages import Clock

T = TypeVar("T")

SLICE: Final = 0.002
"""Seconds of reading in one turn of the loop, of all readers together."""

MOST_READERS: Final = 4
"""Bodies that are read at one time. The others stand in line: each body that is read may be a decoded copy."""


class BodyReading:
    """The bodies that are read at present, and those that wait in line. ``clock`` gives monotonic seconds."""

    __slots__ = ("_clock", "_line", "active")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._line: deque[OneShot[None]] = deque()
        self.active = 0

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    async def run(self, steps: Generator[None, None, T]) -> T:
        """What ``steps`` return, taken a slice per turn of the loop. Raises what they raise.

        Does not suspend if there is no line and the first slice is enough.
        """
        if self.active >= MOST_READERS:
            await self._stand_in_line()
        else:
            self.active += 1
        clock = self._clock
        try:
            while True:
                until = clock() + SLICE / self.active
                next(steps)
                while clock() < until:
                    next(steps)
                await asyncio.sleep(0)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            self._leave()

    async def _stand_in_line(self) -> None:
        """A place that becomes free is handed to the first in line, so that no later body overtakes it."""
        turn: OneShot[None] = OneShot()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._line:
                self._line.remove(turn)
            else:  # the place was handed over already
                self._leave()
            raise

    def _leave(self) -> None:
        if self._line:
            # In the next turn: else the one that is resumed would run inside this call, the next one inside that.
            asyncio.get_running_loop().call_soon(self._line.popleft().set, None)
        else:
            self.active -= 1
