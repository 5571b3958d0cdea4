"""A request with the target that serves it, and whether it may be sent to another provider after a failure."""

from __future__ import annotations

import re

import msgspec
import orjson

from onwards_py.errors import body_too_large
from onwards_py.limits.admission import LimiterSet
from onwards_py.messages import Fault, InboundRequest
from onwards_py.model.policies import FallbackPolicy
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.model_lookup import Address, rename_in_query
from onwards_py.routing.table import LivePool
from onwards_py.wire.api import Api, api_of
from onwards_py.wire.model_scan import ModelSpan
from onwards_py.wire.request_head import RequestHead

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
# Inference has no side effect except its cost; other requests (files, batches, threads) create objects.
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
        return self.request.method in IDEMPOTENT


def retarget(routed: RoutedRequest, target: LivePool) -> RoutedRequest:
    """The request, routed to another target, whose name replaces the model in body and query. Raises ProxyError."""
    address, name = routed.address, target.pool.name
    path = rename_in_query(routed.path, name)
    if len(routed.request.body) > target.pool.max_body:
        raise body_too_large(target.pool.max_body)
    if address.span is None:
        address = msgspec.structs.replace(address, model=name)
        return msgspec.structs.replace(routed, target=target, address=address, path=path)
    written = name.encode() if address.multipart else orjson.dumps(name)
    body = address.body_for(name, written)
    if len(body) > target.pool.max_body:
        raise body_too_large(target.pool.max_body)
    start = address.span.start
    address = Address(name, body, ModelSpan(name, start, start + len(written)), address.decoded, address.multipart)
    request = routed.request if address.decoded else msgspec.structs.replace(routed.request, body=body)
    return msgspec.structs.replace(routed, target=target, address=address, path=path, request=request, rewritten=True)


def is_inference(routed: RoutedRequest) -> bool:
    """True if the request only runs a model, and creates no object at the provider."""
    return _INFERENCE.search(routed.path) is not None


def stores(routed: RoutedRequest) -> bool | None:
    """The value of ``store`` in the request; None if it has none, or is not JSON."""
    if routed.address.notes is not None:
        return routed.address.notes.stores
    try:
        value = _storing(routed.address.body).store
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # This decoder rejects lone surrogates, which JSON allows.
        return True if _STORED.search(routed.address.body) is not None else None
    return value if isinstance(value, bool) else None


def streams(address: Address) -> bool:
    """True if the request asks for a stream. Only a timeout depends on it, so the bytes are searched without parsing.
    Clients write the key near the end of a body, where a backward search finds it at once; a forward search takes half
    a millisecond for 400 kB."""
    if address.notes is not None:
        return address.notes.streams
    body = address.body
    at = body.rfind(_STREAM_KEY)
    while at >= 0 and _STREAMED.match(body, at) is None:
        at = body.rfind(_STREAM_KEY, 0, at)
    return at >= 0


def safe_to_duplicate(routed: RoutedRequest) -> bool:
    """True if two providers may process the request: its method is idempotent, or it is inference and its result is not
    stored."""
    return routed.repeatable or (is_inference(routed) and stores(routed) is not True)


def safe_to_hedge(routed: RoutedRequest) -> bool:
    """True if two providers may process the request without side effects. (Responses are stored by default.)"""
    return safe_to_duplicate(routed) and (api_of(routed.path) is not Api.RESPONSES or stores(routed) is False)


def retry_after_send(routed: RoutedRequest, policy: FallbackPolicy) -> bool:
    """True if the request may be sent to another provider although the first one may have processed and billed it.
    ``hold`` implies this: a failure before the head must not be treated worse than one after it."""
    return routed.repeatable or ((policy.retry_sent or policy.hold is not None) and safe_to_duplicate(routed))


def retries_fault(
    plan: FallbackPlan, fault: Fault, endpoint: Endpoint | None, routed: RoutedRequest, now: float
) -> bool:
    """True if another attempt, at ``endpoint`` or another one, may follow a failure by ``fault``. ``endpoint`` None: it
    is not known which of two hedged attempts failed."""
    again = fault is Fault.CLOSED and safe_to_duplicate(routed) and plan.retries_reset(endpoint, now)
    return again or plan.retries_fault(fault, repeatable=retry_after_send(routed, plan.policy))
