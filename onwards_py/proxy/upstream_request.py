"""The request to one provider, and the error for the client if it fails."""

from __future__ import annotations

from typing import assert_never

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Fault
from onwards_py.model.provider import Provider
from onwards_py.routing.routed_request import IDEMPOTENT, RoutedRequest, streams
from onwards_py.transports.base import OutboundRequest
from onwards_py.transports.outbound_head import outbound_head


def outbound_request(provider: Provider, routed: RoutedRequest) -> OutboundRequest:
    """The native request for this provider. Raises ProxyError for a target that cannot be joined."""
    request, address = routed.request, routed.address
    body, decoded, model = request.body, False, address.model
    if provider.model_name is not None:
        model = provider.model_name
    if provider.model_name is not None and provider.model_json is not None and address.span is not None:
        body = address.body_for(provider.model_name, provider.model_json)
        decoded = address.decoded
    elif address.decoded and (provider.local is not None or routed.rewritten):
        body, decoded = address.body, True  # local engines do not decode bodies
    memo = routed.head.outbound_heads.get(id(provider))
    if memo is not None and memo.provider is provider and not decoded:
        head = memo.before + b"%d" % len(body) + memo.after
    else:
        path = provider.join(routed.path)
        head = outbound_head(routed.head, request.method, path, provider, len(body), decoded=decoded)
    total = provider.timeouts.total
    deadline = routed.began + total if total is not None else None
    within = provider.timeouts.head_of_stream
    if within is not None and not streams(address):
        within = None
    return OutboundRequest(
        request.method, routed.path, head, body, model, request.method in IDEMPOTENT, deadline, within
    )


def error_of(fault: Fault, advice: str | None = None) -> ProxyError:
    """The error for the client if the last attempt failed by ``fault``."""
    if fault is Fault.UNAVAILABLE:
        return ProxyError(ErrorKind.LOCAL_UNAVAILABLE, advice, retry_after=1)
    if fault is Fault.CONNECT:
        return ProxyError(ErrorKind.UPSTREAM_UNREACHABLE, retry_after=1)
    if fault is Fault.EXHAUSTED:
        return ProxyError(ErrorKind.OVERLOADED, "The proxy has no file descriptors or memory left. Please try again.",
                          retry_after=1)  # fmt: skip
    if fault is Fault.NO_PORT:
        return ProxyError(ErrorKind.OVERLOADED, "The proxy has no local port left to connect from. Please try again.",
                          retry_after=1)  # fmt: skip
    if fault is Fault.CONNECT_TIMEOUT or fault is Fault.FIRST_BYTE_TIMEOUT:
        return ProxyError(ErrorKind.UPSTREAM_TIMEOUT)
    if fault is Fault.CLOSED or fault is Fault.INVALID:
        return ProxyError(ErrorKind.UPSTREAM_INVALID)
    assert_never(fault)
