"""A raw HTTP/1.1 client: bytes out as the test says, bytes in as they came, and no kindness in between.

Every wait ends after ``CAP`` seconds with TimeoutError, so that no test can hang.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

CAP = 20.0


class End(Enum):
    """How a response ended."""

    WHOLE = "whole"  # its framing says so
    CLOSED = "closed"  # FIN before the framing's end; for a body without framing: its regular end
    RESET = "reset"  # RST


@dataclass(slots=True)
class Response:
    """One response. ``chunks`` are the chunks of a chunked body as they stood on the wire; ``body`` joins them."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    head: bytes
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    end: End | None = None

    @property
    def whole(self) -> bool:
        return self.end is End.WHOLE

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, in order; the name in any case."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def value(self, name: bytes) -> bytes | None:
        """The only value of a field; None if it is missing."""
        values = self.values(name)
        assert len(values) < 2, f"{name!r} is there {len(values)} times"
        return values[0] if values else None

    @property
    def names(self) -> list[bytes]:
        """Field names in their order, case and repeats."""
        return [name for name, _ in self.fields]

    @property
    def error(self) -> dict[str, object]:
        """The object in ``error`` of an error envelope."""
        envelope = json.loads(self.body)["error"]
        assert isinstance(envelope, dict)
        return envelope


class Client:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._raw = bytearray()

    @property
    def raw(self) -> bytes:
        """Every byte that was read."""
        return bytes(self._raw)

    # Sending

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each in a write of its own, with a turn of the loop in between."""
        for piece in pieces:
            self._writer.write(piece)
            async with asyncio.timeout(CAP):
                await self._writer.drain()
            await asyncio.sleep(0)

    def fin(self) -> None:
        """Leave in an orderly way."""
        self._writer.close()

    def half_close(self) -> None:
        """Send no more, but go on receiving."""
        self._writer.write_eof()

    def rst(self) -> None:
        """Leave with a reset."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    # Receiving

    async def response(self, *, to_head: bool = False) -> Response:
        """The next response to its end, however it ends. ``to_head``: it answers HEAD, so no body follows."""
        response = await self.head()
        await self.rest(response, to_head=to_head)
        return response

    async def head(self) -> Response:
        """The next response's head; its body is then read by `chunk`, `exactly` or `rest`."""
        head = await self._until(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        version, status, reason = (*lines[0].split(b" ", 2), b"")[:3]
        assert version == b"HTTP/1.1", f"not a response: {head!r}"
        fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            assert colon, f"not a field: {line!r}"
            assert name.strip() == name, f"not a field: {line!r}"
            fields.append((name, value.strip(b" \t")))
        return Response(int(status), reason, fields, head)

    async def rest(self, response: Response, *, to_head: bool = False) -> None:
        """What remains of the body; sets ``end``."""
        if to_head or response.status in (204, 304) or response.status < 200:
            response.end = End.WHOLE
            return
        try:
            if response.value(b"transfer-encoding") is not None:
                assert response.value(b"content-length") is None, "two framings"
                while await self.chunk(response):
                    pass
                response.end = End.WHOLE
                return
            length = response.value(b"content-length")
            if length is None:
                await self._to_close(response)
                return
            await self._measured(response, int(length))
        except asyncio.IncompleteReadError as error:
            response.body += error.partial
            response.end = End.CLOSED
        except ConnectionError:
            response.end = End.RESET

    async def chunk(self, response: Response) -> bytes:
        """The next chunk of a chunked body, which `Response` also keeps; empty for the last one."""
        line = await self._until(b"\r\n")
        size = int(line[:-2], 16)
        data = await self._exactly(size + 2)
        assert data.endswith(b"\r\n"), "a chunk is longer than it says"
        if size:
            response.chunks.append(data[:-2])
            response.body += data[:-2]
        return data[:-2]

    async def exactly(self, count: int) -> bytes:
        """So many bytes of whatever comes next."""
        return await self._exactly(count)

    async def closed(self) -> End:
        """Wait for the gateway to close; what it still sent must be nothing."""
        try:
            async with asyncio.timeout(CAP):
                data = await self._reader.read(1)
        except ConnectionError:
            return End.RESET
        assert not data, f"more came: {data!r}"
        return End.CLOSED

    async def _to_close(self, response: Response) -> None:
        while True:
            async with asyncio.timeout(CAP):
                data = await self._reader.read(65536)
            if not data:
                response.end = End.CLOSED
                return
            self._raw += data
            response.body += data

    async def _measured(self, response: Response, length: int) -> None:
        body = bytearray(response.body)
        try:
            while len(body) < length:
                async with asyncio.timeout(CAP):
                    data = await self._reader.read(min(length - len(body), 65536))
                if not data:
                    response.end = End.CLOSED
                    return
                self._raw += data
                body += data
            response.end = End.WHOLE
        finally:
            response.body = bytes(body)

    async def _exactly(self, count: int) -> bytes:
        async with asyncio.timeout(CAP):
            data = await self._reader.readexactly(count)
        self._raw += data
        return data

    async def _until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(CAP):
            data = await self._reader.readuntil(mark)
        self._raw += data
        return data


@asynccontextmanager
async def connect(port: int, *, buffer: int | None = None, window: int | None = None) -> AsyncIterator[Client]:
    """A connection to 127.0.0.1. ``buffer`` bounds the bytes that are taken from the kernel without being asked for,
    ``window`` those that the kernel takes."""
    sock = socket.socket()
    if window is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CAP):
        await loop.sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=buffer or 64 * 1024 * 1024)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def post(
    body: bytes = b'{"model":"m"}', target: bytes = b"/v1/chat/completions", fields: bytes = b"", host: bytes = b"gw"
) -> bytes:
    """A whole POST with Content-Length. ``fields`` are further lines, each with its CRLF."""
    return b"POST %b HTTP/1.1\r\nHost: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (target, host, fields, len(body), body)


def get(target: bytes, fields: bytes = b"", host: bytes = b"gw") -> bytes:
    """A whole GET."""
    return b"GET %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (target, host, fields)


async def ask(port: int, request: bytes) -> Response:
    """One request on a connection of its own."""
    async with connect(port) as client:
        await client.send(request)
        return await client.response(to_head=request.startswith(b"HEAD "))


def request_head(*lines: bytes, start: bytes = b"POST /v1/x HTTP/1.1", host: bytes = b"Host: h\r\n") -> bytes:
    """A request head of exactly these lines. ``host``: the line of Host with its end, or what stands in its place."""
    return start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
