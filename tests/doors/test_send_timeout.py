"""Clients that do not read: the bytes that wait for them are bounded, and so is the time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from math import inf
from typing import cast

import pytest
from support.gateway import Gateway, free_socket, running
from support.origin import LAST_CHUNK, STREAM_HEAD, Origin, Peer, Script, answer, chunk, origin, serve
from support.program import until
from support.raw import Client, End, connect, get, post

from onwards_py.config.parse import parse
from onwards_py.doors.base import WRITE_BUFFER
from onwards_py.doors.send_timeout import SendTimeout

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
SMALL = 16 * 1024  # of what the kernels on both sides keep, so that little has to be sent
ANSWER = 12 * 1024
PIECE = 128 * 1024  # larger than a segment, or the kernels would wait for each other


def listener() -> socket.socket:
    listening = free_socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)  # those that are accepted inherit it
    return listening


@asynccontextmanager
async def served(script: Script, *, lane: bool, server: str = "") -> AsyncIterator[tuple[Gateway, Origin]]:
    async with origin(script) as upstream:
        text = f"server: {{{server}}}\ntargets: {{m: {{url: '{upstream.url}'}}}}"
        async with running(parse(text, "targets.yaml", {}).snapshot, lane=lane, listener=listener()) as gateway:
            yield gateway, upstream


def reluctant(gateway: Gateway) -> AbstractAsyncContextManager[Client]:
    """A client whose socket buffers are very small."""
    return connect(gateway.port, buffer=1024, window=SMALL)


def transport(gateway: Gateway) -> asyncio.Transport:
    """The transport of the only connection."""
    application = gateway.application
    connections = [*(application._lane.connections if application._lane else ()), *application._door.connections]
    (connection,) = connections
    return connection._transport if hasattr(connection, "_transport") else connection._wire  # type: ignore[no-any-return]


def is_full(gateway: Gateway) -> bool:
    """Whether the send buffer is above its limit; only the client can change that."""
    return not gateway.application.proxy.in_flight and transport(gateway).get_write_buffer_size() > WRITE_BUFFER


@BOTH
async def test_pipelined_requests_wait_until_earlier_responses_are_read(lane: bool) -> None:
    """If no responses are read, few requests are served. When the client reads, all are served in order."""
    count = 300

    async def padded(peer: Peer) -> None:
        while True:
            request = await peer.request()
            await peer.send(answer(request.target.ljust(ANSWER)))

    async with served(padded, lane=lane) as (gateway, upstream), reluctant(gateway) as client:
        sending = asyncio.ensure_future(client.send(b"".join(post(target=b"/%d" % n) for n in range(count))))
        await until(lambda: upstream.requests and is_full(gateway))
        assert len(upstream.requests) < 30
        assert transport(gateway).get_write_buffer_size() < WRITE_BUFFER + 2 * ANSWER
        for n in range(count):
            assert (await client.response()).body.strip() == b"/%d" % n
        await sending


@BOTH
async def test_the_proxys_own_responses_wait_for_the_client(lane: bool) -> None:
    """They need no provider, so only the client can delay them."""
    count = 3000
    async with served(serve(), lane=lane) as (gateway, _), reluctant(gateway) as client:
        sending = asyncio.ensure_future(client.send(post(b'{"model":"nobody"}') * count))
        await until(lambda: gateway.application._load.connections and is_full(gateway))
        assert transport(gateway).get_write_buffer_size() < 2 * WRITE_BUFFER
        for _ in range(count):
            assert (await client.response()).status == 404
        await sending


async def flood(peer: Peer) -> None:
    """A stream without end."""
    await peer.request()
    await peer.send(STREAM_HEAD)
    peer.write(chunk(b"data: x\n\n") * 100_000)
    await peer.gone()


async def closed(gateway: Gateway) -> None:
    await until(lambda: not gateway.application._load.connections)


SHORT = "send_timeout: 200ms, keepalive_timeout: 60s"


@BOTH
async def test_a_client_that_does_not_read_a_stream_is_cut(lane: bool) -> None:
    """The provider's connection is closed, too, and the log names the client as the cause."""
    ended = asyncio.Event()

    async def told(peer: Peer) -> None:
        await flood(peer)
        ended.set()

    async with served(told, lane=lane, server=SHORT) as (gateway, _), reluctant(gateway) as client:
        await client.send(post())
        await closed(gateway)
        async with asyncio.timeout(5):
            await ended.wait()
    assert [line["outcome"] for line in gateway.lines()] == ["client_gone_streaming"]


LARGE = answer(b"x" * 200_000)
HANDSHAKE = get(
    b"/v1/realtime?model=m",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n"
    % (b"A" * 22 + b"=="),
)
SENT = {
    "kept": (post(), b""),
    "closing": (post(fields=b"Connection: close\r\n"), b""),
    "HTTP/1.0": (b'POST /v1/x HTTP/1.0\r\nContent-Length: 13\r\n\r\n{"model":"m"}', b""),
    "more requests": (post(), post() * 20),
    "half a request": (post(), post()[:-5]),
    "a refusal": (post(), b"BREW / HTTP/1.1\r\n\r\n"),
    "an upgrade": (post(), HANDSHAKE),
}


@BOTH
@pytest.mark.parametrize(("first", "then"), SENT.values(), ids=SENT.keys())
async def test_a_client_that_does_not_read_is_cut_after_the_exchange(lane: bool, first: bytes, then: bytes) -> None:
    """Otherwise the close would wait for the client for ever and count against max_connections."""
    async with served(serve(LARGE), lane=lane, server=SHORT) as (gateway, upstream), reluctant(gateway) as client:
        await client.send(first)
        await upstream.seen(1)
        await client.send(then)
        await closed(gateway)
    assert gateway.lines()[0]["status"] == 200


@BOTH
async def test_a_response_without_framing_is_reset_when_its_client_reads_nothing(lane: bool) -> None:
    """For HTTP/1.0, a close would be the regular end of the response."""
    large = STREAM_HEAD + chunk(b"data: " + b"x" * 200_000 + b"\n\n") + LAST_CHUNK
    async with served(serve(large), lane=lane, server=SHORT) as (gateway, _), reluctant(gateway) as client:
        await client.send(SENT["HTTP/1.0"][0])
        await until(lambda: gateway.application._load.connections)
        await closed(gateway)
        assert (await client.response()).end is End.RESET


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@BOTH
async def test_a_client_that_does_not_read_a_tunnel_is_cut(lane: bool) -> None:
    """Until then its provider is paused, even if its first bytes came with the handshake."""
    sizes: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(SWITCHING + b"x" * 20_000_000)
        await peer.gone()

    async with served(script, lane=lane, server=SHORT) as (gateway, _), reluctant(gateway) as client:
        await client.send(HANDSHAKE)
        await until(lambda: gateway.application.proxy.in_flight)
        wire = transport(gateway)
        await until(lambda: sizes.append(wire.get_write_buffer_size()) or not gateway.application._load.connections)  # type: ignore[func-returns-value]
        assert WRITE_BUFFER < max(sizes) < 1_000_000
    assert [line["outcome"] for line in gateway.lines()] == ["client_gone_streaming"]


@BOTH
async def test_a_client_that_does_not_read_is_cut_after_its_tunnel(lane: bool) -> None:
    """The provider has closed, and its bytes wait for the client. The connection counts until it is closed."""
    wires: list[asyncio.Transport] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCHING)
        await until(lambda: wires)
        while not wires[0].get_write_buffer_size():  # so much, and not enough to hold the provider back
            await peer.send(b"x" * 1000)
            await asyncio.sleep(0.001)

    async with served(script, lane=lane, server=SHORT) as (gateway, _), reluctant(gateway) as client:
        await client.send(HANDSHAKE)
        await until(lambda: gateway.application.proxy.in_flight)
        wires.append(transport(gateway))
        await until(lambda: not gateway.application.proxy.in_flight)
        assert gateway.application._load.connections == 1
        await closed(gateway)
        assert wires[0].is_closing()
    assert [line["outcome"] for line in gateway.lines()] == ["done"]


class Waiting(asyncio.Transport):
    """A transport of which only the buffer size is used."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def get_write_buffer_size(self) -> int:
        return self.size


def test_the_timeout_runs_only_without_progress() -> None:
    """As with nginx's send_timeout, it bounds the time between two steps of progress, not the whole response."""
    transport, sending = Waiting(), SendTimeout()
    for now, size, again in [
        (0, 0, inf),
        (100, 5000, 100.6),
        (159, 5000, 159.6),
        (159.8, 5000, 160.3),
        (159.9, 4999, 160.5),
        (219, 4999, 219.6),
        (219.9, 4999, 219.9),
        (221, 0, inf),
        (400, 4999, 400.6),
    ]:
        transport.size = size
        assert sending.check(transport, now, 60) == pytest.approx(again), now


async def test_a_slow_reader_is_not_cut() -> None:
    """Bytes that its kernel acknowledges are progress, even while the proxy's own buffer does not shrink."""
    sending = SendTimeout()
    accepted: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.put_nowait(cast(asyncio.Transport, transport))

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, sock=free_socket())
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
    client.connect(server.sockets[0].getsockname())
    client.setblocking(False)
    transport = await accepted.get()
    transport.write(b"x" * 20_000_000)
    await loop.sock_recv(client, 1)
    waiting, now = transport.get_write_buffer_size(), 0.0

    def goes_on(now: float) -> bool:
        return sending.check(transport, now, 60) > now

    assert sending.check(transport, now, 60) > now
    for _ in range(5):  # takes some bytes, and is then as slow as may be
        taken = 0
        while taken < PIECE:
            taken += len(await loop.sock_recv(client, PIECE))
        now += 1000
        await until(partial(goes_on, now))
    assert transport.get_write_buffer_size() == waiting, "the test would show nothing"
    client.close()
    server.close()
    transport.abort()
