"""A handshake that a provider refuses is a failed attempt like any other."""

from __future__ import annotations

import pytest
from support.gateway import running
from support.origin import answer, once, origin, serve
from support.raw import ask, get
from support.responses_promises import Json
from support.targets import pool, snapshot

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
async def test_a_refused_handshake_causes_fallback_by_its_status(lane: bool, status: bytes) -> None:
    """``on_status`` applies as to any other request."""
    async with origin(serve(busy(status=status))) as first, origin(once(AGREED + b"hello")) as second:
        async with running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert response.status == 101
    assert [len(first.requests), len(second.requests)] == [1, 1]
    assert gateway.lines()[0]["attempts"] == 2


async def test_the_last_refusal_of_a_handshake_is_passed_on(lane: bool) -> None:
    """The client gets the provider's own response."""
    async with origin(serve(busy(status=b"503 Busy"))) as first, origin(serve(busy(status=b"500 Oops"))) as second:
        async with running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert (response.status, response.body) == (500, b'{"error":{"message":"busy"}}')
    assert response.value(b"x-should-retry") == b"false"


async def test_a_refusal_is_passed_on_if_no_other_provider_has_capacity(lane: bool) -> None:
    """The retry was decided, but the second provider has reached its rate limit."""
    async with origin(serve(busy(status=b"503 Busy"))) as first, origin(once(AGREED)) as second:
        limited = {"url": second.url, "rate_limit": {"requests_per_second": 0.001, "burst_size": 1}}
        target = {"strategy": "priority", "fallback": ON, "providers": [{"url": first.url}, limited]}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            agreed = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
            refused = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert agreed.status == 101
    assert (refused.status, refused.body) == (503, b'{"error":{"message":"busy"}}')
    assert gateway.lines()[1]["provider"] == f"127.0.0.1:{first.port}"


async def test_of_a_truncated_refusal_the_head_is_kept(lane: bool) -> None:
    """As of any error that is discarded for another attempt."""
    truncated = b"HTTP/1.1 503 Busy\r\nX-Request-Id: 7\r\nContent-Length: 999\r\n\r\npart"
    async with origin(once(truncated)) as first, origin(once(b"")) as second:
        async with running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert (response.status, response.whole, response.value(b"x-request-id")) == (503, True, b"7")
    assert response.error["code"] == "bad_gateway"
    assert len(second.requests) == 1


async def test_an_empty_retry_budget_ends_the_attempts_at_a_handshake(lane: bool) -> None:
    """After a reserve of ten, the client gets the first refusal, with the field that prevents further retries."""
    options = {"fallback": {**ON, "retry_budget": {"ratio": 0, "min_per_second": 0}}, "ejection": {"enabled": False}}
    async with origin(serve(busy(status=b"503 Busy"))) as first, origin(serve(busy())) as second:
        async with running(pool(first.url, second.url, **options), lane=lane) as gateway:
            responses = [await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE)) for _ in range(11)]
    assert [response.status for response in responses] == [429] * 10 + [503]
    assert responses[-1].value(b"x-should-retry") == b"false"


async def test_failing_handshakes_eject_a_provider(lane: bool) -> None:
    """A 5xx response to a handshake is a failure."""
    async with origin(serve(busy(status=b"500 Oops"))) as first, origin(once(AGREED)) as second:
        targets = pool(first.url, second.url, fallback=ON, ejection={"consecutive_failures": 2})
        async with running(targets, lane=lane) as gateway:
            for _ in range(4):
                await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert [len(first.requests), len(second.requests)] == [2, 4]
