"""Fallback, ejection, affinity and hedging: from keys to policies."""

from __future__ import annotations

from dataclasses import replace

from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter
from onwards_py.config.resilience_schema import FallbackShape
from onwards_py.config.schema import DefaultsShape
from onwards_py.config.setting_shapes import build_if_enabled, explicit
from onwards_py.config.shape import Toggleable
from onwards_py.model.policies import EjectionPolicy, FallbackPolicy, HedgePolicy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Provider


def with_resilience(pool: Pool, target: DefaultsShape, path: Path, reporter: Reporter) -> Pool:
    """``pool`` with the policies of ``target``, which is written at ``path``."""
    fallback = _fallback(target.fallback)
    return replace(
        pool,
        providers=tuple(_with_head_timeout(provider, pool, fallback) for provider in pool.providers),
        fallback=fallback,
        ejection=_ejection(target.ejection, path, reporter),
        affinity=build_if_enabled(target.affinity),
        hedge=_hedge(target.hedge),
    )


def _with_head_timeout(provider: Provider, pool: Pool, fallback: FallbackPolicy) -> Provider:
    """``provider``, without a shorter timeout for the heads of streams if fallback has no other provider to try."""
    streamed, within = provider.timeouts.first_byte_streamed, fallback.only_if_failed_within
    others = any(other.weight and other.shared_identity != provider.shared_identity for other in pool.providers)
    moves_on = fallback.enabled and others and (fallback.max_attempts or len(pool.providers)) > 1
    if streamed is None or (moves_on and (within is None or within > streamed)):
        return provider
    return replace(provider, timeouts=replace(provider.timeouts, first_byte_streamed=None))


def _fallback(shape: FallbackShape | None) -> FallbackPolicy:
    if shape is None:
        return FallbackPolicy()
    policy = FallbackPolicy(**explicit(shape, FallbackPolicy))
    waits = shape.backoff
    if waits is None:
        return policy
    return replace(
        policy,
        backoff_initial=waits.initial_ms / 1000,
        backoff_max=policy.backoff_max if waits.max_ms is None else waits.max_ms / 1000,
        backoff_factor=policy.backoff_factor if waits.factor is None else waits.factor,
        backoff_jitter=waits.jitter != "none",
    )


def _ejection(shape: Toggleable[EjectionPolicy] | None, path: Path, reporter: Reporter) -> EjectionPolicy | None:
    """The policy; None if it is disabled."""
    if shape is None:
        return EjectionPolicy()
    policy = build_if_enabled(shape)
    if policy is None:
        return None
    if "max_time" not in explicit(shape):
        policy = replace(policy, max_time=max(policy.max_time, policy.base_time))
    if policy.max_time < policy.base_time:
        reporter.error((*path, "ejection"), "'max_time' is shorter than 'base_time'")
    return policy


def _hedge(shape: Toggleable[HedgePolicy] | None) -> HedgePolicy | None:
    """The policy; None if it is absent or disabled, or after the missing ``after`` was reported."""
    return build_if_enabled(shape) if "after" in explicit(shape) else None
