"""One request and its response on an upstream connection: what the parser found, and where the body goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from onwards_py.eager import Signal
from onwards_py.messages import Downstream, Ending, Fields, Filter, ResponseHead
from onwards_py.wire.rechunk import EventTooLarge

_CLIENT_GONE: Final = Ending.CLIENT_GONE
_DONE: Final = Ending.DONE
_LIMIT: Final = Ending.LIMIT

if TYPE_CHECKING:
    from onwards_py.transports.connection import UpstreamConnection


class RoundTrip:
    """An UpstreamResponse whose head may still be on its way.

    The connection pushes: `take` for body bytes, `finish` for the end. Until `pump` names a downstream,
    bytes are kept, and the connection is held back once more than ``HOLD`` of them wait.
    """

    HOLD = 256 * 1024

    __slots__ = (
        "_connection",
        "_ended",
        "_ending",
        "_held",
        "_pieces",
        "_pipeline",
        "_write",
        "head",
        "head_signal",
    )

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection: UpstreamConnection | None = connection
        self._pieces: list[bytes] = []
        self._held = 0
        self._pipeline: Sequence[Filter] = ()
        self._write: Callable[[bytes], None] | None = None
        self._ending: Ending | None = None
        self._ended: Signal[Ending] | None = None
        self.head_signal: Signal[RoundTrip] = Signal()
        self.head = ResponseHead(0, b"", [])

    # From the connection.

    def begin(self, status: int, reason: bytes, fields: Fields) -> None:
        self.head = ResponseHead(status, reason, fields)

    def take(self, pieces: list[bytes]) -> None:
        """Body bytes of one read. They are on their way to the client when this returns."""
        if self._write is None:
            self._pieces += pieces
            self._held += sum(map(len, pieces))
            if self._held > self.HOLD and self._connection is not None:
                self._connection.pause_reading()
            return
        self._push(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def finish(self, ending: Ending) -> None:
        """No more bytes: the first call counts. The connection is no longer ours."""
        if self._ending is None:
            self._ending = ending
            self._connection = None
            if self._ended is not None:
                self._ended.set(ending)

    # From the exchange.

    async def pump(self, pipeline: Sequence[Filter], downstream: Downstream) -> Ending:
        """Move the body downstream until it ends. See UpstreamResponse.pump."""
        self._pipeline = pipeline
        self._write = downstream.write
        if self._connection is not None:
            downstream.feed_from(self._connection)
        if self._pieces:
            held, self._pieces = self._pieces, []
            self._push(held[0] if len(held) == 1 else b"".join(held))
        if self._ending is None:
            downstream.flush()
            self._resume_after_hold()
            await self._wait()
        assert self._ending is not None
        self._drain(self._ending)
        return self._ending

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

        self._write = collect
        for piece in self._pieces:
            collect(piece)
        if self._ending is None:
            self._resume_after_hold()
            await self._wait()
        return b"".join(body) if self._ending is _DONE and room >= 0 else None

    def discard(self) -> None:
        """Free the connection now; what still comes is of no interest."""
        if self._connection is not None:
            self._connection.cut(_LIMIT)

    async def _wait(self) -> None:
        self._ended = Signal()
        try:
            await self._ended
        except asyncio.CancelledError:
            if self._connection is not None:
                self._connection.cut(_CLIENT_GONE)
            raise

    def _resume_after_hold(self) -> None:
        if self._held > self.HOLD and self._connection is not None:
            self._connection.resume_reading()

    def _push(self, data: bytes) -> None:
        write = self._write
        assert write is not None
        try:
            for stage in self._pipeline:
                data = stage.feed(data)
        except EventTooLarge as error:
            data = error.ready
            self._pipeline = ()
            self._stop()
        if data:
            write(data)

    def _stop(self) -> None:
        """An event passed the limit: nothing behind it may be delivered."""
        self._write = _nowhere
        self._ending = None
        if self._connection is not None:
            self._connection.cut(_LIMIT)
        else:
            self._ending = _LIMIT

    def _drain(self, ending: Ending) -> None:
        """Let the filters give back what they hold, each through those behind it."""
        pipeline = self._pipeline
        for at, stage in enumerate(pipeline):
            data = stage.finish(ending)
            for later in pipeline[at + 1 :]:
                data = later.feed(data) if data else data
            if data and self._write is not None:
                self._write(data)


def _nowhere(_: bytes) -> None:
    """Where bytes go that must not be delivered."""
