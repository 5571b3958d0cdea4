"""Slow clients (slowloris): each part of a request has a deadline, and single bytes do not extend it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from support.gateway import running
from support.origin import Peer, answer, origin, serve
from support.raw import CAP, Client, End, Response, connect, post
from support.targets import single_with

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"


async def drip(client: Client, piece: bytes) -> Response:
    """Send ``piece`` every few milliseconds until a response arrives."""
    response = asyncio.ensure_future(client.response())
    with suppress(ConnectionError):
        async with asyncio.timeout(CAP):
            while not response.done():
                await client.send(piece)
                await asyncio.wait([response], timeout=0.01)
    return await response


@BOTH
@pytest.mark.parametrize("start", [b"P", b"POST /v1/x HTTP/1.1\r\n", HEAD + b"X: y"])
async def test_an_incomplete_head_times_out(lane: bool, start: bytes) -> None:
    """After header_timeout the client gets 408 (RFC 9110 section 15.5.9), and the connection is closed."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "header_timeout: 150ms"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(start)
        response = await client.response()
        assert (response.status, response.value(b"connection")) == (408, b"close")
        assert await client.closed() is End.CLOSED


@BOTH
async def test_a_dripping_head_times_out(lane: bool) -> None:
    """The deadline is for the complete head; single bytes do not extend it."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "header_timeout: 150ms"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(HEAD + b"X: ")
        assert (await drip(client, b"x")).status == 408


@BOTH
async def test_a_second_head_has_its_own_deadline(lane: bool) -> None:
    """It holds on a reused connection, too, and begins with the first byte of the head."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "header_timeout: 150ms"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(post())
        assert (await client.response()).status == 200
        await client.send(HEAD)
        assert (await client.response()).status == 408


@BOTH
@pytest.mark.parametrize("framing", [b"Content-Length: 50\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
async def test_an_incomplete_body_times_out(lane: bool, framing: bytes) -> None:
    """After body_timeout the client gets 408, and no provider gets the request."""
    async with origin(serve()) as upstream:
        config = single_with(upstream.url, "body_timeout: 150ms")
        async with running(config, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(HEAD + framing)
            response = await client.response()
            assert (response.status, response.value(b"connection")) == (408, b"close")
            assert response.error["code"] == "request_timeout"
        assert upstream.requests == []
        assert gateway.application._load.buffered == 0


@BOTH
async def test_a_dripping_body_times_out(lane: bool) -> None:
    """Single bytes do not extend the deadline."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "body_timeout: 150ms"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(HEAD + b"Content-Length: 100000\r\n\r\n")
        assert (await drip(client, b"x")).status == 408


@BOTH
async def test_a_fast_upload_extends_the_deadline(lane: bool) -> None:
    """Each 16 KiB extend it by a second, so that a large body may take longer than body_timeout."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "body_timeout: 200ms"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        body = b'{"model":"m"}'.ljust(200_000)
        await client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:-1])
        await asyncio.sleep(0.5)  # longer than body_timeout, and than it takes to notice
        await client.send(body[-1:])
        assert (await client.response()).status == 200


@BOTH
async def test_client_deadlines_do_not_run_during_the_answer(lane: bool) -> None:
    """No client deadline runs while the provider works."""

    async def slow(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.3)  # longer than any patience with the client
        await peer.send(answer())

    async with origin(slow) as upstream:
        config = single_with(upstream.url, "header_timeout: 50ms, body_timeout: 50ms, keepalive_timeout: 50ms")
        async with running(config, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(post())
            assert (await client.response()).status == 200


@BOTH
async def test_a_connection_without_a_first_byte_is_closed(lane: bool) -> None:
    """It counts as idle, like a connection between requests."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "keepalive_timeout: 150ms, header_timeout: 150ms"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        assert await client.closed() is End.CLOSED
