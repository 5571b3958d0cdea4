"""``timeouts.first_token``: a stream has a head in time, but no content."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.chat_upstream import create, end, frame, streamed, text, whole
from support.gateway import running
from support.origin import STREAM_HEAD, Peer, answer, chunk, origin, serve
from support.raw import ask, connect, post
from support.responses_promises import Json
from support.targets import pool, snapshot

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true}'
COMMENT = b": keep-alive\n\n"
ROLE = frame(role="assistant", content="")
SOON: Json = {"first_token": "50ms"}


class Silent:
    """Sends ``events`` and then no more until the gateway has closed the connection."""

    def __init__(self, *events: bytes) -> None:
        self._events = events
        self.closed = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, *map(chunk, self._events))
        await peer.gone()
        self.closed.set()


@pytest.mark.either_door
@pytest.mark.parametrize("events", [[], [COMMENT], [ROLE]])
@pytest.mark.parametrize("hold", [{}, {"hold": {"max_time": "5s"}}])
async def test_a_late_first_token_causes_fallback(lane: bool, events: list[bytes], hold: Json) -> None:
    """Comments and roles are not tokens. The first provider's connection is closed, with a hold and without."""
    silent = Silent(*events)
    async with origin(silent) as first, origin() as second:
        targets = pool(first.url, second.url, fallback={"enabled": True, **hold}, timeouts=SOON)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
            await asyncio.wait_for(silent.closed.wait(), 5)
    assert response.body == b'{"ok":true}'
    assert gateway.lines()[0]["attempts"] == 2


@pytest.mark.parametrize("events", [[], [COMMENT], [ROLE], [ROLE, end()]], ids=["none", "comment", "role", "empty"])
async def test_a_late_first_token_of_a_translated_stream_causes_fallback(lane: bool, events: list[bytes]) -> None:
    """The client sees no part of the first answer, even if that answer lacks only the end of its body."""
    silent = Silent(*events)
    async with origin(silent) as first, origin(serve(streamed(*text("hello")))) as second:
        mode = {"open_responses_mode": "translate"}
        targets = pool(first.url, second.url, fallback={"enabled": True}, timeouts=SOON, **mode)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True))
            await asyncio.wait_for(silent.closed.wait(), 5)
    assert response.status == 200
    assert b"hello" in response.body
    assert response.body.count(b"event: response.created") == 1


@pytest.mark.either_door
@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_a_late_echo_moves_on(lane: bool, mode: str) -> None:
    """At once, and the client's stream, which is due later, is begun by the second provider alone."""
    late = {
        "local": {"engine": "echo", "first_token_delay": "60s"},
        "timeouts": SOON,
        "open_responses_mode": mode,
        "translate": {"commit_after": "80ms"},
    }
    async with origin(serve(streamed(*text("hello")))) as second:
        providers = [late, {"url": second.url, "open_responses_mode": mode}]
        target = {"strategy": "priority", "fallback": {"enabled": True}, "providers": providers}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True))
    assert (response.status, response.whole) == (200, True)
    assert response.body.count(b"event: response.created") == (mode == "translate")


@pytest.mark.either_door
@pytest.mark.parametrize("mode", ["native", "translate"])
@pytest.mark.parametrize("fallback", [{"enabled": False}, {"enabled": True}])
async def test_without_another_provider_a_late_first_token_is_504(lane: bool, fallback: Json, mode: str) -> None:
    """The status is that of a late head. The client gets no part of the stream."""
    silent = Silent(COMMENT, ROLE)
    async with origin(silent) as upstream:
        targets = pool(upstream.url, fallback=fallback, timeouts=SOON, open_responses_mode=mode)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True) if mode == "translate" else post(BODY))
            await asyncio.wait_for(silent.closed.wait(), 5)
    assert (response.status, response.error["code"]) == (504, "gateway_timeout")
    assert gateway.lines()[0]["outcome"] == "upstream_timeout"


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_first_token_does_not_bound_the_rest_of_the_stream(lane: bool, mode: str) -> None:
    """A stream that is slow after its first token is not cut."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(ROLE), chunk(frame(content="first")))
        await go.wait()
        await peer.send(*map(chunk, text("second")[1:]), b"0\r\n\r\n")

    async with origin(slow) as upstream:
        async with running(pool(upstream.url, timeouts=SOON, open_responses_mode=mode), lane=lane) as gateway:
            async with connect(gateway.port) as client:
                await client.send(create(stream=True) if mode == "translate" else post(BODY))
                response = await client.head()
                while b"first" not in response.body:
                    await client.chunk(response)
                asyncio.get_running_loop().call_later(0.1, go.set)
                await client.rest(response)
    assert response.whole
    assert b"second" in response.body


async def test_answers_that_are_no_streams_are_not_bound(lane: bool) -> None:
    """The first token of such an answer comes with its last."""
    go = asyncio.Event()
    reply = whole("hello")

    async def slow(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply[:-10])
        asyncio.get_running_loop().call_later(0.1, go.set)
        await go.wait()
        await peer.send(reply[-10:])

    async with origin(slow) as upstream, running(pool(upstream.url, timeouts=SOON), lane=lane) as gateway:
        response = await ask(gateway.port, post(BODY))
    assert response.head + response.body == reply


@pytest.mark.parametrize("stream", [True, False])
async def test_first_token_bounds_the_head_of_streams_only(lane: bool, stream: bool) -> None:
    """A complete answer has no bytes before it is finished, so the proxy waits for it."""

    async def slow(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.3)
        await peer.send(answer(b"first"))

    async with origin(slow) as first, origin(serve(answer(b"second"))) as second:
        found = pool(first.url, second.url, fallback={"enabled": True})
        target = found.pools["m"]
        assert target.providers[0].timeouts.first_byte_streamed == 60.0
        providers = tuple(
            replace(provider, timeouts=replace(provider.timeouts, first_byte_streamed=0.05))
            for provider in target.providers
        )
        sooner = replace(found, pools={"m": replace(target, providers=providers)})
        async with running(sooner, lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY if stream else BODY.replace(b"true", b"false")))
    assert response.body == (b"second" if stream else b"first")


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_a_head_is_due_with_the_first_token(lane: bool, mode: str) -> None:
    """Many servers send the head of a stream only with its first content."""
    gone = asyncio.Event()

    async def mute(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        gone.set()

    async with origin(mute) as upstream:
        soon = {"first_token": "50ms"}
        async with running(pool(upstream.url, timeouts=soon, open_responses_mode=mode), lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True) if mode == "translate" else post(BODY))
            await asyncio.wait_for(gone.wait(), 5)
    assert (response.status, response.error["code"]) == (504, "gateway_timeout")


async def test_first_token_does_not_apply_to_complete_answers(lane: bool) -> None:
    """A complete answer may take longer than ``first_token``."""
    late = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await late.wait()
        await peer.send(answer())

    async with origin(slow) as upstream:
        async with running(pool(upstream.url, timeouts={"first_token": "50ms"}), lane=lane) as gateway:
            asyncio.get_running_loop().call_later(1.5, late.set)  # later than connections are looked after
            response = await ask(gateway.port, post(b'{"model":"m","stream":false,"input":"\\"stream\\":true"}'))
    assert response.body == b'{"ok":true}'
