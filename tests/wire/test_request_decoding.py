"""A coded request body is decoded in a bounded copy, and refused if it is invalid or ambiguous."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.request_decoding import FREE, MAX_MEMBERS, decode, decode_in_steps

MIB = 1024 * 1024
SKIPPABLE = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"


def raw_deflate(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-15)
    return coder.compress(data) + coder.flush()


def quick_brotli(data: bytes) -> bytes:
    coded: bytes = brotli.compress(data, quality=1)
    return coded


def streamed_zstd(data: bytes) -> bytes:
    coder = zstandard.ZstdCompressor().compressobj()
    return coder.compress(data) + coder.flush()


def checked_zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


CODERS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"x-gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"zstd", checked_zstd),
    (b"zstd", streamed_zstd),
    (b"br", quick_brotli),
]
every_coder = pytest.mark.parametrize(("coding", "encode"), CODERS, ids=lambda value: getattr(value, "__name__", None))


def refusal(codings: bytes, body: bytes, limit: int = MIB) -> ErrorKind:
    with pytest.raises(ProxyError) as caught:
        decode(codings, body, limit)
    return caught.value.kind


@every_coder
@examples(60)
@given(data=st.binary(max_size=5000), repeat=st.integers(1, 200))
def test_encoded_data_is_decoded(coding: bytes, encode: Callable[[bytes], bytes], data: bytes, repeat: int) -> None:
    """The data are arbitrary. A limit of exactly their size is enough; one byte less is not."""
    plain = data * repeat
    body = encode(plain)
    assert decode(coding, body, len(plain)) == plain
    if plain:
        assert refusal(coding, body, len(plain) - 1) is ErrorKind.BODY_TOO_LARGE


@every_coder
def test_large_incompressible_data_comes_back(coding: bytes, encode: Callable[[bytes], bytes]) -> None:
    """The input has many pieces, as with an image in base64."""
    plain = random.Random(1).randbytes(700_000).hex().encode()
    assert decode(coding, encode(plain), 2 * MIB) == plain


@every_coder
def test_a_few_bytes_may_decode_to_many(coding: bytes, encode: Callable[[bytes], bytes]) -> None:
    """Output that follows the last input is read; it is not a truncation."""
    assert decode(coding, encode(bytes(MIB)), MIB) == bytes(MIB)


def test_data_after_brotli_is_detected_wherever_it_begins() -> None:
    """Input is read in pieces of 16 KiB, and the end may be at the border of one."""
    body = quick_brotli(random.Random(1).randbytes(16_380))
    assert len(body) == 16 * 1024
    assert refusal(b"br", body + b"{}") is ErrorKind.BAD_REQUEST


@every_coder
def test_cut_at_any_byte_is_refused(coding: bytes, encode: Callable[[bytes], bytes]) -> None:
    """Neither a truncated body nor an empty one is accepted."""
    body = encode(b'{"model":"m","messages":[{"role":"user","content":"hello hello hello"}]}')
    for size in range(len(body)):
        assert refusal(coding, body[:size]) is ErrorKind.BAD_REQUEST


@every_coder
@pytest.mark.parametrize("tail", [b"\x00", b"x", b"\x00" * 100_000, b"{}", b"\x1f\x8b", b"\x28\xb5\x2f"])
def test_bytes_after_the_end_are_refused(coding: bytes, encode: Callable[[bytes], bytes], tail: bytes) -> None:
    """Decoders treat trailing data differently, so it could hide a second body."""
    assert refusal(coding, encode(b"{}") + tail) is ErrorKind.BAD_REQUEST


@every_coder
def test_a_bomb_is_defused_within_the_limit(coding: bytes, encode: Callable[[bytes], bytes]) -> None:
    """200 MiB of zeros are refused for their size, and peak memory stays near the limit."""
    body = encode(bytes(200 * MIB))
    tracemalloc.start()
    try:
        assert refusal(coding, body, 4 * MIB) is ErrorKind.BODY_TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 13 * MIB
    finally:
        tracemalloc.stop()


@every_coder
def test_the_ratio_of_output_to_input_is_bounded(coding: bytes, encode: Callable[[bytes], bytes]) -> None:
    """FREE bytes are always allowed, and above them RATIO times the input. Repetitive text passes, and a bomb does
    not, even within the limit."""
    assert len(decode(coding, encode(bytes(FREE)), 64 * MIB)) == FREE
    assert refusal(coding, encode(bytes(2 * FREE + 16 * MIB)), 64 * MIB) is ErrorKind.BODY_TOO_LARGE
    source = random.Random(1)
    plain = b"".join(source.randbytes(300).hex().encode() * 25 for _ in range(800))
    assert decode(coding, encode(plain), 64 * MIB) == plain


def test_input_without_output_is_read_in_steps() -> None:
    """The caller gets control often enough to check the time."""
    frame = b"\x50\x2a\x4d\x18" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20)
    assert sum(1 for _ in decode_in_steps(b"zstd", frame + zstandard.compress(b"{}"), MIB)) >= 64


@pytest.mark.parametrize(
    ("coding", "unit"), [(b"gzip", gzip.compress(b"ab", mtime=0)), (b"zstd", zstandard.compress(b"ab"))]
)
def test_members_are_read_in_a_row_up_to_a_bound(coding: bytes, unit: bytes) -> None:
    """Concatenated gzip members and zstd frames are one body; a million of them are an attack."""
    assert decode(coding, unit * MAX_MEMBERS, 1000) == b"ab" * MAX_MEMBERS
    assert refusal(coding, unit * (MAX_MEMBERS + 1)) is ErrorKind.BAD_REQUEST
    assert refusal(coding, unit * MAX_MEMBERS, 2 * MAX_MEMBERS - 1) is ErrorKind.BODY_TOO_LARGE


def test_deflate_is_one_stream() -> None:
    """A body cannot have a second deflate stream."""
    assert refusal(b"deflate", zlib.compress(b"ab") * 2) is ErrorKind.BAD_REQUEST


def test_skippable_zstd_frames_are_skipped() -> None:
    """RFC 8878 §3.1.2."""
    assert decode(b"zstd", SKIPPABLE + zstandard.compress(b"{}"), 10) == b"{}"


def test_zstd_window_is_bounded() -> None:
    """RFC 9659: the window is at most 8 MiB, because its memory counts against no other limit."""
    plain = random.Random(1).randbytes(MIB) * 20

    def with_window(log: int) -> bytes:
        parameters = zstandard.ZstdCompressionParameters(window_log=log)
        return zstandard.ZstdCompressor(compression_params=parameters).compress(plain)

    assert decode(b"zstd", with_window(23), 20 * MIB) == plain
    assert refusal(b"zstd", with_window(24), 20 * MIB) is ErrorKind.BAD_REQUEST


def test_zlib_dictionary_is_refused() -> None:
    """With a preset dictionary the data cannot be decoded, which is not an error of the proxy."""
    coder = zlib.compressobj(zdict=b"hello")
    assert refusal(b"deflate", coder.compress(b"hello") + coder.flush()) is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize("codings", [b"", b" ", b"identity", b"Identity, identity", b",\t,"])
def test_identity_is_the_body_itself(codings: bytes) -> None:
    """Without a coding there is no copy. The limit still applies."""
    body = b"{}"
    assert decode(codings, body, 2) is body
    assert refusal(codings, body, 1) is ErrorKind.BODY_TOO_LARGE


@pytest.mark.parametrize("codings", [b"GZIP", b" gzip ", b"identity, gzip", b"gzip,identity", b",gzip,", b"X-GZip"])
def test_one_coding_may_be_written_in_many_ways(codings: bytes) -> None:
    """Case, padding, empty list elements and identity do not matter (RFC 9110 §5.6.1, §8.4.1)."""
    assert decode(codings, gzip.compress(b"{}"), 2) == b"{}"


@pytest.mark.parametrize(
    "codings", [b"gzip, gzip", b"br,zstd", b"compress", b"aws-chunked", b"gzip;q=1", b"gzip gzip", b"zstd\x00", b"\xff"]
)
def test_unknown_or_layered_codings_are_unsupported(codings: bytes) -> None:
    """One layer of a known coding is supported; layers multiply the ratio."""
    assert refusal(codings, gzip.compress(gzip.compress(b"{}"))) is ErrorKind.UNSUPPORTED_ENCODING


@examples(300)
@given(st.sampled_from(CODERS), st.binary(max_size=60), st.integers(0, 80), st.binary(min_size=1, max_size=4))
def test_any_bytes_decode_or_are_refused(
    coder: tuple[bytes, Callable[[bytes], bytes]], plain: bytes, at: int, junk: bytes
) -> None:
    """Junk and damaged data give bytes within the limit, or one of the named refusals."""
    coding, encode = coder
    body = encode(plain)
    for damaged in (junk, plain, body[:at] + junk + body[at + len(junk) :]):
        try:
            decoded: bytes | None = decode(coding, damaged, 100)
        except ProxyError:
            decoded = None
        if decoded is None:
            assert refusal(coding, damaged, 100) in (ErrorKind.BAD_REQUEST, ErrorKind.BODY_TOO_LARGE)
        else:
            assert len(decoded) <= 100
