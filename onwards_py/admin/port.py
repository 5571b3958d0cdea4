"""The listener of the admin port: a lane with its own limits.

The lane protects a port that unknown hosts may reach: it has deadlines for heads, limits on reading and buffering, and
sends no banner. The port has few connections, which do not count as client connections.
"""

from __future__ import annotations

import asyncio
import socket

from onwards_py.admin.pages import LISTENER_BOUNDS, AdminPages
from onwards_py.doors.lane import Lane
from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.doors.response_writer import ResponseWriter
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.error_body import send_error

_FULL = "the admin port has its maximum of connections"


class AdminPort:
    """Serves ``pages`` within ``bounds``. Must be created inside the running loop."""

    def __init__(self, pages: AdminPages, bounds: ServerSettings = LISTENER_BOUNDS) -> None:
        load = ListenerLoad(max_refused_open=bounds.max_connections // 2, reason=_FULL)
        self._lane = Lane(pages, bounds, load, hand_over=_refuse_upgrade)
        self._server: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Start to serve connections to ``listener``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._lane, sock=listener, backlog=LISTENER_BOUNDS.max_connections)

    def close(self) -> None:
        """Stop listening, and close all connections."""
        if self._server is not None:
            self._server.close()
        self._lane.close()


def _refuse_upgrade(transport: asyncio.Transport, data: bytes) -> None:
    del data
    send_error(ResponseWriter(transport, 1, False, False), ProxyError(ErrorKind.NO_WEBSOCKET))
    transport.close()
