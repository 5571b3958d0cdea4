"""``python -m benchmarks [SECTION ...]``: see README.md, and ``SECTIONS`` for their names."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    faults,
    fleet,
    flood,
    guarded,
    local,
    loss,
    memory,
    micro,
    processes,
    reloads,
    report,
    rounds,
    route,
    translate,
)
from benchmarks.peers import Peer
from benchmarks.peers.aiohttp_proxy import aiohttp_proxy
from benchmarks.peers.commit import AGAINST, commit, program_of
from benchmarks.peers.envoy import envoy
from benchmarks.peers.named import named
from benchmarks.peers.nginx import nginx
from benchmarks.peers.onwards import onwards

SECTIONS = (
    *("unary", "sse", "guarded", "memory", "loss", "faults", "reloads", "flood"),
    *("micro", "route", "translate", "local"),
)
_QUICK = ("unary", "sse")
_ALONE = {"faults", "reloads", "flood", "micro", "route", "translate", "local"}  # without peers


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="onwards_py beside its peers")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; without SECTION only unary and sse")
    parser.add_argument("--only", help="comma-separated names of peers")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="a further proxy")
    parser.add_argument(
        "--against",
        metavar="REV",
        help="another commit of onwards_py in the same run of unary, sse, guarded and translate, as the peer 'against'",
    )
    parser.add_argument("--rounds", type=int, help="rounds of unary, sse and guarded")
    parser.add_argument("--requests", type=int, default=20_000, help="requests of one unary round")
    parser.add_argument("--rate", type=float, help="unary requests per second instead of a closed loop")
    parser.add_argument("--nginx", metavar="PATH")
    parser.add_argument("--envoy", metavar="PATH")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there too")
    arguments = parser.parse_args()
    if wrong := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(wrong))} (there are {', '.join(SECTIONS)})")
    return arguments


def _peers(arguments: argparse.Namespace, against: list[str] | None) -> list[Peer]:
    peers = [
        onwards("onwards", "on"),
        nginx(arguments.nginx),
        envoy(arguments.envoy),
        onwards("onwards-aiohttp", "off"),
        aiohttp_proxy(),
        *map(named, arguments.peer),
    ]
    if against is not None:
        peers.insert(1, commit(arguments.against, against))
    if arguments.only is None:
        return peers
    wanted = arguments.only.split(",") + ([AGAINST] if against is not None else [])
    if wrong := set(wanted) - {peer.name for peer in peers}:
        raise SystemExit(f"no such peer: {', '.join(sorted(wrong))} (there are {', '.join(p.name for p in peers)})")
    return [peer for peer in peers if peer.name in wanted]


def _costs(arguments: argparse.Namespace, sections: list[str], peers: list[Peer], directory: Path) -> dict[str, object]:
    results: dict[str, object] = {}
    count = _rounds(arguments)
    with fleet.fleet(peers, directory) as running:
        if "unary" in sections:
            plan = rounds.UnaryPlan(count, arguments.requests // (2 if arguments.quick else 1), rate=arguments.rate)
            rows = rounds.unary(running, plan)
            results["unary"] = report.plain(rows)
            loop = f"{plan.rate:,.0f} requests/s" if plan.rate else "closed loop"
            print(f"\n## Unary: {plan.connections} connections, {plan.requests:,} requests × {count} rounds, {loop}\n")
            print(report.cost_table("request", rows), flush=True)
        if "sse" in sections:
            streams = rounds.StreamPlan(count)
            rows = rounds.streams(running, streams)
            results["sse"] = report.plain(rows)
            print(f"\n## SSE: {streams.streams} streams × {streams.events} events × {count} rounds\n")
            print(report.cost_table("event", rows), flush=True)
    return results


def _rounds(arguments: argparse.Namespace) -> int:
    count: int = arguments.rounds or (3 if arguments.quick else 7)
    return count


def _broken(results: dict[str, object]) -> bool:
    """True if a section whose lines are promises, whatever the machine, has found one that does not hold."""
    return any(isinstance(section, dict) and section.get("broken") for section in results.values())


def _others(sections: list[str], peers: list[Peer], directory: Path, against: list[str] | None) -> dict[str, object]:
    """Run the sections that start each peer afresh, or none at all."""
    results: dict[str, object] = {}
    if "memory" in sections:
        results["memory"] = memory.measure(peers, directory)
    if "loss" in sections:
        results["loss"] = loss.measure(peers, directory)
    if "faults" in sections:
        results["faults"] = faults.measure(directory)
    if "reloads" in sections:
        results["reloads"] = reloads.measure(directory)
    if "flood" in sections:
        results["flood"] = flood.measure(directory)
    if "micro" in sections:
        results["micro"] = micro.measure()
    if "route" in sections:
        results["route"] = route.measure(directory)
    if "translate" in sections:
        results["translate"] = translate.measure(directory, against)
    if "local" in sections:
        results["local"] = local.measure(directory)
    return results


def main() -> None:
    """Run the sections that were asked for and print their tables."""
    arguments = _arguments()
    sections = arguments.sections or list(_QUICK if arguments.quick else SECTIONS)
    # One way to end early, also where a shell has set SIGINT to be ignored: the event loop knows how to unwind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    processes.allow_many_files()
    processes.pin(processes.LOAD_CORE)
    results: dict[str, object] = {"machine": report.machine()}
    print(report.machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="onwards-bench-") as name:
        directory = Path(name)
        against = program_of(arguments.against, directory) if arguments.against is not None else None
        peers = _peers(arguments, against)
        peers = fleet.usable(peers, directory) if set(sections) - _ALONE else []
        results["peers"] = {peer.name: peer.version() for peer in peers}
        if {"unary", "sse"} & set(sections):
            results |= _costs(arguments, sections, peers, directory)
        if "guarded" in sections:
            results["guarded"] = guarded.measure(peers, directory, _rounds(arguments), arguments.requests, against)
        results |= _others(sections, peers, directory, against)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if _broken(results):
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
