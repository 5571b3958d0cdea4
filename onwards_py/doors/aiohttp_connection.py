"""aiohttp's connection, as the aiohttp door has it: bounds and verdicts that aiohttp's own does not keep."""

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
from onwards_py.doors.base import LINGER_SECONDS, WRITE_BUFFER, refuse_connection
from onwards_py.doors.response_writer import Progress, ResponseWriter
from onwards_py.doors.send_timeout import SendTimeout
from onwards_py.doors.shadow_parser import ShadowParser
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.wire.error_body import send_error

if TYPE_CHECKING:
    from onwards_py.doors.aiohttp_door import AiohttpDoor

_log = logging.getLogger("onwards.door")


class SentResponse(web.StreamResponse):
    """Tells aiohttp that a response was written without it. ``before_close`` is awaited before it closes."""

    def __init__(self, keep_alive: bool, before_close: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self._keeps = keep_alive
        self._before_close = before_close

    @property
    def keep_alive(self) -> bool | None:
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be done."""

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002  (aiohttp's)
        """Nothing is left to be written."""
        if self._before_close is not None:
            await self._before_close()


class DoorConnection(web.RequestHandler):
    """aiohttp's connection, with flow control passed on to the response that is being written.

    ``serving``: a request is being served, or waits until the client has taken most of the answers before it.
    """

    __slots__ = (
        "_body",
        "_counted",
        "_head_since",
        "_left",
        "_lingering",
        "_sending",
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
        self._counted = False
        self._head_since = 0.0
        self._wire: asyncio.Transport | None = None  # aiohttp forgets its own as soon as it closes
        self._left = False
        self._lingering = False
        self._body: StreamReader | None = None  # of the last request
        self._sending = SendTimeout()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        gauges = self.door.gauges
        if not gauges.has_room(transport, self.door.settings.max_connections):
            refuse_connection(cast(asyncio.Transport, transport), gauges)
            return
        gauges.connections += 1
        self._counted = True
        self.door.connections.add(self)
        self._wire = cast(asyncio.Transport, transport)
        self._wire.set_write_buffer_limits(high=WRITE_BUFFER)
        self.door.timer.schedule(self._loop.time() + self.door.shortest)
        peer = transport.get_extra_info("peername")
        self.shadow = ShadowParser(self.door.handler, self.door.settings, *(peer[:2] if peer else ("", 0)))
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counted:
            self._counted = False
            self.door.connections.discard(self)
            self.door.gauges.connections -= 1
            super().connection_lost(exc)
            # It refers to this connection: apart, both go without the collector.
            self._body = None
            self.shadow.close()

    def data_received(self, data: bytes) -> None:
        if not self._counted or self._lingering:
            return
        shadow = self.shadow
        if data:
            shadow.add(data)
        elif shadow.refusal is None or not shadow.in_chunks:  # enough requests were taken for aiohttp to go on
            super().data_received(data)
            self._note()
        # As many as it takes before it pauses; each piece would make it take one more.
        while len(self._messages) < self._max_msg_queue_size and (piece := shadow.next_piece()):
            super().data_received(piece)
            self._note()
        if shadow.refusal is not None and shadow.in_head:
            super().data_received(b"\0")  # an error to its parser too: answered when its turn comes
        # aiohttp has no patience of its own to lose with a head that does not end.
        if self.serving or self.has_requests:
            self._head_since = 0.0
        elif self._head_since == 0.0:
            self._head_since = now = self._loop.time()
            self.door.timer.schedule(now + self.door.settings.header_timeout)

    def _note(self) -> None:
        """See what became of the last piece: a request, or an error of aiohttp's, or one that it has not noticed."""
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
        """Why the request that is being served must be refused, if it is the last one and there is a reason."""
        return None if self.has_requests else self.shadow.refusal

    async def writable(self) -> None:
        """A request was made out: wait until the client has taken most of the answers to those before it."""
        self.serving = True
        self._head_since = 0.0
        await self._drain_helper()

    def check(self, now: float) -> float:
        """Give up a head that has taken too long, and a client that takes nothing; returns when to look again (inf:
        not at all), see `DeadlineTimer`."""
        wire = self._wire
        if wire is None:
            return inf
        again = self._sending.check(wire, now, self.door.settings.send_timeout)
        if again <= now:
            wire.abort()
            if self.writer is not None and self.writer.progress is Progress.LEFT:
                self.connection_lost(None)  # so that what is served ends as it does when a client leaves
            return inf
        if self._left:
            self.leave(wire)
        if not self._head_since or self.serving or self.has_requests or self.transport is None:
            return again
        patience = self.door.settings.header_timeout
        if now < self._head_since + patience:
            return min(again, self._head_since + patience * LATENESS)
        self._head_since = 0.0
        self._refuse(ProxyError(ErrorKind.REQUEST_TIMEOUT))
        return again

    def leave(self, wire: asyncio.Transport) -> None:
        """The connection went on under another protocol, so aiohttp does not hear of its end, and this is it.

        But what was still to be sent must go, or be given up, before the connection counts as closed.
        """
        self._left = bool(wire.get_write_buffer_size())
        if not self._left:
            self._loop.call_soon(self.connection_lost, None)

    async def linger(self) -> None:
        """Close, but read on for a moment: a reset for unread bytes would destroy the answer (RFC 9112 section 9.6)."""
        transport = self.transport
        if transport is not None and transport.can_write_eof():
            self._lingering = True
            transport.write_eof()
            transport.resume_reading()  # which aiohttp pauses while nobody reads a body
            await asyncio.sleep(LINGER_SECONDS)  # cancelled when the client closes

    def _refuse(self, error: ProxyError) -> None:
        """Answer in place of a request that aiohttp has not made out yet, and close."""
        assert self.transport is not None
        peer = self.transport.get_extra_info("peername")
        self.door.handler.refused(InboundRequest(b"", b"", 1, [], b"", peer[0] if peer else ""), error)
        send_error(ResponseWriter(self.transport, 1, False, False), error)
        self.force_close()

    def close_if_idle(self) -> None:
        """Close if nothing is going on; aiohttp would only stop waiting, and leave the connection open.

        Nothing is going on while aiohttp waits for a request; between that and `begin` lies a turn of the loop.
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
            self._sending.check(self._wire, self._loop.time(), self.door.settings.send_timeout)
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
        """aiohttp found the request malformed, or our handler failed: answer in our own words."""
        if status == 400:
            error = self.shadow.refuse(_parser_error(exc))
            note = InboundRequest(b"", b"", 1, [], b"", request.remote or "")
            self.door.handler.refused(note, error)
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
