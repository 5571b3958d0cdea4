"""An engine's process as the proxy sees it: a pipe and a Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from onwards_py.engines.protocol import ComputeCost, LaunchSpec, LoadFailed, Ping, Pong, Ready, Report

PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def hang_up(self) -> None:
        """Leave without reading the rest."""
        self.sock.close()
        self.close()


class EngineProcess:
    """Started by the constructor; `ready` waits for it. Leaving the context kills it."""

    def __init__(self, order: LaunchSpec, first_line: bytes | None = None) -> None:
        self.order = order
        self.process = subprocess.Popen(
            [sys.executable, "-m", "onwards_py.engines"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.write(msgspec.json.encode(order) if first_line is None else first_line)

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        self.process.wait(PATIENCE)

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def report(self) -> Report:
        """The next report."""
        assert self.process.stdout is not None
        return msgspec.json.decode(self.process.stdout.readline(), type=Ready | LoadFailed | Pong | ComputeCost)

    def ready(self) -> Ready:
        report = self.report()
        assert isinstance(report, Ready), report
        return report

    def ping(self, number: int) -> Pong:
        """Reports of requests that ended before are passed over."""
        self.write(msgspec.json.encode(Ping(number)))
        while not isinstance(report := self.report(), Pong):
            pass
        return report

    def connect(self) -> Connection:
        return Connection(self.order.socket)

    def ask(self, path: str, body: object, method: str = "POST") -> Answer:
        """One request on a connection of its own; ``body`` is JSON, or bytes as they are."""
        connection = self.connect()
        try:
            connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body))
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def errors(self) -> bytes:
        """What it wrote to its standard error; after its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


def order_for(folder: Path, model: str, **more: Any) -> LaunchSpec:
    """An order for a llama.cpp engine whose socket and cache are in ``folder``."""
    return LaunchSpec("llama_cpp", model, str(folder / "s"), str(folder), **more)


def data_of(stream: bytes) -> list[str]:
    """The data of a stream's events; it must consist of nothing else."""
    events = stream.decode().split("\n\n")
    assert events.pop() == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [event.removeprefix("data: ") for event in events]
