"""A provider's error without our credential in it, which some providers repeat in their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import BodySink, Ending, Filter, ResponseHead
from onwards_py.proxy.decode_response import OF_AN_ERROR, read_within
from onwards_py.proxy.upstream_request import Answer
from onwards_py.transports.base import UpstreamResponse
from onwards_py.wire.decoding import DECODABLE, ContentDecoder, Reason, Undecodable
from onwards_py.wire.error_body import error_response
from onwards_py.wire.redaction import Redaction, Redactor
from onwards_py.wire.response_head import ResponseFacts, provider_lines, without_coding

_SECONDS: Final = 5.0
_UNREADABLE: Final = ProxyError(ErrorKind.UPSTREAM_INVALID, "The upstream service answered with an error.")


async def redacted(answer: Answer) -> Answer:
    """The error ``answer`` (a status of 400 or more) as clients, logs and translations may have it.

    What is coded is read whole, since nobody can look into a part of it: it stays as it came if there is no
    credential in it, and else loses its coding. If it is not there in good time and size, its body is replaced.
    """
    redaction = answer.provider.redaction
    if redaction is None:
        return answer
    head = redacted_head(answer.response.head, redaction)
    facts = msgspec.structs.replace(answer.facts, block=redaction.redact(answer.facts.block))
    if not _is_decodable(facts.coding):
        return Answer(answer.provider, _Redacted(answer.response, head, redaction), facts)
    body = await read_within(answer.response, _SECONDS)
    cleaned = replaced(facts) if body is None else redacted_body(facts, body, redaction)
    return Answer(answer.provider, _Whole(head, cleaned.body), cleaned.facts)


def redacted_head(head: ResponseHead, redaction: Redaction) -> ResponseHead:
    """``head`` without credentials."""
    return ResponseHead(head.status, redaction.redact(head.reason), redaction.redact(head.lines))


class Cleaned(NamedTuple):
    """A whole body without credentials, and what is to be said of it."""

    facts: ResponseFacts
    body: bytes


def redacted_body(facts: ResponseFacts, body: bytes, redaction: Redaction) -> Cleaned:
    """A whole ``body`` without credentials; if it had one inside a content coding, then without the coding, too."""
    if _is_decodable(facts.coding):
        decoded = _decoded(facts.coding, body)
        if decoded is None:
            return replaced(facts)
        blanked = redaction.redact(decoded)
        if blanked != decoded:
            return Cleaned(without_coding(facts, len(blanked)), blanked)
    # Also of a coded one: behind what is coded, in a file name of gzip, or if it is not coded at all, it can be read.
    return Cleaned(facts, redaction.redact(body))


def _is_decodable(codings: bytes) -> bool:
    return bool(codings) and DECODABLE.issuperset(codings.split(b","))


def _decoded(codings: bytes, body: bytes) -> bytes | None:
    """All that can be decoded of it, whole or not; None if that is too much."""
    for coding in reversed(codings.split(b",")):
        try:
            body = ContentDecoder(coding, OF_AN_ERROR).feed(body)
        except Undecodable as error:
            if error.reason is Reason.TOO_LARGE:
                return None
            body = error.ready
    return body


def replaced(facts: ResponseFacts) -> Cleaned:
    """A body of ours for an error whose own cannot be told, and what is to be said of it."""
    body = error_response(_UNREADABLE).body
    own = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return Cleaned(ResponseFacts(provider_lines(facts.block) + own, len(body), event_stream=False), body)


class _Redacted(msgspec.Struct, frozen=True):
    """An UpstreamResponse whose body is blanked as it passes."""

    response: UpstreamResponse
    head: ResponseHead
    redaction: Redaction
    repeated: bool = False

    def complete_body(self) -> bytes | None:
        body = self.response.complete_body()
        return None if body is None else self.redaction.redact(body)

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        return await self.response.pump((Redactor(self.redaction), *pipeline), downstream)

    async def read(self, limit: int) -> bytes | None:
        body = await self.response.read(limit)
        return None if body is None else self.redaction.redact(body)

    def discard(self) -> None:
        self.response.discard()


class _Whole(msgspec.Struct, frozen=True):
    """An UpstreamResponse that is there already."""

    head: ResponseHead
    body: bytes
    repeated: bool = False

    def complete_body(self) -> bytes | None:
        return self.body

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        data = self.body
        for stage in pipeline:
            data = stage.feed(data) + stage.finish(Ending.DONE)
        downstream.write(data)
        return Ending.DONE

    async def read(self, limit: int) -> bytes | None:
        return self.body if len(self.body) <= limit else None

    def discard(self) -> None:
        """Nothing is held."""
