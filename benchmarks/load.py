"""Load on a proxy: whole answers on keep-alive connections, and event streams. Bounded in count and time."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from benchmarks import traffic

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CHUNKS_END = b"\r\n0\r\n\r\n"


class LoadError(Exception):
    """The load could not be brought to its end: nothing was measured."""


@dataclass(slots=True)
class Tally:
    """What became of the load. Latencies in seconds; ``units`` counts answers or events."""

    units: int = 0
    failed: int = 0
    unanswered: int = 0
    """Sent on a connection that closed without a byte of answer and without having announced it."""
    seconds: float = 0.0
    cpu_ns: int = 0
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """Return the latency in seconds that ``share`` (0..1) of the units do not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def message_end(data: bytes) -> int | None:
    """Return where the first response in ``data`` ends, or None while it is not whole."""
    head_end = data.find(b"\r\n\r\n") + 4
    if head_end < 4:
        return None
    length = _LENGTH.search(data, 0, head_end)
    if length is not None:
        end = head_end + int(length[1])
        return end if len(data) >= end else None
    last = data.find(_CHUNKS_END, head_end - 2)
    return last + len(_CHUNKS_END) if last >= 0 else None


class UnaryLoad:
    """Sends ``count`` requests over ``connections`` kept alive; closed loop, or at ``rate`` per second."""

    def __init__(
        self,
        port: int,
        request: bytes | Sequence[bytes],
        *,
        connections: int,
        count: int,
        rate: float | None = None,
    ) -> None:
        """``request`` is sent each time, or several in turn."""
        self.tally = Tally()
        self.requests = itertools.cycle([request] if isinstance(request, bytes) else request)
        self._port = port
        self._connections = connections
        self._unsent = count
        self._open = 0
        self._rate = rate
        self._due: deque[float] = deque()
        self._idle: deque[_UnaryClient] = deque()
        self.done = asyncio.Event()

    async def run(self, cpu_ns: Callable[[], int], patience: float = 120.0) -> Tally:
        """Connect, then send and await everything; CPU time is taken without the connecting.

        Raises LoadError if connecting fails or ``patience`` seconds pass.
        """
        loop = asyncio.get_running_loop()
        clients = [_UnaryClient(self) for _ in range(self._connections)]
        try:
            for client in clients:
                await loop.create_connection(lambda client=client: client, "127.0.0.1", self._port)  # type: ignore[misc]
            self._open = len(clients)
            before, began = cpu_ns(), time.perf_counter()
            pacer = self._begin(clients)
            async with asyncio.timeout(patience):
                await self.done.wait()
            self.tally.seconds = time.perf_counter() - began
            self.tally.cpu_ns = cpu_ns() - before
        except (OSError, TimeoutError) as error:
            raise LoadError(f"{type(error).__name__}: {error}") from error
        finally:
            for client in clients:
                client.leave()
        if pacer is not None:
            await pacer
        return self.tally

    def _begin(self, clients: list[_UnaryClient]) -> asyncio.Task[None] | None:
        if self._rate is not None:
            self._idle.extend(clients)
            return asyncio.create_task(self._pace(self._rate, self._unsent))
        for client in clients:
            self.next_for(client)
        return None

    async def _pace(self, rate: float, count: int) -> None:
        """Make requests due on a fixed schedule; one that finds no idle connection waits, and its clock runs."""
        began = time.perf_counter()
        planned = 0
        while planned < count and not self.done.is_set():
            now = time.perf_counter()
            while planned < count and (due := began + planned / rate) <= now:
                planned += 1
                self._due.append(due)
            while self._due and self._idle:
                self.next_for(self._idle.popleft())
            await asyncio.sleep(0.001)

    def next_for(self, client: _UnaryClient) -> None:
        """Give an idle connection its next request, if there is one now."""
        if self._rate is not None and self._unsent and not self._due:
            self._idle.append(client)
        elif self._unsent:
            self._unsent -= 1
            client.send(self._due.popleft() if self._rate is not None else time.perf_counter())
            while self._idle and not self._unsent:
                self.lost(self._idle[0])
        else:
            self.lost(client)

    def finish(self) -> None:
        """Send nothing more; what is under way is still awaited."""
        self._unsent = 0
        self._due.clear()
        while self._idle:
            self.lost(self._idle[0])

    def lost(self, client: _UnaryClient) -> None:
        """A connection is at its end; the last one ends the load."""
        client.leave()
        if client in self._idle:
            self._idle.remove(client)
        self._open -= 1
        if self._open == 0:
            self.done.set()


class _UnaryClient(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, load: UnaryLoad) -> None:
        self._load = load
        self._tally = load.tally
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._sent_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast(asyncio.Transport, transport)  # uvloop registers no subclass

    def send(self, sent_at: float) -> None:
        """Send the next request; latency counts from ``sent_at``."""
        assert self._transport is not None
        self._sent_at = sent_at
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        if message_end(data) != len(data) or self._sent_at is None:
            self._received = data
            return
        self._received = b""
        tally = self._tally
        if data.startswith(b"HTTP/1.1 200"):
            tally.units += 1
        else:
            tally.failed += 1
        tally.latencies.append(time.perf_counter() - self._sent_at)
        self._sent_at = None
        if _CLOSE.search(data, 0, data.find(b"\r\n\r\n")) is None:
            self._load.next_for(self)
        else:
            self._load.lost(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._transport is None:
            return
        if self._received:
            self._tally.failed += 1
        elif self._sent_at is not None:
            self._tally.unanswered += 1
        self._load.lost(self)

    def leave(self) -> None:
        """Close; what happens to the connection afterwards no longer counts."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()


class StreamLoad:
    """Holds ``streams`` event streams at once and counts what arrives on them."""

    def __init__(
        self,
        port: int,
        *,
        streams: int,
        events: int,
        interval_ms: int,
        request: bytes | None = None,
        mark: bytes = traffic.EVENT_MARK,
    ) -> None:
        """``request`` replaces the chat request; ``mark`` stands once in each event, before the time of sending."""
        self.tally = Tally()
        self.started = asyncio.Event()
        self.done = asyncio.Event()
        self.whole = 0
        self.request = request or traffic.chat_request(port, stream=True, max_tokens=events, seed=interval_ms)
        self.mark = mark
        self.expected = events
        self._port = port
        self._streams = streams
        self._unstarted = streams
        self._unended = streams
        self._clients: list[_StreamClient] = []

    async def open(self) -> None:
        """Connect and send all requests. Raises OSError."""
        loop = asyncio.get_running_loop()
        for _ in range(self._streams):
            client = _StreamClient(self)
            self._clients.append(client)
            await loop.create_connection(lambda client=client: client, "127.0.0.1", self._port)  # type: ignore[misc]

    async def run(self, cpu_ns: Callable[[], int], patience: float = 60.0) -> Tally:
        """Run all streams to their end; time and units count from the moment the last one has begun."""
        try:
            async with asyncio.timeout(patience):
                await self.open()
                await self.started.wait()
                before, began, units = cpu_ns(), time.perf_counter(), self.tally.units
                self.tally.latencies.clear()
                await self.done.wait()
        except (OSError, TimeoutError) as error:
            raise LoadError(f"{type(error).__name__}: {error}, {self.whole} of {self._streams} whole") from error
        finally:
            self.leave()
        self.tally.seconds = time.perf_counter() - began
        self.tally.cpu_ns = cpu_ns() - before
        self.tally.units -= units
        return self.tally

    def leave(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.leave()

    def stream_started(self) -> None:
        """A stream has got its first event."""
        self._unstarted -= 1
        if self._unstarted == 0:
            self.started.set()

    def stream_ended(self, *, whole: bool) -> None:
        """A stream is at its end; ``whole``: with all events and the ending that HTTP asks for."""
        self._unended -= 1
        if whole:
            self.whole += 1
        else:
            self.tally.failed += 1
        if self._unended == 0:
            self.started.set()
            self.done.set()


class _StreamClient(asyncio.Protocol):
    """One connection with one stream."""

    def __init__(self, load: StreamLoad) -> None:
        self._load = load
        self._tally = load.tally
        self._transport: asyncio.Transport | None = None
        self._head: bytes | None = b""
        self._tail = b""
        self._events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast(asyncio.Transport, transport)  # uvloop registers no subclass
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._end(whole=False)
                return
            self._head = None
            data = found[2:] + data  # the line end that precedes the first chunk, should it be the last
        self._body(data)

    def _body(self, data: bytes) -> None:
        mark = self._load.mark
        begun = len(mark) - 1  # so much of a mark may have come with the read before
        data = (self._tail[-begun:] if begun else b"") + data
        count = data.count(mark)
        if count:
            if self._events == 0:
                self._load.stream_started()
            self._events += count
            self._tally.units += count
            stamp = data.rfind(mark) + len(mark)
            if len(data) >= stamp + traffic.EVENT_STAMP_BYTES:
                sent_at = float(data[stamp : stamp + traffic.EVENT_STAMP_BYTES])
                self._tally.latencies.append(time.monotonic() - sent_at)
        self._tail = (self._tail[: len(self._tail) - begun] + data)[-32:]
        if self._tail.endswith(_CHUNKS_END):
            self._end(whole=traffic.STREAM_END in self._tail and self._events == self._load.expected)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._transport is not None:
            self._end(whole=False)

    def _end(self, *, whole: bool) -> None:
        if self._transport is None:
            return
        self.leave()
        self._load.stream_ended(whole=whole)

    def leave(self) -> None:
        """Close; what happens to the connection afterwards no longer counts."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
