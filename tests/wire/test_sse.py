"""Server-sent events: every legal line is read, however the bytes are split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pieces import cut_at

from onwards_py.messages import Ending
from onwards_py.wire.sse import DONE, OversizedEvent, ServerSentEvent, SSEDecoder, encode_comment, encode_event

LINE_END = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINE = st.sampled_from(
    [
        b"",
        b"data: x",
        b"data:y",
        b"data",
        b": ping",
        b"event: e",
        b"id: 7",
        b"retry: 10",
        "data: 🐎é".encode(),
        b"\xff:",
    ]
)
STREAM = st.lists(st.tuples(LINE, LINE_END), max_size=30).map(lambda lines: b"".join(a + b for a, b in lines))


def decode(
    pieces: list[bytes], ending: Ending = Ending.DONE, limit: int = 1 << 20
) -> tuple[list[ServerSentEvent], bool]:
    decoder, out = SSEDecoder(limit), []
    for piece in pieces:
        try:
            out += decoder.feed(piece)
        except OversizedEvent as error:
            return out + error.events, True
    return out + decoder.finish(ending), False


def by_the_standard(data: bytes) -> list[tuple[bytes, bytes]]:
    """WHATWG HTML section 9.2.6 in a literal implementation, byte by byte; the last event is dispatched, too."""
    events, lines, line, i = [], [], b"", 0
    while i < len(data):
        if data[i : i + 1] in (b"\r", b"\n"):
            i += 2 if data[i : i + 2] == b"\r\n" else 1
            lines.append(line)
            line = b""
        else:
            line += data[i : i + 1]
            i += 1
    name = b""
    values: list[bytes] = []
    for text in [*lines, line, b""]:
        field, _, value = text.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if text == b"":
            if values:
                events.append((name, b"\n".join(values)))
            name, values = b"", []
        elif field == b"data":
            values.append(value)
        elif field == b"event":
            name = value
    return events


@given(STREAM, st.lists(st.integers(0, 2000), max_size=12))
def test_g20_events_are_those_of_the_standard_however_the_stream_is_split(stream: bytes, places: list[int]) -> None:
    """G20: CR, LF, CRLF, split UTF-8, ``data:`` without a space, several data lines, comments, no last line end."""
    events, failed = decode(cut_at(stream, places))
    assert not failed
    assert [(event.name, event.data) for event in events] == by_the_standard(stream)


@given(STREAM, st.lists(st.integers(0, 2000), max_size=12), st.integers(1, 60))
def test_an_oversized_event_is_found_however_the_bytes_are_split(stream: bytes, places: list[int], limit: int) -> None:
    assert decode(cut_at(stream, places), limit=limit) == decode([stream], limit=limit)


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=8))
def test_any_bytes_give_the_same_events_however_they_are_split(stream: bytes, places: list[int]) -> None:
    assert decode(cut_at(stream, places)) == decode([stream])


@pytest.mark.parametrize(
    ("stream", "event"),
    [
        (b"data: a\n\n", ServerSentEvent(b"a")),
        (b"\xef\xbb\xbfdata: a\n\n", ServerSentEvent(b"a")),
        (b": OPENROUTER PROCESSING\n\ndata: a\n\n", ServerSentEvent(b"a")),
        (b"data:  a \n\n", ServerSentEvent(b" a ")),
        (b"data: a\ndata:\ndata: b\n\n", ServerSentEvent(b"a\n\nb")),
        (b"data\n\n", ServerSentEvent(b"")),
        (b"event: e\nid: 1\nretry: 30\ndata: a\n\n", ServerSentEvent(b"a", b"e", b"1", 30)),
        (b"event: e\nid: x\0\nretry: 3s\ndata: a\n\n", ServerSentEvent(b"a", b"e")),
        (b"event: lost\n\ndata: a\n\n", ServerSentEvent(b"a")),
        (b"DATA: no\ndatax: no\n data: no\ndata: a\n\n", ServerSentEvent(b"a")),
        (b"data: a", ServerSentEvent(b"a")),
    ],
)
def test_g20_each_kind_of_line_means_what_the_standard_says(stream: bytes, event: ServerSentEvent) -> None:
    assert decode([stream]) == ([event], False)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_there_in_the_call_in_which_its_last_byte_came(end: bytes) -> None:
    decoder = SSEDecoder(1000)
    event = b"data: a" + end + b"data: b" + end + end
    for _ in range(3):
        outputs = [decoder.feed(event[i : i + 1]) for i in range(len(event))]
        assert outputs == [[]] * (len(event) - 1) + [[ServerSentEvent(b"a\nb")]]


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.DONE])
def test_an_incomplete_event_of_a_cut_stream_is_dropped(ending: Ending) -> None:
    assert decode([b"data: a\n\ndata: ha"], ending) == ([ServerSentEvent(b"a")], False)


def test_a_read_far_larger_than_the_limit_passes_while_its_events_are_small() -> None:
    assert decode([b"data: x\n\n" * 20_000], limit=64) == ([ServerSentEvent(b"x")] * 20_000, False)


def test_the_error_for_an_oversized_event_has_the_earlier_events() -> None:
    with pytest.raises(OversizedEvent) as caught:
        SSEDecoder(32).feed(b"data: ok\n\ndata: " + b"x" * 100 + b"\n\n")
    assert caught.value.events == [ServerSentEvent(b"ok")]


@given(
    st.lists(st.tuples(st.sampled_from([b"", b"response.created"]), st.binary().filter(lambda d: not {10, 13} & {*d})))
)
def test_encoded_events_are_decoded_unchanged(events: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(encode_event(name, data) + encode_comment(b"ping") for name, data in events) + DONE
    decoded, _ = decode([stream])
    assert [(event.name, event.data) for event in decoded] == [*events, (b"", b"[DONE]")]
