"""The process log: standard logging to standard error, one line per record.

A thread writes it: whoever does not read our standard error must not stop the event loop. What cannot be written is
dropped.
"""

from __future__ import annotations

import logging
from typing import BinaryIO

from onwards_py.observe.access_log import LineWriter


class LineHandler(logging.Handler):
    """Hands records to a `LineWriter`; `close`, which logging calls when the program ends, writes what is queued."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._writer = LineWriter(stream, "log")

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler.emit. Never raises: nothing is worth failing for here."""
        try:
            self._writer.write([self.format(record).encode("utf-8", "backslashreplace")])
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
    # aiohttp would log requests (lines of ours exist) and quote what it could not parse.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
