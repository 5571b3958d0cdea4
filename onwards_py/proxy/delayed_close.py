"""Closing the provider's connection once a translated answer is over, whether or not the provider ends the body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from onwards_py.messages import Source
from onwards_py.transcode.neutral.machine import Machine
from onwards_py.transcode.neutral.pipeline import AnswerCollector

_GRACE: Final = 1.0  # seconds between the end mark and the end of the body; waiting saves the connection


class DelayedClose:
    """``discard`` closes the connection: at once if the answer failed, after a grace period if it ended well."""

    __slots__ = ("_discard", "_machine", "_timer")

    def __init__(self, machine: Machine, discard: Callable[[], None]) -> None:
        self._machine = machine
        self._discard = discard
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """The machine was fed: start the timer if the answer is over."""
        if self._machine.finished and self._timer is None:
            grace = 0.0 if self._machine.failure is not None else _GRACE
            self._timer = asyncio.get_running_loop().call_later(grace, self._discard)

    def cancel(self) -> None:
        """The body has ended."""
        if self._timer is not None:
            self._timer.cancel()


class CollectedBody:
    """A BodySink for a translated answer that the client gets in one piece."""

    def __init__(self, collector: AnswerCollector, close: DelayedClose) -> None:
        self._collector = collector
        self._close = close

    def write(self, piece: bytes) -> None:
        """Take bytes of the provider's body."""
        self._collector.feed(piece)
        self._close.look()

    def flush(self) -> None:
        """Nothing can be sent yet."""

    def set_source(self, source: Source) -> None:
        """The provider is never paused: the collector bounds what is kept."""
