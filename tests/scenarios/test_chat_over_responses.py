"""Clients of Chat Completions use a provider that has only the Responses API, over both doors."""

from __future__ import annotations

import json

import pytest
from support.origin import LAST_CHUNK, STREAM_HEAD, Peer, answer, chunk, serve
from support.raw import ask, post
from support.scene import proxied

QUESTION = {"model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello.", "annotations": [], "logprobs": []}],
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "theirs",
    "output": [MESSAGE],
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}
EVENTS = (
    {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": {**MESSAGE, "content": []}},
    {
        "type": "response.output_text.delta",
        "sequence_number": 2,
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "Hello.",
    },
    {"type": "response.output_item.done", "sequence_number": 3, "output_index": 0, "item": MESSAGE},
    {"type": "response.completed", "sequence_number": 4, "response": RESPONSE},
)


def written(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


async def streaming(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(written(*EVENTS)), LAST_CHUNK)


async def cut(peer: Peer) -> None:
    await peer.request()
    await peer.send(STREAM_HEAD, chunk(written(*EVENTS[:3])))


def question(**more: object) -> bytes:
    return post(json.dumps(QUESTION | more).encode())


async def test_a_whole_answer(lane: bool) -> None:
    """The provider gets a request for /v1/responses, and the client gets a chat completion."""
    script = serve(answer(json.dumps(RESPONSE).encode(), fields=b"Content-Type: application/json\r\n"))
    async with proxied(lane, script, chat_completions_mode="translate", onwards_model="theirs") as (upstream, gateway):
        response = await ask(gateway.port, question())
        assert response.status == 200
        made = json.loads(response.body)
        assert made["object"] == "chat.completion"
        assert made["choices"][0]["message"]["content"] == "Hello."
        assert made["choices"][0]["finish_reason"] == "stop"
        assert made["usage"]["total_tokens"] == 5
        [request] = upstream.requests
        assert request.target == b"/v1/responses"
        asked = json.loads(request.body)
        assert (asked["model"], asked["instructions"]) == ("theirs", "Be brief.")


async def test_a_streamed_answer(lane: bool) -> None:
    """The client gets chunks, a finish reason and the end mark."""
    async with proxied(lane, streaming, chat_completions_mode="translate") as (_, gateway):
        response = await ask(gateway.port, question(stream=True))
        assert response.value(b"content-type") == b"text/event-stream"
        lines = [line[6:] for line in response.body.split(b"\n") if line.startswith(b"data: ")]
        assert lines[-1] == b"[DONE]"
        chunks = [json.loads(line) for line in lines[:-1]]
        assert (
            "".join(made["choices"][0]["delta"].get("content") or "" for made in chunks if made["choices"]) == "Hello."
        )
        assert [made["choices"][0]["finish_reason"] for made in chunks if made["choices"]][-1] == "stop"


async def test_a_cut_stream_ends_with_an_error(lane: bool) -> None:
    """The stream contains an error and has no end mark."""
    async with proxied(lane, cut, chat_completions_mode="translate") as (_, gateway):
        response = await ask(gateway.port, question(stream=True))
        assert b'"error"' in response.body
        assert b"[DONE]" not in response.body


@pytest.mark.parametrize("path", [b"/v1/responses", b"/v1/embeddings"])
async def test_requests_of_the_providers_own_api_are_not_translated(lane: bool, path: bytes) -> None:
    """Requests of the Responses API reach the provider unchanged."""
    async with proxied(lane, serve(answer(b"{}")), chat_completions_mode="translate") as (upstream, gateway):
        body = b'{"model":"m","input":"x"}'
        assert (await ask(gateway.port, post(body, path))).body == b"{}"
        assert (upstream.requests[0].target, upstream.requests[0].body) == (path, body)


async def test_a_character_that_the_provider_cut_in_half_is_whole(lane: bool) -> None:
    """The two escapes of one character come in two deltas."""
    deltas = [{**EVENTS[2], "delta": piece} for piece in ("a\ud83d", "\ude00b")]
    raw = STREAM_HEAD + chunk(written(*EVENTS[:2], *deltas, {**EVENTS[4], "response": {**RESPONSE, "output": []}}))
    async with proxied(lane, serve(raw + LAST_CHUNK), chat_completions_mode="translate") as (_, gateway):
        response = await ask(gateway.port, question())
    assert json.loads(response.body)["choices"][0]["message"]["content"] == "a\U0001f600b"


async def test_a_limit_of_tokens_that_is_too_small_is_raised_and_named(lane: bool) -> None:
    """The schema's minimum is 16. A response header names the member that was changed."""
    script = serve(answer(json.dumps(RESPONSE).encode(), fields=b"Content-Type: application/json\r\n"))
    async with proxied(lane, script, chat_completions_mode="translate") as (upstream, gateway):
        response = await ask(gateway.port, question(max_tokens=5))
    assert json.loads(upstream.requests[0].body)["max_output_tokens"] == 16
    assert response.value(b"x-onwards-dropped") == b"max_tokens"


async def test_members_without_an_equivalent_are_refused(lane: bool) -> None:
    """The response is 400 and names the field."""
    async with proxied(lane, serve(answer(b"{}")), chat_completions_mode="translate") as (_, gateway):
        response = await ask(gateway.port, question(n=3))
        assert response.status == 400
        assert json.loads(response.body)["error"]["param"] == "n"
