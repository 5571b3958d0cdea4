"""Taking requests in: llhttp's callbacks become whole requests, or one refusal. No I/O happens here."""

from __future__ import annotations

import re
from collections import deque
from enum import Enum
from typing import Final

import httptools

from onwards_py.doors.base import Gauges, Handler, check_head
from onwards_py.doors.body_buffer import BodyBuffer
from onwards_py.doors.head_cache import HeadCache, cache_head
from onwards_py.errors import ErrorKind, ProxyError, body_too_large
from onwards_py.messages import Fields, InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.request_head import RequestHead, is_other_protocol, strip_upgrade


class Phase(Enum):
    """Which part of a request is awaited; each has its own patience."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


_BODY: Final = Phase.BODY
_HEAD: Final = Phase.HEAD
_IDLE: Final = Phase.IDLE

_PADDING = (b" ", b"\t")
_CHUNK_SIZE = re.compile(rb"(?:\A|\n)([0-9A-Fa-f]+)[ \t]*(?:;[^\n]*)?\r\n\Z")
_SIZE_LINE: Final = 256  # bytes of it that are kept: the size comes first
_STEP: Final = 8 * 1024  # a read that is no larger is parsed at once


class QueuedRequest:
    """A request that waits for its turn; or, with ``refusal``, what must be answered in its place.

    ``upgrade_tail`` is set for a WebSocket request: the bytes that followed its head.
    """

    __slots__ = ("head", "keep_alive", "refusal", "request", "upgrade_tail")

    def __init__(self, request: InboundRequest, head: RequestHead | None, keep_alive: bool) -> None:
        self.request = request
        self.head = head
        self.keep_alive = keep_alive
        self.refusal: ProxyError | None = None
        self.upgrade_tail: bytes | None = None


class RequestParser:
    """The parser of one connection. `feed` fills ``ready``; once ``closed``, nothing more is taken."""

    def __init__(
        self,
        handler: Handler,
        settings: ServerSettings,
        gauges: Gauges,
        peer: str,
        peer_port: int = 0,
        *,
        body: BodyBuffer | None = None,
    ) -> None:
        self._handler = handler
        self._settings = settings
        self._gauges = gauges
        self._peer = peer
        self._peer_port = peer_port
        self._parser = httptools.HttpRequestParser(self)
        self._data: bytes | memoryview = b""
        self._target = b""
        self._earlier = b""  # what came in earlier reads of the head that is coming in
        self._began = False  # in the present read
        self._fields: Fields = []
        self._body = body or BodyBuffer()
        self._incoming: QueuedRequest | None = None
        self._refusal: ProxyError | None = None
        self._upgrading = False
        self._overhead = 0
        self._whole = 0
        self._head_cache: HeadCache | None = None
        self.known_head: RequestHead | None = None
        self._unparsed = b""
        self._parsed = 0  # of these bytes
        self.phase = _IDLE
        self._chunk_at = -1  # how much of the body came before the chunk that is coming in; -1: none is
        self._chunk_began = False  # in the present read
        self._line = b""  # of what may be the line of a chunk's size, from earlier reads
        self.ready: deque[QueuedRequest] = deque()
        self.closed = False
        self.continue_due = False

    @property
    def body_size(self) -> int:
        """Bytes of the body that is coming in."""
        return self._body.size

    @property
    def unparsed(self) -> bool:
        """Whether bytes wait to be parsed until fewer requests wait."""
        return bool(self._unparsed)

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. Never raises: what is wrong becomes a refusal, the last thing in ``ready``."""
        if self.closed:
            return
        before, self._whole = self.phase, 0
        if self._unparsed:  # a read that was made before reading paused
            self._unparsed = self._unparsed[self._parsed :] + data
            self._parsed = 0
            self.resume()
            return
        if self._body_lacks() >= len(data) or (len(data) <= _STEP and not _may_be_foreign(data)):
            self._parse(data)
        else:
            self._unparsed, self._parsed = data, 0
            self.resume()
        if before is _IDLE and self.phase is _IDLE and self._whole == 1 and not self.closed and not self._unparsed:
            self._remember(data)

    def resume(self) -> None:
        """Parse what was read, in steps, until enough requests wait: a read may hold thousands of small ones."""
        data, enough = self._unparsed, self._settings.max_pipelined
        view = memoryview(data)
        while self._parsed < len(data) and not self.closed and len(self.ready) < enough:
            start = self._parsed
            self._parsed = end = start + self._step()
            self._parse(view[start:end])
        if self._parsed >= len(data) or self.closed:
            self._unparsed = b""

    def _step(self) -> int:
        """How far to parse next: no more than one head, or one body."""
        if self.phase is _BODY:
            return self._body_lacks() or _STEP
        start = self._parsed
        end = self._unparsed.find(b"\r\n\r\n", start, start + _STEP)
        return end + 4 - start if end >= 0 else _STEP

    def _body_lacks(self) -> int:
        """Bytes still to come of a body that was announced; 0 if that is unknown."""
        if self.phase is not _BODY or self._incoming is None or self._incoming.head is None:
            return 0
        return (self._incoming.head.content_length or self._body.size) - self._body.size

    def _parse(self, data: bytes | memoryview) -> None:
        self._data = data
        self._began = self._chunk_began = False
        before, held, ready = self.phase, self._body.size, len(self.ready)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._changes_protocol(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserCallbackError as error:
            self.refuse(self._refusal or ProxyError(ErrorKind.INTERNAL))
            if self._refusal is None:
                raise error.__context__ or error from None
        except httptools.HttpParserInvalidMethodError:
            self.refuse(ProxyError(ErrorKind.METHOD_UNKNOWN))
        except httptools.HttpParserError as error:
            self.refuse(ProxyError(ErrorKind.BAD_REQUEST, f"The request is not valid HTTP/1.1: {error}."))
        else:
            if self.phase is _BODY and not self._body_lacks():
                self._look_at_chunk(data)
            self._bound(data, moved=before is not self.phase or self._body.size != held or len(self.ready) != ready)
        self._data = b""

    def match_cached(self, data: bytes) -> InboundRequest | None:
        """One whole request whose head is that of the one before (``known_head``); None: `feed` must look at it."""
        cache = self._head_cache
        if cache is None or self.phase is not _IDLE or self.closed:
            return None
        request = cache.match(data)
        if request is not None:
            size = len(request.body)
            if size > self._handler.max_body or self._gauges.buffered + size > self._settings.max_buffered:
                return None
            self._gauges.buffered += size
        return request

    def _remember(self, data: bytes) -> None:
        last = self.ready[-1]
        if last.head is not None and last.refusal is None:
            self._head_cache = cache_head(data, last.request, last.head)
            self.known_head = last.head

    def refuse(self, error: ProxyError) -> None:
        """Nothing that comes after this is taken; the refusal is answered when its turn comes."""
        if self.closed:
            return
        self.closed = True
        incoming = self._incoming
        if incoming is None:
            incoming = QueuedRequest(InboundRequest(b"", self._target, 1, [], b"", self._peer), None, False)
        incoming.refusal = error
        incoming.keep_alive = False
        incoming.request.body = b""
        self.release_body()
        self.ready.append(incoming)

    def release_body(self) -> None:
        """Forget the body that is coming in."""
        self._gauges.buffered -= self._body.size
        self._body.clear()

    def close(self) -> None:
        """The connection is over. Parser and intake refer to each other; apart, they go without the collector, which
        comes rarely, and so does the configuration that the last head was read by."""
        self.release_body()
        self.closed = True
        self._unparsed = b""
        del self._parser

    # llhttp

    def on_message_begin(self) -> None:
        self.phase = _HEAD
        self._target = b""
        self._fields = []
        self._overhead = 0
        self._began = True
        self._earlier = b""

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if value[-1:] in _PADDING:  # no part of the value (RFC 9110 section 5.5), but llhttp leaves it there
            value = value.rstrip(b" \t")
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        try:
            self._take_head()
        except ProxyError as error:
            self._refusal = error
            raise

    def on_chunk_header(self) -> None:
        self._chunk_at = self._body.size
        self._chunk_began = True

    def on_chunk_complete(self) -> None:
        self._chunk_at = -1

    def on_body(self, body: bytes) -> None:
        self._body.add(body)
        self._gauges.buffered += len(body)
        if self._body.size > self._handler.max_body:
            self._refusal = body_too_large(self._handler.max_body)
            raise self._refusal
        if self._gauges.buffered > self._settings.max_buffered:
            self._refusal = ProxyError(ErrorKind.OVERLOADED, retry_after=1)
            raise self._refusal

    def on_message_complete(self) -> None:
        incoming = self._incoming
        assert incoming is not None
        if self._body.size:
            incoming.request.body = self._body.take()
        self.phase = _IDLE
        self.continue_due = False
        if not self._upgrading:
            self._incoming = None
            self._whole += 1
            self.closed = not incoming.keep_alive
            self.ready.append(incoming)

    # Steps

    def _take_head(self) -> None:
        parser = self._parser
        version = parser.get_http_version()
        read = self._earlier + self._data
        method = parser.get_method()
        looked_at = not self._earlier and not self._unparsed  # by `feed`
        if not looked_at and _may_be_foreign(read) and is_other_protocol(read, method, self._target):
            raise ProxyError(ErrorKind.VERSION)
        request = InboundRequest(
            method,
            self._target,
            0 if version == "1.0" else 1,
            self._fields,
            b"",
            self._peer,
            self._peer_port,
        )
        self._incoming = incoming = QueuedRequest(request, None, parser.should_keep_alive())
        incoming.head = head = check_head(self._handler, self._settings, request, version, len(read))
        self._upgrading = parser.should_upgrade()
        if head.expects_continue and request.http_minor and (head.chunked or head.content_length):
            self._handler.precheck(request.target, head)
            self.continue_due = True
        self._chunk_at, self._line = -1, b""
        self._fields = []  # what comes here from now on are trailers: dropped
        self._overhead = 0
        self._earlier = b""
        self.phase = _BODY

    def _look_at_chunk(self, data: bytes | memoryview) -> None:
        """Refuse a chunk whose size passes the bound at once, instead of waiting for its bytes: llhttp takes any size
        of 64 bits, and does not tell it. Behind the line of the last size in ``data`` there is nothing but its bytes
        (or trailers, which are no such line)."""
        if self._chunk_at >= 0 and self._chunk_began:
            end = len(data) - (self._body.size - self._chunk_at)
            line = _CHUNK_SIZE.search(self._line + data[:end])
            if line is not None and self._chunk_at + int(line[1], 16) > self._handler.max_body:
                self.refuse(body_too_large(self._handler.max_body))
        self._line = b"" if self._chunk_at >= 0 else (self._line + data).rpartition(b"\n")[2][:_SIZE_LINE]

    def _bound(self, data: bytes | memoryview, *, moved: bool) -> None:
        """Bound heads, trailers and chunk extensions that arrive without end.

        ``moved``: this read brought body bytes, or ended something, so it was not all overhead.
        """
        settings = self._settings
        if self.phase is _HEAD:
            if not self._began:
                self._overhead += len(data)
            self._earlier += data
            if not self._fields and len(self._target) > settings.max_target_bytes:
                self.refuse(ProxyError(ErrorKind.TARGET_TOO_LONG))
                return
        else:
            self._overhead = 0 if moved else self._overhead + len(data)
        if self._overhead > settings.max_head_bytes or len(self._fields) > settings.max_header_count:
            self.refuse(ProxyError(ErrorKind.HEAD_TOO_LARGE))

    def _changes_protocol(self, tail: bytes) -> None:
        """A WebSocket request waits for its turn like any other; other wishes to upgrade are ignored, as
        RFC 9110 section 7.8 allows: the head is read again without them."""
        self._upgrading = False
        incoming, self._incoming = self._incoming, None
        if incoming is None or incoming.head is None:
            self.refuse(ProxyError(ErrorKind.BAD_REQUEST))
            return
        request = incoming.request
        if incoming.head.upgrade == b"websocket" and request.method == b"GET":
            incoming.upgrade_tail = tail + self._unparsed[self._parsed :]
            self.closed = True
            self.ready.append(incoming)
            return
        self._parser = httptools.HttpRequestParser(self)
        self._parse(serialise_head(request, strip_upgrade(request.fields)) + tail)


def _may_be_foreign(read: bytes) -> bool:
    """Whether a request of another protocol than HTTP may begin in ``read``: to be parsed in steps, so that it is known
    where requests begin."""
    return b" RTSP/" in read or b" ICE/" in read


def serialise_head(request: InboundRequest, fields: Fields) -> bytes:
    """The request's head as bytes again."""
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"%b %b HTTP/1.%d\r\n%b\r\n" % (request.method, request.target, request.http_minor, lines)
