"""Redacts the provider's credential in errors of the provider: some providers repeat it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import BodySink, Ending, Filter, ResponseHead
from onwards_py.proxy.attempt import Attempt, CompleteResponse
from onwards_py.proxy.decode_response import OF_AN_ERROR, read_within
from onwards_py.transports.base import UpstreamResponse
from onwards_py.wire.decoding import DECODABLE, ContentDecoder, Reason, Undecodable
from onwards_py.wire.error_body import error_response
from onwards_py.wire.redaction import Redaction, Redactor
from onwards_py.wire.response_head import ResponseFacts, provider_lines, without_coding

_SECONDS: Final = 5.0
_UNREADABLE: Final = ProxyError(ErrorKind.UPSTREAM_INVALID, "The upstream service answered with an error.")


async def redact(attempt: Attempt, redaction: Redaction) -> None:
    """Redact credentials in an error (a status of 400 or more), for clients, logs and translations.

    A body with a content coding is read completely, because it can be searched only after decoding. If it contains no
    credential, it is forwarded unchanged, else without the coding. A body that is too slow or too large is replaced.
    """
    response = attempt.response
    head = redacted_head(response.head, redaction)
    attempt.facts = facts = msgspec.structs.replace(attempt.facts, block=redaction.redact(attempt.facts.block))
    if not _is_decodable(facts.coding):
        attempt.response = _Redacted(response, head, redaction)
        return
    body = await read_within(response, _SECONDS)
    attempt.facts, body = replaced(facts) if body is None else redacted_body(facts, body, redaction)
    attempt.response = CompleteResponse(head, body)


def redacted_head(head: ResponseHead, redaction: Redaction) -> ResponseHead:
    """``head`` without credentials."""
    return ResponseHead(head.status, redaction.redact(head.reason), redaction.redact(head.lines))


class Cleaned(NamedTuple):
    """A complete body without credentials, and the facts of its head."""

    facts: ResponseFacts
    body: bytes


def redacted_body(facts: ResponseFacts, body: bytes, redaction: Redaction) -> Cleaned:
    """A complete ``body`` without credentials. If its decoded form contained one, the content coding is removed too."""
    if _is_decodable(facts.coding):
        decoded = _decoded(facts.coding, body)
        if decoded is None:
            return replaced(facts)
        blanked = redaction.redact(decoded)
        if blanked != decoded:
            return Cleaned(without_coding(facts, len(blanked)), blanked)
    # A coded body, too: a credential may be readable behind the coded part, in a gzip file name, or if the coding is
    # only announced.
    return Cleaned(facts, redaction.redact(body))


def _is_decodable(codings: bytes) -> bool:
    return bool(codings) and DECODABLE.issuperset(codings.split(b","))


def _decoded(codings: bytes, body: bytes) -> bytes | None:
    """The decoded body, or its beginning if it is truncated; None if it is too large."""
    for coding in reversed(codings.split(b",")):
        try:
            body = ContentDecoder(coding, OF_AN_ERROR).feed(body)
        except Undecodable as error:
            if error.reason is Reason.TOO_LARGE:
                return None
            body = error.ready
    return body


def replaced(facts: ResponseFacts) -> Cleaned:
    """A body of the proxy's own for an error whose body cannot be sent, and the facts of its head."""
    body = error_response(_UNREADABLE).body
    own = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return Cleaned(ResponseFacts(provider_lines(facts.block) + own, len(body), event_stream=False), body)


class _Redacted(msgspec.Struct, frozen=True):
    """An UpstreamResponse whose body is redacted while it is forwarded."""

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
