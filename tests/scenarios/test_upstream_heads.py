"""Faults of a provider before its response head is complete: the client gets a proper error, and no connection with
stray bytes is reused."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme
from support.gateway import running
from support.origin import Peer, Script, answer, once, serve
from support.raw import ask, connect, get, post
from support.scene import proxied
from support.targets import single

INVALID = {
    "nothing but FIN in the status line": b"HTTP/1.1 20",
    "FIN within the fields": b"HTTP/1.1 200 OK\r\nContent-Le",
    "FIN behind an interim response": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "unasked 101 with no Upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length list": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
    "empty length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n{}",
    "CL and TE": b"HTTP/1.1 200 \r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "CR in a value": b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 2\r\n\r\n{}",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "space before the colon": b"HTTP/1.1 200 OK\r\nX-A : a\r\nContent-Length: 2\r\n\r\n{}",
    "no colon": b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\n{}",
    "status 99": b"HTTP/1.1 99 X\r\nContent-Length: 2\r\n\r\n{}",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\n{}",
    "status 1000": b"HTTP/1.1 1000 X\r\nContent-Length: 2\r\n\r\n{}",
    "status in letters": b"HTTP/1.1 OK OK\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/0.9": b"<html>hello</html>",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "TLS alert on a plain port": b"\x15\x03\x01\x00\x02\x02\x16",
}

INTERIM = b"HTTP/1.1 102 Processing\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
AT_ONCE = {
    **{
        f"it calls itself {name.decode()}": name + b" 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        for name in (b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.0", b"HTTP/1.2", b"RTSP/1.0", b"ICE/1.0", b"ICE/1.1")
    },
    "an interim response of RTSP": b"RTSP/1.0 102 X\r\n\r\n" + answer(),
    **{
        f"a reason with {byte!r}": b"HTTP/1.1 200 O%bK\r\nContent-Length: 2\r\n\r\n{}" % byte
        for byte in (b"\0", b"\x1b[31m", b"\x07", b"\x0b", b"\x7f")
    },
    "a bare LF before it": b"\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "ESC in a value": b"HTTP/1.1 200 OK\r\nX: a\x1bb\r\nContent-Length: 2\r\n\r\n{}",
    "DEL in a value": b"HTTP/1.1 200 OK\r\nX: a\x7fb\r\nContent-Length: 2\r\n\r\n{}",
    "an eight-bit byte in a name": b"HTTP/1.1 200 OK\r\nX\xe9: a\r\nContent-Length: 2\r\n\r\n{}",
    "a bad chunk behind the head": CHUNKED + b"zz\r\n",
    "a chunk longer than it says": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "a bad chunk behind a good one": CHUNKED + b"9\r\ndata: 1\n\n\r\n-1\r\n",
    "a chunk without end": CHUNKED + b"ffffffffffffffff\r\nx",
    "a bad trailer": CHUNKED + b"0\r\nX\x01: y\r\n\r\n",
}

FINE = {
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", 200),
    "empty reason": (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}", 200),
    "HTTP/1.0 with a length": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200),
    "100 without Expect": (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"{}"), 200),
    "103 with fields": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b"{}"), 200),
    "HTTP/1.0 behind an interim response": (INTERIM + b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200),
    "tabs and eight bits in the reason": (b"HTTP/1.1 200 \xe9\t\xff\r\nContent-Length: 2\r\n\r\n{}", 200),
    "three interim ones": (b"HTTP/1.1 102 Processing\r\nX-I: 1\r\n\r\n" * 3 + answer(b"{}"), 200),
    "a rare status": (b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\n{}", 299),
    "an unknown error": (b"HTTP/1.1 529 Site Is Overloaded\r\nContent-Length: 2\r\n\r\n{}", 529),
}


@pytest.mark.either_door
@pytest.mark.parametrize("case", INVALID)
async def test_an_invalid_response_head_is_502(lane: bool, case: str) -> None:
    """The body is the proxy's own envelope. The connection is closed, and the next request succeeds."""
    async with proxied(lane, once(INVALID[case]), serve()) as (upstream, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.response()
        await client.send(post())
        following = await client.response()
    assert (response.status, response.error["code"]) == (502, "bad_gateway")
    assert response.names == [b"Content-Type", b"Content-Length"]
    assert (following.status, following.body) == (200, b'{"ok":true}')
    assert len(upstream.peers) == 2
    assert [line["outcome"] for line in gateway.lines()] == ["upstream_invalid", "done"]


@pytest.mark.either_door
@pytest.mark.parametrize("case", AT_ONCE)
async def test_an_invalid_response_head_is_502_at_once(lane: bool, case: str) -> None:
    """It comes in one read, and the provider keeps the connection open. No part of it is forwarded."""
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(AT_ONCE[case])
        await peer.gone()
        closed.set()

    async with proxied(lane, script, serve()) as (upstream, gateway):
        response = await ask(gateway.port, post())
        await asyncio.wait_for(closed.wait(), 5)
        following = await ask(gateway.port, post())
    assert (response.status, response.error["code"]) == (502, "bad_gateway")
    assert response.names == [b"Content-Type", b"Content-Length"]
    assert following.status == 200
    assert len(upstream.peers) == 2


async def test_chunked_twice_is_502(lane: bool) -> None:
    """ "chunked, chunked" is forbidden (RFC 9112 section 6.1), on one line or on two."""
    raw = b"HTTP/1.1 200 OK\r\n" + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n"
    async with proxied(lane, once(raw)) as (_, gateway):
        response = await ask(gateway.port, post())
    assert response.status == 502


@pytest.mark.parametrize("case", FINE)
async def test_odd_but_legal_heads_are_forwarded(lane: bool, case: str) -> None:
    """Interim responses are dropped, and their fields do not appear in the final head."""
    raw, status = FINE[case]
    async with proxied(lane, once(raw)) as (_, gateway):
        response = await ask(gateway.port, post())
    assert (response.status, response.body) == (status, b"{}")
    assert response.names == [b"Content-Length"]
    assert response.whole


async def test_a_counted_body_may_begin_like_the_size_of_a_chunk(lane: bool) -> None:
    """This holds even if only a part of the body comes with the head."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n" + b"f" * 17)
        await seen.wait()
        await peer.send(b"f")

    seen = asyncio.Event()
    async with proxied(lane, script) as (_, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.head()
        seen.set()
        await client.rest(response)
    assert (response.status, response.body, response.whole) == (200, b"f" * 18, True)


@pytest.mark.either_door
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nX-A: 1"], ids=["before any byte", "in the head"])
async def test_a_connection_that_ends_before_the_head_is_502(lane: bool, sent: bytes, reset: bool) -> None:
    """The connection ends with FIN or RST."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        if reset:
            peer.rst()

    async with proxied(lane, script) as (_, gateway):
        response = await ask(gateway.port, post())
    assert (response.status, response.error["code"]) == (502, "bad_gateway")
    assert gateway.lines()[0]["outcome"] == "upstream_invalid"


def _dripping(piece: bytes, stop: asyncio.Event) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" if piece != b"HTTP/1.1 102 X\r\n\r\n" else b"")
        while not stop.is_set():
            await peer.send(piece)
            await asyncio.sleep(0.005)

    return script


@pytest.mark.parametrize("piece", [b"X", b"X-A: 1\r\n", b"HTTP/1.1 102 X\r\n\r\n"], ids=["byte", "field", "interim"])
async def test_a_head_that_drips_is_bounded(lane: bool, piece: bytes) -> None:
    """``first_byte`` bounds the complete head. Neither single bytes nor interim responses extend it."""
    stop = asyncio.Event()
    async with proxied(lane, _dripping(piece, stop), timeouts={"first_byte": "60ms"}) as (_, gateway):
        response = await ask(gateway.port, post())
        stop.set()
    assert response.status in (502, 504)


@pytest.mark.parametrize(
    "flood",
    [b"HTTP/1.1 102 X\r\n\r\n" * 20_000, b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 200_000, b"X" * 2_000_000],
    ids=["interim responses", "fields", "a line"],
)
async def test_a_head_without_end_is_bounded(lane: bool, flood: bytes) -> None:
    """A provider cannot fill the proxy's memory."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(flood)
        await peer.gone()

    async with proxied(lane, script) as (_, gateway):
        response = await ask(gateway.port, post())
    assert response.status == 502
    assert gateway.lines()[0]["outcome"] == "upstream_invalid"


async def test_large_heads_that_providers_send_pass(lane: bool) -> None:
    """Some gateways send values of 8 KiB and 200 fields."""
    fields = b"X-Long: " + b"a" * 16_000 + b"\r\n" + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(200))
    async with proxied(lane, serve(answer(b"{}", fields=fields))) as (_, gateway):
        response = await ask(gateway.port, post())
    assert response.head == b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\n"


@pytest.mark.parametrize("value", [b"caf\xe9", "日本".encode(), b"a\tb"], ids=["latin-1", "UTF-8", "tab"])
async def test_eight_bit_values_arrive_byte_for_byte(lane: bool, value: bytes) -> None:
    """No byte is dropped or replaced."""
    async with proxied(lane, serve(answer(b"{}", fields=b"X-A: %b\r\n" % value))) as (_, gateway):
        response = await ask(gateway.port, post())
    assert response.values(b"x-a") == [value]


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_statuses_without_body_have_none(lane: bool, status: bytes) -> None:
    """A length in the head does not matter, and the connection to the client stays usable."""
    raw = b'HTTP/1.1 %b\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n' % status
    async with proxied(lane, once(raw), serve()) as (_, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.response()
        await client.send(post())
        following = await client.response()
    assert response.status == int(status[:3])
    assert response.values(b"content-length") == ([] if response.status == 204 else [b"5"])
    assert following.body == b'{"ok":true}'


@pytest.mark.parametrize("extra", [b"", b"hello"], ids=["as promised", "with a body all the same"])
async def test_head_has_no_body_and_keeps_its_length(lane: bool, extra: bytes) -> None:
    """Content-Length of a HEAD response is that of the GET response."""
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + extra
    head = get(b"/v1/x", b"Model-Override: m\r\n").replace(b"GET", b"HEAD")
    async with proxied(lane, once(raw), serve()) as (_, gateway), connect(gateway.port) as client:
        await client.send(head)
        response = await client.response(to_head=True)
        await client.send(post())
        following = await client.response()
    assert response.head == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    assert following.body == b'{"ok":true}'


async def test_a_plain_server_on_a_tls_port_is_unreachable(lane: bool) -> None:
    """No byte of the request was sent, so fallback is allowed."""

    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with proxied(lane, plain) as (upstream, _):
        url = upstream.url.replace("http:", "https:")
        async with running(single(url), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert (response.status, response.error["code"]) == (503, "upstream_unreachable")


@pytest.mark.parametrize("trusted", [True, False], ids=["by our CA", "by another CA"])
async def test_certificates_are_checked(lane: bool, trusted: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With an untrusted certificate the proxy sends no request, and never without TLS."""
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (authority if trusted else stranger).issue_cert("127.0.0.1").configure_cert(context)
    requests: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with running(single(url, tls={"ca_file": str(folder / "ca.pem")}), lane=lane) as gateway:
        response = await ask(gateway.port, post())
    server.close()
    assert response.status == (200 if trusted else 503)
    assert len(requests) == int(trusted)
