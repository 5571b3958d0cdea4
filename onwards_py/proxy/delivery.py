"""Giving a provider's answer to the client: as it comes, held back until it says something, or translated."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Ending, Fault, Filter
from onwards_py.model.policies import HoldPolicy
from onwards_py.observe.outcomes import UPSTREAM_CUT, UPSTREAM_IDLE
from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.attempt_result import AttemptFailed, BufferedResponse
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.first_content_gate import Hold
from onwards_py.proxy.model_lookup import is_responses
from onwards_py.proxy.outlier_detection import note_ending, note_failure, note_success
from onwards_py.proxy.translate import FailedAnswer, pass_on_translated
from onwards_py.proxy.translated_stream import CommitGate
from onwards_py.proxy.upstream_request import (
    Answer,
    RoutedRequest,
    error_of,
    is_inference,
    may_follow,
    safe_to_duplicate,
)
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.transcode.cut_notice import CutNotice
from onwards_py.transcode.neutral.failure import Failure, codes_told
from onwards_py.transcode.responses.repair.filter import Repair
from onwards_py.wire.decoding import DECODABLE
from onwards_py.wire.decoding_tap import first_content_detector_for, is_readable_sse
from onwards_py.wire.first_content import CUT, Verdict, VerdictKind
from onwards_py.wire.rechunk import Rechunker

Clock = Callable[[], float]
_DONE: Final = Ending.DONE
_DEFAULT_HOLD: Final = HoldPolicy()
_BROKEN: Final = (UPSTREAM_CUT, UPSTREAM_IDLE)
_JSON: Final = re.compile(rb"\r\ncontent-type:[ \t]*application/(?:[a-z.+-]+\+)?json\b", re.IGNORECASE)
_TYPED: Final = re.compile(rb"\r\ncontent-type:", re.IGNORECASE)
_ANSWERED_WITH_ERROR: Final = "The upstream service answered with an error."


def try_send_now(prepared: Attempt, answer: Answer, plan: FallbackPlan, now: float) -> bool:
    """Give the client a provider's answer, if that can be done at once."""
    if prepared.translation is not None or _is_held(prepared.routed, answer, plan):
        return False
    if answer.response.head.status < 300:
        note_success(prepared.member)
    return pass_on_whole(prepared.exchange, answer, now)


async def deliver(prepared: Attempt, answer: Answer, plan: FallbackPlan, clock: Clock) -> AttemptFailed | None:
    """The same for any other; returns what is left if it turns out to be no answer."""
    if prepared.translation is not None:
        return await deliver_translated(prepared, answer, plan, clock)
    if _is_held(prepared.routed, answer, plan):
        return await _deliver_held(prepared, answer, plan, clock)
    await stream(prepared.exchange, prepared.routed, prepared.member, answer, clock)
    return None


def pass_on_whole(exchange: Exchange, answer: Answer, now: float) -> bool:
    """Commit and conclude in one, if all of the body is there and nothing is to be done to it."""
    if answer.facts.event_stream or (body := answer.response.complete_body()) is None:
        return False
    exchange.pass_on(answer.response.head, answer.facts, body, now)
    return True


async def stream(exchange: Exchange, routed: RoutedRequest, member: Endpoint, answer: Answer, clock: Clock) -> None:
    """Commit: the head goes downstream, then the body until its end."""
    _commit(exchange, answer, clock())
    pipeline = _pipeline(exchange, routed, answer)
    ending = await answer.response.pump(pipeline, exchange.downstream)
    if ending is not _DONE:
        _tell_cut(exchange, pipeline, ending)
    exchange.finish(ending)
    if member.health is not None:
        note_ending(member, ending, clock())


def _commit(exchange: Exchange, answer: Answer, now: float) -> None:
    head, facts = answer.response.head, answer.facts
    exchange.commit(head.status, head.reason, facts.block, facts.length, now)


def _pipeline(exchange: Exchange, routed: RoutedRequest, answer: Answer) -> tuple[Filter, ...]:
    provider, facts = answer.provider, answer.facts
    pipeline: tuple[Filter, ...] = ()
    if facts.event_stream and provider.repair and facts.length is None and is_responses(routed.path):
        exchange.repair = Repair(int(time.time()), routed.address.model, limit=provider.max_event_bytes)
        pipeline = (exchange.repair,)
    elif facts.event_stream and provider.rechunk:
        rechunker = Rechunker(provider.max_event_bytes, passes=provider.passes_large_events)
        pipeline = (rechunker,)
        if provider.cut_notice and facts.length is None:
            pipeline = (rechunker, CutNotice(routed.path, rechunker))
    if exchange.metered:
        pipeline = (exchange.meter(facts), *pipeline)
    return pipeline


def _tell_cut(exchange: Exchange, pipeline: tuple[Filter, ...], ending: Ending) -> None:
    """The last event of a stream that broke off, where the operator wants one."""
    if pipeline and type(notice := pipeline[-1]) is CutNotice:
        exchange.downstream.write(notice.text(ending))


# Held


def _is_held(routed: RoutedRequest, answer: Answer, plan: FallbackPlan) -> bool:
    """Only answers that are to say something, in a way that is understood here: of others nothing is no failure."""
    hold, first_token = plan.policy.hold, answer.provider.timeouts.first_token
    if hold is None and first_token is None:
        return False
    if answer.response.head.status != 200 or routed.request.method != b"POST":
        return False
    if not is_readable_sse(answer.facts) and not _may_tell(answer.response.head.lines, routed):
        return False
    if answer.facts.coding and answer.facts.coding not in DECODABLE:
        return False
    if is_readable_sse(answer.facts) and first_token is not None:
        return True
    return hold is not None and (plan.may_continue or plan.may_retry_same)


def _may_tell(lines: bytes, routed: RoutedRequest) -> bool:
    """True of JSON, and of what a model's answer is if nobody says what it is: perhaps nothing."""
    if _TYPED.search(lines) is None:
        return is_inference(routed)
    return _JSON.search(lines) is not None


async def _deliver_held(prepared: Attempt, answer: Answer, plan: FallbackPlan, clock: Clock) -> AttemptFailed | None:
    exchange, routed = prepared.exchange, prepared.routed
    hold = _hold(prepared, answer, plan, clock)
    pipeline = _pipeline(exchange, routed, answer)
    try:
        ending = await answer.response.pump(pipeline, hold)
    except BaseException:
        hold.close()
        raise
    verdict = hold.finish(ending)
    now = clock()
    plan.elapsed = now - exchange.began
    if hold.open:
        _tell_cut(exchange, pipeline, ending)
        exchange.finish(ending)
        note_ending(prepared.member, ending, now)
        return None
    if ending is Ending.CLIENT_GONE:
        exchange.client_left()
        exchange.downstream.abort()
        return None
    if hold.late:
        note_failure(prepared.member, now)
        proceed = may_follow(plan, Fault.FIRST_BYTE_TIMEOUT, prepared.member, routed, now)
        return AttemptFailed(error_of(Fault.FIRST_BYTE_TIMEOUT), proceed)
    assert verdict is not None
    if verdict.status >= 500:
        note_failure(prepared.member, now)
    whole = ending is Ending.DONE
    return AttemptFailed(
        ProxyError(ErrorKind.UPSTREAM_INVALID, _ANSWERED_WITH_ERROR),
        _may_go_on(verdict, prepared, plan, now),
        BufferedResponse(answer, hold.body) if whole else None,
    )


def _hold(prepared: Attempt, answer: Answer, plan: FallbackPlan, clock: Clock) -> Hold:
    exchange = prepared.exchange
    policy = plan.policy.hold or _DEFAULT_HOLD
    first_token = answer.provider.timeouts.first_token if is_readable_sse(answer.facts) else None

    def begin() -> None:
        note_success(prepared.member)
        _commit(exchange, answer, clock())

    def gives_up(verdict: Verdict) -> bool:
        now = clock()
        plan.elapsed = now - exchange.began
        return plan.policy.hold is not None and _may_go_on(verdict, prepared, plan, now) and plan.may_continue

    return Hold(
        exchange.downstream,
        first_content_detector_for(answer.facts, policy.max_bytes),
        begin,
        gives_up,
        answer.response.discard,
        max_time=policy.max_time if plan.policy.hold is not None and first_token is None else None,
        first_token=None if first_token is None else prepared.sent_at + first_token - clock(),
    )


def _may_go_on(verdict: Verdict, prepared: Attempt, plan: FallbackPlan, now: float) -> bool:
    if verdict.kind is VerdictKind.ERROR:
        return plan.retries_error(verdict.status, codes_told(verdict.error, verdict.status), prepared.member, now)
    resendable = safe_to_duplicate(prepared.routed)
    again = verdict == CUT and resendable and plan.retries_reset(prepared.member, now)
    return again or plan.retries_fault(Fault.CLOSED, repeatable=resendable)


# Translated


async def deliver_translated(
    prepared: Attempt, answer: Answer, plan: FallbackPlan | None, clock: Clock
) -> AttemptFailed | None:
    """The same for an answer in another dialect. Without a ``plan`` nobody else can be asked."""
    exchange = prepared.exchange
    assert prepared.translation is not None
    exchange.dropped = prepared.translation.dropped
    gate = _gate(prepared, answer, plan, clock)
    failed = await pass_on_translated(exchange, answer, prepared.translation, clock(), early=prepared.early, gate=gate)
    now = clock()
    if failed is None:
        if not prepared.translation.wants_stream and 200 <= answer.response.head.status < 300:
            note_success(prepared.member)
        elif exchange.outcome in _BROKEN:
            note_ending(prepared.member, Ending.EOF, now)
        return None
    if failed.status >= 500:
        note_failure(prepared.member, now)
    if plan is None:
        return AttemptFailed(error_of(Fault.INVALID), proceed=False, last=failed)
    plan.elapsed = now - exchange.began
    return AttemptFailed(error_of(Fault.INVALID), _retries(plan, failed, prepared, now), failed)


def _gate(prepared: Attempt, answer: Answer, plan: FallbackPlan | None, clock: Clock) -> CommitGate:
    def on_open() -> None:
        note_success(prepared.member)

    def gives_up(failure: Failure) -> bool:
        if plan is None or not plan.retries_error(failure.status, failure.codes, prepared.member, clock()):
            return False
        return plan.may_continue

    first_token = answer.provider.timeouts.first_token
    return CommitGate(
        on_open,
        gives_up,
        plan.policy.hold if plan is not None and (plan.may_continue or plan.may_retry_same) else None,
        None if first_token is None else prepared.sent_at + first_token - clock(),
    )


def _retries(plan: FallbackPlan, failed: FailedAnswer, prepared: Attempt, now: float) -> bool:
    """True if an answer that failed before anything of it was told moves the exchange on."""
    if failed.fault is None:
        return plan.retries_error(failed.status, failed.codes, prepared.member, now)
    return may_follow(plan, failed.fault, prepared.member, prepared.routed, now)
