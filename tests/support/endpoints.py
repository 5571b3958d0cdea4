"""Providers of a pool, as strategies see them."""

from __future__ import annotations

from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import run_now
from onwards_py.model.limits import Limits
from onwards_py.model.provider import Provider
from onwards_py.routing.balancer import Endpoint
from onwards_py.routing.health import Health


def endpoint(
    weight: int = 1,
    in_flight: int = 0,
    places: int | None = None,
    *,
    name: str = "name",
    health: Health | None = None,
) -> Endpoint:
    """A provider with ``in_flight`` requests of at most ``places``."""
    limits = Limits(concurrency=places)
    made = Endpoint(Provider(name, name, weight=weight, limits=limits), Limiter(limits, 0.0, run_now), health)
    made.limiter.in_flight = in_flight
    return made
