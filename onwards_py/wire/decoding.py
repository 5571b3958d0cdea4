"""Decode a content coding (RFC 9110 section 8.4) as the bytes arrive.

A few bytes can decode to gigabytes.
So each decoder is asked for limited output, and the limit grows with the input.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final, NamedTuple, Protocol

import brotli
import zstandard

from onwards_py.messages import Ending

ZSTD_WINDOW: Final = 8 * 1024 * 1024
"""Largest window in bytes that the ``zstd`` content coding may ask for (RFC 9659 section 3)."""

_STEP: Final = 16 * 1024
_OUTPUT: Final = 64 * 1024
_ZSTD_EXPANSION: Final = 32 * 1024  # a run-length block: 4 bytes of input become 128 KiB
_ZSTD_LEAST: Final = 64

Data = bytes | memoryview


class Reason(Enum):
    """Why data cannot be decoded."""

    UNKNOWN = "is in a coding that is not known"
    CORRUPT = "is corrupt"
    TRUNCATED = "is cut short"
    TRAILING_DATA = "goes on after its end"
    TOO_LARGE = "decodes to more than is allowed"


class Undecodable(Exception):
    """Data cannot be decoded. ``ready`` was decoded before the error, in the same call, and must still be delivered."""

    def __init__(self, reason: Reason, ready: bytes = b"") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.ready = ready


class DecodeLimits(NamedTuple):
    """Limits of the output: ``free`` bytes, and ``ratio`` more for each byte of input, but ``total`` at most."""

    free: int
    ratio: int
    total: int
    members: int
    """Maximum of gzip members (RFC 1952 section 2.2) or zstd frames (RFC 8878 section 3) in a row."""


RESPONSE_LIMITS: Final = DecodeLimits(free=16 << 20, ratio=128, total=1 << 30, members=100_000)
"""Text of a model that repeats itself compresses well, but not without limit. Some servers make a member per flush."""


class ContentDecoder:
    """Coded bytes in, decoded bytes out. All that can be decoded is returned at once.

    ``coding`` is a member of `DECODABLE`.
    Raises Undecodable. Then the decoder cannot be used again.
    The output of a valid body, and whether it is valid, does not depend on how the input was cut.
    Of a corrupt body, only a beginning is decoded; its length depends on how the input was cut.
    """

    __slots__ = ("_bounds", "_fed", "_made", "_make", "_members", "_most_members", "_unit")

    def __init__(self, coding: bytes, bounds: DecodeLimits = RESPONSE_LIMITS) -> None:
        known = _CODINGS.get(coding)
        if known is None:
            raise Undecodable(Reason.UNKNOWN)
        self._make = known.decoder()
        self._most_members = bounds.members if known.repeats else 1
        self._bounds = bounds
        self._unit: _Unit | None = None
        self._members = 0
        self._fed = 0
        self._made = 0

    def feed(self, piece: bytes) -> bytes:
        """Return all that can be decoded."""
        ready: list[bytes] = []
        try:
            for part in self.parts(piece):
                ready.append(part)  # noqa: PERF402  (what came before an error counts)
        except Undecodable as error:
            error.ready = b"".join(ready)
            raise
        return ready[0] if len(ready) == 1 else b"".join(ready)

    def parts(self, piece: Data) -> Iterator[bytes]:
        """`feed` in parts, for callers that do not keep them. Parts of zstd can be large. Iterate to the end."""
        view = memoryview(piece)
        while view:
            # The limit changes at fixed offsets of the input only, so it does not depend on how the input was cut.
            into = self._fed % _STEP
            bounds = self._bounds
            allowed = min(bounds.free + bounds.ratio * (self._fed - into), bounds.total)
            within = view[: _STEP - into]
            self._fed += len(within)
            yield from self._decode(within, allowed)
            view = view[len(within) :]

    def finish(self, ending: Ending) -> bytes:
        """Returns no bytes. Raises Undecodable if the body ended within the coded data. An empty body is valid."""
        if ending is Ending.DONE and self._unit is not None:
            raise Undecodable(Reason.TRUNCATED)
        return b""

    def _decode(self, data: Data, allowed: int) -> Iterator[bytes]:
        pending = False
        while data or pending:
            unit = self._unit or self._begin(data)
            room = allowed - self._made
            try:
                decoded = unit.decode(data, room)
            except (zlib.error, zstandard.ZstdError, brotli.error):
                raise Undecodable(Reason.CORRUPT) from None
            data, pending = unit.rest, unit.pending
            self._unit = None if unit.ended else unit
            self._made += len(decoded)
            if decoded:
                yield decoded if len(decoded) <= room else decoded[:room]
            if len(decoded) > room:
                raise Undecodable(Reason.TOO_LARGE)

    def _begin(self, data: Data) -> _Unit:
        if self._members == self._most_members:
            raise Undecodable(Reason.TRAILING_DATA)
        self._members += 1
        return self._make(data)


# The libraries


class _Unit(Protocol):
    """The decoder of one member, frame or stream. Each call sets the attributes."""

    rest: Data
    """Input that was not read."""
    pending: bool
    """There is more output without further input."""
    ended: bool

    def decode(self, data: Data, room: int) -> bytes:
        """Decode some of ``data``; not much more than ``room`` bytes."""
        ...


class _Inflate:
    """A gzip member, or a deflate stream; ``wbits`` as in zlib."""

    __slots__ = ("_stream", "ended", "pending", "rest")

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self.rest: Data = b""
        self.pending = self.ended = False

    def decode(self, data: Data, room: int) -> bytes:
        stream = self._stream
        most = min(room + 1, _OUTPUT)  # zlib takes 0 as "no limit"
        decoded = stream.decompress(data, most)
        self.ended = stream.eof
        self.rest = stream.unused_data if self.ended else stream.unconsumed_tail
        self.pending = len(decoded) == most and not self.ended
        return decoded


class _Zstd:
    """A zstd frame. The library cannot limit its output, so it gets input in small pieces that hardly exceed the
    limit."""

    __slots__ = ("_stream", "ended", "pending", "rest")

    def __init__(self, decompressor: zstandard.ZstdDecompressor) -> None:
        self._stream = decompressor.decompressobj()
        self.rest: Data = b""
        self.pending = self.ended = False

    def decode(self, data: Data, room: int) -> bytes:
        stream = self._stream
        size = max(_ZSTD_LEAST, room // _ZSTD_EXPANSION)
        decoded = stream.decompress(data[:size])
        self.ended = stream.eof
        self.rest = data[size:] if not stream.unused_data else stream.unused_data + bytes(data[size:])
        return decoded


class _Brotli:
    """A brotli stream. It reads all of its input, and raises an error for data after its end."""

    __slots__ = ("_stream", "ended", "pending", "rest")

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        self.rest: Data = b""
        self.pending = self.ended = False

    def decode(self, data: Data, room: int) -> bytes:
        stream = self._stream
        most = min(room + 1, _OUTPUT)
        decoded: bytes = stream.process(data, output_buffer_limit=most)
        self.ended = stream.is_finished()
        # More output can follow, although all input was read and the limit was not reached, until a call returns no
        # bytes.
        self.pending = not self.ended and (decoded != b"" or not stream.can_accept_more_data())
        return decoded


_Make = Callable[[Data], _Unit]
"""Creates the decoder of data that begins with the argument."""


class _Coding(NamedTuple):
    decoder: Callable[[], _Make]
    """Called once for a body."""
    repeats: bool
    """A body may be several units in a row."""


def _gzip() -> _Make:
    return lambda _: _Inflate(31)


def _deflate() -> _Make:
    # RFC 1950 section 2.2: the zlib format begins with method 8. Some senders use the name "deflate" for bare deflate
    # data, which would begin with these bits only in a stored block with padding bits set; no encoder writes that.
    return lambda data: _Inflate(15 if data[0] & 0x0F == 8 else -15)


def _zstd() -> _Make:
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    return lambda _: _Zstd(decompressor)


def _brotli() -> _Make:
    return lambda _: _Brotli()


_CODINGS: Final = {
    b"zstd": _Coding(_zstd, repeats=True),
    b"gzip": _Coding(_gzip, repeats=True),
    b"x-gzip": _Coding(_gzip, repeats=True),
    b"br": _Coding(_brotli, repeats=False),
    b"deflate": _Coding(_deflate, repeats=False),
}

DECODABLE: Final = frozenset(_CODINGS)
"""Codings that can be decoded, in lower case."""


def coding_of(value: bytes) -> bytes:
    """The coding of a Content-Encoding, in lower case. Empty: none but ``identity``.

    Several codings, which are not decoded here, are joined by commas.
    ``value``: the values of all its lines, joined by commas.
    """
    names = [part.strip(b" \t").lower() for part in value.split(b",")]
    return b",".join([name for name in names if name not in (b"", b"identity")])
