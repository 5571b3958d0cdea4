"""Fault catalogue D: what clients send."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import STREAM_HEAD, chunk, serve, silent, streaming, watched
from support.raw import Client, End, connect, get, post, request_head
from support.scene import until

BODY = b'{"model":"m"}'
CHUNKS = b"d\r\n" + BODY + b"\r\n0\r\n\r\n"
SMUGGLED = post(target=b"/smuggled")
SMALL = {"max_head_bytes": "8KiB", "max_header_count": 64, "max_target_bytes": "1KiB"}


def sized(*lines: bytes, start: bytes = b"POST /v1/x HTTP/1.1", host: bytes = b"Host: h\r\n") -> bytes:
    """A request with a body, and what this adds to it."""
    return request_head(*lines, b"Content-Length: 13", start=start, host=host) + BODY


def started(start: bytes) -> bytes:
    return request_head(b"Model-Override: m", start=start)


def framed(*lines: bytes) -> bytes:
    """A request whose framing is said by these lines."""
    return request_head(*lines) + CHUNKS


TE = b"Transfer-Encoding: chunked"
REFUSED: list[tuple[str, str, bytes, tuple[int, ...]]] = [
    ("D60", "length and coding", framed(b"Content-Length: 23", TE), (400,)),
    ("D60", "coding and length", framed(TE, b"Content-Length: 23"), (400,)),
    ("D61", "a coding that is nearly chunked", framed(b"Transfer-Encoding: xchunked"), (400, 501)),
    ("D61", "a coding behind a vertical tab", framed(b"Transfer-Encoding:\x0bchunked"), (400, 501)),
    ("D61", "a coding on a folded line", framed(b"Transfer-Encoding:\r\n chunked"), (400,)),
    ("D61", "a coding behind a bare LF", framed(b"X: y\nTransfer-Encoding: chunked"), (400,)),
    ("D61", "a coding in quotes", framed(b'Transfer-Encoding: "chunked"'), (400, 501)),
    ("D61", "two codings", framed(TE, b"Transfer-Encoding: identity"), (400, 501)),
    ("D62", "two equal lengths", sized(b"Content-Length: 13"), (400,)),
    ("D62", "two lengths", sized(b"Content-Length: 3"), (400,)),
    ("D62", "a list of lengths", request_head(b"Content-Length: 13, 13") + BODY, (400,)),
    ("D62", "a length with a sign", request_head(b"Content-Length: +13") + BODY, (400,)),
    ("D63", "LF line ends", sized().replace(b"\r\n", b"\n"), (400,)),
    ("D63", "CR line ends", sized().replace(b"\r\n", b"\r"), (400,)),
    ("D64", "NUL in a value", sized(b"X-A: a\0b"), (400,)),
    ("D64", "a control character in a name", sized(b"X\x01A: b"), (400,)),
    ("D64", "CR in a value", sized(b"X-A: a\rb"), (400,)),
    ("D65", "a folded line", sized(b"X-A: a\r\n b"), (400,)),
    ("D66", "a space before the colon", sized(b"X-A : a"), (400,)),
    ("D67", "no Host", sized(host=b""), (400,)),
    ("D67", "two Hosts", sized(host=b"Host: h\r\nHost: h\r\n"), (400,)),
    ("D67", "an empty Host", sized(host=b"Host:\r\n"), (400,)),
    ("D67", "a Host with a path and a user", sized(host=b"Host: a/b@c\r\n"), (400,)),
    ("D67", "a list of Hosts", sized(host=b"Host: a, b\r\n"), (400,)),
    ("D68", "absolute-form with a user", sized(start=b"POST http://u:p@h/v1/x HTTP/1.1"), (400,)),
    ("D69", "authority-form", sized(start=b"POST h:80 HTTP/1.1"), (400,)),
    ("D69", "CONNECT", started(b"CONNECT h:443 HTTP/1.1"), (400, 405)),
    ("D70", "HTTP/0.9", b"GET /\r\n\r\n", (400, 505)),
    ("D70", "HTTP/2.0", started(b"GET /v1/x HTTP/2.0"), (400, 505)),
    ("D70", "the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 501, 505)),
    ("D70", "ICE", started(b"SOURCE /v1/x ICE/1.0"), (400, 501, 505)),
    ("D70", "RTSP", started(b"DESCRIBE /v1/x RTSP/1.0"), (400, 501, 505)),
    ("D70", "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400, 501)),
    ("D71", "HTTP/1.0 with a coding", request_head(TE, start=b"POST /v1/x HTTP/1.0") + CHUNKS, (400,)),
    ("D72", "gzip, chunked", framed(b"Transfer-Encoding: gzip, chunked"), (400, 501)),
    ("D73", "TRACE", started(b"TRACE /v1/x HTTP/1.1"), (405,)),
    ("D73", "an unknown method", started(b"BREW /v1/x HTTP/1.1"), (400, 405, 501)),
    ("D73", "a method in small letters", started(b"get /v1/x HTTP/1.1"), (400, 405, 501)),
    ("D74", "NUL in the target", sized(start=b"POST /v1/\0x HTTP/1.1"), (400,)),
    ("D75", "a head that is too large", sized(b"X-A: " + b"a" * 9_000), (431,)),
    ("D75", "too many fields", sized(*[b"X-A: a"] * 65), (431,)),
    ("D76", "a target that is too long", sized(start=b"POST /%b HTTP/1.1" % (b"x" * 1_100)), (414, 431)),
    ("D77", "a length beyond the limit", request_head(b"Content-Length: 99999999"), (413,)),
    ("D77", "a length beyond 64 bits", request_head(b"Content-Length: 99999999999999999999999"), (400, 413)),
    ("D79", "an unknown expectation", sized(b"Expect: 200-ok"), (417,)),
    ("D88", "a chunk size that is none", framed(TE).replace(b"d\r\n{", b"zz\r\n{"), (400,)),
    ("D88", "a chunk longer than it says", framed(TE).replace(b"d\r\n{", b"c\r\n{"), (400,)),
    ("D88", "LF behind a chunk size", framed(TE).replace(b"d\r\n{", b"d\n{"), (400,)),
]


def refused(number: str, name: str, raw: bytes, statuses: tuple[int, ...]) -> Case:
    """Refused at the door, the connection closed: neither this nor what hides behind it reaches a provider."""

    async def play(stage: Stage) -> list[Told]:
        upstream = await stage.single(server=SMALL, max_body="1MiB")
        async with connect(stage.port) as client:
            await client.send(raw, SMUGGLED)
            response = await client.response()
            assert response.status in statuses
            assert response.value(b"connection") == b"close"
            assert await client.closed() in ([End.CLOSED] if stage.lane else [End.CLOSED, End.RESET])
        assert not upstream.requests
        return [Told(response.status, "refused", str(response.error["code"]), 0)]

    return Case(number, name, play)


CASES = Table(refused(*row) for row in REFUSED)


def answered(number: str, name: str, raw: bytes, status: int, code: str) -> Case:
    """Refused for what it asks; the connection serves on."""

    async def play(stage: Stage) -> list[Told]:
        upstream = await stage.single()
        async with connect(stage.port) as client:
            await client.send(raw)
            response = await client.response()
            assert (response.status, response.error["code"]) == (status, code)
            await client.send(post())
            assert (await client.response()).body == b'{"ok":true}'
        assert len(upstream.requests) == 1
        return [Told(status, "refused", code, 0), SERVED]

    return Case(number, name, play)


def coded(coding: bytes, body: bytes) -> bytes:
    return post(body, fields=b"Content-Encoding: %b\r\n" % coding)


BOMB = gzip.compress(b"x" * 80_000_000, 1)
CASES += [
    *(
        answered("D74", f"{name} in the target", post(target=target), 400, "bad_request")
        for name, target in (
            ("dot segments", b"/v1/../x"),
            ("coded dot segments", b"/v1/%2e%2E/x"),
            ("dot segments between backslashes", b"/v1\\..\\x"),
            ("a fragment", b"/v1/x#y"),
        )
    ),
    answered("D87", "gzip that is none", coded(b"gzip", b"not gzip"), 400, "bad_request"),
    answered("D87", "gzip that breaks off", coded(b"gzip", gzip.compress(BODY)[:-6]), 400, "bad_request"),
    answered("D87", "an unknown coding", coded(b"x-own", BODY), 415, "unsupported_content_encoding"),
    answered("D87", "a bomb", coded(b"gzip", BOMB), 413, "payload_too_large"),
    answered("D-body", "no JSON", post(b"{"), 400, "bad_request"),
    answered("D-body", "two models", post(b'{"model":"m","model":"n"}'), 400, "bad_request"),
    answered("D-body", "a model that nobody has", post(b'{"model":"x"}'), 404, "model_not_found"),
]


def passed(number: str, name: str, raw: bytes, start: bytes, fields: list[bytes], *, body: bytes = BODY) -> Case:
    """Odd but legal: this is what reaches the provider."""

    async def play(stage: Stage) -> list[Told]:
        upstream = await stage.single()
        response = await stage.ask(raw)
        assert response.status == 200
        sent = upstream.last
        assert sent.raw.split(b"\r\n", 1)[0] == start
        ours = (b"host", b"content-length")
        assert [b"%b: %b" % field for field in sent.fields if field[0].lower() not in ours] == fields
        assert sent.body == body
        return [SERVED]

    return Case(number, name, play)


START = b"POST /v1/x HTTP/1.1"
HOP = [b"TE: trailers", b"Keep-Alive: 1", b"Proxy-Connection: x", b"Trailer: X-T", b"Proxy-Authorization: x"]
ODD = b"/v1/%2f//a;b/%zz?q=%00"
CASES += [
    passed("D68", "absolute-form", sized(start=b"POST http://other/v1/x HTTP/1.1"), START, []),
    passed("D74", "odd bytes in the target", sized(start=b"POST %b HTTP/1.1" % ODD), b"POST %b HTTP/1.1" % ODD, []),
    passed("D80", "h2c and its settings", sized(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c",
           b"HTTP2-Settings: AAMAAABkAAQ", b"X-End: 1"), START, [b"X-End: 1"]),
    passed("D81", "Connection names what must stay", sized(b"Connection: Content-Length, Host, X-Hop", b"X-Hop: 1"),
           START, []),
    passed("D82", "hop-by-hop fields", sized(*HOP, b"X-End: 1"), START, [b"X-End: 1"]),
    passed("D83", "trailers", request_head(TE) + b"d\r\n" + BODY + b"\r\n0\r\nX-T: 1\r\nAuthorization: x\r\n\r\n",
           START, []),
    passed("D88", "chunks of one byte", request_head(TE) + b"".join(b"1\r\n%c\r\n" % c for c in BODY.ljust(20_000)) +
           b"0\r\n\r\n", START, [], body=BODY.ljust(20_000)),
]  # fmt: skip


@CASES.case("D69", "asterisk-form")
async def asterisk(stage: Stage) -> list[Told]:
    """There is nothing that a POST to the server as a whole could mean."""
    upstream = await stage.single()
    assert (await stage.ask(post(target=b"*"))).status == 400
    assert not upstream.requests
    return [Told(400, "refused", "bad_request", 0)]


@CASES.case("D78", "expects 100 without a key")
async def expects_in_vain(stage: Stage) -> list[Told]:
    """The refusal comes instead of the 100: the body is not asked for."""
    await stage.single(keys=["good"])
    async with connect(stage.port) as client:
        await client.send(request_head(b"Model-Override: m", b"Expect: 100-continue", b"Content-Length: 13"))
        response = await client.response()
        assert response.status == 401
    return [Told(401, "refused", "unauthenticated", 0)]


@CASES.case("D78", "expects 100 and gets it")
async def expects(stage: Stage) -> list[Told]:
    """100, the body, the answer."""
    await stage.single()
    async with connect(stage.port) as client:
        await client.send(request_head(b"Expect: 100-continue", b"Content-Length: 13"))
        assert (await client.head()).status == 100
        await client.send(BODY)
        assert (await client.response()).status == 200
    return [SERVED]


@CASES.case("D84", "HEAD")
async def heads(stage: Stage) -> list[Told]:
    """No body, the length of GET's; the connection serves on."""
    await stage.single(serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), serve())
    async with connect(stage.port) as client:
        await client.send(get(b"/v1/x", b"Model-Override: m\r\n").replace(b"GET", b"HEAD"))
        assert (await client.response(to_head=True)).value(b"content-length") == b"5"
        await client.send(post())
        assert (await client.response()).whole
    return [SERVED, SERVED]


@CASES.case("D85", "300 requests in a row")
async def pipelined(stage: Stage) -> list[Told]:
    """RFC 9112 section 9.3.2: every answer, in order."""
    await stage.single()
    async with connect(stage.port) as client:
        await client.send(post() * 300)
        for _ in range(300):
            assert (await client.response()).whole
    return [SERVED] * 300


@CASES.case("D86", "more behind Connection: close")
async def behind_close(stage: Stage) -> list[Told]:
    """RFC 9112 section 9.6: what follows is not looked at."""
    upstream = await stage.single()
    async with connect(stage.port) as client:
        # aiohttp's parser forgets a request in front of what it finds malformed, so there the rest comes later.
        await client.send(post(fields=b"Connection: close\r\n") + (SMUGGLED if stage.lane else b""))
        assert (await client.response()).status == 200
        assert await client.closed() in (End.CLOSED, End.RESET)
    assert len(upstream.requests) == 1
    return [SERVED]


GONE_WAITING = Told(0, "client_gone_waiting")
GONE_STREAMING = Told(200, "client_gone_streaming")
LEAVINGS = {"FIN": Client.fin, "RST": Client.rst, "half a close (D89)": Client.half_close}


def leaves(number: str, how: str, sent: bytes, told: Told) -> Case:
    """The client leaves by ``how``; the provider is told at once, and nobody else is asked."""

    async def play(stage: Stage) -> list[Told]:
        closed = asyncio.Event()
        first, second = await stage.origin(watched(sent, closed)), await stage.origin()
        fallback = {"enabled": True, "on_status": [5], "retry_sent": True}
        providers = [{"url": first.url}, {"url": second.url}]
        await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
        async with connect(stage.port) as client:
            await client.send(post())
            await first.seen(1)
            if sent:
                await client.chunk(await client.head())
            LEAVINGS[how](client)
            await asyncio.wait_for(closed.wait(), 5)
        await until(lambda: stage.held() == 0)
        assert not second.peers
        return [told]

    return Case(number, f"leaves by {how} {'within the stream' if sent else 'before the head'}", play)


STREAM = STREAM_HEAD + chunk(b"data: 1\n\n")
CASES += [
    leaves("D89" if "half" in how else "D90" if how == "RST" else "D91", how, sent, told)
    for how in LEAVINGS
    for sent, told in ((b"", GONE_WAITING), (STREAM, GONE_STREAMING))
]


@CASES.case("D91", "leaves while another attempt is waited for")
async def leaves_in_backoff(stage: Stage) -> list[Told]:
    """The wait ends, and with it the exchange."""
    waits = {"initial_ms": 60_000, "max_ms": 60_000, "jitter": "none"}
    fallback = {"enabled": True, "on_status": [5], "max_attempts": 2, "backoff": waits}
    upstream = await stage.single(serve(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"), fallback=fallback)
    async with connect(stage.port) as client:
        await client.send(post())
        await upstream.seen(1)
        await until(lambda: stage.gateway.application.proxy.in_flight == 1)
        client.fin()
        await until(lambda: stage.gateway.application.proxy.in_flight == 0)
    assert len(upstream.requests) == 1
    return [GONE_WAITING]


@CASES.case("D91", "leaves while it waits in line")
async def leaves_queue(stage: Stage) -> list[Told]:
    """Of three in line the first and the last leave; the second gets the place, and nobody else was asked for them."""
    release = asyncio.Event()
    queue = {"on_limit": "queue", "queue": {"max_waiting": 5, "timeout": "60s"}}
    upstream = await stage.single(streaming(release), concurrency_limit={"max_concurrent_requests": 1}, **queue)
    async with connect(stage.port) as holder:
        await holder.send(post())
        response = await holder.head()
        async with connect(stage.port) as first, connect(stage.port) as second, connect(stage.port) as third:
            for number, client in enumerate((first, second, third), 1):
                await client.send(post())
                await until(lambda number=number: stage.waiting() == number)  # type: ignore[misc]
            first.fin()
            third.rst()
            await until(lambda: stage.waiting() == 1)
            release.set()
            await holder.rest(response)
            assert (await second.response()).whole
    assert len(upstream.requests) == 2
    return [SERVED, SERVED] + [GONE_WAITING._replace(attempts=0)] * 2


@CASES.case("D91", "leaves within its upload")
async def leaves_uploading(stage: Stage) -> list[Told]:
    """Half a request is none: nobody is asked."""
    upstream = await stage.single()
    async with connect(stage.port) as client:
        await client.send(request_head(b"Content-Length: 100") + b'{"model"')
        await until(lambda: stage.gateway.application._load.connections == 1)
        client.rst()
        await until(lambda: stage.gateway.application._load.connections == 0)
    assert not upstream.requests
    return []


@CASES.case("D91", "leaves with requests in the queue behind the first")
async def leaves_pipelined(stage: Stage) -> list[Told]:
    """What was waiting is never sent."""
    upstream = await stage.single(silent)
    async with connect(stage.port) as client:
        await client.send(post() * 3)
        await upstream.seen(1)
        client.fin()
    await until(lambda: stage.held() == 0)
    assert len(upstream.requests) == 1
    return [GONE_WAITING]


@pytest.mark.parametrize("case", CASES.parameters())
async def test_a_client_sends_what_it_should_not(lane: bool, case: Case) -> None:
    """It is refused, or served as the standard says; nobody else notices."""
    await perform(case, lane=lane)
