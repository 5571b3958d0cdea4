"""The result of an attempt that did not serve the client: the error, and the response to send if it was the last."""

from __future__ import annotations

from typing import Protocol

import msgspec

from onwards_py.errors import ProxyError
from onwards_py.proxy.exchange import Exchange


class LastResponse(Protocol):
    """A provider's response that is discarded for another attempt, and is sent if no further attempt follows."""

    def send(self, exchange: Exchange, now: float) -> None:
        """Send the response to the client. Raises ProxyError if the proxy must send an error of its own instead."""
        ...


class AttemptFailed(msgspec.Struct, frozen=True):
    """An attempt that did not serve the client. ``retryable``: another attempt may follow. ``waited``: the wait before
    the next attempt is over. ``response``: sent if no attempt follows; None: ``error`` is sent instead."""

    error: ProxyError
    retryable: bool
    response: LastResponse | None = None
    waited: bool = False

    def send(self, exchange: Exchange, now: float) -> None:
        """Answer the client after the last attempt. Raises ProxyError if the proxy must send an error of its own."""
        if self.response is None:
            raise self.error
        self.response.send(exchange, now)
