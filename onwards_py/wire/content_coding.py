"""Decode a request body's ``Content-Encoding`` into a bounded copy (RFC 9110 §8.4).

The copy is only read, to learn what the request asks for; the original bytes travel on. A body of a
few kilobytes can unfold to gigabytes, so every decoder here is asked for no more than the limit.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import NoReturn

import brotli
import zstandard

from onwards_py.errors import Kind, ProxyError

MAX_MEMBERS = 16
"""Most gzip members (RFC 1952 §2.2) or zstd frames (RFC 8878 §3) in one body."""

ZSTD_WINDOW = 8 * 1024 * 1024
"""Largest window in bytes that the ``zstd`` content coding may ask for (RFC 9659 §3)."""

_PIECE = 16 * 1024
_ZSTD_EXPANSION = 32 * 1024  # a run-length block: 4 bytes of input become 128 KiB


def decode(codings: bytes, body: bytes, limit: int) -> bytes:
    """Return ``body`` without its content coding, at most ``limit`` bytes.

    ``codings`` is the value of Content-Encoding (of all its lines, joined by commas): one of zstd,
    gzip, x-gzip, br and deflate in any case, besides any number of ``identity``. ``deflate`` is the
    zlib format; bare deflate data, which some senders mean by it, is taken too.

    Raises:
        ProxyError: UNSUPPORTED_ENCODING for an unknown coding or more than one; BAD_REQUEST if the
            data is corrupt, truncated or followed by something else; BODY_TOO_LARGE beyond ``limit``.
    """
    names = [part.strip(b" \t").lower() for part in codings.split(b",")]
    names = [name for name in names if name not in (b"", b"identity")]
    output = _Output(limit)
    if not names:
        output.put(body)
        return body
    decoder = _DECODERS.get(names[0])
    if decoder is None or len(names) > 1:
        raise ProxyError(Kind.UNSUPPORTED_ENCODING)
    try:
        decoder(memoryview(body), output)
    except (zlib.error, zstandard.ZstdError, brotli.error):
        _refuse("is corrupt")
    return output.whole()


class _Output:
    """What was decoded so far; refuses to grow beyond the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = io.BytesIO()
        self.room = limit

    def put(self, piece: bytes) -> None:
        self.room -= len(piece)
        if self.room < 0:
            raise ProxyError(Kind.BODY_TOO_LARGE, f"The request body decodes to more than {self._limit} bytes.")
        self._buffer.write(piece)

    def whole(self) -> bytes:
        return self._buffer.getvalue()


def _refuse(what: str) -> NoReturn:
    raise ProxyError(Kind.BAD_REQUEST, f"The request body {what}: it does not match its Content-Encoding.")


def _gzip(body: memoryview, output: _Output) -> None:
    _inflate(body, output, wbits=31, members=MAX_MEMBERS)


def _deflate(body: memoryview, output: _Output) -> None:
    # RFC 1950 §2.2: method 8, and the first two bytes are a multiple of 31. Bare deflate data that
    # begins so would be a stored block with padding bits set, which no encoder writes.
    wrapped = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    _inflate(body, output, wbits=15 if wrapped else -15, members=1)


def _inflate(body: memoryview, output: _Output, *, wbits: int, members: int) -> None:
    at = 0
    for _ in range(members):
        stream = zlib.decompressobj(wbits)
        while not stream.eof:
            piece = _next_piece(body, at, _PIECE)
            output.put(stream.decompress(piece, output.room + 1))  # 0 would mean: without limit
            at += len(piece) - len(stream.unused_data)
        if at == len(body):
            return
    _refuse("goes on after its end")


def _zstd(body: memoryview, output: _Output) -> None:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    at = 0
    for _ in range(MAX_MEMBERS):
        stream = decompressor.decompressobj()
        while not stream.eof:
            # This decoder cannot be told where to stop, so it gets only as much as cannot overflow.
            piece = _next_piece(body, at, min(_PIECE, max(64, output.room // _ZSTD_EXPANSION)))
            output.put(stream.decompress(piece))
            at += len(piece) - len(stream.unused_data)
        if at == len(body):
            return
    _refuse("goes on after its end")


def _brotli(body: memoryview, output: _Output) -> None:
    stream = brotli.Decompressor()
    at = 0
    while not stream.is_finished():
        wants = stream.can_accept_more_data()
        piece = body[at : at + _PIECE] if wants else b""
        decoded: bytes = stream.process(piece, output_buffer_limit=_PIECE)
        output.put(decoded)
        at += len(piece)
        if wants and not piece and not decoded:  # output may be pending after the last input
            _refuse("is cut short")
    if at != len(body):
        _refuse("goes on after its end")


def _next_piece(body: memoryview, at: int, size: int) -> memoryview:
    piece = body[at : at + size]
    if not piece:
        _refuse("is cut short")
    return piece


_DECODERS: dict[bytes, Callable[[memoryview, _Output], None]] = {
    b"zstd": _zstd,
    b"gzip": _gzip,
    b"x-gzip": _gzip,
    b"br": _brotli,
    b"deflate": _deflate,
}
