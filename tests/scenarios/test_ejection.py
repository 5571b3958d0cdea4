"""``ejection``: a provider of a pool that fails repeatedly is left out, and later one request tries it again."""

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
    """Two providers, tried in this order; ``own`` are settings of the first, ``target`` those of the target."""
    async with origin(first) as one, origin(second or serve()) as two:
        providers = [{"url": one.url, **(own or {})}, {"url": two.url}]
        options = {"strategy": "priority", "ejection": STRICT, "providers": providers, **(target or {})}
        async with running(snapshot({"m": options}), lane=lane) as gateway:
            yield [one, two], gateway


async def cuts_late(peer: Peer) -> None:
    """A stream that begins properly and is then cut."""
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
async def test_a_provider_is_ejected_after_consecutive_failures(lane: bool, case: str, fallback: bool) -> None:
    """After three failures it gets no fourth request, with fallback and without."""
    script, timeouts = FAILING[case]
    policy = ON if fallback else {"enabled": False}
    async with pooled(lane, script, own={"timeouts": timeouts}, target={"fallback": policy}) as (origins, gateway):
        for _ in range(6):
            await ask(gateway.port, post())
        assert (await ask(gateway.port, post())).body == b'{"ok":true}'
        assert health(gateway).state is HealthState.EJECTED
    assert len(origins[0].requests) == 3


@pytest.mark.parametrize("reply", [b'{"error":{"code":500}}', b""])
async def test_errors_inside_a_200_count_as_failures_if_they_are_detected(lane: bool, reply: bytes) -> None:
    """With a hold, errors inside a 200 and empty answers count as failures."""
    held: Json = {"fallback": {**ON, "hold": {"max_time": "5s"}}}
    script = serve(answer(reply, fields=b"Content-Type: application/json\r\n"))
    async with pooled(lane, script, target=held) as (origins, gateway):
        for _ in range(5):
            assert (await ask(gateway.port, post())).body == b'{"ok":true}'
    assert len(origins[0].requests) == 3


async def test_a_provider_that_refuses_connections_is_ejected(lane: bool) -> None:
    """The first provider's port is closed."""
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
async def test_failures_of_translated_answers_count(lane: bool, script: Script, stream: bool) -> None:
    """The status, an error in the body and a cut end count as failures."""
    mode: Json = {"open_responses_mode": "translate"}
    async with pooled(lane, script, serve(streamed(*text("well"))), target=mode) as (origins, gateway):
        for _ in range(5):
            await ask(gateway.port, create(stream=stream))
        assert b"well" in (await ask(gateway.port, create(stream=stream))).body
    assert len(origins[0].requests) == 3


@pytest.mark.either_door
@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_a_local_provider_that_fails_is_ejected(lane: bool, mode: str, status: int) -> None:
    """Ejection treats a local provider like a remote one."""
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
    """Other 4xx statuses do not count. 401 and 403 do not count if the credential is the client's own."""
    async with pooled(lane, serve(answer(b"no", status))) as (origins, gateway):
        for _ in range(8):
            assert (await ask(gateway.port, post(fields=b"Authorization: Bearer theirs\r\n"))).body == b"no"
    assert len(origins[0].requests) == 8


@pytest.mark.parametrize("status", [b"401 X", b"402 X", b"403 X"])
async def test_refusals_of_the_providers_credential_count_separately(lane: bool, status: bytes) -> None:
    """If the configured credential was revoked, three refusals in a row eject the provider."""
    async with pooled(lane, serve(answer(b"no", status)), own={"onwards_key": "sk-revoked"}) as (_, gateway):
        statuses = [(await ask(gateway.port, post())).status for _ in range(5)]
    assert statuses == [int(status[:3])] * 3 + [200] * 2


@pytest.mark.parametrize("streaming", [False, True], ids=["waiting", "streaming"])
async def test_clients_that_leave_are_no_failures(lane: bool, streaming: bool) -> None:
    """A disconnect at any stage does not count against the provider."""

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


async def test_the_last_provider_is_never_ejected(lane: bool) -> None:
    """If all providers fail, all of them still get requests. The failures of a single provider are not counted."""
    async with pooled(lane, BROKEN, BROKEN, target={"fallback": ON}) as (origins, gateway):
        for _ in range(10):
            assert (await ask(gateway.port, post())).body == b"no"
    assert len(origins[0].requests) + len(origins[1].requests) >= 10
    async with origin(BROKEN) as alone, running(snapshot({"m": {"url": alone.url}}), lane=lane) as gateway:
        for _ in range(10):
            assert (await ask(gateway.port, post())).body == b"no"


async def test_an_ejected_provider_is_the_last_resort(lane: bool) -> None:
    """The only other provider fails. The ejected one gets the request, and its success ends the ejection."""
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


async def test_a_busy_provider_is_not_replaced_by_an_ejected_one(lane: bool) -> None:
    """The client gets 429 instead of a response that would probably be an error."""
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
async def test_retry_after_ejects_a_provider(lane: bool, status: bytes) -> None:
    """One response with Retry-After ejects the provider for the time that it names."""
    async with pooled(lane, serve(answer(b"busy", status, b"Retry-After: 60\r\n"))) as (_, gateway):
        answers = [await ask(gateway.port, post()) for _ in range(3)]
        assert health(gateway).state is HealthState.RATE_LIMITED
    assert [response.status for response in answers] == [int(status[:3]), 200, 200]
    assert answers[0].value(b"retry-after") == b"60"


async def test_without_ejection_no_provider_is_left_out(lane: bool) -> None:
    """``enabled: false`` switches ejection off."""
    async with pooled(lane, BROKEN, target={"ejection": {"enabled": False}}) as (origins, gateway):
        for _ in range(10):
            assert (await ask(gateway.port, post())).status == 500
    assert not origins[1].peers
