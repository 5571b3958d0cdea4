"""The echo engine's Open Responses: all required members, and the order of the stream.

The key tables are those of the Open Responses schema of 2026-04-24.
"""

from __future__ import annotations

from typing import Any

import pytest
from echo_helpers import NOW, RESPONSES, ask, ask_whole, documents, request
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter


def names(text: str) -> set[str]:
    """A table of words as a set."""
    return set(text.split())


REQUIRED = names(
    """id object created_at completed_at status incomplete_details model previous_response_id instructions output
    error tools tool_choice truncation parallel_tool_calls text top_p presence_penalty frequency_penalty
    top_logprobs temperature reasoning usage max_output_tokens max_tool_calls store background service_tier
    metadata safety_identifier prompt_cache_key"""
)
NULLABLE = names(
    """completed_at incomplete_details previous_response_id instructions error reasoning usage max_output_tokens
    max_tool_calls safety_identifier prompt_cache_key"""
)
PLACE = {"item_id", "output_index", "content_index"}
EVENT_MEMBERS = {
    "response.created": {"response"},
    "response.in_progress": {"response"},
    "response.output_item.added": {"output_index", "item"},
    "response.content_part.added": PLACE | {"part"},
    "response.output_text.delta": PLACE | {"delta", "logprobs"},
    "response.output_text.done": PLACE | {"text", "logprobs"},
    "response.content_part.done": PLACE | {"part"},
    "response.output_item.done": {"output_index", "item"},
    "response.completed": {"response"},
    "response.incomplete": {"response"},
}
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def stream(body: dict[str, object]) -> list[dict[str, Any]]:
    """The events of a streamed response, checked for their framing."""
    status, events = ask(request(RESPONSES, {**body, "stream": True}))
    assert status == 200
    assert events[-1] == b"data: [DONE]\n\n"
    found = documents(events)
    for event, document in zip(events, found, strict=False):
        name, data, *rest = event.split(b"\n")
        assert (name, rest) == (b"event: " + document["type"].encode(), [b"", b""])
        assert data.startswith(b"data: {")
    return found


def assert_complete(response: dict[str, Any]) -> None:
    """All required members are present, and null only where the schema allows it."""
    assert set(response) == REQUIRED
    assert {name for name, value in response.items() if value is None} <= NULLABLE


def test_whole_response_has_every_member() -> None:
    """A plain request gets all 31 members, and the SDK's strict model accepts them."""
    document = ask_whole(request(RESPONSES, {"input": "one two"}))
    assert_complete(document)
    response = Response.model_validate(document)
    assert response.output_text == "one two"
    assert (response.id, response.output[0].id, response.status) == ("resp_echo_1", "msg_echo_2", "completed")
    assert (document["created_at"], document["completed_at"]) == (int(NOW), int(NOW))


def test_usage_counts_words_of_input_and_instructions() -> None:
    """Both details are present, including the one that only the SDK requires."""
    items = [
        {"role": "developer", "content": "a b"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "c d e"}]},
        {"type": "function_call_output", "call_id": "x", "output": "not counted"},
    ]
    document = ask_whole(request(RESPONSES, {"input": items, "instructions": "f"}))
    assert document["output"][0]["content"][0]["text"] == "c d e"
    assert document["usage"] == {
        "input_tokens": 6,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }


def test_request_members_are_echoed() -> None:
    """The response has the values that the request set."""
    members: dict[str, object] = {
        "instructions": "be kind",
        "previous_response_id": "resp_0",
        "truncation": "auto",
        "parallel_tool_calls": False,
        "top_p": 0.5,
        "presence_penalty": 1,
        "frequency_penalty": -1.5,
        "top_logprobs": 4,
        "temperature": 0,
        "max_output_tokens": 30,
        "max_tool_calls": 2,
        "store": False,
        "service_tier": "flex",
        "metadata": {"key": "value"},
        "safety_identifier": "who",
        "prompt_cache_key": "what",
    }
    document = ask_whole(request(RESPONSES, {"input": "hi", **members}))
    assert {name: document[name] for name in members} == members


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("service_tier", "auto", "default"),
        ("background", True, False),
        ("reasoning", {"effort": "high"}, {"effort": "high", "summary": None}),
        ("reasoning", {"effort": "minimal", "summary": "auto"}, {"effort": "low", "summary": "auto"}),
        ("reasoning", {"effort": "immense", "summary": 1}, {"effort": None, "summary": None}),
        ("text", {"verbosity": None}, {"format": {"type": "text"}}),
        ("text", {"format": {"type": "json_object"}, "verbosity": "low"}, None),
        (
            "text",
            {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
            {"format": {"type": "json_schema", "name": "n", "description": None, "schema": None, "strict": False}},
        ),
        (
            "tools",
            [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {"type": "object"}}],
            [{"type": "function", "name": "f", "description": None, "parameters": {"type": "object"}, "strict": None}],
        ),
        ("tool_choice", "required", None),
        ("tool_choice", "everything", "auto"),
        ("tool_choice", {"type": "function", "name": "f", "x": 1}, {"type": "function", "name": "f"}),
        (
            "tool_choice",
            {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}]},
            {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}], "mode": "auto"},
        ),
        ("tool_choice", {"type": "mcp", "server_label": "s"}, "auto"),
    ],
)
def test_request_members_are_converted_to_the_schema_of_the_response(name: str, given: object, said: object) -> None:
    """If the schema of the response is narrower, the value is completed, rounded or left out."""
    document = ask_whole(request(RESPONSES, {"input": "hi", name: given}))
    assert_complete(document)
    assert document[name] == (given if said is None else said)


def test_stream_has_the_order_of_the_specification() -> None:
    """The order is created, in progress, item, part and deltas; then all are closed in reverse order."""
    events = stream({"input": "one two"})
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))


@pytest.mark.parametrize("text", ["one two", "", '"é\n'])
@pytest.mark.parametrize("limit", [None, 1])
def test_stream_events_have_every_member(text: str, limit: int | None) -> None:
    """Each event has exactly the members of its type, and the SDK's models accept it."""
    for event in stream({"input": text, "max_output_tokens": limit}):
        assert set(event) == EVENT_MEMBERS[event["type"]] | {"type", "sequence_number"}
        SDK_EVENT.validate_python(event)
        if "response" in event:
            assert_complete(event["response"])


def test_stream_has_one_text_under_one_id() -> None:
    """The deltas together, the text, the part, the item and the final output agree, and ids do not change."""
    events = stream({"input": "one two  three"})
    by_type = {event["type"].removeprefix("response."): event for event in events}
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    item = by_type["output_item.done"]["item"]
    assert deltas == ["one ", "two  ", "three"]
    assert by_type["output_text.done"]["text"] == "one two  three"
    assert item["content"] == [by_type["content_part.done"]["part"]]
    assert item["content"][0]["text"] == "one two  three"
    assert by_type["completed"]["response"]["output"] == [item]
    assert {event["item_id"] for event in events if "item_id" in event} == {item["id"]}
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1


def test_stream_opens_empty() -> None:
    """The first snapshots are in progress, without output or usage. Item and part begin empty."""
    created, in_progress, item, part, *_ = stream({"input": "one"})
    assert created["response"] == in_progress["response"]
    assert created["response"]["status"] == "in_progress"
    assert (created["response"]["output"], created["response"]["usage"]) == ([], None)
    assert (item["item"]["status"], item["item"]["content"]) == ("in_progress", [])
    assert part["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def test_final_snapshot_equals_the_whole_answer() -> None:
    """The completed response is the same object, streamed or not."""
    body: dict[str, object] = {"input": "one two", "temperature": 0.5}
    assert stream(body)[-1]["response"] == ask_whole(request(RESPONSES, body))


def test_limit_makes_the_response_incomplete() -> None:
    """After ``max_output_tokens``, item and response are incomplete, with the reason and without a completion time."""
    body: dict[str, object] = {"input": "one two", "max_output_tokens": 1}
    for document in (ask_whole(request(RESPONSES, body)), stream(body)[-1]["response"]):
        assert document["status"] == document["output"][0]["status"] == "incomplete"
        assert document["incomplete_details"] == {"reason": "max_output_tokens"}
        assert document["completed_at"] is None
        assert document["output"][0]["content"][0]["text"] == "one "
        assert document["usage"]["output_tokens"] == 1
    assert stream(body)[-1]["type"] == "response.incomplete"


def test_continued_response_needs_no_input() -> None:
    """With ``previous_response_id`` the input may be missing, and the answer is then empty."""
    document = ask_whole(request(RESPONSES, {"previous_response_id": "resp_1"}))
    assert document["output"][0]["content"][0]["text"] == ""
