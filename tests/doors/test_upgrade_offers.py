"""Upgrades to protocols other than WebSocket are ignored (RFC 9110 section 7.8): the request is plain HTTP/1.1."""

from __future__ import annotations

import pytest
from support.gateway import running
from support.origin import origin, serve
from support.raw import End, connect, get, post
from support.targets import single

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
CHUNKED = (
    b'POST /v1/x HTTP/1.1\r\nHost: h\r\n%bX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{"model":"m"}\r\n0\r\n\r\n'
)
OVERRIDE = b"Model-Override: m\r\n"


OFFERS = [
    ("h2c with a body", post(fields=H2C + b"X-A: 1\r\n"), b'{"model":"m"}'),
    ("h2c without a body", get(b"/v1/x", H2C + OVERRIDE + b"X-A: 1\r\n"), b""),
    ("h2c with chunks", CHUNKED % H2C, b'{"model":"m"}'),
    ("TLS upgrade", post(fields=b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\nX-A: 1\r\n"), b'{"model":"m"}'),
    ("several", post(fields=b"Upgrade: foo/1, bar\r\nConnection: Upgrade\r\nX-A: 1\r\n"), b'{"model":"m"}'),
    ("not nominated", post(fields=b"Upgrade: h2c\r\nX-A: 1\r\n"), b'{"model":"m"}'),
    ("nominated but not there", post(fields=b"Connection: upgrade\r\nX-A: 1\r\n"), b'{"model":"m"}'),
    ("WebSocket with POST", post(fields=b"Connection: upgrade\r\nUpgrade: websocket\r\nX-A: 1\r\n"), b'{"model":"m"}'),
]


@BOTH
@pytest.mark.parametrize(("name", "raw", "body"), OFFERS, ids=[name for name, _, _ in OFFERS])
async def test_an_offer_to_upgrade_is_ignored(lane: bool, name: str, raw: bytes, body: bytes) -> None:
    """The request is served as HTTP/1.1 with its complete body and without the offer, and so is the next one.
    aiohttp's parser stops after such a head, so its door may close the connection if it sends close."""
    async with origin(serve()) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(raw + post(target=b"/next"))
            response = await client.response()
            assert response.status == 200
            if lane or response.value(b"connection") != b"close":
                assert (await client.response()).status == 200
        first = upstream.requests[0]
        assert (first.body, first.values(b"x-a")) == (body, [b"1"])
        for field in (b"upgrade", b"connection", b"http2-settings"):
            assert first.values(field) == []
        assert [later.target for later in upstream.requests[1:]] == [b"/next"] * (len(upstream.requests) - 1)


@BOTH
@pytest.mark.parametrize("order", [b"Upgrade, close, X-A", b"x-a,close,upgrade", b"Upgrade\r\nConnection: Close, X-A"])
async def test_other_options_of_connection_count_beside_an_offer(lane: bool, order: bytes) -> None:
    """The connection is closed as requested, and a nominated field is not forwarded."""
    raw = post(fields=b"Connection: " + order + b"\r\nUpgrade: h2c\r\nX-A: 1\r\n")
    async with origin(serve()) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(raw)
            response = await client.response()
            assert (response.status, response.value(b"connection")) == (200, b"close")
            assert await client.closed() is End.CLOSED
        assert upstream.last.values(b"x-a") == []


HANDSHAKE = get(
    b"/v1/realtime?model=m",
    b"Connection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n"
    % (b"A" * 22 + b"=="),
)


@BOTH
@pytest.mark.parametrize("body", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
@pytest.mark.parametrize("sent", [True, False], ids=["with its body", "without its body"])
async def test_a_handshake_with_a_body_is_refused(lane: bool, body: bytes, sent: bool) -> None:
    """Its head decides, without a wait for the body: it is not a handshake (RFC 6455 section 4.1)."""
    head, _, rest = (HANDSHAKE[:-2] + body).partition(b"\r\n\r\n")
    async with origin(serve()) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(head + b"\r\n\r\n" + (rest if sent else b""))
            response = await client.response()
            assert (response.status, response.value(b"connection")) == (400, b"close")
        assert upstream.requests == []


@BOTH
async def test_a_handshake_with_content_length_zero_is_accepted(lane: bool) -> None:
    """Content-Length: 0 means no body."""
    async with origin(serve()) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(HANDSHAKE[:-2] + b"Content-Length: 0\r\n\r\n")
            assert (await client.response()).status == 200
        assert upstream.last.values(b"upgrade") == [b"websocket"]


@BOTH
@pytest.mark.parametrize(("name", "raw", "body"), OFFERS, ids=[name for name, _, _ in OFFERS])
async def test_an_offer_to_upgrade_in_single_bytes(lane: bool, name: str, raw: bytes, body: bytes) -> None:
    """The result is the same, however the bytes are split."""
    async with origin(serve()) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(*(raw[n : n + 1] for n in range(len(raw))))
            assert (await client.response()).status == 200
        assert [request.body for request in upstream.requests] == [body]
