"""A scripted upstream on raw sockets: it does to the byte what a test's script says, and keeps what it was sent.

A script is a coroutine function that is given one connection (`Peer`)::

    async def cut(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9\\r\\n\\r\\nabc")
        peer.rst()

    async with origin(cut, serve()) as upstream:  # first connection: cut; all further ones: serve
        ...

Every wait ends after ``CAP`` seconds with TimeoutError, so that no test can hang.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

CAP = 20.0
_LIMIT = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived. ``raw`` is every byte of it; ``body`` has its transfer coding undone."""

    raw: bytes
    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in order; the name in any case."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    @property
    def names(self) -> list[bytes]:
        """Field names in their order, case and repeats."""
        return [name for name, _ in self.fields]


class Peer:
    """One connection, as the upstream sees it. ``number`` counts the origin's connections from 0."""

    def __init__(self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self._origin = origin
        self._reader = reader
        self._writer = writer
        self.number = number
        self.requests: list[Received] = []

    async def request(self) -> Received:
        """The next request, whole. Raises IncompleteReadError if the connection ends instead."""
        async with asyncio.timeout(CAP):
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head[:-4].split(b"\r\n")
            method, target, _ = lines[0].split(b" ", 2)
            fields = [_field(line) for line in lines[1:]]
            framing = {name.lower(): value for name, value in fields}
            if b"transfer-encoding" in framing:
                raw, body = await self._chunks()
            else:
                raw = body = await self._reader.readexactly(int(framing.get(b"content-length", b"0")))
        received = Received(head + raw, method, target, fields, body)
        self.requests.append(received)
        self._origin.took(received)
        return received

    async def request_head(self) -> bytes:
        """The head of the next request, its body being left unread. It is not counted as a request."""
        async with asyncio.timeout(CAP):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def send(self, *pieces: bytes) -> None:
        """Write pieces; returns when the kernel (or the bounded buffer in front of it) has taken them."""
        for piece in pieces:
            self._writer.write(piece)
            async with asyncio.timeout(CAP):
                await self._writer.drain()

    def write(self, data: bytes) -> None:
        """Write without waiting until it is taken."""
        self._writer.write(data)

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return self._writer.transport.get_write_buffer_size()

    def fin(self) -> None:
        """Close in an orderly way."""
        self._writer.close()

    def half_close(self) -> None:
        """Send no more, but go on receiving."""
        self._writer.write_eof()

    def rst(self) -> None:
        """Close with a reset, what is unsent being lost."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the other side has closed, by FIN or RST; what it still sent is dropped."""
        async with asyncio.timeout(CAP):
            try:
                while await self._reader.read(65536):
                    pass
            except ConnectionError:
                pass

    async def _chunks(self) -> tuple[bytes, bytes]:
        raw = body = b""
        while True:
            line = await self._reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            data = await self._reader.readexactly(size + 2)
            raw += line + data
            body += data[:-2]
            if size == 0:
                return raw, body


Script = Callable[[Peer], Awaitable[None]]


class Origin:
    """A listening upstream. ``requests`` holds all that came, over all connections, in order."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self.requests: list[Received] = []
        self.peers: list[Peer] = []
        self.errors: list[BaseException] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        """The latest request."""
        return self.requests[-1]

    def took(self, received: Received) -> None:
        self.requests.append(received)
        self._changed.set()

    async def seen(self, count: int) -> None:
        """Wait until ``count`` requests have come."""
        async with asyncio.timeout(CAP):
            while len(self.requests) < count:
                self._changed.clear()
                await self._changed.wait()

    async def connected(self, count: int) -> None:
        """Wait until ``count`` connections were made."""
        async with asyncio.timeout(CAP):
            while len(self.peers) < count:
                self._changed.clear()
                await self._changed.wait()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run the script of one connection; it ends with FIN unless the script ended it otherwise."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(self, reader, writer, len(self.peers))
        self.peers.append(peer)
        self._changed.set()
        try:
            await self._scripts[min(peer.number, len(self._scripts) - 1)](peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway closed while the script waited: that is for the test to judge
        except BaseException as error:  # told to the test at the end
            self.errors.append(error)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def origin(*scripts: Script) -> AsyncIterator[Origin]:
    """Listen on a free port. The n-th connection follows the n-th script, the last one serves all further ones.

    At the end, what a script let out (AssertionError, TimeoutError) is raised.
    """
    upstream = Origin(scripts or (serve(),))
    server = await asyncio.start_server(upstream.accept, "127.0.0.1", 0, limit=_LIMIT)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        await upstream.close()
    failed = [error for error in upstream.errors if not isinstance(error, asyncio.CancelledError)]
    if failed:
        raise failed[0]


def answer(body: bytes = b'{"ok":true}', status: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    """A whole response with Content-Length. ``fields`` are further lines, each with its CRLF."""
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def serve(*responses: bytes) -> Script:
    """Answer requests with these bytes in turn, the last one for ever; the connection is kept."""
    ready = responses or (answer(),)

    async def script(peer: Peer) -> None:
        turn = 0
        while True:
            await peer.request()
            await peer.send(ready[min(turn, len(ready) - 1)])
            turn += 1

    return script


def once(response: bytes) -> Script:
    """Answer one request with these bytes, then FIN."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response)

    return script


def watched(sent: bytes, closed: asyncio.Event) -> Script:
    """Answer one request with these bytes and wait for the gateway to close; then ``closed`` is set."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await peer.gone()
        closed.set()

    return script


async def silent(peer: Peer) -> None:
    """Take a request and never answer; ends when the gateway gives up."""
    await peer.request()
    await peer.gone()


_bound: list[socket.socket] = []


def refused_port() -> int:
    """A port of 127.0.0.1 where nobody listens, nor will while the tests run: it stays bound."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    _bound.append(holder)
    return int(holder.getsockname()[1])


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def streaming(release: asyncio.Event, *events: bytes) -> Script:
    """Answer each request with an event stream of ``events`` that ends well once ``release`` is set."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(STREAM_HEAD, *map(chunk, events or (b"data: 1\n\n",)))
            await release.wait()
            await peer.send(LAST_CHUNK)

    return script


async def no_answer(peer: Peer) -> None:
    """Take one request, and close without a byte of answer."""
    await peer.request()


def breaks_off(*frames: bytes) -> Script:
    """A stream whose connection ends behind ``frames``, without a last chunk."""
    return once(STREAM_HEAD + b"".join(map(chunk, frames)))
