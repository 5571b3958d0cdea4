"""The error envelope ``{"error": {message, type, param, code}}`` as a whole response."""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import NamedTuple

import orjson

from onwards_py.errors import Kind, ProxyError
from onwards_py.messages import Downstream


class ErrorResponse(NamedTuple):
    """``block``: joined field lines, Content-Length among them."""

    status: int
    reason: bytes
    block: bytes
    body: bytes


def error_response(error: ProxyError) -> ErrorResponse:
    """The response that tells a client about ``error``.

    401 carries the challenge that RFC 9110 section 15.5.2 asks for, 426 the protocol to use instead (section 15.5.22);
    Retry-After is in whole seconds (section 10.2.3).
    """
    answer = error.kind.value
    body = orjson.dumps(
        {"error": {"message": error.message, "type": answer.type, "param": error.param, "code": error.code}}
    )
    block = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    if error.kind is Kind.UNAUTHENTICATED:
        block += b'WWW-Authenticate: Bearer realm="onwards"\r\n'
    elif error.kind is Kind.NO_WEBSOCKET:
        block += b"Upgrade: HTTP/1.1\r\nConnection: Upgrade\r\n"
    if error.retry_after is not None:
        block += b"Retry-After: %d\r\n" % max(1, ceil(error.retry_after))
    return ErrorResponse(answer.status, HTTPStatus(answer.status).phrase.encode("ascii"), block, body)


def send_error(downstream: Downstream, error: ProxyError) -> None:
    """Answer with the envelope, if nothing was answered yet; else break off."""
    if downstream.committed:
        downstream.abort()
        return
    status, reason, block, body = error_response(error)
    downstream.answer(status, reason, block, len(body), body)
