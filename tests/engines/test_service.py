"""The HTTP side of an engine's process, with engines that do what a test wants of them."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from support.program import until

from onwards_py.engines.base import Body, EngineError, EngineResult, EventSink, Job, RouteHandler, bad_request
from onwards_py.engines.pipes import ReportWriter
from onwards_py.engines.protocol import ComputeCost
from onwards_py.engines.service import Service

PATIENCE = 20.0
DONE = ComputeCost(1, 2, 0.5, 0.25)


@dataclass
class FakeEngine:
    """Answers at ``/x`` with a function of the test's."""

    handler: RouteHandler
    file: str = "fake"
    bytes: int = 0
    jobs: list[Job] = field(default_factory=list)

    def load(self) -> None:
        """Nothing to load."""

    @property
    def routes(self) -> dict[str, RouteHandler]:
        return {"/x": self._answer}

    def _answer(self, body: Body, sink: EventSink, job: Job) -> EngineResult:
        self.jobs.append(job)
        return self.handler(body, sink, job)


@dataclass
class Running:
    service: Service
    session: aiohttp.ClientSession
    engine: FakeEngine
    reports: int
    log: int

    def post(self, body: object, path: str = "/v1/x") -> aiohttp.client._RequestContextManager:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.session.post(f"http://engine{path}", data=data)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: a Unix socket's may have 107 bytes."""
    return tmp_path_factory.mktemp("s")


@asynccontextmanager
async def running(folder: Path, handler: RouteHandler, slots: int = 1) -> AsyncIterator[Running]:
    reports, reports_in = os.pipe()
    log, log_in = os.pipe()
    engine = FakeEngine(handler)
    service = Service(engine, slots, ReportWriter(reports_in), log_in)
    runner = await service.listen(str(folder / "s"))
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(folder / "s"))) as session:
        yield Running(service, session, engine, reports, log)
    await runner.cleanup()
    for descriptor in (reports, reports_in, log, log_in):
        os.close(descriptor)


async def asked(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request on a connection of its own, to be left at will."""
    reader, writer = await asyncio.open_unix_connection(str(folder / "s"), limit=1024)
    writer.write(b"POST /x HTTP/1.1\r\nHost: e\r\nContent-Length: 13\r\n\r\n" + b'{"model":"m"}')
    return reader, writer


async def turns(it: Running) -> None:
    """Let the event loop see what happened on other connections: these requests came after it."""
    for _ in range(5):
        async with it.post({}, "/elsewhere") as response:
            assert response.status == 404


def whole(body: Body, sink: EventSink, job: Job) -> EngineResult:
    return EngineResult(json.dumps({"model": body["model"]}).encode(), DONE)


def endless(body: Body, sink: EventSink, job: Job) -> EngineResult:
    """Streams until it is stopped."""
    sink.begin()
    while sink.event(b"x" * 1000):
        pass
    return EngineResult(None, DONE)


def waiting(body: Body, sink: EventSink, job: Job) -> EngineResult:
    """Computes a whole answer until it is stopped."""
    job.stop.wait(PATIENCE)
    return EngineResult(None, DONE)


@pytest.mark.parametrize("path", ["/x", "/v1/x"])
async def test_a_whole_answer_has_three_header_fields_at_most(folder: Path, path: str) -> None:
    """With ``/v1`` and without; no Server, no Date; what it cost is reported."""
    async with running(folder, whole) as it:
        async with it.post({"model": "m"}, path) as response:
            assert response.status == 200
            assert await response.json() == {"model": "m"}
            assert set(response.headers) == {"Content-Type", "Content-Length"}
            assert response.headers["Content-Type"] == "application/json"
        assert json.loads(os.read(it.reports, 1000))["completion_tokens"] == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"{", None), (b"", None), (b"[]", None), (b'"x"', None), (b"{}", "model"), (b'{"model":3}', "model")],
)
async def test_a_body_that_is_no_request_is_refused(folder: Path, body: bytes, param: str | None) -> None:
    """400 in the dialect, and nothing is computed."""
    async with running(folder, whole) as it:
        async with it.post(body) as response:
            assert response.status == 400
            error = (await response.json())["error"]
            assert set(error) == {"message", "type", "param", "code"}
            assert (error["type"], error["param"]) == ("invalid_request_error", param)
        assert it.engine.jobs == []


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/v1/y", 404), ("GET", "/v1/x", 405)])
async def test_other_paths_and_methods_are_refused(folder: Path, method: str, path: str, status: int) -> None:
    """404 and 405, as errors of the API; 405 has Allow."""
    async with running(folder, whole) as it:
        async with it.session.request(method, f"http://engine{path}", data=b'{"model":"m"}') as response:
            assert response.status == status
            assert "message" in (await response.json())["error"]
            assert response.headers.get("Allow") == ("POST" if status == 405 else None)


async def test_a_body_over_64_mib_is_refused(folder: Path) -> None:
    """413."""
    async with running(folder, whole) as it:
        async with it.post(b" " * (64 * 1024 * 1024 + 1)) as response:
            assert response.status == 413
            assert (await response.json())["error"]["code"] == "body_too_large"


async def test_an_engines_refusal_keeps_its_status_and_fields(folder: Path) -> None:
    """Also of a request for a stream: nothing was sent before."""

    def refusing(body: Body, sink: EventSink, job: Job) -> EngineResult:
        raise bad_request("No.", "messages", "context_length_exceeded")

    async with running(folder, refusing) as it, it.post({"model": "m", "stream": True}) as response:
        assert response.status == 400
        assert await response.json() == {
            "error": {
                "message": "No.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        }


async def test_an_unforeseen_failure_tells_nothing(folder: Path) -> None:
    """500 without the exception's text, which may hold parts of the request; the log has its type only."""

    def failing(body: Body, sink: EventSink, job: Job) -> EngineResult:
        raise KeyError("secret")

    async with running(folder, failing) as it:
        async with it.post({"model": "m"}) as response:
            assert response.status == 500
            assert b"secret" not in await response.read()
        assert os.read(it.log, 1000) == b"a computation failed: KeyError\n"


async def test_a_stream_is_one_chunk_per_event(folder: Path) -> None:
    """A client gets each event in a chunk of its own, and the last chunk at the end."""

    def streaming(body: Body, sink: EventSink, job: Job) -> EngineResult:
        sink.begin()
        return EngineResult(None, DONE if sink.event(b"{}") and sink.event(b"[DONE]") else None)

    async with running(folder, streaming) as it, it.post({"model": "m"}) as response:
        assert response.status == 200
        assert set(response.headers) == {"Content-Type", "Transfer-Encoding"}
        assert response.headers["Content-Type"] == "text/event-stream"
        chunks = [chunk async for chunk, _ in response.content.iter_chunks() if chunk]
        assert chunks == [b"data: {}\n\n", b"data: [DONE]\n\n"]


async def test_a_stream_that_fails_is_not_ended_properly(folder: Path) -> None:
    """One event contains the error, and the body is cut."""

    def failing(body: Body, sink: EventSink, job: Job) -> EngineResult:
        sink.begin()
        sink.event(b"{}")
        raise EngineError(500, "Broken.", type="server_error", code="engine_error")

    async with running(folder, failing) as it, it.post({"model": "m"}) as response:
        assert response.status == 200
        received = await response.content.readuntil(b"}}\n\n")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
        assert received.startswith(b'data: {}\n\ndata: {"error":{"message":"Broken."')
        assert received.endswith(b"\n\n")


@pytest.mark.parametrize("handler", [endless, waiting], ids=["streamed", "whole"])
async def test_a_client_that_leaves_stops_its_job(folder: Path, handler: RouteHandler) -> None:
    """Streamed or not; the job is removed when it has returned, and its cost is reported."""
    async with running(folder, handler) as it:
        _, writer = await asked(folder)
        await until(lambda: it.engine.jobs)
        writer.close()
        await until(it.engine.jobs[0].stop.is_set)
        await until(lambda: it.service.pong(1).stuck == 0.0)
        assert json.loads(os.read(it.reports, 1000))["type"] == "done"


async def test_a_client_that_does_not_read_holds_the_computation(folder: Path) -> None:
    """The thread waits while too many bytes are unread, and continues when the client reads."""
    sent = 0

    def counting(body: Body, sink: EventSink, job: Job) -> EngineResult:
        nonlocal sent
        sink.begin()
        while sent < 4000 and sink.event(b"x" * 1000):
            sent += 1
        return EngineResult(None)

    async with running(folder, counting):
        reader, writer = await asked(folder)
        await until(lambda: sent > 50)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 2000
        while sent < 4000:
            assert await reader.read(65536)
        writer.close()


async def test_a_job_that_waits_for_a_slot_is_not_computed_for_nobody(folder: Path) -> None:
    """Its client left while another request was computed."""
    go = threading.Event()

    def gated(body: Body, sink: EventSink, job: Job) -> EngineResult:
        go.wait(PATIENCE)
        return EngineResult(b"{}")

    async with running(folder, gated) as it:
        first = asyncio.create_task(it.session.post("http://engine/x", data=b'{"model":"m"}'))
        await until(lambda: it.engine.jobs)
        _, writer = await asked(folder)
        await turns(it)
        writer.close()
        await turns(it)
        go.set()
        assert (await first).status == 200
        async with it.post({"model": "m"}) as response:
            assert response.status == 200
        assert len(it.engine.jobs) == 2


async def test_a_job_that_does_not_stop_is_told_of(folder: Path) -> None:
    """Pong contains for how long; a job that was not stopped is not reported as stuck."""
    go = threading.Event()

    def deaf(body: Body, sink: EventSink, job: Job) -> EngineResult:
        go.wait(PATIENCE)
        return EngineResult(None)

    async with running(folder, deaf) as it:
        _, writer = await asked(folder)
        await until(lambda: it.engine.jobs)
        assert it.service.pong(1).stuck == 0.0
        writer.close()
        await until(lambda: it.service.pong(2).stuck > 0.0)
        go.set()
        await until(lambda: it.service.pong(3).stuck == 0.0)


async def test_only_the_user_may_open_the_socket(folder: Path) -> None:
    """Mode 0600, with any umask of the process."""
    async with running(folder, whole):
        assert (folder / "s").stat().st_mode & 0o777 == 0o600
