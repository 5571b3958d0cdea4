"""What every transport offers: one round trip to one provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from onwards_py.messages import BodySink, Ending, Fault, Filter, ResponseHead
from onwards_py.model.provider import Provider


class OutboundRequest(msgspec.Struct, frozen=True, gc=False):
    """A request as it is to leave: ``head`` ends with its blank line; ``body`` is complete.

    ``method`` and ``target`` (raw, as it came from the client) repeat what ``head`` says, for transports that
    send no bytes. ``model`` is the name that the provider is asked for. ``repeatable``: the
    operation may be sent twice without harm (RFC 9110 section 9.2.2 idempotent methods). ``deadline`` is when
    the whole exchange must be over, in the event loop's time (None: never). ``head_timeout``: seconds that the head may
    take, if those are fewer than the provider's ``timeouts.first_byte``.
    """

    method: bytes
    target: bytes
    head: bytes
    body: bytes
    model: str
    repeatable: bool = False
    deadline: float | None = None
    head_timeout: float | None = None


class UpstreamResponse(Protocol):
    """A response whose head has arrived.

    The body is consumed once: by ``complete_body`` (if that returns it), ``pump``, ``read`` or ``discard``.
    """

    @property
    def head(self) -> ResponseHead: ...

    @property
    def repeated(self) -> bool:
        """True if the request had gone out before, on a kept connection that died."""
        ...

    def complete_body(self) -> bytes | None:
        """The body, if all of it has arrived already; then nothing else need be called. None: use ``pump``."""
        ...

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """Move the body downstream until it ends, one await for all of it.

        Neither ``end`` nor ``abort`` of the downstream is called: what an ending means is the caller's to say.
        On cancellation the upstream side is closed before the exception travels on.
        """
        ...

    async def read(self, limit: int) -> bytes | None:
        """The whole body, if it ends well within ``limit`` bytes; else None, and the rest is discarded."""
        ...

    def discard(self) -> None:
        """The body is not wanted: free what carries it, at once."""
        ...


class TransportError(Exception):
    """An attempt that got no response. ``detail`` is for logs: no secrets, no bodies. ``advice`` may be shown to the
    client if this was the last attempt. ``repeated``: the request had gone out before, on a connection that died."""

    def __init__(self, fault: Fault, detail: str, advice: str | None = None) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail
        self.advice = advice
        self.repeated = False


class Transport(Protocol):
    """Performs one round trip to a provider."""

    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        """Send and return when the response head is there. Raises TransportError.

        The provider's ``timeouts`` apply. On cancellation nothing is left open.
        """
        ...

    async def close(self) -> None:
        """Free everything; exchanges that still run are cut."""
        ...
