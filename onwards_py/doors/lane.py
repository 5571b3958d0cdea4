"""The byte lane: HTTP/1.x straight from the event loop, through llhttp, into the handler.

One object per connection. Requests are taken in whole, queued (pipelining, RFC 9112 section 9.3.2) and answered in
order. A WebSocket request is handed over, connection and all, to the aiohttp door.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Final, cast

from onwards_py.deadline_timer import LATENESS, DeadlineTimer
from onwards_py.doors.base import (
    DRAIN_GRACE,
    LINGER_SECONDS,
    MIN_UPLOAD_RATE,
    WRITE_BUFFER,
    Gauges,
    Handler,
    refuse_connection,
)
from onwards_py.doors.request_parser import Phase, QueuedRequest, RequestParser, serialise_head
from onwards_py.doors.response_writer import Progress, ResponseWriter
from onwards_py.doors.send_timeout import SendTimeout
from onwards_py.eager import StepTask
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.error_body import send_error
from onwards_py.wire.request_head import RequestHead
from onwards_py.write_batch import WriteBatch

_log = logging.getLogger("onwards.lane")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LARGE_READ: Final = 128 * 1024  # half of what uvloop reads at one time

_BODY: Final = Phase.BODY
_IDLE: Final = Phase.IDLE

_ABORTED: Final = Progress.ABORTED
_ENDED: Final = Progress.ENDED


class Lane:
    """What the connections of one listener share.

    ``hand_over(transport, data)`` gives a connection, and what was read from it, to the other door.
    """

    def __init__(
        self,
        handler: Handler,
        settings: ServerSettings,
        gauges: Gauges,
        *,
        hand_over: Callable[[asyncio.Transport, bytes], None],
        batch: WriteBatch,
    ) -> None:
        self.handler = handler
        self.settings = settings
        self.gauges = gauges
        self.hand_over = hand_over
        self.batch = batch
        self.draining = False
        self.connections: set[LaneConnection] = set()
        self.loop = asyncio.get_running_loop()
        shortest = min(
            settings.header_timeout, settings.body_timeout, settings.send_timeout, settings.keepalive_timeout
        )
        self.timer = DeadlineTimer(self._look)
        self.shortest = min(shortest, LINGER_SECONDS)

    def __call__(self) -> LaneConnection:
        """A protocol for a new connection."""
        return LaneConnection(self)

    def drain(self) -> None:
        """Every answer is the last on its connection from now on. A connection that is idle gets a moment: its next
        request may be on the way, and would be lost if it crossed the close."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        self.loop.call_later(DRAIN_GRACE, self._close_idle)

    def _close_idle(self) -> None:
        self.batch.flush()
        for connection in list(self.connections):
            connection.close_if_idle()

    def close(self) -> None:
        """Cut everything."""
        self.timer.cancel()
        self.batch.flush()
        for connection in list(self.connections):
            connection.cut()

    def _look(self, now: float) -> float:
        """One timer looks after the patience with all clients, instead of a timer each. What a client begins from now
        on is not due before ``shortest`` is over: so long nobody need be told of it."""
        first = now + self.shortest if self.connections else inf
        for connection in list(self.connections):
            again = connection.check(now)
            first = min(first, again)
        return first


class LaneConnection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._transport: asyncio.Transport | None = None
        self._parser: RequestParser | None = None
        self._since = 0.0
        self._phase = _IDLE
        self._lingering = False
        self._active: StepTask | None = None
        self._active_size = 0
        self._writer: ResponseWriter | None = None
        self._serving = False
        self._reading_paused = False
        self._writing_paused = False
        self._sending = SendTimeout()

    # The event loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        lane = self._lane
        self._transport = cast(asyncio.Transport, transport)
        self._since = lane.loop.time()
        if not lane.gauges.has_room(transport, lane.settings.max_connections):
            refuse_connection(self._transport, lane.gauges)
            return
        peer = transport.get_extra_info("peername")
        address, port = peer[:2] if peer else ("", 0)
        self._parser = RequestParser(lane.handler, lane.settings, lane.gauges, address, port)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        lane.gauges.connections += 1
        lane.connections.add(self)
        lane.timer.schedule(self._since + lane.shortest)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or self._lingering:
            return
        if self._active is None and not parser.ready and not self._writing_paused:
            request = parser.match_cached(data)
            if request is not None and parser.known_head is not None:
                self._start(request, parser.known_head, not self._lane.draining)
                return
        parser.feed(data)
        if len(data) >= _LARGE_READ:
            self._leave_the_rest()
        if parser.ready:
            self._serve()
        if parser.phase is not self._phase:
            self._phase = parser.phase
            self._since = self._lane.loop.time()
        if parser.continue_due and self._active is None and not parser.ready:
            self._ask_for_body(parser)

    def _leave_the_rest(self) -> None:
        """Read on in the next turn. The loop itself goes on for as long as its buffer is filled, 32 times at most; with
        8 MiB that is 30 ms, in which nobody else is served."""
        transport = self._transport
        if transport is not None and not self._reading_paused:
            transport.pause_reading()
            self._lane.loop.call_soon(self._read_on, transport)

    def _read_on(self, transport: asyncio.Transport) -> None:
        # Without a transport of its own this protocol no longer decides: the connection is gone, or was handed over.
        if self._transport is transport and not self._reading_paused and not transport.is_closing():
            transport.resume_reading()

    def eof_received(self) -> bool:
        """A client that closes, or only its sending half: taken for gone, as nginx and Envoy do.

        FIN is all that a departing client shows before the next write; waiting for that would let a model work on
        for nobody.
        """
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio.Protocol)
        self._leave()

    def pause_writing(self) -> None:
        """What is written is more than the client takes. Nothing else begins until it has taken most of it."""
        self._writing_paused = True
        if self._transport is not None:
            self._sending.check(self._transport, self._lane.loop.time(), self._lane.settings.send_timeout)
        if self._writer is not None:
            self._writer.pause_writing()

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._writer is not None:
            self._writer.resume_writing()
        elif self._transport is not None and not self._transport.is_closing():
            self._serve()

    # The lane's side.

    def check(self, now: float) -> float:
        """Lose patience with a client that keeps us waiting; returns when to look again (inf: not at all), see
        `DeadlineTimer`."""
        parser, transport, settings = self._parser, self._transport, self._lane.settings
        if parser is None or transport is None:
            return inf
        again = self._sending.check(transport, now, settings.send_timeout)
        if again <= now:
            self.cut()
            return inf
        if self._active is not None or parser.ready or (self._lingering and again < inf):
            return again
        if self._lingering:
            patience = LINGER_SECONDS
        elif parser.phase is _IDLE:
            patience = settings.keepalive_timeout
        elif parser.phase is _BODY:
            patience = settings.body_timeout + parser.body_size / MIN_UPLOAD_RATE
        else:
            patience = settings.header_timeout
        if now < self._since + patience:
            return min(again, self._since + patience * LATENESS)
        if self._lingering:
            transport.abort()
        elif parser.phase is _IDLE:
            transport.close()
        else:
            parser.refuse(ProxyError(ErrorKind.REQUEST_TIMEOUT))
            self._serve()
        return again

    def drain(self) -> None:
        """The answer that is going on is the last one."""
        if self._writer is not None:
            self._writer.keep_alive = False

    def close_if_idle(self) -> None:
        """Close, unless a request is going on or coming in."""
        parser = self._parser
        waits = self._active is None and parser is not None and not parser.ready and parser.phase is _IDLE
        if waits and not self._lingering and self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        if self._transport is not None:
            transport = self._transport
            self._leave()
            transport.abort()

    # Serving.

    def _serve(self) -> None:
        """Answer what is ready, in order, until an answer has to wait, or the client to take those before it. A loop,
        so that a thousand pipelined requests are not a thousand stack frames."""
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
        lane, transport, request = self._lane, self._transport, queued.request
        assert transport is not None
        if queued.upgrade_tail is not None:
            lane.batch.flush()
            if self._writing_paused:  # the other door would not be told, so this has to wait
                assert self._parser is not None
                self._parser.ready.appendleft(queued)
                return
            self._hand_over(transport, serialise_head(request, request.fields) + queued.upgrade_tail)
            return
        keep_alive = queued.keep_alive and not lane.draining
        if queued.refusal is None and queued.head is not None:
            self._start(request, queued.head, keep_alive)
            return
        error = queued.refusal or ProxyError(ErrorKind.BAD_REQUEST)
        lane.handler.refused(request, error)
        lane.batch.flush()  # answers to what came before
        send_error(ResponseWriter(transport, request.http_minor, False, request.method == b"HEAD"), error)
        self._linger()

    def _start(self, request: InboundRequest, head: RequestHead, keep_alive: bool) -> None:
        """Give one request to the handler."""
        assert self._transport is not None
        self._active_size = len(request.body)
        self._writer = writer = ResponseWriter(
            self._transport,
            request.http_minor,
            keep_alive,
            request.method == b"HEAD",
            batch=self._lane.batch,
        )
        task = StepTask(self._lane.handler.handle(request, head, writer), self._on_handler_done)
        if not task.done:
            self._active = task

    def _on_handler_done(self, error: BaseException | None) -> None:
        """The handler is through, one way or another."""
        writer, self._writer, self._active = self._writer, None, None
        self._lane.gauges.buffered -= self._active_size
        self._active_size = 0
        transport, parser = self._transport, self._parser
        if transport is None or parser is None or writer is None:
            return
        if error is not None and not isinstance(error, asyncio.CancelledError):
            _log.error("an exchange failed inside the proxy", exc_info=error)
            send_error(writer, ProxyError(ErrorKind.INTERNAL))
        if writer.progress is not _ENDED:
            if writer.progress is not _ABORTED:
                transport.abort()
        elif writer.keep_alive and not self._lane.draining:
            self._since = self._lane.loop.time()
            if parser.ready:
                self._serve()
            elif parser.continue_due:
                self._ask_for_body(parser)
        else:
            self._lane.batch.flush()
            transport.close()

    def _ask_for_body(self, parser: RequestParser) -> None:
        """100 Continue: the head was accepted, and nothing stands before this request any more."""
        parser.continue_due = False
        if self._transport is not None and not self._lingering:
            self._lane.batch.flush()
            self._transport.write(_CONTINUE)

    def _throttle(self, waiting: int) -> None:
        """Do not read on for a client that has enough requests waiting."""
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

    def _linger(self) -> None:
        """Close, but read on for a moment: a reset for unread bytes would destroy the answer (RFC 9112 section 9.6)."""
        assert self._transport is not None
        self._lane.batch.flush()
        self._lingering = True
        self._since = self._lane.loop.time()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        self._forget()
        if not transport.is_closing():
            transport.resume_reading()  # the other door expects a connection that is read
        self._lane.hand_over(transport, data)

    def _leave(self) -> None:
        """The client is gone: whatever is done for it stops now."""
        active = self._active
        self._forget()
        if active is not None:
            active.cancel()

    def _forget(self) -> None:
        parser, self._parser = self._parser, None
        self._transport = None
        if parser is not None:
            parser.close()
            self._lane.gauges.buffered -= sum(len(queued.request.body) for queued in parser.ready)
            self._lane.gauges.connections -= 1
            self._lane.connections.discard(self)
