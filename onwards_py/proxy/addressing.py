"""Which model a request asks for, and where in its body the name stands."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from onwards_py.errors import Kind, ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.wire import content_coding, model_scan, multipart
from onwards_py.wire.model_scan import ModelSpan
from onwards_py.wire.request_head import RequestHead


class Address(msgspec.Struct, frozen=True, gc=False):
    """``model`` decides the route. ``body`` is the readable body (``decoded``: no longer as it came); ``span``
    is where the name stands in it, if it does."""

    model: str
    body: bytes
    span: ModelSpan | None = None
    decoded: bool = False
    multipart: bool = False

    def body_for(self, model_name: str, model_json: bytes) -> bytes:
        """The body with the name, and nothing else, replaced."""
        assert self.span is not None
        name = model_name.encode() if self.multipart else model_json
        return model_scan.splice(self.body, self.span, name)


def find_address(request: InboundRequest, head: RequestHead, max_body: int) -> Address:
    """The model by header, by body, or (upgrades only) by query; raises ProxyError naming ``model``.

    A ``model-override`` header wins. The body is then looked at only if a provider renames (`locate`).
    Responses over WebSocket name their model in the first message, which is too late: that is refused (NO_WEBSOCKET).
    """
    if head.model_override is not None:
        return Address(header_model(head.model_override), request.body)
    if head.upgrade == b"websocket" and request.method == b"GET":
        try:
            return Address(_query_name(request.target), request.body)
        except ProxyError:
            if is_responses(request.target):
                raise ProxyError(Kind.NO_WEBSOCKET) from None
            raise
    if not request.body:
        raise ProxyError(Kind.MODEL_REQUIRED, param="model")
    return _from_body(request.body, head, max_body)


def locate(address: Address, request: InboundRequest, head: RequestHead, max_body: int) -> Address:
    """The same address with its place in the body, for a provider that renames.

    A request routed by header may have any body; where no model is found in it, there is nothing to rename.
    """
    if address.span is not None or not request.body or head.model_override is None:
        return address
    try:
        found = _from_body(request.body, head, max_body)
    except ProxyError:
        return address
    return Address(address.model, found.body, found.span, found.decoded, found.multipart)


def _from_body(body: bytes, head: RequestHead, max_body: int) -> Address:
    decoded = False
    if head.content_encoding and head.content_encoding.strip().lower() != b"identity":
        body = content_coding.decode(head.content_encoding, body, max_body)
        decoded = True
    if head.content_type[:10].lower() == b"multipart/":
        span = multipart.model_of(head.content_type, body)
        return Address(span.name, body, span, decoded, multipart=True)
    span = model_scan.scan(body)
    return Address(span.name, body, span, decoded)


def is_responses(path: bytes) -> bool:
    """True for the paths of the Responses API."""
    path = path.partition(b"?")[0].rstrip(b"/")
    return path.endswith(b"/responses") or b"/responses/" in path


def header_model(value: bytes) -> str:
    """The name in a ``model-override`` header; raises ProxyError."""
    try:
        name = value.decode("utf-8").strip()
    except UnicodeDecodeError:
        name = ""
    if not name:
        raise ProxyError(Kind.MODEL_REQUIRED, "The Model-Override header must name a model.", param="model")
    return name


def _query_name(target: bytes) -> str:
    query = target.partition(b"?")[2].decode("latin-1")
    names = [value for key, value in parse_qsl(query, keep_blank_values=True) if key == "model"]
    if len(names) != 1 or not names[0]:
        raise ProxyError(
            Kind.MODEL_REQUIRED, "Name one model: '?model=' in the URL, or the Model-Override header.", param="model"
        )
    return names[0]
