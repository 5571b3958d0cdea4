"""One attempt: a request to one provider, and its response once the head has arrived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from onwards_py.messages import BodySink, Ending, Filter, ResponseHead
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.response_sink import ResponseSink
from onwards_py.proxy.translate_request import Translation, translate
from onwards_py.proxy.upstream_request import outbound_request
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.routed_request import RoutedRequest
from onwards_py.transports.base import OutboundRequest, UpstreamResponse
from onwards_py.wire.response_head import ResponseFacts


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


def prepare(exchange: Exchange, routed: RoutedRequest, endpoint: Endpoint) -> Attempt:
    """An attempt at ``endpoint``. Raises ProxyError if this provider cannot serve the request."""
    provider = endpoint.provider
    if not provider.apis.all_native:
        translation = translate(provider, routed, exchange.principal)
        if translation is not None:
            return Attempt(exchange, routed, endpoint, translation.outbound, translation)
    return Attempt(exchange, routed, endpoint, outbound_request(provider, routed))
