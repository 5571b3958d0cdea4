"""The exchange: one downstream request until its last byte, and all we learn about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from onwards_py.errors import Kind, Origin, ProxyError
from onwards_py.limits.admission import admit, release
from onwards_py.limits.counters import Limiter
from onwards_py.messages import Downstream, Ending, ResponseHead
from onwards_py.observe import record as outcomes
from onwards_py.observe.record import Outcome, Record
from onwards_py.wire.error_body import send_error
from onwards_py.wire.response_head import ResponseFacts

_CLIENT_GONE: Final = Ending.CLIENT_GONE
_DONE: Final = Ending.DONE
_EOF: Final = Ending.EOF
_IDLE: Final = Ending.IDLE
_LIMIT: Final = Ending.LIMIT
_RESET: Final = Ending.RESET


class Exchange(Record):
    """The record of one exchange, and the permits that it holds."""

    @property
    def downstream(self) -> Downstream:
        assert self.sink is not None, "a request refused at the door has no downstream here"
        return self.sink

    # Permits

    def admit(self, limiters: Sequence[Limiter], now: float) -> None:
        """Take all permits or none; raises ProxyError."""
        for limiter in limiters:
            if limiter.bounded:
                admit(limiters, now)
                break
        else:
            for limiter in limiters:
                limiter.in_flight += 1
        self.held += limiters

    def give_back(self, limiter: Limiter) -> None:
        """One permit back before the end: its provider has failed."""
        self.held.remove(limiter)
        release((limiter,))

    def close(self) -> None:
        """All permits back. The last byte is through, or never will be."""
        for limiter in self.held:
            limiter.in_flight -= 1
        self.held.clear()

    # Endings

    def pass_on(self, head: ResponseHead, facts: ResponseFacts, body: bytes, now: float) -> None:
        """Commit to a response that is there as a whole, and conclude."""
        self.status = head.status
        self.committed = now
        self.outcome = outcomes.DONE
        assert self.sink is not None
        self.sink.answer(head.status, head.reason, facts.block, facts.length, body)

    def commit(self, status: int, reason: bytes, block: bytes, length: int | None, now: float) -> None:
        """The response head goes downstream: no fallback any more."""
        self.status = status
        self.committed = now
        self.downstream.begin(status, reason, block, length)

    def conclude(self, ending: Ending) -> None:
        """Say downstream what the end of the body means."""
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
            self.outcome = outcomes.LIMIT
        elif ending is _CLIENT_GONE:
            self.outcome = outcomes.CLIENT_GONE_STREAMING
        else:
            assert_never(ending)

    def answer(self, body: bytes, now: float) -> None:
        """Answer with JSON of ours."""
        block = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        self.status = 200
        self.committed = now
        self.outcome = outcomes.DONE
        self.downstream.answer(200, b"OK", block, len(body), body)

    def answer_with(self, status: int, reason: bytes, block: bytes, body: bytes, now: float) -> None:
        """Answer with a response that was made here out of a provider's; ``block`` announces the length."""
        self.status = status
        self.committed = now
        self.outcome = outcomes.DONE
        self.downstream.answer(status, reason, block, len(body), body)

    def refuse(self, error: ProxyError) -> None:
        """Answer with an error of ours."""
        self.note_refusal(error)
        send_error(self.downstream, error)

    def note_refusal(self, error: ProxyError) -> None:
        """Remember an error of ours that is, or was, answered."""
        self.status = error.kind.value.status
        self.code = error.code
        self.outcome = _outcome_of(error)

    def client_left(self) -> None:
        """The client went away, in whichever phase this is."""
        self.outcome = outcomes.CLIENT_GONE_STREAMING if self.downstream.committed else outcomes.CLIENT_GONE_WAITING


_UPSTREAM_OUTCOMES: Final[dict[Kind, Outcome]] = {
    Kind.UPSTREAM_UNREACHABLE: outcomes.UPSTREAM_UNREACHABLE,
    Kind.LOCAL_UNAVAILABLE: outcomes.UPSTREAM_UNREACHABLE,
    Kind.UPSTREAM_TIMEOUT: outcomes.UPSTREAM_TIMEOUT,
    Kind.UPSTREAM_INVALID: outcomes.UPSTREAM_INVALID,
}


def _outcome_of(error: ProxyError) -> Outcome:
    origin = error.kind.value.origin
    if origin is Origin.CLIENT:
        return outcomes.REFUSED
    if origin is Origin.PROXY:
        return outcomes.INTERNAL if error.kind is Kind.INTERNAL else outcomes.OVERLOADED
    if origin is Origin.UPSTREAM:
        return _UPSTREAM_OUTCOMES[error.kind]
    assert_never(origin)
