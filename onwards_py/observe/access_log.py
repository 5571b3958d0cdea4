"""The access log: one JSON line per exchange, written by a thread so that a blocked pipe cannot stall the loop.

Neither bodies nor header values are logged, and of the target only the path: queries may carry secrets.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

import orjson

from onwards_py.observe.record import Record

_FLUSH_SECONDS = 0.25
_MAX_BATCHES = 256
_MAX_LINES = 512
_MAX_PATH = 200


class LineWriter:
    """Writes lines to ``stream`` from a thread of its own; what does not fit the queue is dropped and counted.

    ``call_later(seconds, callback)`` schedules on the caller's event loop.
    """

    def __init__(self, stream: BinaryIO, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._stream = stream
        self._call_later = call_later
        self._lines: list[bytes] = []
        self._scheduled = False
        self._batches: queue.Queue[bytes | None] = queue.Queue(_MAX_BATCHES)
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Queue one line; never blocks."""
        self._lines.append(line)
        if len(self._lines) >= _MAX_LINES:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            self._call_later(_FLUSH_SECONDS, self._flush_later)

    def close(self, seconds: float = 2.0) -> None:
        """Write what is queued, within ``seconds``."""
        self._flush()
        try:
            self._batches.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)

    def _flush_later(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if not lines:
            return
        lines.append(b"")
        try:
            self._batches.put_nowait(b"\n".join(lines))
        except queue.Full:
            self.dropped += len(lines) - 1

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                self._stream.write(batch)
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += batch.count(b"\n")


def access_line(exchange: Record, now: float, *, wall: Callable[[], float] = time.time) -> bytes:
    """The line (no line end) of an exchange that ended at ``now`` (monotonic seconds). Durations: milliseconds."""
    request, sink, principal = exchange.request, exchange.sink, exchange.principal
    return orjson.dumps(
        {
            "ts": int(wall() * 1000) / 1000,
            "peer": request.peer,
            "key": principal.definition.id if principal.definition is not None else None,
            "method": request.method.decode("latin-1"),
            "path": request.target.partition(b"?")[0][:_MAX_PATH].decode("latin-1"),
            "target": exchange.target or None,
            "provider": exchange.provider or None,
            "status": exchange.status,
            "outcome": exchange.outcome,
            "code": exchange.code or None,
            "attempts": exchange.attempts,
            "bytes_in": len(request.body),
            "bytes_out": sink.sent if sink is not None else 0,
            "ms_head": _ms(exchange.committed - exchange.began) if exchange.committed else None,
            "ms": _ms(now - exchange.began),
        }
    )


def _ms(seconds: float) -> float:
    """Milliseconds with two decimals; ``round`` would cost three times as much."""
    return int(seconds * 100_000) / 100


class Recorder:
    """Counts an exchange, and writes its line."""

    __slots__ = ("_count", "_lines")

    def __init__(self, count: Callable[[Record, float], None], lines: LineWriter) -> None:
        self._count = count
        self._lines = lines

    def ended(self, record: Record, now: float) -> None:
        """The exchange is over; ``now`` is in monotonic seconds."""
        self._count(record, now)
        self._lines.write(access_line(record, now))
