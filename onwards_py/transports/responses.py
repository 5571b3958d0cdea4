"""Upstream responses made of a body in memory or of another response, and the reading of one in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from onwards_py.messages import BodySink, Ending, Filter, ResponseHead
from onwards_py.transports.base import UpstreamResponse
from onwards_py.wire.redaction import Redaction, Redactor


class CompleteResponse(msgspec.Struct, frozen=True):
    """An UpstreamResponse whose body is in memory."""

    head: ResponseHead
    body: bytes
    repeated: bool = False

    def complete_body(self) -> bytes | None:
        """See UpstreamResponse.complete_body."""
        return self.body

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """See UpstreamResponse.pump."""
        data = self.body
        for stage in pipeline:
            data = stage.feed(data) + stage.finish(Ending.DONE)
        downstream.write(data)
        return Ending.DONE

    async def read(self, limit: int) -> bytes | None:
        """See UpstreamResponse.read."""
        return self.body if len(self.body) <= limit else None

    def discard(self) -> None:
        """Does nothing: the response has no connection."""


class RedactedResponse(msgspec.Struct, frozen=True):
    """An UpstreamResponse without credentials in its body, which is redacted while it is forwarded."""

    response: UpstreamResponse
    head: ResponseHead
    redaction: Redaction
    repeated: bool = False

    def complete_body(self) -> bytes | None:
        """See UpstreamResponse.complete_body."""
        body = self.response.complete_body()
        return None if body is None else self.redaction.redact(body)

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """See UpstreamResponse.pump."""
        return await self.response.pump((Redactor(self.redaction), *pipeline), downstream)

    async def read(self, limit: int) -> bytes | None:
        """See UpstreamResponse.read."""
        body = await self.response.read(limit)
        return None if body is None else self.redaction.redact(body)

    def discard(self) -> None:
        """See UpstreamResponse.discard."""
        self.response.discard()


async def read_within(response: UpstreamResponse, limit: int, seconds: float) -> bytes | None:
    """The complete body; None if it is truncated, larger than ``limit``, or takes longer than ``seconds``. The
    connection is free afterwards in any case."""
    timer = asyncio.get_running_loop().call_later(seconds, response.discard)
    try:
        return await response.read(limit)
    finally:
        timer.cancel()
