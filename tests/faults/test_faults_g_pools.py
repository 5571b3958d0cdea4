"""Fault catalogue G, of pools: all providers are down, or half well, or slow; what is done about it is bounded."""

from __future__ import annotations

import asyncio

import pytest
from fault_providers import FALLBACK, UNREACHABLE
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import Origin, Peer, Script, answer, refused_port, serve
from support.raw import Response
from support.scene import until

ERROR = answer(b'{"error":{"message":"no"}}', b"500 X")
NO_TIME = {"ratio": 0.2, "min_per_second": 0}
CASES = Table()


def pool(*urls: str, **options: object) -> dict[str, object]:
    return {"m": {"strategy": "priority", "providers": [{"url": url} for url in urls], "fallback": FALLBACK, **options}}


@CASES.case("G117", "all providers are unreachable")
async def all_unreachable(stage: Stage) -> list[Told]:
    """Each is asked once; the client is told at once, and that to ask again is of no use."""
    await stage.start(pool(*(f"http://127.0.0.1:{refused_port()}" for _ in range(3))))
    response = await stage.ask()
    assert (response.status, response.error["code"]) == (503, "upstream_unreachable")
    assert response.value(b"retry-after") is not None
    assert response.value(b"x-should-retry") == b"false"
    return [UNREACHABLE._replace(attempts=3)]


@CASES.case("G117", "all providers fail, for long")
async def all_failing(stage: Stage) -> None:
    """Work is bounded by the retry budget and by ejection; and when they are well, the next request is served."""
    well = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(answer() if well.is_set() else ERROR)

    upstreams = [await stage.origin(script) for _ in range(3)]
    ejection = {"consecutive_failures": 3, "base_time": "50ms", "max_time": "50ms"}
    fallback = {**FALLBACK, "retry_budget": NO_TIME}
    await stage.start(pool(*(each.url for each in upstreams), fallback=fallback, ejection=ejection))
    for _ in range(50):
        assert (await stage.ask()).status in (500, 503)
    assert asked(*upstreams) <= 50 + 10 + 10
    well.set()
    async with asyncio.timeout(5):
        while (await stage.ask()).status != 200:
            pass


def asked(*upstreams: Origin) -> int:
    return sum(len(upstream.requests) for upstream in upstreams)


@CASES.case("G117", "all but one are ejected, and that one is never")
async def never_the_last(stage: Stage) -> list[Told]:
    """A pool whose providers all fail goes on asking rather than refusing by itself."""
    upstreams = [await stage.origin(serve(ERROR)) for _ in range(2)]
    ejection = {"consecutive_failures": 1, "base_time": "60s", "max_time": "60s"}
    await stage.start(pool(*(each.url for each in upstreams), fallback={"enabled": False}, ejection=ejection))
    for _ in range(10):
        response = await stage.ask()
        assert (response.status, response.body) == (500, ERROR.partition(b"\r\n\r\n")[2])
    return [Told(500, "done")] * 10


@CASES.case("G118", "every second request fails")
async def brown_out(stage: Stage) -> None:
    """Further attempts are a share of the requests, however many would help."""

    def every_second() -> Script:
        count = 0

        async def script(peer: Peer) -> None:
            nonlocal count
            while True:
                await peer.request()
                count += 1
                await peer.send(ERROR if count % 2 else answer())

        return script

    upstreams = [await stage.origin(every_second()) for _ in range(2)]
    fallback = {**FALLBACK, "retry_budget": NO_TIME}
    await stage.start(pool(*(each.url for each in upstreams), fallback=fallback, ejection={"enabled": False}))
    responses: list[Response] = [await stage.ask() for _ in range(200)]
    assert {response.status for response in responses} == {200, 500}
    assert 200 < asked(*upstreams) <= 200 + 40 + 10


@CASES.case("G119", "a provider becomes slow, with hedging")
async def slow_provider(stage: Stage) -> None:
    """Second requests are a share of the requests; all of them are answered."""
    answers = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await answers.wait()
            await peer.send(answer())

    slow, quick = await stage.origin(script), await stage.origin()
    await stage.start(pool(slow.url, quick.url, hedge={"after": "20ms", "ratio": 0.05}))
    calls = [asyncio.ensure_future(stage.ask()) for _ in range(60)]
    await slow.seen(60)
    await quick.seen(1)
    await until(lambda: sum(call.done() for call in calls) >= 1)
    answers.set()
    assert {response.status for response in await asyncio.gather(*calls)} == {200}
    assert 1 <= len(quick.requests) <= 10 + 3


@CASES.case("G119", "a provider becomes slow, without hedging")
async def slow_without_hedging(stage: Stage) -> list[Told]:
    """Slow is not broken: nobody else is asked."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await stage.go.wait()
        await peer.send(answer())

    slow, quick = await stage.origin(script), await stage.origin()
    await stage.start(pool(slow.url, quick.url))
    calls = [asyncio.ensure_future(stage.ask()) for _ in range(20)]
    await slow.seen(20)
    stage.go.set()
    assert {response.status for response in await asyncio.gather(*calls)} == {200}
    assert not quick.peers
    return [SERVED] * 20


@pytest.mark.parametrize("case", CASES.parameters())
async def test_a_pool_is_in_trouble(lane: bool, case: Case) -> None:
    """It does what it can, and not more than it may."""
    await perform(case, lane=lane)
