"""Limits of a pool, a provider or a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from onwards_py.setting import Setting, ValueKind


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: ``per_second`` is its refill rate, ``burst`` its size."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The wait queue of a limit: first in, first out."""

    merged_by_key: ClassVar = True

    max_waiting: Annotated[int, Setting("Largest number of waiting exchanges.", ge=1)] = 100
    timeout: Annotated[float, Setting("Longest wait of an exchange.", ValueKind.TIMEOUT)] = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a pool, a provider or a key. None: unlimited.

    ``rate`` limits requests, ``tokens`` prompt and completion tokens. ``queue``: exchanges wait instead of being
    rejected.
    """

    rate: RateLimit | None = None
    concurrency: int | None = None
    tokens: RateLimit | None = None
    queue: QueuePolicy | None = None


NO_LIMITS = Limits()
