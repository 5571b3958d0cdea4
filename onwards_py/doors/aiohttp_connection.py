"""A connection of the aiohttp door: aiohttp's class, with the limits and the error responses of this proxy."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong
from aiohttp.streams import StreamReader

from onwards_py.deadline_timer import LATENESS
from onwards_py.doors.base import LINGER_SECONDS, WRITE_BUFFER
from onwards_py.doors.listener_load import refuse_connection
from onwards_py.doors.response_writer import Progress, ResponseWriter, reset
from onwards_py.doors.send_timeout import SendTimeout
from onwards_py.doors.shadow_parser import ShadowParser
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.wire.error_body import send_error

if TYPE_CHECKING:
    from onwards_py.doors.aiohttp_door import AiohttpDoor

_log = logging.getLogger("onwards.door")


class SentResponse(web.StreamResponse):
    """Reports to aiohttp a response that was written without it. ``before_close`` is awaited before the close."""

    def __init__(self, keep_alive: bool, before_close: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self._keeps_alive = keep_alive
        self._before_close = before_close

    @property
    def keep_alive(self) -> bool | None:
        return self._keeps_alive

    async def prepare(self, request: web.BaseRequest) -> None:
        """Does nothing."""

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002  (aiohttp's)
        """Writes nothing."""
        if self._before_close is not None:
            await self._before_close()


class DoorConnection(web.RequestHandler):
    """aiohttp's connection. It passes flow control on to the response that is being written."""

    __slots__ = (
        "_body",
        "_counted",
        "_head_since",
        "_lingering",
        "_send_timeout",
        "_tunnelled",
        "_wire",
        "door",
        "serving",
        "shadow",
        "writer",
    )

    def __init__(self, door: AiohttpDoor, **options: Any) -> None:
        super().__init__(door.server, loop=asyncio.get_running_loop(), **options)
        self.door = door
        self.writer: ResponseWriter | None = None
        self.serving = False
        """A request is being served, or waits until the client has read most of the earlier answers."""
        self._counted = False
        self._head_since = 0.0
        self._wire: asyncio.Transport | None = None  # aiohttp drops its own reference as soon as it closes
        self._tunnelled = False
        self._lingering = False
        self._body: StreamReader | None = None  # the body of the last request
        self._send_timeout = SendTimeout()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        load = self.door.load
        if not load.has_room(transport, self.door.settings.max_connections):
            refuse_connection(cast(asyncio.Transport, transport), load)
            return
        load.connections += 1
        self._counted = True
        self.door.connections.add(self)
        self._wire = cast(asyncio.Transport, transport)
        self._wire.set_write_buffer_limits(high=WRITE_BUFFER)
        self.door.timer.schedule(self._loop.time() + self.door.shortest_timeout)
        peer = transport.get_extra_info("peername")
        self.shadow = ShadowParser(self.door.handler, self.door.settings, *(peer[:2] if peer else ("", 0)))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counted:
            self._counted = False
            self.door.connections.discard(self)
            self.door.load.connections -= 1
            super().connection_lost(exc)
            # It refers to this connection. Without this cycle, both objects are freed without the garbage collector.
            self._body = None
            self.shadow.close()

    def data_received(self, data: bytes) -> None:
        if not self._counted or self._lingering:
            return
        shadow = self.shadow
        if data:
            shadow.add(data)
        elif shadow.refusal is None or not shadow.in_chunks:  # aiohttp has served enough requests to read further ones
            super().data_received(data)
            self._check_parsed()
        # aiohttp pauses when its queue is full, but would accept one more request with each piece.
        while len(self._messages) < self._max_msg_queue_size and (piece := shadow.next_piece()):
            super().data_received(piece)
            self._check_parsed()
        if shadow.refusal is not None and shadow.in_head:
            super().data_received(b"\0")  # aiohttp's parser rejects it, after the earlier requests
        # aiohttp has no timeout of its own for a head that does not end.
        if self.serving or self.has_requests:
            self._head_since = 0.0
        elif self._head_since == 0.0:
            self._head_since = now = self._loop.time()
            self.door.timer.schedule(now + self.door.settings.header_timeout)

    def _check_parsed(self) -> None:
        """Check the result of aiohttp's parser for the last piece.

        It is a request, an error of aiohttp's, or an error that only the shadow parser has found.
        """
        shadow = self.shadow
        if self._messages:
            message, body = self._messages[-1]
            if isinstance(message, RawRequestMessage):
                self._body = body
            else:
                shadow.refuse(_parser_error(message.exc))
        body_of_last = self._body if shadow.in_chunks else None
        if shadow.refusal is not None and body_of_last is not None and not body_of_last.is_eof():
            body_of_last.set_exception(shadow.refusal)
            body_of_last.feed_eof()

    @property
    def refusal(self) -> ProxyError | None:
        """Why the request that is being served must be refused: only the last request can have such a reason."""
        return None if self.has_requests else self.shadow.refusal

    async def wait_writable(self) -> None:
        """A request was parsed: wait until the client has read most of the earlier answers."""
        self.serving = True
        self._head_since = 0.0
        await self._drain_helper()

    def check_timeouts(self, now: float) -> float:
        """End a head that takes too long, and a connection whose client does not read. Returns the time of the next
        check, see `DeadlineTimer`."""
        wire = self._wire
        if wire is None:
            return inf
        again = self._send_timeout.check(wire, now, self.door.settings.send_timeout)
        if again <= now:
            reset(wire)  # frees the kernel's buffer too, which this client does not read
            if self.writer is not None and self.writer.progress is Progress.UPGRADED:
                self.connection_lost(None)  # ends the exchange, as for a client that leaves
            return inf
        if self._tunnelled:
            self.close_tunnelled(wire)
        if not self._head_since or self.serving or self.has_requests or self.transport is None:
            return again
        timeout = self.door.settings.header_timeout
        if now < self._head_since + timeout:
            return min(again, self._head_since + timeout * LATENESS)
        self._head_since = 0.0
        self._refuse(ProxyError(ErrorKind.REQUEST_TIMEOUT))
        return again

    def close_tunnelled(self, wire: asyncio.Transport) -> None:
        """The transport has another protocol, so `connection_lost` would not be called.

        The connection counts as closed when all bytes have been sent, or the transport was aborted.
        """
        self._tunnelled = bool(wire.get_write_buffer_size())
        if not self._tunnelled:
            self._loop.call_soon(self.connection_lost, None)

    async def linger(self) -> None:
        """Close, but read and drop bytes for a moment: a reset for unread bytes would destroy the answer
        (RFC 9112 section 9.6)."""
        transport = self.transport
        if transport is not None and transport.can_write_eof():
            self._lingering = True
            transport.write_eof()
            transport.resume_reading()  # aiohttp pauses reading while a body is not consumed
            await asyncio.sleep(LINGER_SECONDS)  # cancelled when the client closes

    def _refuse(self, error: ProxyError) -> None:
        """Answer a request that aiohttp has not parsed yet, and close."""
        assert self.transport is not None
        peer = self.transport.get_extra_info("peername")
        self.door.handler.record_refusal(InboundRequest(b"", b"", 1, [], b"", peer[0] if peer else ""), error)
        send_error(ResponseWriter(self.transport, 1, False, False), error)
        self.force_close()

    def abort_unframed(self) -> None:
        """Reset the connection if its close would look like the regular end of its response."""
        if self.writer is not None and self.writer.ends_by_close:
            self.writer.abort_at_once()

    def close_if_idle(self) -> None:
        """Close if no request is being read or served. aiohttp's own method would leave the connection open.

        The connection is idle while aiohttp waits for a request.
        Between this state and `wait_writable` there is one turn of the loop.
        """
        waits = self._waiter is not None and not self._waiter.done()
        if waits and not self.has_requests and self.transport is not None:
            self.transport.close()

    @property
    def has_requests(self) -> bool:
        """True while parsed requests wait for their turn."""
        return bool(self._messages)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._wire is not None:
            self._send_timeout.check(self._wire, self._loop.time(), self.door.settings.send_timeout)
        if self.writer is not None:
            self.writer.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.writer is not None:
            self.writer.resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """aiohttp found the request malformed, or the handler failed: answer with this proxy's error."""
        if status == 400:
            error = self.shadow.refuse(_parser_error(exc))
            inbound = InboundRequest(b"", b"", 1, [], b"", request.remote or "")
            self.door.handler.record_refusal(inbound, error)
        else:
            _log.error("an exchange failed inside the proxy", exc_info=exc)
            error = ProxyError(ErrorKind.INTERNAL)
        transport = self.transport
        if transport is not None and (self.writer is None or not self.writer.committed):
            send_error(ResponseWriter(transport, 1, False, False), error)
        elif transport is not None:
            transport.abort()
        self.close()
        return SentResponse(False, self.linger)


def _parser_error(exc: BaseException | None) -> ProxyError:
    if isinstance(exc, LineTooLong) or "Too many headers" in str(exc):
        return ProxyError(ErrorKind.HEAD_TOO_LARGE)
    if isinstance(exc, BadHttpMethod):
        return ProxyError(ErrorKind.METHOD_UNKNOWN)
    return ProxyError(ErrorKind.BAD_REQUEST, "The request is not valid HTTP/1.1.")
