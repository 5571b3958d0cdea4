"""What the lane would say of the bytes that aiohttp parses: so that both doors give one verdict.

aiohttp's parser forgets the requests in front of a malformed one, does not say what it disliked, and leaves the reader
of a body waiting when chunks are malformed. So it is given no more than one head, or one body, at a time; and heads
that it refuses, and bodies in chunks, are read by an `RequestParser` too.
"""

from __future__ import annotations

import re

from onwards_py.doors.base import Gauges, Handler
from onwards_py.doors.body_buffer import BodyBuffer
from onwards_py.doors.request_parser import RequestParser
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.model.snapshot import ServerSettings

_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r")
_CHUNKED = re.compile(rb"(?i)\ntransfer-encoding:")
_UPGRADE = re.compile(rb"(?i)\nupgrade:")
# llhttp, aiohttp's parser too, takes these for HTTP.
_OTHER_PROTOCOL = re.compile(rb"\A(?:\r\n)*[A-Z_-]+ +[^ \r\n]+ +(?:RTSP|ICE)/[0-9]")
_SLACK = 1024


class _Passed(BodyBuffer):
    """A body that somebody else keeps."""

    __slots__ = ()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)

    def take(self) -> bytes:
        self.size = 0
        return b""


class ShadowParser:
    """One connection's. ``refusal`` is what must be answered in place of the last request that came."""

    def __init__(self, handler: Handler, settings: ServerSettings, peer: str, port: int) -> None:
        self._handler = handler
        self._settings = settings
        self._peer = (peer, port)
        self._most = settings.max_head_bytes + settings.max_target_bytes + _SLACK
        self._unread = b""
        self._at = 0  # in these bytes
        self._head = self._whole = b""
        self._lacks = 0  # bytes of an announced body
        self._last: RequestParser | None = None  # reads the body of the last request, which is in chunks
        self._open = False  # nothing more is served behind what comes now
        self.refusal: ProxyError | None = None

    @property
    def in_head(self) -> bool:
        """Whether a head has begun to come in, and is not whole."""
        return bool(self._head)

    @property
    def in_chunks(self) -> bool:
        """Whether the last request's body is in chunks."""
        return self._last is not None

    def close(self) -> None:
        """The connection is over."""
        if self._last is not None:
            self._last.close()
            self._last = None
        self._unread, self._at = b"", 0

    def add(self, data: bytes) -> None:
        """Have the next bytes read, behind those that were not read yet."""
        self._unread = self._unread[self._at :] + data
        self._at = 0

    def next_piece(self) -> bytes:
        """The bytes up to where a request begins or a body ends. Empty: there are none, or those that were given last
        lead to ``refusal``."""
        if self.refusal is not None or self._at == len(self._unread):
            self._unread, self._at = b"", 0
            return b""
        start = self._at
        self._at += self._size_of_piece(self._unread, start)
        return self._unread[start : self._at]

    def _size_of_piece(self, data: bytes, at: int) -> int:
        if self._open:
            if self._last is not None:
                self._last.feed(data[at:])
                self._judge(self._last)
            return len(data) - at
        if self._lacks:
            size = min(self._lacks, len(data) - at)
            self._lacks -= size
            return size
        had, available = len(self._head), len(data) - at
        if had:
            data, at = self._head + data[at:], 0
        end = data.find(b"\r\n\r\n", max(at, at + had - 3))
        if end < 0 or data.startswith(b"PRI ", at):  # the preface of HTTP/2, to be judged as a whole
            self._head = data[at:]
            if len(self._head) > self._most:
                self.refusal = ProxyError(ErrorKind.HEAD_TOO_LARGE)
            return available
        self._take_head(data[at : end + 4])
        return end + 4 - at - had

    def _take_head(self, head: bytes) -> None:
        self._head, self._whole = b"", head
        if _OTHER_PROTOCOL.search(head):
            self.refuse(ProxyError(ErrorKind.VERSION))
        elif _CHUNKED.search(head):
            self._open = True
            self._last = self._new()
            self._last.feed(head)
            self._judge(self._last)
        elif _UPGRADE.search(head):
            self._open = True
        elif (length := _LENGTH.search(head)) is not None:
            self._lacks = int(length[1])

    def _new(self) -> RequestParser:
        return RequestParser(self._handler, self._settings, Gauges(), *self._peer, body=_Passed())

    def _judge(self, parser: RequestParser) -> None:
        if parser.ready and parser.ready[-1].refusal is not None:
            self.refusal = parser.ready[-1].refusal

    def refuse(self, otherwise: ProxyError) -> ProxyError:
        """aiohttp has refused the piece that it was given last; ``otherwise``: if nothing is found here."""
        if self.refusal is None:
            parser = self._new()
            parser.feed(self._head or self._whole)
            self._judge(parser)
            parser.close()
        self.refusal = self.refusal or otherwise
        return self.refusal
