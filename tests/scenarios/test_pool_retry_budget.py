"""The retry budget of a target bounds further attempts, so that an outage does not multiply the load."""

from __future__ import annotations

import pytest
from support.chat_upstream import create
from support.gateway import running
from support.origin import Peer, answer, origin, refused_port, serve
from support.raw import ask, post
from support.responses_promises import Json
from support.targets import snapshot

from onwards_py.model.snapshot import Snapshot

TIGHT: Json = {"ratio": 0.1, "min_per_second": 0}  # ten in store
OOPS = answer(b"no", b"500 Oops", b"X-Of: first\r\n")


def file(*providers: Json, budget: Json | None = None, **more: object) -> Snapshot:
    """One target whose providers are never ejected, so that only the budget bounds attempts."""
    fallback = {"enabled": True, "on_status": [5], **({} if budget is None else {"retry_budget": budget}), **more}
    target = {"strategy": "priority", "fallback": fallback, "ejection": {"enabled": False}, "providers": providers}
    return snapshot({"m": target})


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_with_a_spent_budget_the_first_response_is_sent(lane: bool, mode: str) -> None:
    """Thirty requests may cause ten further attempts from the initial budget and three more. After that the client
    gets the first response, and a field tells it not to retry."""
    request = post() if mode == "native" else create()
    async with origin(serve(OOPS)) as first, origin() as second:
        providers: list[Json] = [{"url": each.url, "open_responses_mode": "translate"} for each in (first, second)]
        if mode == "native":
            providers = [{"url": first.url}, {"url": second.url}]
        async with running(file(*providers, budget=TIGHT), lane=lane) as gateway:
            answers = [await ask(gateway.port, request) for _ in range(30)]
    assert len(first.requests) == 30
    assert 11 <= len(second.requests) <= 13
    assert answers[-1].status == 500
    if mode == "native":
        told = answers[-1].head + answers[-1].body
        assert told == OOPS.replace(b"\r\n\r\n", b"\r\nX-Should-Retry: false\r\n\r\n")
    assert [line["attempts"] for line in gateway.lines()].count(2) == len(second.requests)


async def test_with_a_spent_budget_a_connection_failure_is_reported(lane: bool) -> None:
    """The first provider's port is closed, and the second one gets requests only while the budget lasts."""
    async with origin() as second:
        providers: list[Json] = [{"url": f"http://127.0.0.1:{refused_port()}"}, {"url": second.url}]
        async with running(file(*providers, budget=TIGHT), lane=lane) as gateway:
            answers = [await ask(gateway.port, post()) for _ in range(20)]
    assert 10 <= len(second.requests) <= 12
    last = answers[-1]
    assert (last.status, last.error["code"], last.value(b"x-should-retry")) == (503, "upstream_unreachable", b"false")


async def test_requests_refill_the_budget(lane: bool) -> None:
    """One request in ten may be retried, as ``ratio`` sets."""
    failing = True

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(OOPS if failing else answer())

    async with origin(script) as first, origin() as second:
        providers: list[Json] = [{"url": first.url}, {"url": second.url}]
        async with running(file(*providers, budget=TIGHT), lane=lane) as gateway:
            for _ in range(15):
                last = await ask(gateway.port, post())
            assert last.status == 500
            failing = False
            for _ in range(30):
                assert (await ask(gateway.port, post())).status == 200
            failing = True
            statuses = [(await ask(gateway.port, post())).status for _ in range(9)]
    assert (statuses[:3], statuses[-1]) == ([200] * 3, 500)


async def test_without_the_budget_attempts_are_not_bounded(lane: bool) -> None:
    """``enabled: false`` switches the budget off."""
    async with origin(serve(OOPS)) as first, origin() as second:
        providers: list[Json] = [{"url": first.url}, {"url": second.url}]
        async with running(file(*providers, budget={"enabled": False}), lane=lane) as gateway:
            for _ in range(130):
                assert (await ask(gateway.port, post())).status == 200
    assert len(second.requests) == 130


async def test_each_target_has_its_own_budget(lane: bool) -> None:
    """The attempts of one target do not use the budget of another."""
    async with origin(serve(OOPS)) as first, origin() as second:
        providers = [{"url": first.url}, {"url": second.url}]
        fallback = {"enabled": True, "on_status": [5], "retry_budget": TIGHT}
        target = {"strategy": "priority", "fallback": fallback, "ejection": {"enabled": False}, "providers": providers}
        async with running(snapshot({"m": target, "n": target}), lane=lane) as gateway:
            for _ in range(15):
                last = await ask(gateway.port, post())
            other = await ask(gateway.port, post(b'{"model":"n"}'))
    assert (last.status, other.status) == (500, 200)
