"""Fault catalogue D91, in every phase that an exchange can be in: the client leaves, and what is done for it stops."""

from __future__ import annotations

import asyncio

import pytest
from fault_providers import FALLBACK
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import STREAM_HEAD, Origin, Peer, Script, answer, chunk, serve, silent, streaming
from support.raw import connect, get, post
from support.scene import until

GONE = Told(0, "client_gone_waiting")
HOLD = {"max_bytes": "64KiB", "max_time": "60s"}
BUSY = answer(b"busy", b"503 X", b"Retry-After: 30\r\n")
CASES = Table()


class Watch:
    """Answers with ``sent`` and is silent. ``left`` counts the connections that the gateway has closed."""

    def __init__(self, sent: bytes = b"") -> None:
        self.sent = sent
        self.left = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(self.sent)
        await peer.gone()
        self.left += 1


async def pool(stage: Stage, *scripts: Script, **options: object) -> list[Origin]:
    """A target ``m`` with a provider for each script, asked in this order."""
    upstreams = [await stage.origin(script) for script in scripts]
    providers = [{"url": upstream.url} for upstream in upstreams]
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": FALLBACK, **options}})
    return upstreams


@CASES.case("D91", "leaves while its answer is held back")
async def leaves_held(stage: Stage) -> list[Told]:
    """Nothing has been said yet, but nobody else is asked: it is the client that failed."""
    watch = Watch(STREAM_HEAD + chunk(b": wait\n\n"))
    first, second = await pool(stage, watch, serve(), fallback={**FALLBACK, "hold": HOLD, "retry_sent": True})
    async with connect(stage.port) as client:
        await client.send(post())
        await first.seen(1)
        client.fin()
        await until(lambda: watch.left == 1)
    await until(lambda: stage.held() == 0)
    assert not second.peers
    return [GONE]


@CASES.case("D91", "leaves while two providers are asked for it")
async def leaves_hedged(stage: Stage) -> list[Told]:
    """Both are told."""
    first, second = Watch(), Watch()
    upstreams = await pool(stage, first, second, hedge={"after": "20ms", "ratio": 0.5})
    async with connect(stage.port) as client:
        await client.send(post())
        await upstreams[1].seen(1)
        client.fin()
        await until(lambda: (first.left, second.left) == (1, 1))
    await until(lambda: stage.held() == 0)
    return [GONE._replace(attempts=2)]


@CASES.case("D91", "leaves while Retry-After is waited for")
async def leaves_retry_after(stage: Stage) -> list[Told]:
    """The wait ends with the client; the provider is left alone."""
    fallback = {**FALLBACK, "max_attempts": 3, "max_retry_after_ms": 60_000}
    (upstream,) = await pool(stage, serve(BUSY), fallback=fallback)
    async with connect(stage.port) as client:
        await client.send(post())
        await upstream.seen(1)
        await until(lambda: stage.held() == 1)
        client.rst()
        await until(lambda: stage.held() == 0)
    assert len(upstream.requests) == 1
    return [GONE]


@CASES.case("D91", "leaves while it is asked whether a provider is well again")
async def leaves_probing(stage: Stage) -> list[Told]:
    """A probe without a verdict: the next one may try, so that the provider does come back."""
    mood = {"now": "ill"}
    held = Watch()

    async def moody(peer: Peer) -> None:
        if mood["now"] == "slow":
            await held(peer)
            return
        await peer.request()
        await peer.send(answer(b"no", b"500 X", b"Connection: close\r\n") if mood["now"] == "ill" else answer(b"back"))

    ejection = {"consecutive_failures": 1, "base_time": "1ms", "max_time": "1ms"}
    first, second = await pool(stage, moody, serve(), ejection=ejection)
    assert (await stage.ask()).body == b'{"ok":true}'
    mood["now"] = "slow"
    others = 0
    async with connect(stage.port) as client:
        await client.send(post())
        while not await probed(first, second, others):  # until the time of its ejection is over
            assert (await client.response()).status == 200
            others += 1
            await client.send(post())
        client.fin()
        await until(lambda: held.left == 1)
    mood["now"] = "well"
    more = 0
    async with asyncio.timeout(5):
        while (await stage.ask()).body != b"back":
            more += 1
    return [SERVED._replace(attempts=2), *[SERVED] * others, GONE, *[SERVED] * (more + 1)]


async def probed(first: Origin, second: Origin, others: int) -> bool:
    """Whom the latest request went to: the provider that is to be tried again, or the other one, which has had one
    request and these ``others``."""
    await until(lambda: len(first.requests) == 2 or len(second.requests) == 2 + others)
    return len(first.requests) == 2


@CASES.case("D91", "leaves while the gateway ends")
async def leaves_draining(stage: Stage) -> list[Told]:
    """Then there is nothing more to wait for."""
    upstream = await stage.single(silent)
    async with connect(stage.port) as client:
        await client.send(post())
        await upstream.seen(1)
        stage.ended = True
        ending = asyncio.ensure_future(stage.gateway.application.stop(asyncio.Event()))
        await asyncio.sleep(0)
        client.fin()
        await asyncio.wait_for(ending, 5)
    return [GONE]


@CASES.case("D91", "leaves the line while the gateway ends")
async def line_draining(stage: Stage) -> list[Told]:
    """Who waits in line when the time is over is cut as well."""
    queue = {"on_limit": "queue", "queue": {"max_waiting": 3, "timeout": "60s"}}
    limit = {"concurrency_limit": {"max_concurrent_requests": 1}}
    upstream = await stage.origin(streaming(asyncio.Event()))
    await stage.start(
        {"m": {"providers": [{"url": upstream.url}], **limit, **queue}}, server={"drain_timeout": "100ms"}
    )
    async with connect(stage.port) as holder, connect(stage.port) as waiter:
        await holder.send(post())
        await holder.chunk(await holder.head())
        await waiter.send(post())
        await until(lambda: stage.waiting() == 1)
        stage.ended = True
        await asyncio.wait_for(stage.gateway.application.stop(asyncio.Event()), 5)
        await waiter.closed()
    return [Told(200, "client_gone_streaming"), GONE._replace(attempts=0)]


@CASES.case("D91", "its target is gone when its turn in the line comes")
async def line_of_removed(stage: Stage) -> list[Told]:
    """An exchange keeps the configuration that it began with."""
    release = asyncio.Event()
    queue = {"on_limit": "queue", "queue": {"max_waiting": 3, "timeout": "60s"}}
    limit = {"concurrency_limit": {"max_concurrent_requests": 1}}
    upstream = await stage.origin(streaming(release))
    await stage.start({"m": {"providers": [{"url": upstream.url}], **limit, **queue}})
    async with connect(stage.port) as holder:
        await holder.send(post())
        response = await holder.head()
        waiting = asyncio.ensure_future(stage.ask())
        await until(lambda: stage.waiting() == 1)
        await stage.reload({})
        release.set()
        await holder.rest(response)
        assert (await waiting).whole
    return [SERVED, SERVED]


@CASES.case("D91", "leaves while a translated stream has been begun for it")
async def leaves_early_stream(stage: Stage) -> list[Told]:
    """The head went out before the provider had answered; the provider is told all the same."""
    watch = Watch()
    upstream = await stage.single(watch, open_responses_mode="translate", translate={"commit_after": "20ms"})
    async with connect(stage.port) as client:
        await client.send(post(b'{"model":"m","input":"x","stream":true}', b"/v1/responses"))
        assert b"response.created" in await client.chunk(await client.head())
        await upstream.seen(1)
        client.rst()
        await until(lambda: watch.left == 1)
    return [Told(200, "client_gone_streaming")]


@CASES.case("D91", "resets as the answer comes")
async def leaves_as_answered(stage: Stage) -> None:
    """A few turns of the loop before or behind it: whichever is seen first, the provider's connection is not left."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        await peer.send(STREAM_HEAD, chunk(b"data: 1\n\n"))
        await peer.gone()

    upstream = await stage.single(script)
    for number in range(60):
        async with connect(stage.port) as client:
            await client.send(post())
            await upstream.seen(number + 1)
            first, second = (client.rst, go.set) if number % 2 else (go.set, client.rst)
            first()
            for _ in range(number // 2 % 10):
                await asyncio.sleep(0)
            second()
            await until(lambda: stage.held() == 0)
            go.clear()
    await until(lambda: not upstream._tasks)


@CASES.case("D91", "leaves a WebSocket handshake")
async def leaves_handshake(stage: Stage) -> list[Told]:
    """Before 101 it is an exchange like any other."""
    watch = Watch()
    upstream = await stage.single(watch)
    fields = b"Model-Override: m\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    async with connect(stage.port) as client:
        await client.send(get(b"/v1/realtime", fields + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))
        await upstream.seen(1)
        client.rst()
        await until(lambda: watch.left == 1)
    return [GONE]


@pytest.mark.parametrize("case", CASES.parameters())
async def test_a_client_leaves_in_any_phase(lane: bool, case: Case) -> None:
    """Provider told, permits back, nobody else asked, and what is known of providers unharmed."""
    await perform(case, lane=lane)
