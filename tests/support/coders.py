"""Content codings as servers apply them to streams: a piece for every flush, and the end."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Protocol

import brotli
import zstandard


class _Coder(Protocol):
    def piece(self, data: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class _Deflating:
    def __init__(self, wbits: int) -> None:
        self._coder = zlib.compressobj(wbits=wbits)

    def piece(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._coder.flush()


class _Brotli:
    def __init__(self) -> None:
        self._coder = brotli.Compressor(quality=4)

    def piece(self, data: bytes) -> bytes:
        return bytes(self._coder.process(data) + self._coder.flush())

    def end(self) -> bytes:
        return bytes(self._coder.finish())


class _Zstd:
    def __init__(self) -> None:
        self._coder = zstandard.ZstdCompressor(write_checksum=True).compressobj()

    def piece(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._coder.flush()


FORMS = ["gzip", "x-gzip", "deflate", "bare deflate", "br", "zstd"]
"""Codings, and the form of one that some servers send under its name."""


def name_of(form: str) -> bytes:
    """The form's name in Content-Encoding."""
    return form.removeprefix("bare ").encode()


def flushed(form: str, *pieces: bytes) -> list[bytes]:
    """The coded bytes of each piece, as far as it can be read, and the end behind the last."""
    coder = _coder(form)
    return [*(coder.piece(piece) for piece in pieces), coder.end()]


def coded(form: str, pieces: bytes | Iterable[bytes]) -> bytes:
    """All of it."""
    return b"".join(flushed(form, *([pieces] if isinstance(pieces, bytes) else pieces)))


def _coder(form: str) -> _Coder:
    if form == "br":
        return _Brotli()
    if form == "zstd":
        return _Zstd()
    return _Deflating({"deflate": 15, "bare deflate": -15}.get(form, 31))
