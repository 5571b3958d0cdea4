"""The composition root: the only file that knows every room. Start, drain, stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import BinaryIO

import uvloop
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from onwards_py import descriptors, standard_streams
from onwards_py.admin.host_check import is_allowed
from onwards_py.admin.pages import LISTENER_BOUNDS, AdminPages, EngineStatus, Readiness
from onwards_py.admin.port import AdminPort
from onwards_py.admin.status import Status, status_of
from onwards_py.config import listen_address
from onwards_py.config.parse import LoadedConfig, load
from onwards_py.config.reload import Reloader, ReloadStatus
from onwards_py.config.serve_options import ServeOptions
from onwards_py.config.source_files import is_regular
from onwards_py.config.watch import POLL_INTERVAL, ConfigWatcher
from onwards_py.doors.aiohttp_door import AiohttpDoor
from onwards_py.doors.lane import Lane
from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.health_checks import HealthChecks
from onwards_py.live_state import ConfigHolder, LiveState
from onwards_py.memory import MemoryTrimmer
from onwards_py.model.snapshot import ServerSettings, Snapshot
from onwards_py.observe import logs
from onwards_py.observe.access_log import LineWriter
from onwards_py.observe.engine_metrics import EngineMetrics
from onwards_py.observe.metrics import Metrics
from onwards_py.observe.not_found_log import NotFoundLog
from onwards_py.observe.recorder import Recorder
from onwards_py.observe.reload_metrics import ReloadMetrics
from onwards_py.proxy.handler import Proxy
from onwards_py.transports.base import Transports
from onwards_py.transports.echo.transport import EchoTransport
from onwards_py.transports.engine.transport import EngineRegistry, EngineTransport
from onwards_py.transports.http import HttpTransport
from onwards_py.transports.loop_detector import LoopDetector

_log = logging.getLogger("onwards")
_BACKLOG = 4096
_FEW_CLIENTS = 2048  # below this, a limit by file descriptors is worth a warning
# Applied by a reload; every other setting of the listener needs a restart.
_RELOADABLE = frozenset(["drain_timeout", "host"])  # for host see `listen_address.restart_warnings`


class Application:
    """All parts of one process, created inside its running loop. ``listener`` is an argument, so that it can be
    inherited or shared."""

    def __init__(
        self, snapshot: Snapshot, options: ServeOptions, listener: socket.socket, access_log: BinaryIO
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._listener = listener
        self._server_settings = snapshot.server
        clock = time.monotonic  # the clock of uvloop, with a finer resolution than its milliseconds
        self.holder = holder = ConfigHolder(snapshot, LiveState(clock, self._loop.call_soon))
        budget = descriptors.divide(descriptors.limit(), descriptors.in_use(), snapshot.server.max_connections)
        self.descriptors = budget
        settings = replace(snapshot.server, max_connections=budget.clients)
        self._load = ListenerLoad(budget.served_below, budget.refused_below)
        self._lines = LineWriter(access_log)
        self.engines = engines = EngineRegistry()
        self.reload_status = ReloadStatus(options.config, time.time())
        self._started = self._loop.time()
        self._loop_detector = loops = LoopDetector()
        self._http = http = HttpTransport(snapshot.http_pool, loops, budget.providers)
        self._local = EngineTransport(engines, http)
        self._transports = Transports(http, EchoTransport(), self._local)
        self._not_found = not_found = NotFoundLog()
        self.health_checks = HealthChecks(http, clock, random.random, not_found)
        self.metrics = Metrics(
            holder,
            in_flight=lambda: self.proxy.in_flight,
            dropped_lines=lambda: self._lines.dropped,
            open_connections=lambda: self._load.connections,
            refused_connections=lambda: self._load.refused,
        )
        self._recorder = Recorder(self.metrics, self._lines, self._loop.call_later, lambda: time.time() - clock())
        self.metrics.before_collect = self._recorder.flush
        self.proxy = proxy = Proxy(
            holder,
            self._transports,
            self._recorder,
            clock=clock,
            random=random.random,
            started=int(time.time()),
            is_own_connection=loops.is_own_connection,
            not_found=not_found,
        )
        self._memory = MemoryTrimmer(lambda: self._load.buffered)
        self._door = AiohttpDoor(proxy, settings, self._load)
        self._lane = Lane(proxy, settings, self._load, hand_over=self._door.take_over) if options.lane else None
        self._server: asyncio.Server | None = None
        self._addresses = listen_address.addresses(options, snapshot)
        self.admin_host = self._addresses["admin port"]
        self._admin = AdminPort(self._admin_pages(), replace(LISTENER_BOUNDS, max_connections=budget.admin))
        self._config_watcher: ConfigWatcher | None = None
        self.admin_port = 0
        self._ready = self._was_ready = False

    async def start(self) -> None:
        """Open the admin port, then the listener. Raises OSError."""
        self._local.reconfigure(self.holder.current.snapshot.pools.values())
        self.health_checks.adopt(self.holder.current.table.targets)
        admin_listener = _listen(self.admin_host, self._options.admin_port, "admin port", "--admin-")
        self.admin_host, self.admin_port = admin_listener.getsockname()[:2]
        await self._admin.listen(admin_listener)
        factory: Callable[[], asyncio.BaseProtocol] = self._lane or self._door
        tls = _tls(self._options)
        self._loop_detector.port = self._listener.getsockname()[1]
        self._server = await self._loop.create_server(
            factory, sock=self._listener, ssl=tls, backlog=_BACKLOG,
            # A client that does not finish the handshake holds a descriptor, but is not counted yet.
            ssl_handshake_timeout=self._server_settings.header_timeout if tls is not None else None,
        )  # fmt: skip
        self._ready = True

    def _admin_pages(self) -> AdminPages:
        registry = CollectorRegistry()
        registry.register(self.metrics)
        registry.register(self.metrics.pools)
        registry.register(EngineMetrics(self.engines.all))
        registry.register(ReloadMetrics(self.reload_status))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        return AdminPages(
            registry,
            self._readiness,
            self._status,
            lambda host: is_allowed(
                host, listen_address.allowed_hosts(self._options, self.holder.current.snapshot), self.admin_host
            ),
        )

    def _readiness(self) -> Readiness:
        """Ready: requests are accepted, and the loading of every eager model has succeeded or failed."""
        engines = [
            EngineStatus(engine.name, engine.settings.engine, engine.settings.model, engine.state.value)
            for engine in self.engines.all()
        ]
        if not self._ready:
            return Readiness("draining", engines)
        # A model that a reload adds does not make the proxy unready for other requests.
        self._was_ready = self._was_ready or not any(engine.starting for engine in self.engines.all())
        return Readiness("ready" if self._was_ready else "loading", engines)

    def _status(self) -> Status:
        return status_of(self.reload_status, self.holder.current.table.targets, self._loop.time() - self._started)

    def follow(self, loaded: LoadedConfig, env: Mapping[str, str]) -> ConfigWatcher:
        """Start hot reload of the files from which ``loaded``, the active configuration, was read. Without
        ``options.watch``, only `ConfigWatcher.request_reload` reloads."""
        path = self._options.config
        watch = self._options.watch and is_regular(path)
        if self._options.watch and not watch:
            _log.info("%s is not a regular file and is not watched", path)
        self.reload_status.describe(loaded)
        reloader = Reloader(path, env, loaded)
        self._config_watcher = ConfigWatcher(reloader, self.reload_status, self.apply, POLL_INTERVAL if watch else None)
        return self._config_watcher

    def apply(self, loaded: LoadedConfig) -> None:
        """Apply a configuration; exchanges in flight keep the one with which they began."""
        snapshot = loaded.snapshot
        self.holder.replace(snapshot)
        self._not_found.forget()
        self._http.reconfigure(snapshot.http_pool, snapshot.pools.values())
        self._local.reconfigure(snapshot.pools.values())
        self.health_checks.adopt(self.holder.current.table.targets)
        late = _differences(self._server_settings, snapshot.server)
        exposed = listen_address.exposure_warnings(self._listener.getsockname()[0], listen_address.LOOPBACK, snapshot)
        moved = listen_address.restart_warnings(self._addresses, listen_address.addresses(self._options, snapshot))
        for warning in (*exposed, *moved):
            _log.warning("%s", warning)
        if late:
            _log.warning("server: changed settings that need a restart: %s", ", ".join(late))

    async def stop(self, cut_now: asyncio.Event) -> None:
        """Become unready, stop accepting, wait for exchanges until the drain timeout or ``cut_now``, abort the rest."""
        self._ready = False
        if self._lane is not None:
            self._lane.drain()
        self._door.drain()
        if self._config_watcher is not None:
            await self._config_watcher.close()
        for _ in range(3):  # accept connections that are already established
            await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()
        drain_timeout = self.holder.current.snapshot.server.drain_timeout
        await self._until(lambda: not self.proxy.in_flight, drain_timeout, cut_now)
        if self.proxy.in_flight:
            _log.warning("aborting %d unfinished exchanges", self.proxy.in_flight)
        else:
            await self._flush(cut_now)
        await self._close()

    async def _flush(self, cut_now: asyncio.Event) -> None:
        """Wait until slow clients have received the end of their responses."""
        await self._until(lambda: not self._load.connections, 5.0, cut_now)

    async def _until(self, condition: Callable[[], bool], seconds: float, cut_now: asyncio.Event) -> None:
        """Wait for ``condition``, for ``seconds`` at most; ``cut_now`` ends the wait."""
        deadline = self._loop.time() + seconds
        while not condition() and self._loop.time() < deadline and not cut_now.is_set():
            try:
                await asyncio.wait_for(cut_now.wait(), 0.02)
            except TimeoutError:
                pass

    async def _close(self) -> None:
        self.holder.close_queues()
        if self._lane is not None:
            self._lane.close()
        await self._door.close()
        self._memory.close()
        self.health_checks.close()
        await self._transports.http.close()
        await self._transports.echo.close()
        await self._transports.engines.close()
        self._admin.close()
        self._recorder.flush()
        self._lines.close()


def _differences(now: ServerSettings, wanted: ServerSettings) -> list[str]:
    """Names of changed settings that need a restart."""
    names = [field.name for field in fields(ServerSettings) if field.name not in _RELOADABLE]
    return [name for name in names if getattr(now, name) != getattr(wanted, name)]


def _tls(options: ServeOptions) -> ssl.SSLContext | None:
    if options.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _listen(host: str, port: int, what: str, options: str) -> socket.socket:
    """Create a listening socket. ``what`` and ``options``, the prefix of its options, are for the text of OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6 and host == "::":
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        listener.bind((host, port))
    except (OSError, TypeError) as error:  # TypeError: a name that IDNA rejects
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise OSError(
            f"the {what} cannot listen on {listen_address.bracket_ipv6(host)}:{port}: {reason}; "
            f"choose another with {options}host, {options}port"
        ) from error
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


async def _run(loaded: LoadedConfig, options: ServeOptions) -> None:
    snapshot = loaded.snapshot
    listener = _listen(listen_address.client_host(options.host, snapshot), options.port, "client port", "--")
    application = Application(snapshot, options, listener, standard_streams.unbuffered(sys.stdout))
    loop = asyncio.get_running_loop()
    stop, cut_now = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            cut_now.set()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, application.follow(loaded, dict(os.environ)).request_reload)
    await application.start()
    host, port = listener.getsockname()[:2]
    for warning in listen_address.exposure_warnings(host, application.admin_host, snapshot):
        _log.warning("%s", warning)
    if options.host is None and snapshot.server.host is None and listen_address.is_loopback(host):
        _log.info(
            "no target requires a key: the client port is reachable from this machine only; --host or server.host "
            "changes that"
        )
    scheme = "https" if options.tls_cert else "http"
    _log.info("listening on %s://%s:%d, %d targets, lane %s; admin port http://%s:%d",
              scheme, listen_address.bracket_ipv6(host), port, len(snapshot.pools), "on" if options.lane else "off",
              listen_address.bracket_ipv6(application.admin_host), application.admin_port)  # fmt: skip
    budget = application.descriptors
    if budget.clients < snapshot.server.max_connections:
        _log.log(logging.WARNING if budget.clients < _FEW_CLIENTS else logging.INFO,
                 "%d file descriptors (ulimit -Hn) suffice for %d clients, not for server.max_connections (%d)",
                 budget.limit, budget.clients, snapshot.server.max_connections)  # fmt: skip
    # Existing objects live as long as the process: exclude them from garbage collection.
    gc.collect()
    gc.freeze()
    # Exchanges create no reference cycles, so frequent collections would free no memory.
    gc.set_threshold(100_000, 20, 50)
    await stop.wait()
    _log.info("stopping: waiting for exchanges to finish")
    await application.stop(cut_now)
    _log.info("stopped")


def serve(options: ServeOptions) -> int:
    """Run until a signal stops it. Raises ConfigError; returns the exit code: 0, or 1 after a run-time failure."""
    logs.configure(options.log_level, standard_streams.unbuffered(sys.stderr))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # ignored before the first load, which reads the file anyway
    before, now = descriptors.raise_limit()
    if before != now:
        _log.info("the limit of open file descriptors was raised from %d to %d", before, now)
    loaded = load(options.config, os.environ)
    for warning in loaded.warnings:
        _log.warning("%s", warning)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(loaded, options))
    except (OSError, ssl.SSLError) as error:
        _log.error("cannot serve: %s", error)
        return 1
    return 0
