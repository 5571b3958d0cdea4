"""The usage in an answer is found in every dialect, however the bytes are split."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pieces import cut_at

from onwards_py.messages import Ending
from onwards_py.wire.usage import UsageScanner, total_tokens_in

LIMIT = 64 * 1024

CHAT = b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{}}}'
RESPONSES = (
    b'event: response.completed\ndata: {"response":{"usage":{"input_tokens":8,'
    b'"input_tokens_details":{"cached_tokens":4},"output_tokens":3,"total_tokens":11},"metadata":{}}}\n\n'
)
MESSAGES = (
    b'{"usage":{"input_tokens":4,"cache_creation_input_tokens":10,"cache_read_input_tokens":100,"output_tokens":6}}'
)
MESSAGES_STREAM = (
    b'event: message_start\ndata: {"message":{"usage":{"input_tokens":20,"cache_read_input_tokens":2,'
    b'"output_tokens":1}}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":15}}\n\n'
)

ANSWERS = [
    pytest.param(CHAT, 12, id="chat completions"),
    pytest.param(b'{"usage" : {"prompt_tokens": 5, "completion_tokens": 7}}', 12, id="no total"),
    pytest.param(b'{"usage":\r\n\t{"total_tokens":3.0}}', 3, id="white space and a float"),
    pytest.param(b'{"data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}', 9, id="embeddings"),
    pytest.param(b'{"data":[],"usage":{"prompt_tokens":9}}', 9, id="only a prompt"),
    pytest.param(RESPONSES, 11, id="responses"),
    pytest.param(MESSAGES, 120, id="messages, whole: cached input stands beside the input"),
    pytest.param(MESSAGES_STREAM, 37, id="messages, streamed: the input is told at the beginning"),
    pytest.param(
        b'{"usage":{"prompt_tokens":50,"completion_tokens":1,"cache_read_input_tokens":40}}',
        51,
        id="cached tokens inside the prompt are not counted again",
    ),
    pytest.param(
        b'{"usage":{"completion_tokens":15,"prompt_tokens":10,"total_tokens":225}}', 225, id="a total with thoughts"
    ),
    pytest.param(b'data: {"usage":{"total_tokens":1}}\n\ndata: {"usage":{"total_tokens":2}}\n\n', 2, id="the last"),
    pytest.param(b'{"usage":{"total_tokens":2}}{"usage":null}', 2, id="null is none"),
    pytest.param(b'{"usage":{"total_tokens":2},"x":{"usage":{"type":"object"}}}', 2, id="one that counts nothing"),
    pytest.param(b'{"usage":{"total_tokens":0}}', 0, id="nothing used"),
    pytest.param(b'{"usage":null}', None, id="only null"),
    pytest.param(b'{"content":"{\\"usage\\":{\\"total_tokens\\":9}}"}', None, id="a text about it"),
    pytest.param(b'{"say \\"usage":{"total_tokens":9}}', None, id="a name that ends like it"),
    pytest.param(b'{"content":"usage"}', None, id="a text that is the word"),
    pytest.param(b'{"usage":{"total_tokens":"9"}}', None, id="a string"),
    pytest.param(b'{"usage":{"total_tokens":true}}', None, id="a boolean"),
    pytest.param(b'{"usage":{"total_tokens":-1}}', None, id="less than nothing"),
    pytest.param(b'{"usage":{"total_tokens":1e999}}', None, id="infinity"),
    pytest.param(b'{"usage":{"total_tokens":' + b"9" * 5000 + b"}}", None, id="a number without an end"),
    pytest.param(b'{"usage":{"total_tokens":1', None, id="broken off"),
    pytest.param(b'{"usage":' * 5000, None, id="nested without an end"),
    pytest.param(b'{"usage":' + b'{"a":' * 3000, None, id="too deep for a parser"),
    pytest.param(b"", None, id="nothing"),
]


def passed(pieces: list[bytes], limit: int = LIMIT) -> UsageScanner:
    tail = UsageScanner(limit)
    assert [tail.feed(piece) for piece in pieces] == pieces
    assert tail.finish(Ending.DONE) == b""
    assert tail.seen == sum(map(len, pieces))
    return tail


@pytest.mark.parametrize(("answer", "tokens"), ANSWERS)
def test_usage_is_found(answer: bytes, tokens: int | None) -> None:
    """The answer is complete or a stream, at once or byte by byte."""
    assert total_tokens_in(answer) == tokens
    assert passed([answer]).tokens() == tokens
    assert passed([answer[at : at + 1] for at in range(len(answer))]).tokens() == tokens


def test_usage_is_found_near_the_end_of_a_long_answer() -> None:
    """The kept tail is bounded; a small body is kept completely."""
    long = b'{"content":"' + b"x" * LIMIT + b'",'
    assert passed([long, CHAT[1:]]).tokens() == 12
    assert passed([CHAT, long]).tokens() is None
    assert total_tokens_in(long + CHAT[1:] + long) == 12


def test_the_input_tokens_of_a_long_stream_are_kept() -> None:
    """Anthropic sends them only in the first event, and the output tokens in the last."""
    start, end = MESSAGES_STREAM.split(b"\n\n", 1)
    assert passed([start, *[b"data: {}\n\n"] * 20_000, end]).tokens() == 37


def test_the_cut_start_of_the_tail_is_not_misread() -> None:
    """A quote whose backslash was cut off does not begin a member, wherever the tail begins."""
    text = b'{"content":"say \\"usage":{"total_tokens":9}}'
    for limit in range(1, len(text) + 2):
        assert passed([text], limit).tokens() is None


def test_usage_counts_only_if_the_tail_contains_all_of_it() -> None:
    """Its first quote, and the byte before, must be in the tail."""
    said = b'{"usage":{"total_tokens":9}}'
    for limit in range(1, len(said) + 2):
        assert passed([b"x" * 9000, said], limit).tokens() == (9 if limit >= len(said) else None)


@given(st.sampled_from([param.values[0] for param in ANSWERS]), st.binary(max_size=80), st.integers(1, 200), st.data())
def test_the_count_does_not_depend_on_the_reads(answer: object, noise: bytes, limit: int, data: st.DataObject) -> None:
    """However the bytes arrive, the answer and the count are the same. The first event is kept up to twice the
    limit, whatever the reads; so in this test it is that short."""
    assert isinstance(answer, bytes)
    stream = noise + answer[:300] + noise
    limit = max(limit, len(stream) // 2 + 1) if answer == MESSAGES_STREAM else limit
    places = data.draw(st.lists(st.integers(0, 1000), max_size=20))
    assert passed(cut_at(stream, places, empty=True), limit).tokens() == passed([stream], limit).tokens()


PARTS = st.sampled_from([*b'"usage" : { } "total_tokens" "output_tokens" 1 - .5 \\ " null [ ,'.split(), b" ", b"\xff"])


@given(st.lists(PARTS, max_size=60).map(b"".join) | st.binary(max_size=300), st.integers(1, 100))
def test_anything_gives_a_count_or_none(data: bytes, limit: int) -> None:
    """The function never raises, and a count is never negative."""
    for tokens in (passed([data], limit).tokens(), total_tokens_in(data)):
        assert tokens is None or (type(tokens) is int and tokens >= 0)


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "output_tokens", "total_tokens", "x"]), st.integers(0, 10**9)))
def test_the_reported_total_counts(usage: dict[str, int]) -> None:
    """Without a total, the sum of the reported parts counts."""
    told = {name: count for name, count in usage.items() if name != "x"}
    expected = usage.get("total_tokens", sum(told.values())) if told else None
    assert total_tokens_in(json.dumps({"choices": [{}], "usage": usage}).encode()) == expected


@given(st.lists(st.integers(0, 300), max_size=100), st.integers(1, 200))
def test_the_tail_is_bounded(sizes: list[int], limit: int) -> None:
    """At most twice the limit is kept, and at least the limit or the complete body."""
    tail = UsageScanner(limit)
    for size in sizes:
        tail.feed(bytes(size))
        held = sum(map(len, tail._pieces))
        assert min(limit, tail.seen) <= held < 2 * limit


def test_pieces_are_kept_and_not_copied() -> None:
    """The same objects are kept, until twice the tail has passed."""
    pieces = [bytes([65 + number]) * 100 for number in range(19)]
    assert [id(piece) for piece in passed(pieces, 1000)._pieces] == [id(piece) for piece in pieces]
    assert len(passed([*pieces, b"y" * 100], 1000)._pieces) == 1


def test_a_huge_piece_is_not_kept() -> None:
    """Of a body in one piece only the tail stays in memory."""
    tail = passed([b"x" * (4 * LIMIT)])
    (kept,) = tail._pieces
    assert len(kept) == LIMIT
    assert tail._head is not None
    assert len(tail._head) == 4096


def test_the_number_of_usage_candidates_is_bounded() -> None:
    """Only the last 16 candidates are parsed, of thousands that each look complete for long."""
    assert total_tokens_in(b'{"usage":{"total_tokens":1},' + b'"usage":null,' * 15 + b'"x":0}') == 1
    assert total_tokens_in(b'{"usage":{"total_tokens":1},' + b'"usage":null,' * 16 + b'"x":0}') is None
