"""Reading a provider's answer that must be read, with the content coding undone that nobody asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from onwards_py.messages import BodySink, Ending, Filter
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.upstream_request import Answer
from onwards_py.transports.base import UpstreamResponse
from onwards_py.wire.decoding import DECODABLE, RESPONSE_LIMITS, ContentDecoder, DecodeLimits, Undecodable
from onwards_py.wire.redaction import Redactor

LONGEST_ERROR: Final = 1024 * 1024
"""Bytes of an error that are read at most, as they come and decoded."""

OF_AN_ERROR: Final = DecodeLimits(LONGEST_ERROR, 0, LONGEST_ERROR, RESPONSE_LIMITS.members)
"""How much may come out of a coded one."""


async def pump_decoded(exchange: Exchange, answer: Answer, sink: BodySink) -> Ending:
    """Move an answer into ``sink`` as it can be read. An unknown coding stays; what its own coding contradicts, or is
    not whole by it, ends as what broke off."""
    undo = DecodeFilter(answer.facts.coding, answer.response.discard) if answer.facts.coding in DECODABLE else None
    pipeline: tuple[Filter, ...] = () if undo is None else (undo,)
    if answer.provider.trusted and answer.provider.redaction is not None:  # its errors are told in its own words
        pipeline = (*pipeline, Redactor(answer.provider.redaction))
    if exchange.metered:
        pipeline = (*pipeline, exchange.meter(answer.facts, decoded=True))
    ending = await answer.response.pump(pipeline, sink)
    return ending if undo is None else undo.ending(ending)


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
    """Filter: decoded bytes out. Where that fails nothing more comes out, and ``discard`` frees the provider."""

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
        """How the body ended, that to those who do not look inside ended by ``ending``."""
        if self._decoding is not None or ending is Ending.CLIENT_GONE:
            return ending
        return Ending.RESET
