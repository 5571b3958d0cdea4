"""Translates a request to the API of the provider, and prepares the translation of the answer."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import msgspec
import orjson

from onwards_py.auth import Principal
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.model.provider import Provider
from onwards_py.routing.routed_request import RoutedRequest
from onwards_py.routing.translated_paths import path_refusal
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.machine import Machine
from onwards_py.transcode.neutral.policy import InvalidRequest, Policy
from onwards_py.transcode.neutral.settings import DEFAULTS, TranslateSettings
from onwards_py.transcode.pairs import chat_over_responses, responses_over_chat, to_chat, to_responses
from onwards_py.transcode.responses import input_tokens
from onwards_py.transcode.responses.profile import HEADER as PROFILE_FIELD
from onwards_py.transcode.responses.profile import is_codex, profile_of_client
from onwards_py.transports.base import OutboundRequest
from onwards_py.transports.outbound_head import outbound_head
from onwards_py.wire import request_decoding
from onwards_py.wire.api import COLLECTIONS, Api, api_of

# X-Onwards-Profile is for the proxy. The proxy reads the answer, so the provider need not compress it.
_NOT_FORWARDED = re.compile(rb"\r\n(?:accept-encoding|x-onwards-profile):[^\r]*", re.IGNORECASE)

_CHAT: Final = COLLECTIONS[Api.CHAT_COMPLETIONS]
_RESPONSES: Final = COLLECTIONS[Api.RESPONSES]
_INPUT_TOKENS: Final = _RESPONSES + b"/input_tokens"


class LocalReply(Exception):
    """Raised if the proxy can answer without a provider, with the JSON ``body``."""

    def __init__(self, body: bytes) -> None:
        super().__init__("answered without a provider")
        self.body = body


class Translation(msgspec.Struct, frozen=True):
    """The translated request. ``machine`` creates the state machine that translates the answer. Its argument
    ``trusted``: the provider's error messages may be forwarded."""

    outbound: OutboundRequest
    machine: Callable[..., Machine]
    wants_stream: bool
    settings: TranslateSettings
    dropped: tuple[str, ...]


class RandomIds:
    """Ids that cannot be guessed."""

    def new_id(self, prefix: str) -> str:
        """See Ids."""
        return prefix + secrets.token_hex(24)


_IDS: Final = RandomIds()


def translate(provider: Provider, routed: RoutedRequest, principal: Principal) -> Translation | None:
    """Translate a request in an API that the provider does not implement; None: the request is native. Reasoning in the
    answer is sealed for ``principal``.

    Raises ProxyError if this provider cannot serve the request, and `LocalReply` if no provider is needed.
    """
    api = api_of(routed.path)
    if api is None or provider.apis.upstream(api) is api:
        return None
    path, query, search = routed.path.partition(b"?")
    path = path.rstrip(b"/")
    rest = query + search
    refusal = path_refusal(provider, path, routed.request.method)
    if refusal is not None:
        raise refusal
    try:
        if api is Api.RESPONSES:
            return _to_chat(provider, routed, principal, path, rest)
        return _to_responses(provider, routed, path, rest)
    except InvalidRequest as refused:
        raise ProxyError(ErrorKind.BAD_REQUEST, refused.message, param=refused.param, code=refused.code) from refused


def _to_chat(provider: Provider, routed: RoutedRequest, principal: Principal, path: bytes, rest: bytes) -> Translation:
    if path.endswith(_INPUT_TOKENS):
        raise LocalReply(orjson.dumps(input_tokens.answer(_decoded(routed))))
    settings = provider.translate or DEFAULTS
    translated = to_chat(_decoded(routed), settings.quirks, _policy(provider, settings, routed, principal))
    machine = partial(responses_over_chat, translated.context, _IDS, _unix_time)
    outbound = _outbound(provider, routed, path.removesuffix(_RESPONSES) + _CHAT + rest, translated.body)
    return Translation(outbound, machine, translated.context.wants_stream, settings, translated.dropped)


def _to_responses(provider: Provider, routed: RoutedRequest, path: bytes, rest: bytes) -> Translation:
    settings = provider.translate or DEFAULTS
    translated = to_responses(_decoded(routed), settings.quirks, settings.policy)
    machine = partial(chat_over_responses, translated.context, _IDS, _unix_time)
    outbound = _outbound(provider, routed, path.removesuffix(_CHAT) + _RESPONSES + rest, translated.body)
    return Translation(outbound, machine, translated.context.wants_stream, settings, translated.dropped)


def _outbound(provider: Provider, routed: RoutedRequest, path: bytes, made: dict[str, object]) -> OutboundRequest:
    made["model"] = model = provider.model_name or routed.address.model
    body = orjson.dumps(made)
    head = outbound_head(routed.head, b"POST", provider.join(path), provider, len(body), decoded=True)
    total = provider.timeouts.total
    deadline = routed.began + total if total is not None else None
    within = provider.timeouts.head_of_stream if made.get("stream") else None
    return OutboundRequest(
        b"POST", path, _NOT_FORWARDED.sub(b"", head), body, model, routed.repeatable, deadline, within
    )


def _policy(provider: Provider, settings: TranslateSettings, routed: RoutedRequest, principal: Principal) -> Policy:
    """The operator's policy, with the settings that depend on this request."""
    policy = replace(settings.policy, origin=provider.model_identity)
    if is_codex(routed.request.fields):
        policy = replace(policy, phased=True)
    profiles = [value for name, value in routed.request.fields if name.lower() == PROFILE_FIELD]
    if profiles:
        policy = replace(policy, profile=_profile(profiles[0]))
    elif policy.profile is None:
        policy = replace(policy, profile=profile_of_client(routed.request.fields))
    if settings.keyring is not None:
        audience = "" if principal.digest is None else principal.digest.hex()
        policy = replace(policy, sealer=settings.keyring.sealer(audience))
    return policy


def _profile(value: bytes) -> Profile | None:
    name = value.decode("latin-1").strip().lower()
    if name == "auto":
        return None
    try:
        return Profile(name)
    except ValueError:
        message = "The header X-Onwards-Profile is one of: auto, openresponses, openai."
        raise ProxyError(ErrorKind.BAD_REQUEST, message) from None


def _decoded(routed: RoutedRequest) -> dict[str, object]:
    body, coding = routed.address.body, routed.head.content_encoding
    if coding and not routed.address.decoded:  # a header named the model, so the body was not read
        body = request_decoding.decode(coding, body, routed.target.pool.max_body)
    try:
        value = lenient_json.loads_request(body)
    except orjson.JSONDecodeError as error:
        raise ProxyError(ErrorKind.BAD_REQUEST, f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProxyError(ErrorKind.BAD_REQUEST, "The body must be a JSON object.")
    value.setdefault("model", routed.address.model)
    return value


def _unix_time() -> int:
    return int(time.time())
