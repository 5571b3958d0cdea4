"""The client timeouts of both doors fire at most 1 % late; the tests use a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

import pytest
from support import virtual_time
from support.virtual_time import FakeTransport

from onwards_py.doors.aiohttp_door import AiohttpDoor
from onwards_py.doors.lane import Lane
from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.doors.response_writer import ResponseWriter
from onwards_py.errors import ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.request_head import RequestHead

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"


class Nobody:
    """A handler that answers every request with 204."""

    max_body = 1000

    @property
    def config(self) -> Self:
        return self

    def handle(
        self, request: InboundRequest, head: RequestHead, downstream: ResponseWriter
    ) -> Coroutine[Any, Any, None]:
        async def answer() -> None:
            downstream.answer(204, b"No Content", b"", 0, b"")

        return answer()

    def precheck(self, target: bytes, head: RequestHead) -> None:
        """Refuses no request."""

    def record_refusal(self, request: InboundRequest, error: ProxyError) -> None:
        """Does not record the refusal."""

    def is_own_connection(self, peer: str, port: int) -> bool:
        return False


class Watched(FakeTransport):
    """Counts how often its timeouts are checked."""

    looks = 0

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        return 0


def lane_of(settings: ServerSettings) -> Lane:
    return Lane(Nobody(), settings, ListenerLoad(), hand_over=lambda *_: None)


async def lateness(transport: FakeTransport, began: float, seconds: float) -> float:
    loop = asyncio.get_running_loop()
    while not transport.written.startswith(b"HTTP/1.1 408") and not transport.is_closing():
        assert loop.time() < began + 2 * seconds
        await asyncio.sleep(seconds / 1000)
    return (loop.time() - began) / seconds - 1.0


@pytest.mark.parametrize("seconds", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(
    ("setting", "sent"),
    [("header_timeout", HEAD), ("body_timeout", HEAD + b"Content-Length: 5\r\n\r\n"), ("keepalive_timeout", b"")],
)
def test_the_lane_closes_connections_on_time(setting: str, sent: bytes, seconds: float) -> None:
    """It waits for a head, a body or the next request, with an older connection beside it or without."""

    async def main() -> None:
        lane = lane_of(ServerSettings(**{setting: seconds}))  # type: ignore[arg-type]
        older = lane()
        older.connection_made(FakeTransport())
        await asyncio.sleep(seconds * 0.37)
        connection, transport = lane(), FakeTransport()
        connection.connection_made(transport)
        await asyncio.sleep(seconds * 0.1)
        if sent:
            connection.data_received(sent)
        else:
            connection.data_received(HEAD + b"Content-Length: 0\r\n\r\n")
        began = asyncio.get_running_loop().time()
        assert 0 <= await lateness(transport, began, seconds) <= 0.01
        lane.close()

    virtual_time.run(main())


@pytest.mark.parametrize("seconds", [0.1, 1.0, 30.0])
def test_the_aiohttp_door_closes_on_header_timeout_on_time(seconds: float) -> None:
    """Its other timeouts have timers of their own."""

    async def main() -> None:
        door = AiohttpDoor(Nobody(), ServerSettings(header_timeout=seconds), ListenerLoad())
        connection, transport = door(), FakeTransport()
        connection.connection_made(transport)
        await asyncio.sleep(seconds * 0.4)
        connection.data_received(HEAD)
        began = asyncio.get_running_loop().time()
        assert 0 <= await lateness(transport, began, seconds) <= 0.01
        await door.close()

    virtual_time.run(main())


def test_a_short_timeout_does_not_cause_checks_for_long_ones() -> None:
    """A thousand idle clients time out one after the other in 20 s, while the header timeout is 1 s."""

    async def main() -> None:
        lane = lane_of(ServerSettings(keepalive_timeout=20.0, header_timeout=1.0))
        for _ in range(1_000):
            lane().connection_made(FakeTransport())
            await asyncio.sleep(0.02)
        transport = Watched()
        lane().connection_made(transport)
        await asyncio.sleep(19.9)
        assert not transport.is_closing()
        assert transport.looks <= 220
        lane.close()

    virtual_time.run(main())
