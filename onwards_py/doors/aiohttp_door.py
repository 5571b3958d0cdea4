"""The aiohttp door: the reference implementation, which also serves connections that the lane hands over.

aiohttp parses the requests.
The writer that the lane uses writes the responses to the transport, so both doors send the same bytes.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import Any

from aiohttp import hdrs, web

from onwards_py.deadline_timer import DeadlineTimer
from onwards_py.doors.aiohttp_connection import DoorConnection, SentResponse
from onwards_py.doors.base import DRAIN_GRACE, MIN_UPLOAD_RATE, Handler
from onwards_py.doors.body_buffer import BodyBuffer
from onwards_py.doors.guard import check_head
from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.doors.response_writer import Progress, ResponseWriter
from onwards_py.eager import StepTask
from onwards_py.errors import ErrorKind, ProxyError, body_too_large
from onwards_py.messages import InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.error_body import send_error
from onwards_py.wire.request_head import RequestHead

_log = logging.getLogger("onwards.door")
_CHECK_INTERVAL = 2.0  # seconds
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class AiohttpDoor:
    """Makes connections for a listener, and for the lane's hand-overs."""

    def __init__(self, handler: Handler, settings: ServerSettings, load: ListenerLoad) -> None:
        self.handler = handler
        self.settings = settings
        self.load = load
        self.draining = False
        self.connections: set[DoorConnection] = set()
        self.server = web.Server(self._serve, handler_cancellation=True)
        self._loop = asyncio.get_running_loop()
        self.shortest_timeout = min(settings.header_timeout, settings.send_timeout, _CHECK_INTERVAL)
        self.timer = DeadlineTimer(self._check_timeouts)
        self._options: dict[str, Any] = {
            "keepalive_timeout": settings.keepalive_timeout,
            "access_log": None,
            "auto_decompress": False,
            "max_line_size": settings.max_target_bytes + 32,
            "max_field_size": settings.max_head_bytes,
            "max_headers": settings.max_header_count,
            "lingering_time": 0,  # see DoorConnection.linger
        }

    def __call__(self) -> DoorConnection:
        """A protocol for a new connection."""
        return DoorConnection(self, **self._options)

    def take_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """Serve a connection of the lane, from the first byte of an unanswered request."""
        connection = self()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(data)

    def drain(self) -> None:
        """Close each connection after its current response, and idle connections after `DRAIN_GRACE`."""
        self.draining = True
        for connection in self.connections:
            if connection.writer is not None:
                connection.writer.keep_alive = False
        self._loop.call_later(DRAIN_GRACE, self._close_idle)

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            connection.close_if_idle()

    def _check_timeouts(self, now: float) -> float:
        first = now + self.shortest_timeout if self.connections else inf
        return min([first, *(connection.check_timeouts(now) for connection in list(self.connections))])

    async def close(self) -> None:
        """Abort all connections."""
        self.timer.cancel()
        for connection in self.connections:
            connection.abort_unframed()
        await self.server.shutdown(0.1)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request of aiohttp's."""
        connection, transport = request.protocol, request.transport
        assert isinstance(connection, DoorConnection)
        if transport is None:
            raise asyncio.CancelledError
        await connection.wait_writable()
        inbound = _inbound(request)
        # aiohttp's parser keeps the last trailer field of a chunked request, and adds it to the next request's fields.
        # After an Upgrade that was not accepted, it does not parse further requests.
        # So both kinds of requests must be the last one of their connection.
        last = hdrs.TRANSFER_ENCODING in request.headers or hdrs.UPGRADE in request.headers
        keep_alive = request.keep_alive and not self.draining and not last
        writer = ResponseWriter(transport, inbound.http_minor, keep_alive, inbound.method == b"HEAD")
        connection.writer = writer
        size = 0
        before_close = None
        try:
            if connection.refusal is not None:
                raise connection.refusal
            head = await self._read_request(request, inbound, transport)
            size = len(inbound.body)
            await _run_handler(self.handler, inbound, head, writer)
        except ProxyError as error:
            writer.keep_alive = False
            self.handler.record_refusal(inbound, error)
            send_error(writer, error)
            before_close = connection.linger
        finally:
            self.load.buffered -= size
            connection.writer = None
            connection.serving = False
            writer.keep_alive = writer.keep_alive and not self.draining
        if writer.progress is Progress.UPGRADED:
            connection.close_tunnelled(transport)
        elif writer.progress is not Progress.ENDED and writer.progress is not Progress.ABORTED:
            writer.abort_at_once()
        return SentResponse(writer.keep_alive and writer.progress is Progress.ENDED, before_close)

    async def _read_request(
        self, request: web.BaseRequest, inbound: InboundRequest, transport: asyncio.Transport
    ) -> RequestHead:
        """Check the head and read the body. Raises ProxyError."""
        version = f"{request.version.major}.{request.version.minor}"
        head = check_head(self.handler, self.settings, inbound, version, self.settings.max_head_bytes + 1)
        if head.expects_continue and inbound.http_minor and (head.chunked or head.content_length):
            self.handler.precheck(inbound.target, head)
            transport.write(_CONTINUE)
        if head.chunked or head.content_length:
            try:
                async with asyncio.timeout(self.settings.body_timeout) as deadline:
                    await self._read_body(request, inbound, deadline)
            except TimeoutError:
                raise ProxyError(ErrorKind.REQUEST_TIMEOUT) from None
            except web.RequestPayloadError:
                raise ProxyError(ErrorKind.BAD_REQUEST, "The request body is not valid HTTP/1.1.") from None
        return head

    async def _read_body(self, request: web.BaseRequest, inbound: InboundRequest, deadline: asyncio.Timeout) -> None:
        body, limit, load = BodyBuffer(), self.handler.config.max_body, self.load
        first_deadline = deadline.when() or inf
        try:
            async for piece in request.content.iter_any():
                body.add(piece)
                load.buffered += len(piece)
                deadline.reschedule(first_deadline + body.size / MIN_UPLOAD_RATE)
                if body.size > limit:
                    raise body_too_large(limit)
                if load.buffered > self.settings.max_buffered:
                    raise ProxyError(ErrorKind.OVERLOADED, retry_after=1)
        except BaseException:
            load.buffered -= body.size
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


async def _run_handler(handler: Handler, inbound: InboundRequest, head: RequestHead, writer: ResponseWriter) -> None:
    """Run the handler as the lane does.

    aiohttp cancels this coroutine when the client leaves, and that cancels the handler.
    """
    over: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def on_done(error: BaseException | None) -> None:
        if not over.done():
            over.set_result(error)

    task = StepTask(handler.handle(inbound, head, writer), on_done)
    try:
        error = over.result() if over.done() else await over
    except asyncio.CancelledError:
        task.cancel()
        raise
    if error is not None:
        raise error
