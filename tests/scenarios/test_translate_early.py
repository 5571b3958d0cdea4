"""``commit_after``: a translated stream begins in time although the provider has not even sent a head."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.chat_upstream import create, text
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, answer, chunk, serve
from support.raw import Client, Response, connect
from support.responses_oracle import check_wire, events_of
from support.scene import proxied

EARLY = {"open_responses_mode": "translate", "translate": {"commit_after": "30ms"}}


class Slow:
    """An upstream that answers when it is told to, by ``reply``; b"" means: close without a head."""

    def __init__(self, *reply: bytes) -> None:
        self.go = asyncio.Event()
        self._reply = reply

    async def script(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await self.go.wait()
            if not self._reply:
                return
            await peer.send(*self._reply)


async def begun(client: Client) -> Response:
    """A stream whose first event has come, before the provider was allowed to answer."""
    await client.send(create(stream=True))
    response = await client.head()
    assert response.status == 200
    first = await client.chunk(response)
    assert b"response.created" in first
    return response


async def test_the_stream_begins_before_the_providers_head_and_is_one_answer(lane: bool) -> None:
    """What comes later continues it: one id, one created, contiguous numbers."""
    slow = Slow(STREAM_HEAD, *map(chunk, text("Hello ", "there.")), LAST_CHUNK)
    async with proxied(lane, slow.script, **EARLY) as (_, gateway), connect(gateway.port) as client:
        response = await begun(client)
        slow.go.set()
        await client.rest(response)
        assert check_wire(response.body) == []
        assert events_of(response.body)[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    "reply",
    [
        (),
        (answer(b'{"error":{"message":"no","code":"x"}}', b"503 Service Unavailable"),),
        (answer(b"", b"302 Found", b"Location: /elsewhere\r\n"),),
    ],
    ids=["closed", "error status", "redirection"],
)
async def test_a_failure_after_an_early_beginning_is_told_in_the_stream(lane: bool, reply: tuple[bytes, ...]) -> None:
    """response.failed and a whole body: the status was sent long ago."""
    slow = Slow(*reply)
    async with proxied(lane, slow.script, **EARLY) as (_, gateway), connect(gateway.port) as client:
        response = await begun(client)
        slow.go.set()
        await client.rest(response)
        assert response.whole
        assert check_wire(response.body) == []
        assert events_of(response.body)[-1]["type"] == "response.failed"


async def test_no_other_provider_is_asked_after_an_early_beginning(lane: bool) -> None:
    """Fallback ends with the first byte, whoever sent it."""
    slow = Slow(answer(b"{}", b"503 Service Unavailable"))
    fallback = {"enabled": True, "on_status": [503], "max_attempts": 3}
    async with proxied(lane, slow.script, fallback=fallback, **EARLY) as (upstream, gateway):
        async with connect(gateway.port) as client:
            response = await begun(client)
            slow.go.set()
            await client.rest(response)
            assert events_of(response.body)[-1]["type"] == "response.failed"
            assert len(upstream.requests) == 1


async def test_who_leaves_after_an_early_beginning_leaves_nothing_behind(lane: bool) -> None:
    """The gateway's fixture sees that no permit is held and no exchange goes on."""
    slow = Slow()
    async with proxied(lane, slow.script, **EARLY) as (_, gateway), connect(gateway.port) as client:
        await begun(client)


async def test_a_quick_provider_is_not_preceded(lane: bool) -> None:
    """An error status that comes in time is the answer's own."""
    error = answer(json.dumps({"error": {"message": "no"}}).encode(), b"429 Too Many Requests")
    options = {**EARLY, "translate": {"commit_after": "5s"}}
    async with proxied(lane, serve(error), **options) as (_, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        assert (await client.response()).status == 429
