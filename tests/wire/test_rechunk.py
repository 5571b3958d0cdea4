"""The re-chunker passes events complete, at once, and unchanged."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pieces import cut_at

from onwards_py.messages import Ending
from onwards_py.wire.rechunk import EventTooLarge, Rechunker

LINE_END = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINE = st.sampled_from(
    [
        b"",
        b"data: x",
        b"data:y",
        b": ping",
        b"event: e",
        "data: žluťoučký 🐎".encode(),
        b"data",
        b"\xff\xfe",
        b"id: \xe2\x80\xa8",
    ]
)
STREAM = st.lists(st.tuples(LINE, LINE_END), max_size=30).map(lambda lines: b"".join(a + b for a, b in lines))


def run_all(pieces: list[bytes], limit: int = 1 << 20) -> tuple[bytes, bool]:
    rechunker, out = Rechunker(limit), b""
    for piece in pieces:
        try:
            out += rechunker.feed(piece)
        except EventTooLarge as error:
            return out + error.ready, True
    return out + rechunker.finish(Ending.DONE), False


@given(STREAM, st.lists(st.integers(0, 2000), max_size=12))
def test_bytes_are_unchanged_however_the_stream_is_split(stream: bytes, places: list[int]) -> None:
    assert run_all(cut_at(stream, places)) == (stream, False)


@given(STREAM, st.lists(st.integers(0, 2000), max_size=12), st.integers(1, 60))
def test_an_oversized_event_is_detected_however_the_stream_is_split(
    stream: bytes, places: list[int], limit: int
) -> None:
    whole, whole_failed = run_all([stream], limit)
    parts, parts_failed = run_all(cut_at(stream, places), limit)
    assert parts_failed == whole_failed
    assert parts.rstrip(b"\r\n") == whole.rstrip(b"\r\n")


@given(STREAM, st.lists(st.integers(0, 2000), max_size=12))
def test_every_output_but_the_last_ends_with_a_blank_line(stream: bytes, places: list[int]) -> None:
    rechunker = Rechunker(1 << 20)
    for piece in cut_at(stream, places):
        ready = rechunker.feed(piece)
        assert ready == b"" or re.search(rb"(\n\n|\n\r\n|\r\r|\n\r)\Z", ready)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_leaves_in_the_call_in_which_its_last_byte_came(end: bytes) -> None:
    event = b"data: a" + end + b"data: b" + end + end
    rechunker = Rechunker(1000)
    for _ in range(3):
        outputs = [rechunker.feed(event[i : i + 1]) for i in range(len(event))]
        assert outputs == [b""] * (len(event) - 1) + [event]


def test_events_before_an_unfinished_one_do_not_wait_for_it() -> None:
    rechunker = Rechunker(1000)
    assert rechunker.feed(b"data: 1\n\ndata: 2\r\n\r\ndata: 3") == b"data: 1\n\ndata: 2\r\n\r\n"
    assert rechunker.feed(b"\n\n") == b"data: 3\n\n"


def test_a_read_far_larger_than_the_limit_passes_while_its_events_are_small() -> None:
    """The limit applies to one event, not to the number of buffered bytes."""
    stream = b"data: x\n\n" * 50_000
    assert run_all([stream], limit=64) == (stream, False)


def test_an_oversized_event_is_an_error_after_the_earlier_events() -> None:
    rechunker = Rechunker(32)
    with pytest.raises(EventTooLarge) as caught:
        rechunker.feed(b"data: ok\n\ndata: " + b"x" * 100 + b"\n\n")
    assert caught.value.ready == b"data: ok\n\n"


@given(STREAM, st.lists(st.integers(0, 2000), max_size=12), st.integers(1, 60))
def test_a_large_event_may_pass_in_pieces(stream: bytes, places: list[int], limit: int) -> None:
    """The bytes do not change, at most the limit is held, and ``within`` tells whether the client has an incomplete
    event."""
    rechunker, out, came = Rechunker(limit, passes=True), b"", 0
    for piece in cut_at(stream, places):
        out += rechunker.feed(piece)
        came += len(piece)
        assert len(stream[len(out) : came].lstrip(b"\r\n")) <= limit
        blank = re.search(rb"(\n\n|\n\r\n|\r\r|\n\r|\A)\Z", out)
        assert rechunker.mid_event or blank
    assert out + rechunker.finish(Ending.DONE) == stream


def test_events_after_a_large_event_are_complete_again() -> None:
    rechunker = Rechunker(16, passes=True)
    pieces = [b"data: 1\n\ndata: ", b"x" * 20, b"y\n", b"\ndata: 2", b"\n\ndata: 3\n\n"]
    assert [rechunker.feed(piece) for piece in pieces] == [
        b"data: 1\n\n",
        b"data: " + b"x" * 20,
        b"y\n",
        b"\n",
        b"data: 2\n\ndata: 3\n\n",
    ]
    assert not rechunker.mid_event


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.DONE])
def test_an_incomplete_event_of_a_cut_stream_is_not_delivered(ending: Ending) -> None:
    rechunker = Rechunker(1000)
    rechunker.feed(b"data: 1\n\ndata: ha")
    assert rechunker.finish(ending) == b""


def test_a_large_event_in_small_pieces_costs_linear_time() -> None:
    """If each read scanned the whole buffer, 4 MB in 8-byte pieces would take hours."""
    rechunker = Rechunker(8 << 20)
    for _ in range(500_000):
        assert rechunker.feed(b"12345678") == b""
    assert len(rechunker.feed(b"\n\n")) == 4_000_002
