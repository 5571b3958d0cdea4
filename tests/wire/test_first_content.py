"""The opening of an answer: content, an error inside a 200, empty, or cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.messages import Ending
from onwards_py.wire.first_content import FirstContentDetector, Verdict, VerdictKind

CONTENT = Verdict(VerdictKind.CONTENT, 200)
EMPTY = Verdict(VerdictKind.EMPTY, 502)
LIMIT = 1 << 16


def error(status: int) -> Verdict:
    return Verdict(VerdictKind.ERROR, status)


def event(data: object, name: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def delta(**delta: object) -> dict[str, object]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def fed(*pieces: bytes, stream: bool = True, limit: int = LIMIT) -> Verdict | None:
    """The verdict before the end of the body."""
    opening = FirstContentDetector(stream, limit)
    verdict = None
    for piece in pieces:
        verdict = opening.feed(piece)
    return verdict


def judged(body: bytes, ending: Ending = Ending.DONE, stream: bool = False) -> Verdict:
    """The verdict on a complete body."""
    opening = FirstContentDetector(stream, LIMIT)
    opening.feed(body)
    return opening.finish(ending)


CREATED = {"type": "response.created", "response": {"object": "response", "status": "in_progress", "error": None}}
START = {"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": {"output_tokens": 1}}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}

SILENT = [
    b": keep-alive\n\n",
    b"\n\n",
    b"data:\n\n",
    b"event: ping\n\n",
    b"event: error\n\n",
    b"id: 1\nretry: 5\n\n",
    event({}),
    event({"type": "ping"}, "ping"),
    event({"type": "keepalive"}),
    event("", "ping"),
    event(delta(role="assistant", content="")),
    event(delta(role="assistant", content=None, refusal=None, tool_calls=[], reasoning_content="")),
    event(delta()),
    event({"choices": [{"index": 0, "delta": None}]}),
    event({"choices": [{"index": 0, "text": "", "finish_reason": None}]}),
    event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
    event({"choices": [], "usage": {"total_tokens": 7}}),
    event({**delta(role="assistant"), "error": None}),
    event(CREATED),
    event({"response": {"status": "in_progress"}}, "response.created"),
    event({"type": "response.queued", "response": {}}),
    event({"type": "response.in_progress", "response": {}}),
    event({"type": "response.output_item.added", "item": {"type": "message", "content": []}}),
    event({"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}}),
    event({"type": "response.output_text.delta", "delta": ""}),
    event({"type": "response.function_call_arguments.done", "item_id": "i", "arguments": ""}),
    event({"type": "response.content_part.done", "part": {"type": "output_text", "text": "", "annotations": []}}),
    event({"type": "response.output_item.done", "item": {"type": "message", "status": "incomplete", "content": []}}),
    event(START),
    event(BLOCK),
    event({"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}}),
    event({"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}}),
    event({"type": "message_delta", "delta": {"stop_reason": None, "stop_sequence": None}, "usage": {}}),
]


@pytest.mark.parametrize("opening", SILENT)
def test_announcements_give_no_verdict(opening: bytes) -> None:
    """These are comments, empty events, roles, and events that announce a response."""
    assert fed(opening, opening) is None
    assert judged(opening, stream=True) == EMPTY


SAYING = [
    delta(content="x"),
    delta(role="assistant", content=" "),
    delta(reasoning_content="hm"),
    delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": ""}}]),
    delta(refusal="no"),
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [{"index": 0, "text": "x"}]},
    {"choices": [{"index": 0, "message": {"content": "whole"}}]},
    {"choices": "odd"},
    {"choices": ["odd"]},
    {"choices": [{"index": 0, "delta": "odd"}]},
    {"type": "response.output_text.delta", "delta": "x"},
    {"type": "response.output_item.done", "item": {}},
    {"type": "response.output_item.done", "item": {"type": "function_call", "name": "f", "arguments": "{}"}},
    {"type": "response.output_text.done", "text": "x"},
    {"type": "response.unknown.done"},
    {"type": "response.completed", "response": {"status": "completed"}},
    {"type": "response.incomplete", "response": {"status": "incomplete"}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
    {"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "x"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": ["odd"]},
    {"candidates": [{"content": {}}]},
    {"anything": 1},
    [],
    ["x"],
    "not json",
    "null",
    "0",
    '{"broken":',
    "[" * 100_000,
]


@pytest.mark.parametrize("data", SAYING, ids=lambda data: str(data)[:40])
def test_text_and_unknown_events_are_content(data: object) -> None:
    """An answer in an unknown form is not a failure."""
    assert fed(event(CREATED), event(data), limit=1 << 20) == CONTENT


ERRORS = [
    ({"error": {"message": "m", "type": "server_error", "code": None}}, 500),
    ({"error": {"message": "m", "code": 429}}, 429),
    ({"error": {"message": "m", "code": "503"}}, 503),
    ({"error": {"type": "invalid_request_error", "code": "invalid_api_key"}}, 401),
    ({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}, 429),
    ({"error": {"code": 503, "status": "UNAVAILABLE"}}, 503),
    ({"error": "Upstream request failed"}, 500),
    ({"error": "rate limit reached"}, 429),
    ({"error": True}, 500),
    ({"choices": [], "error": {"code": 502, "message": "Provider returned error"}}, 502),
    ({"choices": [{"delta": {"content": ""}, "finish_reason": "error", "error": {"code": 408}}]}, 408),
    ({**delta(content=""), "error": {"code": "rate_limit_exceeded"}}, 429),
    ({"object": "error", "message": "m", "type": "BadRequestError", "code": 400}, 400),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 503),
    ({"type": "error", "code": "insufficient_quota", "message": "m", "sequence_number": 2}, 429),
    ({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded"}}}, 429),
    ({"type": "response.failed", "response": {"status": "failed", "error": None}}, 500),
    ({"type": "response.failed"}, 500),
    ({"type": "response.failed", "response": "odd"}, 500),
]


@pytest.mark.parametrize(("data", "status"), ERRORS, ids=lambda value: str(value)[:50])
def test_an_error_counts_first_or_after_announcements(data: object, status: int) -> None:
    """bifrost#5395: the Responses API sends created, and then an error for an exhausted quota."""
    assert fed(event(data)) == error(status)
    assert fed(*SILENT, event(data)) == error(status)
    assert fed(event({"type": "response.output_text.delta", "delta": "x"}), event(data)) == CONTENT


@pytest.mark.parametrize(
    ("data", "status"),
    [("", 500), ("oops", 500), ('{"message":"m","type":"rate_limit_error"}', 429), ("[1]", 500), ('"timeout"', 504)],
)
def test_an_event_named_error_is_an_error_with_any_data(data: str, status: int) -> None:
    """Anthropic sends such events, and so do other servers."""
    assert fed(event(data, "error")) == error(status)


def test_the_name_of_an_event_is_its_type_if_its_data_has_none() -> None:
    """With most providers the data repeat the name; with some they do not."""
    assert fed(event({"response": {"error": {"code": "rate_limit_exceeded"}}}, "response.failed")) == error(429)
    assert fed(event({"response": {}}, "response.completed")) == CONTENT


@pytest.mark.parametrize("data", [{"error": None}, {"error": {}}, {"error": ""}, {"error": []}])
def test_an_empty_error_member_is_not_an_error(data: dict[str, object]) -> None:
    """Some servers always write the member."""
    assert fed(event({**data, **delta(content="x")})) == CONTENT
    assert judged(json.dumps({**data, "choices": [{}]}).encode()) == CONTENT


def test_done_without_content_is_empty() -> None:
    """This holds before the end of the body, too, but not after a finish reason."""
    assert fed(event(delta(role="assistant")), event("[DONE]")) == EMPTY
    assert fed(event({"choices": [{"delta": {}, "finish_reason": "stop"}]}), event("[DONE]")) == CONTENT


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n "])
def test_an_empty_body_is_empty(stream: bool, body: bytes) -> None:
    """Its media type does not matter."""
    assert judged(body, stream=stream) == EMPTY


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("body", [b"", event(CREATED), b'{"error":{"code":400}}'])
@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.DONE])
def test_a_body_cut_before_content_is_cut(stream: bool, body: bytes, ending: Ending) -> None:
    """The status is 502, or 504 after a timeout of the proxy. An incomplete error is not an error."""
    status = 504 if ending in (Ending.IDLE, Ending.LIMIT) else 502
    assert judged(body, ending, stream=stream) == Verdict(VerdictKind.CUT, status)


def test_a_last_event_without_its_blank_line_counts() -> None:
    """It counts if the body ended properly."""
    assert judged(event({"error": {"code": 429}})[:-2], stream=True) == error(429)


def test_the_verdict_does_not_change() -> None:
    """Later bytes do not matter."""
    opening = FirstContentDetector(True, LIMIT)
    assert opening.feed(event({"error": {"code": 429}})) == error(429)
    assert opening.feed(event(delta(content="x"))) == error(429)
    assert opening.finish(Ending.RESET) == error(429)


# Whole answers


@pytest.mark.parametrize(("data", "status"), [(data, status) for data, status in ERRORS if "delta" not in str(data)])
def test_a_whole_answer_is_an_error_by_the_same_shapes(data: object, status: int) -> None:
    """The verdict comes when the answer is complete, not before."""
    body = json.dumps(data).encode()
    assert fed(body, stream=False) is None
    assert judged(body) == error(status)


def test_a_response_that_failed_is_an_error() -> None:
    """It may have an error of its own or not. Other final states are content."""
    response = {"object": "response", "status": "failed", "error": {"code": "server_error"}, "output": []}
    assert judged(json.dumps(response).encode()) == error(500)
    assert judged(json.dumps({**response, "error": None}).encode()) == error(500)
    for status in ("completed", "incomplete", "in_progress", "cancelled", "queued"):
        assert judged(json.dumps({**response, "error": None, "status": status}).encode()) == CONTENT
    batch = {"object": "batch", "status": "failed", "errors": {"data": []}}
    assert judged(json.dumps(batch).encode()) == CONTENT


@pytest.mark.parametrize(
    "body", [b"[]", b'[{"error":1}]', b"hello", b'{"a":1}', b'{"error"', b"\xff", b'{"a":"\xff"}', b"[" * 60_000]
)
def test_any_other_body_is_content(body: bytes) -> None:
    """It may be an audio file."""
    assert judged(body) == CONTENT


@pytest.mark.parametrize("stream", [True, False])
def test_above_the_limit_the_opening_is_content(stream: bool) -> None:
    """One byte above the limit without a verdict is content, whatever follows."""
    silent = b":" + b"x" * 97 + b"\n\n" if stream else b" " * 100
    telling = event({"error": 1}) if stream else b'{"error":1}'
    assert fed(silent, stream=stream, limit=100) is None
    assert fed(silent + telling, stream=stream, limit=100) == CONTENT
    assert fed(silent, telling[:1], stream=stream, limit=100) == CONTENT
    assert fed(silent + telling, stream=stream, limit=100 + len(telling)) == (error(500) if stream else None)


# Whatever comes

PIECES = st.sampled_from(
    [*SILENT, *(event(data) for data, _ in ERRORS[:6]), event(delta(content="x")), b"\r\n", b"\r", b"data: {", b"\xff"]
)
BODIES = st.lists(PIECES, max_size=6).map(b"".join) | st.binary(max_size=60)
ENDINGS = st.sampled_from(Ending)


def verdict_of(pieces: list[bytes], stream: bool, limit: int, ending: Ending) -> Verdict:
    opening = FirstContentDetector(stream, limit)
    for piece in pieces:
        opening.feed(piece)
    return opening.finish(ending)


@given(BODIES, st.booleans(), st.integers(0, 400), ENDINGS, st.lists(st.integers(0, 1000), max_size=8))
def test_the_verdict_does_not_depend_on_the_reads(
    body: bytes, stream: bool, limit: int, ending: Ending, places: list[int]
) -> None:
    """This holds for all reads, limits and endings."""
    bounds = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    pieces = [body[a:b] for a, b in itertools.pairwise(bounds)]
    assert verdict_of(pieces, stream, limit, ending) == verdict_of([body], stream, limit, ending)


@given(BODIES.map(lambda body: body.replace(b"\n", b"\r\n")), st.integers(0, 60))
def test_line_ends_do_not_matter(body: bytes, place: int) -> None:
    """CRLF counts as LF, wherever a read ends."""
    pieces = [body[:place], body[place:]]
    plain = verdict_of([body.replace(b"\r\n", b"\n")], True, LIMIT, Ending.DONE)
    assert verdict_of(pieces, True, LIMIT, Ending.DONE) == plain or b"\r\r" in body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "type", "code", "choices", "delta", "response", "object", "status", "x"]),
            inner | st.sampled_from(["error", "response.failed", "response", "content_block_delta", "rate_limit", 429]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.booleans(), ENDINGS)
def test_any_json_gives_a_verdict(value: object, stream: bool, ending: Ending) -> None:
    """The function never raises, and the status of an error is always an error status."""
    body = json.dumps(value).encode()
    verdict = judged(event(body.decode()) if stream else body, ending, stream=stream)
    if verdict.kind is VerdictKind.ERROR:
        assert 400 <= verdict.status <= 599
    else:
        assert verdict.status in (200, 502, 504)
