"""The interface of all transports: one round trip to one provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from onwards_py.messages import BodySink, Ending, Fault, Filter, ResponseHead
from onwards_py.model.provider import EngineSettings, Provider


class OutboundRequest(msgspec.Struct, frozen=True, gc=False):
    """A request to a provider. ``method`` and ``target`` are also in ``head``; they are for transports without HTTP."""

    method: bytes
    target: bytes
    """The raw request target of the client."""
    head: bytes
    """Request line and fields, blank line included."""
    body: bytes
    model: str
    """The provider's name of the model."""
    repeatable: bool = False
    """The request may be sent twice without harm (RFC 9110 section 9.2.2: idempotent methods)."""
    deadline: float | None = None
    """The end of the whole exchange in the event loop's time. None: there is no deadline."""
    head_timeout: float | None = None
    """Seconds until the head must have arrived, if fewer than the provider's ``timeouts.first_byte``."""


class UpstreamResponse(Protocol):
    """A response whose head has arrived.

    The body is consumed once: by ``complete_body`` (if that returns it), ``pump``, ``read`` or ``discard``.
    """

    @property
    def head(self) -> ResponseHead: ...

    @property
    def repeated(self) -> bool:
        """True if the request was sent twice: the first time on a kept connection that was closed."""
        ...

    def complete_body(self) -> bytes | None:
        """The body, if all of it has arrived. Then no other method need be called. None: use ``pump``."""
        ...

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """Move the body downstream until it ends, with one await for all of it.

        Calls neither ``end`` nor ``abort`` of the downstream: the caller does, depending on the ending.
        On cancellation the upstream side is closed before the exception is raised.
        """
        ...

    async def read(self, limit: int) -> bytes | None:
        """The whole body. None if it does not end well within ``limit`` bytes: then the rest is discarded."""
        ...

    def discard(self) -> None:
        """Drop the body and free its connection at once."""
        ...


class TransportError(Exception):
    """An attempt that got no response."""

    def __init__(self, fault: Fault, detail: str, advice: str | None = None) -> None:
        """``detail`` is for logs and holds no secrets and no bodies. ``advice`` may be shown to the client."""
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail
        self.advice = advice
        self.repeated = False
        """See UpstreamResponse.repeated."""


class Transport(Protocol):
    """Performs one round trip to a provider."""

    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        """Send the request and return when the response head has arrived. Raises TransportError.

        The provider's ``timeouts`` apply. On cancellation no connection is left open.
        """
        ...

    async def close(self) -> None:
        """Free all resources. Running exchanges are aborted."""
        ...


class Transports:
    """The transport of each kind of provider."""

    __slots__ = ("echo", "engines", "http")

    def __init__(self, http: Transport, echo: Transport, engines: Transport) -> None:
        self.http = http
        self.echo = echo
        self.engines = engines

    def of(self, provider: Provider) -> Transport:
        """The transport of this kind of provider."""
        if provider.local is None:
            return self.http
        return self.engines if type(provider.local) is EngineSettings else self.echo
