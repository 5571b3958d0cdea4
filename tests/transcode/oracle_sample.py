"""A stream that keeps every promise, written by hand: what the oracle's own tests break one promise of at a time."""

from __future__ import annotations

import copy
import itertools

import orjson
from support.responses_promises import Json

BLANK: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_700_000_000,
    "completed_at": None,
    "status": "in_progress",
    "incomplete_details": None,
    "model": "m",
    "previous_response_id": None,
    "instructions": None,
    "output": [],
    "error": None,
    "tools": [{"type": "function", "name": "look", "description": None, "parameters": None, "strict": None}],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1,
    "reasoning": None,
    "usage": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}
USAGE: Json = {
    "input_tokens": 5,
    "output_tokens": 7,
    "total_tokens": 12,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 3},
}
CITATION: Json = {"type": "url_citation", "url": "https://e.x", "title": "E", "start_index": 0, "end_index": 2}
LOGPROB: Json = {"token": "He", "logprob": -0.5, "bytes": [72, 101], "top_logprobs": []}
THOUGHT, TEXT, NO, ARGUMENTS = "I look.", "Hello", "I cannot.", '{"at":"x"}'

REASONING: Json = {
    "type": "reasoning",
    "id": "rs_1",
    "status": "completed",
    "summary": [{"type": "summary_text", "text": THOUGHT}],
    "content": [{"type": "reasoning_text", "text": THOUGHT}],
}
TEXT_PART: Json = {"type": "output_text", "text": TEXT, "annotations": [CITATION], "logprobs": [LOGPROB]}
MESSAGE: Json = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [TEXT_PART, {"type": "refusal", "refusal": NO}],
}
CALL: Json = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "look",
    "arguments": ARGUMENTS,
    "status": "completed",
}
CALL_2: Json = {**CALL, "id": "fc_2", "call_id": "call_2"}
FINAL: Json = {
    **BLANK,
    "status": "completed",
    "completed_at": 1_700_000_002,
    "output": [REASONING, MESSAGE, CALL, CALL_2],
    "usage": USAGE,
}


def numbered(events: list[Json]) -> list[Json]:
    """The events with sequence numbers from 0, as a writer would number them."""
    return [{**event, "sequence_number": number} for number, event in zip(itertools.count(), events, strict=False)]


def conforming() -> list[Json]:
    """Reasoning, text with a citation and logprobs, a refusal, two calls: all promises kept. A fresh copy each time."""
    events: list[Json] = [
        {"type": "response.created", "response": BLANK},
        {"type": "response.in_progress", "response": BLANK},
    ]
    events += _reasoning() + _message() + _call(CALL, 2) + _call(CALL_2, 3)
    return numbered(copy.deepcopy([*events, {"type": "response.completed", "response": FINAL}]))


def as_wire(events: list[Json]) -> bytes:
    """The events as a byte stream."""
    return b"".join(b"event: %s\ndata: %b\n\n" % (str(e["type"]).encode(), orjson.dumps(e)) for e in events) + (
        b"data: [DONE]\n\n"
    )


def _events(where: Json, *events: Json) -> list[Json]:
    return [{**event, **where, "type": f"response.{event['type']}"} for event in events]


def _item(item: Json, blank: Json, index: int, inside: list[Json]) -> list[Json]:
    at: Json = {"output_index": index}
    added: Json = {"type": "output_item.added", "item": {**item, **blank, "status": "in_progress"}}
    return _events(at, added) + inside + _events(at, {"type": "output_item.done", "item": item})


def _reasoning() -> list[Json]:
    inside = _events(
        {"item_id": "rs_1", "output_index": 0, "summary_index": 0},
        {"type": "reasoning_summary_part.added", "part": {"type": "summary_text", "text": ""}},
        {"type": "reasoning_summary_text.delta", "delta": "I "},
        {"type": "reasoning_summary_text.delta", "delta": "look."},
        {"type": "reasoning_summary_text.done", "text": THOUGHT},
        {"type": "reasoning_summary_part.done", "part": {"type": "summary_text", "text": THOUGHT}},
    )
    return _item(REASONING, {"summary": [], "content": []}, 0, inside)


def _message() -> list[Json]:
    at: Json = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    empty: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    inside = _events(
        at,
        {"type": "content_part.added", "part": empty},
        {"type": "output_text.delta", "delta": "He", "logprobs": [LOGPROB]},
        {"type": "output_text.delta", "delta": "llo", "logprobs": []},
        {"type": "output_text.annotation.added", "annotation_index": 0, "annotation": CITATION},
        {"type": "output_text.done", "text": TEXT, "logprobs": [LOGPROB]},
        {"type": "content_part.done", "part": TEXT_PART},
    )
    inside += _events(
        {**at, "content_index": 1},
        {"type": "content_part.added", "part": {"type": "refusal", "refusal": ""}},
        {"type": "refusal.delta", "delta": NO},
        {"type": "refusal.done", "refusal": NO},
        {"type": "content_part.done", "part": {"type": "refusal", "refusal": NO}},
    )
    return _item(MESSAGE, {"content": []}, 1, inside)


def _call(call: Json, index: int) -> list[Json]:
    inside = _events(
        {"item_id": call["id"], "output_index": index},
        {"type": "function_call_arguments.delta", "delta": '{"at":'},
        {"type": "function_call_arguments.delta", "delta": '"x"}'},
        {"type": "function_call_arguments.done", "arguments": ARGUMENTS, "name": call["name"]},
    )
    return _item(call, {"arguments": ""}, index, inside)
