"""One local model: its process over and over, and how many requests it may have."""

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

FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_MOST_DOUBLINGS = 64  # an engine that falls for a day passes what a float can hold
_HEALTHY_AFTER = 60.0  # a process that lived so long begins with a clean slate when it falls
_PROGRESS_EVERY = 5.0
_LEAVE_SECONDS = 2.0
# Libraries that get no memory abort, and then nobody is left to say so.
_PERHAPS_TOO_LITTLE = "The local model's process died while it loaded: perhaps its bound on memory is too low."


class EngineState(Enum):
    """``DOWN``: the process exited, and is started again after a delay."""

    COLD = "cold"
    LOADING = "loading"
    READY = "ready"
    DOWN = "down"
    CLOSED = "closed"


@dataclass(slots=True)
class EngineCounters:
    """What was counted over all runs. Seconds of loading are those of the last time."""

    loads: int = 0
    restarts: int = 0
    load_seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_seconds: float = 0.0
    completion_seconds: float = 0.0
    last_rate: float = 0.0
    """Tokens per second of the last answer."""


class EngineSupervisor:
    """``name`` is what logs and metrics call it; ``socket`` where its process listens; ``cache`` a folder for files
    that are made from models; ``program`` what the interpreter is to run; ``first_wait`` is how many seconds pass
    between a fall and the next start, doubled with each further fall. ``in_flight`` counts requests from being let in
    to their last byte."""

    def __init__(
        self,
        settings: EngineSettings,
        name: str,
        socket: str,
        cache: str,
        program: Sequence[str] = PROGRAM,
        *,
        first_wait: float = FIRST_WAIT,
    ) -> None:
        self.settings = settings
        self.name = name
        self.socket = socket
        self.state = EngineState.COLD
        self.in_flight = 0
        self.tally = EngineCounters()
        self.advice: str | None = None
        self._cache = cache
        self._program = program
        self._first_wait = first_wait
        self._loop = asyncio.get_running_loop()
        self._process: EngineProcess | None = None
        self._life: asyncio.Task[None] | None = None
        self._settled: asyncio.Future[None] | None = None
        self._falls = 0
        self._not_before = 0.0
        self._ready_at = 0.0
        self._progress: asyncio.TimerHandle | None = None
        self._restart: asyncio.TimerHandle | None = None

    @property
    def full(self) -> bool:
        """True if one more request would have no place, not even to wait."""
        return self.in_flight >= self.settings.slots + self.settings.queue

    @property
    def waiting(self) -> int:
        """Requests that are let in and have no slot yet."""
        return max(0, self.in_flight - self.settings.slots)

    @property
    def starting(self) -> bool:
        """True for an engine that is to load at the start and has neither loaded nor failed yet."""
        return self.settings.eager and self.tally.loads == 0 and self._falls == 0

    @property
    def exiting(self) -> bool:
        """True while its process is ending, and that is not known here as its end yet."""
        process = self._process
        return self.state is EngineState.READY and process is not None and (process.terminating or process.exiting)

    async def ready(self, seconds: float) -> None:
        """Return when it can be asked; starts it if need be. Needs a task. Raises TransportError.

        While the wait after a fall lasts it is refused at once, so that a pool loses no time here.
        """
        self.wake()
        if self._settled is not None:
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.shield(self._settled)
            except TimeoutError:
                raise TransportError(Fault.FIRST_BYTE_TIMEOUT, f"engine {self.name} is still loading") from None
        if self.state is not EngineState.READY:
            raise self.unavailable("it could not be loaded")

    def unavailable(self, detail: str) -> TransportError:
        """The failure of an attempt at this engine."""
        return TransportError(Fault.UNAVAILABLE, f"engine {self.name}: {detail}", self.advice)

    def wake(self) -> None:
        """Start it if it does not run. Raises TransportError while the wait after a fall lasts."""
        if self.state in (EngineState.COLD, EngineState.DOWN):
            if self._loop.time() < self._not_before:
                raise self.unavailable("it fell, and is not started again yet")
            self.start()

    def start(self) -> None:
        """Begin to load, unless that has begun."""
        if self.state in (EngineState.COLD, EngineState.DOWN):
            self.state = EngineState.LOADING
            self._settled = self._loop.create_future()
            settings = self.settings
            self._process = EngineProcess(
                self._program, self._order(), settings.load_timeout, settings.hang_timeout, self._on_report
            )
            self._life = self._loop.create_task(self._live(self._process))

    async def exited(self, seconds: float) -> None:
        """Wait until a process that does not answer any more is known to have ended, at most ``seconds``."""
        if self._life is not None and self.state is EngineState.READY:
            await asyncio.wait([self._life], timeout=seconds)

    async def close(self) -> None:
        """End the process, and do not start it again."""
        self.state = EngineState.CLOSED
        for timer in (self._restart, self._progress):
            if timer is not None:
                timer.cancel()
        if self._process is not None:
            await self._process.shutdown(_LEAVE_SECONDS)
        if self._life is not None:
            await asyncio.wait([self._life])

    async def _live(self, process: EngineProcess) -> None:
        """One run of the process, from start to end."""
        began = self._loop.time()
        _log.info("engine %s: loading %s", self.name, self._shown_model)
        self._report_progress(began)
        try:
            reason = await process.run()
        except OSError as error:
            reason = f"its process cannot be started: {error}"
        self._fell(reason)

    def _fell(self, reason: str) -> None:
        if self._progress is not None:
            self._progress.cancel()
        was_ready, closed = self.state is EngineState.READY, self.state is EngineState.CLOSED
        if not closed:
            now = self._loop.time()
            if was_ready and now - self._ready_at >= _HEALTHY_AFTER:
                self._falls = 0
            wait = wait_after(self._falls, was_ready, self._first_wait)
            self._falls += 1
            if not was_ready and self._died_by_itself and self.settings.memory is not None:
                self.advice = self.advice or _PERHAPS_TOO_LITTLE
            self._not_before = now + wait
            self.state = EngineState.DOWN
            _log.error("engine %s: %s; next start not before %g s", self.name, reason, wait)
            # A lazy engine that never loaded waits for somebody to ask again.
            if was_ready or self.settings.eager:
                self._restart = self._loop.call_later(wait, self._start_again)
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _start_again(self) -> None:
        if self.state is EngineState.DOWN:
            self.tally.restarts += 1
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
            pass  # heard by the process's own watch
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
        self.tally.loads += 1
        self.tally.load_seconds = report.seconds
        _log.info("engine %s: loaded %s (%.1f MB) in %.2f s",
                  self.name, report.file, report.bytes / 1e6, report.seconds)  # fmt: skip
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _count(self, report: ComputeCost) -> None:
        tally = self.tally
        tally.prompt_tokens += report.prompt_tokens
        tally.completion_tokens += report.completion_tokens
        tally.prompt_seconds += report.prompt_seconds
        tally.completion_seconds += report.completion_seconds
        if report.completion_seconds > 0:
            tally.last_rate = report.completion_tokens / report.completion_seconds

    def _report_progress(self, began: float) -> None:
        def say() -> None:
            _log.info("engine %s: still loading, %.0f s", self.name, self._loop.time() - began)
            self._report_progress(began)

        self._progress = self._loop.call_later(_PROGRESS_EVERY, say)

    @property
    def _died_by_itself(self) -> bool:
        return self._process is not None and not self._process.terminating

    @property
    def _shown_model(self) -> str:
        return self.settings.model.rpartition("/")[2]

    def _order(self) -> LaunchSpec:
        settings = self.settings
        threads = settings.threads or (1 if settings.engine == "classifier" else _all_but_one())
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


def wait_after(falls: int, was_ready: bool, first_wait: float) -> float:
    """Seconds from a fall to the next start; ``falls`` is how many came before it.

    The first fall of an engine that worked may be an accident: it is started again at once.
    """
    doublings = falls - 1 if was_ready else falls
    if doublings < 0:
        return 0.0
    return min(first_wait * 2.0 ** min(doublings, _MOST_DOUBLINGS), _LONGEST_WAIT)


def _all_but_one() -> int:
    return max(1, len(os.sched_getaffinity(0)) - 1)
