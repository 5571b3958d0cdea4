"""The exchange: one downstream request until its last byte, and all we learn about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from onwards_py.auth import ANONYMOUS, Principal
from onwards_py.errors import ErrorKind, ErrorOrigin, ProxyError
from onwards_py.limits.admission import LimiterSet, Rejection, try_acquire
from onwards_py.limits.counters import Limiter
from onwards_py.messages import Downstream, Ending, InboundRequest, ResponseHead
from onwards_py.observe import outcomes
from onwards_py.observe.log_row import LogRow
from onwards_py.observe.outcomes import Outcome
from onwards_py.transcode.responses.repair.filter import Repair
from onwards_py.wire.decoding_tap import is_readable_sse, usage_scanner_for
from onwards_py.wire.error_body import send_error
from onwards_py.wire.response_head import ResponseFacts
from onwards_py.wire.usage import UsageScanner, total_tokens_in

_CLIENT_GONE: Final = Ending.CLIENT_GONE
_DONE: Final = Ending.DONE
_EOF: Final = Ending.EOF
_IDLE: Final = Ending.IDLE
_LIMIT: Final = Ending.LIMIT
_RESET: Final = Ending.RESET

_TAIL: Final = 16 * 1024  # behind the usage there is little more than the metadata of a response: 16 times 576 bytes
# Bytes per token, roughly, in a response without usage: as text, and as a chunk of a stream with all around it.
_OF_TEXT: Final = 4
_OF_AN_EVENT: Final = 200


class Exchange(msgspec.Struct):
    """One downstream request until its last byte: its permits, and what its log row will say."""

    request: InboundRequest
    downstream: Downstream
    began: float
    """Seconds of a monotonic clock, as all times here."""
    committed: float = 0.0
    """When the response head was sent to the client; 0.0: not yet."""
    principal: Principal = ANONYMOUS
    target: str = ""
    provider: str = ""
    status: int = 0
    code: str = ""
    attempts: int = 0
    outcome: Outcome = outcomes.INTERNAL
    permits: list[Limiter] = []
    metered: bool = False
    """A limit in tokens applies."""
    usage_scanner: UsageScanner | None = None
    """Reads the usage as the response body passes; None: it is not metered, or has not begun."""
    estimate: int = 0
    """Tokens that the prompt is estimated to take."""
    counted: int = 0
    """Tokens that were used."""
    bytes_per_token: int = 1
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
        """What the log and the metrics keep. The exchange has ended; its body is released."""
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
            self.counted if self.metered else None,
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
            if limiter_set.metered:
                self.estimate = (len(self.request.body) >> 2) + 1
            if try_acquire(limiter_set.bounded, now, self.estimate) is not None:
                return False
            self.metered = limiter_set.metered
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
        self.estimate = self.estimate or (len(self.request.body) >> 2) + 1
        blocked = try_acquire(limiters, now, self.estimate)
        if blocked is None:
            self.metered = self.metered or any(limiter.tokens is not None for limiter in limiters)
            self.permits += limiters
        return blocked

    def admit(self, limiters: Sequence[Limiter], now: float) -> None:
        """Take all permits, or none and raise ProxyError."""
        blocked = self.acquire(limiters, now)
        if blocked is not None:
            raise blocked.error

    def release(self, limiter: Limiter) -> None:
        """Release one permit before the end, without a charge for tokens."""
        self.permits.remove(limiter)
        limiter.in_flight -= 1
        if limiter.watched:
            limiter.charge(-self.estimate)
            limiter.on_release()

    def refund(self) -> None:
        """No provider got the request: it does not count against rate limits."""
        for limiter in self.permits:
            limiter.refund()

    def release_beyond(self, count: int) -> None:
        """Release all permits after the first ``count``: those of a provider that failed. Its usage is not charged."""
        self.usage_scanner = None
        while len(self.permits) > count:
            self.release(self.permits[-1])

    def close(self) -> None:
        """Release all permits, and charge the tokens: the exchange is over."""
        difference = 0
        if self.metered:
            if self.usage_scanner is not None or self.outcome is not outcomes.DONE or self.status >= 400:
                self.counted = self.used
            difference = self.counted - self.estimate
        for limiter in self.permits:
            limiter.in_flight -= 1
            if limiter.watched:
                if limiter.tokens is not None and difference:
                    limiter.tokens.charge(difference)
                if limiter.queue is not None:
                    limiter.queue.wake()
        self.permits.clear()

    # Tokens

    @property
    def used(self) -> int:
        """Tokens by the usage in the response; without one, an estimate from sizes. Errors are free."""
        if self.status >= 400:
            return 0
        if self.usage_scanner is None:
            # A client that leaves before the response is charged for the prompt: leaving must not evade the limit.
            left = self.outcome is outcomes.CLIENT_GONE_WAITING and self.attempts
            return self.estimate if left else self.counted
        counted = self.usage_scanner.tokens()
        if counted is not None and self.outcome is outcomes.DONE:
            return counted
        # The usage at the beginning of a stream that was cut off is incomplete.
        per_token = _OF_TEXT if self.usage_scanner.undecodable else self.bytes_per_token
        return max(counted or 0, self.estimate + self.usage_scanner.seen // per_token)

    def meter(self, facts: ResponseFacts, *, decoded: bool = False) -> UsageScanner:
        """A filter that reads the usage as the body passes; ``decoded``: the body has no content coding any more."""
        self.usage_scanner = scanner = UsageScanner(_TAIL) if decoded else usage_scanner_for(facts, _TAIL)
        self.bytes_per_token = _OF_AN_EVENT if is_readable_sse(facts) else _OF_TEXT
        return scanner

    def _count(self, facts: ResponseFacts, body: bytes) -> None:
        """Count the tokens of a whole response without readable usage."""
        if facts.coding:
            self.meter(facts).feed(body)
        else:
            self.counted = self.estimate + len(body) // _OF_TEXT

    # Endings

    def pass_on(self, head: ResponseHead, facts: ResponseFacts, body: bytes, now: float) -> None:
        """Send a complete response."""
        if self.metered and head.status < 400:
            counted = None if facts.coding else total_tokens_in(body)
            if counted is None:
                self._count(facts, body)
            else:
                self.counted = counted
        self.status = head.status
        self.committed = now
        self.outcome = outcomes.DONE
        block = self._block(facts.block) if self.extra_headers else facts.block
        self.downstream.answer(head.status, head.reason, block, facts.length, body)

    def commit(self, status: int, reason: bytes, block: bytes, length: int | None, now: float) -> None:
        """Send the response head: no attempt can follow any more."""
        self.status = status
        self.committed = now
        self.downstream.begin(status, reason, self._block(block), length)

    def finish(self, ending: Ending) -> None:
        """End the client's response in the way that ``ending`` demands, and record the outcome."""
        if ending is _DONE:
            self.downstream.end()
            self.outcome = outcomes.DONE
            return
        self.downstream.abort()
        if ending is _EOF or ending is _RESET:
            self.outcome = outcomes.UPSTREAM_CUT
        elif ending is _IDLE:
            self.outcome = outcomes.UPSTREAM_IDLE
        elif ending is _LIMIT:
            self.outcome = outcomes.SIZE_OR_TIME_LIMIT
        elif ending is _CLIENT_GONE:
            self.outcome = outcomes.CLIENT_GONE_STREAMING
        else:
            assert_never(ending)

    def answer(self, body: bytes, now: float) -> None:
        """Send JSON of the proxy's own, with status 200."""
        block = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        self.answer_with(200, b"OK", block, body, now)

    def answer_with(self, status: int, reason: bytes, block: bytes, body: bytes, now: float) -> None:
        """Send a response that the proxy made; ``block`` has its Content-Length."""
        self.status = status
        self.committed = now
        self.outcome = outcomes.DONE
        self.downstream.answer(status, reason, self._block(block), len(body), body)

    def _block(self, block: bytes) -> bytes:
        """The fields and the extra ones, which replace fields of the same name: clients ignore one with two values."""
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
        self.outcome = _outcome_of(error)
        if error.kind is ErrorKind.OVERLOADED:
            self.provider = ""  # no provider failed: the proxy lacks a resource

    def note_repeat(self, provider: str) -> None:
        """The request was sent twice in one attempt, because a reused connection to ``provider`` was closed."""
        self.repeats += (provider,)
        self.attempts += 1

    def client_left(self) -> None:
        """The client disconnected: record in which phase."""
        self.outcome = outcomes.CLIENT_GONE_STREAMING if self.downstream.committed else outcomes.CLIENT_GONE_WAITING


_UPSTREAM_OUTCOMES: Final[dict[ErrorKind, Outcome]] = {
    ErrorKind.UPSTREAM_UNREACHABLE: outcomes.UPSTREAM_UNREACHABLE,
    ErrorKind.LOCAL_UNAVAILABLE: outcomes.UPSTREAM_UNREACHABLE,
    ErrorKind.UPSTREAM_TIMEOUT: outcomes.UPSTREAM_TIMEOUT,
    ErrorKind.UPSTREAM_INVALID: outcomes.UPSTREAM_INVALID,
}


def refused_row(request: InboundRequest, error: ProxyError, now: float) -> LogRow:
    """The row of a request that a door refused by itself."""
    kind = error.kind.value
    return LogRow(
        now,
        0.0,
        now,
        request.method,
        request.target,
        request.peer,
        len(request.body),
        status=kind.status,
        outcome=_outcome_of(error),
        code=error.code,
    )


def _outcome_of(error: ProxyError) -> Outcome:
    """The outcome of an exchange whose response is ``error``."""
    origin = error.kind.value.origin
    if origin is ErrorOrigin.CLIENT:
        return outcomes.REFUSED
    if origin is ErrorOrigin.PROXY:
        return outcomes.INTERNAL if error.kind is ErrorKind.INTERNAL else outcomes.OVERLOADED
    if origin is ErrorOrigin.UPSTREAM:
        return _UPSTREAM_OUTCOMES[error.kind]
    assert_never(origin)
