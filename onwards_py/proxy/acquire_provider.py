"""Acquires the next provider of a plan, together with a permit of that provider."""

from __future__ import annotations

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.limits.admission import try_acquire
from onwards_py.messages import Clock
from onwards_py.proxy.admission_queue import QueueTicket
from onwards_py.proxy.exchange import Exchange
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.fallback import FallbackPlan
from onwards_py.routing.table import LivePool


def acquire_provider(exchange: Exchange, plan: FallbackPlan, now: float) -> Endpoint | None:
    """The provider to try next, with a permit of it. None: no provider is left; ``plan.rejections`` are the reasons."""
    endpoint = plan.next(now)
    while endpoint is not None:
        blocked = exchange.acquire((endpoint.limiter,), now)
        if blocked is None:
            exchange.attempts = plan.attempts + len(exchange.repeats)
            exchange.provider = endpoint.provider.name
            return endpoint
        plan.rejections.append(blocked)
        endpoint = plan.next(now) if plan.retries_rate_limit() else None
    return None


async def wait_for_provider(exchange: Exchange, plan: FallbackPlan, clock: Clock) -> Endpoint | None:
    """Wait in the queues of full providers, if no provider was tried yet; None if no provider has a queue. Raises
    ProxyError."""
    if exchange.attempts:
        return None
    refusals = plan.rejections
    with QueueTicket(clock) as ticket:
        while True:
            reasons = refusals + [
                blocked
                for endpoint in plan.endpoints
                if endpoint.limiter.full and (blocked := try_acquire((endpoint.limiter,), clock())) is not None
            ]
            if not reasons:
                return None
            await ticket.wait(reasons)
            plan.restart(clock())
            refusals = []
            endpoint = plan.next(clock())
            if endpoint is None:
                continue
            blocked = exchange.acquire((endpoint.limiter,), clock())
            if blocked is None:
                exchange.attempts = plan.attempts + len(exchange.repeats)
                exchange.provider = endpoint.provider.name
                return endpoint
            refusals.append(blocked)


def exclude(exchange: Exchange, plan: FallbackPlan, endpoint: Endpoint) -> None:
    """Exclude ``endpoint``, which cannot serve the request and did not get it."""
    plan.exclude(endpoint)
    endpoint.limiter.refund()
    exchange.attempts = plan.attempts + len(exchange.repeats)
    if not plan.attempts:
        exchange.provider = ""


def no_provider_error(target: LivePool) -> ProxyError:
    """The error if no provider could be tried: all are busy, or all are drained."""
    if any(endpoint.provider.weight for endpoint in target.endpoints):
        return ProxyError(ErrorKind.CONCURRENCY_LIMIT, retry_after=1)
    return ProxyError(ErrorKind.NO_PROVIDER)
