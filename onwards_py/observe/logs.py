"""The process log: standard logging to standard error, one line per record."""

from __future__ import annotations

import logging
import sys


def configure(level: str) -> None:
    """Log records of ``level`` (a name, any case) and above. Standard output is left to the access log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # aiohttp would log requests (lines of ours exist) and quote what it could not parse.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
