"""The shadow parser of the aiohttp door: it rejects the same requests as the lane's parser.

aiohttp's parser forgets the requests in front of a malformed one, does not report what was malformed, and leaves the
reader of a body waiting when chunks are malformed.
So it is given at most one head, or one body, at a time.
Heads that it refuses, and bodies in chunks, are read by a `RequestParser` too.
"""

from __future__ import annotations

import re

from onwards_py.doors.base import Handler
from onwards_py.doors.body_buffer import BodyBuffer
from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.doors.request_parser import RequestParser
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.model.snapshot import ServerSettings

_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r")
_CHUNKED = re.compile(rb"(?i)\ntransfer-encoding:")
_UPGRADE = re.compile(rb"(?i)\nupgrade:")
# llhttp, which aiohttp uses too, accepts these as HTTP.
_OTHER_PROTOCOL = re.compile(rb"\A(?:\r\n)*[A-Z_-]+ +[^ \r\n]+ +(?:RTSP|ICE)/[0-9]")
_SLACK = 1024


class _SizeOnly(BodyBuffer):
    """Counts the bytes of a body that aiohttp keeps."""

    __slots__ = ()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)

    def take(self) -> bytes:
        self.size = 0
        return b""


class ShadowParser:
    """Splits the bytes of one connection for aiohttp's parser."""

    def __init__(self, handler: Handler, settings: ServerSettings, peer: str, port: int) -> None:
        self._handler = handler
        self._settings = settings
        self._peer = (peer, port)
        self._max_head = settings.max_head_bytes + settings.max_target_bytes + _SLACK
        self._unread = b""
        self._at = 0  # offset in _unread
        self._head = b""  # the incomplete head
        self._last_head = b""
        self._body_remaining = 0  # bytes of an announced body
        self._chunked: RequestParser | None = None  # reads the body of the last request, if it is in chunks
        self._is_last = False  # no request is served after the current one
        self.refusal: ProxyError | None = None
        """The error to answer instead of serving the last request."""

    @property
    def in_head(self) -> bool:
        """True if a head has begun and is not complete."""
        return bool(self._head)

    @property
    def in_chunks(self) -> bool:
        """True if the last request's body is in chunks."""
        return self._chunked is not None

    def close(self) -> None:
        """The connection has ended."""
        if self._chunked is not None:
            self._chunked.close()
            self._chunked = None
        self._unread, self._at = b"", 0

    def add(self, data: bytes) -> None:
        """Append bytes that were read from the connection."""
        self._unread = self._unread[self._at :] + data
        self._at = 0

    def next_piece(self) -> bytes:
        """The bytes up to the next beginning of a request or end of a body.

        Empty: there are no more bytes, or the last piece led to ``refusal``.
        """
        if self.refusal is not None or self._at == len(self._unread):
            self._unread, self._at = b"", 0
            return b""
        start = self._at
        self._at += self._size_of_piece(self._unread, start)
        return self._unread[start : self._at]

    def _size_of_piece(self, data: bytes, at: int) -> int:
        if self._is_last:
            if self._chunked is not None:
                self._chunked.feed(data[at:])
                self._copy_refusal(self._chunked)
            return len(data) - at
        if self._body_remaining:
            size = min(self._body_remaining, len(data) - at)
            self._body_remaining -= size
            return size
        had, available = len(self._head), len(data) - at
        if had:
            data, at = self._head + data[at:], 0
        end = data.find(b"\r\n\r\n", max(at, at + had - 3))
        if end < 0 or data.startswith(b"PRI ", at):  # the preface of HTTP/2, which is refused as a whole
            self._head = data[at:]
            if len(self._head) > self._max_head:
                self.refusal = ProxyError(ErrorKind.HEAD_TOO_LARGE)
            return available
        self._take_head(data[at : end + 4])
        return end + 4 - at - had

    def _take_head(self, head: bytes) -> None:
        self._head, self._last_head = b"", head
        if _OTHER_PROTOCOL.search(head):
            self.refuse(ProxyError(ErrorKind.VERSION))
        elif _CHUNKED.search(head):
            self._is_last = True
            self._chunked = self._new_parser()
            self._chunked.feed(head)
            self._copy_refusal(self._chunked)
        elif _UPGRADE.search(head):
            self._is_last = True
        elif (length := _LENGTH.search(head)) is not None:
            self._body_remaining = int(length[1])

    def _new_parser(self) -> RequestParser:
        return RequestParser(self._handler, self._settings, ListenerLoad(), *self._peer, body=_SizeOnly())

    def _copy_refusal(self, parser: RequestParser) -> None:
        if parser.ready and parser.ready[-1].refusal is not None:
            self.refusal = parser.ready[-1].refusal

    def refuse(self, otherwise: ProxyError) -> ProxyError:
        """aiohttp has rejected the last piece. Returns the error that this parser finds in it, else ``otherwise``."""
        if self.refusal is None:
            parser = self._new_parser()
            parser.feed(self._head or self._last_head)
            self._copy_refusal(parser)
            parser.close()
        self.refusal = self.refusal or otherwise
        return self.refusal
