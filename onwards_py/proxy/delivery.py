"""Sends a provider's response to the client, at once or from its first content on."""

from __future__ import annotations

import time
from typing import Final

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Clock, Ending, Fault, Filter
from onwards_py.proxy.attempt import Attempt, AttemptFailed
from onwards_py.proxy.buffered_response import BufferedResponse
from onwards_py.proxy.first_content_gate import native_gate, retries_verdict
from onwards_py.proxy.response_sink import ResponseSink
from onwards_py.proxy.translate_response import deliver_translated
from onwards_py.proxy.upstream_request import error_of
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.outlier_detection import note_ending, note_failure, note_success
from onwards_py.routing.routed_request import retries_fault
from onwards_py.transcode.cut_notice import CutNotice
from onwards_py.transcode.responses.repair.filter import Repair
from onwards_py.wire.api import Api, api_of
from onwards_py.wire.rechunk import Rechunker

_DONE: Final = Ending.DONE
_ANSWERED_WITH_ERROR: Final = "The upstream service answered with an error."


async def deliver(attempt: Attempt, plan: FallbackPlan | None, clock: Clock, *, held: bool) -> AttemptFailed | None:
    """Send a response to the client, at once or, if ``held``, from its first content on. Returns the failure if the
    response had no content and no part of it was sent."""
    if attempt.translation is not None:
        return await deliver_translated(attempt, attempt.translation, plan, clock)
    if held and plan is not None:
        return await _deliver_held(attempt, plan, clock)
    _commit(attempt, clock())
    pipeline = _pipeline(attempt)
    ending = await attempt.response.pump(pipeline, attempt.exchange.downstream)
    _finish(attempt, pipeline, ending)
    if attempt.endpoint.health is not None:
        note_ending(attempt.endpoint, ending, clock())
    return None


def _commit(attempt: Attempt, now: float) -> None:
    head, facts = attempt.response.head, attempt.facts
    attempt.exchange.commit(head.status, head.reason, facts.block, facts.length, now)


def _pipeline(attempt: Attempt) -> tuple[Filter, ...]:
    exchange, routed, provider, facts = attempt.exchange, attempt.routed, attempt.endpoint.provider, attempt.facts
    pipeline: tuple[Filter, ...] = ()
    if facts.event_stream and provider.repair and facts.length is None and api_of(routed.path) is Api.RESPONSES:
        exchange.repair = Repair(int(time.time()), routed.address.model, limit=provider.max_event_bytes)
        pipeline = (exchange.repair,)
    elif facts.event_stream and provider.rechunk:
        rechunker = Rechunker(provider.max_event_bytes, passes=provider.passes_large_events)
        pipeline = (rechunker,)
        if provider.cut_notice and facts.length is None:
            pipeline = (rechunker, CutNotice(routed.path, rechunker))
    if exchange.meter is not None:
        pipeline = (exchange.meter.scan(facts), *pipeline)
    return pipeline


def _finish(attempt: Attempt, pipeline: tuple[Filter, ...], ending: Ending) -> None:
    """End the client's response. An error event is appended to a truncated stream if ``cut_notice`` is set."""
    if ending is not _DONE and pipeline and type(notice := pipeline[-1]) is CutNotice:
        attempt.exchange.downstream.write(notice.text(ending))
    attempt.exchange.finish(ending)


async def _deliver_held(attempt: Attempt, plan: FallbackPlan, clock: Clock) -> AttemptFailed | None:
    exchange, endpoint = attempt.exchange, attempt.endpoint

    def commit() -> None:
        note_success(endpoint)
        _commit(attempt, clock())

    sink = ResponseSink(exchange.downstream, commit, clock)
    pipeline, response = _pipeline(attempt), attempt.response
    gate = native_gate(attempt, plan, clock)
    ending = await sink.pump(response.pump(pipeline, sink), response.discard, gate)
    now = clock()
    plan.elapsed = now - exchange.began
    if sink.open:
        _finish(attempt, pipeline, ending)
        note_ending(endpoint, ending, now)
        return None
    if ending is Ending.CLIENT_GONE:
        exchange.client_left()
        exchange.downstream.abort()
        return None
    if sink.late:
        note_failure(endpoint, now)
        retryable = retries_fault(plan, Fault.FIRST_BYTE_TIMEOUT, endpoint, attempt.routed, now)
        return AttemptFailed(error_of(Fault.FIRST_BYTE_TIMEOUT), retryable)
    assert sink.verdict is not None
    if sink.verdict.status >= 500:
        note_failure(endpoint, now)
    return AttemptFailed(
        ProxyError(ErrorKind.UPSTREAM_INVALID, _ANSWERED_WITH_ERROR),
        retries_verdict(plan, sink.verdict, attempt, now),
        BufferedResponse(attempt, sink.held) if ending is _DONE else None,
    )
