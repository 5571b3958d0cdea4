"""Fault catalogue E: clients that are slow, greedy, or many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, Script, answer, chunk, serve, streaming
from support.raw import Client, End, ask, connect, post
from support.scene import until

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n"
SLOW = {"header_timeout": "200ms", "body_timeout": "200ms"}
TIMED_OUT = Told(408, "refused", "request_timeout", 0)
GONE = Told(200, "client_gone_streaming")
MEBIBYTE = 1024 * 1024
CASES = Table()


def slow(number: str, name: str, begun: bytes, drip: bytes) -> Case:
    """A request that does not come to its end, however often a little of it comes."""

    async def play(stage: Stage) -> list[Told]:
        upstream = await stage.single(server=SLOW)
        async with connect(stage.port) as client:
            await client.send(begun)
            response = asyncio.ensure_future(client.response())
            while drip and not response.done():
                try:
                    await client.send(drip)
                except ConnectionError:
                    break
                await asyncio.wait([response], timeout=0.01)
            assert (await response).status == 408
            assert (await response).value(b"connection") == b"close"
        assert not upstream.peers
        return [TIMED_OUT]

    return Case(number, name, play)


CASES += [
    slow("E92", "a head that stops", HEAD, b""),
    slow("E92", "a head that drips", HEAD + b"X: ", b"x"),
    slow("E93", "a body that stops", HEAD + b"Content-Length: 50\r\n\r\n{", b""),
    slow("E93", "a body that drips", HEAD + b"Content-Length: 5000000\r\n\r\n", b"x"),
    slow("E93", "a chunked body that stops", HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b""),
]


def endless(ready: list[Peer], head: bytes, piece: bytes) -> Script:
    """An answer of 64 MiB, all of it in front of the gateway at once."""

    async def script(peer: Peer) -> None:
        await peer.request()
        ready.append(peer)
        peer.write(head + piece * (64 * MEBIBYTE // len(piece)))
        await peer.gone()

    return script


def unread(name: str, head: bytes, piece: bytes) -> Case:
    """A client that asks for much and reads nothing: its provider is held back, and others are served."""

    async def play(stage: Stage) -> list[Told]:
        ready: list[Peer] = []
        await stage.single(endless(ready, head, piece), serve())
        async with connect(stage.port, buffer=4096) as client:
            await client.send(post())
            await client.head()
            for _ in range(20):
                assert (await stage.ask()).body == b'{"ok":true}'
            assert ready[0].unsent > 32 * MEBIBYTE, "the gateway holds what nobody reads"
            client.rst()
            await until(lambda: stage.held() == 0)
        return [*[SERVED] * 20, GONE]

    return Case("E94", name, play)


CASES += [
    unread("a large answer that is not read", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MEBIBYTE), b"x"),
    unread("a large stream that is not read", STREAM_HEAD, chunk(b"data: " + b"x" * 8_000 + b"\n\n")),
]


@CASES.case("E95", "a client that never reads")
async def never_reads(stage: Stage) -> list[Told]:
    """After the idle time it is taken for gone, although it is still there."""
    ready: list[Peer] = []
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MEBIBYTE)
    await stage.single(endless(ready, head, b"x"), timeouts={"idle": "300ms"})
    async with connect(stage.port, buffer=4096) as client:
        await client.send(post())
        await client.head()
        await until(lambda: stage.held() == 0)
    return [GONE]


@CASES.case("E96", "more connections than may be")
async def too_many(stage: Stage) -> list[Told]:
    """One too many is told so and closed; with one less there is room again."""
    await stage.single(server={"max_connections": 3})
    async with connect(stage.port) as first, connect(stage.port) as second, connect(stage.port) as third:
        for client in (first, second, third):
            await client.send(post())
            assert (await client.response()).status == 200
        for _ in range(30):
            async with connect(stage.port) as more:
                response = await more.response()
                assert (response.status, response.error["code"]) == (503, "overloaded")
                assert response.value(b"retry-after") == b"1"
                assert await more.closed() in (End.CLOSED, End.RESET)
        first.fin()
        await until(lambda: stage.gateway.application._load.connections == 2)
        assert (await stage.ask()).status == 200
    return [SERVED] * 4


@CASES.case("E97", "one key floods, beyond its places")
async def flood_of_places(stage: Stage) -> list[Told]:
    """It is refused; another key is served at once, and the flood's own places come back."""
    release = asyncio.Event()
    upstream = await stage.origin(streaming(release), streaming(release), serve())
    flood = {"key": "sk-flood", "concurrency_limit": {"max_concurrent_requests": 2}}
    keys = {"key_definitions": {"flood": flood, "calm": {"key": "sk-calm"}}}
    await stage.start({"m": {"url": upstream.url, "keys": ["flood", "calm"]}}, auth=keys)
    async with connect(stage.port) as first, connect(stage.port) as second:
        for client in (first, second):
            await client.send(authorised("sk-flood"))
            await client.chunk(await client.head())
        for _ in range(20):
            refused = await stage.ask(authorised("sk-flood"))
            assert (refused.status, refused.error["code"]) == (429, "concurrency_limit_exceeded")
            assert (await stage.ask(authorised("sk-calm"))).status == 200
        release.set()
        for client in (first, second):
            assert await client.exactly(len(LAST_CHUNK)) == LAST_CHUNK
        assert (await stage.ask(authorised("sk-flood"))).status == 200
    return [SERVED] * 23 + [Told(429, "refused", "concurrency_limit_exceeded", 0)] * 20


@CASES.case("E97", "one key floods, beyond its rate")
async def flood_of_requests(stage: Stage) -> list[Told]:
    """What is refused reaches no provider; another key does not notice."""
    upstream = await stage.origin()
    flood = {"key": "sk-flood", "rate_limit": {"requests_per_second": 0.001, "burst_size": 3}}
    keys = {"key_definitions": {"flood": flood, "calm": {"key": "sk-calm"}}}
    await stage.start({"m": {"url": upstream.url, "keys": ["flood", "calm"]}}, auth=keys)
    for number in range(20):
        response = await stage.ask(authorised("sk-flood"))
        assert response.status == (200 if number < 3 else 429)
        assert (response.value(b"retry-after") is None) == (number < 3)
        assert (await stage.ask(authorised("sk-calm"))).status == 200
    assert len(upstream.requests) == 23
    return [SERVED] * 23 + [Told(429, "refused", "rate_limit", 0)] * 17


@CASES.case("E97", "one key floods, beyond its tokens")
async def flood_of_tokens(stage: Stage) -> list[Told]:
    """What answers cost is counted by what they say; another key does not pay for it."""
    usage = b'{"usage":{"prompt_tokens":10,"completion_tokens":990,"total_tokens":1000}}'
    upstream = await stage.origin(serve(answer(usage)))
    flood = {"key": "sk-flood", "token_limit": {"tokens_per_minute": 1, "burst_size": 1500}}
    keys = {"key_definitions": {"flood": flood, "calm": {"key": "sk-calm"}}}
    await stage.start({"m": {"url": upstream.url, "keys": ["flood", "calm"]}}, auth=keys)
    statuses = [(await stage.ask(authorised("sk-flood"))).status for _ in range(20)]
    assert statuses == [200] * 2 + [429] * 18
    assert (await stage.ask(authorised("sk-calm"))).status == 200
    assert len(upstream.requests) == 3
    return [SERVED] * 3 + [Told(429, "refused", "rate_limit", 0)] * 18


@CASES.case("E97", "one key floods, and waits in line")
async def flood_in_line(stage: Stage) -> list[Told]:
    """The line is bounded, too; who calms down is served in its turn, and another key never stands behind it."""
    release = asyncio.Event()
    upstream = await stage.origin(streaming(release), serve())
    queue = {"on_limit": "queue", "queue": {"max_waiting": 3, "timeout": "60s"}}
    flood = {"key": "sk-flood", "concurrency_limit": {"max_concurrent_requests": 1}, **queue}
    keys = {"key_definitions": {"flood": flood, "calm": {"key": "sk-calm"}}}
    await stage.start({"m": {"url": upstream.url, "keys": ["flood", "calm"]}}, auth=keys)
    async with connect(stage.port) as holder:
        await holder.send(authorised("sk-flood"))
        response = await holder.head()
        waiting = [asyncio.ensure_future(stage.ask(authorised("sk-flood"))) for _ in range(3)]
        await until(lambda: stage.waiting() == 3)
        for _ in range(10):
            assert (await stage.ask(authorised("sk-flood"))).status == 429
            assert (await stage.ask(authorised("sk-calm"))).status == 200
        release.set()
        await holder.rest(response)
        assert [(await call).status for call in waiting] == [200] * 3
    return [SERVED] * 14 + [Told(429, "refused", "concurrency_limit_exceeded", 0)] * 10


@CASES.case("E97", "the line does not move")
async def line_stands(stage: Stage) -> list[Told]:
    """Patience has an end: refused as if there were no line."""
    queue = {"on_limit": "queue", "queue": {"max_waiting": 3, "timeout": "60ms"}}
    limit = {"concurrency_limit": {"max_concurrent_requests": 1}}
    upstream = await stage.origin(streaming(stage.go))
    await stage.start({"m": {"providers": [{"url": upstream.url}], **limit, **queue}})
    async with connect(stage.port) as holder:
        await holder.send(post())
        response = await holder.head()
        refused = await ask(stage.port, post())
        assert (refused.status, refused.error["code"]) == (429, "concurrency_limit_exceeded")
        stage.go.set()
        await holder.rest(response)
    return [SERVED, Told(429, "refused", "concurrency_limit_exceeded", 0)]


def authorised(key: str) -> bytes:
    return post(fields=b"Authorization: Bearer %b\r\n" % key.encode())


def idle(name: str, before: Callable[[Client], Awaitable[None]], told: list[Told]) -> Case:
    """Connections on which nothing is asked are closed after their time, all of them."""

    async def play(stage: Stage) -> list[Told]:
        await stage.single(server={"keepalive_timeout": "300ms", "header_timeout": "300ms"})

        async def one() -> None:
            async with connect(stage.port) as client:
                await before(client)
                assert await client.closed() is End.CLOSED

        await asyncio.gather(*(one() for _ in range(30)))
        return told * 30

    return Case("E98", name, play)


async def says_nothing(client: Client) -> None:
    """Not a byte."""


async def asks_once(client: Client) -> None:
    await client.send(post())
    assert (await client.response()).status == 200


CASES += [
    idle("connections that never say anything", says_nothing, []),
    idle("connections that have been served", asks_once, [SERVED]),
]


@CASES.case("E-pipeline", "asks on and on without reading")
async def asks_without_reading(stage: Stage) -> list[Told]:
    """The queue of a connection is bounded: it is read on only as it is served. Then every request is answered."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await stage.go.wait()
        await peer.send(answer())
        await serve()(peer)

    upstream = await stage.single(script, server={"max_pipelined": 4})
    async with connect(stage.port) as client:
        client._writer.write(post(b'{"model":"m"}'.ljust(100_000)) * 200)
        await upstream.seen(1)
        for _ in range(20):
            assert (await ask(stage.port, post(b'{"model":"nobody"}'))).status == 404
        assert client._writer.transport.get_write_buffer_size() > 0, "all of it was read"
        assert stage.gateway.application._load.buffered < 2 * MEBIBYTE
        stage.go.set()
        for _ in range(200):
            assert (await client.response()).status == 200
    return [Told(404, "refused", "model_not_found", 0)] * 20 + [SERVED] * 200


@pytest.mark.parametrize("case", CASES.parameters())
async def test_a_client_is_slow_or_greedy(lane: bool, case: Case) -> None:
    """What it costs is bounded, and only it pays."""
    await perform(case, lane=lane)
