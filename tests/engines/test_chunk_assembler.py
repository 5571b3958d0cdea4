"""Whole answers out of chunks: the pure parts of the llama.cpp engine."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pieces import cut_at

from onwards_py.engines.base import EngineError
from onwards_py.engines.chunk_assembler import ChunkAssembler, Json
from onwards_py.engines.llama_chunks import ChunkRewriter
from onwards_py.engines.llama_errors import from_error_object, from_message
from onwards_py.engines.llama_request import chat_plan, completion_plan
from onwards_py.engines.protocol import ComputeCost

HEAD: Json = {"id": "chatcmpl-1", "created": 7, "model": "m", "object": "chat.completion.chunk"}
USAGE: Json = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def chunk(delta: Mapping[str, object], index: int = 0, **rest: object) -> Json:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": None, **rest}]}


def assembled(chunks: list[Json]) -> Json:
    assembly = ChunkAssembler()
    for one in chunks:
        assembly.feed(one)
    return assembly.response(USAGE)


def message(answer: Json, index: int = 0) -> Json:
    choices = answer["choices"]
    assert isinstance(choices, list)
    found = choices[index]["message"]
    assert isinstance(found, dict)
    return found


@given(st.text(), st.text(), st.text(), st.lists(st.integers(0, 99)), st.booleans())
def test_the_answer_does_not_depend_on_where_deltas_are_cut(
    content: str, reasoning: str, arguments: str, places: list[int], other_first: bool
) -> None:
    """Content, reasoning and a call's arguments come out whole, and choices in order, however they are interleaved."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    first = [chunk({"role": "assistant", "content": None}), chunk({"tool_calls": [call]})]
    pieces = [
        *(chunk({"reasoning_content": piece}) for piece in cut_at(reasoning, places)),
        *(chunk({"content": piece}) for piece in cut_at(content, places)),
        *(
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            for piece in cut_at(arguments, places)
        ),
        chunk({}, finish_reason="stop"),
    ]
    other = [chunk({"role": "assistant", "content": "!"}, index=1), chunk({}, index=1, finish_reason="length")]
    answer = assembled([*other, *first, *pieces] if other_first else [*first, *pieces, *other])
    assert answer["object"] == "chat.completion"
    assert answer["usage"] == USAGE
    assert [(c["index"], c["finish_reason"]) for c in answer["choices"]] == [(0, "stop"), (1, "length")]  # type: ignore[attr-defined]
    got = message(answer)
    assert got.get("reasoning_content", "") == reasoning
    assert (got["content"] or "") == content
    assert got["tool_calls"] == [{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]


def test_calls_are_told_apart_by_their_index() -> None:
    """Two calls, whose parts alternate; a name that is repeated is not doubled."""
    parts = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "["}},
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}},
        {"index": 1, "function": {"arguments": "]"}},
    ]
    answer = assembled([chunk({"tool_calls": [part]}) for part in parts])
    assert message(answer)["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "[]"}},
    ]


def test_content_is_null_only_where_calls_are() -> None:
    """An answer of no tokens is an empty text."""
    begin = chunk({"role": "assistant", "content": None})
    assert message(assembled([begin]))["content"] == ""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    assert message(assembled([begin, chunk({"tool_calls": [call]})]))["content"] is None


def test_logprobs_of_all_chunks_are_joined() -> None:
    """Lists are joined; a null between them takes nothing away."""
    answer = assembled(
        [
            chunk({"content": "a"}, logprobs={"content": [1]}),
            chunk({}, logprobs=None),
            chunk({"content": "b"}, logprobs={"content": [2]}, finish_reason="stop"),
        ]
    )
    assert answer["choices"][0]["logprobs"] == {"content": [1, 2]}  # type: ignore[index]


def test_completions_are_joined_too() -> None:
    """The older API's chunks look like its answers; ``object`` stays."""
    head: Json = {"id": "1", "object": "text_completion"}
    pieces: list[Json] = [
        {**head, "choices": [{"index": 0, "text": "a", "logprobs": None, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "text": "b", "logprobs": None, "finish_reason": "stop"}]},
    ]
    assert assembled(pieces) == {
        **head,
        "choices": [{"index": 0, "text": "ab", "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
    }


TIMINGS = {"prompt_n": 3, "prompt_ms": 500.0, "predicted_n": 2, "predicted_ms": 250.0}
LLAMA_USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 2}}


def test_what_only_llama_says_is_not_retold() -> None:
    """Timings, progress, usage and a lone null are kept back; the name is the client's; later runs share the id."""
    told = ChunkRewriter("mine", 0, legacy=False)
    told.run(0, same_prompt=False)
    assert told.chunk(None) is None
    assert told.chunk({**chunk({"content": None}), "prompt_progress": {"total": 5}, "timings": TIMINGS}) is None
    first = {"role": "assistant", "content": "a"}
    assert told.chunk({**chunk(first), "model": "/a/path", "timings": TIMINGS}) == {
        **chunk(first),
        "model": "mine",
    }
    assert not told.finished
    assert told.chunk({**HEAD, "choices": [], "usage": LLAMA_USAGE, "timings": TIMINGS}) is None
    told.run(1, same_prompt=True)
    other = {"role": "assistant", "content": "b"}
    second = told.chunk({**chunk(other, finish_reason="stop"), "id": "chatcmpl-2", "created": 8})
    assert second == {**chunk(other, index=1, finish_reason="stop"), "model": "mine"}
    assert told.finished


def test_usage_counts_all_choices_and_a_shared_prompt_once() -> None:
    """Done counts what was computed, without what the cache held."""
    told = ChunkRewriter("mine", 0, legacy=False)
    for number in range(2):
        told.run(number, same_prompt=number > 0)
        told.chunk({**HEAD, "choices": [], "usage": dict(LLAMA_USAGE), "timings": TIMINGS})
    assert told.usage() == {
        "prompt_tokens": 5,
        "completion_tokens": 4,
        "total_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    assert told.cost() == ComputeCost(6, 4, 1.0, 0.5)


def test_nothing_computed_is_nothing_done() -> None:
    """A request that was refused costs nothing."""
    told = ChunkRewriter("mine", 0, legacy=False)
    told.run(0, same_prompt=False)
    assert told.cost() is None


def test_legacy_logprobs_have_the_older_form() -> None:
    """Tokens, their logprobs, as many alternatives as were asked for, and offsets that go on from chunk to chunk."""
    token = {"token": " ab", "logprob": -1.0, "top_logprobs": [{"token": "x", "logprob": -2.0}, {"token": "y"}]}
    raw: Json = {"choices": [{"index": 0, "text": " ab", "logprobs": {"content": [token]}, "finish_reason": None}]}
    told = ChunkRewriter("mine", 1, legacy=True)
    told.run(0, same_prompt=False)
    told.chunk(copy.deepcopy(raw))
    second = told.chunk(raw)
    assert second is not None
    assert second["choices"][0]["logprobs"] == {  # type: ignore[index]
        "tokens": [" ab"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{"x": -2.0}],
        "text_offset": [3],
    }


def test_a_prompt_that_is_too_long_has_its_code() -> None:
    """The numbers of tokens are in the message."""
    error = from_error_object(
        {"type": "exceed_context_size_error", "code": 400, "n_prompt_tokens": 9000, "n_ctx": 512}, {"prompt": ""}
    )
    assert (error.status, error.param, error.code) == (400, "prompt", "context_length_exceeded")
    assert "9000" in error.message
    assert "512" in error.message


@pytest.mark.parametrize(
    ("message", "params", "param"),
    [
        ("Field 'top_k': [json.exception.type_error.302] type must be number", {"top_k"}, "top_k"),
        ("failed to parse grammar", {"response_format"}, "response_format"),
        ("failed to parse grammar", {"grammar", "response_format"}, "grammar"),
        ("Failed to parse messages: Missing 'role' in message", {"messages", "tools"}, "messages"),
        ("something else", {"messages"}, None),
        ("failed to parse grammar", {"messages"}, None),
    ],
)
def test_only_parameters_that_were_sent_are_named(message: str, params: set[str], param: str | None) -> None:
    """llama.cpp's words are kept without its library's noise."""
    error = from_message(message, params)
    assert (error.status, error.param) == (400, param)
    assert "json.exception" not in error.message


@pytest.mark.parametrize("error", [None, "text", {"code": 500, "message": "at /some/path"}, {}])
def test_an_inner_failure_tells_nothing_of_the_inside(error: object) -> None:
    """500, with words of our own."""
    told = from_error_object(error, {"messages"})
    assert (told.status, told.code) == (500, "engine_error")
    assert "path" not in told.message


USER = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"messages": USER, "stream": "yes"}, "stream"),
        ({"messages": USER, "n": 0}, "n"),
        ({"messages": USER, "max_tokens": 0}, "max_tokens"),
        ({"messages": USER, "max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"messages": USER, "temperature": "x"}, "temperature"),
        ({"messages": USER, "stop": [""]}, "stop[0]"),
        ({"messages": USER, "logit_bias": "x"}, "logit_bias"),
        ({"messages": USER, "top_logprobs": 2}, "top_logprobs"),
        ({"messages": USER, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"messages": USER, "tools": "x"}, "tools"),
        ({"messages": USER, "tools": [{}], "tool_choice": "required"}, "tool_choice"),
        ({"messages": USER, "response_format": "json"}, "response_format"),
        ({"messages": USER, "response_format": {"type": "x"}}, "response_format.type"),
        ({"messages": USER, "response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"messages": USER, "response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            "response_format.json_schema.schema",
        ),
    ],
)
def test_a_wrong_chat_parameter_is_named(body: Json, param: str) -> None:
    """Types, bounds, and what this engine cannot do: each is a 400 that names the place."""
    with pytest.raises(EngineError) as caught:
        chat_plan({"model": "m", **body}, has_tools=False)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": "a", "echo": True}, "echo"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": "a", "logprobs": True}, "logprobs"),
    ],
)
def test_a_wrong_completion_parameter_is_named(body: Json, param: str) -> None:
    """As for chats."""
    with pytest.raises(EngineError) as caught:
        completion_plan({"model": "m", **body})
    assert (caught.value.status, caught.value.param) == (400, param)


def test_nulls_are_as_if_they_were_not_there() -> None:
    """Every optional parameter may be null."""
    names = ["stop", "tools", "tool_choice", "response_format", "logprobs", "top_logprobs", "logit_bias", "n", "seed"]
    plan = chat_plan({"model": "m", "messages": USER, **dict.fromkeys(names)}, has_tools=False)
    (ask,) = plan.requests()
    assert not any(f'"{name}":null' in ask for name in names)


def test_what_is_nested_too_deeply_is_refused() -> None:
    """A schema that would exhaust the stack of a recursive reader does not reach one."""
    schema: Json = {}
    for _ in range(400):
        schema = {"properties": {"a": schema}}
    asked: Json = {"type": "json_schema", "json_schema": {"schema": schema}}
    with pytest.raises(EngineError):
        chat_plan({"model": "m", "messages": USER, "response_format": asked}, has_tools=False)


def test_every_choice_has_a_seed_of_its_own() -> None:
    """``n`` answers with one seed would be ``n`` times the same; two requests with the same seed are the same."""
    body: Json = {"model": "m", "messages": USER, "n": 3, "seed": 5}
    asks = list(chat_plan(body, has_tools=False).requests())
    assert [f'"seed":{seed}' in ask for seed, ask in zip((5, 6, 7), asks, strict=True)] == [True] * 3
