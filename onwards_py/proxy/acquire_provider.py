"""The next provider of a plan, together with a permit of it."""

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
    """The provider to try next, with a permit of it; None if none is left: ``plan.rejections`` are the reasons."""
    member = plan.next(now)
    while member is not None:
        blocked = exchange.acquire((member.limiter,), now)
        if blocked is None:
            _note(exchange, plan, member)
            return member
        plan.rejections.append(blocked)
        member = plan.next(now) if plan.retries_rate_limit() else None
    return None


async def wait_for_provider(exchange: Exchange, plan: FallbackPlan, clock: Clock) -> Endpoint | None:
    """Wait in the queues of full providers, if none was tried yet; None if no provider has a queue to wait in. Raises
    ProxyError."""
    if exchange.attempts:
        return None
    refusals = plan.rejections
    with QueueTicket(clock) as ticket:
        while True:
            reasons = refusals + [
                blocked
                for member in plan.endpoints
                if member.limiter.full and (blocked := try_acquire((member.limiter,), clock())) is not None
            ]
            if not reasons:
                return None
            await ticket.wait(reasons)
            plan.restart(clock())
            refusals = []
            member = plan.next(clock())
            if member is None:
                continue
            blocked = exchange.acquire((member.limiter,), clock())
            if blocked is None:
                _note(exchange, plan, member)
                return member
            refusals.append(blocked)


def exclude(exchange: Exchange, plan: FallbackPlan, member: Endpoint) -> None:
    """``member`` cannot serve the request, and did not get it."""
    plan.exclude(member)
    member.limiter.refund()
    exchange.attempts = plan.attempts + len(exchange.repeats)
    if not plan.attempts:
        exchange.provider = ""


def no_provider_error(target: LivePool) -> ProxyError:
    """The error if no provider could be tried: all are busy, or all are drained."""
    if any(member.provider.weight for member in target.endpoints):
        return ProxyError(ErrorKind.CONCURRENCY_LIMIT, retry_after=1)
    return ProxyError(ErrorKind.NO_PROVIDER)


def _note(exchange: Exchange, plan: FallbackPlan, member: Endpoint) -> None:
    exchange.attempts = plan.attempts + len(exchange.repeats)
    exchange.provider = member.provider.name
