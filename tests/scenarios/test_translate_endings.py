"""Translate mode: the ends of streams, the reports of failures, and silent providers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from support.chat_upstream import DONE, create, end, frame, streamed, text
from support.gateway import Gateway
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, Script, answer, chunk, once, serve
from support.raw import Client, Response, ask, connect
from support.responses_oracle import check_wire, events_of
from support.responses_promises import Json, as_dict
from support.scene import proxied

TRANSLATE: Json = {"open_responses_mode": "translate"}
SOON = {"idle": "100ms"}


class Steps:
    """A stream whose next pieces are sent when the test allows it."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces
        self._go = asyncio.Semaphore(0)
        self.closed = asyncio.Event()

    def next(self) -> None:
        self._go.release()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD)
        for piece in self._pieces:
            await self._go.acquire()
            await peer.send(chunk(piece))
        await peer.gone()
        self.closed.set()


def cut(*frames: bytes, reset: bool = False) -> Script:
    """A stream that ends after ``frames``, by FIN or RST."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, *map(chunk, frames))
        if reset:
            await asyncio.sleep(0.05)  # a reset overtakes what lies in the buffers
            peer.rst()

    return script


def types(response: Response) -> list[object]:
    return [event["type"] for event in events_of(response.body)]


async def first_events(client: Client, response: Response, count: int) -> list[str]:
    """The types of the next events, each from a chunk of its own."""
    found = []
    for _ in range(count):
        (event,) = events_of(await client.chunk(response))
        found.append(str(event["type"]))
    return found


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
async def test_a_cut_stream_ends_as_failed(lane: bool, reset: bool) -> None:
    """The client gets response.failed in a body with a regular end, because the stream reports the failure itself.
    Responses case G7."""
    async with proxied(lane, cut(frame(content="Hel"), reset=reset), **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert response.whole
    assert check_wire(response.body) == []
    assert types(response)[-1] == "response.failed"
    (line,) = gateway.lines()
    assert (line["outcome"], line["status"]) == ("upstream_cut", 200)


async def test_a_stream_cut_after_its_end_mark_is_complete(lane: bool) -> None:
    """All of the answer has arrived."""
    async with proxied(lane, cut(*text("a")), **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert types(response)[-1] == "response.completed"
    assert gateway.lines()[0]["outcome"] == "done"


async def test_a_stream_without_an_end_mark_has_failed(lane: bool) -> None:
    """The framing ended properly, but no finish reason and no end mark came."""
    async with proxied(lane, serve(streamed(frame(content="Hel"))), **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert types(response)[-1] == "response.failed"
    assert gateway.lines()[0]["outcome"] == "upstream_cut"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [cut(), cut(reset=True), cut(b"data: {")], ids=["FIN", "RST", "half an event"])
async def test_a_cut_before_the_first_event_has_a_status(lane: bool, script: Script, stream: bool) -> None:
    """The client gets 502 in the envelope, because no 200 was sent before."""
    async with proxied(lane, script, **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=stream))
    assert response.status == 502
    assert response.error["message"]
    (line,) = gateway.lines()
    assert (line["outcome"], line["status"]) == ("upstream_cut", 502)


async def test_a_cut_complete_answer_has_a_status(lane: bool) -> None:
    """The provider announced more bytes than it sent."""
    script = once(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"choices":[')
    async with proxied(lane, script, **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create())
    assert response.status == 502
    assert gateway.lines()[0]["outcome"] == "upstream_cut"


async def test_a_stalled_stream_ends_as_failed(lane: bool) -> None:
    """The limit is ``timeouts.idle``. The provider's connection is closed."""
    steps = Steps(frame(content="Hel"))
    steps.next()
    async with proxied(lane, steps, timeouts=SOON, **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
        await asyncio.wait_for(steps.closed.wait(), 5)
    assert check_wire(response.body) == []
    assert types(response)[-1] == "response.failed"
    assert gateway.lines()[0]["outcome"] == "upstream_idle"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stall_before_the_first_event_is_a_timeout(lane: bool, stream: bool) -> None:
    """The status is 504. Responses case L3."""
    async with proxied(lane, Steps(), timeouts=SOON, **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=stream))
    assert response.status == 504
    assert gateway.lines()[0]["outcome"] == "upstream_idle"


async def test_the_total_time_ends_a_stream_as_failed(lane: bool) -> None:
    """The limit is ``timeouts.total``."""
    steps = Steps(frame(content="Hel"))
    steps.next()
    async with proxied(lane, steps, timeouts={"total": "150ms"}, **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert types(response)[-1] == "response.failed"
    assert gateway.lines()[0]["outcome"] == "size_or_time_limit"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_stalls_after_its_end_mark_is_disconnected(lane: bool, stream: bool) -> None:
    """The answer is complete, so neither the client nor a permit waits for the idle timeout."""
    steps = Steps(b"".join(text("a")))
    steps.next()
    async with proxied(lane, steps, **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=stream))
        await asyncio.wait_for(steps.closed.wait(), 5)
    assert (response.status, response.whole) == (200, True)
    assert gateway.lines()[0]["outcome"] == "done"


@pytest.mark.parametrize("frames", [[], [frame(content="Hel")]], ids=["at once", "later"])
async def test_a_provider_that_stalls_after_an_error_is_disconnected(lane: bool, frames: Sequence[bytes]) -> None:
    """The error is complete. It becomes a status before the first event, and response.failed after it."""
    steps = Steps(b"".join(frames) + b'data: {"error":{"message":"x","code":500}}\n\n')
    steps.next()
    async with proxied(lane, steps, **TRANSLATE) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
        await asyncio.wait_for(steps.closed.wait(), 5)
    if frames:
        assert types(response)[-1] == "response.failed"
    else:
        assert response.status == 500


@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_frees_its_provider(lane: bool, begun: bool, how: str) -> None:
    """The client disconnects before or after the first event. Permits are released (the gateway checks that at its
    end). Responses cases G7, G8, G9."""
    steps = Steps(*([frame(content="Hel")] if begun else []))
    steps.next()
    async with proxied(lane, steps, **TRANSLATE) as (upstream, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        await upstream.seen(1)
        if begun:
            await client.chunk(await client.head())
        client.fin() if how == "FIN" else client.rst()
        await asyncio.wait_for(steps.closed.wait(), 5)
    assert gateway.lines()[0]["outcome"] == ("client_gone_streaming" if begun else "client_gone_waiting")


async def test_a_client_of_a_whole_answer_that_leaves_frees_its_provider(lane: bool) -> None:
    """The client disconnects while the answer is collected."""
    steps = Steps(frame(content="Hel"))
    async with proxied(lane, steps, **TRANSLATE) as (upstream, gateway), connect(gateway.port) as client:
        await client.send(create())
        await upstream.seen(1)
        steps.next()
        client.fin()
        await asyncio.wait_for(steps.closed.wait(), 5)
    assert gateway.lines()[0]["outcome"] == "client_gone_waiting"


async def test_permits_are_held_until_the_last_byte(lane: bool) -> None:
    """A stream counts against ``concurrency_limit`` until its end, and no longer."""
    steps = Steps(frame(content="a"), end() + DONE)
    limit = {"concurrency_limit": {"max_concurrent_requests": 1}}
    async with proxied(lane, steps, serve(streamed(*text("b"))), **TRANSLATE, **limit) as (_, gateway):
        async with connect(gateway.port) as client:
            await client.send(create(stream=True))
            steps.next()
            response = await client.head()
            assert (await ask(gateway.port, create())).status == 429
            steps.next()
            await client.rest(response)
        assert (await ask(gateway.port, create())).status == 200


async def test_a_slow_client_slows_its_provider(lane: bool) -> None:
    """Events wait at the provider, not in the proxy, and go on when the client reads."""
    stream = STREAM_HEAD + chunk(frame(content="x" * 16_000)) * 3000

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(stream)
        await peer.gone()

    async with proxied(lane, script, **TRANSLATE) as (upstream, gateway):
        async with connect(gateway.port, buffer=8192) as client:
            await client.send(create(stream=True))
            response = await client.head()
            await upstream.seen(1)
            held_back = await settled(upstream.peers[0], gateway)
            assert held_back > len(stream) // 3
            while upstream.peers[0].unsent == held_back:
                await client.chunk(response)
            client.rst()


async def settled(peer: Peer, gateway: Gateway) -> int:
    """The number of bytes that the provider could not send, after it has not changed during 30 other exchanges."""
    same, last = 0, -1
    async with connect(gateway.port) as client:
        while same < 30:
            await client.send(create(target=b"/v1/responses", model="nobody"))
            assert (await client.response()).status == 404
            same = same + 1 if peer.unsent == last else 0
            last = peer.unsent
    return last


async def test_an_event_is_sent_when_its_chunk_comes(lane: bool) -> None:
    """Each step is read before the provider sends the next one."""
    steps = Steps(frame(role="assistant", content=""), frame(content="a"), frame(content="b"), end() + DONE)
    async with proxied(lane, steps, **TRANSLATE) as (_, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        steps.next()
        steps.next()
        response = await client.head()
        opening = ["response.created", "response.in_progress", "response.output_item.added"]
        opening += ["response.content_part.added", "response.output_text.delta"]
        assert await first_events(client, response, 5) == opening
        steps.next()
        assert await first_events(client, response, 1) == ["response.output_text.delta"]
        steps.next()
        await client.rest(response)
    assert response.whole


async def signs(lane: bool, how: str) -> list[bytes]:
    """The bytes between the first and the second delta of a provider that is silent for some time."""
    steps = Steps(frame(content="a"), frame(content="b") + end() + DONE)
    settings = {"keepalive": how, "keepalive_interval": "40ms"}
    async with proxied(lane, steps, translate=settings, **TRANSLATE) as (_, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        steps.next()
        response = await client.head()
        await first_events(client, response, 5)
        found = []
        if how == "off":
            await asyncio.sleep(0.12)
        else:
            found = [await client.chunk(response) for _ in range(3)]
        steps.next()
        await client.rest(response)
    assert response.whole
    if how != "event":  # whose name is OpenAI's, not the specification's
        assert check_wire(response.body) == []
    rest = response.body.partition(b'"delta":"a"')[2]
    return found or [part for part in rest.split(b"\n\n") if part.startswith(b":") or b"keepalive" in part]


async def test_a_silent_stream_gets_keepalive_comments(lane: bool) -> None:
    """This is the default: every reader of event streams understands comments."""
    assert set(await signs(lane, "comment")) == {b": keepalive\n\n"}


async def test_a_silent_stream_gets_keepalive_events(lane: bool) -> None:
    """``keepalive: event`` sends numbered events, for clients whose timers do not count comments."""
    found = [json.loads(sign.partition(b"data: ")[2]) for sign in await signs(lane, "event")]
    assert [event["type"] for event in found] == ["keepalive"] * 3
    assert [event["sequence_number"] for event in found] == [5, 6, 7]


async def test_keepalive_can_be_switched_off(lane: bool) -> None:
    """The setting is ``keepalive: off``."""
    assert await signs(lane, "off") == []


async def test_there_is_no_keepalive_before_the_first_event(lane: bool) -> None:
    """It would commit the response, and the SDKs expect response.created first."""
    settings = {"keepalive": "comment", "keepalive_interval": "20ms"}
    async with proxied(lane, Steps(), timeouts={"idle": "150ms"}, translate=settings, **TRANSLATE) as (_, gateway):
        assert (await ask(gateway.port, create(stream=True))).status == 504


async def test_commit_after_begins_a_stream_before_the_providers_head(lane: bool) -> None:
    """The client gets created and in_progress. A later failure cannot be a status any more."""
    async with proxied(lane, Steps(), timeouts={"idle": "200ms"}, translate={"commit_after": "20ms"}, **TRANSLATE) as (
        _,
        gateway,
    ):
        response = await ask(gateway.port, create(stream=True))
    assert response.status == 200
    assert check_wire(response.body) == []
    assert types(response) == ["response.created", "response.in_progress", "response.failed"]


async def test_after_commit_after_the_provider_continues_the_stream(lane: bool) -> None:
    """The provider's answer does not begin a second response."""
    steps = Steps(b"".join(text("a")))
    async with proxied(lane, steps, translate={"commit_after": "20ms"}, **TRANSLATE) as (_, gateway):
        async with connect(gateway.port) as client:
            await client.send(create(stream=True))
            response = await client.head()
            assert await first_events(client, response, 2) == ["response.created", "response.in_progress"]
            steps.next()
            await client.rest(response)
    assert check_wire(response.body) == []
    assert types(response)[-1] == "response.completed"


async def test_a_failed_stream_leaves_its_connection_usable(lane: bool) -> None:
    """The body ended properly, so the client's connection serves the next request."""
    async with proxied(lane, cut(frame(content="a")), serve(streamed(*text("b"))), **TRANSLATE) as (_, gateway):
        async with connect(gateway.port) as client:
            await client.send(create(stream=True))
            assert types(await client.response())[-1] == "response.failed"
            await client.send(create(stream=True))
            assert types(await client.response())[-1] == "response.completed"


async def test_thirty_concurrent_translated_streams_do_not_mix(lane: bool) -> None:
    """Each client gets its own text and its own ids."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        own = json.loads(request.body)["messages"][0]["content"]
        await peer.send(STREAM_HEAD)
        for number in range(20):
            await peer.send(chunk(frame(content=f"{own}-{number} ")))
            await asyncio.sleep(0)
        await peer.send(chunk(end() + DONE) + LAST_CHUNK)

    async def call(port: int, number: int) -> str:
        response = await ask(port, create(input=str(number), stream=True))
        assert check_wire(response.body) == []
        deltas = [event["delta"] for event in events_of(response.body) if "delta" in event]
        assert deltas == [f"{number}-{turn} " for turn in range(20)]
        return str(as_dict(events_of(response.body)[0]["response"])["id"])

    async with proxied(lane, script, **TRANSLATE) as (_, gateway):
        ids = await asyncio.gather(*(call(gateway.port, number) for number in range(30)))
    assert len(set(ids)) == 30


async def test_an_empty_success_is_a_bad_gateway(lane: bool) -> None:
    """The provider sends 204 and the client gets 502."""
    async with proxied(
        lane, serve(answer(b"", b"204 No Content").replace(b"Content-Length: 0\r\n", b"")), **TRANSLATE
    ) as (
        _,
        gateway,
    ):
        assert (await ask(gateway.port, create(stream=True))).status == 502
