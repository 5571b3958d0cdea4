"""One upstream and the proxies in front of it, started for a time and always stopped."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import uvloop

from benchmarks import load, processes, traffic
from benchmarks.peers import Peer, PeerMissing, Place
from benchmarks.processes import Running

T = TypeVar("T")
_READY_SECONDS = 10.0


def say(message: str) -> None:
    """Print progress; results go to standard output, this does not."""
    print(message, file=sys.stderr, flush=True)


def run(work: Coroutine[object, object, T]) -> T:
    """Run ``work`` on a fresh uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextlib.contextmanager
def upstream(directory: Path) -> Iterator[Running]:
    """Run a provider on the core of the load."""
    port = processes.free_port()
    argv = [sys.executable, "-m", "benchmarks.upstream", "--port", str(port)]
    running = processes.start("upstream", argv, port, core=processes.LOAD_CORE, log=directory / f"upstream-{port}.log")
    try:
        yield running
    finally:
        running.stop()


def start_peer(peer: Peer, directory: Path, upstream_port: int, spare_upstream_port: int | None = None) -> Running:
    """Start ``peer`` on its core and see that it answers. Raises PeerMissing, StartError, LoadError."""
    home = Path(tempfile.mkdtemp(prefix=f"{peer.name}-", dir=directory))
    place = Place(home, processes.free_port(), processes.free_port(), upstream_port, spare_upstream_port)
    log = home / "output.log"
    argv, patience = peer.command(place), peer.start_seconds
    running = processes.start(peer.name, argv, place.port, core=processes.PROXY_CORE, log=log, patience=patience)
    try:
        _prove(running)
    except BaseException:
        running.stop()
        raise
    return running


def _prove(running: Running) -> None:
    """See that answers and a stream come through whole; some listen a while before they know their upstream."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            _prove_once(running)
        except load.LoadError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _prove_once(running: Running) -> None:
    request = traffic.chat_request(running.port)
    whole = run(load.UnaryLoad(running.port, request, connections=1, count=20).run(lambda: 0, patience=15))
    stream = load.StreamLoad(running.port, streams=1, events=5, interval_ms=5)
    run(stream.run(lambda: 0, patience=15))
    if whole.units != 20 or stream.whole != 1:
        raise load.LoadError(f"{whole.units} of 20 answers, {stream.whole} of 1 streams came through")


def try_start(peer: Peer, start: Callable[[], Running]) -> Running | None:
    """Start a peer; on failure say why it is left out and return None."""
    try:
        return start()
    except (PeerMissing, processes.StartError, load.LoadError) as error:
        say(f"-- {peer.name} is left out: {error}")
        return None


def usable(peers: list[Peer], directory: Path) -> list[Peer]:
    """Start each peer once; return those that work here, and name the versions."""
    found = []
    with upstream(directory) as provider:
        for peer in peers:
            running = try_start(peer, lambda peer=peer: start_peer(peer, directory, provider.port))  # type: ignore[misc]
            if running is not None:
                running.stop()
                print(f"{peer.name}: {peer.version()}", flush=True)
                found.append(peer)
    return found


@contextlib.contextmanager
def fleet(peers: list[Peer], directory: Path) -> Iterator[dict[str, Running]]:
    """Run an upstream and all peers that can be started, by name."""
    started: dict[str, Running] = {}
    with upstream(directory) as provider:
        try:
            for peer in peers:
                running = try_start(peer, lambda peer=peer: start_peer(peer, directory, provider.port))  # type: ignore[misc]
                if running is not None:
                    started[peer.name] = running
            yield started
        finally:
            for running in started.values():
                running.stop()
