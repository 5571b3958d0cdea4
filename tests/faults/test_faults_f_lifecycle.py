"""Fault catalogue F: the proxy ends, is reconfigured, or cannot write down what it does."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, chunk, serve, silent, streaming
from support.raw import Client, End, Response, ask, connect, get, post
from support.scene import until

from onwards_py.config.diagnostics import ConfigError
from onwards_py.observe.access_log import LineWriter

CUT = Told(200, "upstream_cut")
CASES = Table()


@asynccontextmanager
async def stopping(stage: Stage, cut_now: asyncio.Event) -> AsyncIterator[asyncio.Task[None]]:
    """The gateway shuts down: the body of the context runs while it drains; after the context it has stopped."""
    stage.ended = True
    ending = asyncio.ensure_future(stage.gateway.application.stop(cut_now))
    try:
        yield ending
    finally:
        await asyncio.wait_for(ending, 5)


async def in_stream(stage: Stage, client: Client) -> Response:
    """Ask, and read the first event."""
    await client.send(post())
    response = await client.head()
    await client.chunk(response)
    return response


@CASES.case("F99", "ends while a stream is going on")
async def ends_in_stream(stage: Stage) -> list[Told]:
    """The stream ends by itself; new connections are refused meanwhile."""
    release = asyncio.Event()
    await stage.single(streaming(release))
    async with connect(stage.port) as client:
        response = await in_stream(stage, client)
        async with stopping(stage, asyncio.Event()) as ending:
            await refuses(stage)
            assert not ending.done()
            release.set()
            await client.rest(response)
    assert response.whole
    return [SERVED]


async def refuses(stage: Stage) -> None:
    """Wait until the listener is gone."""
    async with asyncio.timeout(5):
        while True:
            try:
                async with connect(stage.port):
                    pass
            except ConnectionError:
                return


@CASES.case("F99", "ends while a request is waiting for its answer")
async def ends_waiting(stage: Stage) -> list[Told]:
    """The response has ``Connection: close``, and the connection is closed; readiness fails at once."""
    answers = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await answers.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    upstream = await stage.single(script)
    async with connect(stage.port) as client:
        await client.send(post())
        await upstream.seen(1)
        async with stopping(stage, asyncio.Event()):
            await refuses(stage)
            assert (await ask(stage.gateway.admin_port, get(b"/readyz"))).status == 503
            answers.set()
            response = await client.response()
            assert response.status == 200
            assert response.value(b"connection") == b"close"
            assert await client.closed() is End.CLOSED
    return [SERVED]


@CASES.case("F100", "told twice to end")
async def told_twice(stage: Stage) -> list[Told]:
    """A second signal cuts running responses at once, so that clients notice it."""
    cut_now = asyncio.Event()
    await stage.single(streaming(asyncio.Event()))
    async with connect(stage.port) as client:
        response = await in_stream(stage, client)
        async with stopping(stage, cut_now):
            cut_now.set()
            await client.rest(response)
    assert not response.whole
    return [Told(200, "client_gone_streaming")]


@CASES.case("F101", "ends while a stream is stuck")
async def ends_stuck(stage: Stage) -> list[Told]:
    """drain_timeout is the end of patience: cut, visibly."""
    await stage.single(streaming(asyncio.Event()), server={"drain_timeout": "100ms"})
    async with connect(stage.port) as client:
        response = await in_stream(stage, client)
        async with stopping(stage, asyncio.Event()):
            await client.rest(response)
    assert not response.whole
    return [Told(200, "client_gone_streaming")]


@CASES.case("F101", "ends while a provider does not answer")
async def ends_unanswered(stage: Stage) -> list[Told]:
    """The same before the head."""
    upstream = await stage.single(silent, server={"drain_timeout": "100ms"})
    async with connect(stage.port) as client:
        await client.send(post())
        await upstream.seen(1)
        async with stopping(stage, asyncio.Event()):
            await client.closed()
    return [Told(0, "client_gone_waiting")]


@CASES.case("F102", "reload while a stream is going on")
async def reload_in_stream(stage: Stage) -> list[Told]:
    """The stream ends as it began, with a provider that is no longer configured; the next request goes to the new."""
    release = asyncio.Event()
    old = await stage.single(streaming(release))
    new = await stage.origin()
    async with connect(stage.port) as client:
        response = await in_stream(stage, client)
        await stage.reload({"m": {"url": new.url}})
        assert (await stage.ask()).body == b'{"ok":true}'
        release.set()
        await client.rest(response)
    assert response.whole
    assert (len(old.requests), len(new.requests)) == (1, 1)
    return [SERVED, SERVED]


@CASES.case("F102", "the target is removed while its stream is going on")
async def target_removed(stage: Stage) -> list[Told]:
    """The stream is not affected; new requests get 404."""
    release = asyncio.Event()
    await stage.single(streaming(release))
    async with connect(stage.port) as client:
        response = await in_stream(stage, client)
        await stage.reload({})
        assert (await stage.ask()).status == 404
        release.set()
        await client.rest(response)
    assert response.whole
    return [SERVED, Told(404, "refused", "model_not_found", 0)]


@CASES.case("F102", "a key is revoked while its stream is going on")
async def key_revoked(stage: Stage) -> list[Told]:
    """Accepted requests are completed; the next request with that key is refused."""
    release = asyncio.Event()
    upstream = await stage.single(streaming(release), keys=["sk-old"])
    request = post(fields=b"Authorization: Bearer sk-old\r\n")
    async with connect(stage.port) as client:
        await client.send(request)
        response = await client.head()
        await client.chunk(response)
        await stage.reload({"m": {"url": upstream.url, "keys": ["sk-new"]}})
        refused = await stage.ask(request)
        assert refused.status in (401, 403)
        release.set()
        await client.rest(response)
    assert response.whole
    return [SERVED, Told(refused.status, "refused", str(refused.error["code"]), 0)]


@CASES.case("F102", "reloads under load")
async def reloads_under_load(stage: Stage) -> list[Told]:
    """A hundred of them: nothing is lost, and limits count on."""
    upstream = await stage.single(concurrency_limit={"max_concurrent_requests": 8})
    replaced = 0

    async def reload() -> None:
        nonlocal replaced
        while replaced < 100:
            limit = {"max_concurrent_requests": 8 + replaced % 2}
            await stage.reload({"m": {"url": upstream.url, "concurrency_limit": limit}})
            replaced += 1
            await asyncio.sleep(0)

    async def call() -> int:
        async with connect(stage.port) as client:
            count = 0
            while replaced < 100 or count < 10:
                await client.send(post())
                assert (await client.response()).status == 200
                count += 1
        return count

    _, *counts = await asyncio.gather(reload(), *(call() for _ in range(4)))
    return [SERVED] * sum(count for count in counts if count is not None)


@CASES.case("F102", "reloads while providers fail")
async def reloads_under_faults(stage: Stage) -> list[Told]:
    """Each request reaches the healthy provider during all reloads; the health of the failing provider is kept."""

    async def dies(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")

    failing, healthy = await stage.origin(dies), await stage.origin()

    def targets(weight: int) -> dict[str, object]:
        providers = [{"url": failing.url}, {"url": healthy.url, "weight": weight}]
        fallback = {"enabled": True, "on_status": [5]}
        ejection = {"consecutive_failures": 3, "base_time": "60s", "max_time": "60s"}
        return {"m": {"strategy": "priority", "providers": providers, "fallback": fallback, "ejection": ejection}}

    await stage.start(targets(1))
    for number in range(30):
        assert (await stage.ask()).status == 200
        await stage.reload(targets(1 + number % 2))
    assert len(failing.requests) == 3
    return [SERVED._replace(attempts=2)] * 3 + [SERVED] * 27


@CASES.case("F102", "a reload while somebody waits in line")
async def reload_under_line(stage: Stage) -> list[Told]:
    """More room for those who wait, at once."""
    release = asyncio.Event()
    upstream = await stage.origin(streaming(release), serve())
    queue = {"on_limit": "queue", "queue": {"max_waiting": 3, "timeout": "60s"}}

    def targets(places: int) -> dict[str, object]:
        limit = {"concurrency_limit": {"max_concurrent_requests": places}}
        return {"m": {"providers": [{"url": upstream.url}], **limit, **queue}}

    await stage.start(targets(1))
    async with connect(stage.port) as holder:
        response = await in_stream(stage, holder)
        waiting = asyncio.ensure_future(stage.ask())
        await until(lambda: stage.waiting() == 1)
        await stage.reload(targets(2))
        assert (await waiting).body == b'{"ok":true}'
        release.set()
        await holder.rest(response)
    return [SERVED, SERVED]


@CASES.case("F102", "an invalid file")
async def invalid_file(stage: Stage) -> list[Told]:
    """Refused as a whole, before anything is replaced."""
    await stage.single()
    for targets in ({"m": {"url": "ftp://x"}}, {"m": {"url": "http://x", "weigth": 1}}, {"m": {"providers": 7}}):
        with pytest.raises(ConfigError):
            await stage.reload(targets)
        assert (await stage.ask()).status == 200
    return [SERVED] * 3


class Blocked(io.BytesIO):
    """A pipe without a reader: a write does not return until ``open`` is set."""

    def __init__(self, kept: io.BytesIO) -> None:
        super().__init__()
        self.open = threading.Event()
        self.begun = threading.Event()
        self._kept = kept

    def write(self, data: object) -> int:
        self.begun.set()
        self.open.wait(5)
        assert isinstance(data, bytes)
        return self._kept.write(data)


@CASES.case("F107", "the access log cannot be written")
async def log_blocked(stage: Stage) -> list[Told]:
    """Only the thread that writes the log waits."""
    await stage.single(serve())
    application = stage.gateway.application
    pipe = Blocked(stage.gateway.log)
    lines = LineWriter(pipe)
    application._recorder._lines = lines
    for _ in range(50):
        assert (await stage.ask()).status == 200
        application._recorder.flush()
    assert pipe.begun.wait(5)
    assert not stage.gateway.log.getvalue()
    assert (await stage.ask()).status == 200
    application._recorder.flush()
    pipe.open.set()
    lines.close()
    application._recorder._lines = application._lines
    return [SERVED] * 51


@CASES.case("F109", "a scrape that is not read")
async def slow_scrape(stage: Stage) -> list[Told]:
    """A client that requests metrics and does not read them delays no other client."""
    await stage.single()
    async with connect(stage.gateway.admin_port, buffer=1024) as scraper:
        for _ in range(50):
            await scraper.send(get(b"/metrics"))
        for _ in range(20):
            assert (await stage.ask()).status == 200
    return [SERVED] * 20


@CASES.case("F-cut", "a provider's stream is cut by the proxy's own end")
async def upstream_told(stage: Stage) -> list[Told]:
    """The provider's connection is closed, because its response is not read any more."""
    closed, cut_now = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(b"data: 1\n\n"))
        await peer.gone()
        closed.set()

    await stage.single(script)
    async with connect(stage.port) as client:
        response = await in_stream(stage, client)
        async with stopping(stage, cut_now):
            cut_now.set()
            await asyncio.wait_for(closed.wait(), 5)
            await client.rest(response)
    await until(lambda: stage.held() == 0)
    assert not response.body.endswith(LAST_CHUNK)
    return [Told(200, "client_gone_streaming")]


@pytest.mark.parametrize("case", CASES.parameters())
async def test_the_proxy_ends_or_changes(lane: bool, case: Case) -> None:
    """A running exchange is completed, or cut so that the client notices it."""
    await perform(case, lane=lane)
