"""``/metrics``, ``/healthz``, ``/readyz``, ``/status``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from onwards_py.admin.status import Status


class EngineStatus(msgspec.Struct, frozen=True):
    """One local model. ``state``: cold, loading, ready, down, closed."""

    name: str
    engine: str
    model: str
    state: str


class Readiness(msgspec.Struct, frozen=True):
    """What ``/readyz`` says: ``ready`` with 200, anything else with 503."""

    status: Literal["ready", "loading", "draining"]
    engines: list[EngineStatus]


def make_site(
    registry: CollectorRegistry, readiness: Callable[[], Readiness], status: Callable[[], Status]
) -> web.Application:
    """The application. ``readiness`` and ``status`` are asked each time; ``readiness`` is ``draining`` from the first
    signal to stop on."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        state = readiness()
        return _json(state, 200 if state.status == "ready" else 503)

    async def show_status(_: web.Request) -> web.Response:
        return _json(status())

    site = web.Application()
    handlers = {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz, "/status": show_status}
    site.add_routes([web.get(path, handler) for path, handler in handlers.items()])
    return site


def _json(content: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")
