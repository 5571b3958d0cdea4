"""The process log: standard logging to standard error, one line per record.

A standard error that is not read must not block the event loop: a thread writes the lines that cannot be written at
once, and lines that cannot be written at all are dropped.
"""

from __future__ import annotations

import logging
import select
from typing import BinaryIO

from onwards_py.observe.access_log import LineWriter

_AT_ONCE = 4096  # PIPE_BUF of Linux: a ready pipe accepts this much without blocking (pipe(7))


class LineHandler(logging.Handler):
    """Writes records to ``stream``; `close`, which logging calls at exit, writes the queued lines."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._writer = LineWriter(stream, "log")
        self._ready = select.poll()
        self._ready.register(stream, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler.emit. Never raises, because a log line must not abort an exchange."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace")
            if len(line) < _AT_ONCE and self._writer.idle and self._ready.poll(0):
                self._writer.put(line + b"\n")
            else:
                self._writer.write([line])
        except Exception:  # a record that cannot be formatted
            pass

    def close(self) -> None:
        """See logging.Handler.close."""
        self._writer.close()
        super().close()


def configure(level: str, stream: BinaryIO) -> None:
    """Log records of ``level`` (a name, any case) and above to ``stream``."""
    handler = LineHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiohttp would log requests a second time, and quote bytes that it cannot parse.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
