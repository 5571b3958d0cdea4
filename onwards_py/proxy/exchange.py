"""The exchange: one downstream request until its last byte, and all we learn about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from onwards_py.errors import Kind, Origin, ProxyError
from onwards_py.limits.admission import admit, release
from onwards_py.limits.counters import Limiter
from onwards_py.messages import Downstream, Ending, InboundRequest
from onwards_py.observe.record import Outcome, Record
from onwards_py.wire.error_body import send_error

_CLIENT_GONE: Final = Ending.CLIENT_GONE
_DONE: Final = Ending.DONE
_EOF: Final = Ending.EOF
_IDLE: Final = Ending.IDLE
_LIMIT: Final = Ending.LIMIT
_RESET: Final = Ending.RESET

_OUT_CLIENT_GONE_STREAMING: Final = Outcome.CLIENT_GONE_STREAMING
_OUT_CLIENT_GONE_WAITING: Final = Outcome.CLIENT_GONE_WAITING
_OUT_DONE: Final = Outcome.DONE
_OUT_INTERNAL: Final = Outcome.INTERNAL
_OUT_LIMIT: Final = Outcome.LIMIT
_OUT_OVERLOADED: Final = Outcome.OVERLOADED
_OUT_REFUSED: Final = Outcome.REFUSED
_OUT_UPSTREAM_CUT: Final = Outcome.UPSTREAM_CUT
_OUT_UPSTREAM_IDLE: Final = Outcome.UPSTREAM_IDLE
_OUT_UPSTREAM_INVALID: Final = Outcome.UPSTREAM_INVALID
_OUT_UPSTREAM_TIMEOUT: Final = Outcome.UPSTREAM_TIMEOUT
_OUT_UPSTREAM_UNREACHABLE: Final = Outcome.UPSTREAM_UNREACHABLE


class Exchange(Record):
    """The record of one exchange, and the permits that it holds."""

    __slots__ = ("_held",)

    def __init__(self, request: InboundRequest, downstream: Downstream | None, now: float) -> None:
        super().__init__(request, downstream, now)
        self._held: list[Limiter] = []

    @property
    def downstream(self) -> Downstream:
        assert self.sink is not None, "a request refused at the door has no downstream here"
        return self.sink

    # Permits

    def admit(self, limiters: Sequence[Limiter], now: float) -> None:
        """Take all permits or none; raises ProxyError."""
        admit(limiters, now)
        self._held += limiters

    def give_back(self, limiter: Limiter) -> None:
        """One permit back before the end: its provider has failed."""
        self._held.remove(limiter)
        release((limiter,))

    def close(self) -> None:
        """All permits back. The last byte is through, or never will be."""
        release(self._held)
        self._held = []

    # Endings

    def commit(self, status: int, reason: bytes, block: bytes, length: int | None, now: float) -> None:
        """The response head goes downstream: no fallback any more."""
        self.status = status
        self.committed = now
        self.downstream.begin(status, reason, block, length)

    def conclude(self, ending: Ending) -> None:
        """Say downstream what the end of the body means."""
        if ending is _DONE:
            self.downstream.end()
            self.outcome = _OUT_DONE
            return
        self.downstream.abort()
        if ending is _EOF or ending is _RESET:
            self.outcome = _OUT_UPSTREAM_CUT
        elif ending is _IDLE:
            self.outcome = _OUT_UPSTREAM_IDLE
        elif ending is _LIMIT:
            self.outcome = _OUT_LIMIT
        elif ending is _CLIENT_GONE:
            self.outcome = _OUT_CLIENT_GONE_STREAMING
        else:
            assert_never(ending)

    def answer(self, body: bytes, now: float) -> None:
        """Answer with JSON of ours."""
        block = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        self.commit(200, b"OK", block, len(body), now)
        self.downstream.write(body)
        self.conclude(_DONE)

    def refuse(self, error: ProxyError) -> None:
        """Answer with an error of ours."""
        self.note_refusal(error)
        send_error(self.downstream, error)

    def note_refusal(self, error: ProxyError) -> None:
        """Remember an error of ours that is, or was, answered."""
        self.status = error.kind.value.status
        self.code = error.kind.value.code
        self.outcome = _outcome_of(error)

    def client_left(self) -> None:
        """The client went away, in whichever phase this is."""
        self.outcome = _OUT_CLIENT_GONE_STREAMING if self.downstream.committed else _OUT_CLIENT_GONE_WAITING


_UPSTREAM_OUTCOMES = {
    Kind.UPSTREAM_UNREACHABLE: _OUT_UPSTREAM_UNREACHABLE,
    Kind.UPSTREAM_TIMEOUT: _OUT_UPSTREAM_TIMEOUT,
    Kind.UPSTREAM_INVALID: _OUT_UPSTREAM_INVALID,
}


def _outcome_of(error: ProxyError) -> Outcome:
    origin = error.kind.value.origin
    if origin is Origin.CLIENT:
        return _OUT_REFUSED
    if origin is Origin.PROXY:
        return _OUT_INTERNAL if error.kind is Kind.INTERNAL else _OUT_OVERLOADED
    if origin is Origin.UPSTREAM:
        return _UPSTREAM_OUTCOMES[error.kind]
    assert_never(origin)
