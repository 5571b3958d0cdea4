"""``retry_same``: the failed provider gets the request once more before another one does."""

from __future__ import annotations

import pytest
from support.chat_upstream import create, streamed, text
from support.gateway import running
from support.origin import STREAM_HEAD, Peer, Script, answer, no_answer, origin, serve, silent
from support.raw import ask, get, post
from support.responses_promises import Json
from support.targets import pool, snapshot

SAME: Json = {"attempts": 1, "on_status": [429, 5], "on_reset": True}
ON: Json = {"enabled": True, "on_status": [429, 5], "retry_same": SAME}
BUSY = answer(b"busy", b"503 X")


def limited(seconds: int) -> bytes:
    return answer(b"slower", b"429 X", b"Retry-After: %d\r\n" % seconds)


async def dies_within_the_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Ty")


async def announces(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM_HEAD)
    await peer.gone()


def first_then(failure: bytes, then: bytes = answer(b"again")) -> Script:
    """One failure on the connection, and then answers."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(failure)
        while True:
            await peer.request()
            await peer.send(then)

    return script


@pytest.mark.either_door
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("fails", [first_then(BUSY), first_then(limited(0)), no_answer, dies_within_the_head])
async def test_the_same_provider_is_tried_once_more(lane: bool, fails: Script, alone: bool) -> None:
    """The retry counts as an attempt, in the metric, and in the budget. Another provider makes no difference."""
    async with origin(fails, serve(answer(b"again"))) as first, origin() as second:
        urls = [first.url] if alone else [first.url, second.url]
        async with running(pool(*urls, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, post())
            metrics = (await ask(gateway.admin_port, get(b"/metrics"))).body
    assert response.body == b"again"
    assert (len(first.requests), len(second.requests)) == (2, 0)
    assert [line["attempts"] for line in gateway.lines()] == [2]
    assert b'onwards_retries_total{target="m"} 1.0' in metrics


async def test_a_second_failure_causes_fallback(lane: bool) -> None:
    """Each provider gets one retry; then the next provider is tried, with one retry of its own."""
    async with origin(serve(BUSY)) as first, origin(serve(BUSY)) as second, origin() as third:
        async with running(pool(first.url, second.url, third.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert response.status == 200
    assert [len(upstream.requests) for upstream in (first, second, third)] == [2, 2, 1]
    assert [line["attempts"] for line in gateway.lines()] == [5]


WAIT = {"initial_ms": 3000, "jitter": "none"}
TOO_LONG = answer(b'{"error":{"code":"too_long"}}', b"429 X")
CASES: dict[str, tuple[Script, Json, Json]] = {
    "a timeout": (silent, ON, {"first_byte": "50ms"}),
    "a long Retry-After": (serve(limited(6)), ON, {}),
    "a status that is not listed": (serve(BUSY), {**ON, "retry_same": {"on_status": [429]}}, {}),
    "a reset that is not wished": (no_answer, {**ON, "retry_sent": True, "retry_same": {}}, {}),
    "switched off": (serve(BUSY), {**ON, "retry_same": {"enabled": False}}, {}),
    "the end of all attempts": (serve(BUSY), {**ON, "retry_same": {"attempts": 9}, "max_attempts": 1}, {}),
    "an empty budget": (serve(BUSY), {**ON, "retry_budget": {"ratio": 0, "min_per_second": 0}}, {}),
    "a short total": (serve(limited(2)), ON, {"total": "1500ms"}),
    "a long backoff": (serve(BUSY), {**ON, "backoff": WAIT}, {"total": "1500ms"}),
    "a rest that no wait may take": (serve(limited(3)), {**ON, "max_total_backoff_ms": 1000}, {}),
    "a code that moves on": (serve(TOO_LONG), {**ON, "on_error": ["too_long"]}, {}),
    "a silence behind the head": (announces, {**ON, "hold": {}}, {"idle": "50ms"}),
}


NOBODY = ("the end of all attempts", "an empty budget")


@pytest.mark.either_door
@pytest.mark.parametrize("case", CASES)
async def test_some_failures_do_not_retry_the_same_provider(lane: bool, case: str) -> None:
    """The kind of failure, a setting or a spent bound excludes the retry. The next provider is tried if the bounds
    allow it."""
    script, fallback, timeouts = CASES[case]
    spent = 11 if case == "an empty budget" else 1
    async with origin(script) as first, origin() as second:
        targets = pool(first.url, second.url, fallback=fallback, timeouts=timeouts, ejection={"enabled": False})
        async with running(targets, lane=lane) as gateway:
            for _ in range(spent):
                before, others = len(first.requests), len(second.requests)
                await ask(gateway.port, post())
    assert len(first.requests) - before == 1
    assert len(second.requests) - others == int(case not in NOBODY)


async def test_a_provider_that_was_just_ejected_is_not_retried(lane: bool) -> None:
    """Its failure caused the ejection, so the next provider is tried."""
    async with origin(serve(BUSY)) as first, origin() as second:
        targets = pool(first.url, second.url, fallback=ON, ejection={"consecutive_failures": 1})
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, post())).status == 200
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_a_request_with_store_is_not_repeated_after_a_reset(lane: bool) -> None:
    """The provider may already have stored the response."""
    async with origin(no_answer, serve()) as upstream:
        async with running(pool(upstream.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, post(b'{"model":"m","store":true}'))
    assert response.status == 502
    assert len(upstream.requests) == 1


async def test_an_error_inside_a_held_200_is_retried_by_its_status(lane: bool) -> None:
    """This holds for a single provider, too."""
    failing = streamed(b'data: {"error":{"code":503}}\n\n')
    async with origin(first_then(failing, answer(b"again"))) as upstream:
        async with running(pool(upstream.url, fallback={**ON, "hold": {}}), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert response.body == b"again"
    assert len(upstream.requests) == 2


async def test_a_failed_translated_answer_is_retried_by_its_status(lane: bool) -> None:
    """The first event of the first answer is an error; the second answer is complete."""
    failing = streamed(b'data: {"error":{"code":503,"message":"no"}}\n\n')
    async with origin(first_then(failing, streamed(*text("well")))) as upstream:
        target = {"url": upstream.url, "open_responses_mode": "translate", "fallback": ON}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True))
    assert b"well" in response.body
    assert len(upstream.requests) == 2
