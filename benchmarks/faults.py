"""Providers that fail under load: one of three, then all; and how soon one that is well again is used again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import fleet, processes, traffic
from benchmarks.faulty import FaultyProvider, Mode, faulty_providers
from benchmarks.load import LoadError, Tally, UnaryLoad
from benchmarks.own import Own, serving
from benchmarks.peers import PeerMissing
from benchmarks.report import table

PROVIDERS, CONNECTIONS, DELAY_MS = 3, 64, 20
BASE_SECONDS, FIRST_BYTE_MS = 1.0, 200
BUDGET_RATIO, BUDGET_PER_SECOND = 0.2, 10
MOST_FAILED, MOST_RATIO = 0.001, 1.2
_SLACK_SECONDS = 0.5
"""Beyond the time that a provider is left out: until the next request comes by and is answered."""
_ERROR_SECONDS = 1.0
_EJECTIONS = "onwards_provider_ejections_total"
_LOG_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Case:
    """So many of the three providers fail in one ``mode`` while so many requests are sent."""

    mode: Mode
    failing: int = 1
    requests: int = 10_000


CASES = (
    *(Case(mode) for mode in Mode if mode is not Mode.WELL),
    Case(Mode.REFUSING, PROVIDERS),
    Case(Mode.ERROR, PROVIDERS),
    Case(Mode.HANGING, PROVIDERS, 1_000),
)


@dataclass(slots=True)
class Row:
    """What became of one case. Times as named; ``attempts`` are requests made to providers, refused ones included."""

    mode: str
    failing: int
    requests: int
    succeeded: int
    unanswered: int
    p50_ms: float
    p99_ms: float
    per_second: float
    seconds: float
    attempts: int = 0
    ejections: int = 0
    recovery_seconds: float | None = None
    lost_in_recovery: int = 0
    broken: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Requests to providers per request of a client."""
        return self.attempts / self.requests


def measure(directory: Path) -> dict[str, object]:
    """Run all cases, print their table and the lines that do not hold (``broken`` in what is returned)."""
    print(f"\n## Failing providers: {PROVIDERS} in the pool, {CONNECTIONS} connections, answers after {DELAY_MS} ms\n")
    rows: list[Row] = []
    broken: list[str] = []
    for case in CASES:
        try:
            row = fleet.run(_run(case, directory))
        except (PeerMissing, processes.StartError, LoadError, OSError) as error:
            broken.append(f"{case.failing} {case.mode.value}: not measured: {error}")
            continue
        rows.append(row)
        broken += [f"{case.failing} {case.mode.value}: {line}" for line in row.broken]
    if rows:
        print(_table(rows))
    print("\n" + ("\n".join(f"DOES NOT HOLD: {line}" for line in broken) or "All lines hold."), flush=True)
    return {"cases": [asdict(row) for row in rows], "broken": broken}


def _table(rows: Sequence[Row]) -> str:
    head = ["failing", "succeeded %", "upstream/client", "ejections", "p50 ms", "p99 ms", "requests/s", "recovery s"]
    return table(
        head,
        [
            [
                f"{row.failing} {row.mode}",
                f"{row.succeeded / row.requests * 100:.2f}",
                f"{row.ratio:.3f}",
                str(row.ejections),
                f"{row.p50_ms:.1f}",
                f"{row.p99_ms:.1f}",
                f"{row.per_second:,.0f}",
                "never" if row.recovery_seconds is None else f"{row.recovery_seconds:.2f}",
            ]
            for row in rows
        ],
    )


def _config(providers: Sequence[FaultyProvider]) -> dict[str, object]:
    """Defaults, but for what opts in to repeating a cut request, and for times that end while one looks on."""
    urls = [{"url": f"http://127.0.0.1:{provider.port}/"} for provider in providers]
    fallback = {
        "enabled": True,
        "on_status": [429, "5xx"],
        "retry_sent": True,
        "retry_budget": {"ratio": BUDGET_RATIO, "min_per_second": BUDGET_PER_SECOND},
    }
    target = {
        "fallback": fallback,
        "ejection": {"base_time": f"{BASE_SECONDS}s", "max_time": f"{BASE_SECONDS}s"},
        "timeouts": {"connect": "1s", "first_byte": f"{FIRST_BYTE_MS}ms"},
        "providers": urls,
    }
    return {"targets": {traffic.MODEL: target}}


async def _run(case: Case, directory: Path) -> Row:
    """Start everything afresh: the case's providers fail from before the first request until after the last."""
    async with faulty_providers(PROVIDERS) as providers:
        # Nothing goes on in this loop yet that waiting for the proxy could hold up.
        with serving(directory, _config(providers), processes.PROXY_CORE) as proxy:
            ill = providers[: case.failing]
            for provider in ill:
                await provider.become(case.mode)
            request = traffic.chat_request(proxy.running.port, seed=DELAY_MS)
            load = UnaryLoad(proxy.running.port, request, connections=CONNECTIONS, count=case.requests)
            row = _row(case, await load.run(lambda: 0, patience=60))
            arrived = sum(provider.requests for provider in providers)
            row.attempts = max(arrived, await _attempts(proxy, case.requests))
            row.ejections = int(await asyncio.to_thread(proxy.metric, _EJECTIONS))
            row.recovery_seconds, row.lost_in_recovery = await _recover(proxy, ill, request)
            row.broken = _broken(row)
            return row


def _row(case: Case, tally: Tally) -> Row:
    return Row(
        mode=case.mode.value,
        failing=case.failing,
        requests=case.requests,
        succeeded=tally.units,
        unanswered=tally.unanswered,
        p50_ms=tally.percentile(0.50) * 1000,
        p99_ms=tally.percentile(0.99) * 1000,
        per_second=len(tally.latencies) / tally.seconds,
        seconds=tally.seconds,
    )


async def _attempts(proxy: Own, requests: int) -> int:
    """Return the sum of ``attempts`` in the access log: a refused connection leaves no other trace.

    Raises LoadError unless there is a line for each request in time.
    """
    deadline = time.monotonic() + _LOG_SECONDS
    while True:
        text = await asyncio.to_thread(proxy.running.log.read_text, errors="replace")
        lines = [line for line in text.splitlines() if line.startswith('{"ts"') and line.endswith("}")]
        if len(lines) >= requests:
            return sum(json.loads(line)["attempts"] for line in lines)
        if time.monotonic() > deadline:
            raise LoadError(f"{len(lines)} lines in the access log for {requests} requests")
        await asyncio.sleep(0.05)


async def _recover(proxy: Own, ill: Sequence[FaultyProvider], request: bytes) -> tuple[float | None, int]:
    """Make them well; return the seconds until each has answered (None: in vain), and how many requests failed."""
    load = UnaryLoad(proxy.running.port, request, connections=16, count=10_000, rate=500)
    began = asyncio.get_running_loop().time()
    for provider in ill:
        await provider.become(Mode.WELL)
    sending = asyncio.create_task(load.run(lambda: 0, patience=30))
    try:
        async with asyncio.timeout(BASE_SECONDS * 3 + _SLACK_SECONDS):
            for provider in ill:
                await provider.answered.wait()
    except TimeoutError:
        pass
    load.finish()
    tally = await sending
    answered = [provider.answered_at for provider in ill if provider.answered_at is not None]
    seconds = max(answered) - began if len(answered) == len(ill) else None
    return seconds, tally.failed + tally.unanswered


def _broken(row: Row) -> list[str]:
    """Return the lines that do not hold."""
    found = []
    if row.failing < PROVIDERS:
        if row.succeeded < row.requests * (1 - MOST_FAILED):
            found.append(f"{row.requests - row.succeeded} of {row.requests:,} failed, at most {MOST_FAILED:.1%}")
        if row.ratio > MOST_RATIO:
            found.append(f"{row.ratio:.3f} requests to providers each, at most {MOST_RATIO}")
    else:
        # The budget begins full, with ten seconds' worth of what it grants in any case.
        granted = BUDGET_PER_SECOND * (10 + row.seconds)
        if row.attempts > row.requests * (1 + BUDGET_RATIO) + granted:
            found.append(f"{row.ratio:.3f} requests to providers each, which is more than the retry budget")
        if row.p99_ms > _ERROR_SECONDS * 1000:
            found.append(f"errors take {row.p99_ms:.0f} ms, at most {_ERROR_SECONDS * 1000:.0f}")
    if row.unanswered:
        found.append(f"{row.unanswered} requests were not answered at all")
    if row.recovery_seconds is None or row.recovery_seconds > BASE_SECONDS + _SLACK_SECONDS:
        found.append(f"not used again within {BASE_SECONDS + _SLACK_SECONDS} s of being well")
    if row.lost_in_recovery:
        found.append(f"{row.lost_in_recovery} requests failed although all providers were well")
    return found
