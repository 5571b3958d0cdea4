"""Connections with many requests: in order, with a bounded queue, and closed when they are idle."""

from __future__ import annotations

import asyncio

import pytest
from support.gateway import running
from support.origin import Peer, Script, answer, origin, serve
from support.raw import CAP, Client, End, connect, get, post
from support.targets import single, single_with

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])


async def echo_target(peer: Peer) -> None:
    """Answer each request with its own target."""
    while True:
        request = await peer.request()
        await peer.send(answer(request.target))


async def all_bytes(client: Client, count: int) -> list[bytes]:
    """The bodies of this many responses, each with status 200."""
    bodies = []
    for _ in range(count):
        response = await client.response()
        assert response.status == 200
        bodies.append(response.body)
    return bodies


@BOTH
async def test_a_connection_serves_request_after_request(lane: bool) -> None:
    """RFC 9112 section 9.3: a connection persists unless one side sends close. One upstream connection is enough."""
    async with origin(echo_target) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            for n in range(20):
                await client.send(post(target=b"/%d" % n))
                assert (await client.response()).body == b"/%d" % n
        assert len(upstream.peers) == 1


@BOTH
async def test_pipelined_requests_are_answered_in_order(lane: bool) -> None:
    """RFC 9112 section 9.3.2: of a thousand requests in one write, no response is lost, doubled or out of order."""
    targets = [b"/%d" % n for n in range(1000)]
    async with origin(echo_target) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            sending = asyncio.ensure_future(client.send(b"".join(post(target=target) for target in targets)))
            assert await all_bytes(client, 1000) == targets
            await sending
        assert [request.target for request in upstream.requests] == targets


@BOTH
async def test_the_proxys_own_responses_keep_their_place_among_pipelined_ones(lane: bool) -> None:
    """Responses that need no provider are ready at once, but wait for the earlier ones."""
    async with origin(echo_target) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(
                post(target=b"/1") + get(b"/v1/models") + post(b'{"model":"nobody"}') + post(target=b"/4")
            )
            got = [await client.response() for _ in range(4)]
        assert [response.status for response in got] == [200, 200, 404, 200]
        assert (got[0].body, got[3].body) == (b"/1", b"/4")


def held_until(release: asyncio.Event) -> Script:
    """A provider whose first response waits for ``release``; later ones come at once."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(answer(b"first"))
        await serve(answer(b"later"))(peer)

    return script


@BOTH
async def test_a_pipelining_client_is_not_read_beyond_the_queue(lane: bool) -> None:
    """Before the first response, a few requests wait in the proxy and the rest in the client."""
    release = asyncio.Event()

    async with (
        origin(held_until(release)) as upstream,
        running(single_with(upstream.url, "max_pipelined: 4"), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        padded = post(b'{"model":"m","padding":"' + b"p" * 60_000 + b'"}')
        sending = asyncio.ensure_future(client.send(*[padded] * 400))
        await upstream.seen(1)
        async with asyncio.timeout(CAP):
            while not await is_stuck(client):
                pass
        assert not sending.done(), "24 MB were taken in for a client that reads nothing"
        release.set()
        assert await all_bytes(client, 400) == [b"first"] + [b"later"] * 399
        await sending


@BOTH
async def test_of_many_requests_in_one_read_only_a_few_are_parsed(lane: bool) -> None:
    """A parsed request takes ten times its bytes in memory, so the rest waits as bytes."""
    release = asyncio.Event()

    async with (
        origin(held_until(release)) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(post() * 1500)
        await upstream.seen(1)
        application = gateway.application
        if application._lane is not None:
            (on_lane,) = application._lane.connections
            assert on_lane._parser is not None
            assert len(on_lane._parser.ready) <= 16
        else:
            (connection,) = application._door.connections
            assert len(connection._messages) <= 32
        release.set()
        assert await all_bytes(client, 1500) == [b"first"] + [b"later"] * 1499


async def is_stuck(client: Client) -> bool:
    """Whether the gateway has stopped reading: the test's own send buffer does not shrink over some turns."""
    transport = client._writer.transport
    before = transport.get_write_buffer_size()
    for _ in range(200):
        await asyncio.sleep(0)
    return 0 < before == transport.get_write_buffer_size()


@BOTH
async def test_http_1_0_closes_without_keep_alive(lane: bool) -> None:
    """RFC 9112 section 9.3."""
    old = b'POST /v1/x HTTP/1.0\r\n%bContent-Length: 13\r\n\r\n{"model":"m"}'
    async with (
        origin(serve()) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(old % b"Connection: keep-alive\r\n")
        assert (await client.response()).value(b"connection") == b"keep-alive"
        await client.send(old % b"")
        assert (await client.response()).value(b"connection") == b"close"
        assert await client.closed() is End.CLOSED


@BOTH
async def test_requests_after_connection_close_are_not_served(lane: bool) -> None:
    """RFC 9112 section 9.6: requests after the one with close are not processed."""
    first, second = post(fields=b"Connection: close\r\n"), post(target=b"/late")
    async with origin(serve()) as upstream, running(single(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(first + second)
            assert (await client.response()).status == 200
            assert await client.closed() in ([End.CLOSED] if lane else [End.CLOSED, End.RESET])
        assert len(upstream.requests) == 1


@BOTH
async def test_an_idle_connection_is_closed_after_its_time(lane: bool) -> None:
    """After keepalive_timeout the connection is closed without a response."""
    async with origin(serve()) as upstream:
        config = single_with(upstream.url, "keepalive_timeout: 100ms")
        async with running(config, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(post())
            assert (await client.response()).status == 200
            assert await client.closed() is End.CLOSED


@BOTH
async def test_a_connection_above_max_connections_gets_503(lane: bool) -> None:
    """It gets 503 at once instead of waiting. After a disconnect a new connection is accepted."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "max_connections: 2"), lane=lane) as gateway,
    ):
        async with connect(gateway.port) as first, connect(gateway.port) as second:
            for client in (first, second):
                await client.send(post())
                assert (await client.response()).status == 200
            async with connect(gateway.port) as third:
                response = await third.response()
                assert (response.status, response.value(b"connection")) == (503, b"close")
                assert response.error["code"] == "overloaded"
                assert await third.closed() in (End.CLOSED, End.RESET)
            await first.send(post())
            assert (await first.response()).status == 200
        async with asyncio.timeout(CAP):
            while not await is_served(gateway.port):
                pass


async def is_served(port: int) -> bool:
    async with connect(port) as client:
        await client.send(post())
        return (await client.response()).status == 200


@BOTH
async def test_a_refused_connection_that_sends_first_is_not_counted(lane: bool) -> None:
    """A hundred refused connections do not change the count."""
    async with (
        origin(serve()) as upstream,
        running(single_with(upstream.url, "max_connections: 1"), lane=lane) as gateway,
        connect(gateway.port) as first,
    ):
        await first.send(post())
        await first.response()
        for _ in range(100):
            async with connect(gateway.port) as other:
                assert (await other.response()).status == 503
        await first.send(post())
        assert (await first.response()).status == 200
