"""Translate mode without state: clients carry sealed reasoning and return it to its provider."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.chat_upstream import DONE, create, end, frame, streamed, whole
from support.gateway import Gateway, running
from support.origin import origin, serve
from support.raw import ask
from support.responses_oracle import events_of
from support.responses_promises import Json, as_dict, as_list
from support.targets import snapshot

SECRET = "a secret of sixteen bytes or more"
FUNCTION: Json = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
CALL: Json = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
ASKED: dict[str, Any] = {"tools": [FUNCTION], "store": False, "include": ["reasoning.encrypted_content"]}
USER: Json = {"type": "message", "role": "user", "content": "hi"}
RESULT: Json = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
THOUGHT = whole({"reasoning_content": "Let me look.", "tool_calls": [CALL]}, "tool_calls")
STREAMED = streamed(
    frame(reasoning_content="Let me "),
    frame(reasoning_content="look."),
    frame(tool_calls=[CALL]),
    end("tool_calls"),
    DONE,
)
ALICE, BOB = b"Authorization: Bearer sk-alice\r\n", b"Authorization: Bearer sk-bob\r\n"


def targets(url: str, **translate: object) -> Json:
    settings = {"reasoning_keys": [SECRET], **translate}
    return {"url": url, "open_responses_mode": "translate", "preset": "deepseek", "translate": settings}


async def first_output(gateway: Gateway, stream: bool, fields: bytes = b"") -> list[Json]:
    """The items of a first answer, for a client that keeps no state at the server."""
    response = await ask(gateway.port, create(fields=fields, stream=stream, **ASKED))
    assert response.status == 200, response.body
    body = as_dict(events_of(response.body)[-1]["response"]) if stream else json.loads(response.body)
    return [as_dict(item) for item in as_list(body["output"])]


@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_comes_back_to_its_provider(lane: bool, stream: bool) -> None:
    """The first answer contains sealed reasoning; the second request returns it and the proxy opens it."""
    async with origin(serve(STREAMED if stream else THOUGHT, whole("Sunny."))) as upstream:
        async with running(snapshot({"m": targets(upstream.url)}), lane=lane) as gateway:
            output = await first_output(gateway, stream)
            sealed = str(output[0]["encrypted_content"])
            # As Codex does: the blob is all that it sends of its reasoning.
            output[0] = {"type": "reasoning", "id": output[0]["id"], "summary": [], "encrypted_content": sealed}
            assert (await ask(gateway.port, create(**{**ASKED, "input": [USER, *output, RESULT]}))).status == 200
    assert "Let me look" not in sealed
    messages = json.loads(upstream.last.body)["messages"]
    assert messages[1]["reasoning_content"] == "Let me look."
    assert messages[2] == {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}


async def test_reasoning_is_sealed_only_on_request(lane: bool) -> None:
    """The request has no ``include``."""
    async with origin(serve(THOUGHT)) as upstream:
        async with running(snapshot({"m": targets(upstream.url)}), lane=lane) as gateway:
            response = await ask(gateway.port, create(tools=[FUNCTION]))
    assert not as_dict(json.loads(response.body)["output"][0]).get("encrypted_content")


FOREIGN: Json = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAABsomebodyelses"}


async def test_foreign_reasoning_is_skipped(lane: bool) -> None:
    """This is the default: a conversation may have begun at another provider (G25)."""
    async with origin(serve(whole("x"))) as upstream:
        async with running(snapshot({"m": targets(upstream.url)}), lane=lane) as gateway:
            response = await ask(gateway.port, create(**{**ASKED, "input": [USER, FOREIGN, USER]}))
    assert response.status == 200
    assert b"somebodyelses" not in upstream.last.body


async def test_foreign_reasoning_can_be_rejected(lane: bool) -> None:
    """``foreign_reasoning: reject`` gives the code that clients know."""
    async with origin() as upstream:
        configured = snapshot({"m": targets(upstream.url, foreign_reasoning="reject")})
        async with running(configured, lane=lane) as gateway:
            response = await ask(gateway.port, create(**{**ASKED, "input": [USER, FOREIGN, USER]}))
    assert response.status == 400
    assert response.error["code"] == "invalid_encrypted_content"
    assert not upstream.requests


async def test_sealed_reasoning_is_foreign_to_another_key(lane: bool) -> None:
    """It was sealed for Alice and comes in Bob's request."""
    auth = {"global_keys": ["sk-alice", "sk-bob"]}
    async with origin(serve(THOUGHT, whole("x"))) as upstream:
        configured = snapshot({"m": targets(upstream.url, foreign_reasoning="reject")}, auth=auth)
        async with running(configured, lane=lane) as gateway:
            output = await first_output(gateway, stream=False, fields=ALICE)
            second = create(fields=BOB, **{**ASKED, "input": [USER, *output, RESULT]})
            assert (await ask(gateway.port, second)).status == 400
            assert (await ask(gateway.port, second.replace(BOB, ALICE))).status == 200


async def test_a_new_key_does_not_break_conversations(lane: bool) -> None:
    """Rotation: the first key seals, and all keys open."""
    async with origin(serve(THOUGHT, whole("x"))) as upstream:
        async with running(snapshot({"m": targets(upstream.url)}), lane=lane) as gateway:
            output = await first_output(gateway, stream=False)
        rotated = targets(upstream.url, reasoning_keys=["another secret, newer than that", SECRET])
        rotated["translate"] = {**as_dict(rotated["translate"]), "foreign_reasoning": "reject"}
        async with running(snapshot({"m": rotated}), lane=lane) as gateway:
            response = await ask(gateway.port, create(**{**ASKED, "input": [USER, *output, RESULT]}))
    assert response.status == 200
