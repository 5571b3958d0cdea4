"""The HTTP transport: keep-alive pools by origin, and the one repetition that is always safe."""

from __future__ import annotations

import asyncio

from onwards_py.config.snapshot import HttpPoolSettings
from onwards_py.deadlines import Deadlines, DeadlineTable
from onwards_py.messages import Fault
from onwards_py.routing.model import Origin, Provider
from onwards_py.transports.base import OutboundRequest, TransportError
from onwards_py.transports.connection import Died, UpstreamConnection
from onwards_py.transports.dial import dial
from onwards_py.transports.round_trip import RoundTrip

_SWEEP_SECONDS = 1.0


class OriginPool:
    """Connections to one origin. The idle ones are a stack: the warmest serves next, the coldest times out."""

    __slots__ = ("_loop", "_sweeper", "connections", "idle", "origin", "settings")

    def __init__(self, origin: Origin, settings: HttpPoolSettings) -> None:
        self.origin = origin
        self.settings = settings
        self.idle: list[UpstreamConnection] = []
        self.connections: set[UpstreamConnection] = set()
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    async def open(self, seconds: float) -> UpstreamConnection:
        """A new connection, within ``seconds``. Raises TransportError."""
        connection = UpstreamConnection(self.released, self.lost)
        try:
            await self._loop.create_task(dial(self.origin, connection, seconds))
        except asyncio.CancelledError:
            connection.cut_idle()  # it may have been made in the very turn of the cancellation
            raise
        self.connections.add(connection)
        return connection

    def released(self, connection: UpstreamConnection) -> None:
        if len(self.idle) >= self.settings.max_idle_per_host:
            connection.cut_idle()
            return
        connection.idle_since = self._loop.time()
        self.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def lost(self, connection: UpstreamConnection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self.connections):
            connection.cut_idle()

    def _sweep(self) -> None:
        """Close what has idled too long; the oldest lie at the bottom of the stack."""
        self._sweeper = None
        oldest = self._loop.time() - self.settings.idle_timeout
        while self.idle and self.idle[0].idle_since <= oldest:
            self.idle[0].cut_idle()
        if self.idle:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)


class HttpTransport:
    """Transport over HTTP/1.1. One per process; must be made inside the running loop."""

    def __init__(self, settings: HttpPoolSettings) -> None:
        self._settings = settings
        self._pools: dict[Origin, OriginPool] = {}
        self._by_provider: dict[str, OriginPool] = {}
        self._deadlines = DeadlineTable(asyncio.get_running_loop())

    async def send(self, provider: Provider, request: OutboundRequest) -> RoundTrip:
        """See Transport.send.

        A pooled connection may have been closed by the server at the very moment we chose it. If such a
        reused connection dies without one byte of response, the request goes out once more, on a fresh one.
        """
        pool = self._by_provider.get(provider.identity)
        if pool is None:
            pool = self._pool_of(provider)
        first_byte = self._deadlines.of(provider.timeouts.first_byte)
        if pool.idle:
            trip: RoundTrip | None = None
            try:
                trip = pool.idle.pop().start(request, first_byte, provider.timeouts.idle)
                return await trip.head_signal
            except Died:
                pass
            except asyncio.CancelledError:
                if trip is not None:
                    trip.discard()
                raise
        return await self._send_fresh(pool, provider, request, first_byte)

    async def _send_fresh(
        self, pool: OriginPool, provider: Provider, request: OutboundRequest, first_byte: Deadlines
    ) -> RoundTrip:
        connection = await pool.open(provider.timeouts.connect)
        try:
            trip = connection.start(request, first_byte, provider.timeouts.idle)
            try:
                return await trip.head_signal
            except asyncio.CancelledError:
                trip.discard()
                raise
        except Died as died:
            raise TransportError(Fault.CLOSED, "the connection was closed before any response") from died

    def _pool_of(self, provider: Provider) -> OriginPool:
        origin = provider.origin
        assert origin is not None, "an http provider has an origin"
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = OriginPool(origin, self._settings)
        self._by_provider[provider.identity] = pool
        return pool

    async def close(self) -> None:
        """Close every connection; exchanges that still run see a reset."""
        for pool in self._pools.values():
            pool.close()
        self._deadlines.close()
