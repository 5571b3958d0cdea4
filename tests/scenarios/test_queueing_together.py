"""Queues of several limits at one time, of several providers, and across a reload."""

from __future__ import annotations

import asyncio

import pytest
from support.gateway import Gateway, running
from support.origin import Peer, answer, origin
from support.raw import Response, ask, post
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

QUEUE: Json = {"on_limit": "queue", "queue": {"max_waiting": 50, "timeout": "5s"}}


def key(name: str) -> bytes:
    return b"Authorization: Bearer sk-%b\r\n" % name.encode()


def places(count: int) -> Json:
    return {"concurrency_limit": {"max_concurrent_requests": count}}


class Counting:
    """Answers when the test allows it, and counts the concurrent requests, in total and by key."""

    def __init__(self) -> None:
        self._go = asyncio.Semaphore(0)
        self.busy: list[str] = []
        self.most = 0
        self.most_of_a = 0

    def go(self, count: int = 1) -> None:
        for _ in range(count):
            self._go.release()

    async def __call__(self, peer: Peer) -> None:
        while True:
            body = (await peer.request()).body
            who = "a" if b'"a"' in body else "b"
            self.busy.append(who)
            self.most = max(self.most, len(self.busy))
            self.most_of_a = max(self.most_of_a, self.busy.count("a"))
            try:
                await self._go.acquire()
            finally:
                self.busy.remove(who)
            await peer.send(answer())


def waiting(gateway: Gateway) -> int:
    """The number of exchanges that wait for the target or one of its providers."""
    target = gateway.application.holder.current.table.find("m")
    assert target is not None
    lines = [target.limiter.queue, *(member.limiter.queue for member in target.endpoints)]
    return max(line.waiting for line in lines if line is not None)


async def test_limits_of_key_target_and_provider_hold_together(lane: bool) -> None:
    """Thirty exchanges of two keys wait for three kinds of permits. No limit is exceeded, and every exchange is
    answered."""
    counting = Counting()
    async with origin(counting) as upstream:
        provider = {"url": upstream.url, **places(2), **QUEUE}
        targets = {"m": {"keys": ["a", "b"], **places(3), **QUEUE, "providers": [provider]}}
        definitions = {"a": {"key": "sk-a", **places(1), **QUEUE}, "b": {"key": "sk-b"}}
        async with running(snapshot(targets, auth={"key_definitions": definitions}), lane=lane) as gateway:
            requests = [
                post(b'{"model":"m","who":"%b"}' % name.encode(), fields=key(name)) for name in "aabbabbaab" * 3
            ]
            asked = [asyncio.create_task(ask(gateway.port, request)) for request in requests]
            await until(lambda: len(counting.busy) == 2)
            counting.go(30)
            answers = await asyncio.gather(*asked)
    assert [response.status for response in answers] == [200] * 30
    assert counting.most == 2
    assert counting.most_of_a == 1


async def test_a_rejecting_limit_is_checked_before_a_queueing_one(lane: bool) -> None:
    """A wait for the target would be useless while the key's limit rejects."""
    counting = Counting()
    async with origin(counting) as upstream:
        targets = {"m": {"keys": ["a"], "providers": [{"url": upstream.url}], **places(1), **QUEUE}}
        auth = {"key_definitions": {"a": {"key": "sk-a", **places(1)}}}
        async with running(snapshot(targets, auth=auth), lane=lane) as gateway, asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(gateway.port, post(fields=key("a"))))
            await upstream.seen(1)
            second = tasks.create_task(ask(gateway.port, post(fields=key("a"))))
            await until(lambda: second.done() or waiting(gateway) > 0)
            assert second.done()
            counting.go()
    assert second.result().status == 429


@pytest.mark.either_door
@pytest.mark.parametrize("strategy", ["priority", "weighted_random", "least_inflight", "p2c"])
async def test_a_waiting_request_gets_the_first_free_provider(lane: bool, strategy: str) -> None:
    """Here it is the second provider."""
    one, two = Counting(), Counting()
    async with origin(one) as first, origin(two) as second:
        providers = [{"url": upstream.url, **places(1), **QUEUE} for upstream in (first, second)]
        targets = snapshot({"m": {"strategy": strategy, "providers": providers}})
        async with running(targets, lane=lane) as gateway, asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(ask(gateway.port, post()))
            await first.seen(1)
            await second.seen(1)
            third = tasks.create_task(ask(gateway.port, post()))
            await until(lambda: waiting(gateway) == 1)
            two.go()
            await second.seen(2)
            two.go()
            assert (await third).status == 200
            one.go()
    assert (len(first.requests), len(second.requests)) == (1, 2)
    assert [line["attempts"] for line in gateway.lines()] == [1, 1, 1]


async def test_many_wait_for_several_full_providers(lane: bool) -> None:
    """Twenty exchanges compete for two providers with one permit each. All are answered, and no permit is used
    twice."""
    one, two = Counting(), Counting()
    one.go(20)
    two.go(20)
    async with origin(one) as first, origin(two) as second:
        providers = [{"url": upstream.url, **places(1), **QUEUE} for upstream in (first, second)]
        async with running(snapshot({"m": {"strategy": "priority", "providers": providers}}), lane=lane) as gateway:
            answers = await asyncio.gather(*(ask(gateway.port, post()) for _ in range(20)))
    assert [response.status for response in answers] == [200] * 20
    assert (one.most, two.most) == (1, 1)
    assert len(first.requests) + len(second.requests) == 20


async def test_a_request_queues_at_one_provider_though_the_other_rejects(lane: bool) -> None:
    """Both providers are full, and one of them has a queue; the exchange waits there."""
    one, two = Counting(), Counting()
    async with origin(one) as first, origin(two) as second:
        providers = [{"url": first.url, **places(1)}, {"url": second.url, **places(1), **QUEUE}]
        targets = snapshot({"m": {"strategy": "priority", "providers": providers}})
        async with running(targets, lane=lane) as gateway, asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(ask(gateway.port, post()))
            await until(lambda: waiting(gateway) == 1)
            two.go(2)
            await second.seen(2)
            one.go()
    assert [line["status"] for line in gateway.lines()] == [200] * 3


async def waits(lane: bool, after: Json | None) -> list[Response]:
    """Two exchanges wait for the one permit of a target. The target is then reloaded as ``after``; None removes it."""
    counting = Counting()
    async with origin(counting) as upstream:
        before = snapshot({"m": {"url": upstream.url, **places(1), **QUEUE}})
        async with running(before, lane=lane) as gateway:
            asked = [asyncio.create_task(ask(gateway.port, post())) for _ in range(3)]
            await until(lambda: waiting(gateway) == 2)
            await upstream.seen(1)
            targets = {"other": {"url": upstream.url}} if after is None else {"m": {"url": upstream.url, **after}}
            gateway.application.holder.replace(snapshot(targets))
            if after is None or after == {**places(1), **QUEUE}:
                assert len(upstream.requests) == 1
            elif after.get("on_limit") == "queue":
                await upstream.seen(3)
            else:
                await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            counting.go(3)
            return await asyncio.gather(*asked)


@pytest.mark.parametrize("after", [{**places(3), **QUEUE}, {**places(1), **QUEUE}, None], ids=["more", "same", "gone"])
async def test_a_reload_keeps_waiting_requests(lane: bool, after: Json | None) -> None:
    """More permits admit them at once. Without a change they wait on. A removed target still serves them."""
    assert [response.status for response in await waits(lane, after)] == [200] * 3


async def test_a_reload_to_reject_refuses_waiting_requests(lane: bool) -> None:
    """They get the response that new requests get."""
    answers = await waits(lane, places(1))
    assert sorted(response.status for response in answers) == [200, 429, 429]
