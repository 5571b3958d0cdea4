"""The admin port: metrics, health, readiness, and nothing of the client port's."""

from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Counter
from support.gateway import running
from support.raw import ask, get

from onwards_py.admin.site import EngineStatus, Readiness, make_site
from onwards_py.admin.status import ConfigStatus, Status
from onwards_py.config.parse import parse

READY = Readiness("ready", [EngineStatus("small", "llama_cpp", "small.gguf", "ready")])
STATUS = Status("0", 1.5, ConfigStatus("/t.yaml", "ab", 1, "2026-01-01T00:00:00.000Z", 0, None), [])
SNAPSHOT = parse("targets: {m: {local: {engine: echo}}}", "targets.yaml", {}).snapshot


async def test_readiness_follows_what_it_is_told_and_health_does_not() -> None:
    """503 while not ready; alive all the time."""
    state = {"now": Readiness("loading", [])}
    async with TestClient(TestServer(make_site(CollectorRegistry(), lambda: state["now"], lambda: STATUS))) as client:
        assert (await client.get("/readyz")).status == 503
        assert (await client.get("/healthz")).status == 200
        state["now"] = READY
        response = await client.get("/readyz")
        engine = {"name": "small", "engine": "llama_cpp", "model": "small.gguf", "state": "ready"}
        assert (response.status, await response.json()) == (200, {"status": "ready", "engines": [engine]})


async def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    """Prometheus' text by default, OpenMetrics by Accept."""
    registry = CollectorRegistry()
    Counter("apples", "Fruit.", registry=registry).inc()
    async with TestClient(TestServer(make_site(registry, lambda: READY, lambda: STATUS))) as client:
        response = await client.get("/metrics")
        assert response.content_type == "text/plain"
        assert "apples_total 1.0" in await response.text()
        response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")


async def test_nothing_can_be_changed_here() -> None:
    """There is no write API."""
    async with TestClient(TestServer(make_site(CollectorRegistry(), lambda: READY, lambda: STATUS))) as client:
        for path in ("/metrics", "/healthz", "/readyz", "/status"):
            assert (await client.post(path)).status == 405
        assert (await client.get("/")).status == 404


async def test_the_running_program_shows_its_metrics_on_the_admin_port_only() -> None:
    """Ours, and those of the process; a client cannot reach them."""
    async with running(SNAPSHOT, lane=True) as gateway:
        text = (await ask(gateway.admin_port, get(b"/metrics"))).body.decode()
        for name in ("onwards_requests_in_flight 0.0", "process_resident_memory_bytes", "python_gc_collections_total"):
            assert name in text
        assert (await ask(gateway.admin_port, get(b"/readyz"))).status == 200
        for path in (b"/metrics", b"/healthz", b"/readyz", b"/status"):
            response = await ask(gateway.port, get(path))
            assert response.status == 400
            assert b"onwards_requests" not in response.body
