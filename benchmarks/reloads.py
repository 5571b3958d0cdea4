"""Two hundred reloads under load: streams and short requests go on, invalid files change nothing, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import fleet, processes, traffic
from benchmarks.load import LoadError, StreamLoad, Tally, UnaryLoad
from benchmarks.own import Own, serving
from benchmarks.peers import PeerMissing

STREAMS, EVENTS, INTERVAL_MS = 100, 40, 50
CONNECTIONS, RATE, MOST_REQUESTS = 16, 500.0, 60_000
_PATIENCE = 10.0
_METRIC = "onwards_config_reloads_total"


@dataclass(frozen=True, slots=True)
class Plan:
    """So many reloads of files with so many ``keys`` more; after each ``invalid_every`` of them one that is refused.

    Each verdict must come within ``patience`` seconds.
    """

    reloads: int
    invalid_every: int
    keys: int = 0
    patience: float = _PATIENCE

    @property
    def invalid(self) -> int:
        return self.reloads // self.invalid_every


PLANS = (Plan(200, 20), Plan(2, 2, keys=100_000, patience=50.0))


@dataclass(slots=True)
class Row:
    """What was reloaded and what became of the load meanwhile. Memory in bytes."""

    keys: int
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
    worst_ms: float = 0.0
    rss_before: int = 0
    rss_after: int = 0
    broken: list[str] = field(default_factory=list)


def measure(directory: Path) -> dict[str, object]:
    """Carry out all plans, print the counts and the lines that do not hold (``broken`` in what is returned)."""
    rows = []
    for plan in PLANS:
        print(f"\n## {plan.reloads} reloads under load, {plan.keys:,} keys in the file: ", end="")
        print(f"{STREAMS} streams at a time, {RATE:,.0f} requests/s\n", flush=True)
        rows.append(_carry_out(plan, directory))
        _print(rows[-1])
    return {"rows": [asdict(row) for row in rows], "broken": [line for row in rows for line in row.broken]}


def _carry_out(plan: Plan, directory: Path) -> Row:
    row = Row(plan.keys)
    try:
        with fleet.upstream(directory) as provider:
            config = _config(provider.port, 0, 0)
            # Made beforehand, since the load must not wait for it.
            files = [json.dumps(_config(provider.port, turn, plan.keys)) for turn in range(1, plan.reloads + 1)]
            with serving(directory, config, processes.PROXY_CORE) as proxy:
                row.rss_before = proxy.running.rss_bytes()
                fleet.run(_under_load(proxy, files, plan, row))
                row.rss_after = proxy.running.rss_bytes()
        row.broken += _broken(plan, row)
    except (PeerMissing, processes.StartError, LoadError, OSError) as error:
        row.broken.append(f"not measured to the end: {error}")
    return row


def _print(row: Row) -> None:
    print(f"{row.applied} applied and {row.refused} invalid ones refused in {row.seconds:.1f} s")
    print(f"streams: {row.streams} whole, {row.streams_lost} lost")
    print(f"requests: {row.answers:,} answered, {row.failed} failed, {row.unanswered} unanswered", end="; ")
    print(f"p50 {row.p50_ms:.2f} ms, p99 {row.p99_ms:.2f} ms, worst {row.worst_ms:.0f} ms")
    print(f"memory: {row.rss_before / 1e6:.0f} MB before, {row.rss_after / 1e6:.0f} MB after")
    print("\n" + ("\n".join(f"DOES NOT HOLD: {line}" for line in row.broken) or "All lines hold."), flush=True)


def _config(port: int, turn: int, keys: int) -> dict[str, object]:
    """Each turn differs in what the target may do, in who may call, and in the targets beside it."""
    url = f"http://127.0.0.1:{port}/"
    definitions: dict[str, object] = {
        "client": {"key": traffic.CLIENT_KEY, "concurrency_limit": {"max_concurrent_requests": 5000 + turn}},
        f"guest-{turn}": {"key": f"sk-guest-{turn}"},
    }
    rate = {"requests_per_second": 10 + turn, "burst_size": 100}
    definitions |= {f"user-{number}": {"key": f"sk-user-{number}", "rate_limit": rate} for number in range(keys)}
    bench = {
        "keys": list(definitions),
        "timeouts": {"idle": f"{100 + turn}s"},
        "providers": [{"url": url, "weight": 1 + turn % 3}, {"url": url, "onwards_key": f"sk-{turn % 2}"}],
    }
    return {"auth": {"key_definitions": definitions}, "targets": {traffic.MODEL: bench, f"other-{turn}": {"url": url}}}


async def _under_load(proxy: Own, files: Sequence[str], plan: Plan, row: Row) -> None:
    """Keep both loads up until the last reload is over, then await what is under way. Raises LoadError."""
    request = traffic.chat_request(proxy.running.port)
    short = UnaryLoad(proxy.running.port, request, connections=CONNECTIONS, count=MOST_REQUESTS, rate=RATE)
    over = asyncio.Event()
    sending = asyncio.create_task(short.run(lambda: 0, patience=MOST_REQUESTS / RATE + _PATIENCE))
    streaming = asyncio.create_task(_stream_until(over, proxy.running.port, row))
    began = time.monotonic()
    try:
        await _reload(proxy, files, plan, row)
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
    row.p50_ms, row.p99_ms, row.worst_ms = (tally.percentile(share) * 1000 for share in (0.50, 0.99, 1.0))


async def _stream_until(over: asyncio.Event, port: int, row: Row) -> None:
    """Hold one batch of streams after the other."""
    while not over.is_set():
        batch = StreamLoad(port, streams=STREAMS, events=EVENTS, interval_ms=INTERVAL_MS)
        try:
            await batch.run(lambda: 0, patience=30)
        finally:
            row.streams += batch.whole
            row.streams_lost += STREAMS - batch.whole


async def _reload(proxy: Own, files: Sequence[str], plan: Plan, row: Row) -> None:
    """Replace the file and signal, and wait for the verdict each time. Raises LoadError if there is none in time."""
    first_applied, first_refused = await _count_of(proxy, "applied"), await _count_of(proxy, "refused")
    for turn, content in enumerate(files, 1):
        if turn % plan.invalid_every == 0:
            await asyncio.to_thread(_replace, proxy, '{"targets": {"bench": {"url": ' + str(turn))
            row.refused = await _verdict(proxy, "refused", first_refused + row.refused, plan.patience) - first_refused
        await asyncio.to_thread(_replace, proxy, content)
        row.applied = await _verdict(proxy, "applied", first_applied + row.applied, plan.patience) - first_applied


def _replace(proxy: Own, content: str) -> None:
    """As editors do: a new file, renamed to the old one's place. The signal saves the time until somebody looks."""
    if proxy.running.process.poll() is not None:
        raise LoadError(f"the proxy has ended: {proxy.running.log_end()}")
    new = proxy.config.with_suffix(".new")
    new.write_text(content)
    os.replace(new, proxy.config)
    proxy.running.process.send_signal(signal.SIGHUP)


async def _verdict(proxy: Own, result: str, before: int, patience: float) -> int:
    """Return the counter of such reloads as soon as it has passed ``before``."""
    deadline = time.monotonic() + patience
    while (now := await _count_of(proxy, result)) <= before:
        if time.monotonic() > deadline:
            raise LoadError(f"no further reload was {result} within {patience:.0f} s, after {before}")
        await asyncio.sleep(0.01)
    return now


async def _count_of(proxy: Own, result: str) -> int:
    return int(await asyncio.to_thread(proxy.metric, f'{_METRIC}{{result="{result}"}}'))


def _broken(plan: Plan, row: Row) -> list[str]:
    """Return the lines that do not hold."""
    found = []
    if row.applied < plan.reloads or row.refused < plan.invalid:
        found.append(f"{row.applied} of {plan.reloads} applied, {row.refused} of {plan.invalid} refused")
    if lost := row.streams_lost + row.failed + row.unanswered:
        found.append(f"{lost} exchanges lost")
    return found
