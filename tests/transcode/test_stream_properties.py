"""Any legal chat stream, however it is ordered, written and cut, keeps every promise and adds up to the whole answer.

And anything at all, down to random bytes, has exactly one honest end.
"""

from __future__ import annotations

import json

from chat_streams import PLACES, Stream, strange_chunks, streams, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pieces import cut_at
from support.responses_oracle import check_resource, check_wire, events_of
from support.responses_promises import Json, as_dict, as_list
from support.transcoding import answer_context, collect_pieces, translate, translate_pieces, whole

from onwards_py.messages import Ending

CONTEXT = answer_context()
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow])
WITH_LOGPROBS = answer_context(include=["message.output_text.logprobs"])
ENDINGS = st.sampled_from(list(Ending))
_TERMINALS = ("response.completed", "response.incomplete", "response.failed")


def final(raw: bytes) -> Json:
    return as_dict(events_of(raw)[-1]["response"])


def said(output: object) -> Json:
    """What the items of an output say, apart from how they are divided."""
    items = [as_dict(item) for item in as_list(output)]
    parts = [as_dict(part) for item in items if item["type"] == "message" for part in as_list(item["content"])]
    thoughts = [as_dict(part) for item in items if item["type"] == "reasoning" for part in as_list(item["summary"])]
    return {
        "reasoning": "".join(str(part["text"]) for part in thoughts),
        "text": "".join(str(part["text"]) for part in parts if part["type"] == "output_text"),
        "refusal": "".join(str(part["refusal"]) for part in parts if part["type"] == "refusal"),
        "calls": [(i["call_id"], i["name"], i["arguments"] or "{}") for i in items if i["type"] == "function_call"],
        "logprobs": [token for part in parts if part["type"] == "output_text" for token in as_list(part["logprobs"])],
    }


def without_ids(output: object) -> list[Json]:
    return [{key: value for key, value in as_dict(item).items() if key != "id"} for item in as_list(output)]


def honest(raw: bytes) -> None:
    """All promises kept; one terminal, and it is the last event."""
    assert check_wire(raw) == []
    assert [event["type"] for event in events_of(raw) if event["type"] in _TERMINALS] == [events_of(raw)[-1]["type"]]


@PATIENT
@given(st.data(), streams(), PLACES)
def test_a_legal_stream_keeps_every_promise_and_says_what_the_chunks_said(
    data: st.DataObject, stream: Stream, places: list[int]
) -> None:
    """Nothing of reasoning, text, refusal and calls is lost, doubled or mixed up, and the end is the one given."""
    raw = data.draw(written(stream.chunks))
    out = translate_pieces(cut_at(raw, places), CONTEXT, Ending.DONE)
    honest(out)
    body = final(out)
    heard = said(body["output"])
    for kind in ("reasoning", "text", "refusal"):
        assert heard[kind] == stream.joined(kind)
    expected = [(call.id, call.name, call.arguments or "{}") for call in stream.calls]
    assert sorted(as_list(heard["calls"]), key=str) == sorted(expected, key=str)
    if stream.finish not in ("length", "content_filter"):
        assert body["status"] == "completed"
        assert heard["calls"] == expected
    else:
        assert body["status"] == "incomplete"
    assert as_dict(body["usage"])["total_tokens"] == (18 if stream.usage else 0)


@PATIENT
@given(streams())
def test_a_stream_adds_up_to_the_whole_answer(stream: Stream) -> None:
    """A14: what is streamed and what is answered whole differ in nothing but ids and times."""
    raw = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in stream.chunks) + b"data: [DONE]\n\n"
    streamed, answered = final(translate(raw, CONTEXT, Ending.DONE)), whole(stream.whole(), CONTEXT)
    assert check_resource(answered) == []
    if stream.in_order:
        assert without_ids(streamed["output"]) == without_ids(answered["output"])
    else:
        assert said(streamed["output"]) == said(answered["output"])
    rest = {"id", "output", "created_at", "completed_at"}
    assert {k: v for k, v in streamed.items() if k not in rest} == {k: v for k, v in answered.items() if k not in rest}


@PATIENT
@given(st.data(), streams(), PLACES, ENDINGS)
def test_G21_a_stream_collected_for_a_client_that_did_not_ask_for_one_is_its_last_response(
    data: st.DataObject, stream: Stream, places: list[int], ending: Ending
) -> None:
    """The same response as a body, or an error status with the envelope if it failed."""
    raw = data.draw(written(stream.chunks, done=data.draw(st.booleans())))
    streamed = final(translate(raw, CONTEXT, ending))
    answer = collect_pieces(cut_at(raw, places), CONTEXT, ending)
    if streamed["status"] != "failed":
        assert (answer.status, json.loads(answer.body)) == (200, streamed)
    else:
        assert answer.status >= 400
        error = as_dict(json.loads(answer.body)["error"])
        assert set(error) == {"message", "type", "param", "code"}
        assert {key: error[key] for key in ("code", "message")} == streamed["error"]


@PATIENT
@given(streams(), PLACES)
def test_G21_a_whole_answer_to_a_client_that_streams_becomes_events(stream: Stream, places: list[int]) -> None:
    """A provider that ignores ``stream``: its JSON body is told in events with the same outcome."""
    raw = json.dumps(stream.whole(), indent=1).encode()
    out = translate_pieces(cut_at(raw, places), CONTEXT, Ending.DONE)
    honest(out)
    assert final(out) == whole(stream.whole(), CONTEXT)


@PATIENT
@given(st.data(), streams(logprobs=True))
def test_log_probabilities_are_those_of_the_chunks(data: st.DataObject, stream: Stream) -> None:
    """Each text delta has the tokens of its chunk; they add up, and null bytes became an empty array."""
    out = translate(data.draw(written(stream.chunks)), WITH_LOGPROBS, Ending.DONE)
    honest(out)
    expected = [{**token, "bytes": token["bytes"] or []} for token in stream.logprobs]
    assert said(final(out)["output"])["logprobs"] == expected


@PATIENT
@given(st.data(), streams())
def test_a_stream_that_breaks_off_is_never_presented_as_a_whole_one(data: st.DataObject, stream: Stream) -> None:
    """Cut short at any byte: one terminal, failed unless the finish reason was there, and a prefix of the answer."""
    raw = data.draw(written(stream.chunks))
    at = data.draw(st.integers(0, len(raw) - 1))
    out = translate(raw[:at], CONTEXT, data.draw(st.sampled_from([Ending.EOF, Ending.RESET, Ending.IDLE])))
    honest(out)
    body = final(out)
    if f'"finish_reason": "{stream.finish}"'.encode() not in raw[:at]:
        assert body["status"] == "failed"
    heard = said(body["output"])
    for kind in ("reasoning", "text", "refusal"):
        assert stream.joined(kind).startswith(str(heard[kind]))


@PATIENT
@given(st.binary(max_size=300), PLACES, ENDINGS)
def test_random_bytes_have_one_honest_end(raw: bytes, places: list[int], ending: Ending) -> None:
    """Nothing in them is an answer, so it failed."""
    out = translate_pieces(cut_at(raw, places), CONTEXT, ending)
    honest(out)
    assert final(out)["status"] == "failed"


@PATIENT
@given(st.data(), streams(), st.binary(max_size=20), PLACES, ENDINGS)
def test_a_damaged_stream_has_one_honest_end(
    data: st.DataObject, stream: Stream, junk: bytes, places: list[int], ending: Ending
) -> None:
    """Bytes replaced by others somewhere in a legal stream."""
    raw = data.draw(written(stream.chunks))
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 50)))
    honest(translate_pieces(cut_at(raw[:start] + junk + raw[stop:], places), CONTEXT, ending))


@PATIENT
@given(strange_chunks(), st.booleans(), ENDINGS)
def test_any_value_in_any_place_has_one_honest_end(chunks: list[Json], done: bool, ending: Ending) -> None:
    """Chunks whose members are anything that JSON can say."""
    frames = [json.dumps(chunk, allow_nan=True) for chunk in chunks] + ["[DONE]"] * done
    honest(translate("".join(f"data: {frame}\n\n" for frame in frames).encode(), CONTEXT, ending))


@PATIENT
@given(strange_chunks())
def test_any_value_in_any_place_of_a_whole_answer_gives_a_valid_one(chunks: list[Json]) -> None:
    """The same for answers that are not streamed: ``delta`` becomes ``message``."""
    for chunk in chunks:
        choices = [
            {**as_dict(choice), "message": as_dict(choice).get("delta")} for choice in as_list(chunk.get("choices"))
        ]
        for answer in (chunk, {**chunk, "choices": choices}):
            assert check_resource(whole(json.loads(json.dumps(answer)), CONTEXT)) == []
