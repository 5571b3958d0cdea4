"""The limits on what a client may send: heads, targets, bodies and their framing."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from support.gateway import Gateway, running
from support.origin import LAST_CHUNK, Origin, chunk, origin, serve
from support.raw import CAP, Client, End, Response, ask, connect, post

from onwards_py.config.parse import parse
from onwards_py.model.snapshot import Snapshot

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
BOUNDS = "max_head_bytes: 4KiB, max_header_count: 20, max_target_bytes: 1KiB, max_buffered: 200KiB, body_timeout: 1s"


def snapshot(upstream: Origin, targets: str = "") -> Snapshot:
    text = f"server: {{{BOUNDS}}}\ntargets:\n  m: {{url: '{upstream.url}', max_body: 100KiB}}\n{targets}"
    return parse(text, "targets.yaml", {}).snapshot


def buffered(gateway: Gateway) -> int:
    """The bytes of request bodies in memory, over all connections."""
    return gateway.application._load.buffered


def post_with(count: int) -> bytes:
    """A request with this many fields, including Host and Content-Length."""
    return post(fields=b"A: b\r\n" * (count - 2))


def post_sized(size: int) -> bytes:
    """A request with a target and fields of these sizes; a field's size includes its colon, space and CRLF."""
    rest = len(b"/v1/chat/completions") + len(b"Host: gw\r\n") + len(b"Content-Length: 13\r\n") + len(b"X: \r\n")
    return post(fields=b"X: " + b"x" * (size - rest) + b"\r\n")


def post_chunks(*sizes: int) -> bytes:
    """A request whose body has chunks of these sizes."""
    body = b'{"model":"m"}'.ljust(sum(sizes))
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    chunks = b"".join(chunk(body[end - size : end]) for end, size in zip(ends, sizes, strict=True))
    return b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + LAST_CHUNK


@BOTH
@pytest.mark.parametrize(
    ("most", "more", "status"),
    [
        (post(target=b"/" + b"t" * 1023), post(target=b"/" + b"t" * 1024), 414),
        (post_with(20), post_with(21), 431),
        (post_sized(4096), post_sized(4097), 431),
        (post(b'{"model":"m"}'.ljust(102_400)), post(b'{"model":"m"}'.ljust(102_401)), 413),
        (post_chunks(102_400), post_chunks(102_401), 413),
        (post_chunks(100_000, 2400), post_chunks(100_000, 2401), 413),
    ],
    ids=["target", "fields", "head", "body", "chunk", "chunks"],
)
async def test_a_request_at_a_limit_is_served_and_one_above_it_refused(
    lane: bool, most: bytes, more: bytes, status: int
) -> None:
    """Each limit is exact and has its status (RFC 9110 sections 15.5.14 and 15.5.15, RFC 6585 section 5).

    Responses case G16.
    """
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        assert (await ask(gateway.port, most)).status == 200
        refused = await ask(gateway.port, more)
        assert refused.status == status
        assert refused.value(b"connection") == b"close"
        assert len(upstream.requests) == 1


@BOTH
async def test_a_body_behind_a_repeated_head_has_the_same_bound(lane: bool) -> None:
    """The byte lane does not parse a head that a connection repeats."""
    text = "targets: {{m: {{url: '{}', max_body: 1KiB}}}}"
    async with origin(serve()) as upstream:
        config = parse(text.format(upstream.url), "targets.yaml", {}).snapshot
        async with running(config, lane=lane) as gateway, connect(gateway.port) as client:
            for size, status in ((1000, 200), (1024, 200), (1025, 413)):
                await client.send(post(b'{"model":"m"}'.ljust(size)))
                assert (await client.response()).status == status
            assert await client.closed() is End.CLOSED
        assert [len(request.body) for request in upstream.requests] == [1000, 1024]


@BOTH
async def test_a_too_large_content_length_is_refused_before_the_body(lane: bool) -> None:
    """Content-Length decides."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 102401\r\n\r\n")
            assert (await client.response()).status == 413
        assert upstream.requests == []


async def answer_while_sending(client: Client, piece: bytes) -> Response:
    """Send ``piece`` repeatedly until a response has arrived: a client that does not read while it sends."""
    answer = asyncio.ensure_future(client.response())
    with suppress(ConnectionError):
        async with asyncio.timeout(CAP):
            while not answer.done():
                await client.send(piece)
    return await answer


@BOTH
async def test_a_too_large_chunked_body_is_refused_before_its_end(lane: bool) -> None:
    """The client can read the response although it is still sending."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            response = await answer_while_sending(client, b"1000\r\n" + b"x" * 4096 + b"\r\n")
            assert response.status == 413
            assert response.error["code"] == "payload_too_large"
        assert upstream.requests == []
        assert buffered(gateway) == 0


@BOTH
async def test_a_client_that_sends_on_after_the_413_can_read_it(lane: bool) -> None:
    """RFC 9112 section 9.6: an immediate close would reset the connection and lose the response."""
    async with (
        origin(serve()) as upstream,
        running(snapshot(upstream), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n")
        with suppress(ConnectionError):
            await client.send(*[b"x" * 10_000] * 50)
        assert (await client.response()).status == 413


@BOTH
async def test_each_target_has_its_own_max_body(lane: bool) -> None:
    """``max_body`` of the requested target applies as soon as the model is known."""
    async with origin(serve()) as upstream:
        config = snapshot(upstream, f"  small: {{url: '{upstream.url}', max_body: 50}}")
        async with running(config, lane=lane) as gateway:
            for size, status in ((50, 200), (51, 413)):
                body = b'{"model":"small"}'.ljust(size)
                assert (await ask(gateway.port, post(body))).status == status
                by_header = post(body, fields=b"Model-Override: small\r\n")
                assert (await ask(gateway.port, by_header)).status == status


@BOTH
async def test_all_bodies_together_are_bounded(lane: bool) -> None:
    """Above ``max_buffered`` the response is a 503 with Retry-After. The memory is released at every end of an
    exchange."""
    half = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n" + b'{"model":"m"}'.ljust(80_000)
    async with (
        origin(serve()) as upstream,
        running(snapshot(upstream), lane=lane) as gateway,
        connect(gateway.port) as first,
        connect(gateway.port) as second,
        connect(gateway.port) as third,
    ):
        await first.send(half)
        await holds(gateway, 80_000)
        await second.send(half)
        await holds(gateway, 160_000)
        await third.send(half)
        refused = await third.response()
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert refused.value(b"retry-after") == b"1"
        await holds(gateway, 160_000)
        await first.send(b" " * 10_000)
        assert (await first.response()).status == 200
        await holds(gateway, 80_000)
        second.rst()
        await holds(gateway, 0)


@BOTH
async def test_all_bodies_together_are_bounded_behind_a_repeated_head(lane: bool) -> None:
    """The byte lane does not parse a head that a connection repeats; its body counts too."""
    half = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n" + b'{"model":"m"}'.ljust(80_000)
    async with (
        origin(serve()) as upstream,
        running(snapshot(upstream), lane=lane) as gateway,
        connect(gateway.port) as first,
        connect(gateway.port) as second,
        connect(gateway.port) as third,
    ):
        await third.send(post())
        assert (await third.response()).status == 200
        await first.send(half)
        await second.send(half)
        await holds(gateway, 160_000)
        await third.send(post(b'{"model":"m"}'.ljust(50_000)))
        assert (await third.response()).status == 503
        first.rst()
        second.rst()
        await holds(gateway, 0)
        assert len(upstream.requests) == 1


async def holds(gateway: Gateway, count: int) -> None:
    """Wait until this many bytes of bodies are in memory."""
    async with asyncio.timeout(CAP):
        while buffered(gateway) != count:  # noqa: ASYNC110  (a gauge is no event)
            await asyncio.sleep(0)


@BOTH
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"POST / HTTP/1.1\r\nHost: h\r\n", b"A: b\r\n"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nX: ", b"v" * 100),
        (b"POST / HTTP/1.1\r\nHost: h\r\n", b"n" * 100),
        (b"POST /", b"t" * 100),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"A: b\r\n"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ", b"v" * 100),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"e" * 100),
    ],
    ids=["fields", "value", "name", "target", "trailers", "trailer value", "chunk extension"],
)
async def test_endless_input_is_cut(lane: bool, start: bytes, piece: bytes) -> None:
    """Input that never ends gets a response or a cut connection in bounded time."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(start)
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                assert 400 <= (await answer_while_sending(client, piece)).status < 500
        assert upstream.requests == []
        assert buffered(gateway) == 0


@BOTH
async def test_a_large_body_in_tiny_chunks_is_accepted(lane: bool) -> None:
    """Chunks of one byte are legal; their framing does not count against the limit of the head."""
    body = b'{"model":"m"}'.ljust(20_000)
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            await client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
            assert (await client.response()).status == 200
        assert upstream.last.body == body


@BOTH
async def test_the_end_of_a_refused_body_is_not_a_request(lane: bool) -> None:
    """Bytes after a refused head are not parsed, even if they look like a request."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 102401\r\n\r\n" + post())
            assert (await client.response()).status == 413
            assert await client.closed() in ([End.CLOSED] if lane else [End.CLOSED, End.RESET])
        assert upstream.requests == []
