"""What an answer says about the tokens it used: found in every dialect, however the bytes are cut."""

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
def test_what_an_answer_says_is_found(answer: bytes, tokens: int | None) -> None:
    """In a whole body and in a stream, at once and byte by byte."""
    assert total_tokens_in(answer) == tokens
    assert passed([answer]).tokens() == tokens
    assert passed([answer[at : at + 1] for at in range(len(answer))]).tokens() == tokens


def test_it_may_stand_behind_a_long_answer_but_not_far_before_its_end() -> None:
    """The tail is bounded; a whole body is not."""
    long = b'{"content":"' + b"x" * LIMIT + b'",'
    assert passed([long, CHAT[1:]]).tokens() == 12
    assert passed([CHAT, long]).tokens() is None
    assert total_tokens_in(long + CHAT[1:] + long) == 12


def test_the_input_of_a_long_stream_is_still_known() -> None:
    """Anthropic tells it in the first event only, and the output in the last."""
    start, end = MESSAGES_STREAM.split(b"\n\n", 1)
    assert passed([start, *[b"data: {}\n\n"] * 20_000, end]).tokens() == 37


def test_what_the_beginning_of_the_tail_cuts_is_not_misread() -> None:
    """A quote whose backslash has gone is no quote: a text is not taken for the member, wherever the tail begins."""
    text = b'{"content":"say \\"usage":{"total_tokens":9}}'
    for limit in range(1, len(text) + 2):
        assert passed([text], limit).tokens() is None


def test_a_usage_counts_from_the_limit_on_at_which_it_is_whole() -> None:
    """Its first quote, and the byte before, must have been kept."""
    said = b'{"usage":{"total_tokens":9}}'
    for limit in range(1, len(said) + 2):
        assert passed([b"x" * 9000, said], limit).tokens() == (9 if limit >= len(said) else None)


@given(st.sampled_from([param.values[0] for param in ANSWERS]), st.binary(max_size=80), st.integers(1, 200), st.data())
def test_cutting_changes_nothing(answer: object, noise: bytes, limit: int, data: st.DataObject) -> None:
    """However the bytes arrive, the answer and the count are the same.

    What the first event counts is known from the first two limits' bytes on, whatever the cut; so here it lies in them.
    """
    assert isinstance(answer, bytes)
    stream = noise + answer[:300] + noise
    limit = max(limit, len(stream) // 2 + 1) if answer == MESSAGES_STREAM else limit
    places = data.draw(st.lists(st.integers(0, 1000), max_size=20))
    assert passed(cut_at(stream, places, empty=True), limit).tokens() == passed([stream], limit).tokens()


PARTS = st.sampled_from([*b'"usage" : { } "total_tokens" "output_tokens" 1 - .5 \\ " null [ ,'.split(), b" ", b"\xff"])


@given(st.lists(PARTS, max_size=60).map(b"".join) | st.binary(max_size=300), st.integers(1, 100))
def test_anything_gives_a_count_or_none(data: bytes, limit: int) -> None:
    """Never an exception, never less than nothing."""
    for tokens in (passed([data], limit).tokens(), total_tokens_in(data)):
        assert tokens is None or (type(tokens) is int and tokens >= 0)


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "output_tokens", "total_tokens", "x"]), st.integers(0, 10**9)))
def test_a_total_that_is_told_is_what_counts(usage: dict[str, int]) -> None:
    """Else the sum of what is."""
    told = {name: count for name, count in usage.items() if name != "x"}
    expected = usage.get("total_tokens", sum(told.values())) if told else None
    assert total_tokens_in(json.dumps({"choices": [{}], "usage": usage}).encode()) == expected


@given(st.lists(st.integers(0, 300), max_size=100), st.integers(1, 200))
def test_the_tail_is_bounded(sizes: list[int], limit: int) -> None:
    """Never more than twice the limit is kept, and never less than the limit or all."""
    tail = UsageScanner(limit)
    for size in sizes:
        tail.feed(bytes(size))
        held = sum(map(len, tail._pieces))
        assert min(limit, tail.seen) <= held < 2 * limit


def test_pieces_are_kept_and_not_copied() -> None:
    """What flows by is held as the very objects, until as much has passed again as is to be kept."""
    pieces = [bytes([65 + number]) * 100 for number in range(19)]
    assert [id(piece) for piece in passed(pieces, 1000)._pieces] == [id(piece) for piece in pieces]
    assert len(passed([*pieces, b"y" * 100], 1000)._pieces) == 1


def test_a_huge_piece_is_not_held_on_to() -> None:
    """Of a body that came in one piece only the tail stays in memory."""
    tail = passed([b"x" * (4 * LIMIT)])
    (kept,) = tail._pieces
    assert len(kept) == LIMIT
    assert tail._head is not None
    assert len(tail._head) == 4096


def test_an_answer_made_to_be_slow_is_given_up() -> None:
    """So many candidates are looked at and no more: the last 16 of thousands that each look whole for long."""
    assert total_tokens_in(b'{"usage":{"total_tokens":1},' + b'"usage":null,' * 15 + b'"x":0}') == 1
    assert total_tokens_in(b'{"usage":{"total_tokens":1},' + b'"usage":null,' * 16 + b'"x":0}') is None
