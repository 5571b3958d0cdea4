"""The load of a listener, and the rejection of connections beyond its limits."""

from __future__ import annotations

import asyncio
import logging
import socket

from onwards_py.doors.response_writer import status_line
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.error_body import error_response

_log = logging.getLogger("onwards.door")
_LOG_INTERVAL = 10.0  # seconds
_REFUSAL_SECONDS = 1.0  # seconds for a refused client to read the response


class ListenerLoad:
    """Counts over all connections of one listener, and the limits of the number of connections."""

    __slots__ = (
        "_last_logged",
        "_max_refused_open",
        "_reason",
        "_unlogged",
        "buffered",
        "connections",
        "refused",
        "refused_below",
        "refused_open",
        "served_below",
    )

    def __init__(
        self,
        served_below: int | None = None,
        refused_below: int | None = None,
        *,
        max_refused_open: int = 1024,
        reason: str = "server.max_connections, or the limit of file descriptors (ulimit -n), is reached",
    ) -> None:
        """``served_below``: only connections with a file descriptor below this number are served (None: all are).

        ``refused_below``: refused connections with this descriptor or a higher one are closed at once (None: no limit).
        ``max_refused_open``: refused connections that may stay open at the same time, until the client has read the
        error.
        ``reason``: why connections are refused, for the log.
        """
        self.connections = 0
        """Open connections, without refused ones."""
        self.buffered = 0
        """Bytes of request bodies in memory."""
        self.refused = 0
        """Connections that were refused so far."""
        self.refused_open = 0
        """Refused connections that are still open."""
        self.served_below = served_below
        self.refused_below = refused_below
        self._max_refused_open = max_refused_open
        self._reason = reason
        self._last_logged = 0.0
        self._unlogged = 0

    def has_room(self, transport: asyncio.BaseTransport, max_connections: int) -> bool:
        """True if the connection may be served: fewer than ``max_connections`` are open, and its descriptor is below
        the limit."""
        if self.connections >= max_connections:
            return False
        return self.served_below is None or _descriptor_of(transport) < self.served_below

    def may_keep_refused(self, transport: asyncio.BaseTransport) -> bool:
        """True if a refused connection may stay open until the client has read the error."""
        if self.refused_open >= self._max_refused_open:
            return False
        return self.refused_below is None or _descriptor_of(transport) < self.refused_below

    def record_refusal(self, now: float) -> None:
        """Count a refused connection. Refusals are logged at most once in ten seconds."""
        self.refused += 1
        self._unlogged += 1
        if self._last_logged and now < self._last_logged + _LOG_INTERVAL:
            return
        _log.warning(
            "%d connections refused with 503 (%d are open): %s", self._unlogged, self.connections, self._reason
        )
        self._last_logged, self._unlogged = now, 0


def refuse_connection(transport: asyncio.Transport, load: ListenerLoad) -> None:
    """Answer 503 and close.

    Bytes of the client are read for a moment and dropped: a reset for unread bytes would destroy the response
    (RFC 9112 section 9.6).
    """
    loop = asyncio.get_running_loop()
    load.record_refusal(loop.time())
    status, reason, block, body = error_response(ProxyError(ErrorKind.OVERLOADED, retry_after=1))
    answer = b"%b%bConnection: close\r\n\r\n%b" % (status_line(status, reason), block, body)
    plain = transport.can_write_eof()
    if load.may_keep_refused(transport):
        transport.write(answer)
        if plain:
            transport.write_eof()
        else:
            transport.close()  # sends close_notify; without the timer below, it would wait for the client's
        load.refused_open += 1
        loop.call_later(_REFUSAL_SECONDS, _close_refused, transport, load)
    elif plain:
        _answer_and_abort(transport, answer)
    else:
        transport.write(answer)
        loop.call_soon(transport.abort)  # after the write, which is made at the end of this turn


def _answer_and_abort(transport: asyncio.Transport, answer: bytes) -> None:
    """Send the answer and the FIN now, then close, which may send a reset.

    A client that has received both reads them in spite of the reset.
    The transport would write them later, or never.
    """
    sock = socket.socket(fileno=_descriptor_of(transport))
    try:
        sock.send(answer)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # closed already
    finally:
        sock.detach()
    transport.abort()


def _close_refused(transport: asyncio.Transport, load: ListenerLoad) -> None:
    load.refused_open -= 1
    transport.abort()


def _descriptor_of(transport: asyncio.BaseTransport) -> int:
    sock = transport.get_extra_info("socket")
    return 0 if sock is None else int(sock.fileno())
