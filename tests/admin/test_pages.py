"""The admin port: metrics, health, readiness, and nothing of the client port's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Counter
from support.gateway import free_socket, running
from support.raw import End, ask, connect, get

from onwards_py.admin.host_check import is_allowed
from onwards_py.admin.pages import LISTENER_BOUNDS, AdminPages, EngineStatus, Readiness
from onwards_py.admin.port import AdminPort
from onwards_py.admin.status import ConfigStatus, Status
from onwards_py.config.parse import parse
from onwards_py.model.snapshot import ServerSettings

READY = Readiness("ready", [EngineStatus("small", "llama_cpp", "small.gguf", "ready")])
STATUS = Status("0", 1.5, ConfigStatus("/t.yaml", "ab", 1, "2026-01-01T00:00:00.000Z", 0, None), [])
SNAPSHOT = parse("targets: {m: {local: {engine: echo}}}", "targets.yaml", {}).snapshot
NAMED = "admin: {allowed_hosts: [onwards.monitoring.svc]}\ntargets: {m: {local: {engine: echo}}}"
PATHS = (b"/metrics", b"/healthz", b"/readyz", b"/status")


@asynccontextmanager
async def listening(
    registry: CollectorRegistry | None = None,
    readiness: Callable[[], Readiness] = lambda: READY,
    bounds: ServerSettings = LISTENER_BOUNDS,
) -> AsyncIterator[int]:
    """An admin port that knows itself as ``gw``; gives its number."""
    site = AdminPages(registry or CollectorRegistry(), readiness, lambda: STATUS, lambda host: host == "gw")
    port = AdminPort(site, bounds)
    listener = free_socket()
    await port.listen(listener)
    try:
        yield listener.getsockname()[1]
    finally:
        port.close()


async def test_readiness_follows_what_it_is_told_and_health_does_not() -> None:
    """503 while not ready; alive all the time."""
    state = {"now": Readiness("loading", [])}
    async with listening(readiness=lambda: state["now"]) as port:
        assert (await ask(port, get(b"/readyz"))).status == 503
        assert (await ask(port, get(b"/healthz"))).status == 200
        state["now"] = READY
        response = await ask(port, get(b"/readyz"))
        engine = {"name": "small", "engine": "llama_cpp", "model": "small.gguf", "state": "ready"}
        assert (response.status, json.loads(response.body)) == (200, {"status": "ready", "engines": [engine]})


async def test_metrics_come_in_the_format_that_is_asked_for() -> None:
    """Prometheus' text by default, OpenMetrics by Accept; HEAD has the head alone."""
    registry = CollectorRegistry()
    Counter("apples", "Fruit.", registry=registry).inc()
    async with listening(registry) as port:
        response = await ask(port, get(b"/metrics?name=any"))
        assert (response.value(b"Content-Type") or b"").startswith(b"text/plain")
        assert b"apples_total 1.0" in response.body
        response = await ask(port, get(b"/metrics", b"Accept: application/openmetrics-text; version=1.0.0\r\n"))
        assert (response.value(b"Content-Type") or b"").startswith(b"application/openmetrics-text")
        assert response.body.endswith(b"# EOF\n")
        head = await ask(port, b"HEAD /metrics HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert (head.status, head.body) == (200, b"")


async def test_nothing_can_be_changed_here() -> None:
    """There is no write API."""
    async with listening() as port:
        for path in PATHS:
            response = await ask(port, b"POST %b HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n" % path)
            assert (response.status, response.value(b"Allow")) == (405, b"GET, HEAD")
        lost = await ask(port, get(b"/"))
        assert (lost.status, "/metrics" in str(lost.error["message"])) == (404, True)
        large = b"POST /status HTTP/1.1\r\nHost: gw\r\nContent-Length: 9\r\n\r\n123456789"
        assert (await ask(port, large)).status == 413


async def test_the_running_program_shows_its_metrics_on_the_admin_port_only() -> None:
    """Ours, and those of the process; a client cannot reach them."""
    async with running(SNAPSHOT, lane=True) as gateway:
        text = (await ask(gateway.admin_port, get(b"/metrics"))).body.decode()
        for name in ("onwards_requests_in_flight 0.0", "process_resident_memory_bytes", "python_gc_collections_total"):
            assert name in text
        assert (await ask(gateway.admin_port, get(b"/readyz"))).status == 200
        for path in PATHS:
            response = await ask(gateway.port, get(path))
            assert response.status == 400
            assert b"onwards_requests" not in response.body


@pytest.mark.parametrize(
    ("host", "on_loopback", "elsewhere"),
    [
        ("localhost", True, True),
        ("LocalHost.:9090", True, True),
        ("127.0.0.1:9090", True, True),
        ("127.8.0.1", True, True),
        ("[::1]:9090", True, True),
        ("prometheus.svc:9090", True, True),
        ("Prometheus.SVC.", True, True),
        ("pod.monitoring.svc", True, True),
        ("10.0.0.5:9090", False, True),
        ("[2001:db8::1]:9090", False, True),
        ("monitoring.svc", False, False),
        ("evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("127.0.0.1.nip.io:9090", False, False),
        ("127.0.0.1, evil.example", False, False),
        ("prometheus.svc.evil.example", False, False),
        ("2130706433", False, False),
        ("", False, False),
    ],
)
def test_names_that_somebody_could_rebind_are_not_known(host: str, on_loopback: bool, elsewhere: bool) -> None:
    """Addresses cannot be rebound; of names only localhost and those of the configuration are known."""
    names = ("prometheus.svc", "*.monitoring.svc")
    assert is_allowed(host, names, "127.0.0.1") is on_loopback
    assert is_allowed(host, names, "0.0.0.0") is elsewhere
    assert is_allowed(host, ("*",), "127.0.0.1") or elsewhere


async def test_a_rebound_name_is_told_what_to_do() -> None:
    """421 with the setting's name, and nothing of the pages; HTTP/1.0 without Host is no browser."""
    async with running(SNAPSHOT, lane=True) as gateway:
        for path in (*PATHS, b"/"):
            response = await ask(gateway.admin_port, get(path, host=b"evil.example:9090"))
            assert (response.status, response.error["code"]) == (421, "misdirected_request")
            assert "admin.allowed_hosts" in str(response.error["message"])
        assert (await ask(gateway.admin_port, b"GET /healthz HTTP/1.0\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        (b"http://localhost:9090/healthz", b"localhost", 200),
        (b"HTTP://127.0.0.1/healthz?a=http://evil.example", b"localhost", 200),
        (b"http://evil.example/healthz", b"localhost", 421),
        (b"http://localhost/healthz", b"evil.example", 421),
        (b"http://localhost@evil.example/healthz", b"localhost", 400),
        (b"http://localhost", b"localhost", 404),
    ],
)
async def test_a_target_in_absolute_form_is_a_name_too(target: bytes, host: bytes, status: int) -> None:
    """It must be understood (RFC 9112 section 3.2.2), and no name in it or in Host is a way around the other."""
    async with running(SNAPSHOT, lane=True) as gateway:
        assert (await ask(gateway.admin_port, get(target, host=host))).status == status


async def test_names_are_taken_over_without_a_restart() -> None:
    """A scraper that comes by its service's name is let in by the next configuration."""
    async with running(SNAPSHOT, lane=True) as gateway:
        scrape = get(b"/metrics", host=b"onwards.monitoring.svc:9090")
        assert (await ask(gateway.admin_port, scrape)).status == 421
        gateway.application.apply(parse(NAMED, "targets.yaml", {}))
        assert (await ask(gateway.admin_port, scrape)).status == 200


async def test_a_head_that_does_not_end_is_given_up() -> None:
    """And so is a connection on which nothing comes at all."""
    bounds = replace(LISTENER_BOUNDS, header_timeout=0.2, keepalive_timeout=0.2)
    async with listening(bounds=bounds) as port, connect(port) as slow, connect(port) as mute:
        await slow.send(b"GET /metrics HTTP/1.1\r\nHost: gw\r\n")
        assert (await slow.response()).status == 408
        assert await mute.closed() is End.CLOSED


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_many_connections_to_the_admin_port_leave_clients_alone(lane: bool) -> None:
    """The excess is refused; clients are served, since their descriptors are not those of the admin port."""
    async with running(SNAPSHOT, lane=lane) as gateway, AsyncExitStack() as stack:
        for _ in range(LISTENER_BOUNDS.max_connections):
            client = await stack.enter_async_context(connect(gateway.admin_port))
            await client.send(get(b"/healthz"))
            assert (await client.response()).status == 200
        refused = await ask(gateway.admin_port, get(b"/healthz"))
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
        assert (await ask(gateway.port, get(b"/v1/models"))).status == 200


MALFORMED = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "no host": b"GET /metrics HTTP/1.1\r\n\r\n",
    "method": b"BREW /metrics HTTP/1.1\r\nHost: gw\r\n\r\n",
    "version": b"GET /metrics HTTP/3.7\r\nHost: gw\r\n\r\n",
    "rtsp": b"DESCRIBE /metrics RTSP/1.0\r\nHost: gw\r\n\r\n",
    "field": b"GET /metrics HTTP/1.1\r\nHost: gw\r\nno colon\r\n\r\n",
    "long field": b"GET /metrics HTTP/1.1\r\nHost: gw\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "long target": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: gw\r\n\r\n",
    "expect": b"GET /metrics HTTP/1.1\r\nHost: gw\r\nExpect: miracles\r\n\r\n",
    "chunk": b"POST /metrics HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "upgrade": b"GET /metrics HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "fine": get(b"/v1/models"),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_no_response_names_the_software(name: str) -> None:
    """Not even what is refused before there is a request; on both ports, behind both doors."""
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(running(SNAPSHOT, lane=lane)) for lane in (True, False)]
        for port in (*(gateway.port for gateway in gateways), gateways[0].admin_port):
            response = await ask(port, MALFORMED[name])
            assert response.values(b"Server") == []
            assert response.status >= 400 or name == "fine"
