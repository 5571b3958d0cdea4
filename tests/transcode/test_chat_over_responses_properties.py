"""Any legal stream, cut anywhere and with any events left out, gives a chat client the content of the provider.

Legal streams of events are those that the other direction makes of legal chat streams: so each property is a round
trip, and both directions are held against each other. And anything at all has exactly one honest end.
"""

from __future__ import annotations

import json
from typing import Any

import orjson
from chat_streams import JSON, PLACES, Stream, streams, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reverse_helpers import DONE, Json, check_chunks, collected, filtered, heard, read, sse, told
from support.pieces import cut_at
from support.responses_oracle import events_of
from support.transcoding import answer_context, translate, whole

from onwards_py.messages import Ending
from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.policy import InvalidRequest, OnUnsupported, Orphans, Policy
from onwards_py.transcode.pairs import Translated, to_responses

CONTEXT = answer_context()
WITH_LOGPROBS = answer_context(include=["message.output_text.logprobs"])
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow])
ENDINGS = st.sampled_from(list(Ending))
CUT_SHORT = ("length", "content_filter")


def answers(stream: Stream, heard_: Json) -> None:
    """The client got the content of the acts of the stream."""
    for name, kind in (("content", "text"), ("refusal", "refusal")):
        assert heard_[name] == stream.joined(kind)
    paragraphs = str(heard_["reasoning_content"])
    assert paragraphs.replace("\n", "") == stream.joined("reasoning").replace("\n", "")
    expected = [(call.id, call.name, call.arguments) for call in stream.calls]
    if stream.finish in CUT_SHORT:
        assert heard_["finish"] == stream.finish
    else:
        expected = [(id_, name, arguments or "{}") for id_, name, arguments in expected]
        assert heard_["finish"] == ("tool_calls" if expected else "stop")
        assert heard_["calls"] == expected
    usage: Any = heard_["usage"]
    assert usage["total_tokens"] == (18 if stream.usage else 0)
    assert usage["prompt_tokens_details"]["cached_tokens"] == (3 if stream.usage else 0)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == (2 if stream.usage else 0)


def events(stream: Stream) -> list[Json]:
    """The stream as events of the Responses API."""
    raw = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in stream.chunks) + DONE
    return events_of(translate(raw, CONTEXT, Ending.DONE))


@PATIENT
@given(st.data(), streams(), PLACES)
def test_the_round_trip_says_the_same(data: st.DataObject, stream: Stream, places: list[int]) -> None:
    """Chat stream to events to chat stream: text, refusal, calls, finish reason and usage are what they were."""
    raw = translate(data.draw(written(stream.chunks)), CONTEXT, Ending.DONE)
    out = filtered(cut_at(raw, places))
    assert out.endswith(DONE)
    check_chunks(read(out))
    answers(stream, heard(read(out)))


@PATIENT
@given(streams(), PLACES)
def test_G21_whole_and_streamed_answers_reach_clients_that_asked_for_the_other(
    stream: Stream, places: list[int]
) -> None:
    """A JSON body for a client that streams becomes chunks; a stream for one that does not becomes a body."""
    resource = whole(stream.whole(), CONTEXT)
    body = orjson.dumps(resource)
    assert heard(read(filtered(cut_at(body, places)))) == told(orjson.loads(collected(cut_at(body, places)).body))
    raw = sse(events(stream))
    assert heard(read(filtered([raw]))) == told(orjson.loads(collected(cut_at(raw, places)).body))


@PATIENT
@given(st.data(), streams())
def test_log_probabilities_survive_the_round_trip(data: st.DataObject, stream: Stream) -> None:
    """Each chunk has the tokens of its delta, and no token is repeated."""
    stream = data.draw(streams(logprobs=True))
    raw = translate(data.draw(written(stream.chunks)), WITH_LOGPROBS, Ending.DONE)
    out = heard(read(filtered([raw], context=ChatContext("m", wants_logprobs=True))))
    expected = [{**token, "bytes": token["bytes"] or []} for token in stream.logprobs]
    assert out.get("logprobs", []) == expected


_LEFT_OUT = (
    {"response.output_item.added", "response.content_part.added"},
    {"response.created", "response.in_progress"},
    {"response.output_item.done", "response.content_part.done"},
    {"response.output_text.done", "response.refusal.done", "response.reasoning_summary_text.done"},
    {"response.function_call_arguments.done"},
    {"deltas"},
)


@PATIENT
@given(streams(), st.sets(st.sampled_from(range(len(_LEFT_OUT)))), st.sampled_from(["kept", "gone", "changing"]))
def test_events_may_be_left_out(stream: Stream, left: set[int], ids: str) -> None:
    """A1-A3, A28: without beginnings, ends or deltas, and with changed ids, the content is the same."""
    kinds = set().union(*(_LEFT_OUT[number] for number in left))
    kept = [
        _with_ids(event, ids, number)
        for number, event in enumerate(events(stream))
        if event["type"] not in kinds and not ("deltas" in kinds and str(event["type"]).endswith(".delta"))
    ]
    out = read(filtered([sse(kept)]))
    check_chunks(out)
    heard_ = heard(out)
    answers(stream, {**heard_, "calls": _by_id(stream, heard_["calls"])})


def _by_id(stream: Stream, calls: Any) -> list[object]:
    """Calls in the order of the stream; without their beginnings, in the order of their ends."""
    order = [call.id for call in stream.calls]
    return sorted(calls, key=lambda call: order.index(call[0]))


def _with_ids(event: Json, ids: str, number: int) -> Json:
    """The event with the ids of items gone, or different in each event."""
    if ids == "kept":
        return event
    changed = dict(event)
    if "item_id" in changed:
        changed["item_id"] = f"x{number}"
    if isinstance(item := changed.get("item"), dict):
        changed["item"] = {**item, "id": f"x{number}"}
    if ids == "gone":
        changed.pop("item_id", None)
    return changed


@PATIENT
@given(streams())
def test_A20_the_streamed_items_count_where_the_final_output_is_empty(stream: Stream) -> None:
    """``response.completed`` with no output after items that streamed."""
    all_ = events(stream)
    last: Any = dict(all_[-1])
    last["response"] = {**last["response"], "output": []}
    answers(stream, heard(read(filtered([sse([*all_[:-1], last])]))))


@PATIENT
@given(st.data(), streams())
def test_a_stream_that_breaks_off_is_never_presented_as_a_whole_one(data: st.DataObject, stream: Stream) -> None:
    """Cut at any byte: an error, no finish reason, no ``[DONE]``, and a prefix of the content."""
    raw = sse(events(stream))
    terminal = raw.rindex(b"event: ")
    out = filtered([raw[: data.draw(st.integers(0, terminal))]], data.draw(ENDINGS))
    assert not out.endswith(DONE)
    heard_ = heard(read(out))
    assert set(heard_["error"]) == {"message", "type", "param", "code"}
    assert heard_["finish"] is None
    assert stream.joined("text").startswith(str(heard_["content"]))


_TYPES = (
    *("output_item.added", "output_item.done", "content_part.added", "content_part.done", "output_text.delta"),
    *("output_text.done", "output_text.annotation.added", "refusal.delta", "refusal.done", "reasoning.delta"),
    *("reasoning_text.delta", "reasoning_text.done", "reasoning_summary_part.added", "reasoning_summary_part.done"),
    *("reasoning_summary_text.delta", "reasoning_summary_text.done", "function_call_arguments.delta"),
    *("function_call_arguments.done", "custom_tool_call_input.delta", "custom_tool_call_input.done", "created"),
    *("completed", "incomplete", "failed", "cancelled", "in_progress", "web_search_call.completed", "x"),
)
_ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "web_search_call"]) | JSON},
    optional={
        "id": JSON | st.sampled_from(["a", "b"]),
        "call_id": JSON | st.sampled_from(["c", "d"]),
        "name": JSON | st.just("f"),
        "arguments": JSON,
        "input": JSON,
        "encrypted_content": JSON,
        **{
            name: JSON
            | st.lists(
                st.fixed_dictionaries(
                    {"type": st.sampled_from(["output_text", "refusal", "summary_text", "reasoning_text"])},
                    optional=dict.fromkeys(("text", "refusal", "annotations", "logprobs"), JSON | st.text(max_size=3)),
                ),
                max_size=2,
            )
            for name in ("content", "summary")
        },
    },
)
_RESPONSE = st.fixed_dictionaries(
    {},
    optional={
        "output": JSON | st.lists(_ITEM | JSON, max_size=3),
        "usage": JSON | st.dictionaries(st.sampled_from(["input_tokens", "total_tokens", "x"]), JSON),
        **dict.fromkeys(("status", "error", "incomplete_details", "model", "service_tier", "object"), JSON),
    },
)
_EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from([f"response.{type_}" for type_ in _TYPES]) | JSON},
    optional={
        "item": JSON | _ITEM,
        "part": JSON | _ITEM,
        "response": JSON | _RESPONSE,
        "delta": JSON | st.text(max_size=3),
        "item_id": JSON | st.sampled_from(["a", "b"]),
        **dict.fromkeys(("output_index", "content_index", "summary_index"), JSON | st.integers(0, 1)),
        **dict.fromkeys(("text", "refusal", "arguments", "name", "annotation", "logprobs", "code", "message"), JSON),
    },
)


@PATIENT
@given(st.lists(_EVENT, max_size=6), st.booleans(), ENDINGS, PLACES)
def test_anything_has_exactly_one_honest_end(
    events_: list[Json], done: bool, ending: Ending, places: list[int]
) -> None:
    """Any JSON value in any place: chunks that clients can read, then a finish reason with ``[DONE]``, or an error."""
    frames = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events_) + DONE * done
    out = filtered(cut_at(frames, places), ending)
    told_ = read(out)
    check_chunks(told_)
    assert ("error" in told_[-1]) is not out.endswith(DONE)


@PATIENT
@given(_RESPONSE | st.dictionaries(st.text(max_size=5), JSON))
def test_any_body_gives_a_completion_or_an_error(body: Json) -> None:
    """Whole answers, too."""
    answer = collected([json.dumps(body).encode()])
    assert ("error" in orjson.loads(answer.body)) is (answer.status != 200)


_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "file", "input_audio", "video_url", "refusal", "x"])},
    optional=dict.fromkeys(("text", "image_url", "file", "input_audio", "video_url", "refusal"), JSON),
)
_CALL = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON | st.just("c"),
        **{
            name: JSON | st.fixed_dictionaries({}, optional={"name": JSON | st.just("f"), "arguments": JSON})
            for name in ("function", "custom")
        },
    },
)
_ROLES = ["system", "developer", "user", "assistant", "tool", "function"]
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(_ROLES) | JSON},
    optional={
        "content": JSON | st.text(max_size=3) | st.lists(_PART | JSON, max_size=2),
        "tool_calls": JSON | st.lists(_CALL | JSON, max_size=2),
        "tool_call_id": JSON | st.just("c"),
        "reasoning_details": JSON | st.lists(_CALL | JSON, max_size=2),
        **dict.fromkeys(("name", "function_call", "refusal", "audio", "reasoning_content"), JSON | st.just("f")),
    },
)
_FIELDS = (
    *("tools", "functions", "tool_choice", "function_call", "response_format", "max_tokens", "max_completion_tokens"),
    *("temperature", "presence_penalty", "reasoning_effort", "verbosity", "stream", "stream_options", "logprobs"),
    *("top_logprobs", "store", "metadata", "n", "stop", "seed", "logit_bias", "modalities", "prediction", "input"),
    *("web_search_options", "include", "reasoning", "text", "instructions", "background", "parallel_tool_calls"),
)
_REQUEST = st.fixed_dictionaries(
    {"model": st.just("m")},
    optional={"messages": JSON | st.lists(_MESSAGE | JSON, max_size=4), **dict.fromkeys(_FIELDS, JSON)},
)


@PATIENT
@given(_REQUEST, st.sampled_from(list(PRESETS)), st.sampled_from(list(OnUnsupported)), st.sampled_from(list(Orphans)))
def test_any_request_is_translated_or_refused(
    request: Json, preset: str, on_unsupported: OnUnsupported, orphans: Orphans
) -> None:
    """Any JSON value in any place of a request: what comes out can be written, or the field at fault is named."""
    made = _made(request, preset, Policy(on_unsupported=on_unsupported, orphans=orphans))
    if isinstance(made, InvalidRequest):
        assert made.param
        assert made.message
    else:
        assert isinstance(made.body["input"], list)
        json.dumps(made.body)


def _made(request: Json, preset: str, policy: Policy) -> Translated[ChatContext] | InvalidRequest:
    try:
        return to_responses(request, PRESETS[preset], policy)
    except InvalidRequest as refused:
        return refused


@PATIENT
@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "system"])},
            optional={"content": st.text(max_size=3) | st.lists(_PART, max_size=2) | st.none()},
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(list(PRESETS)),
)
def test_the_short_way_of_plain_messages_is_the_long_one(messages: list[Json], preset: str) -> None:
    """A member that is null has no effect."""
    made = _made({"model": "m", "messages": messages}, preset, Policy())
    longer = _made({"model": "m", "messages": [{**one, "name": None} for one in messages]}, preset, Policy())
    if isinstance(made, InvalidRequest) or isinstance(longer, InvalidRequest):
        assert str(made) == str(longer)
    else:
        assert made == longer
