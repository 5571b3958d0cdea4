"""``/metrics``, ``/healthz``, ``/readyz``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


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


def make_site(registry: CollectorRegistry, readiness: Callable[[], Readiness]) -> web.Application:
    """The application. ``readiness`` is asked each time; it is ``draining`` from the first signal to stop on."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        state = readiness()
        return web.Response(
            body=msgspec.json.encode(state),
            status=200 if state.status == "ready" else 503,
            content_type="application/json",
        )

    site = web.Application()
    site.add_routes([web.get("/metrics", metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    return site
