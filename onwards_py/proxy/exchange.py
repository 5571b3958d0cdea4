"""The exchange: one downstream request until its last byte, with its permits and the facts of its log row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from onwards_py.auth import ANONYMOUS, Principal
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.admission import LimiterSet, Rejection, try_acquire
from onwards_py.limits.counters import Limiter
from onwards_py.limits.token_meter import TokenMeter, estimate_of
from onwards_py.messages import Downstream, Ending, InboundRequest, ResponseHead
from onwards_py.observe import outcomes
from onwards_py.observe.log_row import LogRow
from onwards_py.observe.outcomes import Outcome, outcome_of_ending, outcome_of_error
from onwards_py.transcode.responses.repair.filter import Repair
from onwards_py.wire.error_body import send_error
from onwards_py.wire.own_head import json_lines
from onwards_py.wire.response_head import ResponseFacts

_DONE: Final = Ending.DONE


class Exchange(msgspec.Struct):
    """One downstream request until its last byte: its permits, and the facts for its log row."""

    request: InboundRequest
    downstream: Downstream
    began: float
    """Seconds of a monotonic clock, as all times here."""
    committed: float = 0.0
    """Time at which the response head was sent to the client; 0.0: not yet."""
    principal: Principal = ANONYMOUS
    target: str = ""
    provider: str = ""
    status: int = 0
    code: str = ""
    attempts: int = 0
    outcome: Outcome = outcomes.INTERNAL
    permits: list[Limiter] = []
    meter: TokenMeter | None = None
    """None: no limit in tokens applies."""
    extra_headers: bytes = b""
    """Field lines that are added to the response."""
    repair: Repair | None = None
    routed_from: str = ""
    reason: str = ""
    route_by_seconds: float = 0.0
    dropped: tuple[str, ...] = ()
    hedged: int = 0
    repeats: tuple[str, ...] = ()
    over_budget: bool = False

    def log_row(self, now: float) -> LogRow:
        """The row for log and metrics of an exchange that has ended. The body is released."""
        request, body = self.request, self.request.body
        request.body = b""
        definition = self.principal.definition
        return LogRow(
            self.began,
            self.committed,
            now,
            request.method,
            request.target,
            request.peer,
            len(body),
            self.downstream.sent,
            None if definition is None else definition.id,
            self.target,
            self.provider,
            self.status,
            self.outcome,
            self.code,
            self.attempts,
            self.routed_from,
            None if self.meter is None else self.meter.used,
            self.hedged,
            self.repeats,
            self.over_budget,
            self.repair is not None and self.repair.changes > 0,
            self.reason,
            self.route_by_seconds,
            self.dropped,
        )

    # Permits

    def try_acquire(self, limiter_set: LimiterSet, now: float) -> bool:
        """Take all permits, or none and return False."""
        if limiter_set.bounded:
            meter = TokenMeter(estimate_of(self.request.body)) if limiter_set.metered else None
            if try_acquire(limiter_set.bounded, now, 0 if meter is None else meter.estimate) is not None:
                return False
            self.meter = meter
            for limiter in limiter_set.limiters:
                if not limiter.bounded:
                    limiter.in_flight += 1
        else:
            for limiter in limiter_set.limiters:
                limiter.in_flight += 1
        self.permits += limiter_set.limiters
        return True

    def acquire(self, limiters: Sequence[Limiter], now: float) -> Rejection | None:
        """Take all permits and return None, or take none and return the limit that rejects."""
        if len(limiters) == 1 and not limiters[0].bounded:
            limiters[0].in_flight += 1
            self.permits.append(limiters[0])
            return None
        estimate = estimate_of(self.request.body) if self.meter is None else self.meter.estimate
        blocked = try_acquire(limiters, now, estimate)
        if blocked is None:
            if self.meter is None and any(limiter.tokens is not None for limiter in limiters):
                self.meter = TokenMeter(estimate)
            self.permits += limiters
        return blocked

    def release(self, limiter: Limiter) -> None:
        """Release one permit before the end, without a charge for tokens."""
        self.permits.remove(limiter)
        limiter.in_flight -= 1
        if limiter.watched:
            if self.meter is not None:
                limiter.charge(-self.meter.estimate)
            limiter.on_release()

    def refund(self) -> None:
        """Undo the charge of rate limits, because no provider got the request."""
        for limiter in self.permits:
            limiter.refund()

    def release_beyond(self, count: int) -> None:
        """Release all permits after the first ``count``: those of a provider that failed. Its usage is not charged."""
        if self.meter is not None:
            self.meter.scanner = None
        while len(self.permits) > count:
            self.release(self.permits[-1])

    def close(self) -> None:
        """Release all permits, and charge the tokens: the exchange is over."""
        difference = 0
        if self.meter is not None:
            outcome = self.outcome
            left = outcome is outcomes.CLIENT_GONE_WAITING and self.attempts > 0
            difference = self.meter.charge(self.status, outcome is outcomes.DONE, left)
        for limiter in self.permits:
            limiter.in_flight -= 1
            if limiter.watched:
                if limiter.tokens is not None and difference:
                    limiter.tokens.charge(difference)
                if limiter.queue is not None:
                    limiter.queue.wake()
        self.permits.clear()

    # Endings

    def pass_on(self, head: ResponseHead, facts: ResponseFacts, body: bytes, now: float) -> None:
        """Send a complete response."""
        if self.meter is not None:
            self.meter.facts, self.meter.body = facts, body
        self.status = head.status
        self.committed = now
        self.outcome = outcomes.DONE
        block = self._block(facts.block) if self.extra_headers else facts.block
        self.downstream.answer(head.status, head.reason, block, facts.length, body)

    def commit(self, status: int, reason: bytes, block: bytes, length: int | None, now: float) -> None:
        """Send the response head, after which no further attempt is possible."""
        self.status = status
        self.committed = now
        self.downstream.begin(status, reason, self._block(block), length)

    def finish(self, ending: Ending) -> None:
        """End or abort the client's response, depending on ``ending``, and record the outcome."""
        if ending is _DONE:
            self.downstream.end()
            self.outcome = outcomes.DONE
        else:
            self.downstream.abort()
            self.outcome = outcome_of_ending(ending)

    def answer(self, body: bytes, now: float) -> None:
        """Send JSON of the proxy's own, with status 200."""
        self.answer_with(200, b"OK", json_lines(len(body)), body, now)

    def answer_with(self, status: int, reason: bytes, block: bytes, body: bytes, now: float) -> None:
        """Send a response of the proxy's own; ``block`` has its Content-Length."""
        self.status = status
        self.committed = now
        self.outcome = outcomes.DONE
        self.downstream.answer(status, reason, self._block(block), len(body), body)

    def _block(self, block: bytes) -> bytes:
        """The fields and the extra ones, which replace fields of the same name, because clients ignore repeated
        ones."""
        if not self.extra_headers:
            return block
        name = re.escape(self.extra_headers[: self.extra_headers.index(b":")])
        return re.sub(rb"(?im)^%b:[^\n]*\n" % name, b"", block) + self.extra_headers

    def refuse(self, error: ProxyError) -> None:
        """Send an error of the proxy's own."""
        self.note_refusal(error)
        send_error(self.downstream, error, self.extra_headers)

    def note_refusal(self, error: ProxyError) -> None:
        """Record an error of the proxy's own that is the response."""
        self.status = error.kind.value.status
        self.code = error.code
        self.outcome = outcome_of_error(error)
        if error.kind is ErrorKind.OVERLOADED:
            self.provider = ""  # the failure is not the provider's: the proxy lacks a resource

    def note_repeat(self, provider: str) -> None:
        """The request was sent twice in one attempt, because a reused connection to ``provider`` was closed."""
        self.repeats += (provider,)
        self.attempts += 1

    def client_left(self) -> None:
        """Record that the client disconnected, and in which phase."""
        self.outcome = outcomes.CLIENT_GONE_STREAMING if self.downstream.committed else outcomes.CLIENT_GONE_WAITING
