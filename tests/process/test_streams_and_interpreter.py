"""Standard streams that are closed, full or broken; and interpreters that are not tested."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.processes import children, runs
from support.program import COMMAND, LOOPBACK, PATIENCE, clean_environment, free_port
from support.raw import ask, connect, get, post

ECHO = "targets: {m: {local: {engine: echo}}}"
CHAT = post(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')

REDIRECTIONS = {
    "no stdout": ">&-",
    "no stderr": "2>&-",
    "no stdin": "<&-",
    "none at all": "<&- >&- 2>&-",
    "disk full": ">/dev/full",
    "disk full for both": ">/dev/full 2>&1",
    "read-only stdout": "1</dev/null",
}


@contextmanager
def shell(tmp_path: Path, command: str, wrap: str = "exec {}") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run serve in a shell, with ``command`` after its options; give the process and the client port."""
    config = tmp_path / "t.yaml"
    config.write_text(ECHO)
    port, admin = str(free_port()), str(free_port())
    options = ("serve", "-f", str(config), *LOOPBACK, "--port", port, "--admin-port", admin, "--log-level", "debug")
    process = subprocess.Popen(
        ["sh", "-c", wrap.format(f'"$@" {command}'), "sh", *COMMAND, *options],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process, int(port)
    finally:
        process.kill()
        process.wait(PATIENCE)


async def listens(port: int) -> None:
    """Wait until the port accepts connections."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with connect(port):
                    return
            except ConnectionError:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("redirection", REDIRECTIONS.values(), ids=REDIRECTIONS.keys())
async def test_serving_needs_no_standard_stream(tmp_path: Path, redirection: str) -> None:
    """The program starts, answers, drops its logs, and ends with 0 after a signal."""
    with shell(tmp_path, redirection) as (process, port):
        await listens(port)
        for _ in range(3):
            assert (await ask(port, CHAT)).status == 200
        assert (await ask(port, get(b"/", b"no colon\r\n"))).status == 400
        process.send_signal(signal.SIGHUP)  # which is logged
        assert (await ask(port, CHAT)).status == 200
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE) == 0


async def test_a_reader_that_closes_early_does_not_stop_serving(tmp_path: Path) -> None:
    """``serve 2>&1 | head -1``: head ends after the first line of the log, and every later write gets EPIPE."""
    with shell(tmp_path, "2>&1 | head -1 >/dev/null", wrap="{}") as (process, port):
        await listens(port)
        for _ in range(3):
            assert (await ask(port, CHAT)).status == 200
        [served] = children(process.pid, "onwards_py")
        os.kill(served, signal.SIGTERM)
        await asyncio.to_thread(process.wait, PATIENCE)
        assert not runs(served)


async def test_a_log_that_is_not_read_does_not_stop_serving(tmp_path: Path) -> None:
    """Standard error is a full pipe. Lines are lost; requests are answered."""
    reading, writing = os.pipe()
    try:
        size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        os.write(writing, b"\n" * size)
        with _with_stderr(tmp_path, writing) as port:
            await listens(port)
            async with asyncio.timeout(PATIENCE):
                for _ in range(50):
                    assert (await ask(port, CHAT)).status == 200
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def _with_stderr(tmp_path: Path, descriptor: int) -> Iterator[int]:
    config = tmp_path / "t.yaml"
    config.write_text(ECHO)
    port = free_port()
    options = ("serve", "-f", str(config), *LOOPBACK, "--port", str(port), "--admin-port", str(free_port()))
    process = subprocess.Popen([*COMMAND, *options], cwd=tmp_path, env=clean_environment(), stderr=descriptor)
    try:
        yield port
    finally:
        process.kill()
        process.wait(PATIENCE)


@pytest.mark.parametrize(
    ("command", "redirection"),
    [("check", ">&-"), ("check", "2>&-"), ("check", ">/dev/full"), ("schema", ">&- 2>&-"), ("schema", ">/dev/full")],
)
def test_commands_end_as_they_should_without_streams(tmp_path: Path, command: str, redirection: str) -> None:
    """The exit code is 0, or 1 if the requested output could not be written; the interpreter never crashes (120)."""
    (tmp_path / "targets.yaml").write_text(ECHO)
    shell_command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, command]
    done = subprocess.run(shell_command, cwd=tmp_path, env=clean_environment(), stderr=subprocess.PIPE, check=False)
    assert done.returncode == (1 if "full" in redirection else 0)
    assert b"Traceback" not in done.stderr


def _start_in(environment: dict[str, str], tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "targets.yaml").write_text("targets: {m: {url: 'ftp://no'}}")  # who gets this far ends with it
    return subprocess.run(
        [sys.executable, *flags, "-m", "onwards_py", "serve"],
        cwd=tmp_path,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "flags", "advice"),
    [
        ({}, ("-O",), "without -O"),
        ({"PYTHONOPTIMIZE": "2"}, (), "without PYTHONOPTIMIZE"),
        ({"AIOHTTP_NO_EXTENSIONS": "1"}, (), "without AIOHTTP_NO_EXTENSIONS"),
        ({"AIOHTTP_NO_EXTENSIONS": "0"}, (), "without AIOHTTP_NO_EXTENSIONS"),
    ],
)
def test_an_untested_interpreter_does_not_start(
    tmp_path: Path, environment: dict[str, str], flags: tuple[str, ...], advice: str
) -> None:
    """The exit code is 2, before any file is read, and the message has advice."""
    done = _start_in(environment, tmp_path, *flags)
    assert done.returncode == 2
    assert advice in done.stderr
    assert "ftp" not in done.stderr
    assert "must begin with" not in done.stderr


@pytest.mark.parametrize("module", ["aiohttp._http_parser", "httptools.parser.parser", "httptools", "uvloop.loop"])
def test_a_package_without_its_compiled_part_is_named(tmp_path: Path, module: str) -> None:
    """An installation from source without a compiler leaves such a package."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    done = _start_in({"PYTHONPATH": str(tmp_path)}, tmp_path)
    assert done.returncode == 2
    assert f"--only-binary=:all: {module.partition('.')[0]}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    """Compose files leave variables empty to unset them, and aiohttp reads them this way."""
    done = _start_in({"AIOHTTP_NO_EXTENSIONS": "", "PYTHONOPTIMIZE": ""}, tmp_path)
    assert "must begin with http://" in done.stderr
