"""The aiohttp door: the reference. It serves everything, at aiohttp's price; the lane hands over what it does not take.

Requests are parsed by aiohttp; responses are written by the same writer as the lane's, straight to the transport, so
that both doors give the same bytes.
"""

from __future__ import annotations

import asyncio
import logging
import re
from math import inf
from typing import Any, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

from onwards_py.alarm import Alarm, grain_of
from onwards_py.config.snapshot import ServerSettings
from onwards_py.doors.base import DRAIN_GRACE, WRITE_BUFFER, Gauges, Handler, check_head, refuse_connection
from onwards_py.doors.held_body import HeldBody
from onwards_py.doors.response_writer import Progress, ResponseWriter
from onwards_py.doors.sending import Sending
from onwards_py.eager import Drive
from onwards_py.errors import Kind, ProxyError, body_too_large
from onwards_py.messages import InboundRequest
from onwards_py.wire.error_body import send_error
from onwards_py.wire.request_head import RequestHead

_log = logging.getLogger("onwards.door")
# llhttp, aiohttp's parser too, takes these for HTTP.
_OTHER_PROTOCOL = re.compile(rb"\A(?:\r\n)*[A-Z_-]+ +[^ \r\n]+ +(?:RTSP|ICE)/[0-9]")
_LOOK_EVERY = 2.0  # seconds
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Written(web.StreamResponse):
    """Tells aiohttp that a response was written without it."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._keeps = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be done."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be done."""


class DoorConnection(web.RequestHandler):
    """aiohttp's connection, with flow control passed on to the response that is being written.

    ``serving``: a request is being served, or waits until the client has taken most of the answers before it.
    """

    __slots__ = ("_counted", "_head_since", "_left", "_sending", "_wire", "door", "serving", "writer")

    def __init__(self, door: AiohttpDoor, **options: Any) -> None:
        super().__init__(door.server, loop=asyncio.get_running_loop(), **options)
        self.door = door
        self.writer: ResponseWriter | None = None
        self.serving = False
        self._counted = False
        self._head_since = 0.0
        self._wire: asyncio.Transport | None = None  # aiohttp forgets its own as soon as it closes
        self._left = False
        self._sending = Sending()

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
        self.door.alarm.by(self._loop.time() + self.door.shortest)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counted:
            self._counted = False
            self.door.connections.discard(self)
            self.door.gauges.connections -= 1
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._counted:
            return
        if not self.serving and _OTHER_PROTOCOL.search(data):
            self._refuse(ProxyError(Kind.VERSION))
            return
        super().data_received(data)
        # aiohttp has no patience of its own to lose with a head that does not end.
        if self.serving or self.has_requests:
            self._head_since = 0.0
        elif self._head_since == 0.0:
            self._head_since = now = self._loop.time()
            self.door.alarm.by(now + self.door.settings.header_timeout)

    async def writable(self) -> None:
        """A request was made out: wait until the client has taken most of the answers to those before it."""
        self.serving = True
        self._head_since = 0.0
        await self._drain_helper()

    def check(self, now: float) -> float:
        """Give up a head that has taken too long, and a client that takes nothing; returns when that is due (inf: it
        does not)."""
        wire = self._wire
        if wire is None:
            return inf
        due = self._look_at_sending()
        if due <= now:
            wire.abort()
            if self.writer is not None and self.writer.progress is Progress.LEFT:
                self.connection_lost(None)  # so that what is served ends as it does when a client leaves
            return inf
        if self._left:
            self.leave(wire)
        if not self._head_since or self.serving or self.has_requests or self.transport is None:
            return due
        head_due = self._head_since + self.door.settings.header_timeout
        if now < head_due:
            return min(due, head_due)
        self._head_since = 0.0
        self._refuse(ProxyError(Kind.REQUEST_TIMEOUT))
        return due

    def _look_at_sending(self) -> float:
        if self._wire is None:
            return inf
        return self._sending.look(self._wire, self._loop.time(), self.door.settings.send_timeout)

    def leave(self, wire: asyncio.Transport) -> None:
        """The connection went on under another protocol, so aiohttp does not hear of its end, and this is it.

        But what was still to be sent must go, or be given up, before the connection counts as closed.
        """
        self._left = bool(wire.get_write_buffer_size())
        if not self._left:
            self._loop.call_soon(self.connection_lost, None)

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
        self._look_at_sending()
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
            error = _parser_error(exc)
            note = InboundRequest(b"", b"", 1, [], b"", request.remote or "")
            self.door.handler.refused(note, error)
        else:
            _log.error("an exchange failed inside the proxy", exc_info=exc)
            error = ProxyError(Kind.INTERNAL)
        transport = self.transport
        if transport is not None and (self.writer is None or not self.writer.committed):
            send_error(ResponseWriter(transport, 1, False, False), error)
        elif transport is not None:
            transport.abort()
        self.close()
        return Written(False)


def _parser_error(exc: BaseException | None) -> ProxyError:
    if isinstance(exc, LineTooLong) or "Too many headers" in str(exc):
        return ProxyError(Kind.HEAD_TOO_LARGE)
    if isinstance(exc, BadHttpMethod):
        return ProxyError(Kind.METHOD_UNKNOWN)
    return ProxyError(Kind.BAD_REQUEST, "The request is not valid HTTP/1.1.")


class AiohttpDoor:
    """Makes connections for a listener, and for the lane's hand-overs."""

    def __init__(self, handler: Handler, settings: ServerSettings, gauges: Gauges) -> None:
        self.handler = handler
        self.settings = settings
        self.gauges = gauges
        self.draining = False
        self.connections: set[DoorConnection] = set()
        self.server = web.Server(self._serve, handler_cancellation=True)
        self._loop = asyncio.get_running_loop()
        self.shortest = min(settings.header_timeout, settings.send_timeout, _LOOK_EVERY)
        self.alarm = Alarm(self._look, grain_of(self.shortest))
        self._options: dict[str, Any] = {
            "keepalive_timeout": settings.keepalive_timeout,
            "access_log": None,
            "auto_decompress": False,
            "max_line_size": settings.max_target_bytes + 32,
            "max_field_size": settings.max_head_bytes,
            "max_headers": settings.max_header_count,
            "lingering_time": 2.0,
        }

    def __call__(self) -> DoorConnection:
        """A protocol for a new connection."""
        return DoorConnection(self, **self._options)

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Go on with a connection of the lane's, from the first byte of an unanswered request."""
        connection = self()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(data)

    def drain(self) -> None:
        """Every answer is the last on its connection from now on; idle connections close in a moment."""
        self.draining = True
        for connection in self.connections:
            if connection.writer is not None:
                connection.writer.keep_alive = False
        self._loop.call_later(DRAIN_GRACE, self._close_idle)

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            connection.close_if_idle()

    def _look(self, now: float) -> float:
        nearest = now + self.shortest if self.connections else inf
        return min([nearest, *(connection.check(now) for connection in list(self.connections))])

    async def close(self) -> None:
        """Cut everything."""
        self.alarm.cancel()
        await self.server.shutdown(0.1)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, from aiohttp's shapes to ours and back."""
        connection, transport = request.protocol, request.transport
        assert isinstance(connection, DoorConnection)
        if transport is None:
            raise asyncio.CancelledError
        await connection.writable()
        inbound = _inbound(request)
        # aiohttp's parser keeps the last trailer field of a chunked request, and gives it to the next request on the
        # connection as its first header; so there is no next request.
        # And behind an offer to upgrade that is not taken up it answers nothing any more.
        last = hdrs.TRANSFER_ENCODING in request.headers or hdrs.UPGRADE in request.headers
        keep_alive = request.keep_alive and not self.draining and not last
        writer = ResponseWriter(transport, inbound.http_minor, keep_alive, inbound.method == b"HEAD")
        connection.writer = writer
        size = 0
        try:
            head = await self._take_in(request, inbound, transport)
            size = len(inbound.body)
            await _drive(self.handler, inbound, head, writer)
        except ProxyError as error:
            writer.keep_alive = False
            self.handler.refused(inbound, error)
            send_error(writer, error)
        finally:
            self.gauges.buffered -= size
            connection.writer = None
            connection.serving = False
            writer.keep_alive = writer.keep_alive and not self.draining
        if writer.progress is Progress.LEFT:
            connection.leave(transport)
        elif writer.progress is not Progress.ENDED and writer.progress is not Progress.ABORTED:
            transport.abort()
        return Written(writer.keep_alive and writer.progress is Progress.ENDED)

    async def _take_in(
        self, request: web.BaseRequest, inbound: InboundRequest, transport: asyncio.Transport
    ) -> RequestHead:
        """Guard and body. Raises ProxyError."""
        version = f"{request.version.major}.{request.version.minor}"
        head = check_head(self.handler, self.settings, inbound, version, self.settings.max_head_bytes + 1)
        if head.expects_continue and inbound.http_minor and (head.chunked or head.content_length):
            self.handler.precheck(inbound.target, head)
            transport.write(_CONTINUE)
        if head.chunked or head.content_length:
            try:
                async with asyncio.timeout(self.settings.body_timeout):
                    await self._read_body(request, inbound)
            except TimeoutError:
                raise ProxyError(Kind.REQUEST_TIMEOUT) from None
            except web.RequestPayloadError:
                raise ProxyError(Kind.BAD_REQUEST, "The request body is not valid HTTP/1.1.") from None
        return head

    async def _read_body(self, request: web.BaseRequest, inbound: InboundRequest) -> None:
        body, limit, gauges = HeldBody(), self.handler.max_body, self.gauges
        try:
            async for piece in request.content.iter_any():
                body.add(piece)
                gauges.buffered += len(piece)
                if body.size > limit:
                    raise body_too_large(limit)
                if gauges.buffered > self.settings.max_buffered:
                    raise ProxyError(Kind.OVERLOADED, retry_after=1)
        except BaseException:
            gauges.buffered -= body.size
            raise
        inbound.body = body.take()


def _inbound(request: web.BaseRequest) -> InboundRequest:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return InboundRequest(
        request.method.encode("ascii", "replace"),
        request.raw_path.encode("utf-8", "surrogateescape"),
        0 if request.version == (1, 0) else 1,
        list(request.raw_headers),
        b"",
        *(peer[:2] if peer else ("", 0)),
    )


async def _drive(handler: Handler, inbound: InboundRequest, head: RequestHead, writer: ResponseWriter) -> None:
    """Run the handler as the lane does; when aiohttp cancels us, because the client left, so is the handler."""
    over: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def on_done(error: BaseException | None) -> None:
        if not over.done():
            over.set_result(error)

    drive = Drive(handler.handle(inbound, head, writer), on_done)
    try:
        error = over.result() if over.done() else await over
    except asyncio.CancelledError:
        drive.cancel()
        raise
    if error is not None:
        raise error
