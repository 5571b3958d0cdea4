"""An upstream connection inside TLS, with the ``SSLProtocol`` of asyncio or uvloop between us and the socket."""

from __future__ import annotations

from onwards_py.messages import Ending
from onwards_py.transports.connection import READ_BUFFER, UpstreamConnection


class SecuredConnection(UpstreamConnection):
    """When the socket ends, `SSLProtocol` drops what it has decrypted, or could decrypt, and has not handed over. So
    nothing may be left there: it is asked for all that there is, and the socket is not read while we do not read.
    """

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio.BufferedProtocol)
        """Room for all that can be decrypted now: what one read (256 KiB) adds to what is waiting (less than that)."""
        return READ_BUFFER

    def connection_lost(self, exc: Exception | None) -> None:
        """TLS tells its own end (close_notify) by `eof_received`, before this. Without it anybody on the way may have
        cut the connection (RFC 9112 section 9.8)."""
        self._end(Ending.RESET, exc)
        super().connection_lost(exc)

    def pause_reading(self) -> None:
        super().pause_reading()
        self._limit(0)

    def resume_reading(self) -> None:
        super().resume_reading()
        # What is there already is decrypted in the next turn; only then may more be read.
        self._loop.call_soon(self._limit, None)

    def _limit(self, high: int | None) -> None:
        """Read no more from the socket above so many undecrypted bytes (None: as usual)."""
        transport = self._transport
        if transport is not None and not transport.is_closing() and self._paused is (high == 0):
            transport.set_read_buffer_limits(high)  # type: ignore[attr-defined]  # of SSL transports only
