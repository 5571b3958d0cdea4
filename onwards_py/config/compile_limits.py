"""Limits of a key, a target or a provider."""

from __future__ import annotations

from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter
from onwards_py.config.limit_schema import LimitsShape, RateLimitShape, TokenLimitShape
from onwards_py.config.setting_shapes import build, settings_of
from onwards_py.model.limits import NO_LIMITS, Limits, QueuePolicy, RateLimit


def compile_limits(level: LimitsShape, path: Path, reporter: Reporter) -> Limits:
    """The limits of ``level``, which is written at ``path``. Warns about queue settings without effect."""
    unlimited = level.rate_limit is None and level.concurrency_limit is None and level.token_limit is None
    queued = level.on_limit == "queue"
    if unlimited and reporter.has_key((*path, "on_limit")) and queued:
        reporter.warn((*path, "on_limit"), "has no effect: no limit is set here")
    elif not queued and level.queue is not None and reporter.has_key((*path, "queue")):
        reporter.warn((*path, "queue"), "has no effect without 'on_limit: queue'")
    if unlimited:
        return NO_LIMITS
    return Limits(
        rate=None if level.rate_limit is None else _requests(level.rate_limit),
        concurrency=None if level.concurrency_limit is None else level.concurrency_limit.max_concurrent_requests,
        tokens=None if level.token_limit is None else _tokens(level.token_limit),
        queue=build(level.queue or settings_of(QueuePolicy)) if queued else None,
    )


def _requests(shape: RateLimitShape) -> RateLimit | None:
    """The default capacity is the number of requests of one second or minute, and at least one."""
    if shape.requests_per_second is not None:
        return _bucket(shape.requests_per_second, 1, shape.burst_size)
    if shape.requests_per_minute is not None:
        return _bucket(shape.requests_per_minute, 60, shape.burst_size)
    return None  # an error was reported


def _tokens(shape: TokenLimitShape) -> RateLimit:
    return _bucket(shape.tokens_per_minute, 60, shape.burst_size)


def _bucket(count: float, seconds: int, size: int | None) -> RateLimit:
    return RateLimit(count / seconds, max(1.0, count) if size is None else float(size))
