"""Holds a response until its first content, so that an error inside a 200 can still lead to another attempt.

A status of 200 does not prove that there is content: some providers begin a stream and then send an error as its first
event, or end it at once. Only the beginning is held. A slow response is not an empty one, so it is sent after a
timeout.
"""

from __future__ import annotations

from typing import Final

from onwards_py.messages import Clock, Fault
from onwards_py.model.policies import HoldPolicy
from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.response_sink import CommitGate
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.routed_request import is_inference, safe_to_duplicate
from onwards_py.transcode.neutral.content_detector import EventContentDetector
from onwards_py.transcode.neutral.failure import codes_of_error
from onwards_py.transcode.neutral.pipeline import EventFilter
from onwards_py.wire.decoding import DECODABLE
from onwards_py.wire.decoding_tap import first_content_detector_for, is_readable_sse
from onwards_py.wire.first_content import CUT, Verdict, VerdictKind
from onwards_py.wire.media_type import declares_json

_DEFAULT_HOLD: Final = HoldPolicy()


def is_held(attempt: Attempt, plan: FallbackPlan) -> bool:
    """True for a response that must have content, in a format that the proxy can read, so that it can detect its
    absence."""
    hold, first_token = plan.policy.hold, attempt.endpoint.provider.timeouts.first_token
    if hold is None and first_token is None:
        return False
    head, facts = attempt.response.head, attempt.facts
    if head.status != 200 or attempt.routed.request.method != b"POST":
        return False
    streams = is_readable_sse(facts)
    if not streams:
        json = declares_json(head.lines)
        if json is None:
            json = is_inference(attempt.routed)  # it may be JSON or empty
        if not json:
            return False
    if facts.coding and facts.coding not in DECODABLE:
        return False
    if streams and first_token is not None:
        return True
    return hold is not None and (plan.may_continue or plan.may_retry_same)


def native_gate(attempt: Attempt, plan: FallbackPlan, clock: Clock) -> CommitGate:
    """The gate of a native response."""
    hold = plan.policy.hold
    first_token = attempt.endpoint.provider.timeouts.first_token if is_readable_sse(attempt.facts) else None

    def gives_up(verdict: Verdict) -> bool:
        now = clock()
        plan.elapsed = now - attempt.exchange.began
        return hold is not None and retries_verdict(plan, verdict, attempt, now) and plan.may_continue

    detector = first_content_detector_for(attempt.facts, (hold or _DEFAULT_HOLD).max_bytes)
    return CommitGate(detector, gives_up, *_bounds(attempt, hold, first_token, clock))


def retries_verdict(plan: FallbackPlan, verdict: Verdict, attempt: Attempt, now: float) -> bool:
    """True if another attempt may follow a response without content."""
    if verdict.kind is VerdictKind.ERROR:
        return plan.retries_error(verdict.status, codes_of_error(verdict.error, verdict.status), attempt.endpoint, now)
    resendable = safe_to_duplicate(attempt.routed)
    again = verdict == CUT and resendable and plan.retries_reset(attempt.endpoint, now)
    return again or plan.retries_fault(Fault.CLOSED, repeatable=resendable)


def translated_gate(
    attempt: Attempt, events: EventFilter, plan: FallbackPlan | None, clock: Clock
) -> CommitGate | None:
    """The gate of a translated stream; None: the first event opens the response."""
    hold = plan.policy.hold if plan is not None and (plan.may_continue or plan.may_retry_same) else None
    first_token = attempt.endpoint.provider.timeouts.first_token
    if hold is None and first_token is None:
        return None

    def gives_up(_: Verdict) -> bool:
        failure = events.cause
        if plan is None or failure is None:
            return False
        return plan.retries_error(failure.status, failure.codes, attempt.endpoint, clock()) and plan.may_continue

    detector = EventContentDetector(events, (hold or _DEFAULT_HOLD).max_bytes)
    return CommitGate(detector, gives_up, *_bounds(attempt, hold, first_token, clock))


def _bounds(
    attempt: Attempt, hold: HoldPolicy | None, first_token: float | None, clock: Clock
) -> tuple[float | None, float | None]:
    """``max_time`` and ``first_token`` in seconds from now. ``first_token`` counts from the time at which the request
    was sent, and replaces ``max_time``."""
    if first_token is not None:
        return None, attempt.sent_at + first_token - clock()
    return None if hold is None else hold.max_time, None
