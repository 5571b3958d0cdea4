"""A client disconnects, at any stage: its work stops, and no resources stay in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from support.gateway import Gateway, running
from support.origin import STREAM_HEAD, Origin, Peer, Script, chunk, origin, serve
from support.raw import CAP, Client, ask, connect, post
from support.targets import single

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
LEAVE = pytest.mark.parametrize("leave", [Client.fin, Client.half_close, Client.rst], ids=["FIN", "half-closed", "RST"])
HEAD = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"


class Held:
    """A provider that takes a request and never answers; ``cancelled`` is set when the gateway closes the
    connection."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        self.cancelled.set()

    async def given_up(self) -> None:
        async with asyncio.timeout(CAP):
            await self.cancelled.wait()


@asynccontextmanager
async def served_by(script: Script, *, lane: bool) -> AsyncIterator[tuple[Gateway, Origin]]:
    async with origin(script) as upstream:
        config = single(upstream.url)
        async with running(config, lane=lane) as gateway:
            yield gateway, upstream
            await empty(gateway)


async def empty(gateway: Gateway) -> None:
    """Wait until no connection is open and no body is in memory."""
    gauges = gateway.application._load
    async with asyncio.timeout(CAP):
        while gauges.connections or gauges.buffered:  # noqa: ASYNC110  (a gauge is no event)
            await asyncio.sleep(0)


async def endless(peer: Peer) -> None:
    """Events until the gateway disconnects."""
    await peer.request()
    await peer.send(STREAM_HEAD)
    try:
        async with asyncio.timeout(CAP):
            while True:
                await peer.send(chunk(b"data: x\n\n"))
                await asyncio.sleep(0)
    except ConnectionError:
        return


@BOTH
@LEAVE
async def test_a_disconnect_before_the_answer_closes_the_upstream_connection(
    lane: bool, leave: Callable[[Client], None]
) -> None:
    """It happens before the first byte of the response. A half-closed connection counts as disconnected."""
    held = Held()
    async with served_by(held, lane=lane) as (gateway, upstream), connect(gateway.port) as client:
        await client.send(post())
        await upstream.seen(1)
        leave(client)
        await held.given_up()
    assert [line["outcome"] for line in gateway.lines()] == ["client_gone_waiting"]


@BOTH
@LEAVE
async def test_a_disconnect_within_a_stream_closes_the_upstream_connection(
    lane: bool, leave: Callable[[Client], None]
) -> None:
    """It happens after the commit."""
    async with served_by(endless, lane=lane) as (gateway, _), connect(gateway.port) as client:
        await client.send(post())
        response = await client.head()
        await client.chunk(response)
        leave(client)
        await empty(gateway)
    assert [line["outcome"] for line in gateway.lines()] == ["client_gone_streaming"]


@BOTH
@LEAVE
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"P",
        b"POST /v1",
        HEAD,
        HEAD + b"Content-Length: 13\r\n\r\n",
        HEAD + b'Content-Length: 13\r\n\r\n{"model"',
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 13\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
    ],
)
async def test_a_disconnect_within_a_request_frees_its_resources(
    lane: bool, leave: Callable[[Client], None], sent: bytes
) -> None:
    """No provider gets the incomplete request, and other clients are served."""
    async with served_by(serve(), lane=lane) as (gateway, upstream):
        async with connect(gateway.port) as client:
            await client.send(*([sent] if sent else []))
            leave(client)
        await empty(gateway)
        assert upstream.requests == []
        assert (await ask(gateway.port, post())).status == 200


@BOTH
@LEAVE
async def test_a_disconnect_drops_queued_requests(lane: bool, leave: Callable[[Client], None]) -> None:
    """The pipelined requests of the client are not sent, and their memory is released."""
    held = Held()
    async with served_by(held, lane=lane) as (gateway, upstream):
        async with connect(gateway.port) as client:
            await client.send(post(b'{"model":"m"}'.ljust(5000)) * 5)
            await upstream.seen(1)
            leave(client)
            await held.given_up()
        await empty(gateway)
        assert len(upstream.requests) == 1


@BOTH
async def test_a_disconnect_between_requests_is_not_logged(lane: bool) -> None:
    """The earlier exchanges are complete, and no further line is logged."""
    async with served_by(serve(), lane=lane) as (gateway, _), connect(gateway.port) as client:
        for _ in range(3):
            await client.send(post())
            assert (await client.response()).status == 200
        client.rst()
    assert [line["outcome"] for line in gateway.lines()] == ["done"] * 3


@BOTH
async def test_many_disconnects_at_any_moment(lane: bool) -> None:
    """Each of a hundred clients disconnects after another number of bytes of the same two requests."""
    async with served_by(serve(), lane=lane) as (gateway, _):
        raw = post() + post(fields=b"Connection: close\r\n")
        for count in range(0, len(raw), max(1, len(raw) // 100)):
            async with connect(gateway.port) as client:
                await client.send(raw[:count])
                client.rst()
        await empty(gateway)
        assert (await ask(gateway.port, post())).status == 200
