"""One request and its response on an upstream connection: the head, and the destination of the body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from onwards_py.eager import OneShot
from onwards_py.messages import BodySink, Ending, Filter, ResponseHead
from onwards_py.wire.rechunk import EventTooLarge

if TYPE_CHECKING:
    from onwards_py.transports.connection import UpstreamConnection

_CLIENT_GONE: Final = Ending.CLIENT_GONE
_DONE: Final = Ending.DONE
_LIMIT: Final = Ending.LIMIT
_NO_HEAD: Final = ResponseHead(0, b"", b"")

MAX_BUFFERED: Final = 256 * 1024
"""Bytes of a body that are buffered until its destination is known. Then the connection is paused."""


class RoundTrip(msgspec.Struct):
    """An UpstreamResponse whose head may not have arrived yet.

    The connection pushes body bytes by `deliver`, and the end by `finish`.
    """

    connection: UpstreamConnection | None
    """None after the end of the body."""
    head_signal: OneShot[None] = msgspec.field(default_factory=OneShot)  # must not refer to this object: a cycle
    """Set when ``head`` is set."""
    head: ResponseHead = _NO_HEAD
    pieces: list[bytes] = []
    """Body bytes that arrived before their destination was known."""
    buffered: int = 0
    """Bytes in ``pieces``."""
    pipeline: Sequence[Filter] = ()
    write: Callable[[bytes], None] | None = None
    """The destination of the body."""
    ending: Ending | None = None
    """None until the end of the body."""
    ended: OneShot[Ending] | None = None
    """Set together with ``ending``, if the exchange waits for it."""
    repeated: bool = False

    # Calls of the connection

    def deliver(self, data: bytes) -> None:
        """Send the body bytes of one read to their destination, or buffer them."""
        write = self.write
        if write is None:
            self.pieces.append(data)
            self.buffered += len(data)
            if self.buffered > MAX_BUFFERED and self.connection is not None:
                self.connection.pause_reading()
            return
        try:
            for stage in self.pipeline:
                data = stage.feed(data)
        except EventTooLarge as error:
            data = error.ready
            self._stop()
        if data:
            write(data)

    def finish(self, ending: Ending) -> None:
        """The body has ended. Later calls are ignored. The connection may serve another request."""
        if self.ending is None:
            self.ending = ending
            self.connection = None
            if self.ended is not None:
                self.ended.set(ending)

    # Calls of the exchange

    def complete_body(self) -> bytes | None:
        """See UpstreamResponse.complete_body."""
        if self.ending is not _DONE:
            return None
        pieces = self.pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """See UpstreamResponse.pump."""
        self.pipeline = pipeline
        self.write = downstream.write
        if self.connection is not None:
            downstream.set_source(self)
        if self.pieces:
            buffered = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
            self.pieces = []
            try:
                self.deliver(buffered)
            except BaseException:
                self.discard()
                raise
        if self.ending is None:
            downstream.flush()
            self._resume_buffered()
            await self._wait()
        assert self.ending is not None
        self._finish_filters(self.ending)
        self.write = None  # the downstream refers to its source, and neither should wait for the garbage collector
        return self.ending

    async def read(self, limit: int) -> bytes | None:
        """See UpstreamResponse.read."""
        body: list[bytes] = []
        room = limit

        def collect(piece: bytes) -> None:
            nonlocal room
            room -= len(piece)
            if room >= 0:
                body.append(piece)
            else:
                self.discard()

        self.write = collect
        for piece in self.pieces:
            collect(piece)
        if self.ending is None:
            self._resume_buffered()
            await self._wait()
        return b"".join(body) if self.ending is _DONE and room >= 0 else None

    def discard(self) -> None:
        """See UpstreamResponse.discard."""
        if self.connection is not None:
            self.connection.abort(_LIMIT)

    # Calls of the downstream

    def pause_reading(self) -> None:
        """The client reads slower than the upstream sends.

        After the end of the body this does nothing: the connection may be idle, or serve another exchange.
        """
        if self.connection is not None:
            self.connection.pause_reading()

    def resume_reading(self) -> None:
        """The client has read most of what was sent."""
        if self.connection is not None:
            self.connection.resume_reading()

    async def _wait(self) -> None:
        self.ended = OneShot()
        try:
            await self.ended
        except asyncio.CancelledError:
            if self.connection is not None:
                self.connection.abort(_CLIENT_GONE)
            self.write = None  # as in `pump`
            raise

    def _resume_buffered(self) -> None:
        if self.buffered > MAX_BUFFERED and self.connection is not None:
            self.connection.resume_reading()

    def _stop(self) -> None:
        """Deliver no further bytes, because an event exceeds the limit."""
        self.pipeline = ()
        self.write = _drop
        if self.connection is not None:
            self.connection.abort(_LIMIT)
        else:
            self.ending = _LIMIT

    def _finish_filters(self, ending: Ending) -> None:
        """Send the buffered bytes of each filter through the filters after it."""
        pipeline = self.pipeline
        for at, stage in enumerate(pipeline):
            data = stage.finish(ending)
            for later in pipeline[at + 1 :]:
                data = later.feed(data) if data else data
            if data and self.write is not None:
                self.write(data)


def _drop(_: bytes) -> None:
    """The destination of bytes that must not be delivered."""
