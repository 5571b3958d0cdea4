"""Translates a provider's answer for the client, as a stream or as a complete response."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import BodySink, Clock, Ending, Fault, Filter
from onwards_py.model.provider import Provider
from onwards_py.observe import outcomes
from onwards_py.observe.outcomes import Outcome, outcome_of_ending
from onwards_py.proxy.attempt import NO_RESPONSE, Attempt, AttemptFailed
from onwards_py.proxy.delayed_close import CollectedBody, DelayedClose
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.first_content_gate import translated_gate
from onwards_py.proxy.response_sink import ResponseSink, TranslatedEvents
from onwards_py.proxy.translate_request import Translation
from onwards_py.proxy.upstream_request import error_of
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.outlier_detection import note_ending, note_failure, note_success
from onwards_py.routing.routed_request import retries_fault
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.failure import Failure, from_body
from onwards_py.transcode.neutral.machine import Machine
from onwards_py.transcode.neutral.pipeline import AnswerBody, AnswerCollector, ClientResponse, EventFilter
from onwards_py.wire.decoding import DECODABLE
from onwards_py.wire.own_head import STREAM_LINES, dropped_line, json_lines, reason_of
from onwards_py.wire.redaction import Redactor
from onwards_py.wire.response_decoding import LONGEST_ERROR, DecodeFilter, decoded_error
from onwards_py.wire.response_head import provider_lines, retry_after

_LONGEST_BODY = 64 * 1024 * 1024  # bytes of a complete answer, which is buffered for translation
_BROKEN: Final = (outcomes.UPSTREAM_CUT, outcomes.UPSTREAM_IDLE)

_SLOW: Final = ErrorKind.UPSTREAM_TIMEOUT.value
_TOO_LATE: Final = Failure(_SLOW.status, _SLOW.code, _SLOW.message, _SLOW.type)


class FailedAnswer(msgspec.Struct, frozen=True):
    """A LastResponse: an answer that failed before any part of it was sent. ``fault``: how its body was truncated; None
    if the provider reported the failure."""

    attempt: Attempt
    failure: Failure
    fault: Fault | None
    outcome: Outcome

    def send(self, exchange: Exchange, now: float) -> None:
        """See LastResponse."""
        exchange.provider = self.attempt.endpoint.provider.name
        _send_failure(self.attempt, self.failure, now)
        exchange.outcome = self.outcome


def early_sink(attempt: Attempt, clock: Clock) -> ResponseSink | None:
    """The sink of an attempt with ``commit_after``, which begins the client's stream even if the provider is slow; None
    without ``commit_after``."""
    translation = attempt.translation
    if translation is None or translation.settings.commit_after is None or not translation.wants_stream:
        return None
    return _sink(attempt, translation, clock)


def fail_committed(attempt: Attempt, error: ProxyError) -> bool:
    """End a stream that was committed before the response head with ``error``; False if it was not committed."""
    exchange, sink = attempt.exchange, attempt.sink
    if sink is None or not exchange.downstream.committed:
        return False
    kind = error.kind.value
    sink.fail(Failure(kind.status, error.code, error.message, kind.type, error.param))
    exchange.downstream.end()
    exchange.note_refusal(error)
    exchange.status = 200  # the status that was sent
    return True


async def deliver_translated(
    attempt: Attempt, translation: Translation, plan: FallbackPlan | None, clock: Clock
) -> AttemptFailed | None:
    """Translate a response and send it to the client. Returns the failure if no part of it was sent. ``plan`` None: no
    other attempt can follow. Raises ProxyError for a redirection."""
    exchange, head = attempt.exchange, attempt.response.head
    exchange.dropped = translation.dropped
    if not 200 <= head.status < 300:
        body = attempt.response.complete_body()
        if body is None:
            body = await attempt.response.read(LONGEST_ERROR) or b""
        if attempt.sink is None or not fail_committed(attempt, _error_of(attempt, body)):
            send_error_of(attempt, body, clock())
        return None
    if translation.wants_stream:
        failed = await _stream(attempt, translation, plan, clock)
    else:
        failed = await _collect(attempt, translation, clock)
    now = clock()
    if failed is None:
        if not translation.wants_stream:
            note_success(attempt.endpoint)
        elif exchange.outcome in _BROKEN:
            note_ending(attempt.endpoint, Ending.EOF, now)
        return None
    if failed.failure.status >= 500:
        note_failure(attempt.endpoint, now)
    return AttemptFailed(error_of(Fault.INVALID), plan is not None and _retries(plan, failed, now), failed)


def _retries(plan: FallbackPlan, failed: FailedAnswer, now: float) -> bool:
    attempt = failed.attempt
    plan.elapsed = now - attempt.exchange.began
    if failed.fault is None:
        return plan.retries_error(failed.failure.status, failed.failure.codes, attempt.endpoint, now)
    return retries_fault(plan, failed.fault, attempt.endpoint, attempt.routed, now)


def _sink(attempt: Attempt, translation: Translation, clock: Clock) -> ResponseSink:
    exchange, settings = attempt.exchange, translation.settings
    machine, body = _machine(attempt, translation)
    events = EventFilter(machine, body)

    def commit() -> None:
        if attempt.response is NO_RESPONSE:
            block = STREAM_LINES + dropped_line(translation.dropped)
        else:
            note_success(attempt.endpoint)
            block = provider_lines(attempt.facts.block) + STREAM_LINES
            block += dropped_line(translation.dropped + events.dropped)
        exchange.commit(200, b"OK", block, None, clock())

    commit_at = None if settings.commit_after is None else exchange.began + settings.commit_after
    return ResponseSink(exchange.downstream, commit, clock, TranslatedEvents(machine, events, settings, commit_at))


def _machine(attempt: Attempt, translation: Translation) -> tuple[Machine, AnswerBody]:
    provider = attempt.endpoint.provider
    machine = translation.machine(trusted=_is_trusted(provider))
    return machine, AnswerBody(machine, event_limit=provider.max_event_bytes, body_limit=_LONGEST_BODY)


async def _stream(
    attempt: Attempt, translation: Translation, plan: FallbackPlan | None, clock: Clock
) -> FailedAnswer | None:
    exchange = attempt.exchange
    sink = attempt.sink or _sink(attempt, translation, clock)
    attempt.sink = None
    assert sink.events is not None
    events = sink.events.filter
    gate = translated_gate(attempt, events, plan, clock)
    ending = await sink.pump(_pump_decoded(attempt, sink), attempt.response.discard, gate)
    exchange.dropped += events.dropped
    failure = events.failure if sink.open else events.cause
    fault, outcome = _fault_of(ending), _outcome_of(events.cause, ending)
    if sink.late:  # even if the answer so far was complete and empty
        failure, fault, outcome = _TOO_LATE, Fault.FIRST_BYTE_TIMEOUT, outcomes.UPSTREAM_TIMEOUT
    if failure is not None:
        return FailedAnswer(attempt, failure, fault, outcome)
    # The last event reports the end of the answer, so the response is complete, unless the client is gone.
    if ending is Ending.CLIENT_GONE:
        exchange.downstream.abort()
    else:
        exchange.downstream.end()
    exchange.outcome = outcome
    return None


async def _collect(attempt: Attempt, translation: Translation, clock: Clock) -> FailedAnswer | None:
    machine, body = _machine(attempt, translation)
    collector, close = AnswerCollector(machine, body), DelayedClose(machine, attempt.response.discard)
    try:
        ending = await _pump_decoded(attempt, CollectedBody(collector, close))
    finally:
        close.cancel()
    response, failure = collector.finish(ending), machine.failure
    outcome = _outcome_of(failure, ending)
    if failure is not None:
        return FailedAnswer(attempt, failure, _fault_of(ending), outcome)
    exchange = attempt.exchange
    exchange.dropped += collector.dropped
    _answer(attempt, translation.dropped + collector.dropped, response, clock())
    exchange.outcome = outcome
    return None


async def _pump_decoded(attempt: Attempt, sink: BodySink) -> Ending:
    """Move a decoded response into ``sink``. A body with an unknown coding is not decoded; a body that is corrupt or
    incomplete in its coding counts as truncated."""
    provider, facts = attempt.endpoint.provider, attempt.facts
    decode = DecodeFilter(facts.coding, attempt.response.discard) if facts.coding in DECODABLE else None
    pipeline: tuple[Filter, ...] = () if decode is None else (decode,)
    if provider.trusted and provider.redaction is not None:  # error messages of trusted providers are forwarded
        pipeline = (*pipeline, Redactor(provider.redaction))
    if attempt.exchange.meter is not None:
        pipeline = (*pipeline, attempt.exchange.meter.scan(facts, decoded=True))
    ending = await attempt.response.pump(pipeline, sink)
    return ending if decode is None else decode.ending(ending)


def _outcome_of(failure: Failure | None, ending: Ending) -> Outcome:
    """The outcome of an answer whose body ended with ``ending``. An answer that was already complete is complete."""
    if failure is None:
        return outcomes.DONE
    if failure.cut is Ending.LIMIT:
        return outcomes.SIZE_OR_TIME_LIMIT
    # DONE: the framing ended, but not the answer. LIMIT: closed by the proxy, because the provider reported a failure.
    return outcomes.UPSTREAM_CUT if ending in (Ending.DONE, Ending.LIMIT) else outcome_of_ending(ending)


def _fault_of(ending: Ending) -> Fault | None:
    """How an answer that failed broke off; None if the provider, or a limit, ended it."""
    if ending is Ending.DONE or ending is Ending.LIMIT:
        return None
    return Fault.FIRST_BYTE_TIMEOUT if ending is Ending.IDLE else Fault.CLOSED


# Errors


def send_error_of(attempt: Attempt, body: bytes, now: float) -> None:
    """Send a provider's error: its status and Retry-After, and its message if it is trusted. Raises ProxyError."""
    _send_failure(attempt, _failure_of(attempt, body), now)


def _send_failure(attempt: Attempt, failure: Failure, now: float) -> None:
    assert attempt.translation is not None
    response = ClientResponse(failure.status, lenient_json.dumps(failure.envelope()))
    _answer(attempt, attempt.translation.dropped, response, now)


def _failure_of(attempt: Attempt, body: bytes) -> Failure:
    head = attempt.response.head
    if head.status < 400:  # a redirection: following it would send the client's credentials elsewhere
        raise ProxyError(ErrorKind.UPSTREAM_INVALID)
    body = decoded_error(attempt.facts.coding, body)
    return from_body(head.status, body, _is_trusted(attempt.endpoint.provider), retry_after(head.lines, time.time()))


def _error_of(attempt: Attempt, body: bytes) -> ProxyError:
    """A provider's error as an error of the proxy, for a stream that was committed."""
    try:
        failure = _failure_of(attempt, body)
    except ProxyError as redirection:
        return redirection
    return ProxyError(ErrorKind.UPSTREAM_INVALID, failure.message, param=failure.param, code=failure.code)


def _is_trusted(provider: Provider) -> bool:
    """True if error messages may be forwarded: errors of a local model contain no secrets."""
    return provider.trusted or provider.local is not None


# Heads


def _answer(attempt: Attempt, dropped: tuple[str, ...], response: ClientResponse, now: float) -> None:
    status, body = response
    block = provider_lines(attempt.facts.block) + json_lines(len(body)) + dropped_line(dropped)
    attempt.exchange.answer_with(status, reason_of(status), block, body, now)
