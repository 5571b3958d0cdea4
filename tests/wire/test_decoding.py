"""Decoding a content coding of passing bytes: without delay, independent of the reads, and within limits."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.coders import FORMS, coded, flushed, name_of
from support.examples import examples
from support.pieces import cut_at, single_bytes

from onwards_py.messages import Ending
from onwards_py.wire.decoding import RESPONSE_LIMITS, ContentDecoder, DecodeLimits, Reason, Undecodable, coding_of

MIB = 1024 * 1024
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n'
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
SMALL = DecodeLimits(free=1000, ratio=2, total=100_000, members=3)
every_form = pytest.mark.parametrize("form", FORMS)


class Result:
    """The result for a body: ``out``, the bytes before the end or the error, and the ``reason`` of the error."""

    def __init__(self, coding: bytes, pieces: Iterable[bytes], bounds: DecodeLimits = RESPONSE_LIMITS) -> None:
        decoding = ContentDecoder(coding, bounds)
        self.out = b""
        self.reason: Reason | None = None
        try:
            for piece in pieces:
                self.out += decoding.feed(piece)
            self.out += decoding.finish(Ending.DONE)
        except Undecodable as error:
            self.out += error.ready
            self.reason = error.reason


places = st.lists(st.integers(0, 1 << 20), max_size=8)


@every_form
@examples(60)
@given(pieces=st.lists(st.binary(max_size=300), max_size=8), repeat=st.integers(1, 300), at=places)
def test_encoded_data_is_decoded_however_it_is_split(
    form: str, pieces: list[bytes], repeat: int, at: list[int]
) -> None:
    """The data are arbitrary and flushed anywhere."""
    body = coded(form, [piece * repeat for piece in pieces])
    result = Result(name_of(form), cut_at(body, at, empty=True))
    assert (result.reason, result.out) == (None, b"".join(piece * repeat for piece in pieces))


@every_form
def test_single_bytes_are_decoded_too(form: str) -> None:
    """Each read has one byte."""
    plain = b"".join(EVENT % number for number in range(20))
    result = Result(name_of(form), single_bytes(coded(form, plain)))
    assert (result.reason, result.out) == (None, plain)


@every_form
def test_an_event_that_was_flushed_comes_out_at_once(form: str) -> None:
    """It comes out with its own bytes, not with those of the next event."""
    events = [EVENT % number for number in range(50)]
    *pieces, end = flushed(form, *events)
    decoding = ContentDecoder(name_of(form))
    assert [decoding.feed(piece) for piece in pieces] == events
    assert decoding.feed(end) + decoding.finish(Ending.DONE) == b""


@every_form
def test_all_decodable_bytes_come_out_at_once(form: str) -> None:
    """The start of a body gives the same output in one piece as byte by byte, wherever the decoder's own buffers
    end."""
    body = coded(form, bytes(MIB))[:600]
    gradual, came = ContentDecoder(name_of(form)), 0
    for size in range(1, len(body) + 1):
        came += len(gradual.feed(body[size - 1 : size]))
        assert len(ContentDecoder(name_of(form)).feed(body[:size])) == came


@every_form
def test_a_large_body_comes_back_from_one_piece(form: str) -> None:
    """Input and output are larger than any step of the decoder."""
    plain = random.Random(1).randbytes(700_000).hex().encode() + bytes(3 * MIB)
    result = Result(name_of(form), [coded(form, plain)])
    assert (result.reason, result.out == plain) == (None, True)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "zstd"])
def test_parts_are_small(form: str) -> None:
    """A caller that does not keep the output needs little memory. The zstd library cannot stop within a piece."""
    sizes = [len(part) for part in ContentDecoder(name_of(form)).parts(coded(form, bytes(8 * MIB)))]
    assert sum(sizes) == 8 * MIB
    assert max(sizes) <= 128 * 1024


# Bounds


@every_form
def test_a_bomb_ends_at_its_bound(form: str) -> None:
    """Of 200 MiB of zeros exactly the allowed number of bytes comes out, with little more memory than that."""
    body = coded(form, bytes(200 * MIB))
    bounds = DecodeLimits(free=4 * MIB, ratio=8, total=64 * MIB, members=16)
    tracemalloc.start()
    try:
        result = Result(name_of(form), [body], bounds)
        assert tracemalloc.get_traced_memory()[1] < 4 * (4 * MIB + 8 * len(body))
    finally:
        tracemalloc.stop()
    assert result.reason is Reason.TOO_LARGE
    assert 4 * MIB <= len(result.out) <= 4 * MIB + 8 * len(body)
    assert not result.out.strip(b"\0")


@every_form
@examples(40)
@given(at=places, noise=st.integers(0, 60_000), zeros=st.integers(0, 80_000))
def test_a_limit_is_reached_at_the_same_byte_however_the_body_is_split(
    form: str, at: list[int], noise: int, zeros: int
) -> None:
    """The allowed output depends on the number of input bytes, not on their reads."""
    plain = random.Random(noise).randbytes(noise) + bytes(zeros)
    body = coded(form, plain)
    one, other = Result(name_of(form), [body], SMALL), Result(name_of(form), cut_at(body, at, empty=True), SMALL)
    assert (one.reason, one.out) == (other.reason, other.out)
    assert one.reason in (None, Reason.TOO_LARGE)
    assert plain.startswith(one.out)
    assert (one.out == plain) is (one.reason is None)


@every_form
def test_the_free_output_is_exact(form: str) -> None:
    """Below this size the ratio does not apply."""
    exactly = coded(form, bytes(1000))
    assert Result(name_of(form), [exactly], DecodeLimits(1000, 0, 1000, 1)).reason is None
    assert Result(name_of(form), [exactly], DecodeLimits(999, 0, 999, 1)).reason is Reason.TOO_LARGE


@every_form
def test_the_allowed_output_grows_with_the_input(form: str) -> None:
    """A long answer with an ordinary ratio is not a bomb. The total is limited, too."""
    plain = random.Random(2).randbytes(100_000).hex().encode()
    body = coded(form, plain)
    assert Result(name_of(form), [body], DecodeLimits(64 * 1024, 3, MIB, 1)).out == plain
    assert Result(name_of(form), [body], DecodeLimits(64 * 1024, 3, 100_000, 1)).out == plain[:100_000]
    assert Result(name_of(form), [body], DecodeLimits(64 * 1024, 0, MIB, 1)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_members_in_a_row_are_one_body_up_to_a_bound(form: str) -> None:
    """Some servers write one member for each flush; a million members in a few bytes are an attack."""
    unit = coded(form, b"ab")
    for pieces in ([unit * 3], [unit] * 3, single_bytes(unit * 3)):
        result = Result(name_of(form), pieces, SMALL)
        assert (result.reason, result.out) == (None, b"ababab")
        over = Result(name_of(form), [*pieces, unit], SMALL)
        assert (over.reason, over.out) == (Reason.TRAILING_DATA, b"ababab")


def test_a_member_for_each_of_many_events_is_read() -> None:
    """There are as many members as a long answer has events."""
    unit = gzip.compress(b"data: 1\n\n", mtime=0)
    assert Result(b"gzip", [unit * 20_000]).out == b"data: 1\n\n" * 20_000


def test_zstd_window_is_bounded() -> None:
    """RFC 9659: the window is at most 8 MiB, because its memory counts against no other limit."""

    def with_window(log: int) -> Result:
        parameters = zstandard.ZstdCompressionParameters(window_log=log)
        return Result(b"zstd", [zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(12 * MIB))])

    assert with_window(23).out == bytes(12 * MIB)
    assert (with_window(24).out, with_window(24).reason) == (b"", Reason.CORRUPT)


def test_skippable_zstd_frames_are_skipped() -> None:
    """RFC 8878 section 3.1.2."""
    for pieces in ([SKIPPABLE + zstandard.compress(b"{}")], single_bytes(SKIPPABLE + zstandard.compress(b"{}"))):
        assert Result(b"zstd", pieces).out == b"{}"


# Ends


@every_form
@pytest.mark.parametrize("ending", Ending)
def test_an_empty_coded_body_is_an_empty_body(form: str, ending: Ending) -> None:
    """Servers label bodies that they do not send."""
    decoding = ContentDecoder(name_of(form))
    assert decoding.feed(b"") + decoding.finish(ending) == b""


@every_form
def test_a_truncated_coding_is_an_error(form: str) -> None:
    """The body is cut at any byte, with a regular end of its framing."""
    body = coded(form, EVENT % 1)
    for size in range(1, len(body)):
        assert Result(name_of(form), [body[:size]]).reason is Reason.TRUNCATED
        decoding = ContentDecoder(name_of(form))
        decoding.feed(body[:size])
        assert [decoding.finish(ending) for ending in Ending if ending is not Ending.DONE] == [b""] * 5


@every_form
@pytest.mark.parametrize("tail", [b"\x00", b"x", b"{}", b"\x00" * 100_000])
def test_bytes_after_the_end_are_an_error(form: str, tail: bytes) -> None:
    """They come in the same piece or the next one."""
    body = coded(form, b"{}")
    assert Result(name_of(form), [body + tail]).reason in (Reason.CORRUPT, Reason.TRAILING_DATA, Reason.TRUNCATED)
    later = Result(name_of(form), [body, tail])
    assert later.reason in (Reason.CORRUPT, Reason.TRAILING_DATA, Reason.TRUNCATED)
    assert later.out == b"{}"


# Damage


@examples(400)
@given(
    form=st.sampled_from(FORMS),
    plain=st.binary(max_size=60),
    at=st.integers(0, 80),
    junk=st.binary(min_size=1, max_size=6),
    cuts=places,
)
def test_any_bytes_decode_or_are_refused(form: str, plain: bytes, at: int, junk: bytes, cuts: list[int]) -> None:
    """Junk and damaged data give output or the named error, and the same of both however they are split."""
    body = coded(form, plain)
    for damaged in (junk, plain, body[:at] + junk + body[at + len(junk) :]):
        one, other = (
            Result(name_of(form), [damaged], SMALL),
            Result(name_of(form), cut_at(damaged, cuts, empty=True), SMALL),
        )
        assert (one.reason is None) is (other.reason is None)
        shorter, longer = sorted((one.out, other.out), key=len)
        assert longer.startswith(shorter)
        if one.reason is None:
            assert one.out == other.out


@every_form
def test_output_before_an_error_is_available(form: str) -> None:
    """Complete events in earlier pieces are not lost by an error after them."""
    events = EVENT % 1 * 3
    first, *_ = flushed(form, events)
    decoding = ContentDecoder(name_of(form), SMALL)
    assert decoding.feed(first) == events
    with pytest.raises(Undecodable) as caught:
        decoding.feed(b"\xff" * 40)
    assert caught.value.ready == b""
    with pytest.raises(Undecodable) as caught:
        ContentDecoder(name_of(form), DecodeLimits(1000, 0, 1000, 1)).feed(coded(form, b"x" * 1500))
    assert caught.value.ready == b"x" * 1000


def test_a_preset_dictionary_is_an_error() -> None:
    """RFC 1950 section 2.2."""
    coder = zlib.compressobj(zdict=b"hello")
    assert Result(b"deflate", [coder.compress(b"hello") + coder.flush()]).reason is Reason.CORRUPT


# Names


@pytest.mark.parametrize("coding", [b"", b"identity", b"compress", b"aws-chunked", b"gzip,br", b"GZIP", b"\xff"])
def test_other_codings_are_unknown(coding: bytes) -> None:
    """Several codings at once are unknown, too, because layers multiply the ratio."""
    with pytest.raises(Undecodable) as caught:
        ContentDecoder(coding)
    assert caught.value.reason is Reason.UNKNOWN


@pytest.mark.parametrize(
    ("value", "coding"),
    [
        (b"", b""),
        (b" ,\t,", b""),
        (b"identity", b""),
        (b"Identity, identity", b""),
        (b"GZip", b"gzip"),
        (b" br ", b"br"),
        (b"identity, zstd,", b"zstd"),
        (b"gzip, br", b"gzip,br"),
        (b"gzip,gzip", b"gzip,gzip"),
    ],
)
def test_a_coding_may_be_written_in_many_ways(value: bytes, coding: bytes) -> None:
    """RFC 9110 sections 5.6.1 and 8.4.1: case, padding, empty elements and identity do not matter."""
    assert coding_of(value) == coding
