"""Which model a request asks for, and where in its body the name stands."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final
from urllib.parse import unquote_plus

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
MODEL_IN_QUERY: Final = re.compile(rb"(?<=[?&;])" + _MODEL + rb"(?:=([^&;]*)|(?=[&;]|\Z))", re.IGNORECASE)
"""A parameter of a request target that is called ``model`` in any spelling and case; its value is the first group."""
_MODEL_IN_FORM: Final = re.compile(rb"(?:\A|[&;])[ +]*" + _MODEL + rb"(?:[=&;]|\Z)", re.IGNORECASE)
_LONGEST_MODEL_IN_FORM: Final = 32


class Address(msgspec.Struct, frozen=True, gc=False):
    """``model`` decides the route. ``body`` is the readable body (``decoded``: no longer as it came); ``span``
    is where the name stands in it, if it does. ``renamed``: another name, and the body with that, made beforehand.
    ``notes``: of a large body what need not be looked for in it any more."""

    model: str
    body: bytes
    span: ModelSpan | None = None
    decoded: bool = False
    multipart: bool = False
    renamed: tuple[str, bytes] | None = None
    notes: BodyFlags | None = None

    def body_for(self, model_name: str, model_json: bytes) -> bytes:
        """The body with the name, and nothing else, replaced."""
        assert self.span is not None
        if self.renamed is not None and self.renamed[0] == model_name:
            return self.renamed[1]
        name = model_name.encode() if self.multipart else model_json
        return model_scan.splice(self.body, self.span, name)


def to_be_renamed(address: Address, pool: Pool) -> Provider | None:
    """A provider that wants another name in this large body, as all of ``pool`` do; None: there is no such thing."""
    if address.span is None or len(address.body) <= AT_ONCE or not pool.providers:
        return None
    first = pool.providers[0]
    alike = all(not provider.apis.translates and provider.model_name == first.model_name for provider in pool.providers)
    return first if alike and first.model_json is not None else None


def needs_text(target: LivePool) -> bool:
    """Whether the decoded copy of a coded body may be needed once its model is known: to rename, to translate, to
    answer it here, or to judge by what it says whether and where it may be sent."""
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


def rename(address: Address, provider: Provider) -> Generator[None, None, Address]:
    """The same with the body renamed beforehand, in steps, as ``provider`` wants it."""
    assert address.span is not None
    assert provider.model_name is not None
    assert provider.model_json is not None
    written = provider.model_name.encode() if address.multipart else provider.model_json
    body = yield from model_scan.splice_in_steps(address.body, address.span, written)
    return msgspec.structs.replace(address, renamed=(provider.model_name, body))


class Readable(msgspec.Struct, frozen=True, gc=False):
    """A body that was read: without its content coding (``decoded``: it had one), and what it says of its model."""

    body: bytes
    scanned: ScanResult
    decoded: bool = False
    multipart: bool = False

    def address(self) -> Address:
        """Where the body alone says where to. Raises ProxyError MODEL_REQUIRED."""
        span = self.scanned.require_span()
        return Address(span.name, self.body, span, self.decoded, self.multipart, notes=self.scanned.notes)


def read(head: RequestHead, body: bytes, limit: int) -> Generator[None, None, Readable]:
    """Find the model of a body, in steps of a millisecond or so: yields between them.

    ``limit``: most bytes that it may decode to. Raises ProxyError for what cannot be read for certain.
    """
    decoded = bool(coding_of(head.content_encoding))
    if decoded:
        body = yield from request_decoding.decode_in_steps(head.content_encoding, body, limit)
    media = media_of(head.content_type)
    if media is Media.FORM_DATA:
        scanned = yield from multipart.scan_form(head.content_type, body)
        return Readable(body, scanned, decoded, True)
    if media is Media.UNREADABLE:
        raise ProxyError(ErrorKind.UNSUPPORTED_MEDIA_TYPE)
    alone = head.model_override is None
    like_json = may_be_json(body)
    if media is Media.URLENCODED and not (like_json or alone):
        raise ProxyError(ErrorKind.UNSUPPORTED_MEDIA_TYPE, param="model")
    if media is Media.URLENCODED or (media is Media.ABSENT and not alone):
        yield from _check_form(body)
    if media in (Media.OPAQUE, Media.ABSENT) and not (like_json or alone):
        return Readable(body, ScanResult(), decoded)
    if len(body) <= AT_ONCE:
        return Readable(body, model_scan.scan_any(body, objects_only=alone), decoded)
    return Readable(body, (yield from model_scan.scan_in_steps(body, objects_only=alone)), decoded)


def _check_form(body: bytes) -> Generator[None, None, None]:
    """Refuse a body that names a model if it is read as a URL-encoded form. curl calls JSON that unless it is told
    otherwise, and most providers do not look; those that do must not find another model than we did."""
    for at in range(0, len(body), _WINDOW):
        if _MODEL_IN_FORM.search(body, at, at + _WINDOW + _LONGEST_MODEL_IN_FORM) is not None:
            message = "The body has a field 'model' if it is read as a form: send JSON, as application/json."
            raise ProxyError(ErrorKind.BAD_REQUEST, message, param="model")
        yield


def by_query(target: bytes) -> str:
    """The model of a WebSocket handshake. Raises ProxyError.

    Responses over WebSocket name their model in the first message, which is too late: that is refused (NO_WEBSOCKET).
    """
    found = list(MODEL_IN_QUERY.finditer(target))
    exact = [unquote_plus(one[0].partition(b"=")[0].decode("latin-1")) == "model" for one in found]
    if exact == [True] and (name := _value(found[0])):
        return name
    if api_of(target) is Api.RESPONSES:
        raise ProxyError(ErrorKind.NO_WEBSOCKET)
    raise ProxyError(
        ErrorKind.MODEL_REQUIRED, "Name one model: '?model=' in the URL, or the Model-Override header.", param="model"
    )


# With a Model-Override header. What else names a model must not reach a provider that this caller has no access to, or
# whose model the operator has chosen. See docs/decisions/0016.


def is_guarded(route: Route) -> bool:
    """Whether it matters which model the provider finds in the request: access is checked, or the model is chosen here.
    If not, the header only says where to."""
    pool = route.target.pool
    if pool.keys is not None or pool.rules or _is_led(route):
        return True
    return any(provider.model_name is not None for provider in pool.providers)


def check_query(request: InboundRequest, head: RequestHead, route: Route, name: str) -> None:
    """Refuse (ProxyError) a request target whose query names another model than ``name``, the header's.

    Where another target answers, and of a WebSocket handshake, the query is renamed too: it need not be the same.
    """
    providers = route.target.pool.providers
    if _is_led(route) or (head.upgrade == b"websocket" and not _keeps_names(route.target.pool)):
        return
    for found in MODEL_IN_QUERY.finditer(request.target):
        value = _value(found)
        if value != name and any(value != provider.model_name for provider in providers):
            raise _contradiction("query", name)


def by_header(name: str, readable: Readable, route: Route) -> Address:
    """The address where the header names ``name``. Raises ProxyError if the body names another model, and somebody
    could be asked for that."""
    span = readable.scanned.span
    target = route.target
    renamed = _is_led(route) or not _keeps_names(target.pool)
    if span is not None and span.name != name and not renamed and (target.pool.keys is not None or target.pool.rules):
        raise _contradiction("body", name)
    return Address(name, readable.body, span, readable.decoded, readable.multipart, notes=readable.scanned.notes)


def _is_led(route: Route) -> bool:
    """Another target answers, by whose name the request then goes."""
    return route.redirected or route.target.classifier_route is not None


def _keeps_names(pool: Pool) -> bool:
    return any(provider.model_name is None for provider in pool.providers)


def _contradiction(place: str, name: str) -> ProxyError:
    message = (
        f"The Model-Override header names `{name[:200]}`, and the {place} another model: name the same, or only one."
    )
    return ProxyError(ErrorKind.BAD_REQUEST, message, param="model")


def _value(found: re.Match[bytes]) -> str:
    return unquote_plus((found[1] or b"").decode("latin-1"))


def header_model(value: bytes) -> str:
    """The name in a ``model-override`` header; raises ProxyError."""
    try:
        name = value.decode("utf-8").strip()
    except UnicodeDecodeError:
        name = ""
    if not name:
        raise ProxyError(ErrorKind.MODEL_REQUIRED, "The Model-Override header must name a model.", param="model")
    return name
