"""One attempt: a request to one provider, the response once its head has arrived, or the failure."""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from onwards_py.errors import ProxyError
from onwards_py.messages import ResponseHead
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.response_sink import ResponseSink
from onwards_py.proxy.translate_request import Translation, translate
from onwards_py.proxy.upstream_request import outbound_request
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.routed_request import RoutedRequest
from onwards_py.transports.base import OutboundRequest, UpstreamResponse
from onwards_py.transports.responses import CompleteResponse, RedactedResponse, read_within
from onwards_py.wire.redacted_error import redacted_body, redacted_head, replaced_error
from onwards_py.wire.redaction import Redaction
from onwards_py.wire.response_decoding import LONGEST_ERROR, are_decodable
from onwards_py.wire.response_head import ResponseFacts

_REDACTION_SECONDS: Final = 5.0

NO_RESPONSE: Final[UpstreamResponse] = CompleteResponse(ResponseHead(0, b"", b""), b"")
"""The response of an attempt until a head that may be forwarded has arrived."""

_NO_FACTS: Final = ResponseFacts(b"", None, event_stream=False)


class Attempt(msgspec.Struct):
    """``translation`` None: bytes are forwarded unchanged. ``sink`` is set before the response head only if the
    client's response may begin before it (``commit_after``). ``sent_at``: monotonic seconds."""

    exchange: Exchange
    routed: RoutedRequest
    endpoint: Endpoint
    outbound: OutboundRequest
    translation: Translation | None = None
    sink: ResponseSink | None = None
    sent_at: float = 0.0
    response: UpstreamResponse = NO_RESPONSE
    facts: ResponseFacts = _NO_FACTS


class LastResponse(Protocol):
    """A provider's response that is discarded for another attempt, and is sent if no further attempt follows."""

    def send(self, exchange: Exchange, now: float) -> None:
        """Send the response to the client. Raises ProxyError if the proxy must send an error of its own instead."""
        ...


class AttemptFailed(msgspec.Struct, frozen=True):
    """An attempt that did not serve the client. ``retryable``: another attempt may follow. ``response``: sent if no
    attempt follows; None: ``error`` is sent instead."""

    error: ProxyError
    retryable: bool
    response: LastResponse | None = None

    def send(self, exchange: Exchange, now: float) -> None:
        """Answer the client after the last attempt. Raises ProxyError if the proxy must send an error of its own."""
        if self.response is None:
            raise self.error
        self.response.send(exchange, now)


def prepare(exchange: Exchange, routed: RoutedRequest, endpoint: Endpoint) -> Attempt:
    """An attempt at ``endpoint``. Raises ProxyError if this provider cannot serve the request."""
    provider = endpoint.provider
    if not provider.apis.all_native:
        translation = translate(provider, routed, exchange.principal)
        if translation is not None:
            return Attempt(exchange, routed, endpoint, translation.outbound, translation)
    return Attempt(exchange, routed, endpoint, outbound_request(provider, routed))


async def redact(attempt: Attempt, redaction: Redaction) -> None:
    """Redact credentials in an error (a status of 400 or more), for clients, logs and translations.

    A body with a content coding is read completely, because it can be searched only after decoding. If it contains no
    credential, it is forwarded unchanged, else without the coding. A body that is too slow or too large is replaced.
    """
    response = attempt.response
    head, facts = redacted_head(response.head, attempt.facts, redaction)
    attempt.facts = facts
    if not are_decodable(facts.coding):
        attempt.response = RedactedResponse(response, head, redaction)
        return
    body = await read_within(response, LONGEST_ERROR, _REDACTION_SECONDS)
    attempt.facts, body = replaced_error(facts) if body is None else redacted_body(facts, body, redaction)
    attempt.response = CompleteResponse(head, body)
