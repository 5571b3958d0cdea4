"""The model that a request names, and the position of the name in its body."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final
from urllib.parse import quote, unquote_plus

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider
from onwards_py.routing.table import LivePool, Route
from onwards_py.wire import model_scan, multipart, request_decoding
from onwards_py.wire.api import Api, api_of
from onwards_py.wire.decoding import coding_of
from onwards_py.wire.media_type import Media, may_be_json, media_of
from onwards_py.wire.model_scan import AT_ONCE, BodyFlags, ModelSpan, ScanResult
from onwards_py.wire.request_head import RequestHead

_WINDOW: Final = 64 * 1024
_MODEL = rb"(?:m|%[46]d)(?:o|%[46]f)(?:d|%[46]4)(?:e|%[46]5)(?:l|%[46]c)"
_MODEL_IN_QUERY: Final = re.compile(rb"(?<=[?&;])" + _MODEL + rb"(?:=([^&;]*)|(?=[&;]|\Z))", re.IGNORECASE)
"""A query parameter called ``model``, in any encoding and case; its value is the first group."""
_MODEL_IN_FORM: Final = re.compile(rb"(?:\A|[&;])[ +]*" + _MODEL + rb"(?:[=&;]|\Z)", re.IGNORECASE)
_LONGEST_MODEL_IN_FORM: Final = 32


class Address(msgspec.Struct, frozen=True, gc=False):
    """``model`` decides the route. ``body`` is the decoded body (``decoded``: it had a content coding); ``span`` is the
    position of the model name in it, if it has one. ``renamed``: another name, and the body with that name. ``notes``:
    facts that were found in a large body, so that it is not searched again."""

    model: str
    body: bytes
    span: ModelSpan | None = None
    decoded: bool = False
    multipart: bool = False
    renamed: tuple[str, bytes] | None = None
    notes: BodyFlags | None = None

    def body_for(self, model_name: str, model_json: bytes) -> bytes:
        """The body with the model name replaced, and otherwise unchanged."""
        assert self.span is not None
        if self.renamed is not None and self.renamed[0] == model_name:
            return self.renamed[1]
        name = model_name.encode() if self.multipart else model_json
        return model_scan.splice(self.body, self.span, name)


def common_rename(address: Address, pool: Pool) -> Provider | None:
    """A provider with the model name that all providers of ``pool`` use, for a large body; None: the names differ."""
    if address.span is None or len(address.body) <= AT_ONCE or not pool.providers:
        return None
    first = pool.providers[0]
    alike = all(not provider.apis.translates and provider.model_name == first.model_name for provider in pool.providers)
    return first if alike and first.model_json is not None else None


def needs_decoded_body(target: LivePool) -> bool:
    """True if the decoded copy of a body may be needed after the model lookup: to rename the model, to translate, to
    serve a local model, or to decide which providers may get the request."""
    pool = target.pool
    if (
        target.classifier_route is not None
        or pool.fallback.enabled
        or pool.hedge is not None
        or pool.affinity is not None
    ):
        return True
    return any(
        provider.model_name is not None
        or provider.local is not None
        or provider.apis.translates
        or provider.timeouts.head_of_stream is not None
        for provider in pool.providers
    )


def rewrite_model(address: Address, provider: Provider) -> Generator[None, None, Address]:
    """The address with the model name of ``provider`` in the body, which is rewritten in steps."""
    assert address.span is not None
    assert provider.model_name is not None
    assert provider.model_json is not None
    written = provider.model_name.encode() if address.multipart else provider.model_json
    body = yield from model_scan.splice_in_steps(address.body, address.span, written)
    return msgspec.structs.replace(address, renamed=(provider.model_name, body))


class ScannedBody(msgspec.Struct, frozen=True, gc=False):
    """A decoded body (``decoded``: it had a content coding), and the model found in it."""

    body: bytes
    scanned: ScanResult
    decoded: bool = False
    multipart: bool = False

    def address(self) -> Address:
        """The address by the model in the body. Raises ProxyError MODEL_REQUIRED."""
        span = self.scanned.require_span()
        return Address(span.name, self.body, span, self.decoded, self.multipart, notes=self.scanned.notes)


def scan_body(head: RequestHead, body: bytes, limit: int) -> Generator[None, None, ScannedBody]:
    """Find the model in a body, in steps of about a millisecond: yields between them.

    ``limit``: maximum bytes of the decoded body. Raises ProxyError if providers could parse the body differently.
    """
    decoded = bool(coding_of(head.content_encoding))
    if decoded:
        body = yield from request_decoding.decode_in_steps(head.content_encoding, body, limit)
    media = media_of(head.content_type)
    if media is Media.FORM_DATA:
        scanned = yield from multipart.scan_form(head.content_type, body)
        return ScannedBody(body, scanned, decoded, True)
    if media is Media.UNREADABLE:
        raise ProxyError(ErrorKind.UNSUPPORTED_MEDIA_TYPE)
    alone = head.model_override is None
    like_json = may_be_json(body)
    if media is Media.URLENCODED and not (like_json or alone):
        raise ProxyError(ErrorKind.UNSUPPORTED_MEDIA_TYPE, param="model")
    if media is Media.URLENCODED or (media is Media.ABSENT and not alone):
        yield from _check_form(body)
    if media in (Media.OPAQUE, Media.ABSENT) and not (like_json or alone):
        return ScannedBody(body, ScanResult(), decoded)
    if len(body) <= AT_ONCE:
        return ScannedBody(body, model_scan.scan_any(body, objects_only=alone), decoded)
    return ScannedBody(body, (yield from model_scan.scan_in_steps(body, objects_only=alone)), decoded)


def _check_form(body: bytes) -> Generator[None, None, None]:
    """Raise ProxyError for a body that names a model if it is parsed as a URL-encoded form. curl labels JSON as a form
    by default. Most providers ignore the label, but a provider that parses the form must not find another model."""
    for at in range(0, len(body), _WINDOW):
        if _MODEL_IN_FORM.search(body, at, at + _WINDOW + _LONGEST_MODEL_IN_FORM) is not None:
            message = "The body has a field 'model' if it is read as a form: send JSON, as application/json."
            raise ProxyError(ErrorKind.BAD_REQUEST, message, param="model")
        yield


def model_from_query(target: bytes) -> str:
    """The model of a WebSocket handshake. Raises ProxyError.

    Responses over WebSocket name their model in the first message, after the route is chosen: NO_WEBSOCKET.
    """
    found = list(_MODEL_IN_QUERY.finditer(target))
    exact = [unquote_plus(one[0].partition(b"=")[0].decode("latin-1")) == "model" for one in found]
    if exact == [True] and (name := _value(found[0])):
        return name
    if api_of(target) is Api.RESPONSES:
        raise ProxyError(ErrorKind.NO_WEBSOCKET)
    raise ProxyError(
        ErrorKind.MODEL_REQUIRED, "Name one model: '?model=' in the URL, or the Model-Override header.", param="model"
    )


def rename_in_query(path: bytes, name: str) -> bytes:
    """``path`` with ``name`` as the model in its query, if that has one."""
    return _MODEL_IN_QUERY.sub(b"model=" + quote(name, safe="").encode(), path)


# With a Model-Override header. Another model in the body or the query must not reach a provider if access to models is
# checked, or if the operator has chosen the model. See docs/decisions/0016.


def checks_model(route: Route) -> bool:
    """True if access to models is checked, or the model for the provider is configured. If not, the header only chooses
    the target, and the body may name any model."""
    pool = route.target.pool
    if pool.keys is not None or pool.rules or _is_retargeted(route):
        return True
    return any(provider.model_name is not None for provider in pool.providers)


def check_query(request: InboundRequest, head: RequestHead, route: Route, name: str) -> None:
    """Raise ProxyError if the query names another model than ``name``, the header's.

    For another target, and in a WebSocket handshake, the name in the query is replaced, so it may differ.
    """
    providers = route.target.pool.providers
    if _is_retargeted(route) or (head.upgrade == b"websocket" and not _keeps_names(route.target.pool)):
        return
    for found in _MODEL_IN_QUERY.finditer(request.target):
        value = _value(found)
        if value != name and any(value != provider.model_name for provider in providers):
            raise _conflict("query", name)


def address_from_header(name: str, found: ScannedBody, route: Route) -> Address:
    """The address with ``name``, the header's. Raises ProxyError if the body names another model that could reach a
    provider."""
    span = found.scanned.span
    target = route.target
    renamed = _is_retargeted(route) or not _keeps_names(target.pool)
    if span is not None and span.name != name and not renamed and (target.pool.keys is not None or target.pool.rules):
        raise _conflict("body", name)
    return Address(name, found.body, span, found.decoded, found.multipart, notes=found.scanned.notes)


def _is_retargeted(route: Route) -> bool:
    """True if another target serves the request, with its own name as the model."""
    return route.redirected or route.target.classifier_route is not None


def _keeps_names(pool: Pool) -> bool:
    return any(provider.model_name is None for provider in pool.providers)


def _conflict(place: str, name: str) -> ProxyError:
    message = (
        f"The Model-Override header names `{name[:200]}`, and the {place} another model: name the same, or only one."
    )
    return ProxyError(ErrorKind.BAD_REQUEST, message, param="model")


def _value(found: re.Match[bytes]) -> str:
    return unquote_plus((found[1] or b"").decode("latin-1"))


def model_from_header(value: bytes) -> str:
    """The name in a ``model-override`` header; raises ProxyError."""
    try:
        name = value.decode("utf-8").strip()
    except UnicodeDecodeError:
        name = ""
    if not name:
        raise ProxyError(ErrorKind.MODEL_REQUIRED, "The Model-Override header must name a model.", param="model")
    return name
