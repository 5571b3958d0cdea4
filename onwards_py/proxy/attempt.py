"""One attempt made ready: what this provider is to be sent, and what is done with its answer."""

from __future__ import annotations

import msgspec

from onwards_py.proxy.early_commit import EarlyStream
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.translate import Translation, begin_early, translate
from onwards_py.proxy.upstream_request import RoutedRequest, outbound_request
from onwards_py.routing.balancer import Endpoint
from onwards_py.transports.base import OutboundRequest


class Attempt(msgspec.Struct):
    """``translation`` None: bytes pass as they are. ``early`` begins the client's stream if the head is slow.

    ``sent_at``: monotonic seconds.
    """

    exchange: Exchange
    routed: RoutedRequest
    member: Endpoint
    outbound: OutboundRequest
    translation: Translation | None = None
    early: EarlyStream | None = None
    sent_at: float = 0.0


def prepare(exchange: Exchange, routed: RoutedRequest, member: Endpoint) -> Attempt:
    """Make an attempt ready. Raises ProxyError for what this provider cannot be asked."""
    provider = member.provider
    translation = translate(provider, routed, exchange.principal) if provider.translates else None
    if translation is None:
        return Attempt(exchange, routed, member, outbound_request(provider, routed))
    early = begin_early(exchange, provider, translation)
    return Attempt(exchange, routed, member, translation.outbound, translation, early)
