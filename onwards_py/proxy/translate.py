"""Translation at an exchange, in both directions: the request as the provider understands it, and its answer back."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import msgspec
import orjson

from onwards_py.auth import Principal
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Ending, Fault
from onwards_py.model.provider import Mode, Provider
from onwards_py.observe import outcomes
from onwards_py.observe.outcomes import Outcome
from onwards_py.proxy.decode_response import LONGEST_ERROR, decoded_error, pump_decoded
from onwards_py.proxy.delayed_close import Release
from onwards_py.proxy.early_commit import EarlyStream
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.model_lookup import is_responses
from onwards_py.proxy.response_buffer import CollectedAnswer
from onwards_py.proxy.translated_paths import CHAT, INPUT_TOKENS, RESPONSES, path_refusal
from onwards_py.proxy.translated_stream import CommitGate, TranslatedStream
from onwards_py.proxy.upstream_request import Answer, RoutedRequest
from onwards_py.transcode.chat.read_answer import ChatToEvents
from onwards_py.transcode.chat.read_request import to_responses
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.answer_body import AnswerBody, Machine
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.failure import Failure, from_body
from onwards_py.transcode.neutral.pipeline import Answer as Made
from onwards_py.transcode.neutral.pipeline import AnswerCollector, EventFilter
from onwards_py.transcode.neutral.policy import InvalidRequest, Policy
from onwards_py.transcode.neutral.settings import DEFAULTS, TranslateSettings
from onwards_py.transcode.responses import input_tokens
from onwards_py.transcode.responses.profile import HEADER as PROFILE_FIELD
from onwards_py.transcode.responses.profile import is_codex, profile_of_client
from onwards_py.transcode.responses.read_answer import EventsToChunks
from onwards_py.transcode.responses.read_request import to_chat
from onwards_py.transports.base import OutboundRequest
from onwards_py.transports.outbound_head import outbound_head
from onwards_py.wire import request_decoding
from onwards_py.wire.response_head import provider_lines, retry_after

_TRANSLATE: Final = Mode.TRANSLATE
_LONGEST_BODY = 64 * 1024 * 1024  # of a whole answer, which is held to be translated
_LONGEST_DROPPED = 1000  # characters of the header that lists what was left out
# The profile is for us; and what comes back is read here, so there is no use in having it packed first.
_NOT_FORWARDED = re.compile(rb"\r\n(?:accept-encoding|x-onwards-profile):[^\r]*", re.IGNORECASE)
_NOT_IN_A_HEADER = re.compile(r"[^A-Za-z0-9_.\-\[\]]")

_SLOW: Final = ErrorKind.UPSTREAM_TIMEOUT.value
_TOO_LATE: Final = Failure(_SLOW.status, _SLOW.code, _SLOW.message, _SLOW.type)
_FAULTS: Final[dict[Ending, Fault | None]] = {
    Ending.DONE: None,
    Ending.EOF: Fault.CLOSED,
    Ending.RESET: Fault.CLOSED,
    Ending.IDLE: Fault.FIRST_BYTE_TIMEOUT,
    Ending.LIMIT: None,  # by us, since the provider said that it had failed, or would not end
    Ending.CLIENT_GONE: Fault.CLOSED,
}


MakeMachine = Callable[[int, bool], Machine]


class LocalReply(Exception):
    """No provider need be asked: ``body`` is the answer, JSON."""

    def __init__(self, body: bytes) -> None:
        super().__init__("answered without a provider")
        self.body = body


class Translation(msgspec.Struct, frozen=True):
    """A request as the provider is to have it, and what is needed to translate the answer back: ``machine`` makes the
    state machine of an answer, given the time and whether the provider's words are trusted."""

    outbound: OutboundRequest
    machine: MakeMachine
    wants_stream: bool
    settings: TranslateSettings
    dropped: tuple[str, ...]


class RandomIds:
    """Ids that nobody can guess."""

    def new_id(self, prefix: str) -> str:
        """See Ids."""
        return prefix + secrets.token_hex(24)


_IDS: Final = RandomIds()


def translate(provider: Provider, routed: RoutedRequest, principal: Principal) -> Translation | None:
    """Translate a request for an API that the provider does not have; None for any other. What the answer seals is for
    ``principal``.

    Raises ProxyError for what this provider cannot be asked, and `LocalReply` for what it need not be asked.
    """
    path, query, search = routed.path.partition(b"?")
    path = path.rstrip(b"/")
    rest = query + search
    refusal = path_refusal(provider, path, routed.request.method)
    if refusal is not None:
        raise refusal
    try:
        if is_responses(routed.path):
            return _to_chat(provider, routed, principal, path, rest) if provider.mode is _TRANSLATE else None
        if provider.chat_over_responses and path.endswith(CHAT):
            return _to_responses(provider, routed, path, rest)
    except InvalidRequest as refused:
        raise ProxyError(ErrorKind.BAD_REQUEST, refused.message, param=refused.param, code=refused.code) from refused
    return None


def _to_chat(provider: Provider, routed: RoutedRequest, principal: Principal, path: bytes, rest: bytes) -> Translation:
    if path.endswith(INPUT_TOKENS):
        raise LocalReply(orjson.dumps(input_tokens.answer(_decoded(routed))))
    settings = provider.translate or DEFAULTS
    translated = to_chat(_decoded(routed), settings.quirks, _policy(provider, settings, routed, principal))
    context = translated.context

    def machine(now: int, trusted: bool) -> Machine:
        return ChatToEvents(context, _IDS, now, trusted=trusted)

    outbound = _outbound(provider, routed, path.removesuffix(RESPONSES) + CHAT + rest, translated.chat)
    return Translation(outbound, machine, context.wants_stream, settings, translated.dropped)


def _to_responses(provider: Provider, routed: RoutedRequest, path: bytes, rest: bytes) -> Translation:
    settings = provider.translate or DEFAULTS
    translated = to_responses(_decoded(routed), settings.quirks, settings.policy)
    context = translated.context

    def machine(now: int, trusted: bool) -> Machine:
        return EventsToChunks(context, _IDS, now, trusted=trusted)

    outbound = _outbound(provider, routed, path.removesuffix(CHAT) + RESPONSES + rest, translated.responses)
    return Translation(outbound, machine, context.wants_stream, settings, translated.dropped)


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


class FailedAnswer(msgspec.Struct, frozen=True):
    """An answer that failed before anything of it was told, so that another provider may still be tried.

    ``fault`` is how its body broke off; None if the provider itself said that it had failed, as by a status. ``codes``:
    what the failure goes by.
    """

    answer: Answer
    translation: Translation
    made: Made
    codes: frozenset[str]
    fault: Fault | None
    outcome: Outcome

    @property
    def status(self) -> int:
        return self.made.status

    def send(self, exchange: Exchange, now: float) -> None:
        """It is the last answer after all."""
        exchange.provider = self.answer.provider.name
        _answer(exchange, self.answer, self.translation, self.made, now)
        exchange.outcome = self.outcome


def begin_early(exchange: Exchange, provider: Provider, translation: Translation | None) -> EarlyStream | None:
    """What begins the client's stream in time if the provider is slow to answer; None where that is not wished."""
    if translation is None or translation.settings.commit_after is None or not translation.wants_stream:
        return None
    machine, body = _machine(translation, provider)
    return EarlyStream(exchange, machine, body, _own_block(translation, b"text/event-stream"), translation.settings)


def _machine(translation: Translation, provider: Provider) -> tuple[Machine, AnswerBody]:
    machine = translation.machine(_now(), _is_trusted(provider))
    return machine, AnswerBody(machine, _now, event_limit=provider.max_event_bytes, body_limit=_LONGEST_BODY)


async def pass_on_translated(
    exchange: Exchange,
    answer: Answer,
    translation: Translation,
    now: float,
    *,
    early: EarlyStream | None,
    gate: CommitGate,
) -> FailedAnswer | None:
    """Translate the provider's answer and give it to the client. ``now``: when its head came.

    Returns the answer, instead of giving it, if it fails in spite of its status before anything was given.
    """
    head = answer.response.head
    if not 200 <= head.status < 300:
        body = answer.response.complete_body()
        if body is None:
            body = await answer.response.read(LONGEST_ERROR)
        if early is None or not early.give_up(_error_of(answer, body or b"")):
            pass_on_error(exchange, answer, body or b"", translation, now)
        return None
    machine, body_of = _machine(translation, answer.provider) if early is None else (early.machine, early.body)
    release = Release(machine, answer.response.discard)
    if translation.wants_stream:
        events = EventFilter(machine, body_of) if early is None else early.events
        return await _stream(exchange, answer, translation, events, release=release, gate=gate)
    return await _collect(exchange, answer, translation, AnswerCollector(machine, body_of), release)


async def _stream(
    exchange: Exchange,
    answer: Answer,
    translation: Translation,
    events: EventFilter,
    *,
    release: Release,
    gate: CommitGate,
) -> FailedAnswer | None:
    def block() -> bytes:
        return _block(answer, _without(translation, events.dropped), b"text/event-stream", None)

    stream = TranslatedStream(exchange, events, release, block=block, settings=translation.settings, gate=gate)
    try:
        ending = await pump_decoded(exchange, answer, stream)
        stream.finish(ending)
    finally:
        stream.close()
    exchange.dropped += events.dropped
    outcome = release.outcome(ending)
    failure = stream.failure
    if failure is not None and stream.late:
        late, fault = _TOO_LATE, Fault.FIRST_BYTE_TIMEOUT
        return FailedAnswer(answer, translation, _told(late), late.codes, fault, outcomes.UPSTREAM_TIMEOUT)
    if failure is not None:
        return FailedAnswer(answer, translation, _told(failure), failure.codes, _FAULTS[ending], outcome)
    stream.conclude(ending)
    exchange.outcome = outcome
    return None


async def _collect(
    exchange: Exchange, answer: Answer, translation: Translation, collector: AnswerCollector, release: Release
) -> FailedAnswer | None:
    try:
        ending = await pump_decoded(exchange, answer, CollectedAnswer(collector, release))
    finally:
        release.close()
    made = collector.finish(ending)
    outcome = release.outcome(ending)
    if collector.failure is not None:
        return FailedAnswer(answer, translation, made, collector.failure.codes, _FAULTS[ending], outcome)
    exchange.dropped += collector.dropped
    _answer(exchange, answer, _without(translation, collector.dropped), made, time.monotonic())
    exchange.outcome = outcome
    return None


def pass_on_error(exchange: Exchange, answer: Answer, body: bytes, translation: Translation, now: float) -> None:
    """A provider's error: its status and Retry-After, and its words if it is trusted. Raises ProxyError."""
    _answer(exchange, answer, translation, _told(_failure_of(answer, body)), now)


def _failure_of(answer: Answer, body: bytes) -> Failure:
    head = answer.response.head
    if head.status < 400:  # a redirection, which nobody follows with somebody's credentials
        raise ProxyError(ErrorKind.UPSTREAM_INVALID)
    body = decoded_error(answer.facts.coding, body)
    return from_body(head.status, body, _is_trusted(answer.provider), retry_after(head.lines, time.time()))


def _error_of(answer: Answer, body: bytes) -> ProxyError:
    """A provider's error as one of ours, for a stream that has begun."""
    failure = _failure_of(answer, body)
    return ProxyError(ErrorKind.UPSTREAM_INVALID, failure.message, param=failure.param, code=failure.code)


def _answer(exchange: Exchange, answer: Answer, translation: Translation, made: Made, now: float) -> None:
    block = _block(answer, translation, b"application/json", len(made.body))
    exchange.answer_with(made.status, _reason(made.status), block, made.body, now)


def _is_trusted(provider: Provider) -> bool:
    """A model of our own has no secrets in its errors."""
    return provider.trusted or provider.local is not None


def _told(failure: Failure) -> Made:
    return Made(failure.status, orjson.dumps(failure.envelope()))


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


def _without(translation: Translation, dropped: tuple[str, ...]) -> Translation:
    """The same, with what the client is not told of the answer among what was ``dropped``."""
    if not dropped:
        return translation
    return msgspec.structs.replace(translation, dropped=(*translation.dropped, *dropped))


def _block(answer: Answer, translation: Translation, content_type: bytes, length: int | None) -> bytes:
    """The provider's fields but for those that speak of its body, and ours."""
    return provider_lines(answer.facts.block) + _own_block(translation, content_type, length)


def _own_block(translation: Translation, content_type: bytes, length: int | None = None) -> bytes:
    own = b"Content-Type: %b\r\n" % content_type
    if length is not None:
        own += b"Content-Length: %d\r\n" % length
    else:
        own += b"Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n"
    if translation.dropped:
        names = ", ".join(_NOT_IN_A_HEADER.sub("?", name) for name in translation.dropped)
        own += b"X-Onwards-Dropped: %b\r\n" % names[:_LONGEST_DROPPED].encode("ascii")
    return own


def _policy(provider: Provider, settings: TranslateSettings, routed: RoutedRequest, principal: Principal) -> Policy:
    """The operator's policy, with what this request adds to it."""
    policy = replace(settings.policy, origin=_origin(provider))
    if is_codex(routed.request.fields):
        policy = replace(policy, phased=True)
    asked = [value for name, value in routed.request.fields if name.lower() == PROFILE_FIELD]
    if asked:
        policy = replace(policy, profile=_profile(asked[0]))
    elif policy.profile is None:
        policy = replace(policy, profile=profile_of_client(routed.request.fields))
    if settings.keyring is not None:
        audience = "" if principal.digest is None else principal.digest.hex()
        policy = replace(policy, sealer=settings.keyring.sealer(audience))
    return policy


def _origin(provider: Provider) -> str:
    """Who it is that thinks: signatures of one model mean nothing to another. Keys may change."""
    if provider.origin is None:
        return provider.identity
    return f"{provider.host.decode('ascii')}{provider.base_path.decode('ascii')} {provider.model_name or ''}"


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
    if coding and not routed.address.decoded:  # nobody had to look for the model in it: a header named it
        body = request_decoding.decode(coding, body, routed.target.pool.max_body)
    try:
        value = lenient_json.loads_request(body)
    except orjson.JSONDecodeError as error:
        raise ProxyError(ErrorKind.BAD_REQUEST, f"The body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProxyError(ErrorKind.BAD_REQUEST, "The body must be a JSON object.")
    value.setdefault("model", routed.address.model)
    return value


def _now() -> int:
    return int(time.time())
