"""``/metrics``, ``/healthz``, ``/readyz``, ``/status``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final, Literal

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from onwards_py.admin.status import Status
from onwards_py.doors.base import BodyLimit
from onwards_py.doors.response_writer import ResponseWriter
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.error_body import send_error
from onwards_py.wire.request_head import RequestHead
from onwards_py.wire.target_url import authority, origin_form

LISTENER_BOUNDS: Final = replace(
    ServerSettings(),
    # The upper limit (DescriptorBudget.admin): scrapers and probes are few, and clients need the descriptors.
    max_connections=32,
    max_head_bytes=16 * 1024,
    max_pipelined=1,
    header_timeout=10.0,
    body_timeout=10.0,
    keepalive_timeout=15.0,  # also for a connection that has not sent a request yet
)
"""The limits of the admin port's listener."""

_JSON: Final = b"application/json"
_PAGES: Final = "The admin port has /metrics, /healthz, /readyz and /status."
_MISDIRECTED: Final = (
    "The admin port does not accept the name in Host. Use its IP address, or add the name to "
    "admin.allowed_hosts (--admin-allowed-hosts)."
)


class EngineStatus(msgspec.Struct, frozen=True):
    """One local model. ``state``: cold, loading, ready, down, closed."""

    name: str
    engine: str
    model: str
    state: str


class Readiness(msgspec.Struct, frozen=True):
    """The page ``/readyz``: status 200 if ``ready``, otherwise 503."""

    status: Literal["ready", "loading", "draining"]
    engines: list[EngineStatus]


class _Page(msgspec.Struct, frozen=True):
    body: bytes
    content_type: bytes = _JSON
    status: int = 200


class AdminPages:
    """The Handler of the admin port. ``readiness`` and ``status`` are called for each request of their pages;
    ``readiness`` is ``draining`` from the first signal to stop. ``is_allowed`` checks the value of Host."""

    max_body = 0

    @property
    def config(self) -> BodyLimit:
        """See Handler.config."""
        return self

    def __init__(
        self,
        registry: CollectorRegistry,
        readiness: Callable[[], Readiness],
        status: Callable[[], Status],
        is_allowed: Callable[[str], bool],
    ) -> None:
        self._registry = registry
        self._readiness = readiness
        self._status = status
        self._is_allowed = is_allowed

    async def handle(self, request: InboundRequest, head: RequestHead, downstream: ResponseWriter) -> None:
        """See Handler.handle."""
        del head
        try:
            page = self._page(request)
        except ProxyError as error:
            send_error(downstream, error)
            return
        reason = HTTPStatus(page.status).phrase.encode()
        block = b"Content-Type: %b\r\nContent-Length: %d\r\n" % (page.content_type, len(page.body))
        downstream.answer(page.status, reason, block, len(page.body), page.body)

    def precheck(self, target: bytes, head: RequestHead) -> None:
        """See Handler.precheck: the lane rejects all bodies, by size."""

    def record_refusal(self, request: InboundRequest, error: ProxyError) -> None:
        """See Handler.record_refusal: the admin port keeps no log."""

    def is_own_connection(self, peer: str, port: int) -> bool:
        """See Handler.is_own_connection: loops through the admin port are not detected."""
        del peer, port
        return False

    def _page(self, request: InboundRequest) -> _Page:
        host = _value(request, b"host")
        named = authority(request.target)
        # An HTTP/1.0 probe may lack Host; a browser always sends it.
        for name in (host, named.decode("latin-1") if named is not None else None):
            if name is not None and not self._is_allowed(name):
                raise ProxyError(ErrorKind.MISDIRECTED, _MISDIRECTED)
        path = origin_form(request.target).partition(b"?")[0]
        if path not in (b"/metrics", b"/healthz", b"/readyz", b"/status"):
            raise ProxyError(ErrorKind.NOT_FOUND, _PAGES)
        if request.method not in (b"GET", b"HEAD"):
            raise ProxyError(ErrorKind.METHOD_NOT_ALLOWED, allow="GET, HEAD")
        if path == b"/metrics":
            encode, content_type = choose_encoder(_value(request, b"accept") or "")
            return _Page(encode(self._registry), content_type.encode())
        if path == b"/status":
            return _Page(msgspec.json.encode(self._status()))
        if path == b"/readyz":
            state = self._readiness()
            return _Page(msgspec.json.encode(state), status=200 if state.status == "ready" else 503)
        return _Page(b'{"status":"ok"}')


def _value(request: InboundRequest, name: bytes) -> str | None:
    """The values of a field, joined (RFC 9110 section 5.3)."""
    values = [value for field, value in request.fields if field.lower() == name]
    return b", ".join(values).decode("latin-1") if values else None
