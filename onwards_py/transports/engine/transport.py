"""The transport to local models: HTTP over the Unix sockets of their processes, with a limit of waiting requests."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from onwards_py.messages import OWN_FAULTS, BodySink, Ending, Fault, Fields, Filter, ResponseHead
from onwards_py.model.pool import Pool
from onwards_py.model.provider import EngineSettings, Origin, Provider
from onwards_py.transports.base import OutboundRequest, Transport, TransportError, UpstreamResponse
from onwards_py.transports.engine.engine import FIRST_DELAY, EngineState, EngineSupervisor
from onwards_py.transports.engine.process import PROGRAM

_PACKAGE = "package:"
_MAX_FOLDER = 60  # the path of a socket has at most 108 bytes, on some systems 104
_RETRY_AFTER = b"1"
_EXIT_SECONDS = 2.0


class EngineRegistry:
    """All local models of this process, by their settings. Equal settings share one.

    ``program`` and ``first_delay``: see `EngineSupervisor`.
    """

    def __init__(self, program: Sequence[str] = PROGRAM, first_delay: float = FIRST_DELAY) -> None:
        self._program = program
        self._first_delay = first_delay
        self._engines: dict[EngineSettings, EngineSupervisor] = {}
        self._configured: frozenset[EngineSettings] | None = None
        self._numbers = itertools.count()
        self._closing: set[asyncio.Task[None]] = set()
        self._folder: str | None = None
        self._cache = str(_cache_folder())

    def reconfigure(self, pools: Iterable[Pool]) -> None:
        """Use the engines of a configuration, and start those that load eagerly.

        Other engines end after their last request.
        """
        local = [provider.local for pool in pools for provider in pool.providers]
        named = [settings for settings in local if isinstance(settings, EngineSettings)]
        self._configured = frozenset(named)
        for settings in named:
            engine = self.of(settings)
            if settings.eager and engine.state is EngineState.COLD:  # after an exit the delay applies
                engine.start()
        for engine in self.all():
            self.close_if_unused(engine)

    def close_if_unused(self, engine: EngineSupervisor) -> None:
        """Close an engine that is not configured and has no requests."""
        if engine.in_flight or self._configured is None or engine.settings in self._configured:
            return
        if self._engines.pop(engine.settings, None) is not None:
            task = asyncio.get_running_loop().create_task(engine.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def of(self, settings: EngineSettings) -> EngineSupervisor:
        """The engine with these settings. It is made if necessary."""
        engine = self._engines.get(settings)
        if engine is None:
            socket = f"{self._own_folder()}/{next(self._numbers)}.sock"
            engine = EngineSupervisor(
                settings, self._name(settings), socket, self._cache, self._program, first_delay=self._first_delay
            )
            self._engines[settings] = engine
        return engine

    def all(self) -> list[EngineSupervisor]:
        """All engines, in the order of their creation."""
        return list(self._engines.values())

    async def close(self) -> None:
        """End all processes and remove their sockets."""
        await asyncio.gather(*(engine.close() for engine in self._engines.values()), *self._closing)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _name(self, settings: EngineSettings) -> str:
        stem = settings.model.removeprefix(_PACKAGE).rpartition("/")[2]
        taken = {engine.name for engine in self._engines.values()}
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}#{number}"
        return name

    def _own_folder(self) -> str:
        """A folder that only this user can enter: a connection to a socket can use the model."""
        if self._folder is None:
            folder = tempfile.gettempdir()
            if len(folder) > _MAX_FOLDER:
                folder = "/tmp"
            self._folder = tempfile.mkdtemp(prefix="onwards-", dir=folder)
        return self._folder


def _cache_folder() -> Path:
    """XDG Base Directory specification: $XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "onwards-py"


class EngineTransport:
    """Transport to the engines of an `EngineRegistry`, over ``http``."""

    def __init__(self, engines: EngineRegistry, http: Transport) -> None:
        self._engines = engines
        self._http = http
        self._providers: dict[str, Provider] = {}
        self._loop = asyncio.get_running_loop()

    async def send(self, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        """See Transport.send. Loads the model first if necessary, within ``timeouts.first_byte``.

        If all slots are taken and the queue is full, the response is 503 with Retry-After.
        """
        assert isinstance(provider.local, EngineSettings)
        engine = self._engines.of(provider.local)
        if engine.full:
            return _full(engine)
        engine.in_flight += 1
        try:
            response = await self._send(engine, provider, request)
        except BaseException:
            engine.in_flight -= 1
            self._engines.close_if_unused(engine)
            raise
        return EngineResponse(response, engine, self._engines)

    def reconfigure(self, pools: Iterable[Pool]) -> None:
        """Use another configuration, see EngineRegistry.reconfigure."""
        self._providers.clear()
        self._engines.reconfigure(pools)

    async def close(self) -> None:
        """See EngineRegistry.close."""
        await self._engines.close()

    async def _send(self, engine: EngineSupervisor, provider: Provider, request: OutboundRequest) -> UpstreamResponse:
        rewritten = _rewritten(request)
        over_socket = self._over_socket(engine, provider)
        deadline = self._loop.time() + provider.timeouts.first_byte
        if request.deadline is not None:
            deadline = min(deadline, request.deadline)
        is_last = False
        while True:
            if engine.exiting:
                await self._loop.create_task(engine.exited(_EXIT_SECONDS))
            if engine.state is not EngineState.READY:
                engine.wake()  # before the task, which a client that leaves would cancel before its first step
                await self._loop.create_task(engine.ready(deadline - self._loop.time()))
                over_socket = _with_first_byte(over_socket, deadline - self._loop.time())
            try:
                return await self._http.send(over_socket, rewritten)
            except TransportError as error:
                if error.fault is Fault.FIRST_BYTE_TIMEOUT or error.fault in OWN_FAULTS:
                    raise
                if error.fault is not Fault.CONNECT or is_last or error.repeated:
                    # The request may have crashed the process, and must not crash the next one.
                    # The computation is lost with the process, so another provider may get the request.
                    raise engine.unavailable(error.detail) from error
            # No process listens: it has exited, which will be noticed soon.
            is_last = True
            await self._loop.create_task(engine.exited(_EXIT_SECONDS))

    def _over_socket(self, engine: EngineSupervisor, provider: Provider) -> Provider:
        known = self._providers.get(provider.identity)
        origin = Origin(tls=False, host="engine", port=0, socket=engine.socket)
        if known is None or known.timeouts != provider.timeouts or known.origin != origin:
            known = self._providers[provider.identity] = replace(provider, origin=origin, local=None)
        return known


def _with_first_byte(provider: Provider, seconds: float) -> Provider:
    """The same provider with the rest of its first-byte timeout."""
    return replace(provider, timeouts=replace(provider.timeouts, first_byte=max(0.0, seconds)))


class EngineResponse:
    """A response of an engine. Its end releases a slot of the engine."""

    __slots__ = ("_engine", "_engines", "_response")

    def __init__(self, response: UpstreamResponse, engine: EngineSupervisor, engines: EngineRegistry) -> None:
        self._response = response
        self._engine: EngineSupervisor | None = engine
        self._engines = engines

    @property
    def head(self) -> ResponseHead:
        return self._response.head

    @property
    def repeated(self) -> bool:
        return self._response.repeated

    def complete_body(self) -> bytes | None:
        """See UpstreamResponse.complete_body."""
        body = self._response.complete_body()
        if body is not None:
            self._release()
        return body

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """See UpstreamResponse.pump."""
        try:
            return await self._response.pump(pipeline, downstream)
        finally:
            self._release()

    async def read(self, limit: int) -> bytes | None:
        """See UpstreamResponse.read."""
        try:
            return await self._response.read(limit)
        finally:
            self._release()

    def discard(self) -> None:
        """See UpstreamResponse.discard."""
        self._response.discard()
        self._release()

    def _release(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.in_flight -= 1
            self._engines.close_if_unused(engine)


class ReadyResponse:
    """A complete response that is made here."""

    __slots__ = ("_body", "head", "repeated")

    def __init__(self, head: ResponseHead, body: bytes) -> None:
        self.head = head
        self.repeated = False
        self._body = body

    def complete_body(self) -> bytes:
        """See UpstreamResponse.complete_body."""
        return self._body

    async def pump(self, pipeline: Sequence[Filter], downstream: BodySink) -> Ending:
        """See UpstreamResponse.pump. Not called, since `complete_body` returns the body."""
        del pipeline  # for event streams
        downstream.write(self._body)
        return Ending.DONE

    async def read(self, limit: int) -> bytes | None:
        """See UpstreamResponse.read."""
        return self._body if len(self._body) <= limit else None

    def discard(self) -> None:
        """There is nothing to free."""


def _full(engine: EngineSupervisor) -> ReadyResponse:
    message = f"All {engine.settings.slots} slots of this local model are taken and its queue is full."
    error = {"message": message, "type": "server_error", "param": None, "code": "engine_overloaded"}
    body = msgspec.json.encode({"error": error})
    fields: Fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", _RETRY_AFTER),
    ]
    return ReadyResponse(ResponseHead.of(503, b"Service Unavailable", fields), body)


def _rewritten(request: OutboundRequest) -> OutboundRequest:
    """The same request with a new head: an engine needs only the client's method and path."""
    head = b"%b %b HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
        request.method,
        request.target,
        len(request.body),
    )
    return msgspec.structs.replace(request, head=head)
