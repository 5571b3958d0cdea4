"""Beside translation: input tokens are counted without a provider, and invalid streams are repaired if configured."""

from __future__ import annotations

import json

import pytest
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, answer, chunk, serve
from support.raw import ask, post
from support.responses_oracle import events_of
from support.scene import proxied

BROKEN = (
    b'data: {"type":"response.created","response":{"id":"resp_1","object":"response","status":"in_progress"}}\n\n'
    b'data: {"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"Hi"}\n\n'
    b'data: {"type":"response.completed",'
    b'"response":{"id":"resp_1","object":"response","status":"completed","output":[]}}\n\n'
)


async def broken(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(BROKEN), LAST_CHUNK)


def count(body: bytes, path: bytes = b"/v1/responses/input_tokens") -> bytes:
    return post(body, path)


async def test_input_tokens_are_estimated_without_asking_a_provider(lane: bool) -> None:
    """The provider would answer 500."""
    async with proxied(lane, serve(answer(b"{}", b"500 Error")), open_responses_mode="translate") as (_, gateway):
        response = await ask(gateway.port, count(b'{"model":"m","input":"How many tokens are these?"}'))
        assert response.status == 200
        counted = json.loads(response.body)
        assert counted["object"] == "response.input_tokens"
        assert 5 <= counted["input_tokens"] <= 20


async def test_an_uncountable_input_is_refused(lane: bool) -> None:
    """The response is 400 and names the field."""
    async with proxied(lane, serve(answer(b"{}")), open_responses_mode="translate") as (_, gateway):
        response = await ask(gateway.port, count(b'{"model":"m","input":7}'))
        assert response.status == 400
        assert json.loads(response.body)["error"]["param"] == "input"


@pytest.mark.parametrize("repair", [True, False])
async def test_an_invalid_stream_is_repaired_only_with_repair(lane: bool, repair: bool) -> None:
    """Without ``repair`` the provider's bytes pass unchanged."""
    async with proxied(lane, broken, repair=repair) as (_, gateway):
        response = await ask(gateway.port, post(b'{"model":"m","input":"x","stream":true}', b"/v1/responses"))
        if not repair:
            assert response.body == BROKEN
            return
        events = events_of(response.body)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert "response.output_item.added" in [event["type"] for event in events]
        assert response.body.endswith(b"data: [DONE]\n\n")


async def test_other_streams_of_a_repaired_provider_pass(lane: bool) -> None:
    """Repair concerns only the Responses API."""
    async with proxied(lane, broken, repair=True) as (_, gateway):
        response = await ask(gateway.port, post(b'{"model":"m","stream":true}'))
        assert response.body == BROKEN
