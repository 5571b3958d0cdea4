"""Decode a request body's ``Content-Encoding`` into a bounded copy (RFC 9110 §8.4).

The copy is only read, to learn what the request asks for; the original bytes travel on. A body of a
few kilobytes can unfold to gigabytes, so it is decoded no further than the limit.
"""

from __future__ import annotations

import io
from typing import NoReturn

from onwards_py.errors import Kind, ProxyError
from onwards_py.messages import Ending
from onwards_py.wire.decoding import Bounds, Decoding, Reason, Undecodable, coding_of

MAX_MEMBERS = 16
"""Most gzip members (RFC 1952 §2.2) or zstd frames (RFC 8878 §3) in one body."""


def decode(codings: bytes, body: bytes, limit: int) -> bytes:
    """Return ``body`` without its content coding, at most ``limit`` bytes.

    ``codings`` is the value of Content-Encoding (of all its lines, joined by commas): one of zstd,
    gzip, x-gzip, br and deflate in any case, besides any number of ``identity``. ``deflate`` is the
    zlib format; bare deflate data, which some senders mean by it, is taken too.

    Raises:
        ProxyError: UNSUPPORTED_ENCODING for an unknown coding or more than one; BAD_REQUEST if the
            data is corrupt, truncated or followed by something else; BODY_TOO_LARGE beyond ``limit``.
    """
    coding = coding_of(codings)
    if not coding:
        if len(body) > limit:
            _refuse(Reason.TOO_LARGE, limit)
        return body
    buffer = io.BytesIO()
    try:
        decoding = Decoding(coding, Bounds(limit, 0, limit, MAX_MEMBERS))
        for part in decoding.parts(body):
            buffer.write(part)
        decoding.finish(Ending.DONE)
        if not body:
            raise Undecodable(Reason.CUT)
    except Undecodable as error:
        _refuse(error.reason, limit)
    return buffer.getvalue()


def _refuse(reason: Reason, limit: int) -> NoReturn:
    if reason is Reason.UNKNOWN:
        raise ProxyError(Kind.UNSUPPORTED_ENCODING)
    if reason is Reason.TOO_LARGE:
        raise ProxyError(Kind.BODY_TOO_LARGE, f"The request body decodes to more than {limit} bytes.")
    raise ProxyError(Kind.BAD_REQUEST, f"The request body {reason.value}: it does not match its Content-Encoding.")
