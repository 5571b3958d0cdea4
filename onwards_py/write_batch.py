"""Writes of one loop turn, made together at its end.

A write to a peer that sleeps wakes it up, and on a virtual machine waking costs more than the write. Made one by one,
between two requests' work, each write finds its peer asleep again; made in a row, the first wakes it for all. Nothing
waits for longer than the turn of the loop in which it was ready.
"""

from __future__ import annotations

import asyncio

_MOST = 32


class WriteBatch:
    """Bytes on their way to transports. Whoever writes or closes one of them directly calls `flush` first.

    ``waiting``: the transports that something waits for; empty most of the time. ``flushes`` counts how often something
    was written: as long as it stays the same, what was added has not left.
    """

    __slots__ = ("_data", "_loop", "flushes", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.waiting: list[asyncio.Transport] = []
        self._data: list[bytes] = []
        self.flushes = 0

    def add(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write ``data`` to ``transport`` at the end of this turn, or now if there is enough for a batch."""
        transports = self.waiting
        if not transports:
            self._loop.call_soon(self.flush)
        transports.append(transport)
        self._data.append(data)
        if len(transports) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Write everything now, in order."""
        if not self.waiting:
            return
        self.flushes += 1
        transports, self.waiting = self.waiting, []
        pieces, self._data = self._data, []
        for transport, data in zip(transports, pieces, strict=True):
            if not transport.is_closing():
                transport.write(data)
