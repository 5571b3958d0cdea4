"""Losses: a proxy that is told to end under load, and a provider that is killed under load."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from signal import Signals

from benchmarks import fleet, traffic
from benchmarks.load import LoadError, StreamLoad, Tally, UnaryLoad
from benchmarks.peers import Peer
from benchmarks.processes import Running
from benchmarks.report import table

STREAMS, EVENTS, INTERVAL_MS = 200, 50, 40
RATE, SECONDS = 1500.0, 6
REQUESTS, DELAY_MS = 20_000, 5
Row = dict[str, str | int | float]


def measure(peers: list[Peer], directory: Path) -> list[Row]:
    """Run both checks over the peers that claim to pass, print the counts, return the rows."""
    drained = _over([peer for peer in peers if peer.drain_signal is not None], lambda peer: _drain(peer, directory))
    print(f"\n## Told to end under load: {STREAMS} streams in flight, {RATE:,.0f} requests/s\n")
    _print(drained)
    killed = _over([peer for peer in peers if peer.falls_back], lambda peer: _provider_killed(peer, directory))
    print(f"\n## One of two providers killed under load: {REQUESTS:,} requests, 64 connections\n")
    _print(killed)
    return [{"check": "drain", **row} for row in drained] + [{"check": "provider killed", **row} for row in killed]


def _over(peers: list[Peer], check: Callable[[Peer], Row | None]) -> list[Row]:
    return [row for peer in peers if (row := check(peer)) is not None]


def _print(rows: list[Row]) -> None:
    if rows:
        print(table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows]), flush=True)
    else:
        print("no peer could be started", flush=True)


def _drain(peer: Peer, directory: Path) -> Row | None:
    with fleet.upstream(directory) as provider:
        running = fleet.try_start(peer, lambda: fleet.start_peer(peer, directory, provider.port))
        if running is None or peer.drain_signal is None:
            return None
        try:
            return fleet.run(_signal_under_load(running, peer.drain_signal))
        finally:
            running.stop()


async def _signal_under_load(running: Running, number: Signals) -> Row:
    """Signal the proxy in the middle of all streams and await what becomes of everything that was sent."""
    streams = StreamLoad(running.port, streams=STREAMS, events=EVENTS, interval_ms=INTERVAL_MS)
    request = traffic.chat_request(running.port)
    unary = UnaryLoad(running.port, request, connections=64, count=int(RATE * SECONDS), rate=RATE)
    streaming = asyncio.create_task(streams.run(lambda: 0, patience=30))
    sending = asyncio.create_task(unary.run(lambda: 0, patience=30))
    await streams.started.wait()
    await asyncio.sleep(EVENTS * INTERVAL_MS / 2000)
    running.process.send_signal(number)
    signalled = time.monotonic()
    for outcome in await asyncio.gather(streaming, sending, return_exceptions=True):
        if isinstance(outcome, LoadError):
            fleet.say(f"-- {running.name}: {outcome}")
    exit_code = await asyncio.to_thread(_exit_code, running)
    return {
        "peer": running.name,
        "streams whole": streams.whole,
        "streams lost": STREAMS - streams.whole,
        "answers": unary.tally.units,
        "failed": unary.tally.failed,
        "unanswered": unary.tally.unanswered,
        "exit code": exit_code,
        "seconds to exit": round(time.monotonic() - signalled, 2),
    }


def _exit_code(running: Running) -> str:
    try:
        return str(running.process.wait(10))
    except subprocess.TimeoutExpired:
        return "still running"


def _provider_killed(peer: Peer, directory: Path) -> Row | None:
    with fleet.upstream(directory) as victim, fleet.upstream(directory) as spare:
        running = fleet.try_start(peer, lambda: fleet.start_peer(peer, directory, victim.port, spare.port))
        if running is None:
            return None
        try:
            return fleet.run(_kill_under_load(running, victim))
        except LoadError as error:
            fleet.say(f"-- {peer.name}: {error}")
            return None
        finally:
            running.stop()


async def _kill_under_load(running: Running, victim: Running) -> Row:
    """Kill one provider when a third of the requests is answered; there are always some waiting in it."""
    request = traffic.chat_request(running.port, seed=DELAY_MS)
    load = UnaryLoad(running.port, request, connections=64, count=REQUESTS)
    sending = asyncio.create_task(load.run(lambda: 0, patience=60))
    # Polled: an event would put a comparison into the path of every answer.
    while not sending.done() and load.tally.units < REQUESTS // 3:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    before = Tally(units=load.tally.units, failed=load.tally.failed)
    victim.kill()
    after = await sending
    return {
        "peer": running.name,
        "answers before": before.units,
        "answers after": after.units - before.units,
        "failed": after.failed,
        "unanswered": after.unanswered,
        "worst ms": round(after.percentile(1.0) * 1000, 1),
    }
