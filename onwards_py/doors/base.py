"""What both doors share: the handler they call, the bounds they keep, and their counters."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from onwards_py.config.snapshot import ServerSettings
from onwards_py.doors.response_writer import ResponseWriter, status_line
from onwards_py.errors import Kind, ProxyError, body_too_large
from onwards_py.messages import InboundRequest
from onwards_py.wire.error_body import error_response
from onwards_py.wire.request_head import RequestHead, examine, size_of

DRAIN_GRACE = 0.5
"""Seconds that an idle connection stays open when the program is told to end."""

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

    def is_ours(self, peer: str, port: int) -> bool:
        """Whether a connection from there is one of our own, to a provider that is ourselves."""
        ...

    @property
    def max_body(self) -> int:
        """Bytes of request body that a door may read."""
        ...


class Gauges:
    """Counts of one process over all connections: open ones, and bytes of request bodies held."""

    __slots__ = ("buffered", "connections")

    def __init__(self) -> None:
        self.connections = 0
        self.buffered = 0


_UNSERVED_METHODS = frozenset({b"CONNECT", b"TRACE"})


def check_head(
    handler: Handler, settings: ServerSettings, request: InboundRequest, version: str, head_size: int
) -> RequestHead:
    """The guard in front of both doors. ``head_size`` 0: known to be within bounds. Raises ProxyError."""
    if handler.is_ours(request.peer, request.peer_port):
        raise ProxyError(Kind.LOOP)
    if version not in ("1.1", "1.0"):
        raise ProxyError(Kind.VERSION)
    if request.method in _UNSERVED_METHODS:
        raise ProxyError(Kind.METHOD_NOT_ALLOWED)
    if len(request.target) > settings.max_target_bytes:
        raise ProxyError(Kind.TARGET_TOO_LONG)
    if len(request.fields) > settings.max_header_count:
        raise ProxyError(Kind.HEAD_TOO_LARGE, f"The request has more than {settings.max_header_count} header fields.")
    if head_size > settings.max_head_bytes and size_of(request.fields, request.target) > settings.max_head_bytes:
        raise ProxyError(Kind.HEAD_TOO_LARGE)
    head = examine(request.fields, request.target, request.http_minor)
    if head.content_length is not None and head.content_length > handler.max_body:
        raise body_too_large(handler.max_body)
    return head


def refuse_connection(transport: asyncio.Transport) -> None:
    """One connection too many: say so and close; nothing is read."""
    status, reason, block, body = error_response(ProxyError(Kind.OVERLOADED, retry_after=1))
    transport.write(b"%b%bConnection: close\r\n\r\n%b" % (status_line(status, reason), block, body))
    transport.close()
