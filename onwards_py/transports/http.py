"""The HTTP transport: keep-alive pools by origin, and the one repetition that is always safe."""

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
from onwards_py.transports.tls_connection import TlsConnection
from onwards_py.write_batch import WriteBatch

REPEAT_WITHIN = 1.0
"""Seconds after a request was sent on a kept connection in which its death still means that the server had closed it
before the request came: a reset takes one round trip, and one retransmission at most (RFC 6298: 1 s). Later the server
may as well have worked on the request (see decision 17)."""
# Of an origin that no configuration names any more: connections end with the exchange that they carry.
_RETIRED = HttpPoolSettings(max_idle_per_host=0)


class OriginPool:
    """Connections to one origin. The idle ones are a stack: the warmest serves next, the coldest times out."""

    __slots__ = ("_batch", "_loop", "_loop_detector", "_timer", "connections", "idle", "opening", "origin", "settings")

    def __init__(
        self,
        origin: Origin,
        settings: HttpPoolSettings,
        batch: WriteBatch,
        loop_detector: LoopDetector,
        timer: DeadlineTimer,
    ) -> None:
        self._timer = timer
        self._batch = batch
        self._loop_detector = loop_detector
        self.origin = origin
        self.settings = settings
        self.idle: list[UpstreamConnection] = []
        self.connections: set[UpstreamConnection] = set()
        self.opening = 0
        self._loop = asyncio.get_running_loop()

    def adopt(self, origin: Origin, settings: HttpPoolSettings) -> None:
        """Take over other settings; ``origin`` is equal to the one so far. Idle connections beyond them are closed."""
        self.origin = origin
        self.settings = settings
        for connection in self.idle[: max(0, len(self.idle) - settings.max_idle_per_host)]:
            connection.close_idle()

    async def open(self, seconds: float) -> UpstreamConnection:
        """A new connection, within ``seconds``. Raises TransportError."""
        kind = TlsConnection if self.origin.tls else UpstreamConnection
        connection = kind(self.released, self.lost, self._batch, self._loop_detector, self._timer)
        self.opening += 1
        try:
            await self._loop.create_task(dial(self.origin, connection, seconds))
        except asyncio.CancelledError:
            connection.close_idle()  # it may have been made in the very turn of the cancellation
            raise
        finally:
            self.opening -= 1
        self.connections.add(connection)
        return connection

    def released(self, connection: UpstreamConnection) -> None:
        if len(self.idle) >= self.settings.max_idle_per_host:
            connection.close_idle()
            return
        connection.idle_since = now = self._loop.time()
        self.idle.append(connection)
        if now + self.settings.idle_timeout < self._timer.at:
            self._timer.schedule(now + self.settings.idle_timeout)

    def lost(self, connection: UpstreamConnection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def sweep(self, now: float) -> float:
        """Look after every connection's timeouts; returns when to look again (inf: not at all), see `DeadlineTimer`."""
        first, idle_timeout = inf, self.settings.idle_timeout
        for connection in list(self.connections):
            again = connection.check(now, idle_timeout)
            first = min(first, again)
        return first

    def close(self) -> None:
        for connection in list(self.connections):
            connection.close_idle()


class HttpTransport:
    """Transport over HTTP/1.1. One per process; must be made inside the running loop.

    ``max_connections``: from so many connections on, each new one takes the place of an idle one, if there is any.
    """

    def __init__(
        self,
        settings: HttpPoolSettings,
        batch: WriteBatch,
        loop_detector: LoopDetector | None = None,
        max_connections: int | None = None,
    ) -> None:
        self._settings = settings
        self._max_connections = max_connections
        self._batch = batch
        self._loop_detector = loop_detector or LoopDetector()
        self._pools: dict[Origin, OriginPool] = {}
        self._by_provider: dict[str, OriginPool] = {}
        self._named: frozenset[Origin] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer = DeadlineTimer(self._sweep)

    async def send(self, provider: Provider, request: OutboundRequest) -> RoundTrip:
        """See Transport.send.

        A pooled connection may have been closed by the server at the very moment we chose it. If such a reused
        connection dies without one byte of response, and soon (see REPEAT_WITHIN), the request goes out once more, on
        a fresh one, and ``repeated`` of the response or of the error says so. ``first_byte`` is for both together.
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
                    return await self._resend(provider, request, closed)
            except asyncio.CancelledError:
                if trip is not None:
                    trip.discard()
                raise
        return await self._send_fresh(provider, request, None)

    def adopt(self, settings: HttpPoolSettings, pools: Iterable[Pool]) -> None:
        """Take over another configuration. What it does not name is left to the exchanges that still use it."""
        self._settings = settings
        named = {provider.origin: provider.origin for pool in pools for provider in pool.providers if provider.origin}
        self._named = frozenset(named)
        self._by_provider.clear()  # identities may be gone
        self._pools = {
            origin: pool for origin, pool in self._pools.items() if origin in named or pool.connections or pool.opening
        }
        for origin, pool in self._pools.items():
            pool.adopt(named.get(origin, origin), self._settings_of(origin))
        self._timer.schedule(self._loop.time())  # idle connections may have less time from now on

    async def _resend(self, provider: Provider, request: OutboundRequest, closed: ClosedBeforeResponse) -> RoundTrip:
        """The one repetition, if the connection died early enough for it."""
        if self._loop.time() - closed.sent_at > REPEAT_WITHIN:
            raise TransportError(Fault.CLOSED, "a kept connection was closed before any response") from closed
        try:
            trip = await self._send_fresh(provider, request, closed.due)
        except TransportError as error:
            error.repeated = True
            raise
        trip.repeated = True
        return trip

    async def _send_fresh(self, provider: Provider, request: OutboundRequest, due: float | None) -> RoundTrip:
        """``due``: until when the head is waited for, if that is not ``first_byte`` from now on."""
        timeouts = provider.timeouts
        seconds = timeouts.connect if due is None else min(timeouts.connect, max(0.0, due - self._loop.time()))
        if self._max_connections is not None:
            self._evict_idle(self._max_connections)
        connection = await self._pool_for(provider).open(seconds)
        try:
            trip = connection.start(request, timeouts, due)
            try:
                await trip.head_signal
            except asyncio.CancelledError:
                trip.discard()
                raise
            return trip
        except ClosedBeforeResponse as closed:
            raise TransportError(Fault.CLOSED, "the connection was closed before any response") from closed

    def _evict_idle(self, max_connections: int) -> None:
        """Close the idle connection that has been so for longest, if there are ``max_connections`` in all pools."""
        pools = self._pools.values()
        if sum(len(pool.connections) + pool.opening for pool in pools) >= max_connections:
            idle = [pool.idle[0] for pool in pools if pool.idle]
            if idle:
                min(idle, key=lambda connection: connection.idle_since).close_idle()

    def _pool_for(self, provider: Provider) -> OriginPool:
        pool = self._by_provider.get(provider.identity)
        origin = provider.origin
        # Exchanges from before a reload may want the same provider at another origin. Most often both are one object.
        if pool is None or (pool.origin is not origin and pool.origin != origin):
            return self._pool_of(provider)
        return pool

    def _settings_of(self, origin: Origin) -> HttpPoolSettings:
        """Sockets are those of local models, which are not in the configuration as origins."""
        known = self._named is None or origin.socket is not None or origin in self._named
        return self._settings if known else _RETIRED

    def _pool_of(self, provider: Provider) -> OriginPool:
        origin = provider.origin
        assert origin is not None, "an http provider has an origin"
        pool = self._pools.get(origin)
        if pool is None:
            settings = self._settings_of(origin)
            pool = self._pools[origin] = OriginPool(origin, settings, self._batch, self._loop_detector, self._timer)
        self._by_provider[provider.identity] = pool
        return pool

    def _sweep(self, now: float) -> float:
        # A copy: a timeout resumes its exchange on the spot, which may go on to a provider never asked before.
        return min([pool.sweep(now) for pool in list(self._pools.values())], default=inf)

    async def close(self) -> None:
        """Close every connection; exchanges that still run see a reset."""
        for pool in self._pools.values():
            pool.close()
        self._timer.cancel()
