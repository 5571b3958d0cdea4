"""How a pool chooses a provider, and when it tries another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar

from onwards_py.setting import Setting, ValueKind


class Strategy(Enum):
    """How a pool orders its providers (``strategy``)."""

    WEIGHTED_RANDOM = "weighted_random"
    PRIORITY = "priority"
    LEAST_INFLIGHT = "least_inflight"
    P2C = "p2c"
    """Of two random providers, the one with the lower product of load and peak EWMA of time to first byte."""


@dataclass(frozen=True, slots=True)
class RetryBudgetPolicy:
    """Bounds the retries of all requests of a target together."""

    merged_by_key: ClassVar = True

    ratio: Annotated[float, Setting("Retries per request.", ge=0, le=100)] = 0.2
    per_second: Annotated[float, Setting("Additional retries per second.", key="min_per_second", ge=0, le=1e6)] = 10.0


@dataclass(frozen=True, slots=True)
class HoldPolicy:
    """Holds a response back until its first content, so that an error inside a 200 can trigger another attempt."""

    merged_by_key: ClassVar = True

    max_bytes: Annotated[int, Setting("Largest number of held bytes.", ValueKind.SIZE)] = 256 * 1024
    max_time: Annotated[float, Setting("Longest hold.", ValueKind.TIMEOUT)] = 10.0


@dataclass(frozen=True, slots=True)
class EjectionPolicy:
    """When a provider of a pool is ejected for a time.

    A rule that is None is disabled. Times are in seconds.
    """

    merged_by_key: ClassVar = True

    consecutive_failures: Annotated[
        int | None,
        Setting("Number of consecutive failures that ejects; 0 disables this rule.", ge=0, zero_is_none=True),
    ] = 5
    failure_rate: Annotated[
        float | None,
        Setting("Share of failed requests that ejects; 0 disables this rule.", ge=0, le=1, zero_is_none=True),
    ] = 0.5
    min_requests: Annotated[int, Setting("Minimum number of requests for failure_rate.", ge=1)] = 20
    window: Annotated[float, Setting("Time window of failure_rate.", ValueKind.TIMEOUT)] = 30.0
    auth_failures: Annotated[
        int | None,
        Setting(
            "Number of consecutive rejections of the credential that ejects; 0 disables this rule.",
            ge=0,
            zero_is_none=True,
        ),
    ] = 5
    base_time: Annotated[
        float, Setting("Duration of the first ejection; doubles with each further one.", ValueKind.TIMEOUT)
    ] = 5.0
    max_time: Annotated[float, Setting("Longest ejection.", ValueKind.TIMEOUT)] = 10.0


DEFAULT_EJECTION = EjectionPolicy()


@dataclass(frozen=True, slots=True)
class Affinity:
    """Sends the requests of a conversation to one provider, so that its prompt cache is hit.

    The first ``session`` header field that a request has identifies the conversation, else the first ``prompt_bytes``
    of its prompt.
    """

    session: Annotated[
        tuple[bytes, ...],
        Setting("Headers that identify a conversation; the first one present is used.", ValueKind.HEADER_NAMES),
    ] = ()
    prompt_bytes: Annotated[
        int | None,
        Setting("Without such a header: number of bytes of the prompt that form the key.", ge=1, default="none"),
    ] = None
    max_load: Annotated[
        float, Setting("Load above which a provider is skipped, as a multiple of its fair share.", ge=1, le=1000)
    ] = 1.25


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """Sends a request to a second provider when the first is slow; the first response head wins."""

    after: Annotated[
        float, Setting("Time without a response before the hedged request is sent. Required.", ValueKind.TIMEOUT)
    ]
    ratio: Annotated[float, Setting("Share of the requests for which this is done.", ge=0, le=1)] = 0.05


@dataclass(frozen=True, slots=True)
class RoutingRule:
    """Applies to clients whose key has all of ``labels``. ``redirect`` is the target to use; None: reject."""

    labels: Mapping[str, str]
    redirect: str | None = None


@dataclass(frozen=True, slots=True)
class RetrySamePolicy:
    """Retries at the provider that failed, before another one is tried."""

    attempts: Annotated[int, Setting("Number of retries.", ge=1)] = 1
    statuses: Annotated[
        frozenset[int],
        Setting("Statuses that cause a retry.", ValueKind.STATUSES, key="on_status", default="[429, 5xx]"),
    ] = frozenset({429, *range(500, 600)})
    on_reset: Annotated[
        bool, Setting("Also retry after a reset, even if the provider may have worked on the request.")
    ] = False


@dataclass(frozen=True, slots=True)
class FallbackPolicy:
    """When a failed request is sent to another provider, before the client got the first byte of a response.

    Times are in seconds; ``backoff_initial`` 0 means that no wait is made.
    """

    merged_by_key: ClassVar = True

    enabled: Annotated[bool, Setting("Enables fallback.")] = False
    statuses: Annotated[
        frozenset[int],
        Setting("Statuses that cause another attempt: 503, 50 or 50x, 5 or 5xx.", ValueKind.STATUSES, "on_status"),
    ] = frozenset()
    codes: Annotated[
        frozenset[str],
        Setting(
            "Error codes that cause another attempt, with any status.",
            ValueKind.ERROR_CODES,
            key="on_error",
            default="none",
        ),
    ] = frozenset()
    on_rate_limit: Annotated[bool, Setting("Skip a provider at its own rate limit.")] = False
    with_replacement: Annotated[bool, Setting("weighted_random may select the same provider again.")] = False
    max_attempts: Annotated[
        int | None, Setting("Largest number of attempts.", ge=1, default="the number of providers")
    ] = None
    backoff_initial: float = 0.0
    backoff_max: float = 5.0
    backoff_factor: float = 2.0
    backoff_jitter: bool = True
    max_total_backoff: Annotated[
        float | None,
        Setting(
            "Bound on the sum of all waits, in milliseconds.",
            ValueKind.MILLISECONDS,
            key="max_total_backoff_ms",
            default="none",
        ),
    ] = None
    only_if_failed_within: Annotated[
        float | None,
        Setting(
            "Time after the request's arrival beyond which no further attempt starts.",
            ValueKind.MILLISECONDS,
            key="only_if_failed_within_ms",
            default="none",
        ),
    ] = None
    retry_sent: Annotated[bool, Setting("Also repeat a POST that a provider may have worked on and billed.")] = False
    """Applies to new connections that close after the request was sent, and only to requests for inference that ask not
    to be stored."""
    budget: Annotated[
        RetryBudgetPolicy | None,
        Setting("Bound on the retries of all requests together.", key="retry_budget"),
    ] = RetryBudgetPolicy()
    max_retry_after: Annotated[
        float,
        Setting(
            "Longest Retry-After for which the proxy waits; 0: it never waits.",
            ValueKind.MILLISECONDS,
            key="max_retry_after_ms",
        ),
    ] = 10.0
    same: Annotated[
        RetrySamePolicy | None,
        Setting("Retry the same provider first.", key="retry_same", default="off"),
    ] = None
    hold: Annotated[HoldPolicy | None, Setting("Hold responses until their first content.", default="off")] = None


NO_FALLBACK = FallbackPolicy()


@dataclass(frozen=True, slots=True)
class RouteBy:
    """Routes to another target by the label that a classifier returns for the last user message."""

    classifier: Annotated[str, Setting("The target that returns the label.")]
    labels: Annotated[Mapping[str, str], Setting("The target of each label.")]
    default: Annotated[str, Setting("The target for other labels, and if the classifier fails or is slow.")]
    timeout: Annotated[float, Setting("Timeout of the classifier.", ValueKind.TIMEOUT)] = 0.1
