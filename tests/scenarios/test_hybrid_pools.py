"""Pools of a local model and a remote provider: local first, remote first, by weight."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest
from support.gateway import Gateway, running
from support.origin import Origin, Peer, Script, answer, once, origin, refused_port, serve, silent, streaming
from support.raw import Client, Response, ask, connect, post
from support.targets import snapshot

CHAT = b'{"model":"m","messages":[{"role":"user","content":"one two three four"}]}'
STREAM = CHAT[:-1] + b',"stream":true}'
ECHO = {"engine": "echo"}
NOT_INSTALLED = {"engine": "llama_cpp", "model": "package:there-is-no-such-package"}
ON = {"enabled": True, "on_status": [5]}
QUICK = {"first_byte": "50ms"}
REMOTE = b'{"by":"remote"}'


def pool(*providers: object, strategy: str = "priority", **options: object) -> dict[str, object]:
    """The target ``m`` with these providers, tried in this order."""
    return {"m": {"strategy": strategy, "fallback": ON, "providers": list(providers), **options}}


def local(settings: Mapping[str, object], **options: object) -> dict[str, object]:
    return {"local": settings, "name": "local", **options}


def remote(upstream: Origin | int, **options: object) -> dict[str, object]:
    port = upstream if isinstance(upstream, int) else upstream.port
    return {"url": f"http://127.0.0.1:{port}", "name": "remote", **options}


def model_of(response: Response) -> set[str]:
    """The model names in a complete answer or in the events of a stream."""
    if not response.body.startswith(b"data:"):
        return {json.loads(response.body)["model"]}
    events = [line[6:] for line in response.body.split(b"\n\n") if line and line != b"data: [DONE]"]
    return {json.loads(event)["model"] for event in events}


def said_by(gateway: Gateway) -> list[tuple[object, object]]:
    """The provider that answered and the number of its attempt, from the log."""
    return [(line["provider"], line["attempts"]) for line in gateway.lines()]


# Local first


UNFIT: dict[str, dict[str, object]] = {
    "not installed": local(NOT_INSTALLED),
    "failing": local({**ECHO, "error_rate": 1, "error_status": 503}),
    "without a free place": local(ECHO, concurrency_limit={"max_concurrent_requests": 0}),
    "drained": local(ECHO, weight=0),
}


@pytest.mark.either_door
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "streamed"])
@pytest.mark.parametrize("unfit", UNFIT)
async def test_the_remote_provider_answers_if_the_local_model_cannot(lane: bool, unfit: str, body: bytes) -> None:
    """It gets one request with the client's own bytes. A model that could not be tried costs no attempt."""
    async with origin(serve(answer(REMOTE))) as upstream:
        async with running(snapshot(pool(UNFIT[unfit], remote(upstream))), lane=lane) as gateway:
            response = await ask(gateway.port, post(body))
    assert (response.status, response.body) == (200, REMOTE)
    assert [request.body for request in upstream.requests] == [body]
    assert said_by(gateway) == [("remote", 1 if unfit in ("without a free place", "drained") else 2)]


async def test_the_remote_provider_answers_if_the_local_model_is_slow(lane: bool) -> None:
    """It gets the request after ``timeouts.first_byte``, which may be set for the local model alone."""
    async with origin(serve(answer(REMOTE))) as upstream:
        targets = pool(local({**ECHO, "first_token_delay": "60s"}, timeouts=QUICK), remote(upstream))
        async with running(snapshot(targets), lane=lane) as gateway:
            assert (await ask(gateway.port, post(CHAT))).body == REMOTE
    assert said_by(gateway) == [("remote", 2)]


async def test_only_the_local_model_gets_requests_while_it_answers(lane: bool) -> None:
    """The client sees the name that it requested, complete and streamed."""
    async with origin() as upstream:
        async with running(snapshot(pool(local(ECHO), remote(upstream))), lane=lane) as gateway:
            responses = [await ask(gateway.port, post(body)) for body in (CHAT, STREAM)]
    assert [model_of(response) for response in responses] == [{"m"}, {"m"}]
    assert said_by(gateway) == [("local", 1)] * 2
    assert not upstream.peers


async def test_a_cut_local_stream_does_not_cause_fallback(lane: bool) -> None:
    """All content that the client gets is from one model."""
    async with origin() as upstream:
        targets = pool(local({**ECHO, "cut_after": 2}), remote(upstream), fallback={**ON, "retry_sent": True})
        async with running(snapshot(targets), lane=lane) as gateway:
            response = await ask(gateway.port, post(STREAM))
    assert response.status == 200
    assert not response.whole
    assert not upstream.peers


async def test_without_fallback_the_local_models_failure_is_the_answer(lane: bool) -> None:
    """The client gets 503 with its own code, the package to install, and Retry-After."""
    async with origin() as upstream:
        targets = pool(local(NOT_INSTALLED), remote(upstream), fallback={"enabled": False})
        async with running(snapshot(targets), lane=lane) as gateway:
            response = await ask(gateway.port, post(CHAT))
    assert (response.status, response.error["code"]) == (503, "local_model_unavailable")
    assert "pip install" in str(response.error["message"])
    assert response.value(b"retry-after") == b"1"
    assert not upstream.peers


# Remote first


BROKEN: dict[str, Script] = {
    "5xx": serve(answer(b"{}", b"503 Busy")),
    "too slow": silent,
    "closing without an answer": once(b""),
    "answering garbage": once(b"what?\r\n\r\n"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("body", [CHAT, STREAM], ids=["whole", "streamed"])
@pytest.mark.parametrize("broken", BROKEN)
async def test_the_local_model_is_the_last_resort(lane: bool, broken: str, body: bytes) -> None:
    """It answers under the name that the client requested, not the remote provider's name of the model. Responses
    case G26."""
    async with origin(BROKEN[broken]) as upstream:
        fallback = {**ON, "retry_sent": True}
        targets = pool(remote(upstream, onwards_model="org/big", timeouts=QUICK), local(ECHO), fallback=fallback)
        async with running(snapshot(targets), lane=lane) as gateway:
            response = await ask(gateway.port, post(body))
    assert response.status == 200
    assert model_of(response) == {"m"}
    assert json.loads(upstream.requests[0].body)["model"] == "org/big"
    assert said_by(gateway) == [("local", 2)]


async def test_the_local_model_answers_if_the_remote_connection_is_refused(lane: bool) -> None:
    """A refused connection needs no ``on_status``. Responses case G26."""
    targets = pool(remote(refused_port()), local(ECHO), fallback={"enabled": True})
    async with running(snapshot(targets), lane=lane) as gateway:
        assert model_of(await ask(gateway.port, post(CHAT))) == {"m"}
    assert said_by(gateway) == [("local", 2)]


async def test_the_remote_error_is_sent_if_the_local_model_fails_too(lane: bool) -> None:
    """The client gets the last complete response of a provider."""
    busy = answer(b"busy", b"503 Busy", b"Retry-After: 17\r\n")
    async with origin(serve(busy)) as upstream:
        async with running(snapshot(pool(remote(upstream), local(NOT_INSTALLED))), lane=lane) as gateway:
            response = await ask(gateway.port, post(CHAT))
    assert response.head + response.body == busy.replace(b"\r\n\r\n", b"\r\nX-Should-Retry: false\r\n\r\n")


async def test_the_local_model_does_not_show_onwards_model(lane: bool) -> None:
    """``onwards_model`` of the pool is the remote provider's name of the model; the local model does not use it."""
    targets = pool(remote(refused_port()), local(ECHO), onwards_model="org/big")
    async with running(snapshot(targets), lane=lane) as gateway:
        assert model_of(await ask(gateway.port, post(CHAT))) == {"m"}


# When a second attempt comes too late


async def late(peer: Peer) -> None:
    """Fail after more time than the pool allows."""
    await peer.request()
    await asyncio.sleep(0.06)
    await peer.send(answer(b"late", b"500 Oops"))


@pytest.mark.parametrize(("within", "wanted"), [(50, (500, "remote", 1)), (60_000, (200, "local", 2))])
async def test_a_late_failure_does_not_cause_fallback(lane: bool, within: int, wanted: tuple[int, str, int]) -> None:
    """``only_if_failed_within_ms``: after a long wait the client gets the failure, not another wait."""
    async with origin(late) as upstream:
        targets = pool(remote(upstream), local(ECHO), fallback={**ON, "only_if_failed_within_ms": within})
        async with running(snapshot(targets), lane=lane) as gateway:
            response = await ask(gateway.port, post(CHAT))
    assert (response.status, *said_by(gateway)[0]) == wanted


async def test_a_late_failure_of_the_local_model_does_not_cause_fallback(lane: bool) -> None:
    """The local model is first. Its first byte is late, and the time for fallback has passed."""
    async with origin() as upstream:
        slow = local({**ECHO, "first_token_delay": "60s"}, timeouts={"first_byte": "60ms"})
        targets = pool(slow, remote(upstream), fallback={**ON, "only_if_failed_within_ms": 50})
        async with running(snapshot(targets), lane=lane) as gateway:
            response = await ask(gateway.port, post(CHAT))
    assert (response.status, response.error["code"]) == (504, "gateway_timeout")
    assert not upstream.peers


# By weight


async def begin_stream(stack: AsyncExitStack, gateway: Gateway) -> Client:
    """A stream whose head and first event have arrived."""
    client = await stack.enter_async_context(connect(gateway.port))
    await client.send(post(STREAM))
    response = await client.head()
    assert response.status == 200
    assert await client.chunk(response)
    return client


@pytest.mark.parametrize(
    ("strategy", "weights", "wanted"),
    [("weighted_random", (1, 3), 3), ("weighted_random", (3, 1), 1), ("least_inflight", (3, 1), 2)],
)
async def test_open_streams_are_shared_out(lane: bool, strategy: str, weights: tuple[int, int], wanted: int) -> None:
    """Each provider gets its share of four concurrent streams, whatever the random draw is."""
    release = asyncio.Event()
    never_ending = {**ECHO, "token_delay": "60s"}
    async with origin(streaming(release)) as upstream:
        targets = pool(local(never_ending, weight=weights[0]), remote(upstream, weight=weights[1]), strategy=strategy)
        async with running(snapshot(targets), lane=lane) as gateway, AsyncExitStack() as stack:
            for _ in range(4):
                await begin_stream(stack, gateway)
            assert len(upstream.requests) == wanted
    providers = [line["provider"] for line in gateway.lines()]
    assert sorted(map(str, providers)) == ["local"] * (4 - wanted) + ["remote"] * wanted


async def test_with_weights_the_local_model_answers_for_a_failed_remote_one(lane: bool) -> None:
    """If the remote provider is down, every request is answered by the local model, whichever is drawn first."""
    targets = pool(local(ECHO), remote(refused_port()), strategy="weighted_random")
    async with running(snapshot(targets), lane=lane) as gateway:
        responses = [await ask(gateway.port, post(CHAT)) for _ in range(20)]
    assert [response.status for response in responses] == [200] * 20
    assert {provider for provider, _ in said_by(gateway)} == {"local"}
