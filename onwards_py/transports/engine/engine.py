"""The supervisor of one local model: starts and restarts its process, and limits its requests."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import assert_never, cast

from onwards_py.engines.protocol import ComputeCost, EngineName, LaunchSpec, LoadFailed, Pong, Ready, Report
from onwards_py.messages import Fault
from onwards_py.model.provider import EngineSettings
from onwards_py.transports.base import TransportError
from onwards_py.transports.engine.process import PROGRAM, EngineProcess

_log = logging.getLogger("onwards.engine")

FIRST_DELAY = 1.0
_MAX_DELAY = 60.0
_MAX_DOUBLINGS = 64  # after a day of exits the delay would exceed the range of a float
_HEALTHY_AFTER = 60.0  # seconds; an exit after a longer run counts as the first exit
_PROGRESS_INTERVAL = 5.0
_SHUTDOWN_SECONDS = 2.0
# Libraries abort if memory is exhausted, so the process cannot report the cause.
_MEMORY_ADVICE = "The local model's process died while it loaded: perhaps its bound on memory is too low."


class EngineState(Enum):
    COLD = "cold"  # not started
    LOADING = "loading"
    READY = "ready"
    DOWN = "down"  # the process exited, and is started again after a delay
    CLOSED = "closed"


@dataclass(slots=True)
class EngineCounters:
    """Counters over all runs of the process."""

    loads: int = 0
    restarts: int = 0
    load_seconds: float = 0.0
    """The duration of the last load."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_seconds: float = 0.0
    completion_seconds: float = 0.0
    last_rate: float = 0.0
    """Tokens per second of the last response."""


class EngineSupervisor:
    """Runs the process of one local model."""

    def __init__(
        self,
        settings: EngineSettings,
        name: str,
        socket: str,
        cache: str,
        program: Sequence[str] = PROGRAM,
        *,
        first_delay: float = FIRST_DELAY,
    ) -> None:
        """``name``: in logs and metrics.

        ``socket``: the path at which the process listens.
        ``cache``: a folder for files that are made from models.
        ``program``: arguments of the interpreter.
        ``first_delay``: seconds between an exit and the next start, doubled with each further exit.
        """
        self.settings = settings
        self.name = name
        self.socket = socket
        self.state = EngineState.COLD
        self.in_flight = 0
        """Admitted requests, until their last byte."""
        self.counters = EngineCounters()
        self.advice: str | None = None
        """Advice for the client, after a failed start."""
        self._cache = cache
        self._program = program
        self._first_delay = first_delay
        self._loop = asyncio.get_running_loop()
        self._process: EngineProcess | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._exits = 0
        self._next_start = 0.0
        self._ready_at = 0.0
        self._progress: asyncio.TimerHandle | None = None
        self._restart: asyncio.TimerHandle | None = None

    @property
    def full(self) -> bool:
        """True if all slots are taken and the queue is full."""
        return self.in_flight >= self.settings.slots + self.settings.queue

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return max(0, self.in_flight - self.settings.slots)

    @property
    def starting(self) -> bool:
        """True if the engine loads eagerly and has neither loaded nor failed yet."""
        return self.settings.eager and self.counters.loads == 0 and self._exits == 0

    @property
    def exiting(self) -> bool:
        """True while the process is ending and its exit has not been noticed."""
        process = self._process
        return self.state is EngineState.READY and process is not None and (process.terminating or process.exiting)

    async def ready(self, seconds: float) -> None:
        """Return when the model is loaded. Starts the process if necessary. Needs a task. Raises TransportError.

        Raises at once during the delay after an exit, so that a pool can use another provider.
        """
        self.wake()
        if self._started is not None:
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.shield(self._started)
            except TimeoutError:
                raise TransportError(Fault.FIRST_BYTE_TIMEOUT, f"engine {self.name} is still loading") from None
        if self.state is not EngineState.READY:
            raise self.unavailable("it could not be loaded")

    def unavailable(self, detail: str) -> TransportError:
        """The error of an attempt at this engine."""
        return TransportError(Fault.UNAVAILABLE, f"engine {self.name}: {detail}", self.advice)

    def wake(self) -> None:
        """Start the process if it does not run. Raises TransportError during the delay after an exit."""
        if self.state in (EngineState.COLD, EngineState.DOWN):
            if self._loop.time() < self._next_start:
                raise self.unavailable("it exited, and is not started again yet")
            self.start()

    def start(self) -> None:
        """Start the process, unless it was started."""
        if self.state in (EngineState.COLD, EngineState.DOWN):
            self.state = EngineState.LOADING
            self._started = self._loop.create_future()
            settings = self.settings
            self._process = EngineProcess(
                self._program, self._launch_spec(), settings.load_timeout, settings.hang_timeout, self._on_report
            )
            self._run_task = self._loop.create_task(self._run(self._process))

    async def exited(self, seconds: float) -> None:
        """Wait until the exit of a process that does not answer has been noticed, at most ``seconds``."""
        if self._run_task is not None and self.state is EngineState.READY:
            await asyncio.wait([self._run_task], timeout=seconds)

    async def close(self) -> None:
        """End the process. It is not started again."""
        self.state = EngineState.CLOSED
        for timer in (self._restart, self._progress):
            if timer is not None:
                timer.cancel()
        if self._process is not None:
            await self._process.shutdown(_SHUTDOWN_SECONDS)
        if self._run_task is not None:
            await asyncio.wait([self._run_task])

    async def _run(self, process: EngineProcess) -> None:
        """One run of the process, from start to end."""
        began = self._loop.time()
        _log.info("engine %s: loading %s", self.name, self._model_name)
        self._report_progress(began)
        try:
            reason = await process.run()
        except OSError as error:
            reason = f"its process cannot be started: {error}"
        self._on_exit(reason)

    def _on_exit(self, reason: str) -> None:
        if self._progress is not None:
            self._progress.cancel()
        was_ready, closed = self.state is EngineState.READY, self.state is EngineState.CLOSED
        if not closed:
            now = self._loop.time()
            if was_ready and now - self._ready_at >= _HEALTHY_AFTER:
                self._exits = 0
            delay = restart_delay(self._exits, was_ready, self._first_delay)
            self._exits += 1
            if not was_ready and self._exited_by_itself and self.settings.memory is not None:
                self.advice = self.advice or _MEMORY_ADVICE
            self._next_start = now + delay
            self.state = EngineState.DOWN
            _log.error("engine %s: %s; next start not before %g s", self.name, reason, delay)
            # A lazy engine that never loaded is started by the next request.
            if was_ready or self.settings.eager:
                self._restart = self._loop.call_later(delay, self._restart_process)
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _restart_process(self) -> None:
        if self.state is EngineState.DOWN:
            self.counters.restarts += 1
            self.start()

    def _on_report(self, report: Report) -> None:
        if isinstance(report, Ready):
            self._loaded(report)
        elif isinstance(report, LoadFailed):
            self.advice = report.message
            _log.error("engine %s: %s", self.name, report.message)
        elif isinstance(report, ComputeCost):
            self._count(report)
        elif isinstance(report, Pong):
            pass  # handled by EngineProcess
        else:
            assert_never(report)

    def _loaded(self, report: Ready) -> None:
        if self._progress is not None:
            self._progress.cancel()
        if self.state is not EngineState.LOADING:
            return
        self.state = EngineState.READY
        self.advice = None
        self._ready_at = self._loop.time()
        self.counters.loads += 1
        self.counters.load_seconds = report.seconds
        _log.info("engine %s: loaded %s (%.1f MB) in %.2f s",
                  self.name, report.file, report.bytes / 1e6, report.seconds)  # fmt: skip
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _count(self, report: ComputeCost) -> None:
        counters = self.counters
        counters.prompt_tokens += report.prompt_tokens
        counters.completion_tokens += report.completion_tokens
        counters.prompt_seconds += report.prompt_seconds
        counters.completion_seconds += report.completion_seconds
        if report.completion_seconds > 0:
            counters.last_rate = report.completion_tokens / report.completion_seconds

    def _report_progress(self, began: float) -> None:
        def log_progress() -> None:
            _log.info("engine %s: still loading, %.0f s", self.name, self._loop.time() - began)
            self._report_progress(began)

        self._progress = self._loop.call_later(_PROGRESS_INTERVAL, log_progress)

    @property
    def _exited_by_itself(self) -> bool:
        return self._process is not None and not self._process.terminating

    @property
    def _model_name(self) -> str:
        return self.settings.model.rpartition("/")[2]

    def _launch_spec(self) -> LaunchSpec:
        settings = self.settings
        threads = settings.threads or (1 if settings.engine == "classifier" else _default_threads())
        return LaunchSpec(
            engine=cast(EngineName, settings.engine),
            model=settings.model,
            socket=self.socket,
            cache=self._cache,
            slots=settings.slots,
            threads=threads,
            nice=settings.nice,
            context=settings.context,
            memory=settings.memory,
            gpu_layers=settings.gpu_layers,
        )


def restart_delay(exits: int, was_ready: bool, first_delay: float) -> float:
    """Seconds from an exit to the next start. ``exits``: the number of exits before it.

    The first exit of an engine that was ready may be an accident: it is started again at once.
    """
    doublings = exits - 1 if was_ready else exits
    if doublings < 0:
        return 0.0
    return min(first_delay * 2.0 ** min(doublings, _MAX_DOUBLINGS), _MAX_DELAY)


def _default_threads() -> int:
    return max(1, len(os.sched_getaffinity(0)) - 1)
