"""The cache of a connection's last request head.

On a keep-alive connection, a client repeats the same head, except for the digits of Content-Length.
llhttp and the guard would accept equal bytes again, with the same result.
So a read is not parsed if it begins with the cached bytes, continues with digits, and ends after as many body bytes.
All other reads are parsed.
The cache only interprets bytes that the parser has accepted before.
"""

from __future__ import annotations

import re

from onwards_py.messages import InboundRequest
from onwards_py.wire.request_head import RequestHead

_LENGTH = re.compile(rb"\r\n(?i:content-length):[ \t]*([0-9]+)")
_MAX_SIZE = 8 * 1024
_MAX_DIGITS = 9


class HeadCache:
    """One head, cut around its Content-Length value."""

    __slots__ = ("_after", "_before", "_request", "head")

    def __init__(self, before: bytes, after: bytes, request: InboundRequest, head: RequestHead) -> None:
        """``request``: the request that had this head, without its body."""
        self._before = before
        self._after = after
        self._request = request
        self.head = head

    def match(self, data: bytes) -> InboundRequest | None:
        """The request in ``data``, if ``data`` is exactly one request with the cached head."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        at = len(before)
        end = data.find(b"\r", at, at + _MAX_DIGITS + 1)
        if end < 0 or not data.startswith(after, end):
            return None
        digits = data[at:end]
        if not digits.isdigit():
            return None
        start = end + len(after)
        if len(data) - start != int(digits):
            return None
        known = self._request
        return InboundRequest(known.method, known.target, known.http_minor, known.fields, data[start:], known.peer)


def cache_head(data: bytes, request: InboundRequest, head: RequestHead) -> HeadCache | None:
    """A cache of the head of ``data``, which was exactly one request. None if the head is not worth caching."""
    if head.content_length is None or not request.body or head.expects_continue:
        return None
    size = len(data) - len(request.body)
    if size > _MAX_SIZE or len(request.body) != head.content_length:
        return None
    raw = data[:size]
    found = _LENGTH.search(raw)
    if found is None:
        return None
    # The cache must not keep the first body alive.
    bare = InboundRequest(request.method, request.target, request.http_minor, request.fields, b"", request.peer)
    return HeadCache(raw[: found.start(1)], raw[found.end(1) :], bare, head)
