"""The shape of what is done about providers that fail or are slow, and of what keeps conversations together."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from onwards_py.config.scalars import ErrorCode, HeaderName, RequestPath, Size, StatusPattern, Timeout
from onwards_py.config.shape import Count, Number, Shape

Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
Factor = Annotated[float, Meta(gt=0, le=1000)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Toggleable(Shape, frozen=True, kw_only=True):
    """What is on where it is said, and can be switched off again below."""

    enabled: Annotated[bool | None, Meta(description="false: as if it were not said above. Default: true.")] = None


class HealthCheckShape(Toggleable, frozen=True, kw_only=True):
    """A GET in the background, with the provider's credential, that must be answered with 2xx."""

    path: Annotated[RequestPath | None, Meta(description="What is asked for. Default: /v1/models.")] = None
    interval: Annotated[Timeout | None, Meta(description="From one check to the next. Default: 10s.")] = None
    timeout: Annotated[Timeout | None, Meta(description="How long an answer may take. Default: 5s.")] = None
    unhealthy_after: Annotated[
        Count | None, Meta(description="Failures in a row that take the provider out. Default: 3.")
    ] = None
    healthy_after: Annotated[
        Count | None, Meta(description="Successes in a row that put the provider back. Default: 2.")
    ] = None


class EjectionShape(Toggleable, frozen=True, kw_only=True):
    """When a provider of a pool is left out for a time."""

    consecutive_failures: Annotated[
        Number | None, Meta(description="After so many failures in a row; 0: not for that. Default: 5.")
    ] = None
    failure_rate: Annotated[
        Share | None, Meta(description="When so large a share of requests failed; 0: not for that. Default: 0.5.")
    ] = None
    min_requests: Annotated[
        Count | None, Meta(description="Fewest requests that failure_rate is judged by. Default: 20.")
    ] = None
    window: Annotated[Timeout | None, Meta(description="Time that failure_rate looks back. Default: 30s.")] = None
    auth_failures: Annotated[
        Number | None,
        Meta(description="After so many refusals of our credential in a row; 0: not for that. Default: 5."),
    ] = None
    base_time: Annotated[
        Timeout | None, Meta(description="How long it is left out at first; doubles each time. Default: 5s.")
    ] = None
    max_time: Annotated[Timeout | None, Meta(description="How long it is left out at most. Default: 10s.")] = None


class AffinityShape(Toggleable, frozen=True, kw_only=True):
    """What keeps a conversation at one provider, so that its prompt cache hits."""

    session: Annotated[
        list[HeaderName] | None, Meta(description="Headers that name a conversation; the first present counts.")
    ] = None
    prompt_bytes: Annotated[
        Count | None, Meta(description="Without such a header: so many first bytes of the prompt. Default: none.")
    ] = None
    max_load: Annotated[
        Annotated[float, Meta(ge=1, le=1000)] | None,
        Meta(description="Load at which it is passed over, in fair shares. Default: 1.25."),
    ] = None


class HedgeShape(Toggleable, frozen=True, kw_only=True):
    """A second provider is asked too when the first is slow."""

    after: Annotated[Timeout | None, Meta(description="Silence before the second is asked. Needed.")] = None
    ratio: Annotated[Share | None, Meta(description="Share of the requests for which this is done. Default: 0.05.")] = (
        None
    )


class RetryBudgetShape(Toggleable, frozen=True, kw_only=True):
    """How many further attempts a target may make in all."""

    ratio: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None, Meta(description="So many per request. Default: 0.2.")
    ] = None
    min_per_second: Annotated[
        Annotated[float, Meta(ge=0, le=1e6)] | None, Meta(description="So many per second in any case. Default: 10.")
    ] = None


class HoldShape(Toggleable, frozen=True, kw_only=True):
    """An answer is held until its first content, so that an error inside a 200 can still move it on."""

    max_bytes: Annotated[Size | None, Meta(description="Held at most. Default: 256KiB.")] = None
    max_time: Annotated[Timeout | None, Meta(description="Held for so long at most. Default: 10s.")] = None


class RetrySameShape(Toggleable, frozen=True, kw_only=True):
    """The provider that has failed is asked again before another one is."""

    attempts: Annotated[Count | None, Meta(description="So many times in a row. Default: 1.")] = None
    on_status: Annotated[
        list[StatusPattern] | None, Meta(description="Statuses that it is asked again after. Default: [429, 5xx].")
    ] = None
    on_reset: Annotated[
        bool | None,
        Meta(description="Also after a connection that died, though it may have been worked on. Default: false."),
    ] = None


class BackoffShape(Shape, frozen=True, kw_only=True):
    """Waits before a provider is asked again for the same request."""

    initial_ms: Annotated[Milliseconds, Meta(description="Wait after its first failure, in milliseconds.")]
    max_ms: Annotated[Milliseconds | None, Meta(description="The longest single wait. Default: 5000.")] = None
    factor: Annotated[Factor | None, Meta(description="Growth from wait to wait. Default: 2.")] = None
    jitter: Annotated[
        Literal["full", "none"] | None, Meta(description="full: a random share of the wait. Default: full.")
    ] = None


class FallbackShape(Shape, frozen=True, kw_only=True):
    """When another attempt is made, before the first byte went to the client."""

    enabled: Annotated[bool | None, Meta(description="The main switch. Default: false.")] = None
    on_status: Annotated[
        list[StatusPattern] | None,
        Meta(description="Statuses that are given up for another attempt: 503, 50 or 50x, 5 or 5xx."),
    ] = None
    on_error: Annotated[
        list[ErrorCode] | None,
        Meta(description="Codes of errors that are given up for another attempt, whatever the status. Default: none."),
    ] = None
    on_rate_limit: Annotated[
        bool | None, Meta(description="Pass over a provider at its own rate limit. Default: false.")
    ] = None
    with_replacement: Annotated[
        bool | None, Meta(description="weighted_random may draw the same provider again. Default: false.")
    ] = None
    max_attempts: Annotated[Count | None, Meta(description="Attempts in all. Default: as many as providers.")] = None
    backoff: Annotated[
        BackoffShape | None, Meta(description="Waits before a provider that was asked already. Default: none.")
    ] = None
    max_total_backoff_ms: Annotated[
        Milliseconds | None, Meta(description="Bound on all waits together, in milliseconds. Default: none.")
    ] = None
    only_if_failed_within_ms: Annotated[
        Milliseconds | None,
        Meta(description="No further attempt later than so long after the request came. Default: none."),
    ] = None
    retry_sent: Annotated[
        bool | None,
        Meta(description="Also repeat a POST that a provider may have worked on and billed. Default: false."),
    ] = None
    retry_budget: Annotated[
        RetryBudgetShape | None, Meta(description="Bound on the further attempts of all requests together.")
    ] = None
    max_retry_after_ms: Annotated[
        Milliseconds | None,
        Meta(description="The longest Retry-After that is waited for; 0: none is. Default: 10000."),
    ] = None
    retry_same: Annotated[
        RetrySameShape | None, Meta(description="Ask the same provider again first. Default: the next one is asked.")
    ] = None
    hold: Annotated[
        HoldShape | None, Meta(description="Hold answers until their first content. Default: they are not held.")
    ] = None
