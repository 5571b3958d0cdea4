"""The result of an attempt that did not serve the client: the error, and the response to send if it was the last."""

from __future__ import annotations

from typing import Protocol

import msgspec

from onwards_py.errors import ProxyError
from onwards_py.proxy.exchange import Exchange


class LastResponse(Protocol):
    """A provider's response that was given up for another attempt, and is sent if that was the last one."""

    def send(self, exchange: Exchange, now: float) -> None:
        """Send it to the client. Raises ProxyError if the proxy must answer in its place."""
        ...


class AttemptFailed(msgspec.Struct, frozen=True):
    """An attempt that did not serve the client. ``retryable``: another attempt may follow. ``waited``: the wait before
    that is over. ``response``: what to send if no attempt follows; None: ``error``."""

    error: ProxyError
    retryable: bool
    response: LastResponse | None = None
    waited: bool = False

    def send(self, exchange: Exchange, now: float) -> None:
        """This was the last attempt: answer the client. Raises ProxyError if the proxy must do that itself."""
        if self.response is None:
            raise self.error
        self.response.send(exchange, now)
