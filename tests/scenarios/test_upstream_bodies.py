"""Faults of a provider after its response head: a cut body never looks complete, and no byte of one response becomes
part of another."""

from __future__ import annotations

import asyncio

import pytest
from support.gateway import running
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, Script, answer, chunk, once, origin, serve
from support.raw import End, ask, connect, post
from support.scene import proxied, until
from support.targets import snapshot

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"

CUT = {
    "a third of its length": LENGTH + b"abc",
    "nothing of its length": LENGTH,
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "nothing at all, chunked": CHUNKED,
    "within a chunk size": CHUNKED + b"3\r\nabc\r\n1",
    "within a chunk": CHUNKED + b"3\r\nabc\r\n5\r\nde",
    "before the final line end": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "an event stream": STREAM_HEAD + chunk(b"data: 1\n\n"),
}

BROKEN = {
    "a chunk size that is none": b"zz\r\n",
    "a negative chunk size": b"-1\r\n",
    "a chunk size beyond 64 bits": b"ffffffffffffffffff\r\n",
    "a chunk longer than it says": b"1\r\nab\r\n",
    "bare LF in place of a line end": b"3\nabc\n",
}


def cutting(sent: bytes, reset: bool, told: asyncio.Event) -> Script:
    """Send, wait until the client has read all that can be read, and end."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await told.wait()
        if reset:
            peer.rst()

    return script


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("case", CUT)
async def test_a_cut_body_never_looks_complete(lane: bool, case: str, reset: bool) -> None:
    """The body lacks bytes of its length or its last chunk. The received bytes are delivered."""
    told = asyncio.Event()
    async with proxied(lane, cutting(CUT[case], reset, told)) as (_, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.head()
        told.set()
        await client.rest(response)
    assert response.status == 200
    assert response.end in (End.CLOSED, End.RESET)
    (line,) = gateway.lines()
    assert (line["outcome"], line["status"]) == ("upstream_cut", 200)


@pytest.mark.parametrize("case", BROKEN)
async def test_invalid_chunked_coding_cuts_the_body(lane: bool, case: str) -> None:
    """The bytes before it arrive, then the connection is cut. The next request uses a new connection."""
    async with proxied(lane, once(CHUNKED + b"3\r\nabc\r\n" + BROKEN[case] + LAST_CHUNK), serve()) as (_, gateway):
        response = await ask(gateway.port, post())
        following = await ask(gateway.port, post())
    assert response.status in (200, 502)
    assert not (response.status == 200 and response.whole)
    assert following.body == b'{"ok":true}'


async def test_a_body_that_lasts_until_the_close_ends_well_with_fin(lane: bool) -> None:
    """RFC 9112 section 6.3 rule 8: the client gets a chunked body with its last chunk."""
    async with proxied(lane, once(CLOSE + b"abc")) as (_, gateway):
        response = await ask(gateway.port, post())
    assert (response.body, response.end) == (b"abc", End.WHOLE)
    assert gateway.lines()[0]["outcome"] == "done"


async def test_a_body_that_lasts_until_the_close_is_cut_by_reset(lane: bool) -> None:
    """Envoy and simple proxies treat a reset as a regular end; this proxy does not."""
    told = asyncio.Event()
    async with proxied(lane, cutting(CLOSE + b"abc", True, told)) as (_, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.head()
        assert await client.chunk(response) == b"abc"
        told.set()
        await client.rest(response)
    assert not response.whole
    assert gateway.lines()[0]["outcome"] == "upstream_cut"


async def test_an_http10_client_can_tell_a_cut_body_from_a_whole_one(lane: bool) -> None:
    """For this client only the close ends the body, so a cut body must end with a reset."""
    request = post().replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    ends = []
    for tail in (LAST_CHUNK, b""):
        told = asyncio.Event()
        script = cutting(CHUNKED + chunk(b"abc") + tail, False, told)
        async with proxied(lane, script) as (_, gateway), connect(gateway.port) as client:
            await client.send(request)
            response = await client.head()
            assert await client.exactly(3) == b"abc"
            told.set()
            ends.append(await client.closed())
        assert response.value(b"transfer-encoding") is None
    assert ends == [End.CLOSED, End.RESET]


async def test_trailers_are_dropped_and_never_become_headers(lane: bool) -> None:
    """Chunk extensions are not forwarded either."""
    raw = CHUNKED + b"3;ext=1\r\nabc\r\n0\r\nX-T: 1\r\nSet-Cookie: a\r\n\r\n"
    async with proxied(lane, serve(raw)) as (upstream, gateway), connect(gateway.port) as client:
        for _ in range(2):
            await client.send(post())
            response = await client.response()
            assert (response.body, response.whole) == (b"abc", True)
            assert response.names == [b"Transfer-Encoding"]
    assert b"X-T" not in client.raw
    assert b"ext" not in client.raw
    assert len(upstream.peers) == 1


@pytest.mark.parametrize("body", [CHUNKED + chunk(b"abc") + LAST_CHUNK, answer(b"abc")], ids=["chunked", "length"])
@pytest.mark.parametrize(
    "poison",
    [b"x", b"H", b"HTTP/1.1 404 Not Found\r\nX-A: ", answer(b"poison")],
    ids=["a byte", "the first byte of a response", "a part of a head", "a response"],
)
async def test_bytes_after_a_response_reach_no_client(lane: bool, body: bytes, poison: bytes) -> None:
    """They are in the same packet. The response is complete; its connection is closed and not reused."""
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(body + poison)
        await peer.gone()
        closed.set()

    async with proxied(lane, script, serve()) as (upstream, gateway):
        response = await ask(gateway.port, post())
        await asyncio.wait_for(closed.wait(), 5)
        following = await ask(gateway.port, post())
    assert (response.body, response.whole) == (b"abc", True)
    assert following.body == b'{"ok":true}'
    assert [len(peer.requests) for peer in upstream.peers] == [1, 1]


@pytest.mark.parametrize("poison", [b"\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n", answer(b"poison")])
async def test_unsolicited_bytes_on_an_idle_connection_reach_no_client(lane: bool, poison: bytes) -> None:
    """The connection is closed, and the next request uses a new one."""
    closed, now = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"abc"))
        await now.wait()
        await peer.send(poison)
        await peer.gone()
        closed.set()

    async with proxied(lane, script, serve()) as (upstream, gateway):
        response = await ask(gateway.port, post())
        now.set()
        await asyncio.wait_for(closed.wait(), 5)
        following = await ask(gateway.port, post())
    assert (response.body, following.body) == (b"abc", b'{"ok":true}')
    assert [len(peer.requests) for peer in upstream.peers] == [1, 1]


@pytest.mark.parametrize("first", ["the request", "the poison"])
@pytest.mark.parametrize("poison", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", answer(b"poison")])
async def test_bytes_that_cross_the_next_request_reach_no_client(lane: bool, poison: bytes, first: str) -> None:
    """They are read in the same turn of the event loop in which a request is sent, so they cannot be its response."""
    async with proxied(lane, serve(answer(b"abc")), serve()) as (upstream, gateway), connect(gateway.port) as client:
        await client.send(post())
        assert (await client.response()).body == b"abc"
        writes = [lambda: client._writer.write(post()), lambda: upstream.peers[0].write(poison)]
        for write in writes if first == "the request" else reversed(writes):
            write()  # type: ignore[no-untyped-call]
        assert (await client.response()).body == b'{"ok":true}'
    assert [len(peer.requests) for peer in upstream.peers] == [1, 1]


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_server_that_promises_keep_alive_and_closes_costs_no_request(lane: bool, reset: bool) -> None:
    """Design section 6: llama.cpp does so after every stream. All of twenty requests are answered."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
        await peer.send(chunk(b"data: 1\n\n") + LAST_CHUNK)
        if reset:
            peer.rst()

    async with proxied(lane, script) as (upstream, gateway), connect(gateway.port) as client:
        for _ in range(20):
            await client.send(post())
            response = await client.response()
            assert (response.status, response.whole) == (200, True)
    assert sum(len(peer.requests) for peer in upstream.peers) == 20


@pytest.mark.parametrize(
    "fields", [b"Connection: close\r\n", b"connection: Close, X-A\r\n"], ids=["close", "in a list, in capitals"]
)
async def test_connection_close_is_honoured(lane: bool, fields: bytes) -> None:
    """The proxy sends no request on a connection that the server wants to close. The client's own connection stays
    open."""
    async with (
        proxied(lane, serve(answer(b"{}", fields=fields))) as (upstream, gateway),
        connect(gateway.port) as client,
    ):
        for _ in range(2):
            await client.send(post())
            assert (await client.response()).value(b"connection") is None
    assert [len(peer.requests) for peer in upstream.peers] == [1, 1]


async def test_http10_responses_without_keep_alive_end_the_connection(lane: bool) -> None:
    """The default of HTTP/1.0 is to close."""
    raw = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with proxied(lane, serve(raw)) as (upstream, gateway):
        for _ in range(2):
            assert (await ask(gateway.port, post())).body == b"{}"
    assert len(upstream.peers) == 2


async def test_an_answer_before_the_request_was_read_arrives(lane: bool) -> None:
    """A provider refuses a large body early and closes. The client gets its response, and the rest of the body
    reaches no other response."""
    refusal = answer(b"no", b"413 Too Large", b"Connection: close\r\n")

    async def script(peer: Peer) -> None:
        await peer.request_head()
        await peer.send(refusal)
        await peer.gone()

    body = b'{"model":"m","x":"' + b"y" * 2_000_000 + b'"}'
    async with proxied(lane, script, serve()) as (_, gateway):
        response = await ask(gateway.port, post(body))
        following = await ask(gateway.port, post())
    assert (response.status, response.body) == (413, b"no")
    assert following.status == 200


async def test_a_body_that_stalls_is_ended_by_the_idle_timeout(lane: bool) -> None:
    """The connections to the client and to the provider are closed."""
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(LENGTH + b"abc")
        await peer.gone()
        closed.set()

    async with proxied(lane, script, timeouts={"idle": "50ms"}) as (_, gateway):
        response = await ask(gateway.port, post())
        await asyncio.wait_for(closed.wait(), 5)
    assert (response.status, response.body, response.whole) == (200, b"abc", False)
    assert gateway.lines()[0]["outcome"] == "upstream_idle"


async def test_the_idle_timeout_is_between_reads(lane: bool) -> None:
    """A stream may last longer than the idle timeout if no pause is that long."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        for number in range(12):
            await peer.send(chunk(b"data: %d\n\n" % number))
            await asyncio.sleep(0.02)
        await peer.send(LAST_CHUNK)

    async with proxied(lane, script, timeouts={"idle": "150ms"}) as (_, gateway):
        response = await ask(gateway.port, post())
    assert response.whole
    assert len(response.chunks) == 12


@pytest.mark.parametrize("begun", [True, False], ids=["in the body", "before the head"])
async def test_the_total_timeout_ends_the_exchange_in_any_phase(lane: bool, begun: bool) -> None:
    """The client gets 504 before the head, and a cut body after it."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(b"data: 1\n\n") if begun else b"")
        await peer.gone()

    async with proxied(lane, script, timeouts={"total": "60ms"}) as (_, gateway):
        response = await ask(gateway.port, post())
    assert response.status == (200 if begun else 504)
    assert response.whole is not begun
    assert gateway.lines()[0]["outcome"] == ("size_or_time_limit" if begun else "upstream_timeout")


async def test_a_response_of_one_connection_never_reaches_another_caller(lane: bool) -> None:
    """Cut, invalid and valid responses alternate in one pool. Each of forty clients gets its own response or an
    error."""

    async def script(peer: Peer) -> None:
        for _ in range(peer.number % 4 + 1):
            request = await peer.request()
            await peer.send(answer(request.values(b"x-id")[0]))
        if peer.number % 3 == 0:
            await peer.send(answer(b"poison"))
        elif peer.number % 3 == 1:
            await peer.request()
            await peer.send(LENGTH + b"cut")

    async with proxied(lane, script) as (_, gateway):

        async def call(number: int) -> bool:
            response = await ask(gateway.port, post(fields=b"X-Id: %d\r\n" % number))
            assert response.body in (b"%d" % number, b"cut")
            return response.whole

        for wave in range(5):
            verdicts = await asyncio.gather(*(call(wave * 8 + caller) for caller in range(8)))
            assert any(verdicts)


async def test_idle_connections_are_bounded_and_close(lane: bool) -> None:
    """``http_pool`` bounds the number and the age of idle connections."""
    busy, gone = asyncio.Event(), 0

    async def script(peer: Peer) -> None:
        nonlocal gone
        await peer.request()
        await busy.wait()
        await peer.send(answer())
        await peer.gone()
        gone += 1

    async with origin(script) as upstream:
        targets = snapshot({"m": {"url": upstream.url}}, http_pool={"max_idle_per_host": 2})
        async with running(targets, lane=lane) as gateway:
            calls = [asyncio.ensure_future(ask(gateway.port, post())) for _ in range(5)]
            await upstream.seen(5)
            busy.set()
            assert {response.status for response in await asyncio.gather(*calls)} == {200}
            await until(lambda: gone == 3)
