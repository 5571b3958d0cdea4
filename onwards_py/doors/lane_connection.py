"""A connection of the byte lane: HTTP/1.x straight from the event loop, through llhttp, into the handler.

Requests are read completely, queued (pipelining, RFC 9112 section 9.3.2) and answered in order.
A WebSocket request is handed over to the aiohttp door, together with its connection.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Final, cast

from onwards_py.deadline_timer import LATENESS
from onwards_py.doors.base import LINGER_SECONDS, MIN_UPLOAD_RATE, WRITE_BUFFER
from onwards_py.doors.listener_load import refuse_connection
from onwards_py.doors.request_parser import Phase, QueuedRequest, RequestParser, serialise_head
from onwards_py.doors.response_writer import Progress, ResponseWriter, reset
from onwards_py.doors.send_timeout import SendTimeout
from onwards_py.eager import StepTask
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.wire.error_body import send_error
from onwards_py.wire.request_head import RequestHead

if TYPE_CHECKING:
    from onwards_py.doors.lane import Lane

_log = logging.getLogger("onwards.lane")

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LARGE_READ: Final = 128 * 1024  # half of the largest read of uvloop

_BODY: Final = Phase.BODY
_IDLE: Final = Phase.IDLE

_ABORTED: Final = Progress.ABORTED
_ENDED: Final = Progress.ENDED


class LaneConnection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._parser: RequestParser | None = None
        self._since = 0.0  # when the current wait for the client began
        self._phase = _IDLE
        self._lingering = False
        self._active: StepTask | None = None
        self._active_size = 0  # bytes of the active request's body
        self._writer: ResponseWriter | None = None
        self._serving = False
        self._reading_paused = False
        self._writing_paused = False
        self._send_timeout = SendTimeout()

    # Callbacks of the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        lane = self._lane
        self._transport = cast(asyncio.Transport, transport)
        self._since = lane.loop.time()
        if not lane.load.has_room(transport, lane.settings.max_connections):
            refuse_connection(self._transport, lane.load)
            return
        peer = transport.get_extra_info("peername")
        address, port = peer[:2] if peer else ("", 0)
        self._parser = RequestParser(lane.handler, lane.settings, lane.load, address, port)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        lane.load.connections += 1
        lane.connections.add(self)
        lane.timer.schedule(self._since + lane.shortest_timeout)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or self._lingering:
            return
        is_free = self._active is None and not parser.ready and not self._writing_paused
        cache = parser.head_cache
        if cache is not None and is_free and parser.phase is _IDLE and not parser.closed:
            request = cache.match(data)
            if request is not None:
                lane, size = self._lane, len(request.body)
                if size <= lane.handler.config.max_body and lane.load.buffered + size <= lane.settings.max_buffered:
                    lane.load.buffered += size
                    self._run_handler(request, cache.head, not lane.draining)
                    return
        parser.feed(data)
        if len(data) >= _LARGE_READ:
            self._pause_for_one_turn()
        if parser.ready:
            self._serve()
        if parser.phase is not self._phase:
            self._phase = parser.phase
            self._since = self._lane.loop.time()
        if parser.continue_due and self._active is None and not parser.ready:
            self._send_continue(parser)

    def eof_received(self) -> bool:
        """A client that closes its sending half counts as gone, as in nginx and Envoy.

        A client that leaves sends only a FIN until the proxy writes to it.
        Otherwise a model would continue to work for a client that has left.
        """
        self._on_client_gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio.Protocol)
        self._on_client_gone()

    def pause_writing(self) -> None:
        """The client reads more slowly than responses are written. The next request begins after `resume_writing`."""
        self._writing_paused = True
        if self._transport is not None:
            self._send_timeout.check(self._transport, self._lane.loop.time(), self._lane.settings.send_timeout)
        if self._writer is not None:
            self._writer.pause_writing()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._writer is not None:
            self._writer.resume_writing()
        elif self._transport is not None and not self._transport.is_closing():
            self._serve()

    # Calls of the lane

    def check_timeouts(self, now: float) -> float:
        """End a wait for the client that has lasted too long. Returns when to check again, see `DeadlineTimer`."""
        parser, transport, settings = self._parser, self._transport, self._lane.settings
        if parser is None or transport is None:
            return inf
        again = self._send_timeout.check(transport, now, settings.send_timeout)
        if again <= now:
            self._on_client_gone()
            reset(transport)  # frees the kernel's buffer too, which this client does not read
            return inf
        if self._active is not None or parser.ready or (self._lingering and again < inf):
            return again
        if self._lingering:
            timeout = LINGER_SECONDS
        elif parser.phase is _IDLE:
            timeout = settings.keepalive_timeout
        elif parser.phase is _BODY:
            timeout = settings.body_timeout + parser.body_size / MIN_UPLOAD_RATE
        else:
            timeout = settings.header_timeout
        if now < self._since + timeout:
            return min(again, self._since + timeout * LATENESS)
        if self._lingering:
            transport.abort()
        elif parser.phase is _IDLE:
            transport.close()
        else:
            parser.refuse(ProxyError(ErrorKind.REQUEST_TIMEOUT))
            self._serve()
        return again

    def drain(self) -> None:
        """Close after the current response."""
        if self._writer is not None:
            self._writer.keep_alive = False

    def close_if_idle(self) -> None:
        """Close, unless a request is being read or served."""
        parser = self._parser
        is_idle = self._active is None and parser is not None and not parser.ready and parser.phase is _IDLE
        if is_idle and not self._lingering and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        transport, writer = self._transport, self._writer
        if transport is not None:
            self._on_client_gone()
            if writer is not None:
                writer.abort_at_once()
            else:
                transport.abort()

    # Serving

    def _serve(self) -> None:
        """Answer the queued requests in order, until one of them has to wait, or the client has to read first.

        A loop and not a recursion, so that a thousand pipelined requests do not need a thousand stack frames.
        """
        parser = self._parser
        if self._serving or parser is None:
            return
        self._serving = True
        try:
            while self._active is None and parser.ready and not self._writing_paused and not self._lingering:
                self._begin(parser.ready.popleft())
                if self._parser is not parser:
                    break
                if parser.unparsed:
                    parser.resume()
        finally:
            self._serving = False
        if self._parser is parser:
            self._throttle(len(parser.ready))

    def _begin(self, queued: QueuedRequest) -> None:
        """Serve, refuse or hand over one request."""
        lane, transport, request = self._lane, self._transport, queued.request
        assert transport is not None
        if queued.upgrade_tail is not None:
            self._hand_over(transport, serialise_head(request, request.fields) + queued.upgrade_tail)
            return
        if queued.refusal is None and queued.head is not None:
            self._run_handler(request, queued.head, queued.keep_alive and not lane.draining)
            return
        error = queued.refusal or ProxyError(ErrorKind.BAD_REQUEST)
        lane.handler.record_refusal(request, error)
        send_error(ResponseWriter(transport, request.http_minor, False, request.method == b"HEAD"), error)
        self._linger()

    def _run_handler(self, request: InboundRequest, head: RequestHead, keep_alive: bool) -> None:
        assert self._transport is not None
        self._active_size = len(request.body)
        self._writer = writer = ResponseWriter(
            self._transport, request.http_minor, keep_alive, request.method == b"HEAD"
        )
        task = StepTask(self._lane.handler.handle(request, head, writer), self._on_handler_done)
        if not task.done:
            self._active = task

    def _on_handler_done(self, error: BaseException | None) -> None:
        writer, self._writer, self._active = self._writer, None, None
        self._lane.load.buffered -= self._active_size
        self._active_size = 0
        transport, parser = self._transport, self._parser
        if transport is None or parser is None or writer is None:
            return
        if error is not None and not isinstance(error, asyncio.CancelledError):
            _log.error("an exchange failed inside the proxy", exc_info=error)
            send_error(writer, ProxyError(ErrorKind.INTERNAL))
        if writer.progress is not _ENDED:
            if writer.progress is not _ABORTED:
                writer.abort_at_once()
        elif writer.keep_alive and not self._lane.draining:
            self._since = self._lane.loop.time()
            if parser.ready:
                self._serve()
            elif parser.continue_due:
                self._send_continue(parser)
        else:
            transport.close()

    def _send_continue(self, parser: RequestParser) -> None:
        """100 Continue: the head was accepted, and all earlier requests have been answered."""
        parser.continue_due = False
        if self._transport is not None and not self._lingering:
            self._transport.write(_CONTINUE)

    def _throttle(self, waiting: int) -> None:
        """Pause reading while enough requests wait."""
        transport = self._transport
        if transport is None:
            return
        enough = waiting >= self._lane.settings.max_pipelined
        if not self._reading_paused and enough:
            self._reading_paused = True
            transport.pause_reading()
        elif self._reading_paused and not enough:
            self._reading_paused = False
            transport.resume_reading()

    def _pause_for_one_turn(self) -> None:
        """Continue to read in the next turn of the loop.

        The loop reads up to 32 times in one turn as long as its buffer is filled.
        That is 8 MiB, or 30 ms in which no other client is served.
        """
        transport = self._transport
        if transport is not None and not self._reading_paused:
            transport.pause_reading()
            self._lane.loop.call_soon(self._resume_reading, transport)

    def _resume_reading(self, transport: asyncio.Transport) -> None:
        # Another transport, or None: the connection has ended or was handed over, and must not be changed here.
        if self._transport is transport and not self._reading_paused and not transport.is_closing():
            transport.resume_reading()

    # Ends

    def _linger(self) -> None:
        """Close, but read and drop bytes for a moment: a reset for unread bytes would destroy the answer
        (RFC 9112 section 9.6)."""
        assert self._transport is not None
        self._lingering = True
        self._since = self._lane.loop.time()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        self._detach()
        if not transport.is_closing():
            transport.resume_reading()  # the other door expects a transport that is being read
        self._lane.hand_over(transport, data)

    def _on_client_gone(self) -> None:
        """Cancel the active request."""
        active = self._active
        self._detach()
        if active is not None:
            active.cancel()

    def _detach(self) -> None:
        parser, self._parser = self._parser, None
        self._transport = None
        if parser is not None:
            parser.close()
            self._lane.load.buffered -= sum(len(queued.request.body) for queued in parser.ready)
            self._lane.load.connections -= 1
            self._lane.connections.discard(self)
