"""``affinity``: all requests of one conversation go to one provider, in every process; conversations spread over the
providers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.chat_upstream import create, whole
from support.gateway import Gateway, running
from support.origin import Origin, Peer, Script, answer, origin, serve
from support.raw import ask, post
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

BY_SESSION: Json = {"session": ["x-session-id", "x-other-id"]}
BY_PROMPT: Json = {"prompt_bytes": 40}
STRATEGIES = ["weighted_random", "priority", "least_inflight", "p2c"]


class Switch:
    """Answers properly, or with 500 while ``broken``."""

    def __init__(self) -> None:
        self.broken = False

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer(b"no", b"500 Oops") if self.broken else answer())


@asynccontextmanager
async def pooled(
    lane: bool, affinity: Json, *scripts: Script, own: Json | None = None, target: Json | None = None
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """Three providers, with settings of each and of the target."""
    first, second, third = (*scripts, *[serve()] * 3)[:3]
    async with origin(first) as one, origin(second) as two, origin(third) as three:
        origins = [one, two, three]
        providers = [{"url": upstream.url, **(own or {})} for upstream in origins]
        options = {"affinity": affinity, "providers": providers, **(target or {})}
        async with running(snapshot({"m": options}), lane=lane) as gateway:
            yield origins, gateway


def session(name: str, field: bytes = b"X-Session-Id") -> bytes:
    return post(fields=b"%b: %b\r\n" % (field, name.encode()))


def prompt(system: str, user: str) -> bytes:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return post(json.dumps({"model": "m", "messages": messages}).encode())


async def asked(gateway: Gateway, origins: list[Origin], request: bytes) -> int:
    """The provider that gets ``request``."""
    before = [len(upstream.requests) for upstream in origins]
    await ask(gateway.port, request)
    await until(lambda: gateway.held_permits() == 0)
    grown = [len(upstream.requests) - count for upstream, count in zip(origins, before, strict=True)]
    assert sum(grown) == 1
    return grown.index(1)


@pytest.mark.either_door
@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_one_session_stays_and_many_spread(lane: bool, strategy: str) -> None:
    """This holds with every strategy. The strategy decides for requests without a session."""
    async with pooled(lane, BY_SESSION, target={"strategy": strategy}) as (origins, gateway):
        homes = {name: await asked(gateway, origins, session(name)) for name in map(str, range(45))}
        for name in ("0", "7", "13"):
            for _ in range(3):
                assert await asked(gateway, origins, session(name)) == homes[name]
    assert set(homes.values()) == {0, 1, 2}


async def test_the_first_header_of_the_list_counts(lane: bool) -> None:
    """Names match in any case. The second header counts if the first is missing or empty."""
    async with pooled(lane, BY_SESSION) as (origins, gateway):
        for name in map(str, range(12)):
            home = await asked(gateway, origins, session(name))
            assert await asked(gateway, origins, session(name, b"x-sESSION-id")) == home
            assert await asked(gateway, origins, session(name, b"X-Other-Id")) == home
            both = post(fields=b"X-Session-Id: %b\r\nX-Other-Id: something\r\n" % name.encode())
            assert await asked(gateway, origins, both) == home
            empty = post(fields=b"X-Session-Id:\r\nX-Other-Id: %b\r\n" % name.encode())
            assert await asked(gateway, origins, empty) == home


async def test_a_reload_does_not_move_a_session(lane: bool) -> None:
    """Another process chooses the same provider, because only the key and the providers decide."""
    async with pooled(lane, BY_SESSION) as (origins, gateway):
        homes = [await asked(gateway, origins, session(str(number))) for number in range(12)]
        providers = [{"url": upstream.url} for upstream in reversed(origins)]
        again = snapshot({"m": {"affinity": BY_SESSION, "providers": providers}})
        gateway.application.holder.replace(again)
        assert [await asked(gateway, origins, session(str(number))) for number in range(12)] == homes
        async with running(again, lane=lane) as other:
            assert [await asked(other, origins, session(str(number))) for number in range(12)] == homes


async def test_prompts_that_begin_alike_stay_together(lane: bool) -> None:
    """The first bytes after ``messages`` decide. Different prompts spread."""
    async with pooled(lane, BY_PROMPT) as (origins, gateway):
        homes = set()
        for number in range(45):
            system = f"{number} " * 30
            home = await asked(gateway, origins, prompt(system, "first question"))
            assert await asked(gateway, origins, prompt(system, "second question")) == home
            homes.add(home)
    assert homes == {0, 1, 2}


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_inputs_of_responses_count_as_prompts(lane: bool, mode: str) -> None:
    """This holds for native and translated requests."""
    reply = serve(whole("hello"))
    own: Json = {"open_responses_mode": mode}
    async with pooled(lane, BY_PROMPT, reply, reply, reply, own=own) as (origins, gateway):
        homes = set()
        for number in range(45):
            request = create(input=f"{number} " * 30)
            homes.add(home := await asked(gateway, origins, request))
            assert await asked(gateway, origins, request) == home
    assert homes == {0, 1, 2}


async def test_sessions_of_an_ejected_provider_move_and_come_back(lane: bool) -> None:
    """The sessions of other providers do not move."""
    switches = [Switch(), Switch(), Switch()]
    ejection: Json = {"ejection": {"consecutive_failures": 1, "base_time": "60s"}}
    async with pooled(lane, BY_SESSION, *switches, target=ejection) as (origins, gateway):
        names = [str(number) for number in range(45)]
        homes = [await asked(gateway, origins, session(name)) for name in names]
        switches[1].broken = True
        assert await asked(gateway, origins, session(names[homes.index(1)])) == 1
        switches[1].broken = False
        away = [await asked(gateway, origins, session(name)) for name in names]
        assert 1 not in away
        assert {home for home, other in zip(homes, away, strict=True) if home != other} == {1}
        target = gateway.application.holder.current.table.find("m")
        assert target is not None
        health = target.endpoints[1].health
        assert health is not None
        health.excluded_until = 0.0  # its time is over
        assert [await asked(gateway, origins, session(name)) for name in names] == homes


async def test_fallback_uses_a_fixed_second_provider(lane: bool) -> None:
    """Each conversation has its own second provider, which stays the same."""
    switches = [Switch(), Switch(), Switch()]
    options: Json = {"fallback": {"enabled": True, "on_status": [5]}, "ejection": {"enabled": False}}
    async with pooled(lane, BY_SESSION, *switches, target=options) as (origins, gateway):
        home = await asked(gateway, origins, session("a"))
        switches[home].broken = True
        seconds = set()
        for _ in range(4):
            assert (await ask(gateway.port, session("a"))).body == b'{"ok":true}'
            seconds.add(next(index for index, each in enumerate(origins) if index != home and each.requests))
    assert len(seconds) == 1
    assert sum(bool(upstream.requests) for upstream in origins) == 2


async def test_a_popular_session_does_not_overload_its_provider(lane: bool) -> None:
    """Above ``max_load`` times the fair share, the next provider gets its requests."""
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(answer())

    async with pooled(lane, {**BY_SESSION, "max_load": 1.25}, slow, slow, slow) as (origins, gateway):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(12):
                tasks.create_task(ask(gateway.port, session("popular")))
            await until(lambda: sum(len(upstream.requests) for upstream in origins) == 12)
            assert max(len(upstream.requests) for upstream in origins) <= 6
            release.set()
