"""The two pure functions that see every body: the model scan, and the re-chunker."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable

import msgspec

from benchmarks import traffic
from benchmarks.report import table
from onwards_py.wire import model_scan
from onwards_py.wire.rechunk import Rechunker

_SECONDS = 0.4
_EVENT_LIMIT = 8 * 1024 * 1024


class _OnlyModel(msgspec.Struct):
    model: str


def measure() -> list[dict[str, object]]:
    """Print both tables and return their rows."""
    print("\n## Model scan beside msgspec decoding a struct of only `model`\n")
    scans = [_scan(name, body) for name, body in _bodies().items()]
    head = ["body", "bytes", "scan µs", "msgspec µs", "ratio"]
    print(table(head, [[*map(str, row.values())] for row in scans]), flush=True)
    print("\n## Re-chunker, events of about 250 bytes\n")
    stream = b"".join(traffic.event_chunk(0.0)[4:-2] for _ in range(8000))
    chunkings = [_rechunk(f"reads of {size:,} bytes", stream, size) for size in (100, 1448, 16_384, 262_144)]
    event = len(traffic.event_chunk(0.0)[4:-2])
    chunkings.insert(0, _rechunk("one whole event a read", stream, event))
    print(table(["input", "MB/s", "µs per read"], [[*map(str, row.values())] for row in chunkings]), flush=True)
    return [*scans, *chunkings]


def _bodies() -> dict[str, bytes]:
    """Return chats whose ``model`` follows the messages, where the OpenAI SDK puts it."""
    rng = random.Random(1)
    picture = base64.b64encode(rng.randbytes(3_000_000)).decode()
    words = ["proxy", "reads", 'the "model"', "name\n", "and\tmoves", "bytes;", "nothing", "else."]
    prose = " ".join(rng.choices(words, k=700))
    turns = [{"role": "user" if n % 2 else "assistant", "content": prose} for n in range(70)]
    foreign = [{**turn, "content": turn["content"].replace("else.", "überhaupt 何も")} for turn in turns]
    image = [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}]}
    ]

    def body(messages: object) -> bytes:
        chat = {"messages": messages, "model": "gpt-5-mini", "stream": True}
        return json.dumps(chat, separators=(",", ":"), ensure_ascii=False).encode()

    small = traffic.chat_request(80).partition(b"\r\n\r\n")[2]
    return {"small chat": small, "chat": body(turns), "chat beyond ASCII": body(foreign), "image": body(image)}


def _best_pair(first: Callable[[], object], second: Callable[[], object]) -> list[float]:
    """Return the shortest time of each in seconds; they take turns, so that both see the same machine."""
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        for index, call in enumerate((first, second)):
            began = time.perf_counter()
            call()
            best[index] = min(best[index], time.perf_counter() - began)
    return best


def _scan(name: str, body: bytes) -> dict[str, object]:
    decoder = msgspec.json.Decoder(_OnlyModel)
    scan, decode = _best_pair(lambda: model_scan.scan(body), lambda: decoder.decode(body))
    times = {"scan": f"{scan * 1e6:.1f}", "msgspec": f"{decode * 1e6:.1f}"}
    return {"body": name, "bytes": f"{len(body):,}", **times, "ratio": f"{scan / decode:.2f}"}


def _rechunk(name: str, stream: bytes, size: int) -> dict[str, object]:
    reads = [stream[at : at + size] for at in range(0, len(stream), size)]

    def through() -> int:
        feed = Rechunker(_EVENT_LIMIT).feed
        return sum(len(feed(read)) for read in reads)

    assert through() == len(stream)
    best, _ = _best_pair(through, lambda: None)
    return {"input": name, "MB/s": f"{len(stream) / 1e6 / best:,.0f}", "µs": f"{best * 1e6 / len(reads):.2f}"}
