"""Responses over TLS arrive to their last byte, and a cut connection is not treated as a regular close."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme
from support.gateway import Gateway, running
from support.origin import Origin, serve
from support.raw import End, connect, post
from support.targets import snapshot

SIZE = 300_000
LENGTH = b"Content-Length: %d\r\n" % SIZE


class Closing:
    """A provider that answers one request for each connection and closes at once, as nginx does: in TLS, if
    ``notifies``, and by FIN, whether or not the client has read."""

    def __init__(self, context: ssl.SSLContext, fields: bytes, notifies: bool) -> None:
        self._context = context
        self._reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\n%b\r\n%b" % (fields, b"x" * SIZE)
        self._notifies = notifies
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(5)
        self.done = asyncio.Event()

    async def serve(self, count: int) -> None:
        for _ in range(count):
            await asyncio.to_thread(self._serve_one)
            self.done.set()

    def _serve_one(self) -> None:
        plain, _ = self.listener.accept()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * SIZE)  # takes all of it at once
        plain.settimeout(5)
        with self._context.wrap_socket(plain, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(self._reply)
            if self._notifies:
                secured.settimeout(0)
                with suppress(OSError):  # the other side's close_notify is not waited for
                    secured.unwrap()


@asynccontextmanager
async def closing(lane: bool, folder: Path, fields: bytes, notifies: bool) -> AsyncIterator[tuple[Closing, Gateway]]:
    authority, file = trustme.CA(), folder / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    provider = Closing(context, fields, notifies)
    url = f"https://127.0.0.1:{provider.listener.getsockname()[1]}"
    with provider.listener:
        async with running(snapshot({"m": {"url": url, "tls": {"ca_file": str(file)}}}), lane=lane) as gateway:
            yield provider, gateway


@pytest.mark.parametrize("fields", [LENGTH, b""], ids=["with a length", "up to the close"])
@pytest.mark.parametrize("slow", [True, False], ids=["slow", "fast"])
async def test_a_complete_body_stays_complete(lane: bool, slow: bool, fields: bytes, tmp_path: Path) -> None:
    """FIN arrives while most of the body is not yet decrypted, or is held back for a client that does not read."""
    async with closing(lane, tmp_path, fields, notifies=True) as (provider, gateway):
        serving = asyncio.create_task(provider.serve(20))
        for _ in range(20):
            async with connect(gateway.port, buffer=4096 if slow else None) as client:
                await client.send(post())
                if slow:  # reads nothing before the provider has closed
                    await asyncio.wait_for(provider.done.wait(), 5)
                    provider.done.clear()
                response = await client.response()
                assert (len(response.body), response.end) == (SIZE, End.WHOLE)
        await serving
    assert {line["outcome"] for line in gateway.lines()} == {"done"}


async def test_a_complete_length_needs_no_close_notify(lane: bool, tmp_path: Path) -> None:
    """Many servers close without close_notify. If the framing is complete, the body was not cut."""
    async with closing(lane, tmp_path, LENGTH, notifies=False) as (provider, gateway):
        serving = asyncio.create_task(provider.serve(1))
        async with connect(gateway.port) as client:
            await client.send(post())
            assert (await client.response()).end is End.WHOLE
        await serving


@pytest.mark.either_door
@pytest.mark.parametrize("size", [1000, 65_000, 66_000, 5_000_000])
async def test_requests_arrive_whole_on_one_connection(lane: bool, size: int, tmp_path: Path) -> None:
    """Large requests are passed to TLS in small pieces."""
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    upstream = Origin((serve(),))
    server = await asyncio.start_server(upstream.accept, "127.0.0.1", 0, ssl=context, limit=1 << 24)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    body = b'{"model":"m","x":"%b"}' % (b"x" * size)
    try:
        async with running(snapshot({"m": {"url": url, "tls": {"ca_file": str(file)}}}), lane=lane) as gateway:
            for _ in range(3):
                async with connect(gateway.port) as client:
                    await client.send(post(body))
                    assert (await client.response()).status == 200
    finally:
        server.close()
        await upstream.close()
    assert [request.body == body for request in upstream.requests] == [True] * 3
    assert len(upstream.peers) == 1
