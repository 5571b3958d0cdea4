"""One run of an engine's process: start, messages to it, reports from it, and its exit."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from onwards_py import descriptors
from onwards_py.engines.protocol import LaunchSpec, Ping, Pong, Ready, Report

_log = logging.getLogger("onwards.engine")

PROGRAM = ("-m", "onwards_py.engines")
_PINGS_PER_TIMEOUT = 5
# A process that answers pings is alive. A large model may need time to reach a point where it can stop.
_STOP_FACTOR = 6
_LAST_LINES = 5
_FLAGS = 6  # proc(5), /proc/pid/stat, field 9, counted from the state
_PF_EXITING = 0x4  # linux/sched.h
_MAX_LINE = 64 * 1024
_READ_AFTER_EXIT = 1.0

# Environment variables that an engine needs. Keys of providers are not passed to it.
_NAMES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TZ")
_PREFIXES = ("LC_", "PYTHON", "XDG_", "CUDA_", "HIP_", "ROCR_", "GGML_", "LLAMA_", "OMP_", "COVERAGE_")
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")

_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The part of ``env`` for an engine's process."""
    return {
        name: value
        for name, value in env.items()
        if (name in _NAMES or name.startswith(_PREFIXES)) and not any(word in name for word in _SECRET_WORDS)
    }


def is_exiting(pid: int) -> bool:
    """True if the process is ending or has ended. False without Linux's /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return os.path.exists("/proc/self/stat")
    return fields[0] in (b"Z", b"X") or bool(int(fields[_FLAGS]) & _PF_EXITING)


class EngineProcess:
    """Runs one process: the interpreter with ``program`` as arguments. ``on_report`` gets its reports.

    The process is killed if it does not report `Ready` within ``load_timeout`` seconds.
    Later it is killed if it does not answer pings for ``hang_timeout`` seconds, or if a computation does not stop for
    six times as long.
    The time without an answer is counted in pings, not by the clock, because the machine may have been suspended.
    """

    def __init__(
        self,
        program: Sequence[str],
        spec: LaunchSpec,
        load_timeout: float,
        hang_timeout: float,
        on_report: Callable[[Report], None],
    ) -> None:
        self._program = program
        self._spec = spec
        self._load_timeout = load_timeout
        self._hang_timeout = hang_timeout
        self._on_report = on_report
        self._process: asyncio.subprocess.Process | None = None
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._exit_reason: str | None = None
        self._ready = asyncio.Event()
        self._last_pong = 0

    async def run(self) -> str:
        """Run until the process has ended; returns why, for the log. On cancellation the process is killed.

        Raises OSError if it cannot even be started.
        """
        if self._exit_reason is not None:
            return self._exit_reason
        safe_path = ["-P"] if sys.flags.safe_path else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, *safe_path, *self._program,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # ^C in a terminal must not reach the engine: the proxy ends it
            env=environment(os.environ), limit=_MAX_LINE,
        )  # fmt: skip
        descriptors.restore_limit(process.pid)
        self._process = process
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(self._spec) + b"\n")
        readers = [asyncio.create_task(self._read_reports(process)), asyncio.create_task(self._read_stderr(process))]
        watcher = asyncio.create_task(self._watch(process))
        if self._exit_reason is not None:  # shutdown was called during the start
            process.kill()
        try:
            code = await process.wait()
            await asyncio.wait(readers, timeout=_READ_AFTER_EXIT)
        finally:
            for task in (*readers, watcher):
                task.cancel()
            if process.returncode is None:
                process.kill()
        return self._reason(code)

    @property
    def terminating(self) -> bool:
        """True after `kill` or `shutdown`."""
        return self._exit_reason is not None

    @property
    def exiting(self) -> bool:
        """True while the kernel ends the process: its socket accepts connections, but it will not answer.

        A killed process keeps its sockets until its memory is freed, which takes tens of milliseconds for a model.
        """
        return self._process is not None and is_exiting(self._process.pid)

    def kill(self, reason: str) -> None:
        """Kill the process."""
        if self._process is not None and self._process.returncode is None:
            self._exit_reason = self._exit_reason or reason
            self._process.kill()

    async def shutdown(self, seconds: float) -> None:
        """Close the standard input of the process, which ends it. It is killed after ``seconds``.

        A process that is being started is killed at once.
        """
        self._exit_reason = self._exit_reason or "no longer needed"
        process = self._process
        if process is None or process.returncode is not None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            if process.returncode is None:
                process.kill()

    async def _read_reports(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                report = _decoder.decode(line)
                if isinstance(report, Pong):
                    self._last_pong = report.number
                    if report.stuck > self._hang_timeout * _STOP_FACTOR:
                        self.kill(f"a computation has not stopped for {report.stuck:.0f} s")
                    continue
                if isinstance(report, Ready):
                    self._ready.set()
                self._on_report(report)
        except (ValueError, msgspec.MsgspecError) as error:
            self.kill(f"it reported something that cannot be understood: {type(error).__name__}")

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.read(4096):
            for text in line.decode("utf-8", "replace").splitlines():
                self._last_lines.append(text)
                _log.debug("engine %s stderr: %s", self._spec.engine, text)

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(self._load_timeout):
                await self._ready.wait()
        except TimeoutError:
            self.kill(f"it did not load within {self._load_timeout:g} s")
            return
        assert process.stdin is not None
        number = 0
        while True:
            await asyncio.sleep(self._hang_timeout / _PINGS_PER_TIMEOUT)
            if number - self._last_pong >= _PINGS_PER_TIMEOUT:
                self.kill(f"it was silent for {self._hang_timeout:g} s")
                return
            number += 1
            process.stdin.write(msgspec.json.encode(Ping(number)) + b"\n")

    def _reason(self, code: int) -> str:
        if self._exit_reason is not None:
            return self._exit_reason
        lines = f"; its last words: {' | '.join(self._last_lines)}" if self._last_lines else ""
        if code >= 0:
            return f"it ended with exit code {code}{lines}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        hint = " (out of memory, or by hand)" if -code == signal.SIGKILL else ""
        return f"it was ended by {name}{hint}{lines}"
