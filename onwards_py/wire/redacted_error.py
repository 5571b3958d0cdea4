"""Redacts the provider's credential in errors of the provider: some providers repeat it there."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import ResponseHead
from onwards_py.wire.error_body import error_response
from onwards_py.wire.own_head import json_lines
from onwards_py.wire.redaction import Redaction
from onwards_py.wire.response_decoding import are_decodable, decodable_part
from onwards_py.wire.response_head import ResponseFacts, provider_lines, without_coding

_UNREADABLE: Final = ProxyError(ErrorKind.UPSTREAM_INVALID, "The upstream service answered with an error.")


class RedactedError(NamedTuple):
    """A complete body without credentials, and the facts of its head."""

    facts: ResponseFacts
    body: bytes


def redacted_head(head: ResponseHead, facts: ResponseFacts, redaction: Redaction) -> tuple[ResponseHead, ResponseFacts]:
    """``head`` and its ``facts`` without credentials."""
    redacted = ResponseHead(head.status, redaction.redact(head.reason), redaction.redact(head.lines))
    return redacted, msgspec.structs.replace(facts, block=redaction.redact(facts.block))


def redacted_body(facts: ResponseFacts, body: bytes, redaction: Redaction) -> RedactedError:
    """A complete ``body`` without credentials. If its decoded form contained one, the content coding is removed too."""
    if are_decodable(facts.coding):
        decoded = decodable_part(facts.coding, body)
        if decoded is None:
            return replaced_error(facts)
        blanked = redaction.redact(decoded)
        if blanked != decoded:
            return RedactedError(without_coding(facts, len(blanked)), blanked)
    # The encoded body is searched too: it may have a credential after the encoded part, in a gzip file name, or because
    # it is not really encoded.
    return RedactedError(facts, redaction.redact(body))


def replaced_error(facts: ResponseFacts) -> RedactedError:
    """A body of the proxy's own for an error whose body cannot be sent, and the facts of its head."""
    body = error_response(_UNREADABLE).body
    block = provider_lines(facts.block) + json_lines(len(body))
    return RedactedError(ResponseFacts(block, len(body), event_stream=False), body)
