"""The pipes from and to the proxy: lines of JSON, see `onwards_py.engines.protocol`."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from onwards_py.engines.protocol import LaunchSpec, Ping, Report

_READ = 65536


class ReportWriter:
    """Writes reports, from any thread. A closed pipe is ignored here; `LaunchReader` detects the end of the proxy."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._encode = msgspec.json.Encoder().encode

    def send(self, report: Report) -> None:
        line = self._encode(report) + b"\n"
        with self._lock, suppress(OSError):
            while line:
                line = line[os.write(self._descriptor, line) :]


class LaunchReader:
    """Reads the launch specification and the pings that follow, in a thread of its own.

    The end of the input ends the process at once, whatever it is computing.
    """

    def __init__(self, descriptor: int, on_ping: Callable[[Ping], None]) -> None:
        self._descriptor = descriptor
        self._on_ping = on_ping
        self._first: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="orders", daemon=True).start()

    def launch_spec(self) -> LaunchSpec:
        """The launch specification; blocks until it arrives. Raises `msgspec.DecodeError` if it cannot be decoded."""
        return msgspec.json.decode(self._first.get(), type=LaunchSpec)

    def _read(self) -> None:
        rest = b""
        take: Callable[[bytes], None] = self._first.put
        while piece := self._piece():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                take(line)
                take = self._ping
        os._exit(0)

    def _piece(self) -> bytes:
        try:
            return os.read(self._descriptor, _READ)
        except OSError:
            return b""

    def _ping(self, line: bytes) -> None:
        with suppress(msgspec.DecodeError):
            self._on_ping(msgspec.json.decode(line, type=Ping))
