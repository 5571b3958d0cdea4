"""Decodes responses that the proxy reads: some providers use a content coding that the request did not accept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from onwards_py.messages import BodySink, Ending, Filter
from onwards_py.proxy.attempt import Attempt
from onwards_py.transports.base import UpstreamResponse
from onwards_py.wire.decoding import DECODABLE, RESPONSE_LIMITS, ContentDecoder, DecodeLimits, Undecodable
from onwards_py.wire.redaction import Redactor

LONGEST_ERROR: Final = 1024 * 1024
"""Maximum bytes of an error, both encoded and decoded."""

OF_AN_ERROR: Final = DecodeLimits(LONGEST_ERROR, 0, LONGEST_ERROR, RESPONSE_LIMITS.members)
"""The limits of an error with a content coding."""


async def pump_decoded(attempt: Attempt, sink: BodySink) -> Ending:
    """Move a decoded response into ``sink``. A body with an unknown coding is not decoded; a body that is corrupt or
    incomplete in its coding counts as truncated."""
    provider, facts = attempt.endpoint.provider, attempt.facts
    decode = DecodeFilter(facts.coding, attempt.response.discard) if facts.coding in DECODABLE else None
    pipeline: tuple[Filter, ...] = () if decode is None else (decode,)
    if provider.trusted and provider.redaction is not None:  # error messages of trusted providers are forwarded
        pipeline = (*pipeline, Redactor(provider.redaction))
    if attempt.exchange.meter is not None:
        pipeline = (*pipeline, attempt.exchange.meter.scan(facts, decoded=True))
    ending = await attempt.response.pump(pipeline, sink)
    return ending if decode is None else decode.ending(ending)


async def read_within(response: UpstreamResponse, seconds: float) -> bytes | None:
    """The complete body of an error; None if it is truncated, larger than LONGEST_ERROR, or takes longer than
    ``seconds``. The connection is free afterwards in any case."""
    timer = asyncio.get_running_loop().call_later(seconds, response.discard)
    try:
        return await response.read(LONGEST_ERROR)
    finally:
        timer.cancel()


def decoded_error(coding: bytes, body: bytes) -> bytes:
    """The decoded body of an error; unchanged if it cannot be decoded."""
    if coding not in DECODABLE:
        return body
    decoding = ContentDecoder(coding, OF_AN_ERROR)
    try:
        return decoding.feed(body) + decoding.finish(Ending.DONE)
    except Undecodable:
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
