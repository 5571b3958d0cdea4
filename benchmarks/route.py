"""What ``route_by`` costs: requests that a classifier leads, beside the same requests sent to the chosen target."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import fleet, processes, traffic
from benchmarks.load import LoadError, Tally, UnaryLoad
from benchmarks.own import Own, own
from benchmarks.peers import PeerMissing
from benchmarks.report import table

ROUNDS, REQUESTS, CONNECTIONS = 5, 2000, 16
RATE, RATED_REQUESTS = 100.0, 500
ALLOWED_US = 1000.0
"""A led request may take so much more of the proxy's own time."""
_WAYS = {"direct": traffic.MODEL, "route_by": "auto"}


@dataclass(slots=True)
class Way:
    """One way to the same target: CPU of the proxy's process in µs per request, latencies in milliseconds."""

    cpu_us: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def add(self, tally: Tally) -> None:
        """Take in one round. Raises LoadError if not every answer came."""
        if tally.failed or tally.unanswered:
            raise LoadError(f"{tally.failed + tally.unanswered} requests failed")
        self.cpu_us.append(tally.cpu_ns / 1000 / tally.units)
        self.p50_ms.append(tally.percentile(0.50) * 1000)
        self.p99_ms.append(tally.percentile(0.99) * 1000)


def measure(directory: Path, rounds: int = ROUNDS) -> dict[str, object]:
    """Run both ways in turns, print the table and whether the line holds, return the figures."""
    print("\n## route_by: the same requests led by a linear text classifier, and sent directly\n")
    try:
        model = _train(directory)
        with own(directory, _targets(model), None) as proxy:
            return {
                "closed loop": _both(proxy, rounds, None),
                "fixed rate": _both(proxy, rounds, RATE),
            }
    except (ImportError, PeerMissing, processes.StartError, LoadError) as error:
        fleet.say(f"-- route is left out: {error}")
        return {}


def _targets(model: Path) -> dict[str, object]:
    rule = {"classifier": "which", "labels": {"hard": "spare", "easy": traffic.MODEL}, "default": "spare"}
    return {
        traffic.MODEL: "UPSTREAM",
        "spare": "UPSTREAM",
        "which": {"local": {"engine": "classifier", "model": str(model), "load": "eager"}},
        "auto": {"route_by": {**rule, "timeout": "5s"}},
    }


def _train(directory: Path) -> Path:
    """Train a model of some thousand words, by which the bench's question is easy. Raises ImportError."""
    import skops.io
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rng = random.Random(1)
    words = [f"{rng.choice('bcdfgh')}{rng.choice('aeiou')}{number}" for number in range(4000)]
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(400)]
    hard, easy = "prove the theorem ", "why does a proxy need the name of the model "
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression())
    model.fit([hard + text for text in texts] + [easy + text for text in texts], ["hard"] * 400 + ["easy"] * 400)
    path = directory / "difficulty.skops"
    skops.io.dump(model, path)
    return path


def _both(proxy: Own, rounds: int, rate: float | None) -> dict[str, object]:
    ways = {name: Way() for name in _WAYS}
    requests = REQUESTS if rate is None else RATED_REQUESTS
    led = proxy.metric(_led("label"))
    for number in range(rounds + 1):
        for name, way in ways.items():
            count = requests if number else requests // 4
            request = traffic.chat_request(proxy.running.port, model=_WAYS[name])
            load = UnaryLoad(proxy.running.port, request, connections=CONNECTIONS, count=count, rate=rate)
            tally = fleet.run(load.run(proxy.running.own_cpu_ns))
            if number:  # the first, shorter round warms up
                way.add(tally)
    expected = requests * rounds + requests // 4
    if (now := proxy.metric(_led("label"))) != led + expected:
        raise LoadError(f"{now - led:.0f} of {expected} requests were led by a label")
    return _report(ways, requests, rate)


def _led(reason: str) -> str:
    return f'onwards_route_by_total{{reason="{reason}",target="auto",to="{traffic.MODEL}"}}'


def _report(ways: Mapping[str, Way], requests: int, rate: float | None) -> dict[str, object]:
    loop = f"{rate:,.0f} requests/s" if rate else "closed loop"
    print(f"{CONNECTIONS} connections, {requests:,} requests × {len(ways['direct'].cpu_us)} rounds, {loop}\n")
    head = ["way", "CPU µs/request of the proxy's process", "lowest–highest", "p50 ms", "p99 ms"]
    rows = [
        [
            name,
            f"{statistics.median(way.cpu_us):.1f}",
            f"{min(way.cpu_us):.1f}–{max(way.cpu_us):.1f}",
            f"{statistics.median(way.p50_ms):.2f}",
            f"{statistics.median(way.p99_ms):.2f}",
        ]
        for name, way in ways.items()
    ]
    print(table(head, rows))
    direct, led = ways["direct"], ways["route_by"]
    added = statistics.median(after - before for before, after in zip(direct.cpu_us, led.cpu_us, strict=True))
    verdict = "holds" if added < ALLOWED_US else "DOES NOT HOLD"
    print(
        f"\nroute_by adds {added:.0f} µs of the proxy's own time; less than {ALLOWED_US:,.0f} µs: {verdict}\n",
        flush=True,
    )
    return {
        "added_us": added,
        **{name: {"cpu_us": way.cpu_us, "p50_ms": way.p50_ms, "p99_ms": way.p99_ms} for name, way in ways.items()},
    }
