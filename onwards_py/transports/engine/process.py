"""One run of an engine's program: start, orders in, reports out, and the end, by itself or by force."""

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
# A process that answers is alive; a large model may take a while to get to where it can stop.
_PATIENCE_WITH_STOPS = 6
_LAST_WORDS = 5
_FLAGS = 6  # proc(5), /proc/pid/stat, field 9, counted from the state
_PF_EXITING = 0x4  # linux/sched.h
_LONGEST_LINE = 64 * 1024
_AFTER_EXIT = 1.0

# What an engine needs of the environment. Keys of providers, which are kept there too, are none of its business.
_NAMES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TZ")
_PREFIXES = ("LC_", "PYTHON", "XDG_", "CUDA_", "HIP_", "ROCR_", "GGML_", "LLAMA_", "OMP_", "COVERAGE_")
_KEEP_OUT = ("KEY", "TOKEN", "SECRET", "PASSWORD")

_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The part of ``env`` that an engine's process is given."""
    return {
        name: value
        for name, value in env.items()
        if (name in _NAMES or name.startswith(_PREFIXES)) and not any(word in name for word in _KEEP_OUT)
    }


def is_exiting(pid: int) -> bool:
    """Whether the process has begun to end, or has ended. Where there is no Linux /proc, False."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return os.path.exists("/proc/self/stat")
    return fields[0] in (b"Z", b"X") or bool(int(fields[_FLAGS]) & _PF_EXITING)


class EngineProcess:
    """Runs one process: the interpreter with ``program`` as arguments. ``on_report`` hears what it says.

    It is killed if it does not say `Ready` within ``load_timeout`` seconds, and later if it leaves pings unanswered for
    ``hang_timeout`` seconds, or a computation does not stop for six times as long. Silence is counted in pings that
    were sent, not by the clock: when the whole machine was suspended, nobody was silent.
    """

    def __init__(
        self,
        program: Sequence[str],
        order: LaunchSpec,
        load_timeout: float,
        hang_timeout: float,
        on_report: Callable[[Report], None],
    ) -> None:
        self._program = program
        self._order = order
        self._load_timeout = load_timeout
        self._hang_timeout = hang_timeout
        self._on_report = on_report
        self._process: asyncio.subprocess.Process | None = None
        self._last_words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._verdict: str | None = None
        self._ready = asyncio.Event()
        self._answered = 0

    async def run(self) -> str:
        """Run until the process has ended; returns why, for the log. On cancellation the process is killed.

        Raises OSError if it cannot even be started.
        """
        if self._verdict is not None:
            return self._verdict
        safe_path = ["-P"] if sys.flags.safe_path else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, *safe_path, *self._program,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # ^C in a terminal is for the proxy, which then decides
            env=environment(os.environ), limit=_LONGEST_LINE,
        )  # fmt: skip
        descriptors.restore_limit(process.pid)
        self._process = process
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(self._order) + b"\n")
        readers = [asyncio.create_task(self._read_reports(process)), asyncio.create_task(self._read_words(process))]
        watcher = asyncio.create_task(self._watch(process))
        if self._verdict is not None:  # it was to leave while it was being made
            process.kill()
        try:
            code = await process.wait()
            await asyncio.wait(readers, timeout=_AFTER_EXIT)
        finally:
            for task in (*readers, watcher):
                task.cancel()
            if process.returncode is None:
                process.kill()
        return self._reason(code)

    @property
    def terminating(self) -> bool:
        """True once it has been told to end."""
        return self._verdict is not None

    @property
    def exiting(self) -> bool:
        """True while the kernel is ending it, whoever killed it: it listens, but nobody will answer any more.

        A killed process keeps its sockets until its memory is freed, which takes tens of milliseconds for a model.
        """
        return self._process is not None and is_exiting(self._process.pid)

    def kill(self, why: str) -> None:
        """End the process now."""
        if self._process is not None and self._process.returncode is None:
            self._verdict = self._verdict or why
            self._process.kill()

    async def shutdown(self, seconds: float) -> None:
        """Let the process end in peace: its lifeline is closed; after ``seconds`` it is killed.

        One that is not there yet will not be, or not for long.
        """
        self._verdict = self._verdict or "no longer needed"
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
                    self._answered = report.number
                    if report.stuck > self._hang_timeout * _PATIENCE_WITH_STOPS:
                        self.kill(f"a computation has not stopped for {report.stuck:.0f} s")
                    continue
                if isinstance(report, Ready):
                    self._ready.set()
                self._on_report(report)
        except (ValueError, msgspec.MsgspecError) as error:
            self.kill(f"it reported something that cannot be understood: {type(error).__name__}")

    async def _read_words(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.read(4096):
            for text in line.decode("utf-8", "replace").splitlines():
                self._last_words.append(text)
                _log.debug("engine %s says: %s", self._order.engine, text)

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
            if number - self._answered >= _PINGS_PER_TIMEOUT:
                self.kill(f"it was silent for {self._hang_timeout:g} s")
                return
            number += 1
            process.stdin.write(msgspec.json.encode(Ping(number)) + b"\n")

    def _reason(self, code: int) -> str:
        if self._verdict is not None:
            return self._verdict
        words = f"; its last words: {' | '.join(self._last_words)}" if self._last_words else ""
        if code >= 0:
            return f"it ended with exit code {code}{words}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        hint = " (out of memory, or by hand)" if -code == signal.SIGKILL else ""
        return f"it was ended by {name}{hint}{words}"
