"""Fault catalogue G, of pools: all providers are down, or half well, or slow; what is done about it is bounded."""

from __future__ import annotations

import asyncio

import pytest
from fault_providers import CUT, FALLBACK, INVALID, UNREACHABLE
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
    hedge, ejection = {"after": "20ms", "ratio": 0.05}, {"enabled": False}  # five lost in a row would be enough
    await stage.start(pool(slow.url, quick.url, hedge=hedge, ejection=ejection))
    calls = [asyncio.ensure_future(stage.ask()) for _ in range(60)]
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


HEDGE = {"after": "20ms", "ratio": 0.5}


@CASES.case("G119", "a hedged request whose first provider dies")
async def hedged_first_dies(stage: Stage) -> list[Told]:
    """The second one's answer is waited for; both places are free again."""
    await hedged(stage, dies_when(stage.go), waits_for(stage.go))
    return [SERVED._replace(attempts=2)]


@CASES.case("G119", "a hedged request whose second provider dies")
async def hedged_second_dies(stage: Stage) -> list[Told]:
    """The first one's answer is waited for."""
    await hedged(stage, waits_for(stage.go), dies_when(stage.go))
    return [SERVED._replace(attempts=2)]


async def hedged(stage: Stage, *scripts: Script) -> None:
    """Ask, let ``scripts`` go on once the second is asked, and be answered by the one that does not die."""
    upstreams = [await stage.origin(script) for script in scripts]
    await stage.start(pool(*(each.url for each in upstreams), hedge=HEDGE))
    call = asyncio.ensure_future(stage.ask())
    await upstreams[1].seen(1)
    stage.go.set()
    response = await call
    assert (response.status, response.body) == (200, b"alive")
    await until(lambda: stage.held() == 0)


def dies_when(go: asyncio.Event) -> Script:
    async def script(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        peer.rst()

    return script


def waits_for(go: asyncio.Event) -> Script:
    """Answers a moment after ``go``: once the other one's end has been seen."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        await peer.send(answer(b"alive"))

    return script


@CASES.case("G119", "both providers of a hedged request die")
async def hedged_both_die(stage: Stage) -> list[Told]:
    """One error, and nothing is held."""
    upstreams = [await stage.origin(dies_when(stage.go)) for _ in range(2)]
    await stage.start(pool(*(each.url for each in upstreams), hedge=HEDGE))
    call = asyncio.ensure_future(stage.ask())
    await upstreams[1].seen(1)
    stage.go.set()
    assert (await call).status == 502
    return [INVALID._replace(attempts=2)]


@CASES.case("G119", "the winner of a hedged request is cut")
async def hedged_winner_cut(stage: Stage) -> list[Told]:
    """Committed is committed: cut visibly, and the loser is not asked to go on."""
    left = asyncio.Event()

    async def loses(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        left.set()

    async def wins(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await stage.go.wait()

    first, second = await stage.origin(loses), await stage.origin(wins)
    await stage.start(pool(first.url, second.url, hedge=HEDGE))
    response = await stage.ask()
    assert (response.status, response.body, response.whole) == (200, b"abc", False)
    await asyncio.wait_for(left.wait(), 5)
    return [CUT._replace(attempts=2)]


@CASES.case("G117", "checks that hang")
async def hanging_checks(stage: Stage) -> list[Told]:
    """A provider that takes checks and says nothing is left out; requests go to the other, and nothing piles up."""
    checked = asyncio.Event()

    async def hangs(peer: Peer) -> None:
        await peer.request()
        checked.set()
        await peer.gone()

    first, second = await stage.origin(hangs), await stage.origin()
    check = {"path": "/health", "interval": "30ms", "timeout": "30ms", "unhealthy_after": 1}
    providers = [{"url": first.url, "health_check": check}, {"url": second.url}]
    await stage.start({"m": {"strategy": "priority", "providers": providers}})
    await asyncio.wait_for(checked.wait(), 5)
    (target,) = [t for t in stage.gateway.application.holder.current.table.targets if t.pool.name == "m"]
    health = target.endpoints[0].health
    assert health is not None
    await until(lambda: health.excluded_until > 0)
    assert (await stage.ask()).body == b'{"ok":true}'
    assert {request.target for request in first.requests} == {b"/health"}
    await stage.reload({"m": {"url": second.url}})
    return [SERVED]


@pytest.mark.parametrize("case", CASES.parameters())
async def test_a_pool_is_in_trouble(lane: bool, case: Case) -> None:
    """It does what it can, and not more than it may."""
    await perform(case, lane=lane)
