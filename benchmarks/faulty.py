"""A provider of the bench that can be made to fail, and to be well again, while load goes on."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
from collections.abc import AsyncIterator

from benchmarks import traffic, upstream


class Mode(enum.Enum):
    """What becomes of a request, or of an attempt to connect."""

    WELL = "well"
    REFUSING = "refusing"
    HANGING = "hanging"
    ERROR = "answering 500"
    RATE_LIMITED = "answering 429"
    CUTTING = "cutting before commit"


_ANSWERS = {
    Mode.ERROR: traffic.response(
        b'{"error":{"message":"The server had an error","type":"server_error"}}', "500 Internal Server Error"
    ),
    Mode.RATE_LIMITED: traffic.response(
        b'{"error":{"message":"Too many requests","type":"requests"}}', "429 Too Many Requests", ["Retry-After: 1"]
    ),
}


class FaultyProvider:
    """Listens on a port of its own, except while it refuses.

    ``requests`` counts what arrived whole. ``answered_at`` is the loop's time at which the first request since the last
    change of mode was answered as a well provider does.
    """

    def __init__(self) -> None:
        self.mode = Mode.WELL
        self.requests = 0
        self.answered_at: float | None = None
        self.answered = asyncio.Event()
        self.phases = upstream.Phases()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        # Bound, but not listening: the port stays ours while connections to it are refused.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.port: int = self._holder.getsockname()[1]

    async def become(self, mode: Mode) -> None:
        """Behave like this from now on; when refusing, connections that are open are closed too. Raises OSError."""
        self.mode = mode
        self.answered_at = None
        self.answered.clear()
        if mode is Mode.REFUSING:
            await self._stop_listening()
        elif self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(
                lambda: _Connection(self), "127.0.0.1", self.port, reuse_port=True, backlog=4096
            )

    async def close(self) -> None:
        """Close everything, the port too."""
        await self._stop_listening()
        self._holder.close()

    async def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self._connections):
            connection.close()
        if server is not None:
            await server.wait_closed()

    def came(self, connection: _Connection) -> None:
        """A connection was made."""
        self._connections.add(connection)

    def went(self, connection: _Connection) -> None:
        """A connection is at its end."""
        self._connections.discard(connection)

    def answers_well(self) -> None:
        """A request is answered as it should be."""
        if self.answered_at is None:
            self.answered_at = asyncio.get_running_loop().time()
            self.answered.set()


class _Connection(upstream.Provider):
    """One connection: each request is met as the provider's mode at that moment says."""

    def __init__(self, provider: FaultyProvider) -> None:
        super().__init__(provider.phases)
        self._provider = provider

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._provider.came(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._provider.went(self)

    def answer(self, request: bytes) -> None:
        provider = self._provider
        provider.requests += 1
        if provider.mode is Mode.WELL:
            provider.answers_well()
            super().answer(request)
        elif provider.mode is Mode.CUTTING or provider.mode is Mode.REFUSING:
            self.close()
        elif provider.mode is not Mode.HANGING:
            self.write(_ANSWERS[provider.mode])


@contextlib.asynccontextmanager
async def faulty_providers(count: int) -> AsyncIterator[list[FaultyProvider]]:
    """Run so many providers in this loop; all are well at first."""
    providers = [FaultyProvider() for _ in range(count)]
    try:
        for provider in providers:
            await provider.become(Mode.WELL)
        yield providers
    finally:
        for provider in providers:
            await provider.close()
