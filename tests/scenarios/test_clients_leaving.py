"""A client disconnects, at any stage: its work stops, and no resources stay in use."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
from support.gateway import Gateway, running
from support.origin import STREAM_HEAD, Peer, answer, chunk, origin, silent, watched
from support.raw import Client, ask, connect, get, post
from support.scene import proxied, until
from support.targets import pool, single

LEAVINGS: dict[str, Callable[[Client], None]] = {
    "FIN": Client.fin,
    "RST": Client.rst,
    "half close, as nginx and Envoy take it": Client.half_close,
}


async def no_connections(gateway: Gateway) -> None:
    """Wait until the gateway has noticed that all its clients are gone."""
    async with asyncio.timeout(5):
        while b"\nonwards_connections 0.0\n" not in (await ask(gateway.admin_port, get(b"/metrics"))).body:
            pass


@pytest.mark.parametrize("how", LEAVINGS)
async def test_a_disconnect_before_the_head_closes_the_upstream_connection(lane: bool, how: str) -> None:
    """The model does not go on computing, even if it has not yet sent a byte."""
    closed = asyncio.Event()
    async with proxied(lane, watched(b"", closed)) as (upstream, gateway), connect(gateway.port) as client:
        await client.send(post())
        await upstream.seen(1)
        LEAVINGS[how](client)
        await asyncio.wait_for(closed.wait(), 5)
    (line,) = gateway.lines()
    assert (line["outcome"], line["status"]) == ("client_gone_waiting", 0)


@pytest.mark.parametrize("how", LEAVINGS)
async def test_a_disconnect_within_a_stream_closes_the_upstream_connection(lane: bool, how: str) -> None:
    """The stream is silent, so no write can fail; only the client's FIN or RST shows the disconnect."""
    closed = asyncio.Event()
    script = watched(STREAM_HEAD + chunk(b"data: 1\n\n"), closed)
    async with proxied(lane, script) as (_, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.head()
        await client.chunk(response)
        LEAVINGS[how](client)
        await asyncio.wait_for(closed.wait(), 5)
    (line,) = gateway.lines()
    assert (line["outcome"], line["status"], line["bytes_out"]) == ("client_gone_streaming", 200, 9)


async def test_a_disconnect_is_noticed_while_the_provider_is_paused(lane: bool) -> None:
    """Backpressure does not delay the detection of a disconnect."""
    closed = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 1024 * 1024)

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(head + b"x" * (64 * 1024 * 1024))
        await peer.gone()
        closed.set()

    async with proxied(lane, script) as (upstream, gateway), connect(gateway.port, buffer=8192) as client:
        await client.send(post())
        await client.head()
        await upstream.seen(1)
        for _ in range(20):
            await ask(gateway.port, post(b'{"model":"nothing"}'))
        client.rst()
        await asyncio.wait_for(closed.wait(), 5)
    assert gateway.lines()[-1]["outcome"] == "client_gone_streaming"


async def test_a_disconnect_ends_a_connection_attempt(lane: bool) -> None:
    """The provider drops SYNs. The wait ends when the client disconnects, not after timeouts.connect."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            running(single(url, timeouts={"connect": "60s"}), lane=lane) as gateway,
            connect(gateway.port) as client,
        ):
            await client.send(post())
            await until(lambda: gateway.held_permits() == 2)
            client.fin()
        for filler in fillers:
            filler.close()
    assert [line["outcome"] for line in gateway.lines()] == ["client_gone_waiting"]


async def test_a_disconnect_does_not_start_another_attempt(lane: bool) -> None:
    """A client that disconnects during the first attempt is not a failure of the provider."""
    async with origin(silent) as first, origin() as second:
        fallback = {"enabled": True, "retry_sent": True, "max_attempts": 4}
        async with running(pool(first.url, second.url, fallback=fallback), lane=lane) as gateway:
            async with connect(gateway.port) as client:
                await client.send(post())
                await first.seen(1)
            await until(lambda: gateway.held_permits() == 0)
    assert not second.peers
    assert [line["attempts"] for line in gateway.lines()] == [1]


async def test_a_disconnect_drops_pipelined_requests(lane: bool) -> None:
    """The requests that waited behind the first one are never sent."""
    async with proxied(lane, silent) as (upstream, gateway):
        async with connect(gateway.port) as client:
            await client.send(post() * 3)
            await upstream.seen(1)
        await until(lambda: gateway.held_permits() == 0)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize(
    "begun",
    [
        b"POST /v1/x HTTP/1.1\r\nHost: gw\r\nContent-Length: 100\r\n\r\n" + b'{"model":',
        b'POST /v1/x HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"mod',
        b"POST /v1/x HTTP/1.1\r\nHost: gw\r\nContent-Len",
    ],
    ids=["with a length", "chunked", "in its head"],
)
async def test_an_incomplete_upload_is_not_forwarded(lane: bool, begun: bytes, how: str) -> None:
    """No provider gets a request, no response is sent, and logs and metrics do not count a 413."""
    async with proxied(lane) as (upstream, gateway), connect(gateway.port) as client:
        await client.send(begun)
        await ask(gateway.port, post())  # by now the gateway has read what was sent
        LEAVINGS[how](client)
        await until(lambda: gateway.application._load.connections == 0)
    assert len(upstream.requests) == 1
    assert all(line["status"] != 413 and line["code"] != "payload_too_large" for line in gateway.lines())
    assert client.raw == b""


async def test_one_that_leaves_does_not_disturb_the_others(lane: bool) -> None:
    """Twenty clients send requests. Every second one disconnects before its response; the others get theirs."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        await release.wait()
        await peer.send(answer(request.values(b"x-id")[0]))

    async with proxied(lane, script) as (upstream, gateway):

        async def call(number: int) -> bytes:
            async with connect(gateway.port) as client:
                await client.send(post(fields=b"X-Id: %d\r\n" % number))
                await upstream.seen(20)
                if number % 2:
                    return b""
                release.set()
                return (await client.response()).body

        bodies = await asyncio.gather(*map(call, range(20)))
    assert bodies == [b"" if number % 2 else b"%d" % number for number in range(20)]
