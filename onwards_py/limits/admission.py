"""Admission: all limits that concern an exchange grant together, or nothing is taken."""

from __future__ import annotations

from collections.abc import Sequence

from onwards_py.errors import Kind, ProxyError
from onwards_py.limits.counters import Limiter


def admit(limiters: Sequence[Limiter], now: float) -> None:
    """Take a place and a token of every limiter, or raise ProxyError with all of them untouched.

    Places are looked at first, since they cost nothing to look at. `release` gives the places back;
    tokens are spent.
    """
    for limiter in limiters:
        if limiter.full:
            raise ProxyError(Kind.CONCURRENCY_LIMIT, retry_after=1.0)
    wait = 0.0
    for limiter in limiters:
        if limiter.bucket is not None:
            wait = max(wait, limiter.bucket.wait_for_token(now))
    if wait > 0.0:
        raise ProxyError(Kind.RATE_LIMIT, retry_after=wait)
    for limiter in limiters:
        limiter.in_flight += 1
        if limiter.bucket is not None:
            limiter.bucket.take()


def release(limiters: Sequence[Limiter]) -> None:
    """Give the places back: the last byte is through, or never will be."""
    for limiter in limiters:
        limiter.in_flight -= 1
