"""An upstream connection inside TLS: the ``SSLProtocol`` of asyncio or uvloop lies between it and the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from onwards_py.deadline_timer import DeadlineTimer
from onwards_py.messages import Ending
from onwards_py.transports.connection import READ_BUFFER, READ_SIZE, ConnectionState, UpstreamConnection
from onwards_py.transports.loop_detector import LoopDetector
from onwards_py.transports.round_trip import RoundTrip
from onwards_py.transports.send_queue import SendQueue

_WRITE_BUFFER: Final = 128 * 1024  # bytes of a request that may wait to be encrypted
_EMPTY: Final = memoryview(b"")


def limit_tls_reading(transport: asyncio.Transport, high: int | None) -> None:
    """In TLS, stop reading the socket while more than ``high`` bytes are not decrypted yet (None: the default)."""
    set_limits = getattr(transport, "set_read_buffer_limits", None)
    if set_limits is not None and not transport.is_closing():
        set_limits(high)


class TlsConnection(UpstreamConnection):
    """Works around two properties of `SSLProtocol`.

    Reading: when the socket ends, `SSLProtocol` drops bytes that it has not handed over, decrypted or not.
    So all of its bytes are read at once, and the socket is not read while this connection does not read.

    Writing: `SSLProtocol` encrypts at once, into a buffer that the connection keeps for good.
    So a large body is passed on in pieces, as fast as the provider reads it.
    """

    __slots__ = ("_is_full", "_rest")

    def __init__(
        self,
        released: Callable[[UpstreamConnection], None],
        lost: Callable[[UpstreamConnection], None],
        queue: SendQueue,
        loop_detector: LoopDetector,
        timer: DeadlineTimer,
    ) -> None:
        super().__init__(released, lost, queue, loop_detector, timer)
        self._rest = _EMPTY  # the part of the request's body that was not passed on yet
        self._is_full = False

    # Reading

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio.BufferedProtocol)
        """A buffer for all bytes that can be decrypted: one read (256 KiB), and less than that from earlier reads."""
        return READ_BUFFER

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of TLS (close_notify) calls `eof_received` before this.

        Without it, an attacker on the path may have cut the connection (RFC 9112 section 9.8).
        """
        self._rest = _EMPTY
        self._close(Ending.RESET, exc or ConnectionResetError())
        super().connection_lost(exc)

    def pause_reading(self) -> None:
        super().pause_reading()
        self._limit(0)

    def resume_reading(self) -> None:
        super().resume_reading()
        # Bytes that were read before are decrypted in the next turn. Only then may more be read.
        self._loop.call_soon(self._limit, None)

    def _limit(self, high: int | None) -> None:
        if self.transport is not None and self._paused is (high == 0):
            limit_tls_reading(self.transport, high)

    # Writing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.set_write_buffer_limits(_WRITE_BUFFER)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._send_rest()

    def _set_unsent(self, head: bytes, body: bytes) -> None:
        self.unsent = (head,)
        self._rest = memoryview(body)
        self._loop.call_soon(self._send_rest)  # after SendQueue.flush

    def _send_rest(self) -> None:
        """Pass on as many bytes as the provider accepts."""
        if self._state is ConnectionState.CLOSED:
            self._rest = _EMPTY
        while self._rest and not self._is_full and self.transport is not None:
            piece, self._rest = self._rest[:READ_SIZE], self._rest[READ_SIZE:]
            self.transport.write(piece)
        if not self._rest:
            self._rest = _EMPTY  # an empty view still refers to the body

    def _finish(self, trip: RoundTrip) -> None:
        if self._rest:  # answered before the request was complete, and the provider does not read the rest
            self._rest = _EMPTY
            self._reusable = False
        super()._finish(trip)
