"""An upstream connection on a fake transport: the response that received bytes belong to."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

import pytest
from support.origin import answer

from onwards_py.deadline_timer import DeadlineTimer
from onwards_py.model.provider import Timeouts
from onwards_py.transports.base import OutboundRequest
from onwards_py.transports.connection import ClosedBeforeResponse, UpstreamConnection
from onwards_py.transports.loop_detector import LoopDetector
from onwards_py.transports.response_parser import MAX_INTERIM, MAX_OVERHEAD, ResponseParser
from onwards_py.transports.round_trip import RoundTrip
from onwards_py.transports.send_queue import SendQueue
from onwards_py.transports.tls_connection import TlsConnection
from onwards_py.transports.tunnel import TunnelEnd


class FakeTransport(asyncio.Transport):
    """Keeps what is written; ``closing`` is set after an abort."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.full: asyncio.BaseProtocol | None = None  # who is told so with each write
        self.closing = False
        self.reading: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        if self.full is not None:
            self.full.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def pause_reading(self) -> None:
        self.reading.append("nothing")

    def resume_reading(self) -> None:
        self.reading.append("what is there")

    def set_read_buffer_limits(self, high: int | None) -> None:
        self.reading.append("no socket" if high == 0 else "the socket")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Set the protocol that gets the callbacks."""

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


class Wire:
    """One connection; ``released`` and ``lost`` count its reports to the pool."""

    def __init__(self, kind: type[UpstreamConnection] = UpstreamConnection) -> None:
        self.transport = FakeTransport()
        self.queue = SendQueue()
        self.released = self.lost = 0
        self.connection = kind(self._release, self._lose, self.queue, LoopDetector(), DeadlineTimer(self._look))
        self.connection.connection_made(self.transport)

    def ask(self, body: bytes = b"") -> RoundTrip:
        request = OutboundRequest(b"POST", b"/", b"POST / HTTP/1.1\r\n\r\n", body, "m")
        return self.connection.start(request, Timeouts())

    def arrives(self, data: bytes) -> None:
        self.connection.get_buffer(-1)[: len(data)] = data
        self.connection.buffer_updated(len(data))

    def serve_one(self) -> None:
        trip = self.ask()
        self.queue.flush()
        self.arrives(answer(b"first"))
        assert trip.complete_body() == b"first"

    def _look(self, now: float) -> float:
        return self.connection.check_timeouts(now, 60.0)

    def _release(self, connection: UpstreamConnection) -> None:
        self.released += 1
        connection.idle_since = 1.0

    def _lose(self, _: UpstreamConnection) -> None:
        self.lost += 1


@pytest.mark.parametrize("size", [0, 200_000])
async def test_bytes_before_the_request_are_not_its_response(size: int) -> None:
    """No byte of the request is sent on that connection, whatever its size, so the request may use another one."""
    wire = Wire()
    wire.serve_one()
    sent = wire.transport.written
    trip = wire.ask(b"x" * size)
    wire.arrives(answer(b"somebody else's"))
    with pytest.raises(ClosedBeforeResponse):
        await trip.head_signal
    wire.queue.flush()
    assert wire.transport.written == sent
    assert (wire.transport.closing, wire.lost) == (True, 1)


async def test_bytes_after_the_request_are_its_response() -> None:
    wire = Wire()
    wire.serve_one()
    trip = wire.ask(b"x" * 200_000)
    wire.queue.flush()
    wire.arrives(answer(b"second"))
    await trip.head_signal
    assert trip.complete_body() == b"second"
    assert wire.released == 2


async def test_a_response_before_the_request_on_a_fresh_connection_is_accepted() -> None:
    """An overloaded server responds before it has read a request. The request is not sent any more, because it has
    its response."""
    wire = Wire()
    trip = wire.ask()
    wire.arrives(answer(b"full", b"503 Busy"))
    await trip.head_signal
    assert (trip.head.status, trip.complete_body()) == (503, b"full")
    wire.queue.flush()
    assert (wire.transport.written, wire.transport.closing, wire.released) == (b"", True, 0)


async def turn() -> None:
    """Let the event loop run all callbacks that are due."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_tls_gets_a_large_request_in_small_pieces() -> None:
    """TLS encrypts each piece at once into memory that it keeps. After the end, no reference to the body remains."""
    wire = Wire(TlsConnection)
    body = b"x" * 1_000_000
    held = sys.getrefcount(body)
    wire.transport.full = wire.connection
    trip = wire.ask(body)
    for _ in range(100):
        before = len(wire.transport.written)
        await turn()
        assert len(wire.transport.written) - before <= 128 * 1024
        wire.connection.resume_writing()
        if wire.transport.written.endswith(body):
            break
    assert wire.transport.written == b"POST / HTTP/1.1\r\n\r\n" + body
    assert sys.getrefcount(body) == held
    wire.arrives(answer(b"ok"))
    await trip.head_signal
    assert (trip.complete_body(), wire.released) == (b"ok", 1)


async def test_a_response_before_the_end_of_a_request_closes_a_tls_connection() -> None:
    wire = Wire(TlsConnection)
    wire.transport.full = wire.connection
    trip = wire.ask(b"x" * 1_000_000)
    await turn()
    wire.arrives(answer(b"too large", b"413 No"))
    await trip.head_signal
    wire.connection.resume_writing()
    assert (trip.head.status, trip.complete_body()) == (413, b"too large")
    assert (wire.transport.closing, wire.released, wire.lost) == (True, 0, 1)
    assert len(wire.transport.written) < 1_000_000


async def test_bytes_inside_tls_are_read_before_the_socket() -> None:
    """SSLProtocol drops its decrypted bytes when the socket ends. So the socket is not read while reading is paused,
    or before those bytes are delivered; in connections and in tunnels."""
    wire = Wire(TlsConnection)
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client, upstream = TunnelEnd(over), TunnelEnd(over)
    client.other, upstream.other = upstream, client
    tunnelled = FakeTransport()
    upstream.attach(tunnelled)
    for hold, go_on, transport in (
        (wire.connection.pause_reading, wire.connection.resume_reading, wire.transport),
        (client.pause_writing, client.resume_writing, tunnelled),
    ):
        hold()
        go_on()
        hold()
        await turn()
        assert transport.reading == ["nothing", "no socket", "what is there", "nothing", "no socket"]
        go_on()
        await turn()
        assert transport.reading[5:] == ["what is there", "the socket"]


def test_interim_responses_and_overhead_are_bounded_exactly() -> None:
    """At most MAX_INTERIM heads before the final one and MAX_OVERHEAD bytes outside the body are accepted."""
    parser = ResponseParser()
    parser.begin(is_head_request=False)
    parser.llhttp.feed_data(b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_INTERIM)
    assert not parser.is_excessive(0)
    parser.llhttp.feed_data(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert parser.is_excessive(0)
    parser.begin(is_head_request=False)
    assert not parser.is_excessive(MAX_OVERHEAD)
    assert parser.is_excessive(1)
