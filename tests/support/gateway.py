"""The gateway in the test's own event loop, on a free port, behind either door."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from onwards_py.app import Application
from onwards_py.config.serve_options import ServeOptions
from onwards_py.model.snapshot import Snapshot


class Gateway:
    """A running gateway. ``log`` holds the access-log lines once it has stopped."""

    def __init__(self, application: Application, port: int, admin_port: int, log: io.BytesIO) -> None:
        self.application = application
        self.port = port
        self.admin_port = admin_port
        self.log = log

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def held_permits(self) -> int:
        """Permits held by exchanges, over all targets and providers."""
        targets = self.application.holder.current.table.targets
        return sum(t.limiter.in_flight + sum(m.limiter.in_flight for m in t.endpoints) for t in targets)

    def lines(self) -> list[Mapping[str, object]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def free_socket() -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    listener.setblocking(False)
    return listener


@asynccontextmanager
async def running(snapshot: Snapshot, *, lane: bool, listener: socket.socket | None = None) -> AsyncIterator[Gateway]:
    """Run a gateway; at the end no permit may be held and no exchange may go on."""
    listener = listener or free_socket()
    options = ServeOptions(Path("none"), "127.0.0.1", 0, "127.0.0.1", 0, lane, admin_allowed_hosts=("gw",))
    log = _KeptBytes()
    application = Application(snapshot, options, listener, log)
    await application.start()
    gateway = Gateway(application, listener.getsockname()[1], application.admin_port, log)
    cut_now = asyncio.Event()
    try:
        yield gateway
        for _ in range(200):  # a client that has just left is noticed within a few turns
            if not application.proxy.in_flight:
                break
            await asyncio.sleep(0.01)
        assert application.proxy.in_flight == 0, "an exchange is still going on"
        assert gateway.held_permits() == 0, "a permit leaked"
    finally:
        cut_now.set()
        await application.stop(cut_now)


class _KeptBytes(io.BytesIO):
    def close(self) -> None:
        """Keep the bytes for the test."""
