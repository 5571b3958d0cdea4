"""Closes the provider's connection after the end of a translated answer, even if the provider does not end the body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from onwards_py.messages import Source
from onwards_py.transcode.neutral.machine import Machine
from onwards_py.transcode.neutral.pipeline import AnswerCollector

_GRACE: Final = 1.0  # seconds between the end mark and the end of the body; waiting saves the connection


class DelayedClose:
    """Calls ``discard``, which closes the connection: at once if the answer failed, else after a grace period."""

    __slots__ = ("_discard", "_machine", "_timer")

    def __init__(self, machine: Machine, discard: Callable[[], None]) -> None:
        self._machine = machine
        self._discard = discard
        self._timer: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Start the timer if the answer has ended. Called after each call of the machine."""
        if self._machine.finished and self._timer is None:
            grace = 0.0 if self._machine.failure is not None else _GRACE
            self._timer = asyncio.get_running_loop().call_later(grace, self._discard)

    def cancel(self) -> None:
        """Cancel the timer, because the body has ended."""
        if self._timer is not None:
            self._timer.cancel()


class CollectedBody:
    """A BodySink for a translated answer that is not streamed to the client."""

    def __init__(self, collector: AnswerCollector, close: DelayedClose) -> None:
        self._collector = collector
        self._close = close

    def write(self, piece: bytes) -> None:
        """Take bytes of the provider's body."""
        self._collector.feed(piece)
        self._close.check()

    def flush(self) -> None:
        """Does nothing: the response is sent after the end of the body."""

    def set_source(self, source: Source) -> None:
        """Does nothing: the provider is never paused, because the collector limits the size of the body."""
