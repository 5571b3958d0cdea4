"""Memory that was freed goes back to the operating system.

glibc's malloc gives back the end of its heap, and large blocks one by one; but what it considers large grows to 32 MiB
with the blocks that are freed, and behind hundreds of bodies of 100 KiB something small mostly stays. Without this,
hundreds of megabytes remain with the process after a burst. `malloc_trim(3)` gives back every free page; it takes about
0.1 ms for a megabyte.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
from collections.abc import Callable

LOOK_EVERY = 10.0
"""Seconds."""

WORTH = 64 * 1024 * 1024
"""Bytes by which the process must be larger than it has been."""

_NEWS = WORTH // 4  # that it must have changed by since the last time, or the same would be tried again and again


def resident() -> int:
    """Bytes of this process in memory; 0 where there is no ``/proc``."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


def trim() -> None:
    """Give back every free page of malloc's, where the C library has a way to."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc
    if malloc_trim is not None:
        malloc_trim(0)


class MemoryTrimmer:
    """Looks now and then how large the process is, and gives back what it can when that is worth it.

    ``held`` are bytes that are known to be in use. ``give_back`` runs in a thread: meanwhile the event loop goes on,
    unless it needs a large block itself.
    """

    def __init__(
        self,
        held: Callable[[], int],
        size: Callable[[], int] = resident,
        give_back: Callable[[], None] = trim,
    ) -> None:
        self._held = held
        self._size = size
        self._give_back = give_back
        self._least = self._left = size()
        self._work: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_EVERY, self._go_off)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def look(self) -> asyncio.Future[None] | None:
        """Have memory given back if there should be enough of it; returns what is done when that is."""
        size = self._size()
        self._least = min(size, self._least)
        grown = size - self._least
        if grown < WORTH or self._held() > grown // 2 or abs(size - self._left) < _NEWS:
            return None
        if self._work is not None and not self._work.done():
            return None
        self._work = work = self._loop.run_in_executor(None, self._give_back)
        work.add_done_callback(self._note)
        return work

    def _note(self, _: asyncio.Future[None]) -> None:
        self._left = self._size()

    def _go_off(self) -> None:
        self.look()
        self._timer = self._loop.call_later(LOOK_EVERY, self._go_off)
