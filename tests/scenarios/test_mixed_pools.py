"""Pools whose members use different dialects: a request that one member cannot serve goes to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from support.chat_upstream import create, streamed, text
from support.gateway import Gateway, running
from support.levels import waiting
from support.origin import Origin, Peer, Script, answer, origin, serve
from support.raw import ask, get, post
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

NATIVE = b'{"object":"response","native":true}'
WELL = serve(answer(NATIVE, fields=b"Content-Type: application/json\r\n"))
UNTRANSLATABLE = create(previous_response_id="resp_1")
ONE: Json = {"concurrency_limit": {"max_concurrent_requests": 1}}
QUEUE: Json = {"on_limit": "queue", "queue": {"timeout": "5s"}}
FALLBACKS: list[Json] = [{"enabled": False}, {"enabled": True, "on_status": [5]}]


@asynccontextmanager
async def pooled(
    lane: bool,
    modes: Sequence[str],
    *scripts: Script,
    fallback: Json | None = None,
    limits: Sequence[Json] = (),
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """One provider for each mode, tried in this order, with limits of each."""
    first, second = (*scripts, WELL, WELL)[:2]
    async with origin(first) as one, origin(second) as two:
        origins = [one, two][: len(modes)]
        bounds = (*limits, {}, {})
        providers = [
            {"url": upstream.url, "open_responses_mode": mode, **bounds[index]}
            for index, (upstream, mode) in enumerate(zip(origins, modes, strict=True))
        ]
        target = {"strategy": "priority", "fallback": fallback or {"enabled": False}, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            yield origins, gateway


@pytest.mark.either_door
@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize("first", ["translate", "disabled"])
async def test_an_untranslatable_request_goes_to_the_next_provider(lane: bool, first: str, fallback: Json) -> None:
    """This holds without fallback, because no attempt failed. The client's bytes pass unchanged, and one attempt is
    counted."""
    async with pooled(lane, [first, "native"], fallback=fallback) as (origins, gateway):
        response = await ask(gateway.port, UNTRANSLATABLE)
    assert (response.status, response.body) == (200, NATIVE)
    assert origins[1].last.body == UNTRANSLATABLE.partition(b"\r\n\r\n")[2]
    assert not origins[0].peers
    (line,) = gateway.lines()
    assert (line["attempts"], line["provider"]) == (1, f"127.0.0.1:{origins[1].port}")


@pytest.mark.either_door
@pytest.mark.parametrize("fallback", FALLBACKS)
@pytest.mark.parametrize(
    ("modes", "status"), [(["translate"], 400), (["translate", "translate"], 400), (["disabled", "disabled"], 404)]
)
async def test_a_request_that_no_provider_serves_is_refused(
    lane: bool, modes: list[str], status: int, fallback: Json
) -> None:
    """The message is that of the first provider's translation. No provider gets a request or a failure count."""
    async with pooled(lane, modes, fallback=fallback) as (origins, gateway):
        response = await ask(gateway.port, UNTRANSLATABLE)
        assert response.value(b"x-should-retry") is None
    assert response.status == status
    assert not any(upstream.peers for upstream in origins)
    assert (gateway.lines()[0]["attempts"], gateway.lines()[0]["outcome"]) == (0, "refused")


async def test_other_responses_paths_go_to_the_native_provider(lane: bool) -> None:
    """A request for a stored response goes to the native provider."""
    async with pooled(lane, ["translate", "native"]) as (origins, gateway):
        response = await ask(gateway.port, get(b"/v1/responses/resp_1", b"Model-Override: m\r\n"))
    assert response.body == NATIVE
    assert not origins[0].peers


@pytest.mark.parametrize("first", ["translate", "disabled"])
async def test_a_translated_provider_gets_the_requests_that_it_can_serve(lane: bool, first: str) -> None:
    """Both providers get chats; the translated one also gets the responses that can be translated."""
    async with pooled(lane, [first, "native"], serve(streamed(*text("hello")))) as (origins, gateway):
        await ask(gateway.port, post())
        await ask(gateway.port, create(stream=True))
    assert len(origins[0].requests) == (2 if first == "translate" else 1)


async def test_an_untranslatable_request_does_not_replace_an_earlier_failure(lane: bool) -> None:
    """The client gets the native provider's response."""
    fallback: Json = {"enabled": True, "on_status": [5]}
    failing = serve(answer(b"no", b"500 Oops"))
    async with pooled(lane, ["native", "translate"], failing, fallback=fallback) as (_, gateway):
        response = await ask(gateway.port, UNTRANSLATABLE)
    assert (response.status, response.body) == (500, b"no")


async def test_a_dead_native_provider_is_reported(lane: bool) -> None:
    """The client does not get the refusal of the other provider's translation, because the request is valid."""

    async def dies(peer: Peer) -> None:
        await peer.request()

    async with pooled(lane, ["translate", "native"], WELL, dies) as (_, gateway):
        response = await ask(gateway.port, UNTRANSLATABLE)
    assert (response.status, response.error["code"]) == (502, "bad_gateway")


class Gated:
    """Answers when ``go`` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await self.go.wait()
            await peer.send(answer(NATIVE))


async def test_a_request_waits_for_the_provider_that_can_serve_it(lane: bool) -> None:
    """It waits for a permit at the native provider, though the translated one has free permits."""
    gated = Gated()
    limits: list[Json] = [{}, {**ONE, **QUEUE}]
    async with pooled(lane, ["translate", "native"], WELL, gated, limits=limits) as (origins, gateway):
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(gateway.port, UNTRANSLATABLE)) for _ in range(3)]
            target = gateway.application.holder.current.table.find("m")
            assert target is not None
            line = target.endpoints[1].limiter.queue
            assert line is not None
            await until(lambda: line.waiting == 2)
            gated.go.set()
    assert [task.result().status for task in asked] == [200] * 3
    assert not origins[0].peers


async def test_a_full_provider_is_429_if_the_other_cannot_serve_the_request(lane: bool) -> None:
    """The status is 429, so that the client may retry, and not 400."""
    gated = Gated()
    async with pooled(lane, ["translate", "native"], WELL, gated, limits=[{}, ONE]) as (origins, gateway):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(gateway.port, UNTRANSLATABLE))
            await origins[1].seen(1)
            response = await ask(gateway.port, UNTRANSLATABLE)
            gated.go.set()
    assert (response.status, response.error["code"]) == (429, "concurrency_limit_exceeded")


async def test_a_request_that_no_provider_can_serve_waits_once(lane: bool) -> None:
    """It waited once for its provider. It does not wait again although that provider is busy again."""
    gated = Gated()
    async with pooled(lane, ["translate"], gated, limits=[{**ONE, **QUEUE}], fallback=FALLBACKS[1]) as (_, gateway):
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(ask(gateway.port, post()))
            await until(lambda: gateway.held_permits() > 0)
            refused = tasks.create_task(ask(gateway.port, UNTRANSLATABLE))
            await until(lambda: waiting(gateway, "provider") == 1)
            last = tasks.create_task(ask(gateway.port, post()))
            await until(lambda: waiting(gateway, "provider") == 2)
            gated.go.set()
    assert [task.result().status for task in (first, refused, last)] == [200, 400, 200]
