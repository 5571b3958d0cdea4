"""When the configuration is reloaded, and what is logged about it. Uses the event loop, unlike the rest of the room."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import assert_never

from onwards_py.config.parse import LoadedConfig
from onwards_py.config.reload import InvalidConfig, Reloader, ReloadResult, ReloadStatus, Unchanged

_log = logging.getLogger("onwards.config")

POLL_INTERVAL = 0.5
_RETRY_DELAY = 0.05
# Parsing holds the interpreter lock; this is how soon the event loop gets it back, in seconds.
_SWITCH_INTERVAL = 0.0005


class ConfigWatcher:
    """Polls the files every ``interval`` seconds (None: never) and reloads them when they changed, or on request; files
    that could not be read are retried.

    ``apply`` applies a configuration atomically, in the event loop. Polling and reading happen in a thread.
    """

    def __init__(
        self,
        reloader: Reloader,
        status: ReloadStatus,
        apply: Callable[[LoadedConfig], None],
        interval: float | None = POLL_INTERVAL,
    ) -> None:
        self._reloader = reloader
        self._status = status
        self._apply_config = apply
        self._interval = interval
        self._reload_requested = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "config")
        self._task = self._loop.create_task(self._run())

    def request_reload(self) -> None:
        """Reload now, whether a change was noticed or not. Further requests before the reload begins are merged."""
        self._reload_requested.set()

    async def close(self) -> None:
        """Stop polling. A reload in progress is not awaited and will not be applied."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            requested = await self._next()
            try:
                if requested or await self._loop.run_in_executor(self._thread, self._reloader.has_changed):
                    self._act(await self._loop.run_in_executor(self._thread, self._read, not requested), requested)
            except Exception as error:  # polling must continue after any error
                _log.exception("reloading the configuration failed; the current one stays in force")
                self._status.note_refused((f"internal error: {type(error).__name__}",), time.time())

    async def _next(self) -> bool:
        """Wait for the next poll (False) or for a request to reload (True)."""
        interval = POLL_INTERVAL if self._interval is None and self._reloader.must_retry else self._interval
        try:
            async with asyncio.timeout(interval):
                await self._reload_requested.wait()
        except TimeoutError:
            return False
        self._reload_requested.clear()
        return True

    def _read(self, settled: bool) -> ReloadResult:
        with _low_priority():
            return self._reloader.reload(settled=settled)

    def _act(self, result: ReloadResult, requested: bool) -> None:
        if isinstance(result, LoadedConfig):
            self._apply(result)
        elif isinstance(result, InvalidConfig):
            self._refuse(tuple(map(str, result.problems)))
        elif result is Unchanged.MOVING:
            if requested:  # otherwise the next poll reads the files again
                self._loop.call_later(_RETRY_DELAY, self.request_reload)
        elif result is Unchanged.ACTIVE or result is Unchanged.STILL_REJECTED:
            if requested:  # a file that was only touched is not worth a log line
                self._status.note_unchanged()
                state = "is in force" if result is Unchanged.ACTIVE else "was refused before"
                _log.info("configuration unchanged: the content of %s %s", self._status.path, state)
        elif result is Unchanged.RESTORED:
            self._status.note_unchanged(restored=True)
            _log.info("configuration %d is again the content of %s", self._status.generation, self._status.path)
        else:
            assert_never(result)

    def _apply(self, loaded: LoadedConfig) -> None:
        try:
            self._apply_config(loaded)
        except Exception:
            self._reloader.note_apply_failed(loaded)
            raise
        self._reloader.note_applied(loaded)
        status = self._status
        status.note_applied(loaded, time.time())
        for warning in loaded.warnings:
            _log.warning("%s", warning)
        _log.info("configuration %d applied: %s, %d targets, sha256 %.16s",
                  status.generation, status.path, len(loaded.snapshot.pools), status.sha256)  # fmt: skip

    def _refuse(self, problems: tuple[str, ...]) -> None:
        status = self._status
        status.note_refused(problems, time.time())
        for problem in problems:
            _log.error("%s", problem)
        _log.error("configuration refused for the errors above (%d); configuration %d stays in force",
                   len(problems), status.generation)  # fmt: skip


@contextmanager
def _low_priority() -> Iterator[None]:
    """Let this thread make hundreds of thousands of objects without delaying the event loop.

    The objects contain no reference cycles, so the cyclic garbage collector is off: a full pass over them would stop
    the process for a third of a second. ``freeze`` and ``unfreeze`` move them to the oldest generation at no cost;
    existing garbage is collected before, so that it does not move with them.
    """
    interval, collecting = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        if collecting:
            gc.enable()
        sys.setswitchinterval(interval)
