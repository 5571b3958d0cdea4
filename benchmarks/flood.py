"""What large and hostile request bodies do to everybody else: latency of small requests beside them."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import fleet, processes, traffic
from benchmarks.own import Own, serving
from benchmarks.peers import PeerMissing
from benchmarks.report import table

SIZE = 57 * 1024 * 1024
SECONDS = 4.0
PAUSE = 0.002
"""Between two small requests."""
ALLOWED_STALL_MS = 50.0
ALLOWED_P99_MS = 20.0
"""So much may the 99th percentile of the others grow in the flood of strangers."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Beside:
    """Latencies of small requests in milliseconds beside ``what``: of all, and the worst while one of those was handled
    (the median of these). ``count`` were answered with ``statuses``."""

    what: str
    p50_ms: float
    p99_ms: float
    max_ms: float
    stall_ms: float = 0.0
    count: int = 0
    statuses: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """One large request: monotonic seconds, and what it was answered with."""

    began: float
    ended: float
    status: int


def measure(directory: Path) -> dict[str, object]:
    """Run all kinds, print the table and whether the lines hold, return the figures; ``broken``: one does not."""
    print(f"\n## Floods: small requests, one at a time, beside bodies that decode to {SIZE >> 20} MiB\n")
    try:
        with fleet.upstream(directory) as provider, _sink() as sink:
            key = {"keys": [traffic.CLIENT_KEY]}
            targets = {
                traffic.MODEL: {"url": f"http://127.0.0.1:{provider.port}/", **key},
                "sink": {"url": f"http://127.0.0.1:{sink}/", **key},
                "renamed": {"url": f"http://127.0.0.1:{sink}/", "onwards_model": "other", **key},
            }
            with serving(directory, {"targets": targets}, processes.PROXY_CORE) as proxy:
                rows = [_probe(proxy, "nothing", None), *_strangers(proxy), *_accepted(proxy)]
    except (PeerMissing, processes.StartError, OSError) as error:
        fleet.say(f"-- flood is left out: {error}")
        return {}
    return _report(rows)


def _strangers(proxy: Own) -> Iterator[Beside]:
    """58 KB that unfold to 30 million numbers, without a key, as fast as a connection takes them."""
    body = gzip.compress(b'{"model":"sink","x":[' + b"0," * (SIZE // 2) + b"0]}")
    yield _probe(proxy, "gzip of numbers, no key", _request(proxy, body, b"Content-Encoding: gzip\r\n", key=None))
    key = traffic.CLIENT_KEY
    yield _probe(proxy, "gzip of numbers, with a key", _request(proxy, body, b"Content-Encoding: gzip\r\n", key=key))


def _accepted(proxy: Own) -> Iterator[Beside]:
    form = b"Content-Type: multipart/form-data; boundary=b\r\n"
    file = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    model = b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsink\r\n--b--\r\n'
    text = b"".join(b'{"role":"user","content":"%x"},' % (number * 0x9E3779B97F4A7C15) for number in range(1_100_000))
    bodies = {
        "one string": (b"", _filled(b'{"model":"sink","x":"', b"QUJD", b'"}')),
        "numbers": (b"", _filled(b'{"model":"sink","x":[', b"0,", b"0]}")),
        "numbers, renamed": (b"", _filled(b'{"model":"renamed","x":[', b"0,", b"0]}")),
        "strings": (b"", _filled(b'{"model":"sink","x":[', b'"",', b"0]}")),
        "escapes": (b"", _filled(b'{"model":"sink","x":"', b"\\n", b'"}')),
        "lists in lists": (b"", _filled(b'{"model":"sink","x":[', b"[[[[[[[]]]]]]],", b"0]}")),
        "not ASCII": (b"", _filled(b'{"model":"sink","x":"', "é".encode(), b'"}')),
        "messages in gzip": (b"Content-Encoding: gzip\r\n", gzip.compress(b'{"model":"sink","x":[' + text + b"0]}", 1)),
        "form": (form, _filled(file, b"\r\n-", model)),
    }
    for name, (fields, body) in bodies.items():
        yield _probe(proxy, name, _request(proxy, body, fields))


def _filled(lead: bytes, unit: bytes, tail: bytes) -> bytes:
    return lead + unit * ((SIZE - len(lead) - len(tail)) // len(unit)) + tail


def _request(proxy: Own, body: bytes, fields: bytes, *, key: str | None = traffic.CLIENT_KEY) -> bytes:
    if key is not None:
        fields += b"Authorization: Bearer %b\r\n" % key.encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % proxy.running.port
    return head + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _probe(proxy: Own, what: str, request: bytes | None) -> Beside:
    """Send small requests for a while, with another thread that sends ``request`` over and over."""
    port, over, sent = proxy.running.port, threading.Event(), list[Sent]()
    sender = threading.Thread(target=_send, args=(port, request, over, sent)) if request is not None else None
    if sender is not None:
        sender.start()
    small, timed = traffic.chat_request(port), list[tuple[float, float]]()
    until = time.monotonic() + SECONDS
    try:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(10)
            while time.monotonic() < until:
                began = time.monotonic()
                client.sendall(small)
                _message(client)
                timed.append((began, (time.monotonic() - began) * 1000))
                time.sleep(PAUSE)
    finally:
        over.set()
        if sender is not None:
            sender.join()
    taken = sorted(latency for _, latency in timed)
    worst = [max([ms for at, ms in timed if one.began <= at <= one.ended], default=0.0) for one in sent[:200]]
    codes = ", ".join(str(status) for status in sorted({one.status for one in sent}))
    p99 = taken[int(len(taken) * 0.99)]
    stall = statistics.median(worst) if worst else 0.0
    return Beside(what, statistics.median(taken), p99, taken[-1], stall, len(sent), codes)


def _send(port: int, request: bytes, over: threading.Event, sent: list[Sent]) -> None:
    while not over.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(10)
            while not over.is_set():
                began = time.monotonic()
                client.sendall(request)
                status = int(_message(client)[9:12])
                sent.append(Sent(began, time.monotonic(), status))


def _message(client: socket.socket) -> bytes:
    """Read one request or response with a Content-Length; its first bytes, the head among them. Raises OSError."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _received(client)
    length = _LENGTH.search(data[:end])
    missing = (int(length.group(1)) if length else 0) - (len(data) - end - 4)
    while missing > 0:
        missing -= len(_received(client))
    return data


def _received(client: socket.socket) -> bytes:
    data = client.recv(_CHUNK)
    if not data:
        raise ConnectionError("closed")
    return data


@contextlib.contextmanager
def _sink() -> Iterator[int]:
    """The port of a provider that takes large bodies and forgets them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def _accept(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=_swallow, args=(listener.accept()[0],), daemon=True).start()


def _swallow(client: socket.socket) -> None:
    with client, contextlib.suppress(OSError):
        while True:
            _message(client)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")


def _report(rows: list[Beside]) -> dict[str, object]:
    head = ["beside", "p50 ms", "p99 ms", "max ms", "worst beside one, ms", "answered", "with"]
    cells = []
    for row in rows:
        times = (row.p50_ms, row.p99_ms, row.max_ms, row.stall_ms)
        cells.append([row.what, *(f"{ms:.1f}" for ms in times), f"{row.count:,}", row.statuses])
    print(table(head, cells))
    idle, strangers = rows[0], rows[1]
    added = strangers.p99_ms - idle.p99_ms
    stall = max(row.stall_ms for row in rows[3:])
    lines = {
        f"p99 beside strangers grows by {added:.1f} ms; at most {ALLOWED_P99_MS:.0f} ms": added <= ALLOWED_P99_MS,
        f"a body stalls others for {stall:.0f} ms; at most {ALLOWED_STALL_MS:.0f} ms": stall <= ALLOWED_STALL_MS,
    }
    for line, holds in lines.items():
        print(f"\n{line}: {'holds' if holds else 'DOES NOT HOLD'}", flush=True)
    return {"rows": [asdict(row) for row in rows], "broken": not all(lines.values())}
