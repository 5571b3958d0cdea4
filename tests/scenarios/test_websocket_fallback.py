"""A handshake that a provider refuses is a failed attempt like any other."""

from __future__ import annotations

import pytest
from support.gateway import running
from support.origin import answer, once, origin, serve
from support.raw import ask, get
from support.responses_promises import Json
from support.targets import pool

ON: Json = {"enabled": True, "on_status": [429, 5]}


JSON = b"Content-Type: application/json\r\n"


SHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def busy(fields: bytes = b"", status: bytes = b"429 Slow Down") -> bytes:
    return answer(b'{"error":{"message":"busy"}}', status, JSON + fields)


@pytest.mark.parametrize("status", [b"500 Oops", b"503 Busy", b"429 Slow Down"])
async def test_a_refused_handshake_moves_on_by_its_status(lane: bool, status: bytes) -> None:
    """As any other request."""
    async with origin(serve(busy(status=status))) as first, origin(once(AGREED + b"hello")) as second:
        async with running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert response.status == 101
    assert [len(first.requests), len(second.requests)] == [1, 1]
    assert gateway.lines()[0]["attempts"] == 2


async def test_the_last_refusal_of_a_handshake_is_passed_on(lane: bool) -> None:
    """The provider's own words."""
    async with origin(serve(busy(status=b"503 Busy"))) as first, origin(serve(busy(status=b"500 Oops"))) as second:
        async with running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert (response.status, response.body) == (500, b'{"error":{"message":"busy"}}')


async def test_failing_handshakes_take_a_provider_out(lane: bool) -> None:
    """5xx is no success because it answers a handshake."""
    async with origin(serve(busy(status=b"500 Oops"))) as first, origin(once(AGREED)) as second:
        targets = pool(first.url, second.url, fallback=ON, ejection={"consecutive_failures": 2})
        async with running(targets, lane=lane) as gateway:
            for _ in range(4):
                await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert [len(first.requests), len(second.requests)] == [2, 4]
