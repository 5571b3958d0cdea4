"""What bounds a pool, a provider or a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from onwards_py.setting import Setting, ValueKind


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: ``per_second`` tokens flow in, ``burst`` is its size."""

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
    """What bounds a pool, a provider or a key. None: unbounded.

    ``rate`` counts requests and ``tokens`` those of prompts and answers. ``queue``: wait instead of being refused.
    """

    rate: RateLimit | None = None
    concurrency: int | None = None
    tokens: RateLimit | None = None
    queue: QueuePolicy | None = None


NO_LIMITS = Limits()
