"""The head that goes to a provider: the client's fields in their order and case, few of them changed."""

from __future__ import annotations

from onwards_py.messages import Field
from onwards_py.wire.request_head import RequestHead


def outbound_head(
    head: RequestHead,
    method: bytes,
    path: bytes,
    *,
    host: bytes,
    credential: Field | None,
    trace: bool,
    body_length: int,
    decoded: bool = False,
) -> bytes:
    """Request line and field block, blank line included.

    ``body_length`` is what will be sent; a Content-Length that says so already stays as it was written.
    ``decoded``: the body's content coding was undone, so its announcement must go.
    """
    parts = head.parts.copy()
    if head.host_at >= 0:
        parts[head.host_at] = host
    else:
        parts += (b"Host", b": ", host, b"\r\n")
    if credential is not None:
        line = credential[0] + b": " + credential[1] + b"\r\n"
        if head.credential_at >= 0:
            parts[head.credential_at] = line
        else:
            parts.append(line)
    if not trace:
        for at in head.trace_at:
            parts[at : at + 4] = (b"", b"", b"", b"")
    if decoded and head.encoding_at >= 0:
        parts[head.encoding_at : head.encoding_at + 4] = (b"", b"", b"", b"")
    if head.content_length != body_length:
        _set_length(head, parts, body_length)
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, path, b"".join(parts))


def _set_length(head: RequestHead, parts: list[bytes], body_length: int) -> None:
    """Announce the body that will be sent; a request without any framing and without a body stays without."""
    length = b"%d" % body_length
    if head.length_at >= 0:
        parts[head.length_at] = length
    elif body_length or head.chunked:
        parts += (b"Content-Length", b": ", length, b"\r\n")
