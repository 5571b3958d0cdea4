"""``commit_after``: a translated stream begins in time although the provider has not yet sent a head."""

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
    """An upstream that answers with ``reply`` when the test allows it; b"" means: close without a head."""

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
    """A stream whose first event has arrived before the provider may answer."""
    await client.send(create(stream=True))
    response = await client.head()
    assert response.status == 200
    first = await client.chunk(response)
    assert b"response.created" in first
    return response


async def test_the_stream_begins_before_the_providers_head_and_is_one_answer(lane: bool) -> None:
    """The later events continue it: one id, one response.created, consecutive numbers."""
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
async def test_a_failure_after_commit_after_is_reported_in_the_stream(lane: bool, reply: tuple[bytes, ...]) -> None:
    """The status was already sent: the client gets response.failed and a complete body."""
    slow = Slow(*reply)
    async with proxied(lane, slow.script, **EARLY) as (_, gateway), connect(gateway.port) as client:
        response = await begun(client)
        slow.go.set()
        await client.rest(response)
        assert response.whole
        assert check_wire(response.body) == []
        assert events_of(response.body)[-1]["type"] == "response.failed"


async def test_there_is_no_fallback_after_commit_after(lane: bool) -> None:
    """Fallback ends with the first byte to the client."""
    slow = Slow(answer(b"{}", b"503 Service Unavailable"))
    fallback = {"enabled": True, "on_status": [503], "max_attempts": 3}
    async with proxied(lane, slow.script, fallback=fallback, **EARLY) as (upstream, gateway):
        async with connect(gateway.port) as client:
            response = await begun(client)
            slow.go.set()
            await client.rest(response)
            assert events_of(response.body)[-1]["type"] == "response.failed"
            assert len(upstream.requests) == 1


async def test_a_disconnect_after_commit_after_frees_its_resources(lane: bool) -> None:
    """The fixture of the gateway checks that no permit is held and no exchange runs."""
    slow = Slow()
    async with proxied(lane, slow.script, **EARLY) as (_, gateway), connect(gateway.port) as client:
        await begun(client)


async def test_a_fast_error_keeps_its_status(lane: bool) -> None:
    """An error status that comes before ``commit_after`` is the status of the response."""
    error = answer(json.dumps({"error": {"message": "no"}}).encode(), b"429 Too Many Requests")
    options = {**EARLY, "translate": {"commit_after": "5s"}}
    async with proxied(lane, serve(error), **options) as (_, gateway), connect(gateway.port) as client:
        await client.send(create(stream=True))
        assert (await client.response()).status == 429
