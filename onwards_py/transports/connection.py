"""One upstream HTTP/1.1 connection: how parsed bytes change the state of the connection and of the exchange.

A state machine with named states.
IDLE: the connection is pooled. Any byte is unsolicited and ends it (RFC 9112 section 9.2: it is not a response).
WAITING: a request was sent or is queued, and its final response head is not complete.
BODY: the head is complete.
CLOSED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final, cast

import httptools

from onwards_py.deadline_timer import LATENESS, DeadlineTimer
from onwards_py.errors import ProxyError
from onwards_py.messages import Ending, Fault
from onwards_py.model.provider import Timeouts
from onwards_py.transports.base import OutboundRequest, TransportError
from onwards_py.transports.loop_detector import Address, LoopDetector
from onwards_py.transports.response_parser import ResponseParser
from onwards_py.transports.round_trip import RoundTrip
from onwards_py.transports.send_queue import MAX_QUEUED, SendQueue
from onwards_py.wire.response_head import extract_head, has_oversized_first_chunk

READ_SIZE: Final = 64 * 1024

# A read is parsed before the next one is made, so all connections share one buffer.
# A stalled client then costs the bytes in flight, not a buffer per connection.
# Reads of unencrypted connections use only the beginning of the buffer.
READ_BUFFER: Final = memoryview(bytearray(1024 * 1024))
_PLAIN_BUFFER: Final = READ_BUFFER[:READ_SIZE]


class ConnectionState(Enum):
    IDLE = "idle"
    WAITING = "waiting"
    BODY = "body"
    CLOSED = "closed"


_BODY: Final = ConnectionState.BODY
_CLOSED: Final = ConnectionState.CLOSED
_IDLE: Final = ConnectionState.IDLE
_WAITING: Final = ConnectionState.WAITING

_END_CLIENT_GONE: Final = Ending.CLIENT_GONE
_END_DONE: Final = Ending.DONE
_END_EOF: Final = Ending.EOF
_END_IDLE: Final = Ending.IDLE
_END_LIMIT: Final = Ending.LIMIT
_END_RESET: Final = Ending.RESET

_NO_TIMEOUTS: Final = Timeouts()  # for a connection that has not served a request yet


class ClosedBeforeResponse(Exception):
    """The connection ended before the first byte of a response. Times are in the event loop's time."""

    def __init__(self, sent_at: float, head_deadline: float) -> None:
        super().__init__("connection closed before any byte of response")
        self.sent_at = sent_at
        """When the request was sent."""
        self.head_deadline = head_deadline


class UpstreamConnection(asyncio.BufferedProtocol):
    """Serves one request at a time."""

    __slots__ = (
        "_address",
        "_got_bytes",
        "_head_deadline",
        "_last_read",
        "_loop",
        "_loop_detector",
        "_lost",
        "_parser",
        "_paused",
        "_queue",
        "_released",
        "_reusable",
        "_state",
        "_timeouts",
        "_timer",
        "_total_deadline",
        "_trip",
        "idle_since",
        "transport",
        "unsent",
    )

    def __init__(
        self,
        released: Callable[[UpstreamConnection], None],
        lost: Callable[[UpstreamConnection], None],
        queue: SendQueue,
        loop_detector: LoopDetector,
        timer: DeadlineTimer,
    ) -> None:
        """``released`` is called when the connection may serve the next request, ``lost`` when it has ended.

        ``timer`` calls `check_timeouts` at the first deadline.
        """
        self._released = released
        self._lost = lost
        self._queue = queue
        self._loop_detector = loop_detector
        self._timer = timer
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self._address: Address | None = None
        self._parser: ResponseParser  # set by connection_made
        self._state = _IDLE
        self._trip: RoundTrip | None = None
        self.unsent: tuple[bytes, ...] = ()
        """The request, while it waits in the send queue."""
        self._got_bytes = False  # whether bytes of the response have arrived
        self._reusable = True
        self._paused = False
        self._head_deadline = 0.0
        self._total_deadline: float | None = None
        self._timeouts = _NO_TIMEOUTS
        self._last_read = 0.0  # before the response begins, the time at which the request was queued
        self.idle_since = 0.0
        """0: the connection has not served a request."""

    # Calls of the exchange

    def start(self, request: OutboundRequest, timeouts: Timeouts, head_deadline: float | None = None) -> RoundTrip:
        """Send a request.

        The round trip's ``head_signal`` is set with the head, or fails with a TransportError or ClosedBeforeResponse.
        ``head_deadline``: replaces the deadline that follows from the timeouts and the current time.

        Raises ClosedBeforeResponse if the connection has ended since it was chosen.
        """
        transport = self.transport
        if transport is None or self._state is not _IDLE:
            raise ClosedBeforeResponse(0.0, 0.0)
        self._state = _WAITING
        self._trip = trip = RoundTrip(self)
        self._parser.begin(request.method == b"HEAD")
        self._got_bytes = False
        self._last_read = now = self._loop.time()
        if head_deadline is None:
            within, sooner = timeouts.first_byte, request.head_timeout
            head_deadline = now + (within if sooner is None or sooner > within else sooner)
        self._head_deadline = deadline = head_deadline
        self._timeouts = timeouts
        self._total_deadline = total = request.deadline
        if total is not None and total < deadline:
            deadline = total
        if deadline < self._timer.at:
            self._timer.schedule(deadline)
        queue = self._queue
        queued = queue.connections
        if not queued:
            self._loop.call_soon(queue.flush)
        queued.append(self)
        if len(request.body) < READ_SIZE:
            self.unsent = (request.head + request.body,)
        else:
            self._set_unsent(request.head, request.body)
        if len(queued) >= MAX_QUEUED:
            queue.flush()
        return trip

    def _set_unsent(self, head: bytes, body: bytes) -> None:
        """Set ``unsent`` for a request that is too large to be joined."""
        self.unsent = (head, body)

    def check_timeouts(self, now: float, idle_timeout: float) -> float:
        """End the connection if a deadline has passed. Returns when to check again, see `DeadlineTimer`."""
        state = self._state
        if state is _IDLE:
            if now < self.idle_since + idle_timeout:
                return self.idle_since + idle_timeout * LATENESS
            self._close(_END_RESET, None)
            return inf
        if state is _CLOSED:
            return inf
        since, total_deadline = self._last_read, self._total_deadline
        if state is _WAITING:
            deadline, ending = self._head_deadline, _END_IDLE
        else:
            # The idle timeout: the upstream does not send, or the client does not read.
            deadline, ending = since + self._timeouts.idle, _END_CLIENT_GONE if self._paused else _END_IDLE
        again = since + (deadline - since) * LATENESS
        if total_deadline is not None and total_deadline < deadline:
            deadline, again = total_deadline, total_deadline + (self._timeouts.total or 0.0) * (LATENESS - 1.0)
            ending = _END_IDLE if state is _WAITING else _END_LIMIT
        if now < deadline:
            return again
        self._close(ending, None)
        return inf

    def abort(self, ending: Ending) -> None:
        """End the round trip with ``ending``, and the connection with it."""
        self._close(ending, None)

    def close_idle(self) -> None:
        """Close a connection that is not needed."""
        self._close(_END_RESET, None)

    def pause_reading(self) -> None:
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self._last_read = self._loop.time()
            self.transport.resume_reading()

    # Callbacks of the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._address = self._loop_detector.add(self.transport)
        self._parser = ResponseParser()
        if self._state is _CLOSED:  # closed before the connection was made
            self.transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio.BufferedProtocol)
        return _PLAIN_BUFFER

    def buffer_updated(self, count: int) -> None:
        state, parser, trip = self._state, self._parser, self._trip
        if trip is None or (state is _WAITING and self.unsent and self.idle_since):
            # The connection is idle, or the request was not sent yet: these bytes cannot be its response.
            self._close(_END_RESET, None)
            return
        data = READ_BUFFER[:count]
        if state is _WAITING:
            parser.raw += data
        self._got_bytes = True
        try:
            parser.llhttp.feed_data(data)
        except httptools.HttpParserError:
            # After a complete message, the error only means that the connection cannot be used again.
            parser.must_close = True
        except httptools.HttpParserUpgrade:
            parser.must_close = True
            parser.complete = False
        if state is _BODY:
            pieces = parser.pieces
            if len(pieces) == 1 and not parser.complete and not parser.must_close:  # most reads of a stream
                parser.overhead = 0
                self._last_read = self._loop.time()
                trip.deliver(pieces.pop())
            else:
                self._on_body(trip, parser, count)
        elif parser.interim < 0 and (parser.complete or not parser.must_close):
            try:
                head = extract_head(parser.raw, parser.status, parser.interim_heads)
            except ProxyError:
                self._close(_END_RESET, None)
                return
            if not parser.complete and has_oversized_first_chunk(parser.raw, head):
                self._close(_END_RESET, None)
                return
            self._state = _BODY
            trip.head = head.head
            # In HTTP/1.0, a transfer coding is faulty framing (RFC 9112 section 6.1); other such responses are rare.
            self._reusable = head.http_minor > 0
            parser.raw = b""
            if parser.complete:
                trip.pieces += parser.pieces[: parser.own_pieces]
                parser.pieces.clear()
                self._finish(trip)
            else:
                self._on_body(trip, parser, count)
                if self._trip is trip:
                    self._timer.schedule(self._last_read + self._timeouts.idle)
            # This is the last step, because it resumes the exchange, which must find all bytes that were read.
            trip.head_signal.set(None)
        elif parser.must_close or parser.is_excessive(count):
            self._close(_END_RESET, None)

    def eof_received(self) -> bool:
        self._close(_END_EOF, None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self._loop_detector.discard(self._address)
        self._close(_END_EOF if exc is None else _END_RESET, exc)
        if self.transport is not None:
            self._parser.close()

    # Steps

    def _on_body(self, trip: RoundTrip, parser: ResponseParser, count: int) -> None:
        """Deliver the body bytes of the current read, and notice the end of the body."""
        body = parser.take_body()
        if body:
            parser.overhead = 0
            trip.deliver(body)
            if self._trip is not trip:
                return  # an event was too large, so the round trip was aborted
        elif not parser.complete and parser.is_excessive(count):
            self._close(_END_RESET, None)
            return
        if parser.complete:
            self._finish(trip)
        elif parser.must_close:
            self._close(_END_RESET, None)
        else:
            self._last_read = self._loop.time()

    def _finish(self, trip: RoundTrip) -> None:
        """The response is complete."""
        assert self.transport is not None
        self._trip = None
        parser = self._parser
        # A part of a further response in the parser would become a part of the next one.
        reusable = self._reusable and not parser.must_close and parser.at_boundary
        if not reusable or self.unsent or self.transport.get_write_buffer_size():
            self._state = _CLOSED
            self.unsent = ()
            # A close would wait, perhaps without end, until the provider has read the rest of the request.
            self.transport.abort()
            self._lost(self)
        else:
            self._state = _IDLE
            if self._paused:
                self.resume_reading()
            self._released(self)
        if trip.ended is None:  # the exchange does not wait for its end yet
            trip.ending = _END_DONE
            trip.connection = None
        else:
            trip.finish(_END_DONE)

    def _close(self, ending: Ending, exc: Exception | None) -> None:
        """End the connection, in any state."""
        state, self._state = self._state, _CLOSED
        if state is _CLOSED:
            return
        self.unsent = ()
        if self.transport is not None:
            self.transport.abort()
        self._lost(self)
        trip, self._trip = self._trip, None
        if trip is None:
            return
        if state is _BODY:
            trip.finish(_END_DONE if ending is _END_EOF and exc is None and trip.head.ends_by_close else ending)
        else:
            trip.head_signal.fail(self._failure(ending, closed=ending is _END_EOF or exc is not None))

    def _failure(self, ending: Ending, *, closed: bool) -> Exception:
        if ending is _END_IDLE:
            return TransportError(Fault.FIRST_BYTE_TIMEOUT, "no response head in time")
        if self._got_bytes and closed:
            return TransportError(Fault.CLOSED, "the connection was closed within the response head")
        if self._got_bytes:
            return TransportError(Fault.INVALID, "not a whole HTTP/1.x response head")
        return ClosedBeforeResponse(self._last_read, self._head_deadline)
