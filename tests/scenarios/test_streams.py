"""Event streams: each event is forwarded at once and unchanged; a slow client slows only its own provider."""

from __future__ import annotations

import asyncio

import pytest
from support.gateway import running
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, Script, answer, chunk, once, origin, serve
from support.raw import ask, connect, post
from support.scene import proxied, until
from support.targets import snapshot

SSE_TYPES = [
    b"text/event-stream",
    b"text/event-stream; charset=utf-8",
    b"Text/Event-Stream",
    b"TEXT/EVENT-STREAM ;charset=UTF-8",
]
SMALL = 16 * 1024  # bytes that a client's kernel takes without being asked
OTHER_TYPES = [b"application/json", b"application/x-ndjson", b"text/event-streams", b"text/plain; text/event-stream"]


class Steps:
    """A stream whose next piece is sent when the test allows it, so that the client's received bytes do not depend
    on timing."""

    def __init__(self, *pieces: bytes, head: bytes = STREAM_HEAD) -> None:
        self._head = head
        self._pieces = pieces
        self._go = asyncio.Semaphore(0)

    def next(self) -> None:
        self._go.release()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(self._head)
        for piece in self._pieces:
            await self._go.acquire()
            await peer.send(chunk(piece))
        await self._go.acquire()
        await peer.send(LAST_CHUNK)


def typed(content_type: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (content_type, more)


async def pieces_seen(lane: bool, steps: Steps, count: int, **options: object) -> list[bytes]:
    """The chunks that the client gets, one for each step: each is read before the provider sends the next piece."""
    async with proxied(lane, steps, **options) as (_, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.head()
        for _ in range(count):
            steps.next()
            await client.chunk(response)
        steps.next()
        await client.rest(response)
    assert response.whole
    return response.chunks


@pytest.mark.parametrize("content_type", SSE_TYPES)
async def test_an_event_arrives_whole_while_the_stream_is_open(lane: bool, content_type: bytes) -> None:
    """An incomplete event is held back until its last byte; a complete one is not. The media type may be in any
    case."""
    steps = Steps(b"data: 1\n\ndata:", b" 2\n\nevent: x\nda", b"ta: 3\n\n", head=typed(content_type))
    assert await pieces_seen(lane, steps, 3) == [b"data: 1\n\n", b"data: 2\n\n", b"event: x\ndata: 3\n\n"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CRLF"])
async def test_every_line_end_ends_an_event(lane: bool, end: bytes) -> None:
    """A stream with CRLF is delivered event by event. A split UTF-8 character stays intact."""
    event = end.join([b"event: delta", "data: 日本é".encode(), b"", b""])
    cut = event.index("本".encode()) + 1
    steps = Steps(event + event[:cut], event[cut:] + b": ping" + end * 2)
    assert await pieces_seen(lane, steps, 2) == [event, event + b": ping" + end * 2]


async def test_without_rechunking_pieces_pass_as_they_come(lane: bool) -> None:
    """With ``rechunk: false``, incomplete events pass as well."""
    steps = Steps(b"data: 1\n\ndata:", b" 2", b"\n\n")
    assert await pieces_seen(lane, steps, 3, rechunk=False) == [b"data: 1\n\ndata:", b" 2", b"\n\n"]


@pytest.mark.parametrize("content_type", OTHER_TYPES)
async def test_other_bodies_pass_as_they_come(lane: bool, content_type: bytes) -> None:
    """The proxy holds back only events."""
    steps = Steps(b"data: 1\n\ndata:", b'{"a"', head=typed(content_type))
    assert await pieces_seen(lane, steps, 2) == [b"data: 1\n\ndata:", b'{"a"']


async def test_a_coded_event_stream_passes_as_it_comes(lane: bool) -> None:
    """A coded stream is not searched for events."""
    steps = Steps(b"\x1f\x8b\x08\n", b"\xff", head=typed(b"text/event-stream", b"Content-Encoding: gzip\r\n"))
    assert await pieces_seen(lane, steps, 2) == [b"\x1f\x8b\x08\n", b"\xff"]


async def test_the_head_does_not_wait_for_the_first_event(lane: bool) -> None:
    """A client that shows "thinking" needs the head; `pieces_seen` reads it before any event was sent."""
    assert await pieces_seen(lane, Steps(), 0) == []


@pytest.mark.parametrize("tail", [b"data: [DONE]", b"data: [DONE]\n", b": bye\n"])
async def test_bytes_after_the_last_blank_line_arrive_at_a_regular_end(lane: bool, tail: bytes) -> None:
    """Many servers omit the last blank line."""
    async with proxied(lane, serve(STREAM_HEAD + chunk(b"data: 1\n\n" + tail) + LAST_CHUNK)) as (_, gateway):
        response = await ask(gateway.port, post())
    assert (response.body, response.whole) == (b"data: 1\n\n" + tail, True)


async def test_half_an_event_is_not_delivered_when_the_stream_is_cut(lane: bool) -> None:
    """It could be taken for a complete event. The client's connection is cut (no last chunk)."""
    async with proxied(lane, once(STREAM_HEAD + chunk(b"data: 1\n\ndata: 2"))) as (_, gateway):
        response = await ask(gateway.port, post())
    assert (response.body, response.whole) == (b"data: 1\n\n", False)


async def test_reads_larger_than_the_limit_of_an_event_pass(lane: bool) -> None:
    """The limit applies to one event, not to the number of buffered bytes."""
    events = b"".join(b"data: %d %b\n\n" % (n, b"x" * 300) for n in range(2000))
    async with proxied(lane, serve(STREAM_HEAD + chunk(events) + LAST_CHUNK), max_event="1kB") as (_, gateway):
        response = await ask(gateway.port, post())
    assert (response.body, response.whole) == (events, True)


async def test_an_oversized_event_cuts_the_stream(lane: bool) -> None:
    """The stream has no regular end. The events before it are delivered, and the provider's connection is closed."""
    closed = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD + chunk(b"data: 1\n\ndata: " + b"x" * 2000))
        await peer.gone()
        closed.set()

    options = {"max_event": "1kB", "on_large_event": "cut"}
    async with proxied(lane, script, serve(), **options) as (_, gateway):
        response = await ask(gateway.port, post())
        await asyncio.wait_for(closed.wait(), 5)
        assert (await ask(gateway.port, post())).status == 200
    assert (response.status, response.body, response.whole) == (200, b"data: 1\n\n", False)
    assert [line["outcome"] for line in gateway.lines()] == ["size_or_time_limit", "done"]


async def test_an_oversized_event_passes_in_pieces(lane: bool) -> None:
    """Above the limit the event is forwarded as it arrives: the client has its beginning before the provider has
    sent its end."""
    go_on = asyncio.Event()
    pieces = [b"data: 1\n\ndata: ", b"x" * 2000, b"y" * 3000, b"z\n\nda", b"ta: 2\n\n"]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, *map(chunk, pieces[:3]))
        await go_on.wait()
        await peer.send(*map(chunk, pieces[3:]), LAST_CHUNK)

    async with proxied(lane, script, max_event="1kB") as (_, gateway), connect(gateway.port) as client:
        await client.send(post())
        response = await client.head()
        while len(response.body) < sum(map(len, pieces[:3])):
            await client.chunk(response)
        go_on.set()
        await client.rest(response)
    assert (response.body, response.whole) == (b"".join(pieces), True)
    assert gateway.lines()[0]["outcome"] == "done"


async def test_an_event_stream_with_a_length_keeps_it(lane: bool) -> None:
    """Re-chunking does not change the number of bytes."""
    body = b"data: 1\n\ndata: 2\n\n"
    raw = answer(body, fields=b"Content-Type: text/event-stream\r\n")
    async with proxied(lane, serve(raw)) as (_, gateway):
        response = await ask(gateway.port, post())
    assert response.head + response.body == raw


async def test_concurrent_streams_do_not_mix(lane: bool) -> None:
    """Thirty streams use one provider. Each client gets all of its own events, in order."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        own = request.values(b"x-id")[0]
        await peer.send(STREAM_HEAD)
        for number in range(40):
            await peer.send(chunk(b"data: %b-%d\n" % (own, number)))
            await asyncio.sleep(0)
            await peer.send(chunk(b"\n"))
        await peer.send(LAST_CHUNK)

    async def call(port: int, number: int) -> None:
        response = await ask(port, post(fields=b"X-Id: %d\r\n" % number))
        assert response.body == b"".join(b"data: %d-%d\n\n" % (number, turn) for turn in range(40))
        assert all(piece.endswith(b"\n\n") for piece in response.chunks)

    async with proxied(lane, script) as (_, gateway):
        await asyncio.gather(*(call(gateway.port, number) for number in range(30)))


def flood(size: int, closed: asyncio.Event) -> Script:
    """Write ``size`` bytes of body without waiting for the reader."""

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        peer.write(b"x" * size)
        await peer.gone()
        closed.set()

    return script


async def settled(unsent: Peer, port: int) -> int:
    """The number of bytes that the provider could not send, after it has not changed during 30 exchanges at another
    target."""
    same, last = 0, -1
    async with connect(port) as client:
        while same < 30:
            await client.send(post(b'{"model":"other"}'))
            assert (await client.response()).status == 200
            same = same + 1 if unsent.unsent == last else 0
            last = unsent.unsent
    return last


async def test_a_client_that_does_not_read_pauses_its_provider(lane: bool) -> None:
    """Socket buffers bound the bytes between them, other exchanges go on, and the rest arrives when the client
    reads."""
    size = 48 * 1024 * 1024
    async with origin(flood(size, asyncio.Event())) as upstream, origin() as other:
        targets = snapshot({"m": {"url": upstream.url}, "other": {"url": other.url}})
        async with running(targets, lane=lane) as gateway, connect(gateway.port, buffer=8192) as client:
            await client.send(post())
            response = await client.head()
            await upstream.seen(1)
            held_back = await settled(upstream.peers[0], gateway.port)
            assert held_back > size // 3
            await client.rest(response)
    assert response.whole
    assert len(response.body) == size


async def test_a_slow_client_does_not_pause_the_next_exchange_of_its_provider(lane: bool) -> None:
    """The last event has no blank line, so it is sent after the end of the body, when the connection is already
    idle."""
    size = 6 * 1024 * 1024
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % size

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"x" * size)
        await serve()(peer)

    async with (
        proxied(lane, script) as (upstream, gateway),
        connect(gateway.port, buffer=8192, window=SMALL) as client,
    ):
        await client.send(post())
        response = await client.head()
        await until(lambda: not gateway.application.proxy.in_flight)
        following = await ask(gateway.port, post())
        await client.rest(response)
    assert (len(response.body), response.whole) == (size, True)
    assert following.body == b'{"ok":true}'
    assert [len(peer.requests) for peer in upstream.peers] == [2]


async def test_a_client_that_never_reads_is_cut(lane: bool) -> None:
    """This happens after the idle time without progress. The provider's connection is closed, and the log names the
    client as the cause."""
    closed = asyncio.Event()
    async with (
        proxied(lane, flood(48 * 1024 * 1024, closed), timeouts={"idle": "100ms"}) as (_, gateway),
        connect(gateway.port, buffer=8192) as client,
    ):
        await client.send(post())
        await asyncio.wait_for(closed.wait(), 5)
    assert gateway.lines()[0]["outcome"] == "client_gone_streaming"
