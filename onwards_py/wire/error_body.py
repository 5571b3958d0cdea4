"""The error envelope ``{"error": {message, type, param, code}}`` as a whole response."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import orjson

from onwards_py.errors import ErrorKind, LimitState, ProxyError
from onwards_py.messages import Downstream
from onwards_py.wire.own_head import json_lines, reason_of


class ErrorResponse(NamedTuple):
    """An error as a whole response."""

    status: int
    reason: bytes
    block: bytes
    """The joined field lines, with Content-Length."""
    body: bytes


def error_response(error: ProxyError) -> ErrorResponse:
    """The response for ``error``.

    RFC 9110 requires fields for 401 (section 15.5.2), 405 (section 15.5.6) and 426 (section 15.5.22).
    Retry-After is in whole seconds (section 10.2.3).
    An exceeded limit is sent in the fields that OpenAI uses.
    """
    answer = error.kind.value
    body = orjson.dumps(
        {"error": {"message": error.message, "type": answer.type, "param": error.param, "code": error.code}}
    )
    block = json_lines(len(body))
    if error.kind is ErrorKind.UNAUTHENTICATED:
        block += b'WWW-Authenticate: Bearer realm="onwards"\r\n'
    elif error.kind is ErrorKind.NO_WEBSOCKET:
        block += b"Upgrade: HTTP/1.1\r\nConnection: Upgrade\r\n"
    elif error.allow is not None:
        block += b"Allow: %b\r\n" % error.allow.encode("ascii")
    if error.retry_after is not None:
        block += b"Retry-After: %d\r\n" % max(1, ceil(error.retry_after))
    if error.limit is not None:
        block += _limit_fields(error.limit)
    return ErrorResponse(answer.status, reason_of(answer.status), block, body)


def _limit_fields(state: LimitState) -> bytes:
    name = state.name.title().encode("ascii")
    lines = b"X-RateLimit-Limit-%b: %d\r\nX-RateLimit-Remaining-%b: %d\r\n" % (name, state.limit, name, state.remaining)
    if state.reset is None:
        return lines
    return lines + b"X-RateLimit-Reset-%b: %b\r\n" % (name, format_duration(state.reset).encode("ascii"))


def format_duration(seconds: float) -> str:
    """``20ms``, ``1.2s``, ``6m0s``, ``1h0m0.5s``: as in OpenAI's rate limit fields. Rounded up to milliseconds."""
    thousandths = ceil(max(0.0, seconds) * 1000 - 1e-6)
    if thousandths < 1000:
        return f"{thousandths}ms" if thousandths else "0s"
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown


def send_error(downstream: Downstream, error: ProxyError, extra: bytes = b"") -> None:
    """Send the error, or abort if a response has begun. ``extra``: additional field lines."""
    if downstream.committed:
        downstream.abort()
        return
    status, reason, block, body = error_response(error)
    downstream.answer(status, reason, block + extra, len(body), body)
