"""The byte lane, the default door: the shared state of the connections of one listener."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from onwards_py.deadline_timer import DeadlineTimer
from onwards_py.doors.base import DRAIN_GRACE, LINGER_SECONDS, Handler
from onwards_py.doors.lane_connection import LaneConnection
from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.model.snapshot import ServerSettings


class Lane:
    """Makes connections for a listener. One timer checks the timeouts of all of them."""

    def __init__(
        self,
        handler: Handler,
        settings: ServerSettings,
        load: ListenerLoad,
        *,
        hand_over: Callable[[asyncio.Transport, bytes], None],
    ) -> None:
        """``hand_over(transport, data)`` gives a connection, and the bytes read from it, to the other door."""
        self.handler = handler
        self.settings = settings
        self.load = load
        self.hand_over = hand_over
        self.draining = False
        self.connections: set[LaneConnection] = set()
        self.loop = asyncio.get_running_loop()
        self.timer = DeadlineTimer(self._check_timeouts)
        shortest = min(
            settings.header_timeout, settings.body_timeout, settings.send_timeout, settings.keepalive_timeout
        )
        self.shortest_timeout = min(shortest, LINGER_SECONDS)

    def __call__(self) -> LaneConnection:
        """A protocol for a new connection."""
        return LaneConnection(self)

    def drain(self) -> None:
        """Close each connection after its current response.

        An idle connection stays open for a moment: its next request may be on the way, and would be lost if it crossed
        the close.
        """
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        self.loop.call_later(DRAIN_GRACE, self._close_idle)

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            connection.close_if_idle()

    def close(self) -> None:
        """Abort all connections."""
        self.timer.cancel()
        for connection in list(self.connections):
            connection.abort()

    def _check_timeouts(self, now: float) -> float:
        """See `DeadlineTimer`.

        A wait that begins later cannot time out before ``shortest_timeout`` has passed, so it need not set the timer.
        """
        first = now + self.shortest_timeout if self.connections else inf
        for connection in list(self.connections):
            again = connection.check_timeouts(now)
            first = min(first, again)
        return first
