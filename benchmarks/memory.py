"""Memory: what a client costs that does not read, and a thousand streams that are silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import fleet, traffic
from benchmarks.load import StreamLoad
from benchmarks.peers import Peer
from benchmarks.processes import Running
from benchmarks.report import table

STALLED_CLIENTS = 50
ANSWER_BYTES = 8 * 1024 * 1024
IDLE_STREAMS = 1000
_SILENCE_MS = 100_000_000


@dataclass(frozen=True, slots=True)
class Use:
    """Bytes resident: at rest, grown for each stalled client, in all with the idle streams.

    ``whole`` counts the stalled clients that got all bytes once they read; ``streams`` those that began.
    """

    name: str
    at_rest: int
    per_stalled_client: float
    whole: int
    with_idle_streams: int
    streams: int


def measure(peers: list[Peer], directory: Path) -> list[dict[str, object]]:
    """Measure each peer in processes of its own, print the table, return the rows."""
    uses = []
    with fleet.upstream(directory) as provider:
        for peer in peers:
            stalled = _with_fresh(peer, directory, provider.port, _stall)
            idle = _with_fresh(peer, directory, provider.port, _idle)
            if stalled is not None and idle is not None:
                uses.append(
                    Use(
                        peer.name,
                        stalled.before,
                        stalled.growth / STALLED_CLIENTS,
                        stalled.count,
                        idle.after,
                        idle.count,
                    )
                )
    head = ["peer", "at rest MB", "KiB per stalled client", "whole", f"{IDLE_STREAMS:,} idle streams MB", "begun"]
    print(f"\n## Memory: {STALLED_CLIENTS} clients that do not read 8 MiB; {IDLE_STREAMS:,} silent streams\n")
    print(table(head, [_cells(use) for use in uses]), flush=True)
    return [asdict(use) for use in uses]


def _cells(use: Use) -> list[str]:
    return [
        use.name,
        f"{use.at_rest / 1e6:.0f}",
        f"{use.per_stalled_client / 1024:.0f}",
        f"{use.whole}/{STALLED_CLIENTS}",
        f"{use.with_idle_streams / 1e6:.0f}",
        f"{use.streams:,}",
    ]


@dataclass(frozen=True, slots=True)
class _Sample:
    before: int
    after: int
    count: int

    @property
    def growth(self) -> int:
        return self.after - self.before


def _with_fresh(
    peer: Peer, directory: Path, upstream_port: int, sample: Callable[[Running], _Sample]
) -> _Sample | None:
    """Sample a newly started process: an older one would hide growth in memory that it has to spare."""
    running = fleet.try_start(peer, lambda: fleet.start_peer(peer, directory, upstream_port))
    if running is None:
        return None
    try:
        return sample(running)
    except OSError as error:
        fleet.say(f"-- {peer.name} is left out: {error}")
        return None
    finally:
        running.stop()


async def _settled(rss: Callable[[], int], patience: float = 8.0) -> int:
    """Return the largest value seen when it has not grown by a percent for a second (or at ``patience``)."""
    loop = asyncio.get_running_loop()
    largest, grown_at, end = rss(), loop.time(), loop.time() + patience
    while loop.time() < min(end, grown_at + 1.0):
        await asyncio.sleep(0.1)
        now = rss()
        if now > largest * 1.01:
            grown_at = loop.time()
        largest = max(largest, now)
    return largest


def _stall(running: Running) -> _Sample:
    before = running.rss_bytes()
    request = traffic.chat_request(running.port, max_tokens=ANSWER_BYTES, seed=0, close=True)
    clients = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(STALLED_CLIENTS)]
    try:
        for client in clients:
            client.sendall(request)
        after = fleet.run(_settled(running.rss_bytes))
        return _Sample(before, after, sum(map(_read_whole, clients)))
    finally:
        for client in clients:
            client.close()


def _read_whole(client: socket.socket) -> bool:
    """Read to the end; true if the body had all its bytes."""
    head = b""
    while b"\r\n\r\n" not in head and (piece := client.recv(4096)):
        head += piece
    received = len(head.partition(b"\r\n\r\n")[2])
    while received < ANSWER_BYTES and (piece := client.recv(1 << 20)):
        received += len(piece)
    return received >= ANSWER_BYTES


def _idle(running: Running) -> _Sample:
    async def hold() -> _Sample:
        before = running.rss_bytes()
        load = StreamLoad(running.port, streams=IDLE_STREAMS, events=2, interval_ms=_SILENCE_MS)
        try:
            await load.open()
            async with asyncio.timeout(20):
                await load.started.wait()
        except TimeoutError:
            pass  # the number of streams that began is in the table
        after = await _settled(running.rss_bytes)
        load.leave()
        return _Sample(before, after, load.tally.units)

    return fleet.run(hold())
