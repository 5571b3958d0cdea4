"""Responses with a content coding: decoded if they are translated; otherwise a copy is decoded, and the bytes pass
unchanged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from support.chat_upstream import create, error, streamed, text, whole
from support.coders import FORMS, coded, flushed, name_of
from support.gateway import running
from support.levels import KEY, estimate, limited, spent
from support.origin import LAST_CHUNK, Peer, Script, answer, chunk, once, origin, serve
from support.raw import Response, ask, connect, post
from support.responses_oracle import check_resource, check_wire, events_of
from support.responses_promises import Json
from support.scene import proxied, until
from support.targets import pool

EVENTS = text("Hello ", "there.")
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n'
CHAT = post(b'{"model":"m","messages":[{"role":"user","content":"hello"}]}', fields=KEY)
TOKENS: Json = {"token_limit": {"tokens_per_minute": 1, "burst_size": 10_000}}
WELL = answer(b'{"by":"second"}', fields=b"Content-Type: application/json\r\n")
every_form = pytest.mark.parametrize("form", FORMS)


def head(coding: bytes, kind: bytes = b"text/event-stream") -> bytes:
    fields = b"Content-Type: %b\r\nContent-Encoding: %b\r\nTransfer-Encoding: chunked\r\n" % (kind, coding)
    return b"HTTP/1.1 200 OK\r\n%b\r\n" % fields


def packed(form: str, reply: bytes, coding: bytes | None = None) -> bytes:
    """A complete response whose body is coded."""
    start, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = start.split(b"\r\n")
    fields = b"".join(line + b"\r\n" for line in lines if not line.startswith(b"Content-Length"))
    fields += b"Content-Encoding: %b\r\n" % (coding or name_of(form))
    return answer(coded(form, body), status.removeprefix(b"HTTP/1.1 "), fields)


def stream(form: str, events: Sequence[bytes], coding: bytes | None = None) -> bytes:
    """An event stream with a flush after each event."""
    return head(coding or name_of(form)) + b"".join(map(chunk, flushed(form, *events))) + LAST_CHUNK


async def translated(lane: bool, reply: bytes, *, streamed: bool, **options: object) -> Response:
    async with proxied(lane, serve(reply), open_responses_mode="translate", **options) as (_, gateway):
        return await ask(gateway.port, create(stream=streamed))


# Translated


@pytest.mark.either_door
@every_form
@pytest.mark.parametrize("come", ["whole", "streamed"])
@pytest.mark.parametrize("go", ["whole", "streamed"])
async def test_a_coded_answer_is_translated(lane: bool, form: str, come: str, go: str) -> None:
    """The provider codes a response although the proxy did not ask for it. The client's response has no coding."""
    reply = packed(form, whole("Hello there.")) if come == "whole" else stream(form, EVENTS)
    response = await translated(lane, reply, streamed=go == "streamed")
    assert (response.status, response.values(b"content-encoding")) == (200, [])
    if go == "streamed":
        assert check_wire(response.body) == []
        body = events_of(response.body)[-1]["response"]
    else:
        body = json.loads(response.body)
    assert isinstance(body, dict)
    assert check_resource(body) == []
    assert (body["status"], body["usage"]["total_tokens"]) == ("completed", 18)
    assert b"Hello there." in response.body


@every_form
async def test_an_event_that_was_flushed_is_passed_on_at_once(lane: bool, form: str) -> None:
    """The client receives each event before the provider sends the next one."""
    go = asyncio.Event()
    pieces = flushed(form, *EVENTS)

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(name_of(form)), *map(chunk, pieces[:2]))
        await go.wait()
        await peer.send(*map(chunk, pieces[2:]), LAST_CHUNK)

    async with proxied(lane, slow, open_responses_mode="translate") as (_, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        response = await client.head()
        while b"Hello " not in response.body:
            await client.chunk(response)
        go.set()
        await client.rest(response)
    assert response.whole
    assert events_of(response.body)[-1]["type"] == "response.completed"


@pytest.mark.either_door
@every_form
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_message_of_a_coded_error_is_read(lane: bool, form: str, streamed: bool) -> None:
    """The provider is trusted, so the client gets its message."""
    reply = packed(form, error(b"422 Odd", "No such tool."))
    response = await translated(lane, reply, streamed=streamed, trusted=True)
    assert (response.status, response.error["message"]) == (422, "No such tool.")
    assert response.values(b"content-encoding") == []


BROKEN = {
    "an unknown coding": packed("gzip", whole("secret"), b"x-own"),
    "two codings": packed("gzip", whole("secret"), b"gzip, gzip"),
    "the wrong coding": packed("gzip", whole("secret"), b"br"),
    "damage": answer(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff", fields=b"Content-Encoding: gzip\r\n"),
    "a bomb": answer(
        coded("gzip", b'{"choices":[],"a":"' + bytes(80 << 20)),
        fields=b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
    ),
}


@pytest.mark.either_door
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", BROKEN)
async def test_an_undecodable_answer_is_a_bad_gateway(lane: bool, case: str, streamed: bool) -> None:
    """The client gets 502, never bytes that it cannot read."""
    response = await translated(lane, BROKEN[case], streamed=streamed)
    assert response.status == 502
    assert set(response.error) == {"message", "type", "param", "code"}
    assert response.values(b"content-encoding") == []


@pytest.mark.either_door
@every_form
async def test_an_error_that_cannot_be_decoded_keeps_its_status(lane: bool, form: str) -> None:
    """The message of the error cannot be read; its status can."""
    fields = b"Content-Encoding: %b\r\n" % name_of(form)
    response = await translated(lane, answer(b"\xff" * 50, b"429 Slow", fields), streamed=False, trusted=True)
    assert (response.status, response.error["code"]) == (429, "rate_limit_exceeded")


@every_form
@pytest.mark.parametrize("rest", [b"", b"\xff" * 50], ids=["cut", "damage"])
async def test_a_coded_stream_that_breaks_does_not_look_whole(lane: bool, form: str, rest: bytes) -> None:
    """The framing of the stream may end properly although its coding does not."""
    go = asyncio.Event()
    first, second, *_ = flushed(form, *EVENTS)

    async def breaking(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(name_of(form)), chunk(first), chunk(second))
        await go.wait()
        await peer.send(chunk(rest) if rest else b"", LAST_CHUNK)

    async with proxied(lane, breaking, open_responses_mode="translate") as (_, gateway):
        async with connect(gateway.port) as client:
            await client.send(create(stream=True))
            response = await client.head()
            while b"Hello " not in response.body:
                await client.chunk(response)
            go.set()
            await client.rest(response)
    assert check_wire(response.body) == []
    assert events_of(response.body)[-1]["type"] == "response.failed"
    assert gateway.lines()[0]["outcome"] == "upstream_cut"


@pytest.mark.either_door
@pytest.mark.parametrize("form", ["gzip", "x-gzip", "zstd"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_junk_behind_a_whole_answer_does_no_harm(lane: bool, form: str, streamed: bool) -> None:
    """The translated answer is complete before the decoder reaches the junk."""
    for body in (coded(form, EVENTS), coded(form, whole("Hello there.").partition(b"\r\n\r\n")[2])):
        reply = answer(body + b"\xff" * 50, fields=b"Content-Encoding: %b\r\n" % name_of(form))
        response = await translated(lane, reply, streamed=streamed)
        assert response.status == 200
        assert b'"status":"completed"' in response.body


async def test_a_damaged_coding_closes_the_upstream_connection(lane: bool) -> None:
    """The rest of the response could not be decoded either."""
    closed = asyncio.Event()

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(b"gzip"), chunk(b"no gzip"))
        await peer.gone()
        closed.set()

    async with proxied(lane, endless, open_responses_mode="translate") as (_, gateway):
        assert (await ask(gateway.port, create(stream=True))).status == 502
        await asyncio.wait_for(closed.wait(), 5)


# Tokens


async def charged(lane: bool, reply: bytes, request: bytes = CHAT, mode: str = "native") -> tuple[Response, int]:
    """The response, and the number of tokens that were charged for it."""
    async with origin(serve(reply)) as upstream:
        targets = limited("key", TOKENS, url=upstream.url, open_responses_mode=mode)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, request)
            await until(lambda: gateway.held_permits() == 0)
            return response, spent(gateway, "key")


@pytest.mark.either_door
@every_form
async def test_usage_of_a_coded_answer_is_charged(lane: bool, form: str) -> None:
    """The client gets the provider's bytes with their coding."""
    reply = packed(form, whole("word " * 5000))
    response, tokens = await charged(lane, reply)
    assert tokens == 18
    assert response.head + response.body == reply


@pytest.mark.either_door
@every_form
@pytest.mark.parametrize("all_at_once", [False, True])
async def test_usage_of_a_coded_stream_is_charged(lane: bool, form: str, all_at_once: bool) -> None:
    """The usage is found in every content coding."""
    pieces = [coded(form, EVENTS)] if all_at_once else flushed(form, *EVENTS)
    response, tokens = await charged(lane, head(name_of(form)) + b"".join(map(chunk, pieces)) + LAST_CHUNK)
    assert tokens == 18
    assert response.body == b"".join(pieces)
    assert response.value(b"content-encoding") == name_of(form)


@pytest.mark.parametrize("streamed", [False, True])
async def test_usage_of_a_coded_answer_that_is_translated_is_charged(lane: bool, streamed: bool) -> None:
    """The usage comes from the body that was decoded for the translation."""
    request = create(fields=KEY, stream=streamed)
    for reply in (packed("zstd", whole("hello")), stream("zstd", EVENTS)):
        assert (await charged(lane, reply, request, "translate"))[1] == 18


UNTOLD = whole("word " * 1000, usage=None)
UNREADABLE = {
    "an unknown coding": packed("gzip", whole("word " * 1000), b"x-own"),
    "the wrong coding": packed("gzip", whole("word " * 1000), b"zstd"),
    "no coding at all": whole("word " * 1000, fields=b"Content-Encoding: gzip\r\n"),
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_an_undecodable_answer_is_charged_by_its_size(lane: bool, case: str) -> None:
    """One token is charged for four bytes of the body as received, beside the tokens of the request."""
    response, tokens = await charged(lane, UNREADABLE[case])
    assert UNREADABLE[case].endswith(response.body)
    assert tokens == estimate(CHAT) + len(response.body) // 4


async def test_a_stream_that_cannot_be_decoded_is_charged_by_its_size(lane: bool) -> None:
    """Its events cannot be counted, so its bytes count as text."""
    response, tokens = await charged(lane, head(b"gzip") + chunk(b"\xff" * 4000) + LAST_CHUNK)
    assert response.body == b"\xff" * 4000
    assert tokens == estimate(CHAT) + 1000


async def test_a_coded_answer_without_usage_is_charged_by_its_decoded_size(lane: bool) -> None:
    """The estimate uses the size of the decoded body."""
    _, tokens = await charged(lane, packed("gzip", UNTOLD))
    assert tokens == estimate(CHAT) + len(UNTOLD.partition(b"\r\n\r\n")[2]) // 4


@pytest.mark.either_door
@every_form
async def test_a_coded_stream_that_is_cut_is_charged_by_its_received_size(lane: bool, form: str) -> None:
    """The estimate is that of an uncoded stream: one token for 200 bytes of events."""
    events = [EVENTS[1]] * 40
    reply = head(name_of(form)) + b"".join(map(chunk, flushed(form, *events)[:-1]))
    async with origin(once(reply)) as upstream:
        async with running(limited("key", TOKENS, url=upstream.url), lane=lane) as gateway:
            response = await ask(gateway.port, CHAT)
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, "key") == estimate(CHAT) + 40 * len(EVENTS[1]) // 200
    assert not response.whole


# Held


async def held(lane: bool, first: Script, **options: object) -> tuple[Response, bool]:
    """The client's response, and whether the second provider got a request."""
    fallback = {"enabled": True, "on_status": [429, 5], "hold": {"max_bytes": "64KiB", "max_time": "5s"}}
    async with origin(first) as one, origin(serve(WELL)) as two:
        async with running(pool(one.url, two.url, fallback=fallback, **options), lane=lane) as gateway:
            return await ask(gateway.port, CHAT), bool(two.requests)


@pytest.mark.either_door
@every_form
async def test_an_error_inside_a_coded_200_causes_fallback(lane: bool, form: str) -> None:
    """The next provider is tried, for complete and for streamed responses."""
    failed = answer(b'{"error":{"code":503}}', fields=b"Content-Type: application/json\r\n")
    for reply in (packed(form, failed), stream(form, [EVENTS[0], ERROR])):
        response, moved = await held(lane, serve(reply))
        assert (response.body, moved) == (b'{"by":"second"}', True)


@pytest.mark.either_door
@every_form
async def test_coded_content_passes_as_it_came(lane: bool, form: str) -> None:
    """The client gets the provider's bytes, not the decoded copy."""
    response, moved = await held(lane, serve(stream(form, EVENTS)))
    assert (response.body, moved) == (b"".join(flushed(form, *EVENTS)), False)
    assert response.value(b"content-encoding") == name_of(form)
    reply = packed(form, whole("hello"))
    response, moved = await held(lane, serve(reply))
    assert (response.head + response.body, moved) == (reply, False)


@pytest.mark.either_door
@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/json"])
@pytest.mark.parametrize("coding", [b"x-own", b"gzip, gzip", b"gzip", b"br"])
async def test_an_undecodable_body_passes_as_content(lane: bool, coding: bytes, kind: bytes) -> None:
    """The body passes without delay: the client has it before the provider has sent its end."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(coding, kind), chunk(b"\xff" * 100))
        await go.wait()
        await peer.send(LAST_CHUNK)

    fallback = {"enabled": True, "on_status": [5], "hold": {"max_time": "1000s"}}
    async with origin(slow) as one, origin(serve(WELL)) as two:
        async with running(pool(one.url, two.url, fallback=fallback), lane=lane) as gateway:
            async with connect(gateway.port) as client:
                await client.send(CHAT)
                response = await client.head()
                assert await client.chunk(response) == b"\xff" * 100
                go.set()
                await client.rest(response)
    assert response.whole
    assert not two.requests


@pytest.mark.either_door
@pytest.mark.parametrize("form", ["gzip", "br", "zstd", "deflate"])
async def test_first_token_is_measured_in_the_decoded_stream(lane: bool, form: str) -> None:
    """``first_token`` counts content that the client can decode."""

    async def never(peer: Peer) -> None:
        await peer.request()
        await peer.send(head(name_of(form)), *map(chunk, flushed(form, EVENTS[0])[:1]))
        await peer.gone()

    async with origin(never) as one, origin(serve(streamed(*EVENTS))) as two:
        fallback = {"enabled": True, "on_status": [5], "retry_sent": True}
        targets = pool(one.url, two.url, fallback=fallback, timeouts={"first_token": "100ms"})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, CHAT)
    assert response.body == b"".join(EVENTS)
