"""Active health checks: a provider that fails them gets no requests until it passes again."""

from __future__ import annotations

import asyncio

from support.gateway import Gateway, running
from support.levels import health
from support.origin import Peer, Script, answer, origin, refused_port, serve, silent
from support.raw import ask, post
from support.scene import until
from support.targets import snapshot

from onwards_py.routing.health import HealthState

QUICK = {"interval": "20ms", "timeout": "200ms", "unhealthy_after": 2, "healthy_after": 2}
WELL = b'{"object":"list","data":[]}'


def model_server(alive: asyncio.Event) -> Script:
    """Answers POST always with 200, and GET with 200 while ``alive`` is set, else with 503."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.method == b"GET":
                await peer.send(answer(WELL) if alive.is_set() else answer(b"", b"503 Not Ready"))
            else:
                await peer.send(answer())

    return script


def two(first: str, second: str, **check: object) -> dict[str, object]:
    providers = [{"url": first, "name": "first", "health_check": {**QUICK, **check}}, {"url": second, "name": "second"}]
    return {"m": {"strategy": "priority", "providers": providers}}


def state(gateway: Gateway) -> HealthState:
    return health(gateway).state


async def test_a_provider_that_fails_its_checks_is_left_out_until_it_passes(lane: bool) -> None:
    """Neither change needs a request of a client."""
    alive = asyncio.Event()
    async with origin(model_server(alive)) as first, origin() as second:
        async with running(snapshot(two(first.url, second.url)), lane=lane) as gateway:
            await until(lambda: state(gateway) is HealthState.UNHEALTHY)
            assert (await ask(gateway.port, post())).status == 200
            alive.set()
            await until(lambda: state(gateway) is HealthState.HEALTHY)
            assert (await ask(gateway.port, post())).status == 200
    assert [line["provider"] for line in gateway.lines()] == ["second", "first"]


async def test_a_provider_that_does_not_answer_checks_is_down(lane: bool) -> None:
    """Silence and a refused connection are failures as well. No request of a client waits for the check."""
    for url in ("silent", f"http://127.0.0.1:{refused_port()}"):
        async with origin(silent) as first, origin() as second:
            targets = two(first.url if url == "silent" else url, second.url, timeout="30ms")
            async with running(snapshot(targets), lane=lane) as gateway:
                await until(lambda: state(gateway) is HealthState.UNHEALTHY)
                assert (await ask(gateway.port, post())).status == 200
        assert [line["provider"] for line in gateway.lines()] == ["second"]


async def test_the_last_provider_gets_requests_although_its_checks_fail(lane: bool) -> None:
    """The last provider is never left out, because a check may fail although the model works."""
    async with origin(model_server(asyncio.Event())) as first, origin(model_server(asyncio.Event())) as second:
        providers = [{"url": upstream.url, "health_check": QUICK} for upstream in (first, second)]
        async with running(snapshot({"m": {"providers": providers}}), lane=lane) as gateway:
            members = gateway.application.holder.current.table.targets[0].endpoints
            await until(lambda: all(m.health is not None and m.health.state is HealthState.UNHEALTHY for m in members))
            assert (await ask(gateway.port, post())).status == 200


async def test_a_check_sends_the_configured_request(lane: bool) -> None:
    """It is a GET for a path below the provider's own, with the provider's credential and without any field of a
    client."""
    async with origin(serve(answer(WELL))) as first, origin() as second:
        targets = two(first.url + "/v1", second.url, path="/v1/health?deep=1")
        targets["m"]["providers"][0]["onwards_key"] = "sk-provider"  # type: ignore[index]
        async with running(snapshot(targets), lane=lane):
            await first.seen(1)
    request = first.requests[0]
    assert (request.method, request.target, request.body) == (b"GET", b"/v1/health?deep=1", b"")
    assert request.values(b"authorization") == [b"Bearer sk-provider"]


async def test_checks_follow_a_reload(lane: bool) -> None:
    """After a reload without a health check, the provider gets requests again."""
    async with origin(model_server(asyncio.Event())) as first, origin() as second:
        checked = snapshot(two(first.url, second.url))
        plain = two(first.url, second.url)
        del plain["m"]["providers"][0]["health_check"]  # type: ignore[index]
        async with running(checked, lane=lane) as gateway:
            await until(lambda: state(gateway) is HealthState.UNHEALTHY)
            holder, checks = gateway.application.holder, gateway.application.health_checks
            holder.replace(snapshot(plain))
            checks.adopt(holder.current.table.targets)
            count = len(first.requests)
            assert (await ask(gateway.port, post())).status == 200
            assert state(gateway) is HealthState.HEALTHY
            assert len(first.requests) in (count + 1, count + 2), "one exchange, and at most the check under way"
    assert gateway.lines()[0]["provider"] == "first"
