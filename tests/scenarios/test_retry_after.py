"""``Retry-After`` between attempts: the proxy waits within its bound; above it, the client gets the response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from support.chat_upstream import create, streamed, text
from support.chat_upstream import error as chat_error
from support.gateway import Gateway, running
from support.origin import Origin, Peer, Script, answer, origin, serve
from support.raw import ask, connect, post
from support.responses_promises import Json
from support.scene import until
from support.targets import pool, snapshot

TWICE: Json = {"enabled": True, "on_status": [429, 5], "max_attempts": 2}


def busy(seconds: bytes, status: bytes = b"429 Slow Down") -> bytes:
    return answer(b"busy", status, b"Retry-After: %b\r\n" % seconds)


@asynccontextmanager
async def alone(
    lane: bool, *replies: bytes, fallback: Json = TWICE, own: Json | None = None
) -> AsyncIterator[tuple[Origin, Gateway]]:
    """One provider that gives ``replies`` in turn."""
    async with origin(serve(*replies)) as upstream:
        target = {"fallback": fallback, "providers": [{"url": upstream.url, **(own or {})}]}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            yield upstream, gateway


@pytest.mark.either_door
@pytest.mark.parametrize("status", [b"429 Slow Down", b"503 Busy"])
@pytest.mark.parametrize("seconds", [b"0", b"1"])
async def test_the_proxy_waits_for_retry_after_within_the_bound(lane: bool, seconds: bytes, status: bytes) -> None:
    """After the wait the same provider gets the request again. The client sees only the last response."""
    loop = asyncio.get_running_loop()
    async with alone(lane, busy(seconds, status), answer()) as (upstream, gateway):
        began = loop.time()
        response = await ask(gateway.port, post())
        assert loop.time() - began >= int(seconds)
    assert (response.body, response.value(b"retry-after")) == (b'{"ok":true}', None)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(("seconds", "bound"), [(b"11", None), (b"3600", None), (b"1", 500)])
async def test_a_retry_after_above_the_bound_ends_the_attempts(lane: bool, seconds: bytes, bound: int | None) -> None:
    """The client gets the response unchanged, with its Retry-After. It may retry, since one attempt was made."""
    fallback = TWICE if bound is None else {**TWICE, "max_retry_after_ms": bound}
    async with alone(lane, busy(seconds), fallback=fallback) as (upstream, gateway):
        response = await ask(gateway.port, post())
    assert response.head + response.body == busy(seconds)
    assert len(upstream.requests) == 1


async def test_a_bound_of_zero_ignores_retry_after(lane: bool) -> None:
    """The next attempt is made at once."""
    async with alone(lane, busy(b"3600"), answer(), fallback={**TWICE, "max_retry_after_ms": 0}) as (upstream, gateway):
        assert (await ask(gateway.port, post())).body == b'{"ok":true}'
    assert len(upstream.requests) == 2


async def test_a_provider_without_retry_after_is_tried_at_once(lane: bool) -> None:
    """The first provider's Retry-After does not delay the second."""
    async with origin(serve(busy(b"3600"))) as first, origin() as second:
        providers = [{"url": first.url}, {"url": second.url}]
        target = {"strategy": "priority", "fallback": {"enabled": True, "on_status": [429]}, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            assert (await ask(gateway.port, post())).body == b'{"ok":true}'


@pytest.mark.parametrize("seconds", [b"soon", b"-1", b""])
async def test_an_invalid_retry_after_is_ignored(lane: bool, seconds: bytes) -> None:
    """The next attempt is made as without Retry-After."""
    async with alone(lane, busy(seconds), answer()) as (upstream, gateway):
        assert (await ask(gateway.port, post())).body == b'{"ok":true}'
    assert len(upstream.requests) == 2


async def test_retry_after_of_a_translated_answer_is_honoured(lane: bool) -> None:
    """The proxy waits within the bound; above it, the client gets the Retry-After."""
    mode: Json = {"open_responses_mode": "translate"}
    replies = (chat_error(b"429 Slow", "busy", b"Retry-After: 0\r\n"), streamed(*text("hello")))
    async with alone(lane, *replies, own=mode) as (upstream, gateway):
        assert b"hello" in (await ask(gateway.port, create(stream=True))).body
    async with alone(lane, chat_error(b"429 Slow", "busy", b"Retry-After: 99\r\n"), own=mode) as (upstream, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert (response.status, response.value(b"retry-after"), len(upstream.requests)) == (429, b"99", 1)


@pytest.mark.parametrize("limits", [{"concurrency_limit": {"max_concurrent_requests": 1}}])
async def test_no_permit_is_held_during_retry_after(lane: bool, limits: Json) -> None:
    """Other exchanges may use the provider. A client that disconnects leaves no resources in use."""
    async with alone(lane, busy(b"5"), answer(), own=limits) as (upstream, gateway), connect(gateway.port) as client:
        await client.send(post())
        await upstream.seen(1)
        target = gateway.application.holder.current.table.find("m")
        assert target is not None
        await until(lambda: target.endpoints[0].limiter.in_flight == 0)
        assert (await ask(gateway.port, post())).body == b'{"ok":true}'
        client.rst()
        await until(lambda: gateway.application.proxy.in_flight == 0)
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_clients_are_told_not_to_retry_after_several_attempts(lane: bool, count: int) -> None:
    """``x-should-retry: false`` keeps SDKs from multiplying attempts. After a single attempt the client may retry."""

    async def failing(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b"no", b"500 Oops", b"X-Number: %d\r\n" % count))

    scripts: list[Script] = [failing] * 3
    async with origin(scripts[0]) as one, origin(scripts[1]) as two, origin(scripts[2]) as three:
        providers = [{"url": upstream.url} for upstream in (one, two, three)][:count]
        async with running(
            snapshot({"m": {"fallback": {"enabled": True, "on_status": [5]}, "providers": providers}}), lane=lane
        ) as gateway:
            response = await ask(gateway.port, post())
    assert (response.status, response.body) == (500, b"no")
    assert response.value(b"x-should-retry") == (None if count == 1 else b"false")


@pytest.mark.parametrize("said", [formatdate(4e9, usegmt=True).encode(), b"9" * 40])
async def test_a_very_long_retry_after_ends_the_attempts(lane: bool, said: bytes) -> None:
    """The value is a date in a response without Date, or a very large number."""
    async with origin(serve(busy(said), answer())) as upstream:
        targets = pool(upstream.url, fallback=TWICE)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert (response.status, response.value(b"retry-after")) == (429, said)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("options", [{}, {"response_headers": {"X-Should-Retry": "true"}}])
async def test_x_should_retry_is_sent_once(lane: bool, options: Json) -> None:
    """OpenAI sends it, too. SDKs would join two values to one that they do not know, and retry."""
    failing = answer(b"busy", b"500 Oops", b"x-should-retry: true\r\n")
    async with origin(serve(failing)) as first, origin(serve(failing)) as second:
        async with running(pool(first.url, second.url, fallback=TWICE, **options), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert response.status == 500
    assert response.head.lower().count(b"x-should-retry") == 1
    assert response.value(b"x-should-retry") == b"false"
