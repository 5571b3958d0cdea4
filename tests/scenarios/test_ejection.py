"""``ejection``: a provider of several that fails is left out, and one request tries it when its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.chat_upstream import create, frame, streamed, text
from support.gateway import Gateway, running
from support.levels import health
from support.origin import STREAM_HEAD, Origin, Peer, Script, answer, chunk, once, origin, refused_port, serve, silent
from support.raw import ask, connect, post
from support.responses_promises import Json
from support.scene import until
from support.targets import snapshot

from onwards_py.routing.health import HealthState

STRICT: Json = {"consecutive_failures": 3, "auth_failures": 3, "base_time": "60s"}
ON: Json = {"enabled": True, "on_status": [429, 5], "retry_sent": True}
BROKEN = serve(answer(b"no", b"500 Oops"))


@asynccontextmanager
async def pooled(
    lane: bool, first: Script, second: Script | None = None, *, own: Json | None = None, target: Json | None = None
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """Two providers, asked in this order; ``own`` and ``target`` are settings of the first and of the target."""
    async with origin(first) as one, origin(second or serve()) as two:
        providers = [{"url": one.url, **(own or {})}, {"url": two.url}]
        options = {"strategy": "priority", "ejection": STRICT, "providers": providers, **(target or {})}
        async with running(snapshot({"m": options}), lane=lane) as gateway:
            yield [one, two], gateway


async def cuts_late(peer: Peer) -> None:
    """A stream that begins well and breaks off."""
    await peer.request()
    await peer.send(STREAM_HEAD, chunk(frame(content="some")))


FAILING: dict[str, tuple[Script, Json]] = {
    "500": (BROKEN, {}),
    "no answer": (once(b""), {}),
    "garbage": (once(b"garbage\r\n\r\n"), {}),
    "too late": (silent, {"first_byte": "20ms"}),
    "a late cut": (cuts_late, {}),
    "a first token too late": (serve(STREAM_HEAD + chunk(b": ping\n\n")), {"first_token": "20ms"}),
}


@pytest.mark.either_door
@pytest.mark.parametrize("fallback", [False, True], ids=["alone", "fallback"])
@pytest.mark.parametrize("case", FAILING)
async def test_after_failures_in_a_row_it_is_left_out(lane: bool, case: str, fallback: bool) -> None:
    """Three, and not asked a fourth time; with fallback and without."""
    script, timeouts = FAILING[case]
    policy = ON if fallback else {"enabled": False}
    async with pooled(lane, script, own={"timeouts": timeouts}, target={"fallback": policy}) as (origins, gateway):
        for _ in range(6):
            await ask(gateway.port, post())
        assert (await ask(gateway.port, post())).body == b'{"ok":true}'
        assert health(gateway).state is HealthState.EJECTED
    assert len(origins[0].requests) == 3


@pytest.mark.parametrize("reply", [b'{"error":{"code":500}}', b""])
async def test_errors_inside_a_200_count_where_they_are_seen(lane: bool, reply: bytes) -> None:
    """That is, with a hold; and so do answers that say nothing."""
    held: Json = {"fallback": {**ON, "hold": {"max_time": "5s"}}}
    script = serve(answer(reply, fields=b"Content-Type: application/json\r\n"))
    async with pooled(lane, script, target=held) as (origins, gateway):
        for _ in range(5):
            assert (await ask(gateway.port, post())).body == b'{"ok":true}'
    assert len(origins[0].requests) == 3


async def test_without_a_connection_it_is_left_out(lane: bool) -> None:
    """Nobody listens at the first."""
    async with origin() as second:
        providers = [{"url": f"http://127.0.0.1:{refused_port()}"}, {"url": second.url}]
        target = {"strategy": "priority", "fallback": ON, "ejection": STRICT, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            for _ in range(5):
                assert (await ask(gateway.port, post())).status == 200
    assert [line["attempts"] for line in gateway.lines()] == [2, 2, 2, 1, 1]


@pytest.mark.either_door
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    "script",
    [BROKEN, serve(streamed(b'data: {"error":{"code":500}}\n\n')), cuts_late],
    ids=["500", "an error inside a 200", "a late cut"],
)
async def test_translated_answers_count_too(lane: bool, script: Script, stream: bool) -> None:
    """By their status, by what they say, and by how they end."""
    mode: Json = {"open_responses_mode": "translate"}
    async with pooled(lane, script, serve(streamed(*text("well"))), target=mode) as (origins, gateway):
        for _ in range(5):
            await ask(gateway.port, create(stream=stream))
        assert b"well" in (await ask(gateway.port, create(stream=stream))).body
    assert len(origins[0].requests) == 3


@pytest.mark.either_door
@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_a_local_provider_that_fails_is_left_out(lane: bool, mode: str, status: int) -> None:
    """Like one at the other end of a connection."""
    echo = {"engine": "echo", "error_rate": 1, "error_status": status}
    local = {"name": "local", "local": echo, "open_responses_mode": mode}
    async with origin() as upstream:
        providers = [local, {"name": "remote", "url": upstream.url}]
        target = {"strategy": "priority", "ejection": STRICT, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            for _ in range(5):
                await ask(gateway.port, create())
    assert [line["provider"] for line in gateway.lines()] == ["local"] * 3 + ["remote"] * 2


@pytest.mark.either_door
@pytest.mark.parametrize("status", [b"400 X", b"401 X", b"403 X", b"404 X", b"422 X"])
async def test_client_errors_are_no_failures(lane: bool, status: bytes) -> None:
    """Nor are 401 and 403 for a credential that is the client's own."""
    async with pooled(lane, serve(answer(b"no", status))) as (origins, gateway):
        for _ in range(8):
            assert (await ask(gateway.port, post(fields=b"Authorization: Bearer theirs\r\n"))).body == b"no"
    assert len(origins[0].requests) == 8


@pytest.mark.parametrize("status", [b"401 X", b"402 X", b"403 X"])
async def test_refusals_of_our_own_credential_count_by_themselves(lane: bool, status: bytes) -> None:
    """A key that was revoked: three refusals in a row, and clients are served by others."""
    async with pooled(lane, serve(answer(b"no", status)), own={"onwards_key": "sk-revoked"}) as (_, gateway):
        statuses = [(await ask(gateway.port, post())).status for _ in range(5)]
    assert statuses == [int(status[:3])] * 3 + [200] * 2


@pytest.mark.parametrize("streaming", [False, True], ids=["waiting", "streaming"])
async def test_clients_that_leave_are_no_failures(lane: bool, streaming: bool) -> None:
    """Whenever they do: the provider was well."""

    async def slow(peer: Peer) -> None:
        await peer.request()
        if streaming:
            await peer.send(STREAM_HEAD, chunk(frame(content="some")))
        await peer.gone()

    async with pooled(lane, slow) as (origins, gateway):
        for number in range(5):
            async with connect(gateway.port) as client:
                await client.send(post())
                await origins[0].seen(number + 1)
                if streaming:
                    await client.chunk(await client.head())
                client.rst()
                await until(lambda: gateway.application.proxy.in_flight == 0)
        assert health(gateway).state is HealthState.HEALTHY
    assert not origins[1].peers


async def test_the_last_one_is_never_left_out(lane: bool) -> None:
    """If all fail, all of them are asked on; and of one alone nothing is counted."""
    async with pooled(lane, BROKEN, BROKEN, target={"fallback": ON}) as (origins, gateway):
        for _ in range(10):
            assert (await ask(gateway.port, post())).body == b"no"
    assert len(origins[0].requests) + len(origins[1].requests) >= 10
    async with origin(BROKEN) as alone, running(snapshot({"m": {"url": alone.url}}), lane=lane) as gateway:
        for _ in range(10):
            assert (await ask(gateway.port, post())).body == b"no"


async def test_an_ejected_one_is_asked_before_the_client_is_told_that_none_answered(lane: bool) -> None:
    """The only one that is in fails, while the ejected one is well again; the answer puts it back."""
    turned = asyncio.Event()

    def turning(before: bytes, after: bytes) -> Script:
        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await peer.send(after if turned.is_set() else before)

        return script

    failed, well = answer(b"no", b"503 Oops"), answer(b"yes")
    strict = {"fallback": ON, "ejection": {"consecutive_failures": 1, "base_time": "60s"}}
    async with pooled(lane, turning(failed, well), turning(well, failed), target=strict) as (_, gateway):  # type: ignore[arg-type]
        assert (await ask(gateway.port, post())).status == 200
        assert health(gateway).state is HealthState.EJECTED
        turned.set()
        assert (await ask(gateway.port, post())).body == b"yes"
        assert health(gateway).state is HealthState.HEALTHY
    assert [line["attempts"] for line in gateway.lines()] == [2, 2]


async def test_a_busy_provider_is_not_replaced_by_one_that_is_out(lane: bool) -> None:
    """Clients get 429, instead of an answer that is known to fail."""
    release = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(answer())

    async with origin(BROKEN) as first, origin(slow) as second:
        providers = [{"url": first.url}, {"url": second.url, "concurrency_limit": {"max_concurrent_requests": 1}}]
        target = {"strategy": "priority", "ejection": STRICT, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway, asyncio.TaskGroup() as tasks:
            for _ in range(3):
                await ask(gateway.port, post())
            tasks.create_task(ask(gateway.port, post()))
            await second.seen(1)
            assert (await ask(gateway.port, post())).status == 429
            release.set()
    assert len(first.requests) == 3


@pytest.mark.parametrize("status", [b"429 Slow", b"503 Busy"])
async def test_a_provider_that_asks_to_be_left_alone_is(lane: bool, status: bytes) -> None:
    """At the first time, and for as long as it says."""
    async with pooled(lane, serve(answer(b"busy", status, b"Retry-After: 60\r\n"))) as (_, gateway):
        answers = [await ask(gateway.port, post()) for _ in range(3)]
        assert health(gateway).state is HealthState.RATE_LIMITED
    assert [response.status for response in answers] == [int(status[:3]), 200, 200]
    assert answers[0].value(b"retry-after") == b"60"


async def test_switched_off_nobody_is_left_out(lane: bool) -> None:
    """``enabled: false``."""
    async with pooled(lane, BROKEN, target={"ejection": {"enabled": False}}) as (origins, gateway):
        for _ in range(10):
            assert (await ask(gateway.port, post())).status == 500
    assert not origins[1].peers
