"""``on_limit: queue``: a request above a limit waits in a queue, in order, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from support.chat_upstream import create, whole
from support.gateway import Gateway, running
from support.levels import KEY, LEVELS, limited, limiter, waiting
from support.origin import LAST_CHUNK, STREAM_HEAD, Origin, Peer, chunk, origin
from support.raw import Client, ask, connect, post
from support.responses_promises import Json
from support.scene import until

ONE: Json = {"concurrency_limit": {"max_concurrent_requests": 1}}
QUEUE: Json = {"on_limit": "queue", "queue": {"max_waiting": 10, "timeout": "5s"}}
SHORT: Json = {"on_limit": "queue", "queue": {"max_waiting": 10, "timeout": "50ms"}}


class Gated:
    """An upstream that finishes one answer for each `go` of the test, in order of arrival."""

    def __init__(self, reply: bytes | None = None) -> None:
        self._reply = reply
        self._go = asyncio.Semaphore(0)
        self.busy = self.most = 0

    def go(self, count: int = 1) -> None:
        for _ in range(count):
            self._go.release()

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            self.busy += 1
            self.most = max(self.most, self.busy)
            if self._reply is None:
                await peer.send(STREAM_HEAD, chunk(b"data: 1\n\n"))
            try:
                await self._go.acquire()
            finally:
                self.busy -= 1
            await peer.send(LAST_CHUNK if self._reply is None else self._reply)


def numbered(number: int) -> bytes:
    return post(b'{"model":"m","number":%d}' % number, fields=KEY)


async def came(gateway: Gateway, upstream: Origin, level: str, count: int) -> None:
    """Wait until this many exchanges are in the queue or at the provider."""
    await until(lambda: waiting(gateway, level) + len(upstream.requests) == count)


def order_of(upstream: Origin) -> list[int]:
    return [int(request.body.rpartition(b":")[2][:-1]) for request in upstream.requests]


@pytest.mark.parametrize("level", LEVELS)
async def test_the_end_of_an_exchange_admits_the_first_in_the_queue(lane: bool, level: str) -> None:
    """A permit is released at the end of a stream, not at its head. Exactly one waiting request is admitted then."""
    gated = Gated()
    async with (
        origin(gated) as upstream,
        running(limited(level, {**ONE, **QUEUE}, url=upstream.url), lane=lane) as gateway,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(4):
            tasks.create_task(ask(gateway.port, numbered(number)))
            await came(gateway, upstream, level, number + 1)
        for ended in range(1, 4):
            assert len(upstream.requests) == ended
            gated.go()
            await upstream.seen(ended + 1)
            assert waiting(gateway, level) == 3 - ended
        gated.go()
    assert order_of(upstream) == [0, 1, 2, 3]
    assert gated.most == 1
    assert [line["status"] for line in gateway.lines()] == [200] * 4


@pytest.mark.parametrize("level", LEVELS)
async def test_translated_exchanges_wait_like_others(lane: bool, level: str) -> None:
    """The provider uses another dialect than the client."""
    gated = Gated(whole("hello"))
    async with origin(gated) as upstream:
        targets = limited(level, {**ONE, **QUEUE}, url=upstream.url, open_responses_mode="translate")
        async with running(targets, lane=lane) as gateway:
            asked = [asyncio.create_task(ask(gateway.port, create(fields=KEY))) for _ in range(3)]
            await until(lambda: waiting(gateway, level) == 2)
            gated.go(3)
            answers = await asyncio.gather(*asked)
    assert [response.status for response in answers] == [200] * 3
    assert all(b"hello" in response.body for response in answers)
    assert gated.most == 1


@pytest.mark.parametrize("level", LEVELS)
async def test_exchanges_with_a_local_provider_wait_like_others(lane: bool, level: str) -> None:
    """Twenty requests compete for one permit, and all are answered."""
    limits: Json = {**ONE, **QUEUE, "queue": {"max_waiting": 20}}
    request = post(b'{"model":"m","messages":[{"role":"user","content":"one two"}],"stream":true}', fields=KEY)
    async with running(limited(level, limits, local={"engine": "echo"}), lane=lane) as gateway:
        answers = await asyncio.gather(*(ask(gateway.port, request) for _ in range(20)))
    assert {(response.status, response.whole) for response in answers} == {(200, True)}


@pytest.mark.parametrize("level", LEVELS)
async def test_a_request_that_waits_too_long_is_refused(lane: bool, level: str) -> None:
    """The response is that of a limit without a queue: 429, Retry-After and the limit. The request leaves the queue,
    and no provider gets it."""
    gated = Gated()
    async with (
        origin(gated) as upstream,
        running(limited(level, {**ONE, **SHORT}, url=upstream.url), lane=lane) as gateway,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(ask(gateway.port, numbered(0)))
        await upstream.seen(1)
        late = await ask(gateway.port, numbered(1))
        assert (late.status, late.error["code"]) == (429, "concurrency_limit_exceeded")
        assert int(late.value(b"retry-after") or 0) >= 1
        assert late.value(b"x-ratelimit-limit-concurrent-requests") == b"1"
        assert waiting(gateway, level) == 0
        gated.go(2)
        await until(lambda: gated.busy == 0)
        await until(lambda: gateway.held_permits() == 0)
        assert (await ask(gateway.port, numbered(2))).status == 200
    assert order_of(upstream) == [0, 2]


@pytest.mark.parametrize("level", LEVELS)
async def test_a_full_queue_refuses_at_once(lane: bool, level: str) -> None:
    """The waiting requests are not affected."""
    gated = Gated()
    limits = {**ONE, "on_limit": "queue", "queue": {"max_waiting": 1, "timeout": "5s"}}
    async with (
        origin(gated) as upstream,
        running(limited(level, limits, url=upstream.url), lane=lane) as gateway,
        asyncio.TaskGroup() as tasks,
    ):
        admitted = [tasks.create_task(ask(gateway.port, numbered(0)))]
        await upstream.seen(1)
        admitted.append(tasks.create_task(ask(gateway.port, numbered(1))))
        await until(lambda: waiting(gateway, level) == 1)
        third = await ask(gateway.port, numbered(2))
        assert (third.status, waiting(gateway, level)) == (429, 1)
        gated.go(2)
    assert [task.result().status for task in admitted] == [200, 200]


@pytest.mark.parametrize("leave", [Client.fin, Client.rst], ids=["FIN", "RST"])
@pytest.mark.parametrize("level", LEVELS)
async def test_a_disconnect_leaves_the_queue(lane: bool, level: str, leave: Callable[[Client], None]) -> None:
    """The client is the first in the queue or not. The requests after it are served, and the provider never gets its
    request."""
    gated = Gated()
    async with (
        origin(gated) as upstream,
        running(limited(level, {**ONE, **QUEUE}, url=upstream.url), lane=lane) as gateway,
        connect(gateway.port) as first,
        connect(gateway.port) as second,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(ask(gateway.port, numbered(0)))
        await upstream.seen(1)
        await first.send(numbered(1))
        await until(lambda: waiting(gateway, level) == 1)
        last = tasks.create_task(ask(gateway.port, numbered(2)))
        await until(lambda: waiting(gateway, level) == 2)
        await second.send(numbered(3))
        await until(lambda: waiting(gateway, level) == 3)
        leave(first)
        leave(second)
        await until(lambda: waiting(gateway, level) == 1)
        gated.go(2)
    assert last.result().status == 200
    assert order_of(upstream) == [0, 2]
    assert [line["outcome"] for line in gateway.lines()].count("client_gone_waiting") == 2


@pytest.mark.parametrize("level", LEVELS)
async def test_requests_that_wait_for_a_rate_are_admitted_over_time(lane: bool, level: str) -> None:
    """They are admitted one after the other, in order."""
    limits = {"rate_limit": {"requests_per_second": 50, "burst_size": 1}, **QUEUE}
    async with origin() as upstream, running(limited(level, limits, url=upstream.url), lane=lane) as gateway:
        limiter(gateway, level).bucket.take(2)  # type: ignore[union-attr]
        asked = []
        for number in range(4):
            asked.append(asyncio.create_task(ask(gateway.port, numbered(number))))
            await came(gateway, upstream, level, number + 1)
        answers = await asyncio.gather(*asked)
    assert [response.status for response in answers] == [200] * 4
    assert order_of(upstream) == [0, 1, 2, 3]


@pytest.mark.parametrize("level", LEVELS)
async def test_requests_that_wait_for_tokens_are_admitted_over_time(lane: bool, level: str) -> None:
    """Each is estimated at 7 tokens, and the bucket holds 10."""
    limits = {"token_limit": {"tokens_per_minute": 30_000, "burst_size": 10}, **QUEUE}
    async with origin() as upstream, running(limited(level, limits, url=upstream.url), lane=lane) as gateway:
        limiter(gateway, level).tokens.take(30)  # type: ignore[union-attr]
        asked = []
        for number in range(3):
            asked.append(asyncio.create_task(ask(gateway.port, numbered(number))))
            await came(gateway, upstream, level, number + 1)
        answers = await asyncio.gather(*asked)
    assert [response.status for response in answers] == [200] * 3
    assert order_of(upstream) == [0, 1, 2]
