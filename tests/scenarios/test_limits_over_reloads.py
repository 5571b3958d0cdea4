"""A reload removes or restores a limit while requests wait, disconnect or run."""

from __future__ import annotations

import asyncio

import pytest
from support.gateway import running
from support.levels import KEY, LEVELS, estimate, limited, spent, waiting
from support.origin import Peer, answer, origin
from support.raw import ask, connect, post
from support.responses_promises import Json
from support.scene import until

CHAT = post(b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 400 + b'"}]}', fields=KEY)


ONE: Json = {"concurrency_limit": {"max_concurrent_requests": 1}}


QUEUE: Json = {"on_limit": "queue", "queue": {"max_waiting": 5, "timeout": "20s"}}


TOKENS: Json = {"token_limit": {"tokens_per_minute": 1, "burst_size": 1000}}


class Held:
    """An upstream that answers when the test allows it."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await self.go.wait()
            await peer.send(answer())


@pytest.mark.either_door
@pytest.mark.parametrize("mode", ["native", "translate"])
@pytest.mark.parametrize("level", LEVELS)
async def test_a_disconnect_before_the_answer_is_charged_for_the_prompt(lane: bool, level: str, mode: str) -> None:
    """A complete answer comes together with its head, so a client that disconnects before it would otherwise never
    be charged."""
    path = b"/v1/chat/completions" if mode == "native" else b"/v1/responses"
    body = b'{"model":"m","input":"' + b"x" * 400 + b'"}' if mode == "translate" else CHAT.partition(b"\r\n\r\n")[2]
    request = post(body, target=path, fields=KEY)
    async with origin(Held()) as upstream:
        targets = limited(level, TOKENS, url=upstream.url, open_responses_mode=mode)
        async with running(targets, lane=lane) as gateway:
            async with connect(gateway.port) as client:
                await client.send(request)
                await upstream.seen(1)
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, level) == estimate(request)


async def test_a_disconnect_in_the_queue_is_not_charged(lane: bool) -> None:
    """No provider got the request."""
    limits = {**ONE, **QUEUE, **TOKENS}
    held = Held()
    async with origin(held) as upstream, running(limited("key", limits, url=upstream.url), lane=lane) as gateway:
        first = asyncio.create_task(ask(gateway.port, CHAT))
        await upstream.seen(1)
        before = spent(gateway, "key")
        async with connect(gateway.port) as client:
            await client.send(CHAT)
            await until(lambda: waiting(gateway, "key") == 1)
        await until(lambda: waiting(gateway, "key") == 0)
        assert spent(gateway, "key") == before == estimate(CHAT)
        held.go.set()
        assert (await first).status == 200


@pytest.mark.parametrize("level", LEVELS)
async def test_a_reload_without_the_limit_admits_waiting_requests(lane: bool, level: str) -> None:
    """They are admitted at once, not only when a permit is released, at every level of limits."""
    held = Held()
    async with origin(held) as upstream:
        async with running(limited(level, {**ONE, **QUEUE}, url=upstream.url), lane=lane) as gateway:
            asked = [asyncio.create_task(ask(gateway.port, CHAT)) for _ in range(3)]
            await until(lambda: waiting(gateway, level) == 2)
            gateway.application.holder.replace(limited(level, {}, url=upstream.url))
            await upstream.seen(3)
            held.go.set()
            assert [response.status for response in await asyncio.gather(*asked)] == [200] * 3


@pytest.mark.parametrize("level", LEVELS)
async def test_a_restored_limit_counts_running_requests(lane: bool, level: str) -> None:
    """It counts requests from before its removal and those that came while there was no limit."""
    held = Held()
    async with origin(held) as upstream:
        two: Json = {"concurrency_limit": {"max_concurrent_requests": 2}}
        async with running(limited(level, two, url=upstream.url), lane=lane) as gateway:
            first = asyncio.create_task(ask(gateway.port, CHAT))
            await upstream.seen(1)
            gateway.application.holder.replace(limited(level, {}, url=upstream.url))
            second = asyncio.create_task(ask(gateway.port, CHAT))
            await upstream.seen(2)
            gateway.application.holder.replace(limited(level, two, url=upstream.url))
            assert (await ask(gateway.port, CHAT)).status == 429
            held.go.set()
            assert [(await first).status, (await second).status] == [200, 200]
            assert (await ask(gateway.port, CHAT)).status == 200
