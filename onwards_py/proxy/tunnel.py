"""WebSocket exchanges: an HTTP handshake, then bytes in both directions until one side closes."""

from __future__ import annotations

import asyncio

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Ending, Fault, ResponseHead
from onwards_py.observe import outcomes
from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.exchange import Exchange
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.model_lookup import rename_in_query
from onwards_py.routing.routed_request import RoutedRequest
from onwards_py.routing.translated_paths import not_served
from onwards_py.transports.base import OutboundRequest, TransportError
from onwards_py.transports.outbound_head import upgrade_head
from onwards_py.transports.tunnel import Handshake, TunnelEnd, handshake
from onwards_py.wire.api import api_of
from onwards_py.wire.redacted_error import redacted_body, redacted_head, replaced_error
from onwards_py.wire.response_head import ResponseFacts, examine_response, replace_fields

# Seconds for the body of a rejected handshake.
_REJECTION_SECONDS = 5.0
_RETRYABLE_SECONDS = 2.0  # another provider may be waiting for its turn


def wants_tunnel(routed: RoutedRequest) -> bool:
    """True for a WebSocket handshake (RFC 6455 section 4.1)."""
    return routed.head.upgrade == b"websocket" and routed.request.method == b"GET" and routed.request.http_minor == 1


def prepare_tunnel(exchange: Exchange, routed: RoutedRequest, endpoint: Endpoint) -> Attempt:
    """An attempt to open a tunnel. Raises ProxyError if this provider does not support WebSocket."""
    provider, path = endpoint.provider, routed.path
    api = api_of(path)
    if api is not None and provider.apis.upstream(api) is None:
        raise not_served(api)
    if provider.local is not None or (api is not None and provider.apis.upstream(api) is not api):
        raise ProxyError(ErrorKind.NO_WEBSOCKET)
    if provider.model_name is not None:
        path = rename_in_query(path, provider.model_name)
    head = upgrade_head(routed.head, provider.join(path), provider)
    return Attempt(exchange, routed, endpoint, OutboundRequest(b"GET", routed.path, head, b"", routed.address.model))


async def open_tunnel(attempt: Attempt) -> Handshake:
    """Send the handshake. Raises TransportError, also for a rejection that must not be forwarded."""
    provider = attempt.endpoint.provider
    opened = await handshake(provider, attempt.outbound)
    head = opened.answered.result()
    if head.status != 101:
        try:
            attempt.facts = examine_response(head, provider.response_fields)
        except ProxyError as error:
            opened.abort()
            raise TransportError(Fault.INVALID, "a response head that cannot be forwarded") from error
    return opened


async def run_tunnel(attempt: Attempt, handshake: Handshake, now: float) -> None:
    """Forward a 101 response, and join the two connections until one of them ends."""
    exchange, provider = attempt.exchange, attempt.endpoint.provider
    head = handshake.answered.result()
    assert handshake.transport is not None
    lines = replace_fields(head.lines, provider.response_fields) if provider.response_fields else head.lines
    exchange.status = head.status
    exchange.committed = now
    exchange.outcome = outcomes.DONE
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client, upstream = TunnelEnd(over), TunnelEnd(over)
    client.other, upstream.other = upstream, client
    upstream.attach(handshake.transport)
    reply = b"HTTP/1.1 101 %b%b\r\n\r\n%b" % (head.reason, lines, handshake.rest)
    exchange.downstream.upgrade(reply, client)
    try:
        await over
    finally:
        client.close()
        upstream.close()


class RejectedHandshake(msgspec.Struct, frozen=True):
    """A LastResponse: a provider's response to a handshake other than 101. Not ``complete``: ``body`` is truncated."""

    provider: str
    head: ResponseHead
    facts: ResponseFacts
    body: bytes
    complete: bool

    def send(self, exchange: Exchange, now: float) -> None:
        """See LastResponse."""
        exchange.provider = self.provider
        if self.complete:
            exchange.pass_on(self.head, self.facts, self.body, now)
            return
        exchange.commit(self.head.status, self.head.reason, self.facts.block, self.facts.length, now)
        exchange.downstream.write(self.body)
        exchange.finish(Ending.EOF)


async def read_rejection(attempt: Attempt, handshake: Handshake, *, retryable: bool) -> RejectedHandshake:
    """The provider's rejection, with the part of its body that arrives in time; if it is ``retryable``, with a body of
    the proxy's own instead of a part."""
    provider, head, facts = attempt.endpoint.provider, handshake.answered.result(), attempt.facts
    seconds = _RETRYABLE_SECONDS if retryable else _REJECTION_SECONDS
    timer = asyncio.get_running_loop().call_later(seconds, handshake.abort)
    try:
        body = await handshake.body
    finally:
        timer.cancel()
        handshake.abort()
    if head.status >= 400 and provider.redaction is not None:
        head, facts = redacted_head(head, facts, provider.redaction)
        facts, body = redacted_body(facts, body, provider.redaction)
    if retryable and not handshake.is_complete:
        facts, body = replaced_error(facts)
    return RejectedHandshake(provider.name, head, facts, body, retryable or handshake.is_complete)
