"""Passes events from a worker thread to a response, with back-pressure; stops when the client leaves."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from onwards_py.engines.base import Job

_UNREAD = 64 * 1024


class StreamSink:
    """An `EventSink`. The thread calls `begin` and `event`; the event loop calls all other methods."""

    def __init__(self, job: Job, loop: asyncio.AbstractEventLoop) -> None:
        self._job = job
        self._loop = loop
        self._space = threading.Condition()
        self._frames: list[bytes] = []
        self._unread = 0
        self._news = asyncio.Event()
        self._finished = False
        self.begun = False

    def begin(self) -> None:
        self.begun = True
        self._wake_reader()

    def event(self, data: bytes) -> bool:
        frame = b"data: " + data + b"\n\n"
        with self._space:
            self._space.wait_for(lambda: self._unread < _UNREAD or self._job.stop.is_set())
            if self._job.stop.is_set():
                return False
            self._frames.append(frame)
            self._unread += len(frame)
        self._wake_reader()
        return True

    def _wake_reader(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(self._news.set)

    def finish(self) -> None:
        """The computation has returned: no more frames follow."""
        self._finished = True
        self._news.set()

    async def batch(self) -> list[bytes] | None:
        """Wait for frames, or for the beginning of the stream. None: the stream has ended, or there was no stream.

        Frames count as unread until they are `written`.
        """
        while True:
            await self._news.wait()
            self._news.clear()
            with self._space:
                frames, self._frames = self._frames, []
            if self._finished:
                self._news.set()
                return frames or None
            if frames or self.begun:
                return frames

    def written(self, frame: bytes) -> None:
        """The frame was sent, so that there is room for more."""
        with self._space:
            self._unread -= len(frame)
            self._space.notify()

    def stop(self, now: float) -> None:
        """The client has left: stop the job, and wake its thread if it waits for room."""
        self._job.request_stop(now)
        with self._space:
            self._space.notify()
