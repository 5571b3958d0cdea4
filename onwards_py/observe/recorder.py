"""Recording exchanges: rows are queued, then counted and written in batches.

This does not delay the client, and a loop over hundreds of rows runs from warm CPU caches: the same work between two
requests costs twice as much.
"""

from __future__ import annotations

from collections.abc import Callable

from onwards_py.observe.access_log import LineWriter, access_line
from onwards_py.observe.log_row import LogRow
from onwards_py.observe.metrics import Metrics

_SECONDS = 0.25
_MOST = 512


class Recorder:
    """Feeds metrics and access log. ``call_later(seconds, callback)`` schedules on the event loop.

    ``to_wall`` returns the number that converts the seconds in rows to Unix time by addition; it changes when the
    system's clock is set.
    """

    __slots__ = ("_call_later", "_lines", "_metrics", "_pending", "_scheduled", "_to_wall")

    def __init__(
        self,
        metrics: Metrics,
        lines: LineWriter,
        call_later: Callable[[float, Callable[[], None]], object],
        to_wall: Callable[[], float],
    ) -> None:
        self._metrics = metrics
        self._lines = lines
        self._call_later = call_later
        self._pending: list[LogRow] = []
        self._scheduled = False
        self._to_wall = to_wall

    def record(self, row: LogRow) -> None:
        """Count and log a completed exchange."""
        pending = self._pending
        pending.append(row)
        if len(pending) >= _MOST:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._call_later(_SECONDS, self._flush_later)

    def flush(self) -> None:
        """Count and write the queued rows."""
        rows, self._pending = self._pending, []
        to_wall = self._to_wall()
        lines = []
        for row in rows:
            self._metrics.record(row)
            lines.append(access_line(row, to_wall))
        self._lines.write(lines)

    def _flush_later(self) -> None:
        self._scheduled = False
        self.flush()
