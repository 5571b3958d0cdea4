"""The guard of both doors: checks of a request head that do not depend on the parser."""

from __future__ import annotations

from onwards_py.doors.base import Handler
from onwards_py.errors import ErrorKind, ProxyError, body_too_large
from onwards_py.messages import InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.request_head import RequestHead, examine, size_of

_LARGE_BODY = 64 * 1024  # bytes
_UNSERVED_METHODS = frozenset({b"CONNECT", b"TRACE"})


def check_head(
    handler: Handler, settings: ServerSettings, request: InboundRequest, version: str, head_size: int
) -> RequestHead:
    """The facts of a request head. Raises ProxyError.

    ``head_size``: an upper bound of the head's size in bytes.
    A large body is read only after `Handler.precheck`.
    A small body costs less than the connection, so it is read first.
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
        message = f"The request has more than {settings.max_header_count} header fields."
        raise ProxyError(ErrorKind.HEAD_TOO_LARGE, message)
    if head_size > settings.max_head_bytes and size_of(request.fields, request.target) > settings.max_head_bytes:
        raise ProxyError(ErrorKind.HEAD_TOO_LARGE)
    head = examine(request.fields, request.target, request.http_minor)
    if head.upgrade == b"websocket" and request.method == b"GET" and (head.chunked or head.content_length):
        # RFC 6455 section 4.2.1: 400 for an invalid handshake. Some servers would read the body as bytes of the tunnel.
        raise ProxyError(ErrorKind.BAD_REQUEST, "A WebSocket handshake must not have a body.")
    if head.content_length is not None and head.content_length > handler.config.max_body:
        raise body_too_large(handler.config.max_body)
    if head.chunked or (head.content_length is not None and head.content_length > _LARGE_BODY):
        handler.precheck(request.target, head)
    return head
