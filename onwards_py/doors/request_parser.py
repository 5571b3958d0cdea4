"""The request parser of one connection: llhttp's callbacks become complete requests, or one refusal. It does no I/O."""

from __future__ import annotations

import re
from collections import deque
from enum import Enum
from typing import Final

import httptools

from onwards_py.doors.base import Handler
from onwards_py.doors.body_buffer import BodyBuffer
from onwards_py.doors.guard import check_head
from onwards_py.doors.head_cache import HeadCache, cache_head
from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.errors import ErrorKind, ProxyError, body_too_large
from onwards_py.messages import Fields, InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.request_head import RequestHead, is_other_protocol, strip_upgrade


class Phase(Enum):
    """The part of a request that has not arrived yet. Each phase has a timeout of its own."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


_BODY: Final = Phase.BODY
_HEAD: Final = Phase.HEAD
_IDLE: Final = Phase.IDLE

_PADDING = (b" ", b"\t")
_CHUNK_SIZE = re.compile(rb"(?:\A|\n)([0-9A-Fa-f]+)[ \t]*(?:;[^\n]*)?\r\n\Z")
_MAX_SIZE_LINE: Final = 256  # bytes that are kept of a chunk's size line: the size comes first
_STEP: Final = 8 * 1024  # a read up to this size is parsed in one step


class QueuedRequest:
    """A request that waits for its turn."""

    __slots__ = ("head", "keep_alive", "refusal", "request", "upgrade_tail")

    def __init__(self, request: InboundRequest, head: RequestHead | None, keep_alive: bool) -> None:
        self.request = request
        self.head = head
        self.keep_alive = keep_alive
        self.refusal: ProxyError | None = None
        """The error to answer instead of serving the request."""
        self.upgrade_tail: bytes | None = None
        """The bytes after the head of a WebSocket request; None for other requests."""


class RequestParser:
    """The parser of one connection. `feed` fills ``ready``. After ``closed``, all further bytes are ignored."""

    def __init__(
        self,
        handler: Handler,
        settings: ServerSettings,
        load: ListenerLoad,
        peer: str,
        peer_port: int = 0,
        *,
        body: BodyBuffer | None = None,
    ) -> None:
        self._handler = handler
        self._settings = settings
        self._load = load
        self._peer = peer
        self._peer_port = peer_port
        self._parser = httptools.HttpRequestParser(self)
        self._data: bytes | memoryview = b""
        self._target = b""
        self._earlier = b""  # the bytes of the current head that arrived in earlier reads
        self._began = False  # the head began in the current read
        self._fields: Fields = []
        self._body = body or BodyBuffer()
        self._incoming: QueuedRequest | None = None
        self._refusal: ProxyError | None = None
        self._upgrading = False
        self._overhead = 0
        self._completed = 0  # requests in the current read
        self.head_cache: HeadCache | None = None
        self._unparsed = b""
        self._parsed = 0  # bytes of _unparsed that have been parsed
        self.phase = _IDLE
        self._chunk_at = -1  # size of the body before the current chunk; -1: between chunks
        self._chunk_began = False  # the chunk began in the current read
        self._line = b""  # the end of earlier reads, which may begin a chunk's size line
        self.ready: deque[QueuedRequest] = deque()
        self.closed = False
        self.continue_due = False
        """The client is waiting for 100 Continue."""

    @property
    def body_size(self) -> int:
        """Bytes of the body that is being read."""
        return self._body.size

    @property
    def unparsed(self) -> bool:
        """True if bytes were read that `resume` has to parse."""
        return bool(self._unparsed)

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. Never raises: an invalid request becomes a refusal, the last item of ``ready``."""
        if self.closed:
            return
        before, self._completed = self.phase, 0
        if self._unparsed:  # a read that was made before reading paused
            self._unparsed = self._unparsed[self._parsed :] + data
            self._parsed = 0
            self.resume()
            return
        if self._body_remaining() >= len(data) or (len(data) <= _STEP and not _may_be_other_protocol(data)):
            self._parse(data)
        else:
            self._unparsed, self._parsed = data, 0
            self.resume()
        if before is _IDLE and self.phase is _IDLE and self._completed == 1 and not self.closed and not self._unparsed:
            last = self.ready[-1]
            if last.head is not None and last.refusal is None:
                self.head_cache = cache_head(data, last.request, last.head)

    def resume(self) -> None:
        """Parse what was read, in steps, until enough requests wait. One read may hold thousands of small requests."""
        data, enough = self._unparsed, self._settings.max_pipelined
        view = memoryview(data)
        while self._parsed < len(data) and not self.closed and len(self.ready) < enough:
            start = self._parsed
            self._parsed = end = start + self._step()
            self._parse(view[start:end])
        if self._parsed >= len(data) or self.closed:
            self._unparsed = b""

    def _step(self) -> int:
        """Bytes to parse next: at most one head, or one body."""
        if self.phase is _BODY:
            return self._body_remaining() or _STEP
        start = self._parsed
        end = self._unparsed.find(b"\r\n\r\n", start, start + _STEP)
        return end + 4 - start if end >= 0 else _STEP

    def _body_remaining(self) -> int:
        """Bytes of an announced body that have not arrived. 0 if their number is not known."""
        if self.phase is not _BODY or self._incoming is None or self._incoming.head is None:
            return 0
        return (self._incoming.head.content_length or self._body.size) - self._body.size

    def _parse(self, data: bytes | memoryview) -> None:
        self._data = data
        self._began = self._chunk_began = False
        phase, size, ready = self.phase, self._body.size, len(self.ready)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._on_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserCallbackError as error:
            self.refuse(self._refusal or ProxyError(ErrorKind.INTERNAL))
            if self._refusal is None:
                raise error.__context__ or error from None
        except httptools.HttpParserInvalidMethodError:
            self.refuse(ProxyError(ErrorKind.METHOD_UNKNOWN))
        except httptools.HttpParserError as error:
            self.refuse(ProxyError(ErrorKind.BAD_REQUEST, f"The request is not valid HTTP/1.1: {error}."))
        else:
            if self.phase is _BODY and not self._body_remaining():
                self._check_chunk_size(data)
            progressed = phase is not self.phase or self._body.size != size or len(self.ready) != ready
            self._check_overhead(data, progressed=progressed)
        self._data = b""

    def refuse(self, error: ProxyError) -> None:
        """Answer ``error`` after the requests in ``ready``, and ignore all further bytes."""
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
        """Drop the body that is being read."""
        self._load.buffered -= self._body.size
        self._body.clear()

    def close(self) -> None:
        """The connection has ended.

        llhttp's parser and this object refer to each other.
        Without this cycle both are freed at once, together with the configuration that the last head refers to.
        """
        self.release_body()
        self.closed = True
        self._unparsed = b""
        del self._parser

    # llhttp's callbacks

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
        if value[-1:] in _PADDING:  # not part of the value (RFC 9110 section 5.5), but llhttp does not strip it
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
        self._load.buffered += len(body)
        if self._body.size > self._handler.config.max_body:
            self._refusal = body_too_large(self._handler.config.max_body)
            raise self._refusal
        if self._load.buffered > self._settings.max_buffered:
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
            self._completed += 1
            self.closed = not incoming.keep_alive
            self.ready.append(incoming)

    # Steps

    def _take_head(self) -> None:
        parser = self._parser
        version = parser.get_http_version()
        read = self._earlier + self._data
        method = parser.get_method()
        checked_by_feed = not self._earlier and not self._unparsed
        if not checked_by_feed and _may_be_other_protocol(read) and is_other_protocol(read, method, self._target):
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
        self._fields = []  # fields that follow are trailers, which are dropped
        self._overhead = 0
        self._earlier = b""
        self.phase = _BODY

    def _check_chunk_size(self, data: bytes | memoryview) -> None:
        """Refuse a chunk at once if its size exceeds the limit, instead of reading its bytes.

        llhttp accepts any size of 64 bits and does not report it.
        The last size line in ``data`` is followed only by bytes of the chunk or by trailers, which are not size lines.
        """
        if self._chunk_at >= 0 and self._chunk_began:
            end = len(data) - (self._body.size - self._chunk_at)
            line = _CHUNK_SIZE.search(self._line + data[:end])
            if line is not None and self._chunk_at + int(line[1], 16) > self._handler.config.max_body:
                self.refuse(body_too_large(self._handler.config.max_body))
        self._line = b"" if self._chunk_at >= 0 else (self._line + data).rpartition(b"\n")[2][:_MAX_SIZE_LINE]

    def _check_overhead(self, data: bytes | memoryview, *, progressed: bool) -> None:
        """Limit heads, trailers and chunk extensions.

        ``progressed``: this read brought bytes of a body, or completed a part of a request, so it was not all overhead.
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
            self._overhead = 0 if progressed else self._overhead + len(data)
        if self._overhead > settings.max_head_bytes or len(self._fields) > settings.max_header_count:
            self.refuse(ProxyError(ErrorKind.HEAD_TOO_LARGE))

    def _on_upgrade(self, tail: bytes) -> None:
        """A WebSocket request waits for its turn like any other. Other upgrades are ignored, as RFC 9110 section 7.8
        allows: the head is parsed again without them."""
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


def _may_be_other_protocol(read: bytes) -> bool:
    """True if a request of RTSP or ICE may begin in ``read``. Such a read is parsed in steps, so that the offsets of
    requests are known."""
    return b" RTSP/" in read or b" ICE/" in read


def serialise_head(request: InboundRequest, fields: Fields) -> bytes:
    """The request's head as bytes again."""
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"%b %b HTTP/1.%d\r\n%b\r\n" % (request.method, request.target, request.http_minor, lines)
