"""The Downstream of both doors: one response, framed for one HTTP/1.x client, on one transport."""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import Enum
from typing import Final

import msgspec

from onwards_py.messages import Source, TunnelSide

_ABORT_SECONDS = 5.0
_STATUS_LINES: dict[tuple[int, bytes], bytes] = {}
_MAX_STATUS_LINES = 256


def status_line(status: int, reason: bytes) -> bytes:
    """RFC 9112 section 4. The reason phrase is the upstream's."""
    line = _STATUS_LINES.get((status, reason))
    if line is None:
        line = b"HTTP/1.1 %d %b\r\n" % (status, reason)
        if len(_STATUS_LINES) < _MAX_STATUS_LINES:
            _STATUS_LINES[status, reason] = line
    return line


class Progress(Enum):
    """The state of a response."""

    FRESH = "fresh"  # not begun
    BEGUN = "begun"
    ENDED = "ended"
    ABORTED = "aborted"
    UPGRADED = "upgraded"  # the connection has changed its protocol


_ABORTED: Final = Progress.ABORTED
_BEGUN: Final = Progress.BEGUN
_ENDED: Final = Progress.ENDED
_FRESH: Final = Progress.FRESH
_UPGRADED: Final = Progress.UPGRADED


class ResponseWriter(msgspec.Struct):
    """One response."""

    transport: asyncio.Transport
    http_minor: int
    keep_alive: bool
    """The connection may serve another request afterwards."""
    to_head: bool
    """The request's method is HEAD."""
    progress: Progress = _FRESH
    paused: bool = False
    """The transport's buffer is above its high-water mark."""
    sent: int = 0
    """Body bytes so far."""
    chunked: bool = False
    head: bytes = b""
    """The response head, until it is written."""
    source: Source | None = None

    # Downstream

    @property
    def committed(self) -> bool:
        return self.progress is not _FRESH

    @property
    def ends_by_close(self) -> bool:
        """True if a close of the connection would look like the regular end of the response."""
        return self.progress is _BEGUN and not self.chunked and not self.http_minor

    def begin(self, status: int, reason: bytes, block: bytes, length: int | None) -> None:
        """See Downstream.begin. For HTTP/1.0 a body of unknown size lasts until the connection's end."""
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
        try:  # as in `_send`, without its call
            self.transport.write(piece)
        except RuntimeError:
            pass

    def answer(self, status: int, reason: bytes, block: bytes, length: int | None, body: bytes) -> None:
        """See Downstream.answer."""
        if length is not None and self.keep_alive and self.http_minor and not self.to_head:
            self.progress = _ENDED
            self.sent = len(body)
            line = _STATUS_LINES.get((status, reason)) or status_line(status, reason)
            try:  # as in `_send`, without its call
                self.transport.write(b"%b%b\r\n%b" % (line, block, body))
            except RuntimeError:
                pass
            return
        self.begin(status, reason, block, length)
        self.write(body)
        self.end()

    def upgrade(self, reply: bytes, side: TunnelSide) -> None:
        """See Downstream.upgrade."""
        self.progress = _UPGRADED
        self.keep_alive = False
        self._send(reply)
        side.attach(self.transport)
        if self.paused:
            side.pause_writing()  # the transport calls it once, and has called it on the protocol before

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
        """Close before the announced length, or before the last chunk, so that the client notices.

        For HTTP/1.0 without a length the close must be a reset: a normal close would mean the end of the body.
        """
        self.progress = _ABORTED
        self.source = None
        self.keep_alive = False
        self.head = b""
        transport = self.transport
        if not self.chunked and not self.http_minor:
            reset(transport)
            return
        transport.close()
        if transport.get_write_buffer_size():
            # Sent bytes should arrive, but a client that reads nothing must not keep the connection open.
            asyncio.get_running_loop().call_later(_ABORT_SECONDS, transport.abort)

    def set_source(self, source: Source) -> None:
        self.source = source
        if self.paused:
            source.pause_reading()

    def _send(self, data: bytes) -> None:
        try:
            self.transport.write(data)
        except RuntimeError:
            pass  # uvloop raises it if the connection was reset in this turn. connection_lost follows in the next.

    # Calls of the door

    def abort_at_once(self) -> None:
        """`abort` for a connection whose unsent bytes may be lost."""
        if self.ends_by_close:
            reset(self.transport)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """The client reads more slowly than the upstream sends."""
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
