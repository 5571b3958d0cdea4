"""The head of a request to a provider: the client's fields in their order and case, with few changes."""

from __future__ import annotations

from onwards_py.model.provider import Provider
from onwards_py.wire.field_rules import folded
from onwards_py.wire.request_head import CachedOutboundHead, RequestHead

_MAX_CACHED = 16  # providers whose heads are cached for one client head
_NEVER_FORWARDED = frozenset({b"authorization", b"x-api-key", b"api-key"})


def outbound_head(
    head: RequestHead, method: bytes, path: bytes, provider: Provider, body_length: int, *, decoded: bool = False
) -> bytes:
    """Request line and field block, blank line included.

    ``path`` is the joined target.
    ``body_length`` is that of the body that will be sent. A Content-Length of the client keeps its place.
    ``decoded``: the body was decoded, so Content-Encoding is removed.
    """
    parts = _provider_parts(head, provider)
    if decoded and head.encoding_at >= 0:
        parts[head.encoding_at : head.encoding_at + 4] = (b"", b"", b"", b"")
    length = b"%d" % body_length
    if head.length_at < 0:
        if body_length or head.chunked:
            parts += (b"Content-Length", b": ", length, b"\r\n")
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, path, b"".join(parts))
    before = b"%b %b HTTP/1.1\r\n%b" % (method, path, b"".join(parts[: head.length_at]))
    after = b"".join(parts[head.length_at + 1 :]) + b"\r\n"
    if not decoded:
        if len(head.outbound_heads) >= _MAX_CACHED:
            head.outbound_heads.clear()
        head.outbound_heads[id(provider)] = CachedOutboundHead(provider, before, after)
    return before + length + after


def _provider_parts(head: RequestHead, provider: Provider) -> list[bytes]:
    """The field lines, with the provider's Host and credential."""
    parts = head.parts.copy()
    if head.host_at >= 0:
        parts[head.host_at] = provider.host
    else:
        parts += (b"Host", b": ", provider.host, b"\r\n")
    credential = provider.credential
    if credential is not None:
        _remove(head, parts, credential[0])
        line = credential[0] + b": " + credential[1] + b"\r\n"
        if head.credential_at >= 0:
            parts[head.credential_at] = line
        else:
            parts.append(line)
    if not provider.propagate_trace:
        for at in head.trace_at:
            parts[at : at + 4] = (b"", b"", b"", b"")
    return parts


def _remove(head: RequestHead, parts: list[bytes], name: bytes) -> None:
    """Blank the client's fields of this name: only the provider's credential is sent."""
    name = folded(name)
    if name in _NEVER_FORWARDED:
        return
    at = 0
    while at < len(parts):
        if at == head.credential_at:
            at += 1
        else:
            if folded(parts[at]) == name:
                parts[at : at + 4] = (b"", b"", b"", b"")
            at += 4


def upgrade_head(head: RequestHead, path: bytes, provider: Provider) -> bytes:
    """The head of a WebSocket request (RFC 6455 section 4.1): as `outbound_head`, with the fields of the upgrade."""
    parts = _provider_parts(head, provider)
    return b"GET %b HTTP/1.1\r\n%bConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % (path, b"".join(parts))
