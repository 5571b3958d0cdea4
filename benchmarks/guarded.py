"""What authentication and limits cost: unary and SSE with all of them on, and with 100,000 keys in the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks import fleet, report, rounds, traffic
from benchmarks.peers import Peer
from benchmarks.peers.onwards import guarded, key_of
from benchmarks.processes import Running

KEYS, IN_TURN = 100_000, 10_000
ONE, MANY, SPREAD = "guarded, 1 key", f"guarded, {KEYS:,} keys", f"{KEYS:,} keys, {IN_TURN:,} in turn"
_BESIDE = {"nginx", "envoy", "onwards"}
_SAME = 1.1
"""What the number of keys may seem to cost: as much as two runs of the same differ."""
_LINES = {"unary": {"nginx": 2.1, "envoy": 0.8}, "sse": {"nginx": 1.5}}


def measure(peers: list[Peer], directory: Path, count: int, requests: int) -> dict[str, object]:
    """Run ``count`` rounds of both with ``requests`` each, print tables and verdicts, return the figures."""
    taken = [peer for peer in peers if peer.name in _BESIDE]
    taken += [guarded(ONE, 1), guarded(MANY, KEYS)]
    results: dict[str, object] = {}
    with fleet.fleet(taken, directory) as running:
        lines = {"unary": _unary(running, rounds.UnaryPlan(count, requests)), "sse": _streams(running, count)}
        for section, rows in lines.items():
            unit = "request" if section == "unary" else "event"
            print(f"\n## With authentication and limits: {section}, {count} rounds\n")
            print(report.cost_table(unit, rows))
            results[section] = report.plain(rows)
            results[f"{section} verdicts"] = _verdicts(section, {row.name: row for row in rows})
    return results


def _unary(running: Mapping[str, Running], plan: rounds.UnaryPlan) -> list[rounds.Row]:
    peers = dict(running)
    requests: dict[str, list[bytes]] = {}
    if MANY in peers:
        peers[SPREAD] = peers[MANY]
        port = peers[MANY].port
        # Neighbours in the file are not neighbours in turn, so that no table is read in its order.
        requests[SPREAD] = [traffic.chat_request(port, key=key_of(i * 7919 % IN_TURN)) for i in range(IN_TURN)]
    return rounds.unary(peers, plan, requests)


def _streams(running: Mapping[str, Running], count: int) -> list[rounds.Row]:
    return rounds.streams(dict(running), rounds.StreamPlan(count))


def _verdicts(section: str, rows: Mapping[str, rounds.Row]) -> list[str]:
    """Say of each line whether it holds, as far as the peers that it names were measured."""
    found = []
    if ONE in rows:
        for base, most in _LINES[section].items():
            if base in rows:
                found.append(report.verdict(f"guarded × {base}", rows[ONE].ratio_to(rows[base]), most))
        if "onwards" in rows:
            found.append(f"guarded × onwards: {rows[ONE].ratio_to(rows['onwards']):.2f}")
        many = [rows[name] for name in (MANY, SPREAD) if name in rows]
        found += [report.verdict(f"{row.name} × {ONE}", row.ratio_to(rows[ONE]), _SAME) for row in many]
    for line in found:
        print(f"\n{line}", flush=True)
    return found
