"""Large bodies are read in slices, between which other requests are served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import Final, TypeVar

from onwards_py.eager import OneShot

T = TypeVar("T")

SLICE: Final = 0.002
"""Maximum seconds in one turn of the loop, for all bodies that are read together."""

MOST_READERS: Final = 4
"""Maximum of bodies that are read at the same time; others wait, because each may need memory for a decoded copy."""


class BodyReading:
    """The bodies that are being read, and the waiting ones. ``clock`` gives monotonic seconds."""

    __slots__ = ("_clock", "_line", "active")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._line: deque[OneShot[None]] = deque()
        self.active = 0

    @property
    def waiting(self) -> int:
        """Number of waiting bodies."""
        return len(self._line)

    async def run(self, steps: Generator[None, None, T]) -> T:
        """Run ``steps`` a slice per loop turn; returns their result. Raises their exceptions.

        Does not suspend if no body waits and the first slice is enough.
        """
        if self.active >= MOST_READERS:
            await self._wait_for_turn()
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

    async def _wait_for_turn(self) -> None:
        """Wait for a free place. The first waiting body gets it, so that later ones do not overtake it."""
        turn: OneShot[None] = OneShot()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._line:
                self._line.remove(turn)
            else:  # `_leave` has passed the place to this body
                self._leave()
            raise

    def _leave(self) -> None:
        if self._line:
            # In the next loop turn, so that waiting bodies do not resume each other inside one call.
            asyncio.get_running_loop().call_soon(self._line.popleft().set, None)
        else:
            self.active -= 1
