"""The effect of a new configuration on existing connections and exchanges."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref

from prometheus_client import CollectorRegistry, generate_latest
from support.gateway import Gateway, running
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, answer, chunk, origin, serve
from support.raw import End, ask, connect, post
from support.scene import until
from support.targets import single, snapshot

from onwards_py.config.parse import LoadedConfig
from onwards_py.model.snapshot import Snapshot

ASK = post(b'{"model":"m"}')
EVENT = b'data: {"n":1}\n\n'


def apply(gateway: Gateway, wanted: Snapshot) -> None:
    gateway.application.apply(LoadedConfig(wanted))


class Leaving:
    """An upstream that answers, and records when the proxy has closed a connection."""

    def __init__(self) -> None:
        self.closed = 0

    async def script(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.gone()
        self.closed += 1


async def test_idle_connections_to_an_origin_that_is_gone_are_closed(lane: bool) -> None:
    """Connections to other origins stay open and serve the next request."""
    leaving = Leaving()
    async with origin(leaving.script) as old, origin(serve()) as kept:
        both = snapshot({"old": {"url": old.url}, "m": {"url": kept.url}})
        async with running(both, lane=lane) as gateway:
            for model in (b"old", b"m"):
                assert (await ask(gateway.port, post(b'{"model":"%b"}' % model))).status == 200
            apply(gateway, single(kept.url))
            await until(lambda: leaving.closed == 1)
            assert (await ask(gateway.port, ASK)).status == 200
            assert len(kept.peers) == 1


async def test_a_running_stream_of_a_removed_target_ends_properly(lane: bool) -> None:
    """Its connection is closed afterwards, because no target uses it."""
    more, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(EVENT))
        await more.wait()
        await peer.send(chunk(EVENT), LAST_CHUNK)
        await peer.gone()
        gone.set()

    async with origin(script) as old, origin(serve()) as new:
        async with running(single(old.url), lane=lane) as gateway:
            async with connect(gateway.port) as client:
                await client.send(post(b'{"model":"m","stream":true}'))
                response = await client.head()
                assert await client.chunk(response) == EVENT
                apply(gateway, single(new.url))
                assert (await ask(gateway.port, ASK)).status == 200
                assert not gone.is_set()
                more.set()
                await client.rest(response)
                assert (response.end, response.body) == (End.WHOLE, EVENT * 2)
                await asyncio.wait_for(gone.wait(), 5)
        assert len(new.requests) == 1


async def test_a_running_exchange_stays_with_its_provider(lane: bool) -> None:
    """It neither goes to the new provider nor gets a 502."""
    asked, more = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await more.wait()
        await peer.send(answer(b"old"))

    async with origin(script) as old, origin(serve()) as new:
        async with running(single(old.url), lane=lane) as gateway:
            waiting = asyncio.create_task(ask(gateway.port, ASK))
            await asked.wait()
            apply(gateway, single(new.url))
            more.set()
            response = await waiting
            assert (response.status, response.body) == (200, b"old")
            assert new.requests == []


async def test_new_pool_limits_apply_to_existing_connections(lane: bool) -> None:
    """A change of ``http_pool`` needs no restart (in Onwards it does)."""
    leaving = Leaving()
    async with origin(leaving.script) as upstream, running(single(upstream.url), lane=lane) as gateway:
        assert (await ask(gateway.port, ASK)).status == 200
        apply(gateway, snapshot({"m": {"url": upstream.url}}, http_pool={"max_idle_per_host": 0}))
        await until(lambda: leaving.closed == 1)
        assert (await ask(gateway.port, ASK)).status == 200
        await until(lambda: leaving.closed == 2)


async def test_two_hundred_reloads_leak_no_memory(lane: bool) -> None:
    """A replaced configuration is freed without the garbage collector, as soon as the last connection that used it
    closes."""

    def generation(number: int, *urls: str) -> Snapshot:
        targets: dict[str, object] = {
            "m": {"providers": [{"url": url} for url in urls], "rate_limit": {"requests_per_second": 1000 + number}},
            "e": {"providers": [{"url": f"http://h{number}"}, {"url": f"http://g{number}"}]},
        }
        keys = {f"k{number}": {"key": f"sk-{number}", "concurrency_limit": {"max_concurrent_requests": 9}}}
        return snapshot(targets, auth={"key_definitions": keys})

    async with origin(serve()) as one, origin(serve()) as other:
        async with running(generation(0, one.url), lane=lane) as gateway:
            counts = []
            holder = gateway.application.holder
            for number in range(1, 201):
                before = weakref.ref(holder.current.table)
                gc.disable()
                apply(gateway, generation(number, (one.url, other.url)[number % 2]))
                await until(lambda before=before: before() is None)  # type: ignore[misc]
                gc.enable()
                if number % 50 == 0:
                    assert (await ask(gateway.port, ASK)).status == 200
                    gc.collect()
                    counts.append((len(gc.get_objects()), sys.getallocatedblocks()))
            (objects, blocks), (objects_later, blocks_later) = counts[1], counts[3]
            assert objects_later - objects < 100
            assert blocks_later - blocks < 2000


async def test_closed_connections_leave_no_reference_cycles(lane: bool) -> None:
    """The collector runs rarely, and a cycle may hold an old configuration until then."""
    closing = serve(answer(fields=b"Connection: close\r\n"))
    async with origin(closing) as upstream, running(single(upstream.url), lane=lane) as gateway:
        assert (await ask(gateway.port, ASK)).status == 200
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                assert (await ask(gateway.port, ASK)).status == 200
            alive = "onwards_connections 0.0"
            await until(lambda: alive in _metrics(gateway))
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = {type(thing).__module__ for thing in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert not {name for name in left if name.startswith(("onwards_py", "httptools"))}


def _metrics(gateway: Gateway) -> str:
    registry = CollectorRegistry()
    registry.register(gateway.application.metrics)
    return generate_latest(registry).decode()
