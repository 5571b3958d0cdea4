"""The expected form of a forwarded message: its original bytes with only the documented edits.

This is independent of the gateway's code and uses only split, trim, drop and replace.
"""

from __future__ import annotations

import re

CREDENTIALS = {b"authorization", b"x-api-key", b"api-key"}
NOT_FORWARDED = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    *(b"http2-settings", b"proxy-authorization", b"proxy-authenticate", b"expect"),
    *(b"cookie", b"cookie2", b"x-goog-api-key", b"model-override"),
    *(b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-real-ip"),
    *(b"traceparent", b"tracestate"),
}
NOT_RETURNED = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    b"proxy-authenticate",
}
ONLY_ONCE = {b"user-agent", b"content-location", b"content-range", b"etag", b"max-forwards", b"server"}
NEVER_NOMINATED = {b"host", b"content-length", b"content-type", b"content-encoding"} | CREDENTIALS
HELD_APART = NOT_FORWARDED | NEVER_NOMINATED | ONLY_ONCE

Lines = list[tuple[bytes, bytes]]


def forwarded(raw: bytes, host: bytes, credential: bytes | None) -> bytes:
    """The request that a provider at ``host`` must get for ``raw``; ``credential`` is a whole field line."""
    head, _, body = raw.lstrip(b"\r\n").partition(b"\r\n\r\n")
    request_line, lines = _split(head)
    method, target, _ = request_line.split(b" ")
    nominated = _nominated(lines)
    names = [name.lower() for name, _ in lines]
    kept: list[bytes] = []
    pending = credential
    for name, value in lines:
        key = name.lower()
        if key in CREDENTIALS:
            kept += [pending] if pending else []
            pending = None
        elif key not in NOT_FORWARDED | nominated and not (_as_cgi(key) != key and _as_cgi(key) in HELD_APART):
            kept.append(name + b": " + (host if key == b"host" else value))
    if b"host" not in names:
        kept.append(b"Host: " + host)
    kept += [pending] if pending else []
    if b"transfer-encoding" in names:
        body = unchunk(body)
        kept.append(b"Content-Length: %d" % len(body))
    elif b"content-length" in names:  # the number, in one spelling
        kept = [re.sub(rb"(?i)^(content-length: )0+(?=[0-9])", rb"\1", line) for line in kept]
    return b"\r\n".join([method + b" " + _origin_form(target) + b" HTTP/1.1", *kept]) + b"\r\n\r\n" + body


def returned(raw: bytes, *, to_head: bool = False, minor: int = 1, keep_alive: bool = True) -> tuple[bytes, bytes]:
    """Head and body (no transfer coding) that a client of HTTP/1.``minor`` must get for the provider's ``raw``."""
    head, _, body = raw.partition(b"\r\n\r\n")
    while head[9:10] == b"1":  # interim
        head, _, body = body.partition(b"\r\n\r\n")
    status_line, lines = _split(head)
    _, status, reason = (*status_line.split(b" ", 2), b"")[:3]
    nominated = _nominated(lines)
    names = [name.lower() for name, _ in lines]
    kept = [
        line  # as it stood, padding and all
        for line, (name, _) in zip(head.split(b"\r\n")[1:], lines, strict=True)
        if name.lower() not in NOT_RETURNED | nominated and not (status == b"204" and name.lower() == b"content-length")
    ]
    if b"transfer-encoding" in names and not to_head:
        body = unchunk(body)
    if not to_head and status not in (b"204", b"304") and b"content-length" not in names:
        if minor:
            kept.append(b"Transfer-Encoding: chunked")
        else:
            keep_alive = False  # only the close tells the end
    if not keep_alive:
        kept.append(b"Connection: close")
    elif not minor:
        kept.append(b"Connection: keep-alive")
    return b"\r\n".join([b"HTTP/1.1 " + status + b" " + reason, *kept]) + b"\r\n\r\n", body


def unchunk(data: bytes) -> bytes:
    """Undo chunked coding; extensions and trailers are dropped."""
    body = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        if not size:
            return body
        assert data[size : size + 2] == b"\r\n"
        body += data[:size]
        data = data[size + 2 :]


def _split(head: bytes) -> tuple[bytes, Lines]:
    """Start line and fields; padding is not part of a value (RFC 9110 section 5.5)."""
    start, *lines = head.split(b"\r\n")
    parts = [line.partition(b":") for line in lines]
    return start, [(name, value.strip(b" \t")) for name, _, value in parts]


def _as_cgi(name: bytes) -> bytes:
    return re.sub(rb"[^a-z0-9]", b"-", name)


def _nominated(lines: Lines) -> set[bytes]:
    values = [value for name, value in lines if name.lower() == b"connection"]
    return {token.strip().lower() for value in values for token in value.split(b",")} - NEVER_NOMINATED


def _origin_form(target: bytes) -> bytes:
    path = re.sub(rb"^(?i:https?)://[^/?]*", b"", target) if target[:1] != b"/" else target
    return path if path[:1] == b"/" else b"/" + path
