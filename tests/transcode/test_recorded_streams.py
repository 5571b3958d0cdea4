"""Streams of a dozen provider dialects become the events that were blessed, and keep every promise.

The streams are made from the documented shapes. To bless a wanted change, and read the difference::

    PYTHONPATH=tests python -m support.recorded
"""

from __future__ import annotations

import pytest
from support import recorded
from support.responses_oracle import check_wire, events_of
from support.responses_promises import Json, as_dict, as_list
from support.responses_readers import openai_stream_text, openresponses_final
from support.transcoding import PlainSealer, allowance_of, translate, translate_pieces

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.pairs import to_chat

NAMES = recorded.names()
FAILED = {
    "deepseek-insufficient-resource",
    "generic-cut-early-finishes",
    "generic-never-a-name",
    "generic-not-json",
    "generic-nothing-but-done",
    "llamacpp-error-number",
    "openai-cut",
    "openai-cut-in-call",
    "openai-error-chunk",
    "openrouter-error-chunk",
    "openrouter-error-first",
    "vllm-error-object",
}
INCOMPLETE = {
    "deepseek-reasoning-only-length",
    "generic-half-arguments",
    "generic-length-in-call",
    "mistral-model-length",
    "openai-content-filter",
    "openai-length",
}


def translated(name: str) -> bytes:
    return translate(recorded.stream(name), recorded.context(name), recorded.ending(name))


def final(name: str) -> Json:
    return as_dict(events_of(translated(name))[-1]["response"])


def test_there_are_streams_of_ten_dialects() -> None:
    """At least ten dialects are recorded, and each stream has its expectation."""
    assert len({name.partition("-")[0] for name in NAMES}) >= 10
    assert sorted(file.stem for file in recorded.STREAMS.glob("*.json")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_stream_becomes_the_blessed_events(name: str) -> None:
    """Event for event, with ids from a counter and fixed times.

    The oracle finds no fault with them, and the status is the one that this file gives, not only the blessed one.
    """
    assert recorded.shown(translated(name)) == recorded.expected(name)
    assert check_wire(translated(name), allowance_of(recorded.context(name))) == []
    wanted = "failed" if name in FAILED else "incomplete" if name in INCOMPLETE else "completed"
    assert final(name)["status"] == wanted


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_stream_byte_by_byte_is_the_same(name: str) -> None:
    """G20: wherever the reads cut, also inside characters and line ends, the bytes that leave are the same."""
    raw = recorded.stream(name)
    pieces = [raw[at : at + 1] for at in range(len(raw))]
    assert translate_pieces(pieces, recorded.context(name), recorded.ending(name)) == translated(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_stream_cut_anywhere_has_one_honest_end(name: str) -> None:
    """G6: broken off after any event, the events still keep every promise; completed only if the end was known."""
    raw, context = recorded.stream(name), recorded.context(name)
    for at in [place for place in range(len(raw)) if raw[place : place + 5] == b"data:"][1:]:
        out = translate(raw[:at], context, Ending.RESET)
        assert check_wire(out, allowance_of(context)) == []
        if b'"finish_reason":"' not in raw[:at]:
            assert events_of(out)[-1]["type"] == "response.failed"


@pytest.mark.parametrize("name", NAMES)
def test_real_clients_read_a_recorded_stream(name: str) -> None:
    """The openai SDK's helper gets the text; the strict client gets the same final response."""
    raw = translated(name)
    parts = [part for item in as_list(final(name)["output"]) for part in as_list(as_dict(item).get("content"))]
    text = "".join(str(as_dict(part)["text"]) for part in parts if as_dict(part)["type"] == "output_text")
    if name in FAILED:  # the text that was cut is in no item
        text = "".join(str(one["delta"]) for one in events_of(raw) if one["type"] == "response.output_text.delta")
    assert openai_stream_text(raw) == text
    if allowance_of(recorded.context(name)).profile == "openresponses":
        assert openresponses_final(raw).status == final(name)["status"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FAILED | INCOMPLETE])
def test_D23_a_client_can_send_back_what_it_got(name: str) -> None:
    """The output of every stream is taken as input of the next turn, with its calls answered."""
    output = [as_dict(item) for item in as_list(final(name)["output"])]
    calls = [item for item in output if "call_id" in item]
    answers = [
        {"type": str(call["type"]) + "_output", "call_id": call["call_id"], "output": "done"}
        if call["type"] == "function_call"
        else {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "done"}
        for call in calls
    ]
    question = {"role": "user", "content": "x"}
    turn = {"model": "m", "input": [question, *output, *answers, question]}
    messages = to_chat(turn, recorded.quirks(name), Policy()).body["messages"]
    assert isinstance(messages, list)
    assert [message["role"] for message in messages if message["role"] == "tool"] == ["tool"] * len(calls)
    assert messages[0]["role"] == messages[-1]["role"] == "user"


def test_nothing_of_a_provider_leaks_into_ids_or_errors() -> None:
    """A4: items have ids of our own; what a provider says about its inside is not repeated to clients by default."""
    for name in NAMES:
        out = translated(name)
        assert b"sk-or-v1" not in out
        assert b"10.0.0.7" not in out
        assert b'"id":"chatcmpl' not in out


def sent_back(name: str) -> list[Json]:
    """The provider's messages of the next turn, in which a client that keeps no state returns all it got."""
    output = [as_dict(item) for item in as_list(final(name)["output"])]
    answers = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "22"}
        for item in output
        if item["type"] == "function_call"
    ]
    turn = {"model": "m", "input": [{"role": "user", "content": "x"}, *output, *answers]}
    return [
        as_dict(message)
        for message in as_list(to_chat(turn, recorded.quirks(name), Policy(sealer=PlainSealer())).body["messages"])
    ]


@pytest.mark.parametrize(
    ("name", "details"),
    [
        (
            "openrouter-reasoning-details",
            [{"type": "reasoning.text", "text": "Let me compute.", "signature": "Et8BCmUIDxgC"}],
        ),
        (
            "openrouter-late-signature",
            [{"type": "reasoning.text", "text": "Look it up.", "signature": "Et8BCmUIDxgC"}],
        ),
        (
            "openrouter-encrypted-with-call",
            [{"type": "reasoning.encrypted", "data": "CiQB0e2KbxYZ", "id": "tool_0_get_weather"}],
        ),
        (
            "openrouter-summary-details",
            [
                {"type": "reasoning.summary", "summary": "**Weighing**"},
                {"type": "reasoning.encrypted", "data": "gAAAAABo", "id": "rs_0b"},
            ],
        ),
    ],
)
def test_D14_opaque_reasoning_goes_back_whole_to_the_provider_that_said_it(name: str, details: list[Json]) -> None:
    """A client that keeps no state returns the sealed items; fragments and late signatures are one piece again."""
    given = [as_dict(detail) for message in sent_back(name) for detail in as_list(message.get("reasoning_details"))]
    places = {"format", "index"}
    assert [{key: value for key, value in detail.items() if key not in places} for detail in given] == details


def test_D14_a_signature_goes_back_with_its_call() -> None:
    """Gemini refuses the next turn without the signature that it gave to the first call."""
    calls = [
        as_dict(call)
        for message in sent_back("gemini-calls-without-index")
        for call in as_list(message.get("tool_calls"))
    ]
    assert [call["id"] for call in calls] == ["function-call-17", "function-call-18"]
    assert calls[0]["extra_content"] == {"google": {"thought_signature": "EjQKMgEMOdbHJChLX75Q"}}
