"""What ``open_responses_mode: translate`` costs: streams beside the same streams in native mode, and long requests."""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from benchmarks import fleet, processes, traffic
from benchmarks.load import LoadError, StreamLoad
from benchmarks.peers import Peer, PeerMissing, Place
from benchmarks.peers.onwards import serve
from benchmarks.processes import Running
from benchmarks.report import table
from benchmarks.rounds import Row, StreamPlan
from onwards_py.transcode.responses_over_chat.policy import Policy
from onwards_py.transcode.responses_over_chat.quirks import Quirks
from onwards_py.transcode.responses_over_chat.request import to_chat

ROUNDS = 7
ALLOWED_STREAM, ALLOWED_REQUEST = 2.5, 3.0
"""So many times the CPU of a native event, and of reading and writing the request's JSON, may translation take."""
_TRANSLATED = "translated"
_SECONDS = 1.0


def measure(directory: Path, rounds: int = ROUNDS) -> dict[str, object]:
    """Print both tables and whether the lines hold, return the figures."""
    load = os.getloadavg()
    print(f"\n## Translation of Responses requests to chat (load average before: {load[0]:.2f}, {load[1]:.2f})\n")
    results: dict[str, object] = {"load": load, "requests": _requests()}
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
    print(f"\na translated event costs {_verdict(ratio, ALLOWED_STREAM)}")
    print(f"ratios of the rounds: {min(ratios):.2f}–{max(ratios):.2f}", flush=True)
    return {"ratio": ratio, "ratios": ratios, "native": native.cpu_us, _TRANSLATED: translated.cpu_us}


def _verdict(ratio: float, allowed: float) -> str:
    return f"{ratio:.2f}x; at most {allowed:g}x: {'holds' if ratio <= allowed else 'DOES NOT HOLD'}"


def _requests() -> list[dict[str, object]]:
    rows = [_request(name, body) for name, body in _bodies().items()]
    cells = [
        [
            str(row["request"]),
            f"{row['bytes']:,}",
            f"{row['json_us']:.0f}",
            f"{row['all_us']:.0f}",
            f"{row['ratio']:.2f}",
        ]
        for row in rows
    ]
    print(table(["request", "bytes", "loads + dumps µs", "loads + translation + dumps µs", "ratio"], cells) + "\n")
    for row in rows:
        print(f"{row['request']}: {_verdict(float(str(row['ratio'])), ALLOWED_REQUEST)}", flush=True)
    return rows


def _bodies() -> dict[str, bytes]:
    """Return requests of about 400 kB: few long messages, and the many items of a long session with tools.

    How much of a text is escaped in JSON decides what reading it costs, and so what the ratio is of.
    """
    plain = ["proxy", "reads", "model,", "name", "moves", "bytes;", "nothing", "else."]
    texts = {
        "no escapes": plain,
        "few escapes": [*plain * 10, "line\n", 'the "model"', "and\tmoves", "end.\n\n"],
        "many escapes": [*plain[:4], 'the "model"', "name\n", "and\tmoves"],
    }
    found = {}
    for kind, words in texts.items():
        found[f"7 messages, {kind}"] = orjson.dumps(_asked(_few(words)))
        found[f"252 items, {kind}"] = orjson.dumps(_asked(_many(words)))
    return found


def _prose(rng: random.Random, words: list[str], length: int) -> str:
    """Return words that take about ``length`` bytes of JSON."""
    mean = statistics.mean(len(json.dumps(word)) - 1 for word in words)  # one space, no quotes
    return " ".join(rng.choices(words, k=round(length / mean)))


def _few(words: list[str]) -> list[object]:
    rng = random.Random(1)
    return [{"role": "assistant" if n % 2 else "user", "content": _prose(rng, words, 57_000)} for n in range(7)]


def _many(words: list[str]) -> list[object]:
    rng = random.Random(1)
    items: list[object] = []
    for n in range(63):
        arguments = json.dumps({"path": f"src/{n}.py", "text": _prose(rng, words, 1250)})
        said, answered, read = (_prose(rng, words, 1500) for _ in range(3))
        items += [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answered}]},
            {"type": "function_call", "call_id": f"call_{n}", "name": "read_file", "arguments": arguments},
            {"type": "function_call_output", "call_id": f"call_{n}", "output": read},
        ]
    return items


def _asked(items: list[object]) -> dict[str, object]:
    parameters = {"type": "object", "properties": {"path": {"type": "string"}, "text": {"type": "string"}}}
    tool = {"type": "function", "name": "read_file", "description": "Reads a file.", "parameters": parameters}
    return {"model": traffic.MODEL, "instructions": "Be brief.", "input": items, "tools": [tool], "stream": True}


def _request(name: str, body: bytes) -> dict[str, object]:
    quirks, policy = Quirks(), Policy()

    def only_json() -> None:
        orjson.dumps(orjson.loads(body))

    def translated() -> None:
        orjson.dumps(to_chat(orjson.loads(body), quirks, policy).chat)

    plain, all_of_it = _medians(only_json, translated)
    times = {"json_us": plain * 1e6, "all_us": all_of_it * 1e6}
    return {"request": name, "bytes": len(body), **times, "ratio": all_of_it / plain}


def _medians(*calls: Callable[[], None]) -> list[float]:
    """Return the median time of each in seconds; they take turns, so that all see the same machine."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        for call, found in zip(calls, times, strict=True):
            began = time.perf_counter()
            call()
            found.append(time.perf_counter() - began)
    return [statistics.median(found) for found in times]
