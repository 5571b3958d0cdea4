"""An upstream connection inside TLS, with the ``SSLProtocol`` of asyncio or uvloop between us and the socket."""

from __future__ import annotations

import asyncio
from typing import Final

from onwards_py.messages import Ending
from onwards_py.transports.connection import READ_BUFFER, READ_SIZE, State, UpstreamConnection
from onwards_py.transports.round_trip import RoundTrip

_UNENCRYPTED: Final = 128 * 1024  # bytes of a request that are handed over before the first of them are on their way
_NOTHING: Final = memoryview(b"")


def limit_tls_reading(transport: asyncio.Transport, high: int | None) -> None:
    """Read no more from the socket above so many bytes that are still encrypted (None: as usual), if this is TLS."""
    set_limits = getattr(transport, "set_read_buffer_limits", None)
    if set_limits is not None and not transport.is_closing():
        set_limits(high)


class TlsConnection(UpstreamConnection):
    """What `SSLProtocol` needs from us beside what the bytes mean.

    Reading: when the socket ends it drops what it has decrypted, or could decrypt, and has not handed over. So nothing
    may be left there: it is asked for all that there is, and the socket is not read while we do not read.

    Writing: it encrypts at once whatever it is given, into a buffer that the connection keeps for good. So large
    requests are given to it bit by bit, as the provider takes them.
    """

    _unsent: memoryview = _NOTHING
    _is_full: bool = False

    # Reading

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio.BufferedProtocol)
        """Room for all that can be decrypted now: what one read (256 KiB) adds to what is waiting (less than that)."""
        return READ_BUFFER

    def connection_lost(self, exc: Exception | None) -> None:
        """TLS tells its own end (close_notify) by `eof_received`, before this. Without it anybody on the way may have
        cut the connection (RFC 9112 section 9.8)."""
        self._unsent = _NOTHING
        self._end(Ending.RESET, exc or ConnectionResetError())
        super().connection_lost(exc)

    def pause_reading(self) -> None:
        super().pause_reading()
        self._limit(0)

    def resume_reading(self) -> None:
        super().resume_reading()
        # What is there already is decrypted in the next turn; only then may more be read.
        self._loop.call_soon(self._limit, None)

    def _limit(self, high: int | None) -> None:
        if self._transport is not None and self._paused is (high == 0):
            limit_tls_reading(self._transport, high)

    # Writing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._transport is not None
        self._transport.set_write_buffer_limits(_UNENCRYPTED)

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._send_rest()

    def _send_large(self, transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        self._batch.add(transport, head)
        self._unsent = memoryview(body)
        self._loop.call_soon(self._send_rest)  # behind the batch

    def _send_rest(self) -> None:
        """Hand over what the provider has room for."""
        if self._state is State.CLOSED:
            self._unsent = _NOTHING
        while self._unsent and not self._is_full and self._transport is not None:
            piece, self._unsent = self._unsent[:READ_SIZE], self._unsent[READ_SIZE:]
            self._transport.write(piece)
        if not self._unsent:
            self._unsent = _NOTHING  # an empty view still holds on to the body

    def _finish(self, trip: RoundTrip) -> None:
        if self._unsent:  # answered before all was asked: nobody takes the rest
            self._unsent = _NOTHING
            self._reusable = False
        super()._finish(trip)
