"""Admission: an exchange acquires all of its limits, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from onwards_py.errors import ErrorKind, LimitState, ProxyError
from onwards_py.limits.counters import Limiter, TokenBucket

_A_MOMENT: Final = 1.0  # seconds; the release of a permit cannot be predicted
_TOKENS_MESSAGE: Final = "You are using tokens too quickly. Please slow down."

# The order in which limits are checked.
_CONCURRENCY: Final = 0
_REQUESTS: Final = 1
_TOKENS: Final = 2


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an exchange is not admitted. ``limiter``: the one to wait for, if it has a queue. ``retry_in``: seconds until
    that queue should be woken; None: it is woken when a permit is released. ``error``: the error for the client."""

    limiter: Limiter
    retry_in: float | None
    error: ProxyError


class LimiterSet(msgspec.Struct, frozen=True):
    """The limiters of an exchange, classified beforehand. ``bounded``: those with a limit. ``metered``: one limits
    tokens."""

    limiters: tuple[Limiter, ...]
    bounded: tuple[Limiter, ...]
    metered: bool

    @classmethod
    def of(cls, limiters: tuple[Limiter, ...]) -> LimiterSet:
        """Classify ``limiters``. Repeat this after `Limiter.reconfigure`."""
        bounded = tuple(limiter for limiter in limiters if limiter.bounded)
        return cls(limiters, bounded, any(limiter.tokens is not None for limiter in bounded))


def try_acquire(limiters: Sequence[Limiter], now: float, estimate: float = 0.0) -> Rejection | None:
    """Take a permit, a request and ``estimate`` tokens of every limiter. If one rejects, take nothing and return why.

    Permits are checked first, because that is cheapest. `release` returns the permits; requests stay charged, and
    `Limiter.charge` corrects the tokens. ``limiters`` must not contain one twice.
    """
    for limiter in limiters:
        if limiter.in_flight >= limiter.max_in_flight or (limiter.queue is not None and limiter.full):
            return _rejection(limiters, now, estimate)
        bucket, tokens = limiter.bucket, limiter.tokens
        if bucket is not None and bucket.wait_for(1.0, now) > 0.0:
            return _rejection(limiters, now, estimate)
        if tokens is not None and tokens.wait_for(estimate, now) > 0.0:
            return _rejection(limiters, now, estimate)
    for limiter in limiters:
        limiter.in_flight += 1
        bucket, tokens = limiter.bucket, limiter.tokens
        if bucket is not None:
            bucket.available -= 1.0
        if tokens is not None:
            tokens.available -= estimate
    return None


def admit(limiters: Sequence[Limiter], now: float, estimate: float = 0.0) -> None:
    """`try_acquire`; raises ProxyError, with all limiters unchanged."""
    rejection = try_acquire(limiters, now, estimate)
    if rejection is not None:
        raise rejection.error


def release(limiters: Sequence[Limiter]) -> None:
    """Return the permits, after the last byte or the end of the exchange."""
    for limiter in limiters:
        limiter.in_flight -= 1
    for limiter in limiters:
        if limiter.watched:
            limiter.on_release()


@dataclass(frozen=True, slots=True)
class _Reason:
    """One exhausted limit. ``wait``: seconds; None: unknown."""

    limiter: Limiter
    what: int
    wait: float | None
    state: LimitState


def _rejection(limiters: Sequence[Limiter], now: float, estimate: float) -> Rejection:
    """The limit that rejects. A limit without a queue comes first, because waiting for others is useless; then
    concurrency, requests, tokens; then the longest wait. Retry-After is the longest wait of all limits, because an
    earlier retry would be rejected by the slowest bucket."""
    reasons = [reason for limiter in limiters for reason in _reasons(limiter, now, estimate)]
    first = min(reasons, key=lambda reason: (reason.limiter.queue is not None, reason.what, -(reason.wait or 0.0)))
    error = ProxyError(
        ErrorKind.CONCURRENCY_LIMIT if first.what == _CONCURRENCY else ErrorKind.RATE_LIMIT,
        _TOKENS_MESSAGE if first.what == _TOKENS else None,
        retry_after=max(_A_MOMENT if reason.wait is None else reason.wait for reason in reasons),
        limit=first.state,
    )
    # An exchange behind other waiters needs no time: they are admitted first, and then wake it.
    return Rejection(first.limiter, None if _has_waiters_ahead(first.limiter) else first.wait, error)


def _has_waiters_ahead(limiter: Limiter) -> bool:
    queue = limiter.queue
    return queue is not None and queue.waiting > 0 and not queue.serving_head


def _reasons(limiter: Limiter, now: float, estimate: float) -> Iterator[_Reason]:
    """All exhausted limits of one limiter."""
    places, bucket, tokens = limiter.limits.concurrency, limiter.bucket, limiter.tokens
    behind = _has_waiters_ahead(limiter)
    if places is not None and (behind or limiter.in_flight >= places):
        state = LimitState("concurrent-requests", places, max(0, places - limiter.in_flight))
        yield _Reason(limiter, _CONCURRENCY, None, state)
    if bucket is not None:
        wait = bucket.wait_for(1.0, now)
        if wait > 0.0 or (behind and places is None):
            yield _Reason(limiter, _REQUESTS, wait or _A_MOMENT, _state_of(bucket, "requests", now))
    if tokens is not None:
        wait = tokens.wait_for(estimate, now)
        if wait > 0.0 or (behind and places is None and bucket is None):
            yield _Reason(limiter, _TOKENS, wait or _A_MOMENT, _state_of(tokens, "tokens", now))


def _state_of(bucket: TokenBucket, name: str, now: float) -> LimitState:
    available, limit = bucket.remaining(now), bucket.limit
    return LimitState(name, int(limit.burst), max(0, int(available)), (limit.burst - available) / limit.per_second)
