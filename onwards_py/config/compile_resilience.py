"""What is done about providers that fail or are slow: from shapes to policies."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from onwards_py.config.diagnostics import Path
from onwards_py.config.inherit import Reporter, explicit
from onwards_py.config.resilience_schema import (
    AffinityShape,
    EjectionShape,
    FallbackShape,
    HealthCheckShape,
    HedgeShape,
    HoldShape,
    RetryBudgetShape,
    RetrySameShape,
    Toggleable,
)
from onwards_py.config.schema import DefaultsShape
from onwards_py.model.policies import (
    Affinity,
    EjectionPolicy,
    FallbackPolicy,
    HedgePolicy,
    HoldPolicy,
    RetryBudgetPolicy,
    SamePolicy,
)
from onwards_py.model.pool import Pool
from onwards_py.model.provider import HealthCheck, Provider

S = TypeVar("S", bound=Toggleable)


def with_resilience(pool: Pool, target: DefaultsShape, path: Path, reporter: Reporter) -> Pool:
    """``pool`` with the policies of ``target``, which is written at ``path``."""
    fallback = _fallback(target.fallback)
    return replace(
        pool,
        providers=tuple(_with_patience(provider, pool, fallback) for provider in pool.providers),
        fallback=fallback,
        ejection=_ejection(target.ejection, path, reporter),
        affinity=_affinity(target.affinity),
        hedge=_hedge(target.hedge),
    )


def _with_patience(provider: Provider, pool: Pool, fallback: FallbackPolicy) -> Provider:
    """``provider``, with as much time for the head of a stream as for any other where nobody else can be asked."""
    streamed, within = provider.timeouts.first_byte_streamed, fallback.only_if_failed_within
    others = any(other.weight and other.shared_identity != provider.shared_identity for other in pool.providers)
    moves_on = fallback.enabled and others and (fallback.max_attempts or len(pool.providers)) > 1
    if streamed is None or (moves_on and (within is None or within > streamed)):
        return provider
    return replace(provider, timeouts=replace(provider.timeouts, first_byte_streamed=None))


def health_check(shape: HealthCheckShape | None) -> HealthCheck | None:
    """The check, if there is to be one."""
    shape = _on(shape)
    if shape is None:
        return None
    check = HealthCheck()
    return HealthCheck(
        path=check.path if shape.path is None else shape.path.encode(),
        interval=check.interval if shape.interval is None else float(shape.interval),
        timeout=check.timeout if shape.timeout is None else float(shape.timeout),
        unhealthy_after=check.unhealthy_after if shape.unhealthy_after is None else shape.unhealthy_after,
        healthy_after=check.healthy_after if shape.healthy_after is None else shape.healthy_after,
    )


def _on(shape: S | None) -> S | None:
    return None if shape is None or shape.enabled is False else shape


def _fallback(shape: FallbackShape | None) -> FallbackPolicy:
    policy = FallbackPolicy()
    if shape is None:
        return policy
    waits = shape.backoff
    if waits is not None:
        policy = replace(
            policy,
            backoff_initial=waits.initial_ms / 1000,
            backoff_max=policy.backoff_max if waits.max_ms is None else waits.max_ms / 1000,
            backoff_factor=policy.backoff_factor if waits.factor is None else waits.factor,
            backoff_jitter=waits.jitter != "none",
        )
    total, within, after = shape.max_total_backoff_ms, shape.only_if_failed_within_ms, shape.max_retry_after_ms
    return replace(
        policy,
        enabled=bool(shape.enabled),
        statuses=frozenset[int]().union(*(shape.on_status or ())),
        codes=frozenset(code.lower() for code in shape.on_error or ()),
        on_rate_limit=bool(shape.on_rate_limit),
        with_replacement=bool(shape.with_replacement),
        max_attempts=shape.max_attempts,
        retry_sent=bool(shape.retry_sent),
        max_total_backoff=None if total is None else total / 1000,
        only_if_failed_within=None if within is None else within / 1000,
        budget=_budget(shape.retry_budget),
        max_retry_after=policy.max_retry_after if after is None else after / 1000,
        hold=_hold(shape.hold),
        same=_same(shape.retry_same),
    )


def _budget(shape: RetryBudgetShape | None) -> RetryBudgetPolicy | None:
    """There is a budget unless it is switched off."""
    policy = RetryBudgetPolicy()
    if shape is None:
        return policy
    if shape.enabled is False:
        return None
    return RetryBudgetPolicy(
        ratio=policy.ratio if shape.ratio is None else shape.ratio,
        per_second=policy.per_second if shape.min_per_second is None else shape.min_per_second,
    )


def _same(shape: RetrySameShape | None) -> SamePolicy | None:
    shape = _on(shape)
    if shape is None:
        return None
    policy = SamePolicy()
    return SamePolicy(
        attempts=policy.attempts if shape.attempts is None else shape.attempts,
        statuses=policy.statuses if shape.on_status is None else frozenset[int]().union(*shape.on_status),
        on_reset=bool(shape.on_reset),
    )


def _hold(shape: HoldShape | None) -> HoldPolicy | None:
    shape = _on(shape)
    if shape is None:
        return None
    policy = HoldPolicy()
    return HoldPolicy(
        max_bytes=policy.max_bytes if shape.max_bytes is None else int(shape.max_bytes),
        max_time=policy.max_time if shape.max_time is None else float(shape.max_time),
    )


def _ejection(shape: EjectionShape | None, path: Path, reporter: Reporter) -> EjectionPolicy | None:
    """Providers are ejected unless that is switched off; 0 in the file means never for that reason."""
    policy = EjectionPolicy()
    if shape is None:
        return policy
    if shape.enabled is False:
        return None
    policy = replace(policy, **explicit(shape, leave="enabled"))
    if shape.max_time is None:
        policy = replace(policy, max_time=max(policy.max_time, policy.base_time))
    if policy.max_time < policy.base_time:
        reporter.error((*path, "ejection"), "'max_time' is shorter than 'base_time'")
    return replace(
        policy,
        consecutive_failures=policy.consecutive_failures or None,
        failure_rate=policy.failure_rate or None,
        auth_failures=policy.auth_failures or None,
    )


def _affinity(shape: AffinityShape | None) -> Affinity | None:
    shape = _on(shape)
    if shape is None:
        return None
    return Affinity(
        session=tuple(name.lower().encode() for name in shape.session or ()),
        prompt_bytes=shape.prompt_bytes,
        max_load=Affinity().max_load if shape.max_load is None else shape.max_load,
    )


def _hedge(shape: HedgeShape | None) -> HedgePolicy | None:
    shape = _on(shape)
    if shape is None or shape.after is None:
        return None
    after = float(shape.after)
    return HedgePolicy(after) if shape.ratio is None else HedgePolicy(after, shape.ratio)
