"""Fault catalogue C: the response has begun, or its connection is to serve again."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from fault_providers import (
    BODY,
    CUT,
    FALLBACK,
    INVALID,
    QUICK,
    TOO_LATE,
    Fault,
    Finish,
    Then,
    leave,
    scripted,
    sends,
)
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, Script, answer, chunk, once, serve, silent
from support.raw import End, connect, get, post
from support.scene import until

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
EVENT = b"data: 1\n\n"
STALLED = Told(200, "upstream_idle")
PATIENCE = {"timeouts": {"idle": "60ms"}}
ESTABLISHED = "01"
GET = get(b"/v1/x", b"Model-Override: m\r\n")


def cut(number: str, name: str, sent: bytes, body: bytes, finish: Finish = Finish.FIN) -> Fault:
    """A body that ends before its announced end, after the client has the head."""
    return Fault(number, name, sends(sent, then=finish, waits=True), CUT, Then.COMMITTED, body=body)


def garbled(name: str, bad: bytes) -> Fault:
    """A good chunk, and once that is through something that is no chunk."""

    def script_of(stage: Stage) -> Script:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(CHUNKED + chunk(b"abc"))
            await stage.go.wait()
            await peer.send(bad)
            await peer.gone()

        return script

    return Fault("C45", name, scripted(script_of), CUT, Then.COMMITTED, body=b"abcde")


def status(line: bytes, fields: bytes = b"") -> Fault:
    """A whole response with a status that the pool gives up; alone it is the answer, field for field."""
    told = Told(int(line[:3]), "done")
    return Fault("C-retry", line.decode(), sends(answer(b"no", line, fields)), told, Then.MOVES, body=b"no")


async def deaf(peer: Peer) -> None:
    """Take a connection and read nothing from it."""
    peer._reader._transport.pause_reading()  # type: ignore[attr-defined]
    while not peer._writer.is_closing():  # noqa: ASYNC110  (who does not read is not told)
        await asyncio.sleep(0.005)


FAULTS = [
    *(
        cut(number, f"{finish.value} {name}", sent, body, finish)
        for finish in (Finish.FIN, Finish.RST)
        for number, name, sent, body in [
            ("C43", "within its length", LENGTH + b"abc", b"abc"),
            ("C43", "before the first byte of its length", LENGTH, b""),
            ("C44", "within a chunk size", CHUNKED + b"3\r\nabc\r\n1", b"abc"),
            ("C44", "within a chunk", CHUNKED + b"3\r\nabc\r\n5\r\nde", b"abcde"),
            ("C44", "before the last chunk", CHUNKED + b"3\r\nabc\r\n", b"abc"),
            ("C44", "before the final line end", CHUNKED + b"3\r\nabc\r\n0\r\n", b"abc"),
            ("C44", "within an event stream", STREAM_HEAD + chunk(EVENT), EVENT),
        ]
    ),
    cut("C43", "RST within a body that lasts until the close", CLOSE + b"abc", b"abc", Finish.RST),
    garbled("a chunk size that is none", b"zz\r\n"),
    garbled("a negative chunk size", b"-1\r\n"),
    garbled("a chunk size beyond 64 bits", b"ffffffffffffffffff\r\n"),
    garbled("a chunk longer than it says", b"1\r\ndXe\r\n"),
    garbled("LF in place of a chunk's CRLF", b"1\nd\n"),
    garbled("a chunk extension without end", b"1;" + b"x" * 2_000_000),
    garbled("trailers without end", b"0\r\n" + b"X-A: 1\r\n" * 200_000),
    Fault(
        "C48", "stalls within its length", sends(LENGTH + b"abc", then=Finish.STAYS), STALLED, Then.COMMITTED,
        body=b"abc", heals=False, options=PATIENCE,
    ),
    Fault(
        "C48", "stalls within a stream", sends(STREAM_HEAD, chunk(EVENT), then=Finish.STAYS), STALLED, Then.COMMITTED,
        body=EVENT, heals=False, options=PATIENCE,
    ),
    *(status(line) for line in (b"429 X", b"500 X", b"502 X", b"503 X", b"504 X", b"529 X")),
]  # fmt: skip
CASES = Table(case for fault in FAULTS for case in fault.cases())


@CASES.case("C43", "FIN ends a body that lasts until the close")
async def until_the_close(stage: Stage) -> list[Told]:
    """RFC 9112 section 6.3 rule 8: the body is complete, and the client gets a last chunk."""
    await stage.single(once(CLOSE + b"abc"))
    response = await stage.ask()
    assert (response.body, response.end) == (b"abc", End.WHOLE)
    return [SERVED]


def poisoned(number: str, name: str, whole: bytes, poison: bytes) -> Case:
    """Bytes behind a complete response are dropped, and their connection is not used again."""

    later = number != "C46"

    async def play(stage: Stage) -> list[Told]:
        closed = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(whole if later else whole + poison)
            if later:
                await stage.go.wait()
                await peer.send(poison)
            await peer.gone()
            closed.set()

        upstream = await stage.single(script, serve())
        response = await stage.ask()
        assert (response.body, response.end) == (b"abc", End.WHOLE)
        await asyncio.wait_for(closed.wait(), 5)
        assert (await stage.ask()).body == b'{"ok":true}'
        assert [len(peer.requests) for peer in upstream.peers] == [1, 1]
        return [SERVED, SERVED]

    return Case(number, name, play)


CASES += [
    poisoned("C46", "a byte behind a length", answer(b"abc"), b"x"),
    poisoned("C46", "a response behind a length", answer(b"abc"), answer(b"poison")),
    poisoned("C46", "a byte behind the last chunk", CHUNKED + chunk(b"abc") + LAST_CHUNK, b"x"),
    poisoned("C46", "a response behind the last chunk", CHUNKED + chunk(b"abc") + LAST_CHUNK, answer(b"poison")),
    poisoned("C47", "a byte, later", answer(b"abc"), b"x"),
    poisoned("C47", "a response, later", answer(b"abc"), answer(b"poison")),
    poisoned("C55", "408 on an idle connection", answer(b"abc"), b"HTTP/1.1 408 X\r\nConnection: close\r\n\r\n"),
    poisoned("C55", "400 on an idle connection", answer(b"abc"), answer(b"bad", b"400 X")),
]


@CASES.case("C49", "drips its body without end")
async def dripping(stage: Stage) -> list[Told]:
    """Never idle for long, but timeouts.total ends it: cut."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        while not peer._writer.is_closing():
            await peer.send(chunk(EVENT))
            await asyncio.sleep(0.005)

    await stage.single(script, timeouts={"total": "300ms"})
    response = await stage.ask()
    assert response.status == 200
    assert not response.whole
    return [Told(200, "size_or_time_limit")]


@CASES.case("C50", "chunks of one byte")
async def one_byte_chunks(stage: Stage) -> list[Told]:
    """20,000 of them arrive as the bytes that they are."""
    body = bytes(range(256)) * 80
    await stage.single(serve(CHUNKED + b"".join(map(chunk, (bytes([byte]) for byte in body))) + LAST_CHUNK))
    response = await stage.ask()
    assert (response.body, response.end) == (body, End.WHOLE)
    return [SERVED]


@CASES.case("C51", "gzip that must be read")
async def gzip_to_translate(stage: Stage) -> list[Told]:
    """Translation has to read the answer; one that was coded without being asked for is refused, not passed on."""
    await stage.single(once(answer(gzip.compress(b"{}"), fields=b"Content-Encoding: gzip\r\n")),
                       open_responses_mode="translate")  # fmt: skip
    response = await stage.ask(post(b'{"model":"m","input":"x"}', b"/v1/responses"))
    assert response.status == 502
    return [Told(502, "upstream_cut")]


def race(number: str, method: str, finish: Finish) -> Case:
    """A kept connection that dies at the next request, not a byte of it answered: sent once more, on a fresh one."""

    async def play(stage: Stage) -> list[Told]:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(answer())
            await peer.request()
            await leave(peer, finish)

        upstream = await stage.single(script, serve())
        request = post(BODY) if method == "POST" else GET
        for _ in range(2):
            assert (await stage.ask(request)).status == 200
        assert [len(peer.requests) for peer in upstream.peers] == [2, 1]
        return [SERVED, SERVED._replace(attempts=2)]

    return Case(number, f"{method} on a kept connection that ends by {finish.value}", play)


CASES += [
    race(number, method, finish)
    for number, finish in (("C52", Finish.FIN), ("C53", Finish.RST))
    for method in ("POST", "GET")
]


@CASES.case("C53", "a kept connection that dies, and the fresh one too")
async def dies_twice(stage: Stage) -> list[Told]:
    """Once more is once: then it is the provider's failure."""

    async def twice(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.request()

    async def dies(peer: Peer) -> None:
        await peer.request()

    upstream = await stage.single(twice, dies, serve())
    assert (await stage.ask()).status == 200
    assert (await stage.ask()).status == 502
    assert [len(peer.requests) for peer in upstream.peers] == [2, 1]
    return [SERVED, INVALID._replace(attempts=2)]


@CASES.case("C53", "a kept connection that dies with a byte of the answer")
async def dies_answering(stage: Stage) -> list[Told]:
    """What has begun to answer has worked: not sent again."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.request()
        await peer.send(b"HTTP/1.1 200")

    upstream = await stage.single(script, serve())
    assert (await stage.ask()).status == 200
    assert (await stage.ask()).status == 502
    assert len(upstream.peers) == 1
    return [SERVED, INVALID]


def not_kept(number: str, name: str, response: bytes, finish: Finish = Finish.STAYS) -> Case:
    """A connection that is to serve no more gets no second request; the client's own stays open."""

    async def play(stage: Stage) -> list[Told]:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(response)
            if finish is Finish.FIN:
                peer.half_close()
            await peer.gone()

        upstream = await stage.single(script)
        async with connect(stage.port) as client:
            for _ in range(3):
                await client.send(post())
                assert (await client.response()).body == b"{}"
        assert [len(peer.requests) for peer in upstream.peers] == [1, 1, 1]
        return [SERVED] * 3

    return Case(number, name, play)


CASES += [
    not_kept("C54", "Connection: close", answer(b"{}", fields=b"Connection: close\r\n")),
    not_kept("C54", "close in a list", answer(b"{}", fields=b"connection: X-A, Close\r\n")),
    not_kept("C54", "HTTP/1.0", answer(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0")),
    not_kept("C56", "half a close behind the response", answer(b"{}"), Finish.FIN),
]

LARGE = b'{"model":"m","x":"' + b"y" * 4_000_000 + b'"}'
HUGE = b'{"model":"m","x":"' + b"y" * 40_000_000 + b'"}'


@CASES.case("C57", "answers before the body was read, and closes")
async def early_and_closed(stage: Stage) -> list[Told]:
    """413, 401, 429 before the end of the request: passed on, although its rest can no longer be sent."""

    async def script(peer: Peer) -> None:
        await peer.request_head()
        await peer.send(answer(b"no", b"413 X", b"Connection: close\r\n"))
        peer.half_close()
        await peer.gone()

    await stage.single(script, serve())
    response = await stage.ask(post(LARGE))
    assert (response.status, response.body) == (413, b"no")
    assert (await stage.ask()).body == b'{"ok":true}'
    return [Told(413, "done"), SERVED]


@CASES.case("C57", "answers before the body was read, reads it, and serves on")
async def early_and_kept(stage: Stage) -> list[Told]:
    """Whether the connection is kept or not: what it is sent next is a request, and not the rest of the first."""

    async def script(peer: Peer) -> None:
        await peer.request_head()
        await peer.send(answer(b"no", b"413 X"))
        await peer._reader.readexactly(len(LARGE))
        await serve()(peer)

    upstream = await stage.single(script, serve())
    assert (await stage.ask(post(LARGE))).status == 413
    assert (await stage.ask(post(BODY))).body == b'{"ok":true}'
    assert [request.body for request in upstream.requests] == [BODY]
    return [Told(413, "done"), SERVED]


@CASES.case("C59", "answers whole, and never reads the rest of the request")
async def answers_while_sent(stage: Stage) -> list[Told]:
    """The connection is not used again, and is not kept for ever for bytes that the provider does not read."""

    async def script(peer: Peer) -> None:
        await peer.request_head()
        await peer.send(answer(b"abc"))
        await deaf(peer)

    upstream = await stage.single(script, serve())
    assert (await stage.ask(post(HUGE))).body == b"abc"
    assert (await stage.ask(post(BODY))).body == b'{"ok":true}'
    assert [len(peer.requests) for peer in upstream.peers] == [0, 1]
    await until(lambda: open_connections(upstream.port) == 1)
    return [SERVED, SERVED]


def open_connections(port: int) -> int:
    """Open connections of this machine to ``port``, as Linux lists them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == ESTABLISHED for row in rows)


@CASES.case("C58", "never reads the request")
async def never_reads(stage: Stage) -> list[Told]:
    """The time for the head runs from the beginning: 504, not a hang."""
    await stage.single(deaf, timeouts=QUICK)
    assert (await stage.ask(post(LARGE))).status == 504
    return [TOO_LATE]


@CASES.case("C-retry", "nobody is left: the last response arrives as it was")
async def exhausted(stage: Stage) -> list[Told]:
    """Retry-After and rate-limit fields of the provider's own."""
    busy = answer(b'{"error":"busy"}', b"429 Slow Down", b"Retry-After: 17\r\nX-RateLimit-Reset: 9\r\n")
    first, second = await stage.origin(serve(busy)), await stage.origin(serve(busy))
    providers = [{"url": first.url}, {"url": second.url}]
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": FALLBACK}})
    response = await stage.ask()
    assert (response.status, response.reason, response.body) == (429, b"Slow Down", b'{"error":"busy"}')
    assert (response.value(b"retry-after"), response.value(b"x-ratelimit-reset")) == (b"17", b"9")
    return [Told(429, "done", None, 2)]


@CASES.case("C-retry", "the next fails otherwise: the first one's response is the answer")
async def first_response_kept(stage: Stage) -> list[Told]:
    """A response is more useful than a failure: its Retry-After is kept."""
    busy = answer(b"busy", b"503 X", b"Retry-After: 17\r\n")
    first, second = await stage.origin(serve(busy)), await stage.origin(silent)
    providers = [{"url": first.url}, {"url": second.url, "timeouts": QUICK}]
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": FALLBACK}})
    response = await stage.ask()
    assert (response.status, response.body, response.value(b"retry-after")) == (503, b"busy", b"17")
    return [Told(503, "done", None, 2)]


@CASES.case("C-retry", "a client's error is not another provider's business")
async def client_error(stage: Stage) -> list[Told]:
    """400, 401, 404, 422: the answer, at once."""
    lines = (b"400 X", b"401 X", b"404 X", b"422 X")
    first = await stage.origin(serve(*(answer(b"no", line) for line in lines)))
    second = await stage.origin()
    providers = [{"url": first.url}, {"url": second.url}]
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": FALLBACK}})
    for line in lines:
        assert (await stage.ask()).status == int(line[:3])
    assert not second.peers
    return [Told(int(line[:3]), "done") for line in lines]


@pytest.mark.parametrize("case", CASES.parameters())
async def test_a_body_breaks_off_or_a_connection_is_spent(lane: bool, case: Case) -> None:
    """A cut answer is never presented as whole, and no byte of one response becomes part of another."""
    await perform(case, lane=lane)
