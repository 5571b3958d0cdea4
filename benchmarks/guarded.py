"""What authentication and limits cost: unary and SSE with all of them on, and with 100,000 keys in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import fleet, report, rounds, traffic
from benchmarks.peers import Peer
from benchmarks.peers.onwards import LIMITED_EACH, guarded, key_of
from benchmarks.processes import Running

KEYS = 100_000
ASKED = range(0, KEYS, LIMITED_EACH)
"""Users that come in turn: from all over the file, each with every limit."""
RATES = "guarded, rate and concurrency"
RATES_AGAINST = f"{RATES}, against"
ONE, MANY = "guarded, 1 key", f"guarded, {KEYS:,} keys"
ONE_AGAINST = f"{ONE}, against"
FEW_IN_TURN, MANY_IN_TURN = (f"{count:,} keys, {len(ASKED):,} in turn" for count in (len(ASKED), KEYS))
_BESIDE = {"nginx", "envoy", "onwards"}
_SAME = 1.1
"""What the number of keys may seem to cost: as much as two runs of the same differ."""
_LINES = {"unary": {"nginx": 2.1, "envoy": 0.8}, "sse": {"nginx": 1.5}}


def measure(
    peers: list[Peer], directory: Path, count: int, requests: int, against: Sequence[str] | None = None
) -> dict[str, object]:
    """Run ``count`` rounds of both with ``requests`` each, print tables and verdicts, return the figures. ``against``
    is the program of another commit."""
    taken = [peer for peer in peers if peer.name in _BESIDE]
    taken += [guarded(RATES, tokens=False), guarded(ONE), guarded(MANY, range(KEYS)), guarded(FEW_IN_TURN, ASKED)]
    if against is not None:
        taken += [guarded(RATES_AGAINST, tokens=False, program=against), guarded(ONE_AGAINST, program=against)]
    results: dict[str, object] = {}
    with fleet.fleet(taken, directory) as running:
        lines = {"unary": _unary(running, rounds.UnaryPlan(count, requests))}
        others = {name: peer for name, peer in running.items() if name != FEW_IN_TURN}
        lines["sse"] = rounds.streams(others, rounds.StreamPlan(count))
        for section, rows in lines.items():
            unit = "request" if section == "unary" else "event"
            print(f"\n## With authentication and limits: {section}, {count} rounds\n")
            print(report.cost_table(unit, rows))
            results[section] = report.plain(rows)
            results[f"{section} verdicts"] = _verdicts(section, {row.name: row for row in rows})
    return results


def _unary(running: Mapping[str, Running], plan: rounds.UnaryPlan) -> list[rounds.Row]:
    peers = dict(running)
    if MANY in peers:
        peers[MANY_IN_TURN] = peers[MANY]
    # Neighbours in the file are not neighbours in turn, so that no table is read in its order.
    turns = [ASKED[number * 389 % len(ASKED)] for number in range(len(ASKED))]
    requests = {
        name: [traffic.chat_request(peers[name].port, key=key_of(user)) for user in turns]
        for name in (FEW_IN_TURN, MANY_IN_TURN)
        if name in peers
    }
    return rounds.unary(peers, plan, requests)


def _verdicts(section: str, rows: Mapping[str, rounds.Row]) -> list[str]:
    """Say of each line whether it holds, as far as the peers that it names were measured."""
    found = []
    for name in (RATES, ONE):
        for base, most in _LINES[section].items():
            if name in rows and base in rows:
                found.append(report.verdict(f"{name} × {base}", rows[name].ratio_to(rows[base]), most))
    if ONE in rows and "onwards" in rows:
        found.append(f"guarded × onwards: {rows[ONE].ratio_to(rows['onwards']):.2f}")
    for now, before in ((RATES, RATES_AGAINST), (ONE, ONE_AGAINST)):
        if now in rows and before in rows:
            found.append(f"{now} × {before}: {rows[now].ratio_to(rows[before]):.2f}")
    for many, few in ((MANY, ONE), (MANY_IN_TURN, FEW_IN_TURN)):
        if many in rows and few in rows:
            found += [report.verdict(f"{many} × {few}", rows[many].ratio_to(rows[few]), _SAME)]
    for line in found:
        print(f"\n{line}", flush=True)
    return found
