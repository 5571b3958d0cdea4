"""What ``open_responses_mode: translate`` costs: streams beside the same streams in native mode, and long requests."""

from __future__ import annotations

import gc
import os
import statistics
from pathlib import Path

from benchmarks import fleet, processes, traffic, translate_requests
from benchmarks.load import LoadError, StreamLoad
from benchmarks.peers import Peer, PeerMissing, Place
from benchmarks.peers.onwards import serve
from benchmarks.processes import Running
from benchmarks.report import table
from benchmarks.rounds import Row, StreamPlan
from benchmarks.translate_requests import verdict

ROUNDS = 7
ALLOWED_STREAM = 2.5
"""So many times the CPU of a native event may a translated one take."""
_TRANSLATED = "translated"


def measure(directory: Path, rounds: int = ROUNDS) -> dict[str, object]:
    """Print both tables and whether the lines hold, return the figures."""
    load = os.getloadavg()
    print(f"\n## Translation between Responses and chat (load average before: {load[0]:.2f}, {load[1]:.2f})\n")
    results: dict[str, object] = {"load": load, "requests": translate_requests.measure()}
    try:
        results["streams"] = _streams(directory, StreamPlan(rounds))
    except (PeerMissing, processes.StartError, LoadError) as error:
        fleet.say(f"-- streams are left out: {error}")
    return results


def _peer() -> Peer:
    """One proxy with the same upstream twice: as it is, and translated."""

    def command(place: Place) -> list[str]:
        native = {"url": f"http://127.0.0.1:{place.upstream_port}/", "onwards_key": traffic.UPSTREAM_KEY}
        translated = {**native, "open_responses_mode": "translate"}
        return serve(place, {"targets": {traffic.MODEL: native, _TRANSLATED: translated}})

    return Peer("onwards", command, lambda: "")


def _streams(directory: Path, plan: StreamPlan) -> dict[str, object]:
    """Run both ways in turns. Raises PeerMissing, StartError, LoadError."""
    rows = {name: Row(name) for name in ("native", _TRANSLATED)}
    with fleet.upstream(directory) as provider:
        running = fleet.start_peer(_peer(), directory, provider.port)
        try:
            for number in range(plan.rounds + 1):
                for name, row in rows.items():
                    gc.collect()
                    load = _load(running, name, plan, plan.events if number else plan.events // 4)
                    tally = fleet.run(load.run(running.cpu_ns))
                    if load.whole != plan.streams:
                        raise LoadError(f"{load.whole} of {plan.streams} {name} streams came whole")
                    if number:  # the first, shorter round warms up
                        row.add(tally)
        finally:
            running.stop()
    return _report_streams(rows["native"], rows[_TRANSLATED], plan)


def _load(running: Running, name: str, plan: StreamPlan, events: int) -> StreamLoad:
    request, mark = None, traffic.EVENT_MARK
    if name == _TRANSLATED:
        request = traffic.responses_request(running.port, model=name, max_tokens=events, seed=plan.interval_ms)
        mark = traffic.DELTA_MARK
    return StreamLoad(
        running.port,
        streams=plan.streams,
        events=events,
        interval_ms=plan.interval_ms,
        request=request,
        mark=mark,
    )


def _report_streams(native: Row, translated: Row, plan: StreamPlan) -> dict[str, object]:
    print(f"\n{plan.streams} streams × {plan.events} events, {plan.interval_ms} ms apart × {plan.rounds} rounds\n")
    head = ["stream", "CPU µs/event", "lowest–highest", "p50 ms", "p99 ms"]
    lines = [
        [
            row.name,
            f"{row.cpu:.1f}",
            f"{min(row.cpu_us):.1f}–{max(row.cpu_us):.1f}",
            f"{statistics.median(row.p50_ms):.2f}",
            f"{statistics.median(row.p99_ms):.2f}",
        ]
        for row in (native, translated)
    ]
    print(table(head, lines))
    ratio = translated.ratio_to(native)
    ratios = [mine / its for mine, its in zip(translated.cpu_us, native.cpu_us, strict=True)]
    print(f"\na translated event costs {verdict(ratio, ALLOWED_STREAM)}")
    print(f"ratios of the rounds: {min(ratios):.2f}–{max(ratios):.2f}", flush=True)
    return {"ratio": ratio, "ratios": ratios, "native": native.cpu_us, _TRANSLATED: translated.cpu_us}
