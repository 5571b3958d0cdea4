"""Requests that a lenient parser accepts and a proxy must not: they are refused, the connection is closed, and no
provider gets a byte."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from bad_requests import BAD_REQUESTS, BODY, CODINGS, LENGTHS, SMUGGLED, Bad
from support.gateway import running
from support.origin import origin
from support.pieces import single_bytes
from support.raw import End, Response, ask, connect, post, request_head
from support.targets import single

from onwards_py.config.parse import parse

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])


async def refusal(pieces: Sequence[bytes], *, lane: bool) -> Response:
    """Send ``pieces`` and a smuggled request after them, which must not be answered and must not reach the provider."""
    async with origin() as upstream:
        snapshot = single(upstream.url)
        async with running(snapshot, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(*pieces, SMUGGLED)
            got = await client.response()
            assert await client.closed() is End.CLOSED
        assert upstream.requests == []
        assert gateway.lines()[-1]["status"] == got.status, "a refusal leaves a line in the access log"
        return got


def test_the_table_is_large_and_its_names_are_unique() -> None:
    """A duplicate name would hide a vector."""
    assert len(CODINGS) >= 40
    assert len({bad.name for bad in BAD_REQUESTS}) == len(BAD_REQUESTS)


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.name[:80])
async def test_both_doors_refuse_alike(bad: Bad) -> None:
    """RFC 9112 sections 2.2, 3, 5 and 6: both send the same status and close the connection."""
    answers = {lane: await refusal([bad.raw], lane=lane) for lane in (True, False)}
    for got in answers.values():
        assert 400 <= got.status <= 505
        assert got.value(b"connection") == b"close"
        assert got.error["type"]
    assert answers[True].status == answers[False].status


KINDS: dict[str, list[Bad]] = {}
"""All vectors, by the first word of their names. The tests below try each on a connection of its own."""
for bad_request in BAD_REQUESTS:
    KINDS.setdefault(bad_request.name.split()[0], []).append(bad_request)

every_kind = pytest.mark.parametrize("kind", KINDS)


@BOTH
@every_kind
async def test_requests_are_refused_in_single_bytes(kind: str, lane: bool) -> None:
    """Every byte comes in its own packet, so a guard that inspects packets would fail. The client goes on sending
    after the refusal and can still read it."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        for name, raw in KINDS[kind]:
            async with connect(gateway.port) as client:
                await client.send(*single_bytes(raw), SMUGGLED)
                assert 400 <= (await client.response()).status <= 505, name
                assert await client.closed() is End.CLOSED, name
        assert upstream.requests == []
    assert len(gateway.lines()) == len(KINDS[kind]), "a refusal leaves a line in the access log"


@BOTH
@every_kind
async def test_requests_are_refused_after_a_served_request(kind: str, lane: bool) -> None:
    """The earlier response comes first and is complete; then the refusal, then the end."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        for number, (name, raw) in enumerate(KINDS[kind], 1):
            async with connect(gateway.port) as client:
                await client.send(post(target=b"/v1/x"))
                assert (await client.response()).body == b'{"ok":true}', name
                await client.send(raw + SMUGGLED)
                assert 400 <= (await client.response()).status <= 505, name
                assert await client.closed() is End.CLOSED, name
            assert len(upstream.requests) == number, name


@BOTH
@every_kind
async def test_requests_are_refused_in_one_packet_with_a_served_request(kind: str, lane: bool) -> None:
    """aiohttp's parser forgets the requests before a malformed one; they are still served."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        for number, (name, raw) in enumerate(KINDS[kind], 1):
            async with connect(gateway.port) as client:
                await client.send(post(target=b"/v1/x") + raw + SMUGGLED)
                assert (await client.response()).body == b'{"ok":true}', name
                assert 400 <= (await client.response()).status <= 505, name
                assert await client.closed() is End.CLOSED, name
            assert len(upstream.requests) == number, name


@BOTH
async def test_requests_are_refused_after_the_same_head(lane: bool) -> None:
    """The byte lane does not parse a head that a connection repeats, except for the digits of its length."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        for number, line in enumerate(LENGTHS, 1):
            async with connect(gateway.port) as client:
                await client.send(request_head(b"Content-Length: 13") + BODY)
                assert (await client.response()).body == b'{"ok":true}', line
                await client.send(request_head(line) + BODY + SMUGGLED)
                assert 400 <= (await client.response()).status <= 505, line
                assert await client.closed() is End.CLOSED, line
            assert len(upstream.requests) == number, line


@BOTH
async def test_requests_are_refused_in_their_own_read_after_the_same_head(lane: bool) -> None:
    """The read ends with the body, as with the bytes of a repeated request."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        for number, line in enumerate([b"Content-Length: 1_3", b"Content-Length: +13", b"Content-Length: \x0c13"], 1):
            async with connect(gateway.port) as client:
                await client.send(request_head(b"Content-Length: 13") + BODY)
                assert (await client.response()).body == b'{"ok":true}', line
                await client.send(request_head(line) + BODY)
                assert (await client.response()).status == 400, line
                assert await client.closed() is End.CLOSED, line
            assert len(upstream.requests) == number, line


SPELLINGS = (b"Content-Length: ", b"content-length:", b"CONTENT-LENGTH:\t", b"content-Length: 00")
AS_ALONE = (
    "start b'GET /v1/x HTTP/1.2'",
    "start b'BREW /v1/x HTTP/1.1'",
    "coding b'Transfer-Encoding: xchunked'",
    "NULs",
)


@BOTH
@pytest.mark.parametrize("bad", [bad for bad in BAD_REQUESTS if bad.name in AS_ALONE], ids=lambda bad: bad.name)
async def test_refused_as_alone_behind_a_body_whose_length_is_spelled_otherwise(bad: Bad, lane: bool) -> None:
    """Where the body before it ends follows from Content-Length, in any case and padding; its bytes do not matter."""
    status = (await refusal([bad.raw], lane=lane)).status
    for body in (BODY, BODY + b"\r\n\r\n \r\n\r\n"):
        async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
            for number, length in enumerate(SPELLINGS, 1):
                served = b"POST /v1/x HTTP/1.1\r\nHost: h\r\n%b%d\r\n\r\n%b" % (length, len(body), body)
                async with connect(gateway.port) as client:
                    await client.send(served + bad.raw + SMUGGLED)
                    assert (await client.response()).body == b'{"ok":true}', length
                    assert (await client.response()).status == status, length
                    assert await client.closed() is End.CLOSED, length
                assert len(upstream.requests) == number, length
                assert upstream.last.body == body


# Dot segments in each spelling: tests/scenarios/test_upstream_url.py.
TARGETS = [
    b"h:80",
    b"*",
    b"v1/x",
    b"ftp://h/x",
    b"//h/x#f",
    b"/v1/x#frag",
    b"/v1/x?a#b",
    b"http://h/v1/x#f",
    b"/..",
    b"/v1%2F..%2Fx",
    b"/v1/..;/x",
    b"http://h/v1/../x",
    b"http://h\\..\\x",
]


@BOTH
@pytest.mark.parametrize("target", TARGETS)
async def test_a_target_that_could_leave_the_base_path_is_refused(target: bytes, lane: bool) -> None:
    """RFC 9112 section 3.2 and RFC 3986 section 5.2.4: a target has no fragment, no other form, and no dot segment
    in any spelling."""
    async with origin() as upstream:
        snapshot = parse(f"targets: {{m: {{url: '{upstream.url}/base'}}}}", "targets.yaml", {}).snapshot
        async with running(snapshot, lane=lane) as gateway:
            got = await ask(gateway.port, post(target=target))
        assert got.status == 400
        assert upstream.requests == []


CHUNKED = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
IN_CHUNKS = {
    "a size that is none": (CHUNKED + b'd\r\n{"model":"m"}\r\nzz\r\n', 400),
    "a size of 64 bits": (CHUNKED + b'd\r\n{"model":"m"}\r\nffffffffffffffff\r\n', 413),
    "a size of more": (CHUNKED + b'd\r\n{"model":"m"}\r\nfffffffffffffffff\r\n', 400),
    "a size beyond max_body": (CHUNKED + b"7fffffff\r\n{", 413),
    "a trailer that is none": (CHUNKED + b'd\r\n{"model":"m"}\r\n0\r\nX : y\r\n', 400),
    "trailers without end": (CHUNKED + b'd\r\n{"model":"m"}\r\n0\r\n' + b"X: y\r\n" * 20_000, 431),
    "an extension without end": (CHUNKED + b"d;" + b"e" * 100_000, 431),
}


@BOTH
@pytest.mark.parametrize(("raw", "status"), IN_CHUNKS.values(), ids=IN_CHUNKS.keys())
async def test_an_invalid_body_is_refused_at_once(raw: bytes, status: int, lane: bool) -> None:
    """The refusal does not wait for the rest of the body. After a served request it waits for that response."""
    async with origin() as upstream:
        snapshot = single(upstream.url)
        async with running(snapshot, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(post(target=b"/v1/x") + raw)
            assert (await client.response()).body == b'{"ok":true}'
            assert (await client.response()).status == status
        assert len(upstream.requests) == 1
        assert gateway.application._load.buffered == 0


@BOTH
async def test_a_request_of_another_protocol_is_detected_after_others(lane: bool) -> None:
    """It comes in one read with an HTTP request for the same target, without a line end before it."""
    foreign = post(target=b"/v1/x").replace(b" HTTP/1.1", b" RTSP/1.0")
    async with origin() as upstream:
        snapshot = single(upstream.url)
        async with running(snapshot, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(post(target=b"/v1/x") + foreign + SMUGGLED)
            assert (await client.response()).status == 200
            assert (await client.response()).status == 505
            assert await client.closed() is End.CLOSED
        assert len(upstream.requests) == 1


@BOTH
async def test_rtsp_lines_in_a_body_are_not_a_request(lane: bool) -> None:
    """An upload may contain them anywhere, even at the start of a read; so may field values."""
    line = b"DESCRIBE /v1/x RTSP/1.0\r\n\r\nPOST /v1/chat/completions RTSP/1.0\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    body = part % (b"model", b"m") + part % (b'file"; filename="f', line * 2) + b"--b--\r\n"
    fields = b"X: POST /v1/chat/completions RTSP/1.0\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    raw = post(body, fields=fields)
    at = raw.index(b"DESCRIBE")
    async with origin() as upstream:
        snapshot = single(upstream.url)
        async with running(snapshot, lane=lane) as gateway, connect(gateway.port) as client:
            for pieces in (
                [raw],
                [raw[:at], raw[at:]],
                [raw[:at], line, raw[at + len(line) :]],
                [raw + raw[:at], raw[at:]],
            ):
                await client.send(*pieces)
                assert (await client.response()).status == 200
            assert (await client.response()).status == 200
        assert [request.body for request in upstream.requests] == [body] * 5
