"""Requests that were queued in one turn of the event loop are sent together at its end.

A write wakes the peer that waits for it, and on a virtual machine the wake-up costs more than the write.
If each write follows the work for its request, the peer is asleep again at each write.
Consecutive writes wake it once.
A request waits at most until the end of the turn in which it was queued.

uvloop does the same with all writes, but at a time that it does not report.
A connection must know whether its request has left: bytes that arrive before cannot be the response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onwards_py.transports.connection import UpstreamConnection

MAX_QUEUED: Final = 32
"""If this number of connections is queued, they are flushed at once."""


class SendQueue:
    """Connections with an ``unsent`` request.

    To queue a connection: schedule `flush` for the end of the turn if ``connections`` is empty, and append to it.
    """

    __slots__ = ("connections",)

    def __init__(self) -> None:
        self.connections: list[UpstreamConnection] = []

    def flush(self) -> None:
        """Send all queued requests, in order."""
        connections, self.connections = self.connections, []
        for connection in connections:
            pieces, connection.unsent = connection.unsent, ()
            transport = connection.transport
            if pieces and transport is not None and not transport.is_closing():
                for piece in pieces:
                    transport.write(piece)
