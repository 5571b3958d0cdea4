"""One upstream HTTP/1.1 connection: llhttp finds the messages, this decides what they mean for the connection.

A state machine with three named states. IDLE: pooled; any byte is unsolicited and ends it (RFC 9112 section 9.2: not a
response). WAITING: a request was sent, its final response head is not whole. BODY: the head is whole.
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
from onwards_py.transports.round_trip import RoundTrip
from onwards_py.wire.response_head import extract_head, has_oversized_first_chunk
from onwards_py.write_batch import WriteBatch

MAX_OVERHEAD = 256 * 1024  # bytes in a row that are not body: heads, trailers, chunk extensions
MAX_INTERIM = 16
READ_SIZE = 64 * 1024

# Reads are parsed before the next one is made, so all connections share one buffer; a stalled
# client then costs what is in flight, not a buffer per connection. All of it is for reads out of TLS only.
READ_BUFFER: Final = memoryview(bytearray(1024 * 1024))
_PLAIN_BUFFER: Final = READ_BUFFER[:READ_SIZE]


class State(Enum):
    IDLE = "idle"
    WAITING = "waiting"
    BODY = "body"
    CLOSED = "closed"


_BODY: Final = State.BODY
_CLOSED: Final = State.CLOSED
_IDLE: Final = State.IDLE
_WAITING: Final = State.WAITING

_END_CLIENT_GONE: Final = Ending.CLIENT_GONE
_END_DONE: Final = Ending.DONE
_END_EOF: Final = Ending.EOF
_END_IDLE: Final = Ending.IDLE
_END_LIMIT: Final = Ending.LIMIT
_END_RESET: Final = Ending.RESET

_NO_TIMEOUTS: Final = Timeouts()  # of a connection that has had no request yet


class ClosedBeforeResponse(Exception):
    """The connection ended before one byte of response. ``sent_at`` is when the request was sent, ``due`` until when
    the head was waited for, in the event loop's time."""

    def __init__(self, sent_at: float, due: float) -> None:
        super().__init__("connection closed before any byte of response")
        self.sent_at = sent_at
        self.due = due


class UpstreamConnection(asyncio.BufferedProtocol):
    """Serves one request at a time. ``released`` is called when it may serve the next, ``lost`` when it is gone.
    ``timer`` calls `check` when the first deadline has come."""

    def __init__(
        self,
        released: Callable[[UpstreamConnection], None],
        lost: Callable[[UpstreamConnection], None],
        batch: WriteBatch,
        loop_detector: LoopDetector,
        timer: DeadlineTimer,
    ) -> None:
        self._loop_detector = loop_detector
        self._timer = timer
        self._address: Address | None = None
        self._batch = batch
        self._released = released
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._state = _IDLE
        self._trip: RoundTrip | None = None
        self._raw = b""
        self._pieces: list[bytes] = []  # body bytes of the read that is being parsed
        self._own_pieces = 0  # of these belong to the response, once it is complete
        self.on_body = self._pieces.append  # what the parser calls for each chunk
        self._parser: httptools.HttpResponseParser  # while there is a connection
        self._overhead = 0
        self._interim = 0  # 1xx heads so far; -1 once the final head is whole
        self._heads = 0
        self._status = 0
        self._batched_at = -1
        self._to_head = False
        self._answered = False
        self._complete = False
        self._must_close = False
        self._reusable = True
        self._paused = False
        self._due = 0.0
        self._timeouts = _NO_TIMEOUTS
        self._deadline: float | None = None
        self._last_read = 0.0  # or since when nothing was read, of an answer that has not begun
        self._loop = asyncio.get_running_loop()
        self.idle_since = 0.0

    # The exchange's side.

    def start(self, request: OutboundRequest, timeouts: Timeouts, due: float | None = None) -> RoundTrip:
        """Send a request.

        The round trip's ``head_signal`` is set with the head, or fails with a TransportError or ClosedBeforeResponse.
        ``due``: the deadline of the head, if the timeouts do not run from now on.

        Raises ClosedBeforeResponse if the connection went away since it was chosen.
        """
        transport = self._transport
        if transport is None or self._state is not _IDLE:
            raise ClosedBeforeResponse(0.0, 0.0)
        self._state = _WAITING
        self._trip = trip = RoundTrip(self)
        self._raw = b""
        self._overhead = self._interim = 0
        self._to_head = request.method == b"HEAD"
        self._answered = self._complete = False
        self._last_read = now = self._loop.time()
        if due is None:
            within, sooner = timeouts.first_byte, request.head_timeout
            due = now + (within if sooner is None or sooner > within else sooner)
        self._due = due
        self._timeouts = timeouts
        self._deadline = deadline = request.deadline
        if deadline is not None and deadline < due:
            due = deadline
        if due < self._timer.at:
            self._timer.schedule(due)
        batch, body = self._batch, request.body
        self._batched_at = batch.flushes
        if len(body) < READ_SIZE:
            batch.add(transport, request.head + body)
        else:
            self._send_large(transport, request.head, body)
        return trip

    def _send_large(self, transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        """Send what is too large to be joined first."""
        self._batch.add(transport, head)
        self._batch.add(transport, body)

    def check(self, now: float, idle_timeout: float) -> float:
        """Lose patience where it is time to; returns when to look again (inf: not at all), see `DeadlineTimer`."""
        state = self._state
        if state is _IDLE:
            if now < self.idle_since + idle_timeout:
                return self.idle_since + idle_timeout * LATENESS
            self._end(_END_RESET, None)
            return inf
        if state is _CLOSED:
            return inf
        since, deadline = self._last_read, self._deadline
        if state is _WAITING:
            due, ending = self._due, _END_IDLE
        else:
            # Either the upstream has been silent, or the client has taken nothing, for the idle time.
            due, ending = since + self._timeouts.idle, _END_CLIENT_GONE if self._paused else _END_IDLE
        again = since + (due - since) * LATENESS
        if deadline is not None and deadline < due:
            due, again = deadline, deadline + (self._timeouts.total or 0.0) * (LATENESS - 1.0)
            ending = _END_IDLE if state is _WAITING else _END_LIMIT
        if now < due:
            return again
        self._end(ending, None)
        return inf

    def cut(self, ending: Ending) -> None:
        """End what is going on now, for ``ending``'s reason, and the connection with it."""
        self._end(ending, None)

    def close_idle(self) -> None:
        """Close a connection that nobody needs."""
        self._end(_END_RESET, None)

    def pause_reading(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._last_read = self._loop.time()
            self._transport.resume_reading()

    # The event loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._address = self._loop_detector.add(self._transport)
        self._parser = httptools.HttpResponseParser(self)
        if self._state is _CLOSED:  # not wanted any more before it was there
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio.BufferedProtocol)
        return _PLAIN_BUFFER

    def buffer_updated(self, count: int) -> None:
        state = self._state
        if state is _IDLE or state is _CLOSED:
            self._end(_END_RESET, None)
            return
        data = READ_BUFFER[:count]
        if state is _WAITING:
            if self._batched_at == self._batch.flushes and self.idle_since:
                # The request has not left yet: as on an idle connection, nobody has asked for this.
                self._end(_END_RESET, None)
                return
            self._raw += data
        self._answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            # Behind a whole message it only means that the connection cannot be used again.
            self._must_close = True
        except httptools.HttpParserUpgrade:
            self._must_close = True
            self._complete = False
        trip = self._trip
        if trip is None:
            return
        if state is _BODY:
            pieces = self._pieces
            if len(pieces) == 1 and not self._complete and not self._must_close:  # most reads of a stream
                self._overhead = 0
                self._last_read = self._loop.time()
                trip.take(pieces.pop())
            else:
                self._deliver(trip, count)
        elif self._interim < 0 and (self._complete or not self._must_close):
            try:
                cut = extract_head(self._raw, self._status, self._heads)
            except ProxyError:
                self._end(_END_RESET, None)
                return
            if not self._complete and has_oversized_first_chunk(self._raw, cut):
                self._end(_END_RESET, None)
                return
            self._state = _BODY
            trip.head = cut.head
            # HTTP/1.0 with a transfer coding is faulty framing (RFC 9112 section 6.1); without one it is rare.
            self._reusable = cut.http_minor > 0
            self._raw = b""
            if self._complete:
                body = self._take_body()
                if body:
                    trip.pieces.append(body)
                self._finish(trip)
            else:
                self._deliver(trip, count)
                if self._trip is trip:
                    self._timer.schedule(self._last_read + self._timeouts.idle)
            # Last: this resumes the exchange, which finds the whole of what was read.
            trip.head_signal.set(None)
        elif self._must_close or self._is_excessive(count):
            self._end(_END_RESET, None)

    def eof_received(self) -> bool:
        self._end(_END_EOF, None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._address is not None:
            self._loop_detector.discard(self._address)
        self._end(_END_EOF if exc is None else _END_RESET, exc)
        if self._transport is not None:
            del self._parser  # it refers to us: apart, both go without the collector

    # The parser's side.

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete or self._trip is None:
            self._must_close = True
            return
        if 100 <= status < 200:
            self._interim += 1
            return
        self._heads = self._interim
        self._interim = -1
        self._status = status
        if self._to_head:
            self._complete = True
            self._own_pieces = 0
            self._must_close = True  # the parser waits for a body that HEAD never has

    def on_message_complete(self) -> None:
        if self._interim < 0 and not self._complete:  # not 1xx: then the final response is still to come
            self._complete = True
            self._own_pieces = len(self._pieces)
            if not self._parser.should_keep_alive():
                self._must_close = True

    # What a read amounts to.

    def _deliver(self, trip: RoundTrip, count: int) -> None:
        body = self._take_body()
        if body:
            self._overhead = 0
            trip.take(body)
            if self._trip is not trip:
                return  # an event was too large: cut while it was delivered
        elif not self._complete and self._is_excessive(count):
            self._end(_END_RESET, None)
            return
        if self._complete:
            self._finish(trip)
        elif self._must_close:
            self._end(_END_RESET, None)
        else:
            self._last_read = self._loop.time()

    def _take_body(self) -> bytes:
        """What this read held of the body. Bytes behind a complete response are nobody's."""
        pieces = self._pieces
        if self._complete:
            del pieces[self._own_pieces :]
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    def _is_excessive(self, count: int) -> bool:
        """Bound what is neither head nor body in itself, but arrives without end."""
        self._overhead += count
        return self._overhead > MAX_OVERHEAD or self._interim > MAX_INTERIM

    # Ends.

    def _finish(self, trip: RoundTrip) -> None:
        """The response is whole."""
        assert self._transport is not None
        self._trip = None
        if self._must_close or not self._reusable or self._transport.get_write_buffer_size():
            self._state = _CLOSED
            # Closing would wait until the rest of a request is taken that has its answer already: perhaps for ever.
            self._transport.abort()
            self._lost(self)
        else:
            self._state = _IDLE
            if self._paused:
                self.resume_reading()
            self._released(self)
        if trip.ended is None:  # nobody waits for it yet
            trip.ending = _END_DONE
            trip.connection = None
        else:
            trip.finish(_END_DONE)

    def _end(self, ending: Ending, exc: Exception | None) -> None:
        """The connection is over, in whatever state it is."""
        state, self._state = self._state, _CLOSED
        if state is _CLOSED:
            return
        if self._transport is not None:
            self._transport.abort()
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
        if self._answered and closed:
            return TransportError(Fault.CLOSED, "the connection was closed within the response head")
        if self._answered:
            return TransportError(Fault.INVALID, "not a whole HTTP/1.x response head")
        return ClosedBeforeResponse(self._last_read, self._due)
