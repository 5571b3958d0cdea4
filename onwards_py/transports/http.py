"""The HTTP transport: keep-alive pools by origin, and the one retry that is always safe."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import inf

from onwards_py.deadline_timer import DeadlineTimer
from onwards_py.messages import Fault
from onwards_py.model.pool import Pool
from onwards_py.model.provider import Origin, Provider
from onwards_py.model.snapshot import HttpPoolSettings
from onwards_py.transports.base import OutboundRequest, TransportError
from onwards_py.transports.connection import ClosedBeforeResponse, UpstreamConnection
from onwards_py.transports.dial import dial
from onwards_py.transports.loop_detector import LoopDetector
from onwards_py.transports.round_trip import RoundTrip
from onwards_py.transports.send_queue import SendQueue
from onwards_py.transports.tls_connection import TlsConnection

REPEAT_WITHIN = 1.0
"""If a kept connection is closed within this number of seconds, the server closed it before the request arrived.

A reset takes one round trip, and one retransmission at most (RFC 6298: 1 s).
Later, the server may have worked on the request (decision 17).
"""

# The settings of an origin that is no longer configured: its connections close after their current exchange.
_RETIRED = HttpPoolSettings(max_idle_per_host=0)


class OriginPool:
    """Connections to one origin. The idle ones are a stack: the next request uses the most recently used one."""

    __slots__ = ("_loop", "_loop_detector", "_queue", "_timer", "connections", "idle", "opening", "origin", "settings")

    def __init__(
        self,
        origin: Origin,
        settings: HttpPoolSettings,
        queue: SendQueue,
        loop_detector: LoopDetector,
        timer: DeadlineTimer,
    ) -> None:
        self._queue = queue
        self._loop_detector = loop_detector
        self._timer = timer
        self._loop = asyncio.get_running_loop()
        self.origin = origin
        self.settings = settings
        self.idle: list[UpstreamConnection] = []
        self.connections: set[UpstreamConnection] = set()
        self.opening = 0

    def reconfigure(self, origin: Origin, settings: HttpPoolSettings) -> None:
        """Use other settings, and close idle connections beyond them. ``origin`` equals the current one."""
        self.origin = origin
        self.settings = settings
        for connection in self.idle[: max(0, len(self.idle) - settings.max_idle_per_host)]:
            connection.close_idle()

    async def open(self, seconds: float) -> UpstreamConnection:
        """A new connection, within ``seconds``. Raises TransportError."""
        connection_type = TlsConnection if self.origin.tls else UpstreamConnection
        connection = connection_type(self.released, self.lost, self._queue, self._loop_detector, self._timer)
        self.opening += 1
        try:
            await self._loop.create_task(dial(self.origin, connection, seconds))
        except asyncio.CancelledError:
            connection.close_idle()  # it may have been made in the turn of the cancellation
            raise
        finally:
            self.opening -= 1
        self.connections.add(connection)
        return connection

    def released(self, connection: UpstreamConnection) -> None:
        """The connection may serve another request."""
        if len(self.idle) >= self.settings.max_idle_per_host:
            connection.close_idle()
            return
        connection.idle_since = now = self._loop.time()
        self.idle.append(connection)
        if now + self.settings.idle_timeout < self._timer.at:
            self._timer.schedule(now + self.settings.idle_timeout)

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection has ended."""
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def check_timeouts(self, now: float) -> float:
        """Check all connections. Returns when to check again (inf: not at all), see `DeadlineTimer`."""
        first, idle_timeout = inf, self.settings.idle_timeout
        for connection in list(self.connections):
            again = connection.check_timeouts(now, idle_timeout)
            first = min(first, again)
        return first

    def close(self) -> None:
        for connection in list(self.connections):
            connection.close_idle()


class HttpTransport:
    """Transport over HTTP/1.1. One per process. Must be made inside the running loop."""

    def __init__(
        self,
        settings: HttpPoolSettings,
        loop_detector: LoopDetector | None = None,
        max_connections: int | None = None,
    ) -> None:
        """``max_connections``: from this number on, each new connection replaces an idle one, if there is one."""
        self._settings = settings
        self._max_connections = max_connections
        self._queue = SendQueue()
        self._loop_detector = loop_detector or LoopDetector()
        self._pools: dict[Origin, OriginPool] = {}
        self._by_provider: dict[str, OriginPool] = {}
        self._configured: frozenset[Origin] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = DeadlineTimer(self._check_timeouts)

    async def send(self, provider: Provider, request: OutboundRequest) -> RoundTrip:
        """See Transport.send.

        The server may close an idle connection at the moment when it is chosen.
        If a kept connection is closed without one byte of response, and soon (see REPEAT_WITHIN), the request is sent
        once more, on a new connection.
        Then ``repeated`` of the response or of the error is true.
        ``timeouts.first_byte`` limits both together.
        """
        pool = self._by_provider.get(provider.identity)
        if pool is None or pool.origin is not provider.origin:
            pool = self._pool_for(provider)
        if pool.idle:
            trip: RoundTrip | None = None
            try:
                trip = pool.idle.pop().start(request, provider.timeouts)
                await trip.head_signal
                return trip
            except ClosedBeforeResponse as closed:
                if trip is not None:
                    return await self._repeat(provider, request, closed)
            except asyncio.CancelledError:
                if trip is not None:
                    trip.discard()
                raise
        return await self._send_fresh(provider, request, None)

    def reconfigure(self, settings: HttpPoolSettings, pools: Iterable[Pool]) -> None:
        """Use another configuration. Pools that it does not name remain until their exchanges have ended."""
        self._settings = settings
        named = {provider.origin: provider.origin for pool in pools for provider in pool.providers if provider.origin}
        self._configured = frozenset(named)
        self._by_provider.clear()  # the identities of providers may no longer exist
        self._pools = {
            origin: pool for origin, pool in self._pools.items() if origin in named or pool.connections or pool.opening
        }
        for origin, pool in self._pools.items():
            pool.reconfigure(named.get(origin, origin), self._settings_of(origin))
        self._timer.schedule(self._loop.time())  # the idle timeout may be shorter now

    async def _repeat(self, provider: Provider, request: OutboundRequest, closed: ClosedBeforeResponse) -> RoundTrip:
        """Send the request once more, if the connection was closed early enough."""
        if self._loop.time() - closed.sent_at > REPEAT_WITHIN:
            raise TransportError(Fault.CLOSED, "a kept connection was closed before any response") from closed
        try:
            trip = await self._send_fresh(provider, request, closed.head_deadline)
        except TransportError as error:
            error.repeated = True
            raise
        trip.repeated = True
        return trip

    async def _send_fresh(self, provider: Provider, request: OutboundRequest, head_deadline: float | None) -> RoundTrip:
        """``head_deadline`` replaces the deadline of ``first_byte``."""
        timeouts = provider.timeouts
        seconds = timeouts.connect
        if head_deadline is not None:
            seconds = min(seconds, max(0.0, head_deadline - self._loop.time()))
        if self._max_connections is not None:
            self._evict_idle(self._max_connections)
        connection = await self._pool_for(provider).open(seconds)
        try:
            trip = connection.start(request, timeouts, head_deadline)
            try:
                await trip.head_signal
            except asyncio.CancelledError:
                trip.discard()
                raise
            return trip
        except ClosedBeforeResponse as closed:
            raise TransportError(Fault.CLOSED, "the connection was closed before any response") from closed

    def _evict_idle(self, max_connections: int) -> None:
        """Close the connection that has been idle for longest, if there are ``max_connections`` in all pools."""
        pools = self._pools.values()
        if sum(len(pool.connections) + pool.opening for pool in pools) >= max_connections:
            idle = [pool.idle[0] for pool in pools if pool.idle]
            if idle:
                min(idle, key=lambda connection: connection.idle_since).close_idle()

    def _pool_for(self, provider: Provider) -> OriginPool:
        pool = self._by_provider.get(provider.identity)
        origin = provider.origin
        # An exchange from before a reload may use another origin of the same provider. Most often both are one object.
        if pool is None or (pool.origin is not origin and pool.origin != origin):
            return self._pool_of(provider)
        return pool

    def _settings_of(self, origin: Origin) -> HttpPoolSettings:
        """Sockets belong to local models, which are not in the configuration as origins."""
        known = self._configured is None or origin.socket is not None or origin in self._configured
        return self._settings if known else _RETIRED

    def _pool_of(self, provider: Provider) -> OriginPool:
        origin = provider.origin
        assert origin is not None, "an http provider has an origin"
        pool = self._pools.get(origin)
        if pool is None:
            settings = self._settings_of(origin)
            pool = self._pools[origin] = OriginPool(origin, settings, self._queue, self._loop_detector, self._timer)
        self._by_provider[provider.identity] = pool
        return pool

    def _check_timeouts(self, now: float) -> float:
        # A copy: a timeout resumes its exchange at once, which may make a pool for another provider.
        return min([pool.check_timeouts(now) for pool in list(self._pools.values())], default=inf)

    async def close(self) -> None:
        """Close all connections. Running exchanges end with RESET."""
        for pool in self._pools.values():
            pool.close()
        self._timer.cancel()
