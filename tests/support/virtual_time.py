"""An event loop whose clock jumps to the next timer instead of waiting, for what does no I/O.

So timeouts of minutes take no time, and the moment at which one goes off is exact.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jump(selectors.DefaultSelector):
    """Selects what is ready, and lets the time pass that it should have waited."""

    loop: _Loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left that could happen"
            self.loop.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 1000.0
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in such a loop."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main)


class FakeTransport(asyncio.Transport):
    """A connection on which nothing comes in. ``aborted`` and ``closed``: when that was asked for, if it was."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 6)})
        self.written = b""
        self.aborted: float | None = None
        self.closed: float | None = None
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.written += b"".join(list_of_data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Nobody reads."""

    def is_closing(self) -> bool:
        return self.aborted is not None or self.closed is not None

    def pause_reading(self) -> None:
        """Nothing comes in."""

    def resume_reading(self) -> None:
        """Nothing comes in."""

    def abort(self) -> None:
        self.aborted = self._loop.time()

    def close(self) -> None:
        self.closed = self._loop.time()
