"""Holding a response until its first content, so that an error inside a 200 can still lead to another attempt.

A status of 200 is no content: providers begin a stream and then send an error as its first event, or end it at once.
Only the beginning is held; a slow response is not an empty one, so after a bound in time it passes.
"""

from __future__ import annotations

import re
from typing import Final

from onwards_py.messages import Clock, Ending, Fault
from onwards_py.model.policies import HoldPolicy
from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.response_sink import CommitGate
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.routed_request import is_inference, safe_to_duplicate
from onwards_py.transcode.neutral.failure import codes_told
from onwards_py.transcode.neutral.pipeline import EventFilter
from onwards_py.wire.decoding import DECODABLE
from onwards_py.wire.decoding_tap import first_content_detector_for, is_readable_sse
from onwards_py.wire.first_content import CONTENT, CUT, Verdict, VerdictKind

_DEFAULT_HOLD: Final = HoldPolicy()
_JSON: Final = re.compile(rb"\r\ncontent-type:[ \t]*application/(?:[a-z.+-]+\+)?json\b", re.IGNORECASE)
_TYPED: Final = re.compile(rb"\r\ncontent-type:", re.IGNORECASE)


def is_held(attempt: Attempt, plan: FallbackPlan) -> bool:
    """True of a response that must have content in a form that can be read here: no other can be found empty."""
    hold, first_token = plan.policy.hold, attempt.endpoint.provider.timeouts.first_token
    if hold is None and first_token is None:
        return False
    head, facts = attempt.response.head, attempt.facts
    if head.status != 200 or attempt.routed.request.method != b"POST":
        return False
    streams = is_readable_sse(facts)
    if not streams and not _may_be_json(head.lines, attempt):
        return False
    if facts.coding and facts.coding not in DECODABLE:
        return False
    if streams and first_token is not None:
        return True
    return hold is not None and (plan.may_continue or plan.may_retry_same)


def _may_be_json(lines: bytes, attempt: Attempt) -> bool:
    """True of JSON, and of inference without a content type, which may be JSON or empty."""
    if _TYPED.search(lines) is None:
        return is_inference(attempt.routed)
    return _JSON.search(lines) is not None


def native_gate(attempt: Attempt, plan: FallbackPlan, clock: Clock) -> CommitGate:
    """The gate of a response that passes unchanged."""
    hold = plan.policy.hold
    first_token = attempt.endpoint.provider.timeouts.first_token if is_readable_sse(attempt.facts) else None

    def gives_up(verdict: Verdict) -> bool:
        now = clock()
        plan.elapsed = now - attempt.exchange.began
        return hold is not None and retries_verdict(plan, verdict, attempt, now) and plan.may_continue

    detector = first_content_detector_for(attempt.facts, (hold or _DEFAULT_HOLD).max_bytes)
    return CommitGate(detector, gives_up, *_bounds(attempt, hold, first_token, clock))


def retries_verdict(plan: FallbackPlan, verdict: Verdict, attempt: Attempt, now: float) -> bool:
    """True if a response without content may be followed by another attempt."""
    if verdict.kind is VerdictKind.ERROR:
        return plan.retries_error(verdict.status, codes_told(verdict.error, verdict.status), attempt.endpoint, now)
    resendable = safe_to_duplicate(attempt.routed)
    again = verdict == CUT and resendable and plan.retries_reset(attempt.endpoint, now)
    return again or plan.retries_fault(Fault.CLOSED, repeatable=resendable)


def translated_gate(
    attempt: Attempt, events: EventFilter, plan: FallbackPlan | None, clock: Clock
) -> CommitGate | None:
    """The gate of a translated stream; None: its first event passes."""
    hold = plan.policy.hold if plan is not None and (plan.may_continue or plan.may_retry_same) else None
    first_token = attempt.endpoint.provider.timeouts.first_token
    if hold is None and first_token is None:
        return None

    def gives_up(_: Verdict) -> bool:
        failure = events.cause
        if plan is None or failure is None:
            return False
        return plan.retries_error(failure.status, failure.codes, attempt.endpoint, clock()) and plan.may_continue

    detector = _EventDetector(events, (hold or _DEFAULT_HOLD).max_bytes)
    return CommitGate(detector, gives_up, *_bounds(attempt, hold, first_token, clock))


def _bounds(
    attempt: Attempt, hold: HoldPolicy | None, first_token: float | None, clock: Clock
) -> tuple[float | None, float | None]:
    """``max_time`` and ``first_token`` in seconds from now. The latter counts from the sending on, and replaces the
    former."""
    if first_token is not None:
        return None, attempt.sent_at + first_token - clock()
    return None if hold is None else hold.max_time, None


class _EventDetector:
    """Finds content in translated events, which are not decoded for that: their filter knows. More than ``limit`` bytes
    count as content."""

    def __init__(self, events: EventFilter, limit: int) -> None:
        self._events = events
        self._left = limit

    def feed(self, piece: bytes) -> Verdict | None:
        """See ContentDetector."""
        self._left -= len(piece)
        return CONTENT if self._events.has_content or self._left < 0 else None

    def finish(self, ending: Ending) -> Verdict:
        """See ContentDetector."""
        del ending
        failure = self._events.cause
        return CONTENT if failure is None else Verdict(VerdictKind.ERROR, failure.status)
