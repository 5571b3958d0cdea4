"""``hold`` for translated answers: the proxy holds back the translated events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.chat_upstream import DONE, create, end, frame, streamed, text, whole
from support.gateway import Gateway, running
from support.origin import LAST_CHUNK, STREAM_HEAD, Origin, Peer, Script, answer, breaks_off, chunk, origin, serve
from support.raw import Client, ask, connect, post
from support.responses_oracle import check_resource, check_wire, events_of
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

ROLE = frame(role="assistant", content="")
COMMENT = b": keep-alive\n\n"
ERROR = b'data: {"error":{"message":"busy secret","type":"server_error","code":503}}\n\n'
CLIENTS_FAULT = b'data: {"error":{"message":"no","type":"invalid_request_error","code":400,"param":null}}\n\n'
TOOLS = [{"type": "function", "name": "late", "parameters": None}]
CALL = frame(tool_calls=[{"index": 0, "id": "c", "type": "function", "function": {"name": "late", "arguments": ""}}])
WELL = streamed(*text("well"))


@asynccontextmanager
async def held(
    lane: bool,
    first: Script,
    second: Script | None = None,
    *,
    modes: tuple[str, str] = ("translate", "translate"),
    hold: Json | None = None,
    **translate: object,
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """Two providers, tried in this order; ``translate`` are settings."""
    async with origin(first) as one, origin(second or serve(WELL)) as two:
        providers = [
            {"url": upstream.url, "open_responses_mode": mode, **({"translate": translate} if translate else {})}
            for upstream, mode in zip((one, two), modes, strict=True)
        ]
        fallback = {"enabled": True, "on_status": [429, 5], "hold": hold or {"max_bytes": "64KiB", "max_time": "5s"}}
        target = {"strategy": "priority", "fallback": fallback, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            yield [one, two], gateway


FAILING = {
    "an error as the first event": serve(streamed(ERROR)),
    "an error behind comments": serve(streamed(COMMENT, COMMENT, ERROR)),
    "an error behind the role": serve(streamed(ROLE, COMMENT, ERROR)),
    "a JSON error": serve(answer(ERROR[6:-2], fields=b"Content-Type: application/json\r\n")),
    "an empty body": serve(answer(b"", fields=b"Content-Type: application/json\r\n")),
    "an empty stream": serve(streamed()),
    "nothing but comments": serve(streamed(COMMENT)),
    "a role and no more": serve(streamed(ROLE)),
    "a cut at once": breaks_off(),
    "a cut behind comments": breaks_off(COMMENT),
    "a cut behind the role": breaks_off(ROLE),
    "an error behind a call's name": serve(streamed(ROLE, CALL, ERROR)),
    "a cut behind a call's name": breaks_off(ROLE, CALL),
}


@pytest.mark.either_door
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", FAILING)
async def test_an_empty_or_failed_translated_answer_causes_fallback(lane: bool, case: str, stream: bool) -> None:
    """The client gets one valid answer, the second provider's."""
    async with held(lane, FAILING[case]) as (origins, gateway):
        response = await ask(gateway.port, create(stream=stream, tools=TOOLS))
    assert response.status == 200
    assert b"well" in response.body
    assert b"secret" not in response.body
    if stream:
        assert check_wire(response.body) == []
        assert events_of(response.body)[-1]["type"] == "response.completed"
    else:
        assert check_resource(json.loads(response.body)) == []
    assert [len(upstream.requests) for upstream in origins] == [1, 1]


async def test_a_native_provider_may_be_next(lane: bool) -> None:
    """It gets the client's own request, and its answer passes unchanged."""
    native = answer(b'{"object":"response"}', fields=b"Content-Type: application/json\r\n")
    scripts = (serve(streamed(ROLE, ERROR)), serve(native))
    async with held(lane, *scripts, modes=("translate", "native")) as (origins, gateway):
        request = create(stream=True)
        response = await ask(gateway.port, request)
    assert response.body == b'{"object":"response"}'
    assert origins[1].last.body == request.partition(b"\r\n\r\n")[2]


async def test_a_translated_provider_may_be_next(lane: bool) -> None:
    """It follows a native one that sent response.created and then failed."""
    created = b'data: {"type":"response.created","response":{"id":"resp_theirs"}}\n\n'
    failed = b'data: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n'
    async with held(lane, serve(streamed(created, failed)), modes=("native", "translate")) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert check_wire(response.body) == []
    assert b"well" in response.body
    assert b"resp_theirs" not in response.body


async def test_a_slow_translated_stream_is_not_empty(lane: bool) -> None:
    """After max_time the stream begins with the held events and stays with its provider."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(ROLE), chunk(CALL))
        await go.wait()
        await peer.send(chunk(frame(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}])))
        await peer.send(chunk(end("tool_calls")), chunk(DONE), LAST_CHUNK)

    async with held(lane, slow, hold={"max_time": "50ms"}) as (origins, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True, tools=TOOLS))
        response = await client.head()
        while b"response.created" not in response.body:
            await client.chunk(response)
        go.set()
        await client.rest(response)
        assert check_wire(response.body) == []
        assert b"late" in response.body
    assert not origins[1].peers


async def test_an_error_after_content_is_reported_in_the_stream(lane: bool) -> None:
    """The stream has begun, so no other provider gets a request."""
    async with held(lane, serve(streamed(ROLE, frame(content="some"), ERROR))) as (origins, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert check_wire(response.body) == []
    assert events_of(response.body)[-1]["type"] == "response.failed"
    assert b"some" in response.body
    assert not origins[1].peers


async def test_an_error_moves_on_if_all_events_fit_into_max_bytes(lane: bool) -> None:
    """The end mark behind them needs no room."""
    failing, request = serve(streamed(ROLE, CALL, ERROR)), create(stream=True, tools=TOOLS)
    async with held(lane, failing, hold={"max_bytes": 64, "max_time": "5s"}) as (_, gateway):
        events = (await ask(gateway.port, request)).body.removesuffix(DONE)
    for limit, asked in ((len(events), 1), (len(events) - 1, 0)):
        async with held(lane, failing, hold={"max_bytes": limit, "max_time": "5s"}) as (origins, gateway):
            response = await ask(gateway.port, request)
        assert len(origins[1].requests) == asked
        assert response.body.endswith(DONE)


async def test_an_error_without_fallback_is_reported_to_the_client(lane: bool) -> None:
    """The error is not in ``on_status``. It is a status before the first event, and an event of the stream later, as
    without a hold."""
    async with held(lane, serve(streamed(CLIENTS_FAULT))) as (origins, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert (response.status, len(origins[1].peers)) == (400, 0)
    async with held(lane, serve(streamed(ROLE, CALL, CLIENTS_FAULT))) as (origins, gateway):
        response = await ask(gateway.port, create(stream=True, tools=TOOLS))
    assert check_wire(response.body) == []
    assert events_of(response.body)[-1]["type"] == "response.failed"
    assert not origins[1].peers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_last_failed_translated_answer_is_reported(lane: bool, stream: bool) -> None:
    """The client gets its status without the provider's message, and a field that tells it not to retry."""
    async with held(lane, serve(streamed(ERROR)), serve(streamed(ERROR))) as (_, gateway):
        response = await ask(gateway.port, create(stream=stream))
    assert (response.status, response.value(b"x-should-retry")) == (503, b"false")
    assert b"secret" not in response.body
    assert gateway.lines()[0]["attempts"] == 2


async def test_commit_after_ends_the_hold(lane: bool) -> None:
    """After ``commit_after`` the client has response.created, so a later failure is reported in its stream."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(ROLE))
        await go.wait()
        await peer.send(chunk(ERROR), LAST_CHUNK)

    async with held(lane, slow, commit_after="50ms") as (origins, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        response = await client.head()
        while b"response.created" not in response.body:
            await client.chunk(response)
        go.set()
        await client.rest(response)
        assert check_wire(response.body) == []
        assert events_of(response.body)[-1]["type"] == "response.failed"
    assert not origins[1].peers


async def test_a_keepalive_does_not_end_the_hold(lane: bool) -> None:
    """A keepalive would commit the response. ``max_time`` of the hold bounds the wait."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(ROLE))
        asyncio.get_running_loop().call_later(0.1, go.set)
        await go.wait()
        await peer.send(chunk(ERROR), LAST_CHUNK)

    async with held(lane, slow, keepalive_interval="20ms") as (origins, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert check_wire(response.body) == []
    assert b"well" in response.body
    assert len(origins[1].requests) == 1


@pytest.mark.parametrize("leave", [Client.fin, Client.rst], ids=["FIN", "RST"])
async def test_a_client_may_leave_while_its_translated_answer_is_held(lane: bool, leave: object) -> None:
    """The upstream connection is closed at once, and no other provider gets a request."""
    closed = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(ROLE))
        await peer.gone()
        closed.set()

    async with held(lane, slow) as (origins, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        await origins[0].seen(1)
        assert callable(leave)
        leave(client)
        await until(lambda: gateway.application.proxy.in_flight == 0)
        await asyncio.wait_for(closed.wait(), 5)
    assert not origins[1].peers
    assert gateway.lines()[0]["outcome"] == "client_gone_waiting"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_an_error_of_chat_over_responses_causes_fallback(lane: bool, stream: bool) -> None:
    """The provider of the Responses API sends response.created and then an error."""
    created = b'data: {"type":"response.created","response":{"id":"resp_1"}}\n\n'
    failed = b'data: {"type":"error","code":"server_error","message":"no","param":null}\n\n'
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    async with origin(serve(streamed(created, failed))) as one, origin(serve(whole("well"))) as two:
        providers = [{"url": one.url, "chat_completions_mode": "translate"}, {"url": two.url}]
        fallback = {"enabled": True, "on_status": [5], "hold": {"max_time": "5s"}}
        target = {"strategy": "priority", "fallback": fallback, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            response = await ask(gateway.port, post(json.dumps(request).encode()))
    assert json.loads(response.body)["choices"][0]["message"]["content"] == "well"
