"""``hold``: an error inside a 200 causes fallback before any content; other answers pass unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.chat_upstream import streamed, text, whole
from support.gateway import Gateway, running
from support.origin import (
    STREAM_HEAD,
    Origin,
    Peer,
    Script,
    answer,
    breaks_off,
    chunk,
    once,
    origin,
    refused_port,
    serve,
)
from support.raw import Client, End, ask, connect, post
from support.responses_promises import Json
from support.scene import until
from support.targets import pool

ON: Json = {"enabled": True, "on_status": [429, 5]}
HOLD: Json = {"max_bytes": "64KiB", "max_time": "5s"}
JSON = b"Content-Type: application/json\r\n"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true}'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ERROR = b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n'
CREATED = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'
FAILED = b'event: error\ndata: {"type":"error","code":"server_error","message":"no"}\n\n'
COMMENT = b": keep-alive\n\n"
WELL = answer(b'{"by":"second"}', fields=JSON)


@asynccontextmanager
async def held(
    lane: bool, first: Script, second: Script | None = None, hold: Json | None = None, **options: object
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """Two providers, tried in this order; ``options`` are settings of the target."""
    async with origin(first) as one, origin(second or serve(WELL)) as two:
        fallback = {**ON, "hold": hold or HOLD}
        async with running(pool(one.url, two.url, fallback=fallback, **options), lane=lane) as gateway:
            yield [one, two], gateway


FAILING = {
    "a JSON error": serve(answer(b'{"error":{"message":"busy","code":"rate_limit_exceeded"}}', fields=JSON)),
    "a failed response": serve(answer(b'{"object":"response","status":"failed","error":null}', fields=JSON)),
    "an error as the first event": serve(streamed(ERROR)),
    "an error behind comments": serve(streamed(COMMENT, COMMENT, ERROR)),
    "an error behind the role": serve(streamed(ROLE, ERROR)),
    "an error behind response.created": serve(streamed(CREATED, FAILED)),
    "response.failed": serve(streamed(CREATED, b'data: {"type":"response.failed","response":{"error":null}}\n\n')),
    "an empty body": serve(answer(b"", fields=JSON)),
    "an empty stream": serve(streamed()),
    "nothing but comments": serve(streamed(COMMENT)),
    "nothing but the end mark": serve(streamed(b"data: [DONE]\n\n")),
    "a cut at once": breaks_off(),
    "a cut behind the role": breaks_off(ROLE),
    "a cut body": once(b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Length: 50\r\n\r\n{"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("case", FAILING)
async def test_an_empty_or_failed_answer_causes_fallback(lane: bool, case: str) -> None:
    """The next provider gets the complete request. The client gets no part of the first answer."""
    async with held(lane, FAILING[case]) as (origins, gateway):
        response = await ask(gateway.port, post(BODY))
    assert (response.status, response.body) == (200, b'{"by":"second"}')
    assert [len(upstream.requests) for upstream in origins] == [1, 1]
    assert origins[1].last.body == BODY
    assert gateway.lines()[0]["attempts"] == 2


GOOD = {
    "a whole answer": whole("hello"),
    "a stream": streamed(COMMENT, *text("hello", "you")),
    "Responses": streamed(CREATED, b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'),
    "a tool call": streamed(ROLE, b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n'),
    "something unknown": answer(b"\x00\x01", fields=b"Content-Type: audio/wav\r\n"),
    "an error behind content": streamed(ROLE, WORD, ERROR),
    "an error that nobody is to be asked again for": streamed(b'data: {"error":{"code":400}}\n\n'),
    "such an error as JSON": answer(b'{"error":{"type":"invalid_request_error"}}', fields=JSON),
    "a client error": answer(b'{"error":1}', b"404 Not Found", JSON),
}


@pytest.mark.parametrize("case", GOOD)
async def test_any_other_answer_arrives_as_it_came(lane: bool, case: str) -> None:
    """Head and body pass unchanged, and no other provider gets a request."""
    async with held(lane, serve(GOOD[case])) as (origins, gateway):
        response = await ask(gateway.port, post(BODY))
    head, _, body = GOOD[case].partition(b"\r\n\r\n")
    assert response.head == head + b"\r\n\r\n"
    assert response.body == (b"".join(body.split(b"\r\n")[1::2]) if response.chunks else body)
    assert response.whole
    assert not origins[1].peers


async def test_a_slow_stream_is_not_empty(lane: bool) -> None:
    """After max_time the client gets the held bytes, and then the rest as it arrives, unchanged."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(COMMENT), chunk(ROLE))
        await go.wait()
        await peer.send(chunk(WORD), chunk(ERROR), b"0\r\n\r\n")

    async with held(lane, slow, hold={"max_time": "50ms"}) as (origins, gateway), connect(gateway.port) as client:
        await client.send(post(BODY))
        response = await client.head()
        while ROLE not in response.body:
            await client.chunk(response)
        go.set()
        await client.rest(response)
        assert response.body == COMMENT + ROLE + WORD + ERROR
    assert not origins[1].peers


async def test_a_slow_whole_answer_passes_too(lane: bool) -> None:
    """It has the provider's length and bytes."""
    go = asyncio.Event()
    reply = answer(b'{"choices":[]}' + b" " * 100, fields=JSON)

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply[:-50])
        await go.wait()
        await peer.send(reply[-50:])

    async with held(lane, slow, hold={"max_time": "50ms"}) as (_, gateway), connect(gateway.port) as client:
        await client.send(post(BODY))
        response = await client.head()
        go.set()
        await client.rest(response)
        assert client.raw == reply


async def test_more_than_max_bytes_of_announcements_pass(lane: bool) -> None:
    """The answer passes even if an error follows."""
    reply = streamed(*[COMMENT] * 100, ERROR)
    async with held(lane, serve(reply), hold={"max_bytes": 1024}) as (origins, gateway):
        response = await ask(gateway.port, post(BODY))
    assert response.body == COMMENT * 100 + ERROR
    assert not origins[1].peers


@pytest.mark.parametrize("case", ["an error as the first event", "a JSON error", "an empty stream"])
async def test_the_last_failed_answer_reaches_the_client(lane: bool, case: str) -> None:
    """It passes unchanged, because no other provider is left."""
    async with held(lane, serve(answer(b"no", b"503 X")), FAILING[case]) as (_, gateway):
        response = await ask(gateway.port, post(BODY))
    async with origin(FAILING[case]) as alone, running(pool(alone.url), lane=lane) as gateway:
        plain = await ask(gateway.port, post(BODY))
    assert (response.status, response.body) == (200, plain.body)
    assert response.head.replace(b"X-Should-Retry: false\r\n", b"") == plain.head


async def test_a_failed_answer_is_sent_if_no_other_provider_answers(lane: bool) -> None:
    """If no other provider can be reached, the client gets the first provider's error."""
    reply = streamed(COMMENT, ERROR)
    async with origin(serve(reply)) as one:
        targets = pool(one.url, f"http://127.0.0.1:{refused_port()}", fallback={**ON, "hold": HOLD})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
    assert (response.status, response.body) == (200, COMMENT + ERROR)


async def test_a_cut_after_content_does_not_cause_fallback(lane: bool) -> None:
    """No other provider gets a request, and the client's stream is cut."""
    async with held(lane, breaks_off(ROLE, WORD)) as (origins, gateway):
        response = await ask(gateway.port, post(BODY))
    assert response.end in (End.CLOSED, End.RESET)
    assert response.body == ROLE + WORD
    assert not origins[1].peers
    assert gateway.lines()[0]["outcome"] == "upstream_cut"


async def test_a_cut_does_not_repeat_a_request_with_store(lane: bool) -> None:
    """The first provider may have stored the response. An error that the provider itself reports still causes
    fallback."""
    stored = post(b'{"model":"m","store":true}', b"/v1/responses")
    async with held(lane, breaks_off(CREATED)) as (origins, gateway):
        assert (await ask(gateway.port, stored)).end in (End.CLOSED, End.RESET)
        assert not origins[1].peers
    async with held(lane, serve(streamed(CREATED, FAILED))) as (origins, gateway):
        assert (await ask(gateway.port, stored)).body == b'{"by":"second"}'


@pytest.mark.parametrize(
    "request_line", [b"HEAD /v1/files HTTP/1.1", b"DELETE /v1/files/f HTTP/1.1", b"PUT /v1/f HTTP/1.1"]
)
async def test_an_answer_that_has_no_body_is_no_failure(lane: bool, request_line: bytes) -> None:
    """A response to HEAD never has a body, and a deletion must not be repeated at another provider."""
    reply = b"HTTP/1.1 204 No Content\r\n\r\n"
    if request_line.startswith(b"HEAD"):
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    async with held(lane, serve(reply)) as (origins, gateway):
        request = request_line + b"\r\nHost: gw\r\nModel-Override: m\r\nContent-Length: 0\r\n\r\n"
        response = await ask(gateway.port, request)
    assert response.status == int(reply[9:12])
    assert not origins[1].peers


async def test_an_unknown_coding_is_not_held(lane: bool) -> None:
    """A stream with an unknown content coding passes as it arrives, not after max_time."""
    go = asyncio.Event()
    packed = b"#" * 40
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: x-own\r\n\r\n")

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(head, chunk(packed[:20]))
        await go.wait()
        await peer.send(chunk(packed[20:]), b"0\r\n\r\n")

    async with held(lane, slow, hold={"max_time": "30s"}) as (_, gateway), connect(gateway.port) as client:
        await client.send(post(BODY))
        response = await client.head()
        assert await client.chunk(response) == packed[:20]
        go.set()
        await client.rest(response)
        assert response.body == packed


@pytest.mark.parametrize("leave", [Client.fin, Client.rst], ids=["FIN", "RST"])
async def test_a_client_may_leave_while_its_answer_is_held(lane: bool, leave: object) -> None:
    """The upstream connection is closed at once, and no other provider gets a request."""
    closed = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(ROLE))
        await peer.gone()
        closed.set()

    async with held(lane, slow) as (origins, gateway), connect(gateway.port) as client:
        await client.send(post(BODY))
        await origins[0].seen(1)
        assert callable(leave)
        leave(client)
        await until(lambda: gateway.application.proxy.in_flight == 0)
        await asyncio.wait_for(closed.wait(), 5)
    assert not origins[1].peers
    assert gateway.lines()[0]["outcome"] == "client_gone_waiting"
