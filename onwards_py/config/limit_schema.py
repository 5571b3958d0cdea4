"""The shape of limits, which look the same wherever they stand: on a key, a target or a provider."""

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
        Rate | None, Meta(description="What flows in per second; fractions are fine. Either this or per minute.")
    ] = None
    requests_per_minute: Annotated[Rate | None, Meta(description="What flows in per minute.")] = None
    burst_size: Annotated[
        Count | None, Meta(description="Size of the bucket. Default: one second's or minute's worth, at least 1.")
    ] = None


class TokenLimitShape(Shape, frozen=True, kw_only=True):
    """A token bucket for the tokens of prompts and answers."""

    tokens_per_minute: Annotated[Rate, Meta(description="Tokens that flow in per minute.")]
    burst_size: Annotated[Count | None, Meta(description="Size of the bucket. Default: one minute's worth.")] = None


class ConcurrencyLimitShape(Shape, frozen=True, kw_only=True):
    """Exchanges at one time, each until its last byte."""

    max_concurrent_requests: Annotated[Number, Meta(description="Places; 0 refuses everything.")]


class Limited(Shape, frozen=True, kw_only=True):
    """What can be limited."""

    rate_limit: Annotated[
        RateLimitShape | None, Meta(description="Requests in time; beside 'providers' of all of them together.")
    ] = None
    concurrency_limit: Annotated[
        ConcurrencyLimitShape | None,
        Meta(description="Exchanges at one time; beside 'providers' of all of them together."),
    ] = None
    token_limit: Annotated[
        TokenLimitShape | None, Meta(description="Tokens in time; beside 'providers' of all of them together.")
    ] = None
    on_limit: Annotated[
        Literal["reject", "queue"] | None,
        Meta(description="What a limit does to an exchange: reject or queue. Default: reject."),
    ] = None
    queue: Annotated[Settings[QueuePolicy] | None, Meta(description="Bounds on waiting, for on_limit: queue.")] = None
