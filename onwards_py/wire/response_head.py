"""A response head, read once: which field lines travel on to the client, and what the body is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onwards_py.errors import Kind, ProxyError
from onwards_py.messages import Field, ResponseHead
from onwards_py.wire.field_rules import (
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    RESPONSE_BOOK,
    TRANSFER_ENCODING,
)

_T = frozenset({b"t", b"T"})
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close", b""})


class ResponseFacts(msgspec.Struct, frozen=True):
    """``block``: the field lines that travel on, each with its CRLF, without framing other than Content-Length.

    ``length``: announced body bytes; None if the stream's end tells. ``event_stream``: Server-Sent Events, not coded.
    """

    block: bytes
    length: int | None
    event_stream: bool


def examine_response(head: ResponseHead, extra: Sequence[Field] = (), *, to_head: bool = False) -> ResponseFacts:
    """Read ``head`` once; ``extra`` fields replace those of their names.

    ``to_head``: the request was HEAD, so no body follows, whatever is announced (RFC 9110 section 9.3.2).
    Raises ProxyError(UPSTREAM_INVALID) where the framing cannot be trusted.
    """
    parts: list[bytes] = []
    known = RESPONSE_BOOK.known
    length: int | None = None
    nominated = content_type = b""
    coded = chunked = False
    status = head.status
    if not 200 <= status <= 599:
        raise ProxyError(Kind.UPSTREAM_INVALID)
    for name, value in replace_fields(head.fields, extra) if extra else head.fields:
        kind = known.get(name)
        if kind is None:
            kind = RESPONSE_BOOK.learn(name)
        if not kind:
            parts += (name, b": ", value, b"\r\n")
        elif kind == CONTENT_TYPE:
            content_type = value
            parts += (name, b": ", value, b"\r\n")
        elif kind == CONTENT_LENGTH:
            length = int(value)
            if status != 204:  # RFC 9110 section 8.6: must not be sent with 204
                parts += (name, b": ", value, b"\r\n")
        elif kind == TRANSFER_ENCODING:
            if value.strip().lower() != b"chunked":
                raise ProxyError(Kind.UPSTREAM_INVALID)
            chunked = True
        elif kind == CONTENT_ENCODING:
            coded = value.strip().lower() != b"identity"
            parts += (name, b": ", value, b"\r\n")
        elif kind == CONNECTION and value not in _PLAIN_CONNECTION:
            nominated += b"," + value
    if nominated:
        _remove_nominated(parts, nominated)
    if to_head or status in (204, 304):
        length = 0
    elif chunked and length is not None:
        raise ProxyError(Kind.UPSTREAM_INVALID)
    event_stream = content_type[:1] in _T and not coded and _is_event_stream(content_type)
    return ResponseFacts(b"".join(parts), length, event_stream)


def _is_event_stream(content_type: bytes) -> bool:
    """Media types are case-insensitive and may carry parameters (RFC 9110 section 8.3.1)."""
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"


def _remove_nominated(parts: list[bytes], nominated: bytes) -> None:
    names = {token.strip().lower() for token in nominated.split(b",")} - {b"content-length", b"content-type"}
    for at in range(0, len(parts), 4):
        if parts[at].lower() in names:
            parts[at : at + 4] = (b"", b"", b"", b"")


def replace_fields(fields: Sequence[Field], extra: Sequence[Field]) -> list[Field]:
    """``extra`` set on ``fields``: each takes the place of the first of its name, or is appended."""
    names = {name.lower(): (name, value) for name, value in extra}
    pending = dict(names)
    result: list[Field] = []
    for pair in fields:
        key = pair[0].lower()
        if key in pending:
            result.append(pending.pop(key))
        elif key not in names:
            result.append(pair)
    result.extend(pending.values())
    return result
