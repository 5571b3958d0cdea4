"""Freed memory goes back to the operating system.

glibc's malloc returns the end of its heap, and large blocks one by one.
But its threshold for large blocks grows with the freed blocks, up to 32 MiB, and usually a small block in use follows
hundreds of freed bodies of 100 KiB, so that the end of the heap is not free.
Without this module, hundreds of megabytes remain with the process after a burst.
`malloc_trim(3)` returns every free page, and takes about 0.1 ms for a megabyte.
"""

from __future__ import annotations

import asyncio
import ctypes
import mmap
from collections.abc import Callable

CHECK_INTERVAL = 10.0
"""Seconds."""

MIN_GROWTH = 64 * 1024 * 1024
"""Bytes by which the process must have grown."""

_MIN_CHANGE = MIN_GROWTH // 4  # since the last trim, which would otherwise be repeated without effect


def resident() -> int:
    """Resident bytes of this process. 0 where there is no ``/proc``."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


def trim() -> None:
    """Return every free page of malloc's, if the C library can."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc
    if malloc_trim is not None:
        malloc_trim(0)


class MemoryTrimmer:
    """Checks the size of the process at intervals, and returns free memory if there is enough of it."""

    def __init__(
        self,
        held: Callable[[], int],
        size: Callable[[], int] = resident,
        give_back: Callable[[], None] = trim,
    ) -> None:
        """``held``: bytes that are known to be in use.

        ``give_back`` runs in a thread. Meanwhile the event loop runs on, unless it needs a large block itself.
        """
        self._held = held
        self._size = size
        self._give_back = give_back
        self._smallest = self._after_trim = size()
        self._work: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._on_timer)

    def close(self) -> None:
        """Stop checking."""
        self._timer.cancel()

    def check(self) -> asyncio.Future[None] | None:
        """Start a trim if it should free enough memory. Returns a future of its end."""
        size = self._size()
        self._smallest = min(size, self._smallest)
        grown = size - self._smallest
        if grown < MIN_GROWTH or self._held() > grown // 2 or abs(size - self._after_trim) < _MIN_CHANGE:
            return None
        if self._work is not None and not self._work.done():
            return None
        self._work = work = self._loop.run_in_executor(None, self._give_back)
        work.add_done_callback(self._on_trimmed)
        return work

    def _on_trimmed(self, _: asyncio.Future[None]) -> None:
        self._after_trim = self._size()

    def _on_timer(self) -> None:
        self.check()
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._on_timer)
