"""Both doors forward responses byte for byte, except for the documented edits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from hashlib import sha256

import pytest
from documented_edits import returned
from odd_requests import request
from odd_responses import BY_TABLE, ODD_RESPONSES, OddResponse, cut, response
from support.gateway import running
from support.origin import Peer, Script, answer, origin, serve
from support.pieces import single_bytes
from support.raw import End, Response, connect
from support.targets import single

from onwards_py.config.parse import parse

PLAIN = request(b"X-Sentinel: 1")
OLD = b'POST /v1/x HTTP/1.0\r\nContent-Length: 13\r\n%b\r\n{"model":"m"}'
BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])


def in_pieces(odd: OddResponse, pieces: list[bytes]) -> Script:
    """Answer with these pieces, one write and one turn of the loop each; then close or go on serving."""

    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in pieces:
            await peer.send(piece)
            await asyncio.sleep(0)
        if not odd.closes:
            await peer.request()
            await peer.send(answer(b"sentinel"))

    return script


def in_turn(rows: Iterable[OddResponse], pieces: Callable[[bytes], list[bytes]] = lambda raw: [raw]) -> Script:
    """Answer each request with the next of ``rows``, in pieces; a request with X-Sentinel has its own response."""
    left = iter(rows)

    async def script(peer: Peer) -> None:
        while True:
            if (await peer.request()).values(b"x-sentinel"):
                await peer.send(answer(b"sentinel"))
                continue
            odd = next(left)
            for piece in pieces(odd.raw):
                await peer.send(piece)
                await asyncio.sleep(0)
            if odd.closes:
                return

    return script


def assert_returned(got: Response, want: tuple[bytes, bytes], name: str = "") -> None:
    """Compare head and body by hash; the lengths help if it fails."""
    head, body = want
    assert got.head == head, name
    assert len(got.body) == len(body), name
    assert sha256(got.body).digest() == sha256(body).digest(), name


def test_the_table_is_large_and_its_names_are_unique() -> None:
    """A duplicate name would hide a message."""
    assert len(ODD_RESPONSES) >= 80
    assert len({odd.name for odd in ODD_RESPONSES}) == len(ODD_RESPONSES)


@BOTH
@pytest.mark.parametrize("odd", ODD_RESPONSES, ids=lambda odd: odd.name[:60])
async def test_response_comes_back_unchanged(odd: OddResponse, lane: bool) -> None:
    """Status, reason, fields and body have exactly the documented edits. The next response begins at the right byte."""
    async with (
        origin(in_pieces(odd, [odd.raw]), serve(answer(b"sentinel"))) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(request())
        got = await client.response()
        assert got.end is End.WHOLE
        assert_returned(got, returned(odd.raw))
        await client.send(PLAIN)
        sentinel = await client.response()
        assert sentinel.head + sentinel.body == answer(b"sentinel")


@BOTH
async def test_every_final_status_comes_back(lane: bool) -> None:
    """The proxy treats no status specially; the table has the statuses without a body."""
    statuses = [status for status in range(200, 600) if status not in (204, 205, 304)]
    rows = [OddResponse(str(status), response(status=b"%d X" % status)) for status in statuses]
    async with (
        origin(in_turn(rows)) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        for odd in rows:
            await client.send(request())
            assert_returned(await client.response(), returned(odd.raw), odd.name)


every_table = pytest.mark.parametrize("table", BY_TABLE)
"""Each response of a table passes through one gateway, on a connection of its own client."""


@BOTH
@every_table
async def test_response_cut_at_random_places_comes_back_unchanged(table: str, lane: bool) -> None:
    """The boundaries of the provider's writes do not matter, even within the head."""
    rows = BY_TABLE[table]
    script = in_turn(rows, lambda raw: cut(raw, 12))
    async with origin(script) as upstream, running(single(upstream.url), lane=lane) as gateway:
        for odd in rows:
            async with connect(gateway.port) as client:
                await client.send(request())
                assert_returned(await client.response(), returned(odd.raw), odd.name)
                await client.send(PLAIN)
                assert (await client.response()).body == b"sentinel", odd.name


@BOTH
@every_table
async def test_response_in_single_bytes_comes_back_unchanged(table: str, lane: bool) -> None:
    """Every byte is written separately."""
    rows = [odd for odd in BY_TABLE[table] if len(odd.raw) < 250]
    async with origin(in_turn(rows, single_bytes)) as upstream, running(single(upstream.url), lane=lane) as gateway:
        for odd in rows:
            async with connect(gateway.port) as client:
                await client.send(request())
                assert_returned(await client.response(), returned(odd.raw), odd.name)


@BOTH
@every_table
async def test_http_1_0_client_gets_the_body_up_to_the_close(table: str, lane: bool) -> None:
    """HTTP/1.0 has no chunked coding (RFC 9112 section 6.1), and the connection closes unless the client asked to
    keep it."""
    rows = BY_TABLE[table]
    async with origin(in_turn(rows)) as upstream, running(single(upstream.url), lane=lane) as gateway:
        for odd in rows:
            async with connect(gateway.port) as client:
                await client.send(OLD % b"")
                got = await client.response()
                assert_returned(got, returned(odd.raw, minor=0, keep_alive=False), odd.name)
                assert await client.closed() is End.CLOSED, odd.name


@BOTH
@every_table
async def test_http_1_0_client_with_keep_alive(table: str, lane: bool) -> None:
    """A response with a length keeps the connection of an HTTP/1.0 client that asks for it."""
    rows = BY_TABLE[table]
    async with origin(in_turn(rows)) as upstream, running(single(upstream.url), lane=lane) as gateway:
        for odd in rows:
            async with connect(gateway.port) as client:
                await client.send(OLD % b"Connection: keep-alive\r\n")
                got = await client.response()
                assert_returned(got, returned(odd.raw, minor=0), odd.name)
                if got.end is End.WHOLE:
                    await client.send(PLAIN)
                    assert (await client.response()).body == b"sentinel", odd.name


HEADS = [
    ("length of a body that is not sent", b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nX-A: 1\r\n\r\n"),
    ("chunked announced", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"),
    ("no framing", b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n"),
    ("error status", b"HTTP/1.1 404 Nope\r\nContent-Length: 9\r\n\r\n"),
    ("event stream", b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"),
]


@BOTH
@pytest.mark.parametrize(("name", "head"), HEADS, ids=[name for name, _ in HEADS])
async def test_answer_to_head_keeps_its_fields_and_has_no_body(name: str, head: bytes, lane: bool) -> None:
    """RFC 9110 section 9.3.2: Content-Length is that of the GET response, and the next response follows directly."""

    async def script(peer: Peer) -> None:
        assert (await peer.request()).method == b"HEAD"
        await peer.send(head)
        await peer.gone()

    async with (
        origin(script, serve(answer(b"sentinel"))) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(b"HEAD /v1/x HTTP/1.1\r\nHost: h\r\nModel-Override: m\r\n\r\n")
        assert_returned(await client.response(to_head=True), returned(head, to_head=True))
        await client.send(PLAIN)
        assert (await client.response()).body == b"sentinel"


@BOTH
async def test_an_error_in_answer_to_head_has_no_body(lane: bool) -> None:
    """Its head is that of the error for a GET. The connection stays open, and the next response follows directly."""
    async with (
        origin(serve(answer(b"sentinel"))) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(b"HEAD /v1/x HTTP/1.1\r\nHost: h\r\nModel-Override: unknown\r\n\r\n")
        got = await client.response(to_head=True)
        assert got.status == 404
        assert int(got.value(b"content-length") or b"") > 0
        await client.send(PLAIN)
        assert (await client.response()).body == b"sentinel"


@BOTH
async def test_a_client_that_sends_close_is_closed_after_the_response(lane: bool) -> None:
    """RFC 9112 section 9.6: the only edit to the response is the added Connection field."""
    async with (
        origin(serve(answer())) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(request(b"Connection: close"))
        assert_returned(await client.response(), returned(answer(), keep_alive=False))
        assert await client.closed() is End.CLOSED
        assert upstream.last.values(b"connection") == []


@BOTH
async def test_response_headers_of_the_configuration_replace_those_of_their_name(lane: bool) -> None:
    """``response_headers``: an existing field is replaced in its place, another one is appended, and the others do
    not change."""
    text = "targets: {{m: {{url: '{}', response_headers: {{x-b: new, X-New: '1'}}}}}}"
    reply = answer(b"ok", fields=b"X-A: 1\r\nX-B: old\r\nx-b: older\r\n")
    async with origin(serve(reply)) as upstream:
        config = parse(text.format(upstream.url), "targets.yaml", {}).snapshot
        async with running(config, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(request())
            got = await client.response()
    want = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-b: new\r\nContent-Length: 2\r\nX-New: 1\r\n\r\n"
    assert got.head == want
    assert got.body == b"ok"
