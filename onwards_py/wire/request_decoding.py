"""Decode a request body's ``Content-Encoding`` into a bounded copy (RFC 9110 §8.4).

The copy is only read; the original bytes are passed on.
A body of a few kilobytes can decode to gigabytes, so decoding stops at the limit.
"""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import NoReturn

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Ending
from onwards_py.wire.decoding import ContentDecoder, DecodeLimits, Reason, Undecodable, coding_of

MAX_MEMBERS = 16
"""Most gzip members (RFC 1952 §2.2) or zstd frames (RFC 8878 §3) in one body."""


_STEP = 16 * 1024

FREE = 4 * 1024 * 1024
RATIO = 100
"""A body may decode to FREE bytes, and RATIO more for each byte that was sent (both within the limit).

JSON of coding agents compresses by a factor of five to twenty, repetitive text by fifty.
deflate can reach a thousand, zstd thirty thousand.
Reading FREE bytes takes about ten milliseconds.
"""


def decode(codings: bytes, body: bytes, limit: int) -> bytes:
    """Return ``body`` without its content coding: at most ``limit`` bytes, see also RATIO.

    ``codings`` is the value of Content-Encoding (of all its lines, joined by commas): one of zstd, gzip, x-gzip, br and
    deflate in any case, and any number of ``identity``.
    ``deflate`` is the zlib format; bare deflate data, which some senders mean by it, is accepted too.

    Raises:
        ProxyError: UNSUPPORTED_ENCODING for an unknown coding or more than one; BAD_REQUEST if the
            data is corrupt, truncated or followed by something else; BODY_TOO_LARGE beyond ``limit``.
    """
    steps = decode_in_steps(codings, body, limit)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            decoded: bytes = stop.value
            return decoded


def decode_in_steps(codings: bytes, body: bytes, limit: int) -> Generator[None, None, bytes]:
    """`decode` in steps: yields about every millisecond."""
    coding = coding_of(codings)
    if not coding:
        if len(body) > limit:
            _refuse(Reason.TOO_LARGE, limit)
        return body
    buffer = io.BytesIO()
    try:
        decoding = ContentDecoder(coding, DecodeLimits(min(FREE, limit), RATIO, limit, MAX_MEMBERS))
        view = memoryview(body)
        for at in range(0, len(body), _STEP):  # input may produce no output
            for part in decoding.parts(view[at : at + _STEP]):
                buffer.write(part)
                yield
            yield
        decoding.finish(Ending.DONE)
        if not body:
            raise Undecodable(Reason.TRUNCATED)
    except Undecodable as error:
        _refuse(error.reason, min(limit, FREE + RATIO * len(body)))
    return buffer.getvalue()


def _refuse(reason: Reason, limit: int) -> NoReturn:
    if reason is Reason.UNKNOWN:
        raise ProxyError(ErrorKind.UNSUPPORTED_ENCODING)
    if reason is Reason.TOO_LARGE:
        message = f"The request body decodes to more than {limit} bytes: send less, or pack it less."
        raise ProxyError(ErrorKind.BODY_TOO_LARGE, message)
    raise ProxyError(ErrorKind.BAD_REQUEST, f"The request body {reason.value}: it does not match its Content-Encoding.")
