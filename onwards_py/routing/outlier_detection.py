"""Outlier detection: the effect of responses and failures on a provider's health and latency estimate."""

from __future__ import annotations

from typing import Final

from onwards_py.messages import OWN_FAULTS, Ending, Fault
from onwards_py.model.provider import EngineSettings
from onwards_py.routing.balancer import Endpoint

_BROKEN: Final = frozenset({Ending.EOF, Ending.RESET, Ending.IDLE})
_NOT_OURS: Final = frozenset({401, 402, 403})
_BUSY: Final = frozenset({503, 529})


def note_head(endpoint: Endpoint, status: int, wait: float | None, seconds: float, now: float) -> None:
    """A response head arrived after ``seconds``. ``wait``: its Retry-After, in seconds.

    A client error (4xx) is a success of the provider. 429 is a rate limit, and rejections of a configured credential
    have a rule of their own.
    """
    if endpoint.latency is not None and status < 400:
        endpoint.latency.observe(seconds, now)
    health = endpoint.health
    if health is None:
        return
    if type(endpoint.provider.local) is EngineSettings and status in _BUSY:
        return  # the load of local engines is known from their slots
    if status < 400:
        return  # its body decides
    if status == 429:
        health.rate_limited(now, wait)
    elif status >= 500:
        if wait is None or status not in _BUSY:
            health.failed(now)
        else:
            health.rate_limited(now, wait)
    elif status in _NOT_OURS and endpoint.provider.credential is not None:
        health.unauthorised(now)
    else:
        health.succeeded()


def note_success(endpoint: Endpoint) -> None:
    """A response is sent to the client."""
    if endpoint.health is not None:
        endpoint.health.succeeded()


def note_failure(endpoint: Endpoint, now: float) -> None:
    """An attempt failed."""
    if endpoint.health is not None:
        endpoint.health.failed(now)


def note_fault(endpoint: Endpoint, fault: Fault, now: float) -> None:
    """An attempt got no response. If the proxy lacked a resource, this is not a failure of the provider."""
    if fault not in OWN_FAULTS:
        note_failure(endpoint, now)


def note_hedge_lost(endpoint: Endpoint, seconds: float, now: float) -> None:
    """A later attempt got a response first, while this one had none for ``seconds``. This is a failure, because
    otherwise hedging would hide a provider that never responds."""
    if endpoint.latency is not None:
        endpoint.latency.observe(seconds, now)
    note_failure(endpoint, now)


def note_stale_connection(endpoint: Endpoint, now: float) -> None:
    """A reused connection was closed during a request, which was then repeated successfully."""
    if endpoint.health is not None:
        endpoint.health.lost_connection(now)


def note_ending(endpoint: Endpoint, ending: Ending, now: float) -> None:
    """A body ended after its response was committed. Late failures count; disconnected clients do not."""
    if endpoint.health is not None and ending in _BROKEN:
        endpoint.health.failed(now, late=True)
