"""The one effect of this room: when a configuration is read again, and what is said about it."""

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

from onwards_py.config.parse import Loaded
from onwards_py.config.reload import InvalidConfig, Reloader, ReloadResult, ReloadStatus, Unchanged

_log = logging.getLogger("onwards.config")

POLL_INTERVAL = 0.5
_RETRY_DELAY = 0.05
# Parsing is Python and holds the interpreter; this is how soon it lets the event loop have it, in seconds.
_SWITCH_INTERVAL = 0.0005


class ConfigWatcher:
    """Looks at files every ``interval`` seconds (None: never) and reads them when they changed, or when told to; what
    could not be read is tried again until it can.

    ``apply`` puts a configuration into force, in the event loop and at one go. Looking and reading happen in a thread.
    """

    def __init__(
        self,
        reloader: Reloader,
        status: ReloadStatus,
        apply: Callable[[Loaded], None],
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
        """Read now, whether it seems to be needed or not. Being asked again before that began is being asked once."""
        self._reload_requested.set()

    async def close(self) -> None:
        """Look no more. What is being read is not waited for, and will not be applied."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            asked = await self._next()
            try:
                if asked or await self._loop.run_in_executor(self._thread, self._reloader.has_changed):
                    self._act(await self._loop.run_in_executor(self._thread, self._read, not asked), asked)
            except Exception as error:  # whatever it is, the next change has to find somebody who looks
                _log.exception("reading the configuration again failed; the one in force stays")
                self._status.note_refused((f"internal error: {type(error).__name__}",), time.time())

    async def _next(self) -> bool:
        """Wait until it is time to look (False), or until somebody asks (True)."""
        interval = POLL_INTERVAL if self._interval is None and self._reloader.must_retry else self._interval
        try:
            async with asyncio.timeout(interval):
                await self._reload_requested.wait()
        except TimeoutError:
            return False
        self._reload_requested.clear()
        return True

    def _read(self, settled: bool) -> ReloadResult:
        with _beside_the_loop():
            return self._reloader.reload(settled=settled)

    def _act(self, result: ReloadResult, asked: bool) -> None:
        if isinstance(result, Loaded):
            self._apply(result)
        elif isinstance(result, InvalidConfig):
            self._refuse(tuple(map(str, result.problems)))
        elif result is Unchanged.MOVING:
            if asked:  # who watches looks again anyway
                self._loop.call_later(_RETRY_DELAY, self.request_reload)
        elif result is Unchanged.IN_FORCE or result is Unchanged.STILL_REFUSED:
            if asked:  # and not if a file was merely touched
                self._status.note_unchanged()
                known = "in force" if result is Unchanged.IN_FORCE else "refused before, and it still is"
                _log.info("configuration unchanged: what is in %s is %s", self._status.path, known)
        elif result is Unchanged.RESTORED:
            self._status.note_unchanged(restored=True)
            _log.info("configuration %d is in %s again", self._status.generation, self._status.path)
        else:
            assert_never(result)

    def _apply(self, loaded: Loaded) -> None:
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
        _log.error("configuration refused for the reasons above (%d); configuration %d stays",
                   len(problems), status.generation)  # fmt: skip


@contextmanager
def _beside_the_loop() -> Iterator[None]:
    """What a thread does that makes hundreds of thousands of objects and shall not be felt by the event loop.

    They are made without cycles, so the collector need not look for any: going through all of them would stop
    everybody for a third of a second. Frozen and unfrozen, they count as old, which costs nothing. What is garbage
    before must not become old with them.
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
