"""Two hundred reloads under load: streams and short requests go on, invalid files change nothing, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import fleet, processes, traffic
from benchmarks.load import LoadError, StreamLoad, Tally, UnaryLoad
from benchmarks.own import Own, serving
from benchmarks.peers import PeerMissing

RELOADS, INVALID_EVERY = 200, 20
STREAMS, EVENTS, INTERVAL_MS = 100, 40, 50
CONNECTIONS, RATE, MOST_REQUESTS = 16, 500.0, 60_000
_PATIENCE = 10.0
_METRIC = "onwards_config_reloads_total"


@dataclass(slots=True)
class Row:
    """What was reloaded and what became of the load meanwhile. Memory in bytes."""

    applied: int = 0
    refused: int = 0
    seconds: float = 0.0
    answers: int = 0
    failed: int = 0
    unanswered: int = 0
    streams: int = 0
    streams_lost: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    rss_before: int = 0
    rss_after: int = 0
    broken: list[str] = field(default_factory=list)


def measure(directory: Path) -> dict[str, object]:
    """Run it, print the counts and the lines that do not hold (``broken`` in what is returned)."""
    print(f"\n## {RELOADS} reloads under load: {STREAMS} streams at a time, {RATE:,.0f} requests/s\n")
    row = Row()
    try:
        with fleet.upstream(directory) as provider:
            config = _config(provider.port, 0)
            with serving(directory, config, processes.PROXY_CORE) as proxy:
                row.rss_before = proxy.running.rss_bytes()
                fleet.run(_under_load(proxy, provider.port, row))
                row.rss_after = proxy.running.rss_bytes()
        row.broken += _broken(row)
    except (PeerMissing, processes.StartError, LoadError, OSError) as error:
        row.broken.append(f"not measured to the end: {error}")
    _print(row)
    return asdict(row)


def _print(row: Row) -> None:
    print(f"{row.applied} applied and {row.refused} invalid ones refused in {row.seconds:.1f} s")
    print(f"streams: {row.streams} whole, {row.streams_lost} lost")
    print(f"requests: {row.answers:,} answered, {row.failed} failed, {row.unanswered} unanswered", end="; ")
    print(f"p50 {row.p50_ms:.2f} ms, p99 {row.p99_ms:.2f} ms")
    print(f"memory: {row.rss_before / 1e6:.0f} MB before, {row.rss_after / 1e6:.0f} MB after")
    print("\n" + ("\n".join(f"DOES NOT HOLD: {line}" for line in row.broken) or "All lines hold."), flush=True)


def _config(port: int, turn: int) -> dict[str, object]:
    """Each turn differs in what the target may do, in who may call, and in the targets beside it."""
    url = f"http://127.0.0.1:{port}/"
    definitions = {
        "client": {"key": traffic.CLIENT_KEY, "concurrency_limit": {"max_concurrent_requests": 5000 + turn}},
        f"guest-{turn}": {"key": f"sk-guest-{turn}"},
    }
    bench = {
        "keys": ["client"],
        "timeouts": {"idle": f"{100 + turn}s"},
        "providers": [{"url": url, "weight": 1 + turn % 3}, {"url": url, "onwards_key": f"sk-{turn % 2}"}],
    }
    return {"auth": {"key_definitions": definitions}, "targets": {traffic.MODEL: bench, f"other-{turn}": {"url": url}}}


async def _under_load(proxy: Own, upstream_port: int, row: Row) -> None:
    """Keep both loads up until the last reload is over, then await what is under way. Raises LoadError."""
    request = traffic.chat_request(proxy.running.port)
    short = UnaryLoad(proxy.running.port, request, connections=CONNECTIONS, count=MOST_REQUESTS, rate=RATE)
    over = asyncio.Event()
    sending = asyncio.create_task(short.run(lambda: 0, patience=MOST_REQUESTS / RATE + _PATIENCE))
    streaming = asyncio.create_task(_stream_until(over, proxy.running.port, row))
    began = time.monotonic()
    try:
        await _reload(proxy, upstream_port, row)
    finally:
        row.seconds = time.monotonic() - began
        over.set()
        short.finish()
        outcomes = await asyncio.gather(sending, streaming, return_exceptions=True)
        _count(short.tally, row)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _count(tally: Tally, row: Row) -> None:
    row.answers, row.failed, row.unanswered = tally.units, tally.failed, tally.unanswered
    row.p50_ms, row.p99_ms = tally.percentile(0.50) * 1000, tally.percentile(0.99) * 1000


async def _stream_until(over: asyncio.Event, port: int, row: Row) -> None:
    """Hold one batch of streams after the other."""
    while not over.is_set():
        batch = StreamLoad(port, streams=STREAMS, events=EVENTS, interval_ms=INTERVAL_MS)
        try:
            await batch.run(lambda: 0, patience=30)
        finally:
            row.streams += batch.whole
            row.streams_lost += STREAMS - batch.whole


async def _reload(proxy: Own, upstream_port: int, row: Row) -> None:
    """Replace the file and signal, and wait for the verdict each time. Raises LoadError if there is none in time."""
    first_applied, first_refused = await _count_of(proxy, "applied"), await _count_of(proxy, "refused")
    for turn in range(1, RELOADS + 1):
        if turn % INVALID_EVERY == 0:
            _replace(proxy, '{"targets": {"bench": {"url": ' + str(turn))
            row.refused = await _verdict(proxy, "refused", first_refused + row.refused) - first_refused
        _replace(proxy, json.dumps(_config(upstream_port, turn)))
        row.applied = await _verdict(proxy, "applied", first_applied + row.applied) - first_applied


def _replace(proxy: Own, content: str) -> None:
    """As editors do: a new file, renamed to the old one's place. The signal saves the time until somebody looks."""
    if proxy.running.process.poll() is not None:
        raise LoadError(f"the proxy has ended: {proxy.running.log_end()}")
    new = proxy.config.with_suffix(".new")
    new.write_text(content)
    os.replace(new, proxy.config)
    proxy.running.process.send_signal(signal.SIGHUP)


async def _verdict(proxy: Own, result: str, before: int) -> int:
    """Return the counter of such reloads as soon as it has passed ``before``."""
    deadline = time.monotonic() + _PATIENCE
    while (now := await _count_of(proxy, result)) <= before:
        if time.monotonic() > deadline:
            raise LoadError(f"no further reload was {result} within {_PATIENCE:.0f} s, after {before}")
        await asyncio.sleep(0.01)
    return now


async def _count_of(proxy: Own, result: str) -> int:
    return int(await asyncio.to_thread(proxy.metric, f'{_METRIC}{{result="{result}"}}'))


def _broken(row: Row) -> list[str]:
    """Return the lines that do not hold."""
    found = []
    if row.applied < RELOADS or row.refused < RELOADS // INVALID_EVERY:
        found.append(f"{row.applied} of {RELOADS} applied, {row.refused} of {RELOADS // INVALID_EVERY} refused")
    if lost := row.streams_lost + row.failed + row.unanswered:
        found.append(f"{lost} exchanges lost")
    return found
