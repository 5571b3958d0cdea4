"""The shape of limits, which is the same for a key, a target and a provider."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.shape import Count, Number, Settings, Shape
from onwards_py.model.limits import QueuePolicy

Rate = Annotated[float, Meta(gt=0, le=1e9)]


class RateLimitShape(Shape, frozen=True, kw_only=True):
    """A token bucket for requests."""

    one_of: ClassVar[tuple[str, ...]] = ("requests_per_second", "requests_per_minute")

    requests_per_second: Annotated[
        Rate | None, Meta(description="Requests per second; fractions are allowed. Either this or per minute.")
    ] = None
    requests_per_minute: Annotated[Rate | None, Meta(description="Requests per minute.")] = None
    burst_size: Annotated[
        Count | None, Meta(description="Size of the bucket. Default: one second's or minute's worth, at least 1.")
    ] = None


class TokenLimitShape(Shape, frozen=True, kw_only=True):
    """A token bucket for the tokens of prompts and answers."""

    tokens_per_minute: Annotated[Rate, Meta(description="Tokens per minute.")]
    burst_size: Annotated[Count | None, Meta(description="Size of the bucket. Default: one minute's worth.")] = None


class ConcurrencyLimitShape(Shape, frozen=True, kw_only=True):
    """Exchanges at one time, each until its last byte."""

    max_concurrent_requests: Annotated[
        Number, Meta(description="Largest number of exchanges in flight; 0 rejects all.")
    ]


class LimitsShape(Shape, frozen=True, kw_only=True):
    """The limits of a key, a target or a provider."""

    rate_limit: Annotated[
        RateLimitShape | None, Meta(description="Requests per time; beside 'providers', of the pool as a whole.")
    ] = None
    concurrency_limit: Annotated[
        ConcurrencyLimitShape | None,
        Meta(description="Concurrent exchanges; beside 'providers', of the pool as a whole."),
    ] = None
    token_limit: Annotated[
        TokenLimitShape | None, Meta(description="Tokens per time; beside 'providers', of the pool as a whole.")
    ] = None
    on_limit: Annotated[
        Literal["reject", "queue"] | None,
        Meta(description="Effect of an exhausted limit: reject or queue. Default: reject."),
    ] = None
    queue: Annotated[
        Settings[QueuePolicy] | None, Meta(description="Bounds of the admission queue, for on_limit: queue.")
    ] = None
