"""How a pool chooses among its providers, and when it asks another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Strategy(Enum):
    """How a pool orders its providers (``strategy``)."""

    WEIGHTED_RANDOM = "weighted_random"
    PRIORITY = "priority"
    LEAST_INFLIGHT = "least_inflight"
    P2C = "p2c"
    """Of two drawn at random the one with the lower peak EWMA of time to first byte, times its load."""


@dataclass(frozen=True, slots=True)
class RetryBudgetPolicy:
    """Further attempts that a pool may make: ``ratio`` of its requests, and ``per_second`` in any case."""

    ratio: float = 0.2
    per_second: float = 10.0


@dataclass(frozen=True, slots=True)
class HoldPolicy:
    """An answer is held back until its first content, for ``max_time`` seconds and ``max_bytes`` at most, so that an
    error inside a 200 can still move the exchange on."""

    max_bytes: int = 256 * 1024
    max_time: float = 10.0


@dataclass(frozen=True, slots=True)
class EjectionPolicy:
    """When a provider is left out: after so many failures in a row, or when ``failure_rate`` (0..1) of at least
    ``min_requests`` within ``window`` seconds failed, or after so many refusals of our own credential in a row. None:
    never for that reason. It stays out for ``base_time`` seconds, twice as long each time, ``max_time`` at most."""

    consecutive_failures: int | None = 5
    failure_rate: float | None = 0.5
    min_requests: int = 20
    window: float = 30.0
    auth_failures: int | None = 5
    base_time: float = 5.0
    max_time: float = 10.0


DEFAULT_EJECTION = EjectionPolicy()


@dataclass(frozen=True, slots=True)
class Affinity:
    """What keeps a conversation at one provider: the first of the ``session`` header fields (lower case) that a request
    has, else the first ``prompt_bytes`` of its prompt (None: do not look). A provider with more than ``max_load`` times
    its fair share is passed over."""

    session: tuple[bytes, ...] = ()
    prompt_bytes: int | None = None
    max_load: float = 1.25


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """A second provider is asked too if the first has not answered within ``after`` seconds; so for ``ratio`` of the
    requests at most."""

    after: float
    ratio: float = 0.05


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Concerns callers whose key has all of ``labels``: ``redirect`` is the target to use, None refuses."""

    labels: Mapping[str, str]
    redirect: str | None = None


@dataclass(frozen=True, slots=True)
class SamePolicy:
    """The provider that has failed is asked again, up to ``attempts`` times in a row, before another one is: after a
    status in ``statuses``, and with ``on_reset`` after a connection that died before a response head came."""

    attempts: int = 1
    statuses: frozenset[int] = frozenset({429, *range(500, 600)})
    on_reset: bool = False


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """When another provider is tried. ``statuses`` is the expansion of ``on_status``.

    ``max_attempts`` None: as many as the pool has providers. Backoff figures are in seconds;
    ``backoff_initial`` 0 means that no wait is made. ``retry_sent``: also repeat a POST whose fresh
    connection died after the request was sent (the provider may have worked, and billed, twice), if it only
    asks a model for something that is not to be stored.
    ``only_if_failed_within``: no further attempt later than so many seconds after the exchange began. ``budget`` None:
    as many further attempts as the rest allows. ``max_retry_after``: the longest Retry-After (seconds) that is waited
    for before the same provider is asked again. ``same``: when the same provider is asked again at once.
    ``codes``: those of errors (lower case) that are given up for another attempt, whatever their status is.
    """

    enabled: bool = False
    statuses: frozenset[int] = frozenset()
    on_rate_limit: bool = False
    with_replacement: bool = False
    max_attempts: int | None = None
    retry_sent: bool = False
    backoff_initial: float = 0.0
    backoff_max: float = 5.0
    backoff_factor: float = 2.0
    backoff_jitter: bool = True
    max_total_backoff: float | None = None
    only_if_failed_within: float | None = None
    budget: RetryBudgetPolicy | None = RetryBudgetPolicy()
    max_retry_after: float = 10.0
    hold: HoldPolicy | None = None
    same: SamePolicy | None = None
    codes: frozenset[str] = frozenset()


NO_FALLBACK = FallbackPolicy()


@dataclass(frozen=True, slots=True)
class RouteBy:
    """The target ``classifier`` says a label, which ``labels`` maps to a target. ``default`` is taken for any other
    label, and if there is none within ``timeout`` seconds."""

    classifier: str
    labels: Mapping[str, str]
    default: str
    timeout: float = 0.1
