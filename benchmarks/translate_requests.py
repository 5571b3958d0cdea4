"""What translating a long request costs, beside reading and writing its JSON: both directions, in this process."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from benchmarks import traffic
from benchmarks.report import table
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.pairs import to_chat, to_responses

ALLOWED = 3.0
"""So many times the CPU of reading and writing the request's JSON may reading, translating and writing take."""
_SECONDS = 0.7

_PLAIN = ["proxy", "reads", "model,", "name", "moves", "bytes;", "nothing", "else."]
_TEXTS = {
    "no escapes": _PLAIN,
    "few escapes": [*_PLAIN * 10, "line\n", 'the "model"', "and\tmoves", "end.\n\n"],
    "many escapes": [*_PLAIN[:4], 'the "model"', "name\n", "and\tmoves"],
}
"""How much of a text is escaped in JSON decides what reading it costs, and so what the ratio is of."""
_PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}, "text": {"type": "string"}}}
_FUNCTION = {"name": "read_file", "description": "Reads a file.", "parameters": _PARAMETERS}

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Case:
    """``body`` is a request of about 400 kB, ``translated`` the provider's request for it, both as JSON."""

    name: str
    body: bytes
    translated: Callable[[bytes], bytes]


def measure() -> list[dict[str, object]]:
    """Print the table and whether the line holds, return the figures."""
    rows = [_row(case) for case in _cases()]
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
        print(f"{row['request']}: {verdict(float(str(row['ratio'])), ALLOWED)}", flush=True)
    return rows


def verdict(ratio: float, allowed: float) -> str:
    """Whether ``ratio`` is within what is allowed, in words."""
    return f"{ratio:.2f}x; at most {allowed:g}x: {'holds' if ratio <= allowed else 'DOES NOT HOLD'}"


def _cases() -> list[_Case]:
    cases: list[_Case] = []
    for kind, words in _TEXTS.items():
        rng = random.Random(1)
        for shape, items in (
            ("7 messages", _messages(rng, words, 7, 57_000)),
            ("252 messages", _messages(rng, words, 252, 1_500)),
            ("252 items", _session(rng, words)),
        ):
            cases.append(_Case(f"Responses, {shape}, {kind}", orjson.dumps(_responses(items)), _to_chat))
            cases.append(_Case(f"chat, {shape}, {kind}", orjson.dumps(_chat(items)), _to_responses))
    return cases


def _to_chat(body: bytes) -> bytes:
    return orjson.dumps(to_chat(orjson.loads(body), Quirks(), Policy()).body)


def _to_responses(body: bytes) -> bytes:
    return orjson.dumps(to_responses(orjson.loads(body), Quirks(), Policy()).body)


def _prose(rng: random.Random, words: list[str], length: int) -> str:
    """Return words that take about ``length`` bytes of JSON."""
    mean = statistics.mean(len(json.dumps(word)) - 1 for word in words)  # one space, no quotes
    return " ".join(rng.choices(words, k=round(length / mean)))


def _message(role: str, text: str) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def _messages(rng: random.Random, words: list[str], count: int, length: int) -> list[Json]:
    return [_message("assistant" if n % 2 else "user", _prose(rng, words, length)) for n in range(count)]


def _session(rng: random.Random, words: list[str]) -> list[Json]:
    """The items of a long session with tools: messages, calls and their outputs in turns."""
    items: list[Json] = []
    for n in range(63):
        said, answered, read = (_prose(rng, words, 1500) for _ in range(3))
        arguments = json.dumps({"path": f"src/{n}.py", "text": _prose(rng, words, 1250)})
        items += [
            _message("user", said),
            _message("assistant", answered),
            {"type": "function_call", "call_id": f"call_{n}", "name": "read_file", "arguments": arguments},
            {"type": "function_call_output", "call_id": f"call_{n}", "output": read},
        ]
    return items


def _responses(items: list[Json]) -> Json:
    tools = [{"type": "function", **_FUNCTION}]
    return {"model": traffic.MODEL, "instructions": "Be brief.", "input": items, "tools": tools, "stream": True}


def _chat(items: list[Json]) -> Json:
    """The same conversation as a chat client says it; a call is a message of its own."""
    messages: list[Json] = [{"role": "system", "content": "Be brief."}]
    for item in items:
        content = item.get("content")
        if isinstance(content, list):
            parts = [{"type": "text", "text": part["text"]} for part in content]
            messages.append({"role": item["role"], "content": parts})
        elif "output" in item:
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        else:
            function = {"name": item["name"], "arguments": item["arguments"]}
            calls = [{"id": item["call_id"], "type": "function", "function": function}]
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
    tools = [{"type": "function", "function": _FUNCTION}]
    return {"model": traffic.MODEL, "messages": messages, "tools": tools, "stream": True}


def _row(case: _Case) -> dict[str, object]:
    def only_json() -> None:
        orjson.dumps(orjson.loads(case.body))

    def translated() -> None:
        case.translated(case.body)

    plain, all_of_it = _medians(only_json, translated)
    times = {"json_us": plain * 1e6, "all_us": all_of_it * 1e6}
    return {"request": case.name, "bytes": len(case.body), **times, "ratio": all_of_it / plain}


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
