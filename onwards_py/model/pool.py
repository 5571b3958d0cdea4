"""A target and a key, compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from onwards_py.model.limits import NO_LIMITS, Limits
from onwards_py.model.policies import (
    DEFAULT_EJECTION,
    NO_FALLBACK,
    Affinity,
    EjectionPolicy,
    FallbackPolicy,
    HedgePolicy,
    RouteBy,
    RoutingRule,
    Strategy,
)
from onwards_py.model.provider import Provider
from onwards_py.setting import Setting, ValueKind


@dataclass(frozen=True, slots=True)
class Pool:
    """A target, compiled. ``keys`` are SHA-256 digests of the accepted tokens; None: open to all.

    With ``route_by`` a target has no providers: another target answers.
    """

    name: str
    providers: tuple[Provider, ...]
    strategy: Annotated[Strategy, Setting("Load-balancing strategy.")] = Strategy.WEIGHTED_RANDOM
    fallback: FallbackPolicy = NO_FALLBACK
    keys: frozenset[bytes] | None = field(default=None, repr=False)
    limits: Limits = NO_LIMITS
    max_body: Annotated[int, Setting("Largest request body.", ValueKind.SIZE)] = 64 * 1024 * 1024
    route_by: RouteBy | None = None
    ejection: EjectionPolicy | None = DEFAULT_EJECTION
    affinity: Affinity | None = None
    hedge: HedgePolicy | None = None
    rules: tuple[RoutingRule, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyDefinition:
    """What is known about a token (found by its SHA-256 digest). ``targets``: those that it may use; None: any."""

    id: str
    limits: Limits = NO_LIMITS
    labels: Mapping[str, str] = field(default_factory=dict)
    targets: frozenset[str] | None = None
