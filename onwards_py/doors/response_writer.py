"""The Downstream of both doors: one response, framed for one HTTP/1.x client, on one transport."""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import Enum
from typing import Final

import msgspec

from onwards_py.messages import Source, TunnelSide
from onwards_py.write_batch import WriteBatch

_LINGER_SECONDS = 5.0
_BATCHED = 16 * 1024
_STATUS_LINES: dict[tuple[int, bytes], bytes] = {}
_STATUS_LINES_KEPT = 256


def status_line(status: int, reason: bytes) -> bytes:
    """RFC 9112 section 4; the reason phrase is the upstream's own."""
    line = _STATUS_LINES.get((status, reason))
    if line is None:
        line = b"HTTP/1.1 %d %b\r\n" % (status, reason)
        if len(_STATUS_LINES) < _STATUS_LINES_KEPT:
            _STATUS_LINES[status, reason] = line
    return line


class Progress(Enum):
    """How far a response has come."""

    FRESH = "fresh"
    BEGUN = "begun"
    ENDED = "ended"
    ABORTED = "aborted"
    LEFT = "left"  # the connection speaks something else now


_ABORTED: Final = Progress.ABORTED
_BEGUN: Final = Progress.BEGUN
_ENDED: Final = Progress.ENDED
_FRESH: Final = Progress.FRESH
_LEFT: Final = Progress.LEFT


class ResponseWriter(msgspec.Struct):
    """One response. ``keep_alive`` says whether the connection may serve another request afterwards.

    ``sent`` counts body bytes, ``paused`` mirrors the transport's high-water mark, ``head`` is what has not been
    written of the response head, ``batch`` takes whole small answers.
    """

    transport: asyncio.Transport
    http_minor: int
    keep_alive: bool
    to_head: bool
    progress: Progress = _FRESH
    paused: bool = False
    sent: int = 0
    chunked: bool = False
    head: bytes = b""
    source: Source | None = None
    batch: WriteBatch | None = None

    # Downstream

    @property
    def committed(self) -> bool:
        return self.progress is not _FRESH

    def begin(self, status: int, reason: bytes, block: bytes, length: int | None) -> None:
        """See Downstream.begin. An HTTP/1.0 client gets a body of unknown size up to the connection's end."""
        self.progress = _BEGUN
        framing = b""
        if length is None and not self.to_head:
            if self.http_minor:
                self.chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self.keep_alive = False
        if not self.keep_alive:
            framing += b"Connection: close\r\n"
        elif not self.http_minor:
            framing += b"Connection: keep-alive\r\n"
        self.head = b"%b%b%b\r\n" % (status_line(status, reason), block, framing)

    def write(self, piece: bytes) -> None:
        if self.to_head or not piece:
            return
        size = len(piece)
        self.sent += size
        if self.chunked:
            piece = b"%x\r\n%b\r\n" % (size, piece)
        if self.head:
            piece = self.head + piece
            self.head = b""
        # As `_send`, which would cost one more call for every event.
        if self.batch is not None and self.batch.waiting:
            self.batch.flush()
        try:
            self.transport.write(piece)
        except RuntimeError:
            pass

    def answer(self, status: int, reason: bytes, block: bytes, length: int | None, body: bytes) -> None:
        """See Downstream.answer."""
        if length is not None and self.keep_alive and self.http_minor and not self.to_head:
            self.progress = _ENDED
            self.sent = len(body)
            line = _STATUS_LINES.get((status, reason)) or status_line(status, reason)
            data = b"%b%b\r\n%b" % (line, block, body)
            if self.batch is not None and len(data) < _BATCHED:
                self.batch.add(self.transport, data)
            else:
                self._send(data)
            return
        self.begin(status, reason, block, length)
        self.write(body)
        self.end()

    def upgrade(self, reply: bytes, side: TunnelSide) -> None:
        """See Downstream.upgrade."""
        self.progress = _LEFT
        self.keep_alive = False
        self._send(reply)
        side.attach(self.transport)
        if self.paused:
            side.pause_writing()  # the transport says it once, and has said it to the protocol before

    def flush(self) -> None:
        if self.head:
            self._send(self.head)
            self.head = b""

    def end(self) -> None:
        self.progress = _ENDED
        self.source = None
        if self.chunked:
            self._send(self.head + b"0\r\n\r\n")
            self.head = b""
        else:
            self.flush()

    def abort(self) -> None:
        """Close so that the client can tell: short of the announced length, or of the last chunk.

        Where nothing but the close would say that the body ended (HTTP/1.0), the close must be a reset.
        """
        self.progress = _ABORTED
        self.source = None
        self.keep_alive = False
        self.head = b""
        transport = self.transport
        if self.batch is not None:
            self.batch.flush()
        if not self.chunked and not self.http_minor:
            reset(transport)
            return
        transport.close()
        if transport.get_write_buffer_size():
            # What is already on its way should arrive, but nobody waits for a client that takes nothing.
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, transport.abort)

    def set_source(self, source: Source) -> None:
        self.source = source
        if self.paused:
            source.pause_reading()

    def _send(self, data: bytes) -> None:
        if self.batch is not None and self.batch.waiting:
            self.batch.flush()  # an answer to an earlier request of this client may be in it
        try:
            self.transport.write(data)
        except RuntimeError:
            pass  # uvloop's word for a connection that was reset in this very turn; the next one tells us

    # The door's side

    def pause_writing(self) -> None:
        """The client reads slower than the upstream sends."""
        self.paused = True
        if self.source is not None:
            self.source.pause_reading()

    def resume_writing(self) -> None:
        self.paused = False
        if self.source is not None:
            self.source.resume_reading()


def reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # closed already
    transport.abort()
