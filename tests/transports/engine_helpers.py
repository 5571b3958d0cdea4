"""Helpers for the tests of local models' processes: engines that run a fake program, and requests to them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from echo_helpers import CHAT, Recorder
from support import fake_engine
from support.processes import runs
from support.program import PATIENCE, until

from onwards_py.eager import StepTask
from onwards_py.messages import Ending
from onwards_py.model.provider import EngineSettings, Provider, Timeouts
from onwards_py.model.snapshot import HttpPoolSettings
from onwards_py.transports.base import OutboundRequest, UpstreamResponse
from onwards_py.transports.engine.engine import EngineSupervisor
from onwards_py.transports.engine.transport import EngineRegistry, EngineTransport
from onwards_py.transports.http import HttpTransport

T = TypeVar("T")
FAKE = (fake_engine.__file__,)
SHORT_WAIT = 0.05


class Call(Generic[T]):
    """A coroutine that runs as exchanges do, without a task; `outcome` can be awaited in a task."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.task = StepTask(self._keep(coroutine), self._ended)

    async def _keep(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._outcome.set_result(await coroutine)

    def _ended(self, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            self._outcome.cancel()
        elif error is not None:
            self._outcome.set_exception(error)

    @property
    def done(self) -> bool:
        return self._outcome.done()

    async def outcome(self) -> T:
        """The result or the exception; TimeoutError if it takes too long."""
        async with asyncio.timeout(PATIENCE):
            return await asyncio.shield(self._outcome)


def driven(coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """The coroutine's outcome, for tests, which are tasks."""
    return Call(coroutine).outcome()


class Bench:
    """Engines with the fake program, and the transport to them. ``folder`` holds the files that the program writes
    and waits for."""

    def __init__(self, folder: Path, first_delay: float) -> None:
        self.folder = folder
        self.engines = EngineRegistry(FAKE, first_delay)
        self.http = HttpTransport(HttpPoolSettings())
        self.transport = EngineTransport(self.engines, self.http)

    def settings(self, plan: dict[str, object] | None = None, **settings: Any) -> EngineSettings:
        """Settings whose model is ``plan``, which tells the program how to load."""
        model = json.dumps({"folder": str(self.folder), **(plan or {})})
        return EngineSettings("llama_cpp", model, **{"hang_timeout": 30.0, "nice": 0, **settings})

    def engine(self, plan: dict[str, object] | None = None, **settings: Any) -> EngineSupervisor:
        return self.engines.of(self.settings(plan, **settings))

    def send(
        self, engine: EngineSupervisor, timeouts: Timeouts | None = None, deadline: float | None = None, **body: object
    ) -> Call[UpstreamResponse]:
        """One request; ``do`` in its body tells the program what to do."""
        provider = Provider(f"id-{engine.socket}", "local", local=engine.settings, timeouts=timeouts or Timeouts())
        return Call(self.transport.send(provider, self.request(deadline, **body)))

    def request(self, deadline: float | None = None, **body: object) -> OutboundRequest:
        raw = json.dumps({"model": "m", **body}).encode()
        return OutboundRequest(b"POST", CHAT, b"X-Secret: of the client's\r\n", raw, "m", deadline=deadline)

    async def ask(self, engine: EngineSupervisor, timeouts: Timeouts | None = None, **body: object) -> dict[str, Any]:
        """The document of a complete response, which must be 200."""
        response = await self.send(engine, timeouts, **body).outcome()  # type: ignore[arg-type]
        assert response.head.status == 200
        raw = await driven(response.read(1 << 20))
        assert raw is not None, "the answer was not whole"
        document: dict[str, Any] = json.loads(raw)
        return document

    async def holding(self, engine: EngineSupervisor, gate: str = "gate") -> Call[UpstreamResponse]:
        """A request that the program has taken and answers after the gate opens."""
        before = self.notes("came").count(gate)
        call = self.send(engine, do="hold", gate=gate)
        await until(lambda: self.notes("came").count(gate) > before)
        return call

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    def notes(self, name: str) -> list[str]:
        """The lines that the program wrote under a name."""
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def pids(self) -> list[int]:
        """The process ids so far, the latest last."""
        return [int(pid) for pid in self.notes("starts")]

    async def gone(self, pid: int) -> None:
        await until(lambda: not runs(pid))

    async def started(self, count: int) -> int:
        """Wait for the ``count``-th start; return the id of that process."""
        await until(lambda: len(self.pids()) >= count)
        return self.pids()[count - 1]


@asynccontextmanager
async def benching(folder: Path, first_delay: float = SHORT_WAIT) -> AsyncIterator[Bench]:
    """At the end, no permit may be held and no process may remain."""
    bench = Bench(folder, first_delay)
    try:
        yield bench
        assert [engine.in_flight for engine in bench.engines.all() if engine.in_flight] == [], "a place is still taken"
    finally:
        await bench.http.close()
        async with asyncio.timeout(PATIENCE):
            await bench.transport.close()
    assert [pid for pid in bench.pids() if runs(pid)] == [], "a process is still there"


async def pumped(response: UpstreamResponse) -> tuple[Ending, bytes]:
    """Pump the body; return its ending and its bytes."""
    recorder = Recorder()
    ending = await driven(response.pump([], recorder))
    return ending, recorder.body


@pytest.fixture
async def one_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A fixture for test files, which give it a name of their own: ``bench = one_bench``."""
    async with benching(tmp_path) as bench:
        yield bench
