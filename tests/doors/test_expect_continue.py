"""Expect: 100-continue (RFC 9110 section 10.1.1): the body is requested only if it can be used."""

from __future__ import annotations

import asyncio

import pytest
from support.gateway import running
from support.origin import Origin, Peer, answer, origin, serve
from support.raw import End, connect, post

from onwards_py.config.parse import parse
from onwards_py.model.snapshot import Snapshot

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
BODY = b'{"model":"m"}'


def snapshot(upstream: Origin, more: str = "") -> Snapshot:
    return parse(f"targets: {{m: {{url: '{upstream.url}', max_body: 1000{more}}}}}", "targets.yaml", {}).snapshot


def head(*fields: bytes, length: int = len(BODY), version: bytes = b"1.1", expect: bytes = b"100-continue") -> bytes:
    framing = b"" if length < 0 else b"Content-Length: %d\r\n" % length
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST /v1/x HTTP/%b\r\nHost: h\r\nExpect: %b\r\n%b%b\r\n" % (version, expect, lines, framing)


@BOTH
@pytest.mark.parametrize("expect", [b"100-continue", b"100-CONTINUE", b" 100-Continue "])
async def test_100_is_sent_and_the_body_is_served(lane: bool, expect: bytes) -> None:
    """100 comes first, then the response. The Expect field is not forwarded."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            for _ in range(2):
                await client.send(head(expect=expect))
                assert (await client.head()).head == b"HTTP/1.1 100 Continue\r\n\r\n"
                await client.send(BODY)
                assert (await client.response()).status == 200
        assert [request.body for request in upstream.requests] == [BODY] * 2
        assert upstream.last.values(b"expect") == []


@BOTH
async def test_100_is_sent_for_a_chunked_body(lane: bool) -> None:
    """The size is not known, so the request cannot be refused for it yet."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(head(b"Transfer-Encoding: chunked", length=-1))
            assert (await client.head()).status == 100
            await client.send(b"d\r\n" + BODY + b"\r\n0\r\n\r\n")
            assert (await client.response()).status == 200
        assert upstream.last.body == BODY


REFUSED = [
    ("larger than any target takes", [], {"length": 1001}, 413),
    ("unknown model", [b"Model-Override: nobody"], {}, 404),
    ("nonsense model", [b"Model-Override: \xff"], {}, 400),
    ("an expectation that nobody knows", [], {"expect": b"200-ok"}, 417),
    ("two expectations", [], {"expect": b"100-continue, x"}, 417),
    ("an empty expectation", [], {"expect": b""}, 417),
    ("coding unknown", [b"Transfer-Encoding: gzip"], {"length": -1}, None),
    ("two framings", [b"Transfer-Encoding: chunked"], {}, 400),
]


@BOTH
@pytest.mark.parametrize(("name", "fields", "options", "status"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_a_head_that_is_refused_gets_no_100(
    lane: bool, name: str, fields: list[bytes], options: dict[str, int], status: int | None
) -> None:
    """The refusal is sent instead of the 100, and the connection ends, because the body may or may not come."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(head(*fields, **options))  # type: ignore[arg-type]
            response = await client.response()
            assert response.status == status or (status is None and response.status in (400, 501))
            assert response.value(b"connection") == b"close"
            assert await client.closed() is End.CLOSED
        assert upstream.requests == []


@BOTH
@pytest.mark.parametrize(
    ("fields", "status"), [([], 401), ([b"Authorization: Bearer wrong"], 403), ([b"Authorization: Bearer good"], 100)]
)
async def test_without_a_key_the_request_is_refused_before_the_body(
    lane: bool, fields: list[bytes], status: int
) -> None:
    """The model is in the body, but no target is open to this caller (401 or 403). Responses case L2."""
    async with origin(serve()) as upstream, running(snapshot(upstream, ", keys: [good]"), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(head(*fields))
            got = await client.head()
            assert got.status == status or (status == 403 and got.status == 401)
        assert upstream.requests == []


@BOTH
async def test_http_1_0_gets_no_100(lane: bool) -> None:
    """An HTTP/1.0 client does not know 1xx, so the proxy ignores Expect and reads the body."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(head(version=b"1.0"), BODY)
            assert (await client.response()).status == 200
        assert len(upstream.requests) == 1


@BOTH
async def test_a_body_sent_without_waiting_is_served(lane: bool) -> None:
    """A client need not wait. The 100 may be sent or not."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(head() + BODY)
            while (response := await client.response()).status == 100:
                pass
            assert response.status == 200
        assert upstream.last.body == BODY


@BOTH
async def test_a_request_without_a_body_gets_no_100(lane: bool) -> None:
    """Content-Length is 0."""
    async with origin(serve()) as upstream, running(snapshot(upstream), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(head(b"Model-Override: m", length=0))
            assert (await client.response()).status == 200
        assert upstream.last.body == b""


@BOTH
async def test_the_100_of_a_pipelined_request_waits_for_its_turn(lane: bool) -> None:
    """Before its turn, the 100 would be read as part of the earlier response; but it must be sent."""
    release = asyncio.Event()

    async def held(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(answer(b"first"))
        await serve()(peer)

    async with (
        origin(held) as upstream,
        running(snapshot(upstream), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(post() + head())
        await upstream.seen(1)
        release.set()
        assert (await client.response()).body == b"first"
        assert (await client.head()).status == 100
        await client.send(BODY)
        assert (await client.response()).status == 200
