"""A connection's memory of its last request head.

Clients that keep a connection send the same head again and again; only the digits of Content-Length differ. What llhttp
once accepted, byte for byte, it would accept again, with the same fields and the same verdict of the guard. So a read
that begins with the remembered bytes, continues with digits, and ends exactly where they say, is recognised instead of
parsed. Everything else goes through the parser. Nothing is interpreted here that the parser has not interpreted before.
"""

from __future__ import annotations

import re

from onwards_py.messages import InboundRequest
from onwards_py.wire.request_head import RequestHead

_LENGTH = re.compile(rb"\r\n(?i:content-length):[ \t]*([0-9]+)")
_MAX_REMEMBERED = 8 * 1024
_MAX_DIGITS = 9


class HeadCache:
    """One head, cut around its Content-Length value, and the request that it began (without its body)."""

    __slots__ = ("_before", "_behind", "_request")

    def __init__(self, before: bytes, behind: bytes, request: InboundRequest) -> None:
        self._before = before
        self._behind = behind
        self._request = request

    def match(self, data: bytes) -> InboundRequest | None:
        """The request that ``data`` is, whole and alone, if its head is the remembered one."""
        before, behind = self._before, self._behind
        if not data.startswith(before):
            return None
        at = len(before)
        end = data.find(b"\r", at, at + _MAX_DIGITS + 1)
        if end < 0 or not data.startswith(behind, end):
            return None
        digits = data[at:end]
        if not digits.isdigit():
            return None
        start = end + len(behind)
        if len(data) - start != int(digits):
            return None
        known = self._request
        return InboundRequest(known.method, known.target, known.http_minor, known.fields, data[start:], known.peer)


def cache_head(data: bytes, request: InboundRequest, head: RequestHead) -> HeadCache | None:
    """The memory of the head of ``data``, which was one whole request and nothing else; None if it is not worth one."""
    if head.content_length is None or not request.body or head.expects_continue:
        return None
    size = len(data) - len(request.body)
    if size > _MAX_REMEMBERED or len(request.body) != head.content_length:
        return None
    raw = data[:size]
    found = _LENGTH.search(raw)
    if found is None:
        return None
    # The memory must not keep the first body alive.
    bare = InboundRequest(request.method, request.target, request.http_minor, request.fields, b"", request.peer)
    return HeadCache(raw[: found.start(1)], raw[found.end(1) :], bare)
