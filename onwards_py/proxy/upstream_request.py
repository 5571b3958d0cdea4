"""The request that one provider gets, and whether it may be sent to another one after a failure."""

from __future__ import annotations

import re
from typing import assert_never

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.admission import LimiterSet
from onwards_py.messages import Fault, InboundRequest
from onwards_py.model.policies import FallbackPolicy
from onwards_py.model.provider import EngineSettings, Provider
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.model_lookup import Address
from onwards_py.routing.table import LivePool
from onwards_py.transports.base import OutboundRequest, Transport
from onwards_py.transports.outbound_head import outbound_head
from onwards_py.wire.request_head import RequestHead

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
# Inference leaves nothing behind but a bill; other requests (files, batches, threads) create objects.
_INFERENCE = re.compile(
    rb"/(?:chat/completions|completions|responses|embeddings|messages|rerank|score|moderations|audio/[a-z]+"
    rb"|images/[a-z]+)/?(?:\?|$)"
)
_STORED = re.compile(rb'"store"[ \t\r\n]*:[ \t\r\n]*true\b')
_STREAM_KEY = b'"stream"'
_STREAMED = re.compile(_STREAM_KEY + rb"[ \t\r\n]*:[ \t\r\n]*true\b")


class _Storing(msgspec.Struct):
    store: object = None


_storing = msgspec.json.Decoder(_Storing).decode


class RoutedRequest(msgspec.Struct, frozen=True, gc=False):
    """A request and the target that is to serve it. ``path`` is the request target in origin form; ``limiter_set`` are
    the limits that must admit it; ``rewritten``: the body differs from the client's. ``began``: monotonic seconds."""

    request: InboundRequest
    head: RequestHead
    address: Address
    path: bytes
    target: LivePool
    limiter_set: LimiterSet
    began: float
    rewritten: bool = False

    @property
    def repeatable(self) -> bool:
        """True if the method is idempotent (RFC 9110 section 9.2.2)."""
        return self.request.method in _IDEMPOTENT


def is_inference(routed: RoutedRequest) -> bool:
    """True if the request only runs a model, and creates no object at the provider."""
    return _INFERENCE.search(routed.path) is not None


def safe_to_duplicate(routed: RoutedRequest) -> bool:
    """True if two providers may work on the request: its method is idempotent, or it is inference whose result is not
    stored."""
    if routed.repeatable:
        return True
    return is_inference(routed) and stores(routed) is not True


def stores(routed: RoutedRequest) -> bool | None:
    """The value of ``store`` in the request; None if it has none, or is not JSON."""
    if routed.address.notes is not None:
        return routed.address.notes.stores
    try:
        value = _storing(routed.address.body).store
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # This decoder refuses lone surrogates, which JSON allows.
        return True if _STORED.search(routed.address.body) is not None else None
    return value if isinstance(value, bool) else None


def retry_after_send(routed: RoutedRequest, policy: FallbackPolicy) -> bool:
    """True if the request may go to another provider after one may have begun to work on it, and to bill it. A hold
    implies that: a connection that breaks before the head must not be worse than one that breaks behind it."""
    return routed.repeatable or ((policy.retry_sent or policy.hold is not None) and safe_to_duplicate(routed))


def retries_fault(
    plan: FallbackPlan, fault: Fault, endpoint: Endpoint | None, routed: RoutedRequest, now: float
) -> bool:
    """True if another attempt, at ``endpoint`` or elsewhere, may follow one that failed by ``fault``. ``endpoint``
    None: it is not known which of two hedged attempts failed."""
    again = fault is Fault.CLOSED and safe_to_duplicate(routed) and plan.retries_reset(endpoint, now)
    return again or plan.retries_fault(fault, repeatable=retry_after_send(routed, plan.policy))


class Transports:
    """The transport of each kind of provider."""

    __slots__ = ("echo", "engines", "http")

    def __init__(self, http: Transport, echo: Transport, engines: Transport) -> None:
        self.http = http
        self.echo = echo
        self.engines = engines

    def of(self, provider: Provider) -> Transport:
        """The transport of this kind of provider."""
        if provider.local is None:
            return self.http
        return self.engines if type(provider.local) is EngineSettings else self.echo


def outbound_request(provider: Provider, routed: RoutedRequest) -> OutboundRequest:
    """The request that this provider gets, as it came. Raises ProxyError for a target that cannot be joined."""
    request, address = routed.request, routed.address
    body, decoded, model = request.body, False, address.model
    if provider.model_name is not None:
        model = provider.model_name
    if provider.model_name is not None and provider.model_json is not None and address.span is not None:
        body = address.body_for(provider.model_name, provider.model_json)
        decoded = address.decoded
    elif address.decoded and (provider.local is not None or routed.rewritten):
        body, decoded = address.body, True  # a local engine decodes no body
    memo = routed.head.outbound_heads.get(id(provider))
    if memo is not None and memo.provider is provider and not decoded:
        head = memo.before + b"%d" % len(body) + memo.after
    else:
        path = provider.join(routed.path)
        head = outbound_head(routed.head, request.method, path, provider, len(body), decoded=decoded)
    total = provider.timeouts.total
    deadline = routed.began + total if total is not None else None
    within = provider.timeouts.head_of_stream
    if within is not None and not _streams(address):
        within = None
    return OutboundRequest(
        request.method, routed.path, head, body, model, request.method in _IDEMPOTENT, deadline, within
    )


def _streams(address: Address) -> bool:
    """True if the request is for a stream. Only a timeout depends on it, so bytes are searched and nothing is parsed.
    Clients write the key near the end of a body, where a backward search finds it at once: a forward search takes half
    a millisecond for 400 kB."""
    if address.notes is not None:
        return address.notes.streams
    body = address.body
    at = body.rfind(_STREAM_KEY)
    while at >= 0 and _STREAMED.match(body, at) is None:
        at = body.rfind(_STREAM_KEY, 0, at)
    return at >= 0


def error_of(fault: Fault, advice: str | None = None) -> ProxyError:
    """The error that the client gets if the last attempt failed by ``fault``."""
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
