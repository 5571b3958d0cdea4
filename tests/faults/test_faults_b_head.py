"""Fault catalogue B: what comes back is late, or breaks off, or is no response that may be forwarded."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fault_providers import FALLBACK, INVALID, QUICK, TOO_LATE, Fault, Finish, Place, Then, scripted, sends
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import LAST_CHUNK, Peer, Script, answer, chunk, once, serve, silent
from support.raw import End, connect, get, post

HEAD_START = b"HTTP/1.1 200 OK\r\nX-A: "
INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"


def dripping(start: bytes, piece: bytes, seconds: float = 0.005) -> Place:
    """A head that goes on and on, a little at a time, until the gateway has had enough."""

    def script_of(_: Stage) -> Script:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(start)
            while not closing(peer):
                await peer.send(piece)
                await asyncio.sleep(seconds)

        return script

    return scripted(script_of)


def closing(peer: Peer) -> bool:
    return peer._writer.is_closing()


def flooding(data: bytes) -> Place:
    """A head that is longer than any head, as fast as it is taken."""

    def script_of(_: Stage) -> Script:
        async def script(peer: Peer) -> None:
            await peer.request()
            peer.write(data)
            await peer.gone()

        return script

    return scripted(script_of)


def late(number: str, name: str, place: Place) -> Fault:
    """Nothing whole within timeouts.first_byte."""
    return Fault(number, name, place, TOO_LATE, Then.MOVES, heals=False, options={"timeouts": QUICK})


def invalid(number: str, name: str, head: bytes, finish: Finish = Finish.FIN) -> Fault:
    """Bytes that are no response to forward."""
    return Fault(number, name, sends(head, then=finish), INVALID, Then.SENT)


def malformed(number: str, name: str, head: bytes) -> Fault:
    """A whole head that is refused: to a pool, like "an unasked 101". `in_pools` plays these in pools in one row."""
    return replace(invalid(number, name, head), pools=False)


def with_line(line: bytes) -> bytes:
    """A whole response with one field line more, which spoils it."""
    return b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\n{}"


def with_framing(*lines: bytes) -> bytes:
    """A response whose framing is said by these lines, with a body that fits any of them."""
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n0\r\n\r\n"


LENGTHS = {
    "two lengths": [b"Content-Length: 5", b"Content-Length: 3"],
    "a list of lengths": [b"Content-Length: 5, 5"],
    "a negative length": [b"Content-Length: -5"],
    "a signed length": [b"Content-Length: +5"],
    "a huge length": [b"Content-Length: 99999999999999999999999"],
    "an empty length": [b"Content-Length:"],
}
CODINGS = {
    "an unknown coding": [b"Transfer-Encoding: x"],
    "gzip, chunked": [b"Transfer-Encoding: gzip, chunked"],
    "chunked, gzip": [b"Transfer-Encoding: chunked, gzip"],
    "chunked twice": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
}
STATUSES = (b"99", b"600", b"1000", b"abc", b"2OO")
STRANGERS = {
    "HTTP/0.9": b"<html>hello</html>",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
}
FAULTS = [
    late("B14", "never answers", scripted(lambda _: silent)),
    late("B15", "drips its head", dripping(HEAD_START, b"x")),
    late("B15", "drips field after field", dripping(HEAD_START, b"1\r\nX-B: ")),
    invalid("B16", "closes before any byte", b""),
    invalid("B16", "resets before any byte", b"", Finish.RST),
    invalid("B17", "closes in the status line", b"HTTP/1.1 20"),
    invalid("B17", "resets in the status line", b"HTTP/1.1 20", Finish.RST),
    invalid("B17", "closes in the fields", HEAD_START),
    invalid("B17", "resets in the fields", HEAD_START, Finish.RST),
    invalid("B18", "closes behind an interim response", INTERIM),
    late("B19", "interim responses without end", dripping(b"", INTERIM, 0.03)),
    Fault("B19", "a flood of interim responses", flooding(INTERIM * 20_000), INVALID, Then.SENT),
    invalid("B21", "an unasked 101", b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
    Fault("B23", "a line without end", flooding(HEAD_START + b"x" * 2_000_000), INVALID, Then.SENT),
    Fault("B24", "fields without end", flooding(HEAD_START + b"\r\nX-A: 1" * 200_000), INVALID, Then.SENT),
    *(malformed("B25", name, with_framing(*lines)) for name, lines in LENGTHS.items()),
    malformed("B26", "length and coding", with_framing(b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    malformed("B26", "coding and length", with_framing(b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    *(malformed("B27", name, with_framing(*lines)) for name, lines in CODINGS.items()),
    malformed("B29", "NUL in a value", with_line(b"X-A: a\0b")),
    malformed("B29", "CR in a value", with_line(b"X-A: a\rb")),
    malformed("B29", "a control character in a value", with_line(b"X-A: a\x07b")),
    malformed("B31", "a folded line", with_line(b"X-A: a\r\n b")),
    malformed("B32", "a space before the colon", with_line(b"X-A : a")),
    malformed("B33", "no colon", with_line(b"X-A")),
    malformed("B34", "LF in place of CRLF", with_line(b"X-A: a").replace(b"\r\n", b"\n")),
    *(malformed("B35", f"status {s.decode()}", b"HTTP/1.1 %b X\r\nContent-Length: 0\r\n\r\n" % s) for s in STATUSES),
    *(malformed("B36", f"speaks {name}", data) for name, data in STRANGERS.items()),
]
CASES = Table(case for fault in FAULTS for case in fault.cases())

COOKIES = b"Set-Cookie: a=1, b\r\nX-Between: 1\r\nset-cookie: c=2\r\n"
FIELDS = b"Server: them\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\nContent-Encoding: x-own\r\n"
LONG = b"X-Long: " + b"a" * 16_000 + b"\r\n"
MANY = b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(200))
FINE = {
    ("B20", "100 that nobody asked for"): (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}"), b""),
    ("B22", "103 in front"): (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b"{}"), b""),
    ("B23", "a value of 16 KiB"): (answer(b"{}", fields=LONG), LONG),
    ("B24", "200 fields"): (answer(b"{}", fields=MANY), MANY),
    ("B30", "latin-1 in a value"): (answer(b"{}", fields=b"X-A: caf\xe9\r\n"), b"X-A: caf\xe9\r\n"),
    ("B37", "no reason"): (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", b""),
    ("B40", "two cookies"): (answer(b"{}", fields=COOKIES), COOKIES),
    ("B41", "hop-by-hop fields"): (
        answer(b"{}", fields=b"Keep-Alive: timeout=5\r\nConnection: X-Hop, keep-alive\r\nX-Hop: 1\r\nX-End: 1\r\n"),
        b"X-End: 1\r\n",
    ),
    ("B42", "fields of its own about the body"): (answer(b"{}", fields=FIELDS), FIELDS),
}


def forwarded(number: str, name: str, raw: bytes, fields: bytes) -> Case:
    """An odd but legal response: it arrives, with these fields and no others, and its connection serves again."""

    async def play(stage: Stage) -> list[Told]:
        upstream = await stage.single(serve(raw, answer()))
        response = await stage.ask()
        reason = b"HTTP/1.1 200 \r\n" if number == "B37" else b"HTTP/1.1 200 OK\r\n"
        assert response.head == reason + fields + b"Content-Length: 2\r\n\r\n"
        assert (response.body, response.end) == (b"{}", End.WHOLE)
        assert (await stage.ask()).body == b'{"ok":true}'
        assert len(upstream.peers) == 1
        return [SERVED, SERVED]

    return Case(number, name, play)


CASES += [forwarded(*key, *value) for key, value in FINE.items()]


def bodiless(number: str, name: str, raw: bytes, request: bytes = post()) -> Case:
    """A response that has no body whatever it says: the client's connection serves on, and so does the provider."""

    async def play(stage: Stage) -> list[Told]:
        await stage.single(once(raw), serve())
        async with connect(stage.port) as client:
            await client.send(request)
            response = await client.response(to_head=request.startswith(b"HEAD"))
            await client.send(post())
            assert (await client.response()).body == b'{"ok":true}'
        return [Told(response.status, "done"), SERVED]

    return Case(number, name, play)


async def in_pools(stage: Stage, *, retry_sent: bool = False, get_: bool = False) -> list[Told]:
    """Each malformed head in a pool of its own, before one other provider."""
    second = await stage.origin()
    faults = [fault for fault in FAULTS if not fault.pools]
    fallback = {**FALLBACK, "retry_sent": retry_sent}
    targets: dict[str, object] = {}
    for number, fault in enumerate(faults):
        providers = [await fault.place(stage), {"url": second.url}]
        targets[f"m{number}"] = {"strategy": "priority", "providers": providers, "fallback": fallback}
    await stage.start(targets)
    for number, fault in enumerate(faults):
        raw = get(b"/v1/x", b"Model-Override: m%d\r\n" % number) if get_ else post(b'{"model":"m%d"}' % number)
        response = await stage.ask(raw)
        moved = retry_sent or get_
        assert response.status == (200 if moved else INVALID.status), fault.name
        assert len(second.requests) == (number + 1 if moved else 0), fault.name
    return [SERVED._replace(attempts=2) if retry_sent or get_ else INVALID] * len(faults)


@CASES.case("B25", "malformed heads, POST stays")
async def stays_in_pools(stage: Stage) -> list[Told]:
    """The request was sent: no other provider is asked."""
    return await in_pools(stage)


@CASES.case("B25", "malformed heads, POST opted in")
async def opted_in_pools(stage: Stage) -> list[Told]:
    """`retry_sent`."""
    return await in_pools(stage, retry_sent=True)


@CASES.case("B25", "malformed heads, GET moves on")
async def moves_in_pools(stage: Stage) -> list[Told]:
    """It may be repeated (RFC 9110 section 9.2.2)."""
    return await in_pools(stage, get_=True)


HEAD_REQUEST = get(b"/v1/x", b"Model-Override: m\r\n").replace(b"GET", b"HEAD")
CASES += [
    bodiless("B38", "204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    bodiless("B38", "204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    bodiless("B38", "304 with a body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"),
    bodiless("B38", "HEAD with a body", answer(b"hello"), HEAD_REQUEST),
    bodiless("B38", "HEAD of a chunked answer", with_framing(b"Transfer-Encoding: chunked"), HEAD_REQUEST),
    bodiless("B39", "205 without a body", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    bodiless("B39", "205 with a body", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello"),
]


@CASES.case("B28", "HTTP/1.0 with a transfer coding")
async def coded_http10(stage: Stage) -> list[Told]:
    """RFC 9112 section 6.1: faulty framing; refused, or its connection is not used again."""
    raw = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n" + chunk(b"{}") + LAST_CHUNK
    upstream = await stage.single(serve(raw), serve())
    response = await stage.ask()
    assert (await stage.ask()).body == b'{"ok":true}'
    assert [len(peer.requests) for peer in upstream.peers] == [1, 1]
    assert response.status in (200, 502)
    return [SERVED if response.status == 200 else INVALID, SERVED]


@pytest.mark.parametrize("case", CASES.parameters())
async def test_a_head_is_late_broken_or_none(lane: bool, case: Case) -> None:
    """A clean error of ours before commit; whatever may be forwarded arrives byte for byte."""
    await perform(case, lane=lane)
