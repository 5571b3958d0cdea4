"""The HTTP server of an engine: reads and checks requests, and computes them in worker threads."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import cast

import orjson
from aiohttp import web

from onwards_py import memory
from onwards_py.engines.base import Body, Engine, EngineError, EngineResult, Job, LoadError, RouteHandler, bad_request
from onwards_py.engines.event_sink import StreamSink
from onwards_py.engines.pipes import ReportWriter
from onwards_py.engines.protocol import Pong

_LARGEST_BODY = 64 * 1024 * 1024
_OUT_OF_MEMORY = "engine_out_of_memory"
_BACKLOG = 4096  # a Unix socket with a full backlog refuses connections at once


class Service:
    """Serves requests with a loaded engine. ``slots`` requests are computed at one time, the others wait."""

    def __init__(self, engine: Engine, slots: int, reports: ReportWriter, log: int) -> None:
        self._routes = engine.routes
        self._pool = _started(slots)
        self._reports = reports
        self._log = log
        self._jobs: set[Job] = set()
        self._jobs_lock = threading.Lock()

    async def listen(self, path: str) -> web.AppRunner:
        """Listen on a Unix socket that only this user can open. Raises `OSError`."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self.answer)
        app.on_response_prepare.append(_remove_headers)
        runner = web.AppRunner(app, handler_cancellation=True, handle_signals=False, access_log=None)
        await runner.setup()
        mask = os.umask(0o177)
        try:
            await web.UnixSite(runner, path, backlog=_BACKLOG).start()
        finally:
            os.umask(mask)
        return runner

    def pong(self, number: int) -> Pong:
        """``stuck`` is the longest time since a stop was requested of a running job."""
        now = time.monotonic()
        with self._jobs_lock:
            requested = [job.stop_requested_at for job in self._jobs if job.stop_requested_at is not None]
        return Pong(number, now - min(requested) if requested else 0.0)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Handle any request."""
        try:
            handler = self._handler(request)
            return await self._compute(request, handler, await _body(request))
        except MemoryError:
            failure = _out_of_memory()
        except EngineError as error:
            failure = error.with_traceback(None)
        if failure.code == _OUT_OF_MEMORY:
            # Here and not earlier, because the traceback of the error referred to the large request.
            memory.trim()
        response = _json(failure.status, _error(failure))
        if failure.status == 405:
            response.headers["Allow"] = "POST"  # RFC 9110 section 15.5.6
        return response

    def _handler(self, request: web.Request) -> RouteHandler:
        path = request.path.removeprefix("/v1")
        handler = self._routes.get(path)
        if handler is None:
            served = ", ".join(f"/v1{route}" for route in self._routes)
            raise EngineError(404, f"This model serves {served} only.", code="unknown_path")
        if request.method != "POST":
            raise EngineError(405, "Only POST is served here.", code="method_not_allowed")
        return handler

    async def _compute(self, request: web.Request, handler: RouteHandler, body: Body) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        job = Job()
        sink = StreamSink(job, loop)
        work = loop.run_in_executor(self._pool, self._work, handler, body, sink, job)
        work.add_done_callback(lambda _: sink.finish())
        try:
            response = await _stream(request, sink)
            if response is None:
                return _json(200, work.result().body or b"")
            await _end(request, response, work)
            return response
        finally:
            # Not done: the client has left, and the handler was cancelled or could not write.
            if not work.done():
                sink.stop(time.monotonic())
                work.cancel()  # its result or exception is not needed

    def _work(self, handler: RouteHandler, body: Body, sink: StreamSink, job: Job) -> EngineResult:
        """Compute one request. Runs in a worker thread."""
        with self._jobs_lock:
            self._jobs.add(job)
        try:
            reply = EngineResult(None) if job.stop.is_set() else handler(body, sink, job)
        except EngineError:
            raise
        except Exception as error:
            self._log_line(f"a computation failed: {type(error).__name__}")
            raise EngineError(500, "The local model failed.", type="server_error", code="engine_error") from None
        finally:
            with self._jobs_lock:
                self._jobs.discard(job)
        if reply.cost is not None:
            self._reports.send(reply.cost)
        return reply

    def _log_line(self, line: str) -> None:
        with suppress(OSError):
            os.write(self._log, line.encode() + b"\n")


def _started(slots: int) -> ThreadPoolExecutor:
    """A pool in which all threads are started. Raises LoadError.

    The stacks of threads count as memory, which might not suffice for them later.
    """
    pool = ThreadPoolExecutor(slots, thread_name_prefix="compute")
    together = threading.Barrier(slots)
    try:
        wait([pool.submit(together.wait) for _ in range(slots)])
    except RuntimeError:
        raise LoadError("The model does not fit into the memory that it may use: raise its bound.") from None
    return pool


async def _body(request: web.Request) -> Body:
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise EngineError(413, f"The body is larger than {_LARGEST_BODY} bytes.", code="body_too_large") from None
    except (web.RequestPayloadError, web.HTTPException):
        raise bad_request("The body cannot be read.") from None
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith("Not enough memory"):  # orjson reports it only in the message
            raise _out_of_memory() from None
        raise bad_request(f"The body is not valid JSON: {error.msg}.") from None
    if not isinstance(body, dict):
        raise bad_request("The body is not a JSON object.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise bad_request("The model must be a text that is not empty.", "model")
    return cast("Body", body)


async def _stream(request: web.Request, sink: StreamSink) -> web.StreamResponse | None:
    """Send the events of the sink, one write per event. None: the response is not streamed."""
    response: web.StreamResponse | None = None
    while (frames := await sink.batch()) is not None or (sink.begun and response is None):
        if response is None:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
        for frame in frames or ():
            await response.write(frame)
            sink.written(frame)
    return response


async def _end(request: web.Request, response: web.StreamResponse, work: asyncio.Future[EngineResult]) -> None:
    """End a stream, or after an error send the error as an event and close without the last chunk."""
    try:
        work.result()
    except EngineError as error:
        await response.write(b"data: " + _error(error) + b"\n\n")
        if request.transport is not None:
            request.transport.close()
    else:
        await response.write_eof()


def _out_of_memory() -> EngineError:
    """The memory limit is reached. The request is valid, and another provider may be able to serve it."""
    return EngineError(
        503, "The local model has too little memory for this request.", type="server_error", code=_OUT_OF_MEMORY
    )


def _error(error: EngineError) -> bytes:
    return orjson.dumps(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json"})


async def _remove_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Remove headers that the proxy, the only client, does not need."""
    for name in ("Server", "Date"):
        response.headers.popall(name, None)
