"""Bytes in, bytes out: streams and bodies in each of the four combinations, with failures where they belong."""

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_helpers import PLAIN, call, delta, final, text, thought, usage
from support.responses_oracle import check_resource, check_wire, events_of
from support.responses_promises import Json
from support.transcoding import CountingIds, clock

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.machine import Machine
from onwards_py.transcode.neutral.pipeline import AnswerBody as ChatBody
from onwards_py.transcode.neutral.pipeline import AnswerCollector, ClientResponse, EventFilter, KeepAlive
from onwards_py.transcode.pairs import responses_over_chat

CHUNKS = [
    delta(role="assistant", content=""),
    thought("hm"),
    text("é"),
    call(0, "c", "get_time", "{}"),
    delta("stop"),
    usage(3, 4),
]
DONE = b"data: [DONE]\n\n"
WHOLE: Json = {
    "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}


NAMES = [
    *("choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "index", "id", "usage"),
    *(
        "error",
        "reasoning",
        "text",
        "type",
        "finish_reason",
        "logprobs",
        "refusal",
        "annotations",
        "url_citation",
        "url",
    ),
    *("reasoning_details", "function_call", "audio", "extra_content"),
]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


def sse(chunks: list[Json], end: bytes = DONE) -> bytes:
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks) + end


def body(machine: Machine, **limits: int) -> ChatBody:
    return ChatBody(machine, **limits)


def event_filter(trusted: bool = False, **limits: int) -> EventFilter:
    machine = responses_over_chat(PLAIN, CountingIds(), clock(), trusted=trusted)
    return EventFilter(machine, body(machine, **limits))


def streamed(pieces: list[bytes], ending: Ending = Ending.DONE, **limits: int) -> tuple[bytes, EventFilter]:
    core = event_filter(**limits)  # type: ignore[arg-type]
    out = b"".join([core.feed(piece) for piece in pieces]) + core.finish(ending)
    assert out == b"" or check_wire(out) == []
    return out, core


def collected(pieces: list[bytes], ending: Ending = Ending.DONE, **limits: int) -> ClientResponse:
    machine = responses_over_chat(PLAIN, CountingIds(), clock())
    core = AnswerCollector(machine, body(machine, **limits))
    for piece in pieces:
        core.feed(piece)
    answer = core.finish(ending)
    assert (core.failure is None) == (answer.status == 200)
    return answer


def resource(answer: ClientResponse) -> dict[str, Any]:
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body)
    assert check_resource(found) == []
    return found


@given(st.lists(st.integers(0, 2000), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]), st.booleans())
def test_G20_the_cut_and_the_line_ends_of_the_provider_do_not_show(
    places: list[int], line_end: bytes, whole: bool
) -> None:
    raw = json.dumps(WHOLE, indent=1).encode() if whole else sse(CHUNKS).replace(b"\n", line_end)
    bounds = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    pieces = [raw[a:b] for a, b in itertools.pairwise(bounds)]
    assert streamed(pieces)[0] == streamed([orjson.dumps(WHOLE) if whole else sse(CHUNKS)])[0]
    assert resource(collected(pieces)) == resource(collected([raw]))


def test_G21_a_whole_answer_to_a_streamed_request_becomes_events() -> None:
    out, _ = streamed([b"\xef\xbb\xbf \n", orjson.dumps(WHOLE)])
    assert final(events_of(out))["status"] == "completed"
    assert out.endswith(DONE)


def test_G21_a_streamed_answer_to_a_request_for_a_whole_one_becomes_a_body() -> None:
    response = resource(collected([sse(CHUNKS)]))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call"]
    assert response["usage"]["total_tokens"] == 7


def test_the_last_event_needs_no_blank_line() -> None:
    assert streamed([sse(CHUNKS, b"data: [DONE]")])[0] == streamed([sse(CHUNKS)])[0]


def test_what_comes_behind_the_mark_is_ignored() -> None:
    assert streamed([sse(CHUNKS), sse([text("x")])])[0] == streamed([sse(CHUNKS)])[0]


def test_events_leave_whole_and_in_the_call_in_which_their_chunk_came() -> None:
    core = event_filter()
    for piece in (sse([text("a")], b""), sse([text("b")], b"")):
        assert core.feed(piece[:-1]) == b""
        assert b'"delta":' in core.feed(piece[-1:])


@pytest.mark.parametrize(
    "first",
    [
        sse([{"error": {"message": "slow down", "code": 429}}]),
        b'event: error\ndata: {"message": "slow down", "code": 429}\n\n',
        b'{"error": {"message": "slow down", "code": 429}}',
        b'[{"error": {"message": "slow down", "code": 429}}]',
        sse([delta(role="assistant", content=""), {"error": {"message": "slow down", "code": 429}}]),
    ],
)
def test_G1_an_error_before_anything_was_said_has_its_status_and_no_events(first: bytes) -> None:
    out, core = streamed([first])
    assert out == b""
    assert core.failure is not None
    assert (core.failure.status, core.failure.code) == (429, "rate_limit_exceeded")
    answer = collected([first])
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (429, "rate_limit_exceeded")


def test_an_early_failure_can_still_be_told_as_events_if_the_response_was_committed() -> None:
    core = event_filter()
    core.feed(sse([{"error": {"message": "x"}}]))
    out = core.begin()
    assert check_wire(out) == []
    assert final(events_of(out))["status"] == "failed"
    assert core.begin() == core.finish(Ending.DONE) == b""


def test_a_failure_behind_an_early_begin_is_told_as_events() -> None:
    core = event_filter()
    out = core.begin() + core.feed(sse([{"error": {"message": "x"}}])) + core.finish(Ending.DONE)
    assert check_wire(out) == []
    assert core.failure is None


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.DONE])
@pytest.mark.parametrize("raw", [sse([text("a")], b""), orjson.dumps(WHOLE)[:-9], b""])
def test_G2_a_cut_answer_is_an_http_error_for_a_client_that_wanted_a_whole_one(ending: Ending, raw: bytes) -> None:
    assert collected([raw], ending).status >= 499


def test_a_whole_body_counts_although_the_connection_broke_behind_it() -> None:
    assert collected([orjson.dumps(WHOLE)], Ending.RESET).status == 200


@pytest.mark.parametrize(
    "noise", [b"data: ping\n\n", b"data:\n\n", b"data: 1\n\n", b"data: []\n\n", b": c\n\n", b"data: {}\n\n"]
)
def test_frames_that_are_no_chunks_are_somebodys_keep_alive(noise: bytes) -> None:
    assert streamed([noise, sse(CHUNKS)])[0] == streamed([sse(CHUNKS)])[0]


def test_a_chunk_that_cannot_be_read_is_not_skipped_in_silence() -> None:
    out, _ = streamed([sse([text("a")], b'data: {"choices": [{"del\n\n'), sse([text("b")])])
    assert final(events_of(out))["status"] == "failed"


@pytest.mark.parametrize("data", [b'{"choices":[{"delta":{"content":"\xff\\ud83d\x01 "}}],"n":NaN}'])
def test_invalid_characters_and_numbers_cost_only_themselves(data: bytes) -> None:
    out, _ = streamed([b"data: " + data + b"\n\n" + DONE])
    assert '"delta":"\ufffd\ufffd\\u0001 "'.encode() in out


@pytest.mark.parametrize("number", ["-1e999", "-Infinity", "NaN", "null"])
def test_a_log_probability_that_is_no_number_is_that_of_the_impossible(number: str) -> None:
    token = f'{{"token":"a","logprob":{number}}}'
    chunk = f'{{"choices":[{{"delta":{{"content":"a"}},"logprobs":{{"content":[{token}]}}}}]}}'
    out, _ = streamed([f"data: {chunk}\n\n".encode() + DONE])
    assert b'"logprob":-9999.0' in out


def test_one_event_beyond_the_limit_ends_the_answer_and_a_large_read_does_not() -> None:
    long = sse([text("x" * 100)], b"")
    out, _ = streamed([sse([text("a")] * 500, b""), long], event_limit=120)
    assert out.count(b"output_text.delta\n") == 500
    assert final(events_of(out))["status"] == "failed"


def test_a_whole_body_beyond_the_limit_is_a_failure() -> None:
    assert collected([orjson.dumps(WHOLE)], body_limit=20).status == 504


def test_G11_G12_G13_keep_alives_only_between_the_first_event_and_the_last() -> None:
    core = event_filter()
    assert core.keepalive(KeepAlive.EVENT) == core.keepalive(KeepAlive.COMMENT) == b""
    out = core.begin()
    assert core.keepalive(KeepAlive.OFF) == b""
    assert core.keepalive(KeepAlive.COMMENT) == b": keepalive\n\n"
    assert core.keepalive(KeepAlive.EVENT) == b'event: keepalive\ndata: {"type":"keepalive","sequence_number":2}\n\n'
    out += core.feed(sse(CHUNKS))
    assert core.keepalive(KeepAlive.EVENT) == b""


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from(Ending))
def test_any_bytes_have_one_honest_end(pieces: list[bytes], ending: Ending) -> None:
    out, core = streamed(pieces, ending)
    assert (out == b"") == (core.failure is not None)
    assert collected(pieces, ending).status >= 499


@given(ANY_JSON)
def test_any_json_in_any_place_is_an_answer_or_a_failure(value: object) -> None:
    raw = json.dumps(value).encode()
    for document in (raw, b"data: " + raw + b"\n\n" + DONE, b'data: {"choices":[' + raw + b"]}\n\n" + DONE):
        out, core = streamed([document])
        assert (out == b"") == (core.failure is not None)
        answer = collected([document])
        assert answer.status >= 400 or check_resource(json.loads(answer.body)) == []
