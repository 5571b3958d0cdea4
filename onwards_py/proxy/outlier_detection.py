"""What a provider's conduct means for its health (ejection, probation) and for what is known of its speed."""

from __future__ import annotations

import time
from typing import Final

from onwards_py.messages import OWN_FAULTS, Ending, Fault, ResponseHead
from onwards_py.model.provider import EngineSettings
from onwards_py.routing.balancer import Endpoint
from onwards_py.wire.response_head import retry_after

_BROKEN: Final = frozenset({Ending.EOF, Ending.RESET, Ending.IDLE})
_NOT_OURS: Final = frozenset({401, 402, 403})
_BUSY: Final = frozenset({503, 529})


def note_head(endpoint: Endpoint, head: ResponseHead, seconds: float, now: float) -> None:
    """A response head came after ``seconds``.

    What the client did wrong (4xx) is no failure of the provider, but shows that it is alive. 429 is a wish to be left
    alone for a while; and refusals of a credential that is ours count by a rule of their own.
    """
    if endpoint.latency is not None and head.status < 400:
        endpoint.latency.observe(seconds, now)
    health = endpoint.health
    if health is None:
        return
    status = head.status
    if type(endpoint.provider.local) is EngineSettings and status in _BUSY:
        return  # how busy our own engines are is known at any time
    if status < 400:
        return  # what it is worth is seen when its body begins
    if status == 429:
        health.rate_limited(now, retry_after(head.lines, time.time()))
    elif status >= 500:
        wait = retry_after(head.lines, time.time()) if status in _BUSY else None
        if wait is None:
            health.failed(now)
        else:
            health.rate_limited(now, wait)
    elif status in _NOT_OURS and endpoint.provider.credential is not None:
        health.unauthorised(now)
    else:
        health.succeeded()


def note_success(endpoint: Endpoint) -> None:
    """An answer is good enough to be given to the client."""
    if endpoint.health is not None:
        endpoint.health.succeeded()


def note_failure(endpoint: Endpoint, now: float) -> None:
    """No usable answer came."""
    if endpoint.health is not None:
        endpoint.health.failed(now)


def note_fault(endpoint: Endpoint, fault: Fault, now: float) -> None:
    """No response came, for this reason. What we lack ourselves is no failure of the provider."""
    if fault not in OWN_FAULTS:
        note_failure(endpoint, now)


def note_hedge_lost(endpoint: Endpoint, seconds: float, now: float) -> None:
    """Another provider, asked later, answered first, after ``seconds`` of silence of this one: a failure, or hedging
    would hide for ever that it is dead."""
    if endpoint.latency is not None:
        endpoint.latency.observe(seconds, now)
    note_failure(endpoint, now)


def note_stale_connection(endpoint: Endpoint, now: float) -> None:
    """A kept connection died under a request, which was sent again and answered."""
    if endpoint.health is not None:
        endpoint.health.lost_connection(now)


def note_ending(endpoint: Endpoint, ending: Ending, now: float) -> None:
    """A body ended that had begun well; streams that fail late count, clients that leave do not."""
    if endpoint.health is not None and ending in _BROKEN:
        endpoint.health.failed(now, late=True)
