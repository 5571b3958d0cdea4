"""What bounds a pool, a provider or a key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: ``per_second`` tokens flow in, ``burst`` is its size."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """``on_limit: queue``: at most ``max_waiting`` exchanges wait for a limit, each ``timeout`` seconds at most."""

    max_waiting: int = 100
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a pool, a provider or a key. None: unbounded.

    ``rate`` counts requests and ``tokens`` those of prompts and answers. ``queue``: wait instead of being refused.
    """

    rate: RateLimit | None = None
    concurrency: int | None = None
    tokens: RateLimit | None = None
    queue: QueuePolicy | None = None


NO_LIMITS = Limits()
