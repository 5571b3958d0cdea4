"""The timeouts of connections to providers fire at most 1 % late; the tests use a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support import virtual_time
from support.virtual_time import FakeTransport

from onwards_py.deadline_timer import DeadlineTimer
from onwards_py.messages import Ending, Fault
from onwards_py.model.provider import Origin, Timeouts
from onwards_py.model.snapshot import HttpPoolSettings
from onwards_py.transports.base import OutboundRequest, TransportError
from onwards_py.transports.connection import UpstreamConnection
from onwards_py.transports.http import OriginPool
from onwards_py.transports.loop_detector import LoopDetector
from onwards_py.transports.round_trip import RoundTrip
from onwards_py.transports.send_queue import SendQueue

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
LONG = Timeouts(first_byte=1000.0, idle=1000.0)


class World:
    """One pool with connections to no real provider."""

    def __init__(self, idle_timeout: float = 500.0) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue = SendQueue()
        self.timer = DeadlineTimer(self._look)
        self.looks = 0
        settings = HttpPoolSettings(idle_timeout=idle_timeout)
        self.pool = OriginPool(Origin(False, "h", 80), settings, self.queue, LoopDetector(), self.timer)

    def _look(self, now: float) -> float:
        self.looks += 1
        return self.pool.check_timeouts(now)

    def connection(self) -> UpstreamConnection:
        connection = UpstreamConnection(self.pool.released, self.pool.lost, self.queue, LoopDetector(), self.timer)
        connection.connection_made(FakeTransport())
        self.pool.connections.add(connection)
        return connection

    def ask(
        self, timeouts: Timeouts, *, deadline: float | None = None, within: float | None = None
    ) -> tuple[UpstreamConnection, RoundTrip]:
        connection = self.connection()
        request = OutboundRequest(b"GET", b"/", b"GET / HTTP/1.1\r\n\r\n", b"", "m", True, deadline, within)
        return connection, connection.start(request, timeouts)


def feed(connection: UpstreamConnection, data: bytes) -> None:
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


async def lateness(began: float, seconds: float, over: Callable[[], bool]) -> float:
    """The delay of a timeout as a part of ``seconds``; below 0 if it was early."""
    loop = asyncio.get_running_loop()
    while not over():
        assert loop.time() < began + 2 * seconds
        await asyncio.sleep(seconds / 1000)
    return (loop.time() - began) / seconds - 1.0


@pytest.mark.parametrize("seconds", [0.1, 1.0, 7.0, 60.0, 600.0])
@pytest.mark.parametrize("what", ["first_byte", "head_timeout", "deadline"])
def test_the_head_timeout_fires_on_time(what: str, seconds: float) -> None:
    """Other waits, longer or shorter, do not matter."""

    async def main() -> None:
        world = World()
        world.ask(LONG)
        began = world.loop.time()
        world.ask(Timeouts(first_byte=seconds * 0.61))
        timeouts = Timeouts(first_byte=seconds) if what == "first_byte" else LONG
        deadline = began + seconds if what == "deadline" else None
        _, trip = world.ask(timeouts, deadline=deadline, within=seconds if what == "head_timeout" else None)
        assert 0 <= await lateness(began, seconds, lambda: trip.head_signal.done) <= 0.01
        with pytest.raises(TransportError) as raised:
            trip.head_signal.__await__().send(None)
        assert raised.value.fault is Fault.FIRST_BYTE_TIMEOUT

    virtual_time.run(main())


@pytest.mark.parametrize("seconds", [0.1, 1.0, 60.0])
@pytest.mark.parametrize("what", ["idle", "total"])
def test_the_idle_timeout_of_a_body_fires_on_time(what: str, seconds: float) -> None:
    """It begins with the last read, even if the wait for the head may be longer. ``total`` bounds the whole body."""

    async def main() -> None:
        world = World()
        world.ask(LONG)
        deadline = world.loop.time() + seconds * 1.5 if what == "total" else None
        connection, trip = world.ask(
            Timeouts(first_byte=1000.0, idle=seconds if what == "idle" else 1000.0), deadline=deadline
        )
        feed(connection, HEAD + b"a")
        await asyncio.sleep(seconds / 2)
        feed(connection, b"b")
        began = world.loop.time()
        assert 0 <= await lateness(began, seconds, lambda: trip.ending is not None) <= 0.01
        assert trip.ending is (Ending.IDLE if what == "idle" else Ending.LIMIT)

    virtual_time.run(main())


def test_an_idle_connection_is_closed_on_time() -> None:
    """The time begins with its last response, even after a much longer wait."""

    async def main() -> None:
        world = World(idle_timeout=20.0)
        connection, _ = world.ask(LONG)
        await asyncio.sleep(3.0)
        feed(connection, b"HTTP/1.1 204 No Content\r\n\r\n")
        began = world.loop.time()
        assert world.pool.idle == [connection]
        assert 0 <= await lateness(began, 20.0, lambda: not world.pool.idle) <= 0.01

    virtual_time.run(main())


def test_checks_are_few() -> None:
    """Ten thousand requests are answered at once, and a thousand time out one after the other."""

    async def main() -> None:
        world = World()
        timeouts = Timeouts(first_byte=10.0)
        for _ in range(10_000):
            connection, _ = world.ask(timeouts)
            feed(connection, b"HTTP/1.1 204 No Content\r\n\r\n")
            await asyncio.sleep(0.01)
        assert world.looks <= 12
        world.looks = 0
        for _ in range(1_000):
            world.ask(timeouts)
            await asyncio.sleep(0.01)
        await asyncio.sleep(20.0)
        assert world.looks <= 210

    virtual_time.run(main())


def test_a_short_timeout_does_not_cause_checks_for_long_ones() -> None:
    """A thousand connections, whose earlier requests had short timeouts, time out one after the other in 20 s."""

    async def main() -> None:
        world = World(idle_timeout=20.0)
        for _ in range(1_000):
            connection, _ = world.ask(Timeouts(first_byte=0.1))
            feed(connection, b"HTTP/1.1 204 No Content\r\n\r\n")
            await asyncio.sleep(0.02)
        world.looks = 0
        await asyncio.sleep(21.0)
        assert not world.pool.connections
        assert world.looks <= 201

    virtual_time.run(main())
