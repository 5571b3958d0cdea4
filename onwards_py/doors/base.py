"""What both doors share: the handler they call, the bounds they keep, and their counters."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Protocol

from onwards_py.doors.response_writer import ResponseWriter, status_line
from onwards_py.errors import ErrorKind, ProxyError, body_too_large
from onwards_py.messages import InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.error_body import error_response
from onwards_py.wire.request_head import RequestHead, examine, size_of

DRAIN_GRACE = 0.5
"""Seconds that an idle connection stays open when the program is told to end."""

LINGER_SECONDS = 2.0
"""Seconds that a client has to take a refusal, while the rest of what it sends is read and dropped."""

MIN_UPLOAD_RATE = 16 * 1024
"""Bytes per second. For each so many bytes that have arrived a body is given a second beyond ``body_timeout``."""

WRITE_BUFFER = 16 * 1024
"""Bytes that may wait for a slow client before its provider is held back (one read may come on top)."""


class Handler(Protocol):
    """The one handler behind both doors."""

    def handle(
        self, request: InboundRequest, head: RequestHead, downstream: ResponseWriter
    ) -> Coroutine[Any, Any, None]:
        """Answer the request. Ends or aborts the downstream; raises nothing but CancelledError."""
        ...

    def precheck(self, target: bytes, head: RequestHead) -> None:
        """Refuse (ProxyError) what the head alone decides, before a body is asked for."""
        ...

    def refused(self, request: InboundRequest, error: ProxyError) -> None:
        """Take note of a request that a door refused by itself."""
        ...

    def is_own_connection(self, peer: str, port: int) -> bool:
        """Whether a connection from there is one of our own, to a provider that is ourselves."""
        ...

    @property
    def max_body(self) -> int:
        """Bytes of request body that a door may read."""
        ...


class Gauges:
    """Counts of one listener over all connections: open ones, bytes of request bodies held, and refused connections.

    ``ceiling``: descriptors from this number on are not for clients, and from ``brim`` on not for refused ones either
    (None: there is no such bound). Of refused ones, ``most_parting`` at one time have a moment to read that. ``full``:
    why connections are refused, for the log.
    """

    __slots__ = (
        "_told",
        "_untold",
        "brim",
        "buffered",
        "ceiling",
        "connections",
        "full",
        "most_parting",
        "parting",
        "refused",
    )

    def __init__(
        self,
        ceiling: int | None = None,
        brim: int | None = None,
        *,
        most_parting: int = 1024,
        full: str = "server.max_connections, or the limit of file descriptors (ulimit -n), is reached",
    ) -> None:
        self.connections = 0
        self.buffered = 0
        self.refused = 0
        self.parting = 0
        self.ceiling = ceiling
        self.brim = brim
        self.most_parting = most_parting
        self.full = full
        self._told = 0.0
        self._untold = 0

    def has_room(self, transport: asyncio.BaseTransport, most: int) -> bool:
        """Whether one more connection may be served: fewer than ``most`` are open, and a descriptor can be spared."""
        if self.connections >= most:
            return False
        return self.ceiling is None or _descriptor_of(transport) < self.ceiling

    def refuses(self, now: float) -> None:
        """Count a refused connection; the first is logged, and a storm of them once in ten seconds."""
        self.refused += 1
        self._untold += 1
        if self._told and now < self._told + _QUIET:
            return
        _log.warning("%d connections refused with 503 (%d are open): %s", self._untold, self.connections, self.full)
        self._told, self._untold = now, 0


_log = logging.getLogger("onwards.door")
_QUIET = 10.0  # seconds
_PARTING_SECONDS = 1.0  # for a refused client to read that
_LARGE_BODY = 64 * 1024
_UNSERVED_METHODS = frozenset({b"CONNECT", b"TRACE"})


def check_head(
    handler: Handler, settings: ServerSettings, request: InboundRequest, version: str, head_size: int
) -> RequestHead:
    """The guard in front of both doors. ``head_size`` 0: known to be within bounds. Raises ProxyError.

    What the head alone decides is decided before a large body is taken in; behind a small one, which costs less than
    the connection does.
    """
    if handler.is_own_connection(request.peer, request.peer_port):
        raise ProxyError(ErrorKind.LOOP)
    if version not in ("1.1", "1.0"):
        raise ProxyError(ErrorKind.VERSION)
    if request.method in _UNSERVED_METHODS:
        raise ProxyError(ErrorKind.METHOD_NOT_ALLOWED)
    if len(request.target) > settings.max_target_bytes:
        raise ProxyError(ErrorKind.TARGET_TOO_LONG)
    if len(request.fields) > settings.max_header_count:
        raise ProxyError(
            ErrorKind.HEAD_TOO_LARGE, f"The request has more than {settings.max_header_count} header fields."
        )
    if head_size > settings.max_head_bytes and size_of(request.fields, request.target) > settings.max_head_bytes:
        raise ProxyError(ErrorKind.HEAD_TOO_LARGE)
    head = examine(request.fields, request.target, request.http_minor)
    if head.upgrade == b"websocket" and request.method == b"GET" and (head.chunked or head.content_length):
        # RFC 6455 section 4.2.1: 400 for what is no handshake. Its body would be the first bytes of the tunnel to some.
        raise ProxyError(ErrorKind.BAD_REQUEST, "A WebSocket handshake must not have a body.")
    if head.content_length is not None and head.content_length > handler.max_body:
        raise body_too_large(handler.max_body)
    if head.chunked or (head.content_length is not None and head.content_length > _LARGE_BODY):
        handler.precheck(request.target, head)
    return head


def refuse_connection(transport: asyncio.Transport, gauges: Gauges) -> None:
    """One connection too many: say so and close. Nothing is taken for a request, but what comes is read for a moment: a
    reset for unread bytes would destroy the answer (RFC 9112 section 9.6)."""
    loop = asyncio.get_running_loop()
    gauges.refuses(loop.time())
    status, reason, block, body = error_response(ProxyError(ErrorKind.OVERLOADED, retry_after=1))
    answer = b"%b%bConnection: close\r\n\r\n%b" % (status_line(status, reason), block, body)
    plain = transport.can_write_eof()
    if gauges.parting < gauges.most_parting and (gauges.brim is None or _descriptor_of(transport) < gauges.brim):
        transport.write(answer)
        if plain:
            transport.write_eof()
        else:
            transport.close()  # close_notify; without the bound below, the client's would be waited for
        gauges.parting += 1
        loop.call_later(_PARTING_SECONDS, _part, transport, gauges)
    elif plain:
        _say_and_go(transport, answer)
    else:
        transport.write(answer)
        loop.call_soon(transport.abort)  # what was written leaves at the end of this turn


def _say_and_go(transport: asyncio.Transport, answer: bytes) -> None:
    """Where no descriptor can be spared for a moment: the answer and the FIN leave before the close, which may reset.
    A client that has both reads them in spite of it; the transport would write them later, or never."""
    sock = socket.socket(fileno=_descriptor_of(transport))
    try:
        sock.send(answer)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # it is gone already
    finally:
        sock.detach()
    transport.abort()


def _part(transport: asyncio.Transport, gauges: Gauges) -> None:
    gauges.parting -= 1
    transport.abort()


def _descriptor_of(transport: asyncio.BaseTransport) -> int:
    sock = transport.get_extra_info("socket")
    return 0 if sock is None else int(sock.fileno())
