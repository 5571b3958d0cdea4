"""Odd callers: two keys at once, hanging up, and reloads that take limits away under those who wait for them."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.gateway import running
from support.levels import KEY, LEVELS, estimate, limited, spent, waiting
from support.origin import Origin, Peer, answer, origin
from support.raw import ask, connect, get, post
from support.responses_promises import Json
from support.scene import until
from support.targets import single, snapshot

CHAT = post(b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 400 + b'"}]}', fields=KEY)
ONE: Json = {"concurrency_limit": {"max_concurrent_requests": 1}}
QUEUE: Json = {"on_limit": "queue", "queue": {"max_waiting": 5, "timeout": "20s"}}
TOKENS: Json = {"token_limit": {"tokens_per_minute": 1, "burst_size": 1000}}


class Held:
    """An upstream that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await self.go.wait()
            await peer.send(answer())


@pytest.mark.parametrize("names", [(b"X-Api-Key", b"Api-Key"), (b"Api-Key", b"X-Api-Key")], ids=["x", "api"])
@pytest.mark.parametrize("keys", [(b"sk-a", b"other"), (b"other", b"sk-a")], ids=["good-first", "bad-first"])
async def test_two_different_api_keys_are_no_key(
    lane: bool, names: tuple[bytes, bytes], keys: tuple[bytes, bytes]
) -> None:
    """The order of two fields must not decide who calls."""
    fields = b"".join(b"%b: %b\r\n" % pair for pair in zip(names, keys, strict=True))
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=fields))
    assert (response.status, response.error["code"]) == (403, "forbidden")
    assert not upstream.requests


@pytest.mark.parametrize(
    "fields",
    [
        b"X-Api-Key: sk-a\r\nApi-Key: sk-a\r\n",
        b"X-Api-Key: sk-a\r\nApi-Key:\r\n",
        b"Api-Key: \r\nX-Api-Key: sk-a\r\n",
        b"Api-Key: sk-a\r\nX-Api-Key: \r\n",
    ],
)
async def test_the_same_api_key_twice_or_beside_nothing_is_one_key(lane: bool, fields: bytes) -> None:
    """Some clients fill in both headers; an empty one says nothing. Neither is forwarded."""
    async with origin() as upstream, running(single(upstream.url, keys=["sk-a"]), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=fields))
    assert response.status == 200
    assert b"sk-a" not in upstream.requests[0].raw


@pytest.mark.parametrize("mode", ["native", "translate"])
@pytest.mark.parametrize("level", LEVELS)
async def test_who_hangs_up_before_the_answer_has_used_the_prompt(lane: bool, level: str, mode: str) -> None:
    """A whole answer comes with its head, so else nobody who hangs up in time would ever be charged."""
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


async def test_who_hangs_up_in_line_has_used_nothing(lane: bool) -> None:
    """Nobody was asked."""
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
async def test_a_reload_without_the_limit_lets_in_who_waits_for_it(lane: bool, level: str) -> None:
    """At once, and not only when a place comes free; at whichever level it stood."""
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
async def test_a_limit_that_comes_back_counts_who_is_still_there(lane: bool, level: str) -> None:
    """Those from before it was taken away, and those who came while there was none."""
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


FREE: Json = {"tier": "free"}
DENY: Json = {"match_labels": FREE, "action": {"type": "deny"}}


def led(target: str) -> Json:
    return {"match_labels": FREE, "action": {"type": "redirect", "target": target}}


def mixed(upstream: Origin) -> Json:
    """Targets that differ in who may use them."""
    one: Json = {"url": upstream.url}
    return {
        "denied": {**one, "keys": ["free", "paid"], "routing_rules": [DENY]},
        "led-away": {**one, "keys": ["free", "paid"], "routing_rules": [led("paid-only")]},
        "led": {**one, "keys": ["free", "paid", "bound"], "routing_rules": [led("open")]},
        "paid-only": {**one, "keys": ["paid"]},
        "open": one,
        "open-denied": {**one, "routing_rules": [{"match_labels": {}, "action": {"type": "deny"}}]},
        "nobody": {**one, "keys": []},
    }


@pytest.mark.parametrize("key", ["", "sk-free", "sk-paid", "sk-bound", "sk-none", "sk-unknown"])
async def test_the_list_of_models_is_what_may_be_asked_for(lane: bool, key: str) -> None:
    """Whatever rules, lists and allowed targets say together; asked one by one, and by id."""
    fields = f"Authorization: Bearer {key}\r\n".encode() if key else b""
    definitions: Json = {
        "free": {"key": "sk-free", "labels": FREE},
        "paid": {"key": "sk-paid", "labels": {"tier": "paid"}},
        "bound": {"key": "sk-bound", "labels": FREE, "allowed_targets": ["led", "denied"]},
        "none": {"key": "sk-none", "allowed_targets": []},
    }
    async with origin() as upstream:
        targets = mixed(upstream)
        async with running(snapshot(targets, auth={"key_definitions": definitions}), lane=lane) as gateway:
            listed = await ask(gateway.port, get(b"/v1/models", fields))
            shown = {model["id"] for model in json.loads(listed.body)["data"]}
            for name in targets:
                response = await ask(gateway.port, post(b'{"model":"%b"}' % name.encode(), fields=fields))
                assert (name, response.status == 200) == (name, name in shown)
                one = await ask(gateway.port, get(b"/v1/models/" + name.encode(), fields))
                assert (name, one.status) == (name, 200 if name in shown else 404)
