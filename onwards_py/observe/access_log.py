"""The access log: one JSON line per exchange, written by a thread so that a blocked pipe cannot stall the loop.

Bodies and header values are not logged, nor the query of the request target, which may contain secrets.
"""

from __future__ import annotations

import queue
import threading
from typing import BinaryIO

import msgspec

from onwards_py.observe.log_row import LogRow

_MAX_BATCHES = 256
_MAX_PATH = 200
_MOST_NAMES = 256


class LineWriter:
    """Writes lines to ``stream`` in a separate thread named ``name``. Lines that do not fit the queue or cannot be
    written are dropped and counted. ``stream`` should be unbuffered."""

    def __init__(self, stream: BinaryIO, name: str = "access-log") -> None:
        self._stream = stream
        self._torn = False
        self._batches: queue.Queue[bytes | None] = queue.Queue(_MAX_BATCHES)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self.dropped = 0

    def write(self, lines: list[bytes]) -> None:
        """Queue lines (without line ends); never blocks."""
        if not lines:
            return
        try:
            self._batches.put_nowait(b"\n".join(lines) + b"\n")
        except queue.Full:
            self.dropped += len(lines)

    def close(self, seconds: float = 2.0) -> None:
        """Write the queued lines, within ``seconds``."""
        try:
            self._batches.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self.put(batch)
            self._batches.task_done()

    @property
    def idle(self) -> bool:
        """True if the queue is empty and all its lines are written."""
        return not self._batches.unfinished_tasks

    def put(self, batch: bytes) -> None:
        """Write ``batch`` in the caller's thread: only while `idle`, and if the stream will not block.

        If a write fails within a line, the next batch starts on a new line."""
        data = b"\n" + batch if self._torn else batch
        written = 0
        try:
            while written < len(data):
                count = self._stream.write(data[written:])
                if count is None:  # full and non-blocking: all processes with an open pipe share its O_NONBLOCK
                    raise BlockingIOError
                written += count
            self._stream.flush()
        except (OSError, ValueError):
            lost = data[written:].count(b"\n")
            self.dropped += lost - (self._torn and not written)
        if written:
            self._torn = data[written - 1 : written] != b"\n"


class _Line(msgspec.Struct):
    """The fields in their order."""

    ts: float
    peer: str
    key: str | None
    method: str
    path: str
    target: str | None
    via: str | None
    provider: str | None
    status: int
    outcome: str
    code: str | None
    attempts: int
    bytes_in: int
    bytes_out: int
    ms_head: float | None
    ms: float


_encode = msgspec.json.Encoder().encode


def access_line(row: LogRow, to_wall: float) -> bytes:
    """The line (no line end) of one row.

    Adding ``to_wall`` makes Unix time of the row's seconds; durations are in milliseconds.
    """
    ended, began, committed = row.ended, row.began, row.committed
    target = row.request_target
    names = _names.get(target)
    if names is None or names[0] != row.method:
        names = _remember(row.method, target)
    return _encode(
        _Line(
            int((ended + to_wall) * 1000) / 1000,
            row.peer,
            row.key,
            names[1],
            names[2],
            row.target or None,
            row.routed_from or None,
            row.provider or None,
            row.status,
            row.outcome,
            row.code or None,
            row.attempts,
            row.bytes_in,
            row.bytes_out,
            # Two decimals; ``round`` would cost three times as much.
            int((committed - began) * 100_000) / 100 if committed else None,
            int((ended - began) * 100_000) / 100,
        )
    )


_names: dict[bytes, tuple[bytes, str, str]] = {}
"""Method, and method and path as text, of frequent request targets."""


def _remember(method: bytes, target: bytes) -> tuple[bytes, str, str]:
    path = target.partition(b"?")[0][:_MAX_PATH].decode("latin-1")
    names = (method, method.decode("latin-1"), path)
    if len(target) <= _MAX_PATH and b"?" not in target:  # queries vary, and may contain secrets
        if len(_names) >= _MOST_NAMES:
            _names.clear()
        _names[target] = names
    return names
