"""One request and its response on an upstream connection: what the parser found, and where the body goes."""

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

HOLD: Final = 256 * 1024
"""Bytes kept for an exchange that has not yet said where they go; then the connection is held back."""


class RoundTrip(msgspec.Struct):
    """An UpstreamResponse whose head may still be on its way.

    The connection pushes: `take` for body bytes, `finish` for the end. Until `pump` or `read` says where they go,
    bytes are kept in ``pieces``.
    """

    connection: UpstreamConnection | None
    head_signal: OneShot[None] = msgspec.field(default_factory=OneShot)  # not of the trip itself: that would be a cycle
    head: ResponseHead = _NO_HEAD
    pieces: list[bytes] = []
    kept: int = 0
    pipeline: Sequence[Filter] = ()
    write: Callable[[bytes], None] | None = None
    ending: Ending | None = None
    ended: OneShot[Ending] | None = None
    repeated: bool = False

    # From the connection.

    def take(self, data: bytes) -> None:
        """Body bytes of one read. If their destination is known, they are on their way when this returns."""
        write = self.write
        if write is None:
            self.pieces.append(data)
            self.kept += len(data)
            if self.kept > HOLD and self.connection is not None:
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
        """No more bytes: the first call counts. The connection is no longer ours."""
        if self.ending is None:
            self.ending = ending
            self.connection = None
            if self.ended is not None:
                self.ended.set(ending)

    # From the exchange.

    def complete_body(self) -> bytes | None:
        """See UpstreamResponse.complete_body."""
        if self.ending is not _DONE:
            return None
        pieces = self.pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """Move the body downstream until it ends. See UpstreamResponse.pump."""
        self.pipeline = pipeline
        self.write = downstream.write
        if self.connection is not None:
            downstream.set_source(self.connection)
        if self.pieces:
            held = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
            self.pieces = []
            try:
                self.take(held)
            except BaseException:
                self.discard()  # whatever went wrong here, nobody will read the rest
                raise
        if self.ending is None:
            downstream.flush()
            self._resume_after_hold()
            await self._wait()
        assert self.ending is not None
        self._drain(self.ending)
        return self.ending

    async def read(self, limit: int) -> bytes | None:
        """The whole body, or None if it did not end well within ``limit`` bytes."""
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
            self._resume_after_hold()
            await self._wait()
        return b"".join(body) if self.ending is _DONE and room >= 0 else None

    def discard(self) -> None:
        """Free the connection now; what still comes is of no interest."""
        if self.connection is not None:
            self.connection.cut(_LIMIT)

    async def _wait(self) -> None:
        self.ended = OneShot()
        try:
            await self.ended
        except asyncio.CancelledError:
            if self.connection is not None:
                self.connection.cut(_CLIENT_GONE)
            raise

    def _resume_after_hold(self) -> None:
        if self.kept > HOLD and self.connection is not None:
            self.connection.resume_reading()

    def _stop(self) -> None:
        """An event passed the limit: nothing behind it may be delivered."""
        self.pipeline = ()
        self.write = _nowhere
        if self.connection is not None:
            self.connection.cut(_LIMIT)
        else:
            self.ending = _LIMIT

    def _drain(self, ending: Ending) -> None:
        """Let the filters give back what they hold, each through those behind it."""
        pipeline = self.pipeline
        for at, stage in enumerate(pipeline):
            data = stage.finish(ending)
            for later in pipeline[at + 1 :]:
                data = later.feed(data) if data else data
            if data and self.write is not None:
                self.write(data)


def _nowhere(_: bytes) -> None:
    """Where bytes go that must not be delivered."""
