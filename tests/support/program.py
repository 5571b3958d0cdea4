"""The real program in a process of its own, with everything it wrote."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "onwards_py")
PATIENCE = 20.0
_LISTENING = re.compile(rb"listening on (https?)://[^ ]*:(\d+),")


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without what would change the program's mind."""
    names = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in names and not name.startswith("ONWARDS_")
    }
    return kept | extra


LOOPBACK = ("--host", "127.0.0.1", "--admin-host", "127.0.0.1", "--admin-allowed-hosts", "gw")
_OTHER_PORTS = 3  # so often another one is chosen, if somebody was quicker


def free_port() -> int:
    """A port to listen on, from below the range out of which the kernel takes ports for clients."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll until ``condition`` holds; fail if it does not within `PATIENCE` seconds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    """Poll until ``condition`` holds, letting the loop run; fail if it does not within `PATIENCE` seconds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  (what is waited for happens in another process)
            await asyncio.sleep(0.005)


def run(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=clean_environment() if env is None else env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class Program:
    """``onwards-py serve`` as a process. Output goes to files, so that nothing has to be read while it runs."""

    def __init__(self, process: subprocess.Popen[bytes], admin_port: int, out: Path, err: Path) -> None:
        self.process = process
        self.admin_port = admin_port
        self._out = out
        self._err = err
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def lines(self) -> list[dict[str, object]]:
        """The access log so far; the last line may not be written yet while the program runs."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def wait_for_listener(self) -> None:
        wait_until(lambda: self._listens() or self.process.poll() is not None, "the listener")
        assert self.process.poll() is None, f"the program ended with {self.process.returncode}:\n{self.stderr}"

    def lost_its_port(self) -> bool:
        """Wait until it listens or has ended; True if somebody else took the port that was free when it was chosen."""
        wait_until(lambda: self._listens() or self.process.poll() is not None, "the listener")
        return self.process.poll() is not None and "Address already in use" in self.stderr

    def _listens(self) -> bool:
        match = _LISTENING.search(self._err.read_bytes())
        if match is None:
            return False
        self.scheme, self.port = match[1].decode(), int(match[2])
        return True

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """The exit code."""
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        """Ask it to end, and wait for that."""
        self.signal()
        return self.wait()


@contextmanager
def serving(
    config: Path | str,
    folder: Path,
    *,
    lane: bool | None = True,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
    files: tuple[int, int] | None = None,
    hosts: Sequence[str] = LOOPBACK,
) -> Iterator[Program]:
    """Run the program on ``config`` (a file, or YAML text) until the block is left; ``folder`` takes its output.

    ``lane`` None says nothing of the lane. ``stdout`` is a file descriptor to write to instead. ``files``: its soft and
    hard limit of file descriptors. ``hosts``: the options that say where to listen.
    """
    if isinstance(config, str):
        path = folder / f"targets-{random.getrandbits(32):08x}.yaml"
        path.write_text(config)
        config = path
    chosen = [] if lane is None else ["--lane", "on" if lane else "off"]
    environment = clean_environment() if env is None else env
    program = _start(config, folder, [*hosts, *chosen, *arguments], environment, stdout=stdout, files=files)
    try:
        for _ in range(_OTHER_PORTS):
            if not program.lost_its_port():
                break
            program = _start(config, folder, [*hosts, *chosen, *arguments], environment, stdout=stdout, files=files)
        program.wait_for_listener()
        yield program
    finally:
        if program.process.poll() is None:
            program.process.kill()
        program.process.wait(PATIENCE)


def _start(
    config: Path,
    folder: Path,
    arguments: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: int | None,
    files: tuple[int, int] | None,
) -> Program:
    admin_port = free_port()
    name = f"{config.stem}-{admin_port}"
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    command = [*COMMAND, "serve", "--config", str(config), "--port", "0"]
    command += ["--admin-port", str(admin_port), *arguments]
    if files is not None:
        soft, hard = files
        command = ["sh", "-c", f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"', "sh", *command]
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out_file if stdout is None else stdout,
            stderr=err_file,
        )
    return Program(process, admin_port, out, err)
