"""Start processes on one core, read what they cost from ``/proc``, stop them."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROXY_CORE, LOAD_CORE = 1, 0
_RSS = re.compile(r"^Rss: +(\d+) kB", re.MULTILINE)


class StartError(Exception):
    """A process ended, or did not listen in time; the message holds the end of its log."""


def pin(core: int) -> None:
    """Keep the calling process, and children from now on, on one core; with one core do nothing."""
    if (os.cpu_count() or 1) > core:
        os.sched_setaffinity(0, {core})


@contextlib.contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Pin for as long as it takes to start a child: it inherits, threads and all. None: it may run everywhere."""
    before = os.sched_getaffinity(0)
    if core is None:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    else:
        pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_many_files() -> None:
    """Raise the soft limit on open files to the hard one; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody has now.

    It is from below the range out of which the kernel gives ports to others: a program may take long to listen.
    """
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _ids(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError:
        return []


def process_tree(pid: int) -> list[int]:
    """Return ``pid`` and all its living descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(_ids(children))
    return found


def _cpu_ns(pid: int) -> int:
    return sum((_ids(path / "schedstat") or [0])[0] for path in Path(f"/proc/{pid}/task").glob("*"))


@dataclass(slots=True)
class Running:
    """A started process: the head of its own process group, listening on ``port``."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def cpu_ns(self) -> int:
        """Return the CPU time of all threads of the tree in nanoseconds (``/proc/PID/task/TID/schedstat``)."""
        return sum(map(_cpu_ns, process_tree(self.process.pid)))

    def own_cpu_ns(self) -> int:
        """Return the same of the process alone, without those that it has started."""
        return _cpu_ns(self.process.pid)

    def rss_bytes(self) -> int:
        """Return the resident memory of the tree in bytes; pages shared by two processes count twice."""
        total = 0
        for pid in process_tree(self.process.pid):
            try:
                found = _RSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
            except OSError:
                continue
            total += int(found[1]) * 1024 if found else 0
        return total

    def log_end(self) -> str:
        """Return the last line of what the process printed."""
        return self.log.read_text(errors="replace").strip().rpartition("\n")[2][-300:]

    def kill(self) -> None:
        """End the process group at once."""
        self._signal_group(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask the process to end; after three seconds end its whole group."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                pass
        self._signal_group(signal.SIGKILL)
        self.process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


def start(name: str, argv: list[str], port: int, *, core: int | None, log: Path, patience: float = 60.0) -> Running:
    """Start ``argv`` on ``core`` (None: on any) and return when it listens on ``port``.

    ``patience`` in seconds. Raises StartError if the program is missing, ends or does not listen.
    """
    with log.open("wb") as output, _pinned(core):
        try:
            process = subprocess.Popen(
                argv,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StartError(f"{argv[0]}: {error}") from error
    running = Running(name, port, process, log)
    try:
        _await_listening(running, time.monotonic() + patience)
    except BaseException:
        running.stop()
        raise
    return running


def _await_listening(running: Running, deadline: float) -> None:
    while running.process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", running.port)) == 0:
                return
        time.sleep(0.05)
    raise StartError(f"{running.name} does not listen: {running.log_end() or 'it printed nothing'}")
