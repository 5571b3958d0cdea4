"""What both doors share: the handler that they call, and constants."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

from onwards_py.doors.response_writer import ResponseWriter
from onwards_py.errors import ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.wire.request_head import RequestHead

DRAIN_GRACE = 0.5
"""Seconds for which an idle connection stays open after the start of a shutdown."""

LINGER_SECONDS = 2.0
"""Seconds that a client has to read an error response, while the rest of its request is read and dropped."""

MIN_UPLOAD_RATE = 16 * 1024
"""Bytes per second. ``body_timeout`` grows by a second for each time that this number of body bytes has arrived."""

WRITE_BUFFER = 16 * 1024
"""Bytes that may wait for a slow client before its provider is paused. One more read may be added."""


class BodyLimit(Protocol):
    """The part of the configuration that the doors read for each request."""

    max_body: int
    """Bytes of request body that a door may read."""


class Handler(Protocol):
    """The one handler behind both doors."""

    def handle(
        self, request: InboundRequest, head: RequestHead, downstream: ResponseWriter
    ) -> Coroutine[Any, Any, None]:
        """Answer the request. Ends or aborts the downstream. Raises only CancelledError."""
        ...

    def precheck(self, target: bytes, head: RequestHead) -> None:
        """Make the checks that need only the head, before the body is read. Raises ProxyError."""
        ...

    def record_refusal(self, request: InboundRequest, error: ProxyError) -> None:
        """Log and count a request that a door refused by itself."""
        ...

    def is_own_connection(self, peer: str, port: int) -> bool:
        """True if the client's end of the connection is an upstream connection of this process: a provider's URL leads
        back here."""
        ...

    @property
    def config(self) -> BodyLimit:
        """The limit of request bodies, which a reload may change."""
        ...
