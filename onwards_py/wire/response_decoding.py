"""Decodes responses that the proxy reads: some providers use a content coding that the request did not accept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from onwards_py.messages import Ending
from onwards_py.wire.decoding import DECODABLE, RESPONSE_LIMITS, ContentDecoder, DecodeLimits, Reason, Undecodable

LONGEST_ERROR: Final = 1024 * 1024
"""Maximum bytes of an error, both encoded and decoded."""

_OF_AN_ERROR: Final = DecodeLimits(LONGEST_ERROR, 0, LONGEST_ERROR, RESPONSE_LIMITS.members)


def decoded_error(coding: bytes, body: bytes) -> bytes:
    """The decoded body of an error; unchanged if it cannot be decoded."""
    if coding not in DECODABLE:
        return body
    decoding = ContentDecoder(coding, _OF_AN_ERROR)
    try:
        return decoding.feed(body) + decoding.finish(Ending.DONE)
    except Undecodable:
        return body


def are_decodable(codings: bytes) -> bool:
    """True if there are ``codings``, in a list with commas, and all are known."""
    return bool(codings) and DECODABLE.issuperset(codings.split(b","))


def decodable_part(codings: bytes, body: bytes) -> bytes | None:
    """The decoded body, or its beginning if it is truncated; None if it is too large."""
    for coding in reversed(codings.split(b",")):
        try:
            body = ContentDecoder(coding, _OF_AN_ERROR).feed(body)
        except Undecodable as error:
            if error.reason is Reason.TOO_LARGE:
                return None
            body = error.ready
    return body


class DecodeFilter:
    """Filter: decodes a body. After a decoding error it returns no bytes, and ``discard`` closes the connection."""

    __slots__ = ("_decoding", "_discard")

    def __init__(self, coding: bytes, discard: Callable[[], None]) -> None:
        self._decoding: ContentDecoder | None = ContentDecoder(coding)
        self._discard = discard

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes."""
        if self._decoding is None:
            return b""
        try:
            return self._decoding.feed(piece)
        except Undecodable as error:
            self._decoding = None
            self._discard()
            return error.ready

    def finish(self, ending: Ending) -> bytes:
        """Returns no bytes: `feed` has returned all of them."""
        try:
            return b"" if self._decoding is None else self._decoding.finish(ending)
        except Undecodable:
            self._decoding = None
            return b""

    def ending(self, ending: Ending) -> Ending:
        """The ending of the decoded body; ``ending``: that of the encoded body."""
        if self._decoding is not None or ending is Ending.CLIENT_GONE:
            return ending
        return Ending.RESET
