"""Decoding a response that is read here: some providers use a content coding that the request did not accept."""

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
"""Bytes of an error that are read at most, as they come and decoded."""

OF_AN_ERROR: Final = DecodeLimits(LONGEST_ERROR, 0, LONGEST_ERROR, RESPONSE_LIMITS.members)
"""How much may come out of a coded one."""


async def pump_decoded(attempt: Attempt, sink: BodySink) -> Ending:
    """Move a decoded response into ``sink``. An unknown coding stays; a body that contradicts its coding, or is not
    whole by it, ends as one that broke off."""
    provider, facts = attempt.endpoint.provider, attempt.facts
    decode = DecodeFilter(facts.coding, attempt.response.discard) if facts.coding in DECODABLE else None
    pipeline: tuple[Filter, ...] = () if decode is None else (decode,)
    if provider.trusted and provider.redaction is not None:  # its error messages are passed on
        pipeline = (*pipeline, Redactor(provider.redaction))
    if attempt.exchange.meter is not None:
        pipeline = (*pipeline, attempt.exchange.meter.scan(facts, decoded=True))
    ending = await attempt.response.pump(pipeline, sink)
    return ending if decode is None else decode.ending(ending)


async def read_within(response: UpstreamResponse, seconds: float) -> bytes | None:
    """The whole body of an error; None if it is cut, larger than LONGEST_ERROR, or not there within ``seconds``: then
    the connection is free in any case."""
    timer = asyncio.get_running_loop().call_later(seconds, response.discard)
    try:
        return await response.read(LONGEST_ERROR)
    finally:
        timer.cancel()


def decoded_error(coding: bytes, body: bytes) -> bytes:
    """The body of an error without its coding; as it is if that cannot be undone."""
    if coding not in DECODABLE:
        return body
    decoding = ContentDecoder(coding, OF_AN_ERROR)
    try:
        return decoding.feed(body) + decoding.finish(Ending.DONE)
    except Undecodable:
        return body


class DecodeFilter:
    """Filter: decoded bytes out. If decoding fails no more bytes come out, and ``discard`` frees the provider."""

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
        """All came out before."""
        try:
            return b"" if self._decoding is None else self._decoding.finish(ending)
        except Undecodable:
            self._decoding = None
            return b""

    def ending(self, ending: Ending) -> Ending:
        """How the decoded body ended, if the coded one ended by ``ending``."""
        if self._decoding is not None or ending is Ending.CLIENT_GONE:
            return ending
        return Ending.RESET
