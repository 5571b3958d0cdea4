"""The access log: one JSON line per exchange, written by a thread so that a blocked pipe cannot stall the loop.

Neither bodies nor header values are logged, and of the target only the path: queries may carry secrets.
"""

from __future__ import annotations

import queue
import threading
from typing import BinaryIO

import msgspec

from onwards_py.observe.record import Record

_MAX_BATCHES = 256
_MAX_PATH = 200


class LineWriter:
    """Writes lines to ``stream`` from a thread of its own; what does not fit the queue is dropped and counted."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._batches: queue.Queue[bytes | None] = queue.Queue(_MAX_BATCHES)
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()
        self.dropped = 0

    def write(self, lines: list[bytes]) -> None:
        """Queue lines (without their ends); never blocks."""
        if not lines:
            return
        try:
            self._batches.put_nowait(b"\n".join(lines) + b"\n")
        except queue.Full:
            self.dropped += len(lines)

    def close(self, seconds: float = 2.0) -> None:
        """Write what is queued, within ``seconds``."""
        try:
            self._batches.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                self._stream.write(batch)
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += batch.count(b"\n")


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


def access_line(record: Record, to_wall: float) -> bytes:
    """The line (no line end) of a sealed record.

    Adding ``to_wall`` makes Unix time of the record's seconds; durations are in milliseconds.
    """
    request, principal = record.request, record.principal
    return _encode(
        _Line(
            int((record.ended + to_wall) * 1000) / 1000,
            request.peer,
            principal.label,
            request.method.decode("latin-1"),
            request.target.partition(b"?")[0][:_MAX_PATH].decode("latin-1"),
            record.target or None,
            record.via or None,
            record.provider or None,
            record.status,
            record.outcome,
            record.code or None,
            record.attempts,
            record.bytes_in,
            record.bytes_out,
            _ms(record.committed - record.began) if record.committed else None,
            _ms(record.ended - record.began),
        )
    )


def _ms(seconds: float) -> float:
    """Milliseconds with two decimals; ``round`` would cost three times as much."""
    return int(seconds * 100_000) / 100
