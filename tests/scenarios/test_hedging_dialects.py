"""Hedging with a provider of another dialect or a local model."""

from __future__ import annotations

import json

from support.chat_upstream import create, streamed, text, whole
from support.gateway import running
from support.levels import spent
from support.origin import origin, serve, silent
from support.raw import ask, post
from support.responses_oracle import check_wire
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

SOON: Json = {"after": "30ms"}


async def test_translated_requests_are_hedged_too(lane: bool) -> None:
    """The client gets one valid answer, of the second provider, and its usage is charged once."""
    limit = {"tokens_per_minute": 1, "burst_size": 1000}
    async with origin(silent) as first, origin(serve(streamed(*text("hello")))) as second:
        providers = [{"url": each.url, "open_responses_mode": "translate"} for each in (first, second)]
        target = {"strategy": "priority", "hedge": SOON, "providers": providers, "token_limit": limit}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True, store=False))
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, "pool") == 18
    assert check_wire(response.body) == []
    assert b"hello" in response.body


async def test_a_slow_local_provider_is_hedged_too(lane: bool) -> None:
    """The hedge of a slow local provider goes to a remote one, and the hedge of a slow remote one to a local one."""
    slow = {"local": {"engine": "echo", "first_token_delay": "30s"}}
    chat = post(b'{"model":"m","messages":[{"role":"user","content":"hello"}]}')
    async with origin(serve(whole("remote"))) as upstream:
        target = {"strategy": "priority", "hedge": SOON, "providers": [slow, {"url": upstream.url}]}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            assert b"remote" in (await ask(gateway.port, chat)).body
    async with origin(silent) as upstream:
        providers = [{"url": upstream.url}, {"local": {"engine": "echo"}}]
        target = {"strategy": "priority", "hedge": SOON, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            body = json.loads((await ask(gateway.port, chat)).body)
    assert body["choices"][0]["message"]["content"] == "hello"
