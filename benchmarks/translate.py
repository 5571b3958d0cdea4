"""What ``open_responses_mode: translate`` costs: streams beside the same streams in native mode, and long requests."""

from __future__ import annotations

import gc
import os
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks import fleet, processes, traffic, translate_requests
from benchmarks.load import LoadError, StreamLoad
from benchmarks.peers import Peer, PeerMissing, Place
from benchmarks.peers.commit import AGAINST
from benchmarks.peers.onwards import serve
from benchmarks.processes import Running
from benchmarks.report import table
from benchmarks.rounds import Row, StreamPlan
from benchmarks.translate_requests import verdict

ROUNDS = 7
ALLOWED_STREAM = 2.5
"""So many times the CPU of a native event may a translated one take."""
_NATIVE = "native"
_TRANSLATED = "translated"


def measure(directory: Path, against: Sequence[str] | None = None, rounds: int = ROUNDS) -> dict[str, object]:
    """Print both tables and whether the lines hold, return the figures. ``against`` is the program of another commit;
    requests are measured inside this process and are not compared with it."""
    load = os.getloadavg()
    print(f"\n## Translation between Responses and chat (load average before: {load[0]:.2f}, {load[1]:.2f})\n")
    results: dict[str, object] = {"load": load, "requests": translate_requests.measure()}
    try:
        results["streams"] = _streams(directory, StreamPlan(rounds), against)
    except (PeerMissing, processes.StartError, LoadError) as error:
        fleet.say(f"-- streams are left out: {error}")
    return results


def _peer(name: str, program: Sequence[str] | None = None) -> Peer:
    """One proxy with the same upstream twice: as it is, and translated."""

    def command(place: Place) -> list[str]:
        native = {"url": f"http://127.0.0.1:{place.upstream_port}/", "onwards_key": traffic.UPSTREAM_KEY}
        translated = {**native, "open_responses_mode": "translate"}
        return serve(place, {"targets": {traffic.MODEL: native, _TRANSLATED: translated}}, program=program)

    return Peer(name, command, lambda: "")


def _streams(directory: Path, plan: StreamPlan, against: Sequence[str] | None) -> dict[str, object]:
    """Run both ways in turns. Raises PeerMissing, StartError, LoadError."""
    peers = [_peer("onwards")] + ([_peer(AGAINST, against)] if against is not None else [])
    rows = {(peer.name, kind): Row(kind) for peer in peers for kind in (_NATIVE, _TRANSLATED)}
    with fleet.upstream(directory) as provider, ExitStack() as stack:
        running = {}
        for peer in peers:
            running[peer.name] = fleet.start_peer(peer, directory, provider.port)
            stack.callback(running[peer.name].stop)
        for number in range(plan.rounds + 1):
            for (name, kind), row in rows.items():
                gc.collect()
                load = _load(running[name], kind, plan, plan.events if number else plan.events // 4)
                tally = fleet.run(load.run(running[name].cpu_ns))
                if load.whole != plan.streams:
                    raise LoadError(f"{load.whole} of {plan.streams} {kind} streams of {name} came whole")
                if number:  # the first, shorter round warms up
                    row.add(tally)
    results = _report_streams(rows["onwards", _NATIVE], rows["onwards", _TRANSLATED], plan)
    if against is not None:
        for kind in (_NATIVE, _TRANSLATED):
            ratio = rows["onwards", kind].ratio_to(rows[AGAINST, kind])
            results[f"{kind} x against"] = ratio
            print(f"a {kind} event × against: {ratio:.2f}", flush=True)
    return results


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
