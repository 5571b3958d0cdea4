"""The request to the classifier of ``route_by``, and the label in its answer."""

from __future__ import annotations

from typing import Final

import msgspec
import orjson

from onwards_py.limits.admission import LimiterSet
from onwards_py.messages import InboundRequest
from onwards_py.routing.model_lookup import Address
from onwards_py.routing.routed_request import RoutedRequest
from onwards_py.routing.table import LivePool
from onwards_py.wire.request_head import examine

_PATH: Final = b"/v1/chat/completions"
_NO_LIMITERS: Final = LimiterSet.of(())
_MOST_TOKENS: Final = 16  # the limit for a classifier that is a language model


def question(model: str, text: str) -> InboundRequest:
    """The request to the classifier: one user message, answered by a label."""
    messages = [{"role": "user", "content": text}]
    body = orjson.dumps({"model": model, "messages": messages, "max_tokens": _MOST_TOKENS, "temperature": 0})
    fields = [
        (b"Host", b"route-by"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
    ]
    return InboundRequest(b"POST", _PATH, 1, fields, body, "route_by")


def route_question(request: InboundRequest, target: LivePool, began: float) -> RoutedRequest:
    """The request to the classifier, as a routed request."""
    head = examine(request.fields, request.target, request.http_minor)
    head.path = _PATH
    return RoutedRequest(request, head, Address(target.pool.name, request.body), _PATH, target, _NO_LIMITERS, began)


class _Message(msgspec.Struct):
    content: str


class _Alternative(msgspec.Struct):
    message: _Message


class _Answer(msgspec.Struct):
    choices: list[_Alternative]


_decode = msgspec.json.Decoder(_Answer).decode


def label_in(body: bytes) -> str | None:
    """The classifier's label; None if ``body`` has none."""
    try:
        return _decode(body).choices[0].message.content.strip()
    except (msgspec.MsgspecError, IndexError, UnicodeDecodeError):
        return None
