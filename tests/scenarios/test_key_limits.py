"""Limits of keys: which requests they count, where they apply, and what remains of them after a reload."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest
from support.gateway import running
from support.origin import Peer, answer, origin
from support.raw import ask, post
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

from onwards_py.model.snapshot import Snapshot

TWICE: Json = {"rate_limit": {"requests_per_minute": 1, "burst_size": 2}}
ONE: Json = {"concurrency_limit": {"max_concurrent_requests": 1}}
QUEUE: Json = {"on_limit": "queue", "queue": {"timeout": "5s"}}


def bearer(token: str) -> bytes:
    return b"Authorization: Bearer %b\r\n" % token.encode()


def asking(model: str, token: str) -> bytes:
    return post(b'{"model":"%b"}' % model.encode(), fields=bearer(token))


def file(url: str, definitions: Json, **targets: object) -> Snapshot:
    """Two targets that accept the keys ``a`` and ``b``, and other targets as given."""
    keys = [name for name in ("a", "b") if name in definitions]
    both = {name: {"url": url, "keys": keys} for name in ("m", "n")}
    return snapshot({**both, **targets}, auth={"key_definitions": definitions, "global_keys": ["sk-admin"]})


@pytest.mark.parametrize("definition", [{"key": "sk-a"}, {"key_sha256": sha256(b"sk-a").hexdigest()}])
async def test_a_keys_limits_hold_over_all_targets_together(lane: bool, definition: Json) -> None:
    """They apply whatever form the key has in the file and whichever header carries it. Open targets count as well."""
    async with origin() as upstream:
        targets = file(upstream.url, {"a": {**definition, **TWICE}, "b": {"key": "sk-b"}}, free={"url": upstream.url})
        async with running(targets, lane=lane) as gateway:
            requests = [
                asking("m", "sk-a"),
                post(b'{"model":"n"}', fields=b"x-api-key: sk-a\r\n"),
                asking("m", "sk-a"),
                post(b'{"model":"n"}', fields=b"API-Key: sk-a\r\n"),
                asking("m", "sk-b"),
                asking("n", "sk-admin"),
            ]
            statuses = [(await ask(gateway.port, request)).status for request in requests]
    assert statuses == [200, 200, 429, 429, 200, 200]


async def test_global_and_literal_keys_have_no_limits(lane: bool) -> None:
    """Only key definitions have limits."""
    async with origin() as upstream:
        own = {"url": upstream.url, "keys": ["sk-literal"]}
        async with running(file(upstream.url, {"a": {"key": "sk-a", **TWICE}}, own=own), lane=lane) as gateway:
            for token in ("sk-admin", "sk-literal"):
                for _ in range(4):
                    assert (await ask(gateway.port, asking("own", token))).status == 200


async def test_a_refused_target_costs_a_key_nothing(lane: bool) -> None:
    """A request for a missing or forbidden model is refused before limits are checked."""
    async with origin() as upstream:
        other = {"url": upstream.url, "keys": ["b"]}
        definitions: Json = {"a": {"key": "sk-a", **TWICE}, "b": {"key": "sk-b"}}
        async with running(file(upstream.url, definitions, other=other), lane=lane) as gateway:
            statuses = [(await ask(gateway.port, asking(model, "sk-a"))).status for model in ("other", "none", "x") * 2]
            assert set(statuses) <= {403, 404}
            assert (await ask(gateway.port, asking("m", "sk-a"))).status == 200
            assert (await ask(gateway.port, asking("m", "sk-a"))).status == 200


@pytest.mark.parametrize("level", ["target", "provider"])
async def test_a_full_target_costs_a_key_nothing(lane: bool, level: str) -> None:
    """A request counts at all limits or at none, whether the limit is the target's or its only provider's."""
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        while True:
            await peer.request()
            await release.wait()
            await peer.send(answer())

    async with origin(slow) as upstream:
        where = {"providers": [{"url": upstream.url}]} if level == "target" else {"url": upstream.url}
        full = {**where, "keys": ["a", "b"], **ONE}
        definitions: Json = {"a": {"key": "sk-a", **TWICE}, "b": {"key": "sk-b"}}
        async with running(file(upstream.url, definitions, full=full), lane=lane) as gateway:
            first = asyncio.create_task(ask(gateway.port, asking("full", "sk-b")))
            await upstream.seen(1)
            for _ in range(5):
                refused = await ask(gateway.port, asking("full", "sk-a"))
                assert (refused.status, refused.error["code"]) == (429, "concurrency_limit_exceeded")
            release.set()
            assert (await first).status == 200
            assert [(await ask(gateway.port, asking("m", "sk-a"))).status for _ in range(3)] == [200, 200, 429]


async def test_a_waiting_key_does_not_delay_another_key(lane: bool) -> None:
    """Each key has its own queue, even at the same target."""
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.values(b"x-slow"):
                await release.wait()
            await peer.send(answer())

    async with origin(slow) as upstream:
        definitions: Json = {"a": {"key": "sk-a", **ONE, **QUEUE}, "b": {"key": "sk-b", **ONE, **QUEUE}}
        async with running(file(upstream.url, definitions), lane=lane) as gateway:
            slow_one = post(b'{"model":"m"}', fields=bearer("sk-a") + b"X-Slow: yes\r\n")
            waiting = [asyncio.create_task(ask(gateway.port, slow_one)) for _ in range(3)]
            await until(lambda: gateway.application.proxy.in_flight == 3)
            for _ in range(3):
                assert (await ask(gateway.port, asking("m", "sk-b"))).status == 200
            assert sum(bool(request.values(b"x-slow")) for request in upstream.requests) == 1
            release.set()
            assert [(await task).status for task in waiting] == [200] * 3


async def test_a_redirect_uses_the_limits_of_its_destination(lane: bool) -> None:
    """The limits of the key apply as well; those of the requested target do not."""
    rule = {"match_labels": {"tier": "free"}, "action": {"type": "redirect", "target": "small"}}
    async with origin() as upstream:
        big = {"url": upstream.url, "keys": ["a"], "routing_rules": [rule], **TWICE}
        small = {"url": upstream.url, "keys": ["a"], "rate_limit": {"requests_per_minute": 1, "burst_size": 3}}
        definitions: Json = {"a": {"key": "sk-a", "labels": {"tier": "free"}}}
        async with running(file(upstream.url, definitions, big=big, small=small), lane=lane) as gateway:
            statuses = [(await ask(gateway.port, asking("big", "sk-a"))).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


async def test_a_reload_does_not_refill_a_limit(lane: bool) -> None:
    """An unchanged limit keeps its state, even under a new secret. A changed limit begins anew."""
    async with origin() as upstream:
        async with running(file(upstream.url, {"a": {"key": "sk-a", **TWICE}}), lane=lane) as gateway:
            for _ in range(2):
                assert (await ask(gateway.port, asking("m", "sk-a"))).status == 200
            gateway.application.holder.replace(file(upstream.url, {"a": {"key": "sk-new", **TWICE}}))
            assert (await ask(gateway.port, asking("m", "sk-a"))).status == 403
            assert (await ask(gateway.port, asking("m", "sk-new"))).status == 429
            more = {"rate_limit": {"requests_per_minute": 1, "burst_size": 3}}
            gateway.application.holder.replace(file(upstream.url, {"a": {"key": "sk-new", **more}}))
            assert (await ask(gateway.port, asking("m", "sk-new"))).status == 200


@pytest.mark.parametrize("count", [1, 2])
async def test_a_full_providers_refusal_is_not_counted_at_the_key(lane: bool, count: int) -> None:
    """The key can still send its two requests to another target. This holds for the provider of a single target and
    for those of a pool."""
    async with origin() as upstream:
        providers = [{"url": upstream.url, "concurrency_limit": {"max_concurrent_requests": 0}}] * count
        full = {"providers": providers, "fallback": {"enabled": True, "on_rate_limit": True}, "keys": ["a"]}
        async with running(file(upstream.url, {"a": {"key": "sk-a", **TWICE}}, full=full), lane=lane) as gateway:
            models = ["full", "full", "full", "m", "m", "m"]
            statuses = [(await ask(gateway.port, asking(model, "sk-a"))).status for model in models]
    assert statuses == [429, 429, 429, 200, 200, 429]
