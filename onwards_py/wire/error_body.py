"""The error envelope ``{"error": {message, type, param, code}}``, as a body and as one SSE frame."""

from __future__ import annotations

import orjson

from onwards_py.errors import ProxyError


def error_body(error: ProxyError) -> bytes:
    """The envelope as JSON bytes."""
    answer = error.kind.value
    return orjson.dumps(
        {"error": {"message": error.message, "type": answer.type, "param": error.param, "code": answer.code}}
    )
