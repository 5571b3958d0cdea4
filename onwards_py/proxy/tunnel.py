"""WebSocket exchanges: an HTTP handshake, then bytes in both directions until one side closes."""

from __future__ import annotations

import asyncio

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Ending
from onwards_py.model.provider import Provider
from onwards_py.observe import outcomes
from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.exchange import Exchange
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.model_lookup import rename_in_query
from onwards_py.routing.routed_request import RoutedRequest
from onwards_py.routing.translated_paths import not_served
from onwards_py.transports.base import OutboundRequest
from onwards_py.transports.outbound_head import upgrade_head
from onwards_py.transports.tunnel import Handshake, TunnelEnd, handshake
from onwards_py.wire.api import api_of
from onwards_py.wire.redacted_error import redacted_body, redacted_head
from onwards_py.wire.response_head import examine_response, replace_fields

_REFUSAL_SECONDS = 5.0  # seconds for the body of a rejected handshake


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
    """Send the handshake. Raises TransportError."""
    return await handshake(attempt.endpoint.provider, attempt.outbound)


async def run_tunnel(attempt: Attempt, handshake: Handshake, now: float) -> None:
    """Forward the provider's response; if it is 101, join the two connections until one of them ends."""
    exchange, provider = attempt.exchange, attempt.endpoint.provider
    head = handshake.answered.result()
    assert handshake.transport is not None
    lines = replace_fields(head.lines, provider.response_fields) if provider.response_fields else head.lines
    exchange.status = head.status
    exchange.committed = now
    exchange.outcome = outcomes.DONE
    if head.status != 101:
        await _forward_refusal(exchange, provider, handshake, now)
        return
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


async def _forward_refusal(exchange: Exchange, provider: Provider, handshake: Handshake, now: float) -> None:
    """Send the provider's rejection to the client, with the part of its body that arrives in time."""
    assert handshake.transport is not None
    head = handshake.answered.result()
    redaction = provider.redaction if head.status >= 400 else None
    if redaction is not None:
        head = redacted_head(head, redaction)
    timer = asyncio.get_running_loop().call_later(_REFUSAL_SECONDS, handshake.transport.abort)
    try:
        facts = examine_response(head, provider.response_fields)
        body = await handshake.body
    finally:
        timer.cancel()
        handshake.transport.abort()
    if redaction is not None:
        facts, body = redacted_body(facts, body, redaction)
    if handshake.is_complete:
        exchange.pass_on(head, facts, body, now)
        return
    exchange.commit(head.status, head.reason, facts.block, facts.length, now)
    exchange.downstream.write(body)
    exchange.finish(Ending.EOF)
