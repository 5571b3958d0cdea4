"""The shape of `fallback`. Its `backoff` is a mapping in the file, and flat fields when compiled."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.shape import Shape
from onwards_py.model.policies import FallbackPolicy

Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
Factor = Annotated[float, Meta(gt=0, le=1000)]


class BackoffShape(Shape, frozen=True, kw_only=True):
    """Waits before a provider is tried again for the same request."""

    initial_ms: Annotated[Milliseconds, Meta(description="Wait after the first failure, in milliseconds.")]
    max_ms: Annotated[Milliseconds | None, Meta(description="The longest single wait. Default: 5000.")] = None
    factor: Annotated[Factor | None, Meta(description="Growth factor of the wait. Default: 2.")] = None
    jitter: Annotated[
        Literal["full", "none"] | None, Meta(description="full: a random part of the wait. Default: full.")
    ] = None


class FallbackShape(Shape, frozen=True, kw_only=True):
    """When a failed request is sent to another provider, before the client got the first byte of a response."""

    flattened: ClassVar[tuple[type, ...]] = (FallbackPolicy,)
    merged_by_key: ClassVar[bool] = True

    backoff: Annotated[
        BackoffShape | None, Meta(description="Waits before a provider is tried again. Default: none.")
    ] = None
