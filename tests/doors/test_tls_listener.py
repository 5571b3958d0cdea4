"""The TLS listener: the same doors over an encrypted connection."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from support.gateway import free_socket
from support.origin import Origin, Peer, answer, origin, serve
from support.raw import CAP, Client, End, post

from onwards_py.app import Application
from onwards_py.config.parse import parse
from onwards_py.config.serve_options import ServeOptions

BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key, as PEM files."""
    folder = tmp_path_factory.mktemp("tls")
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


@asynccontextmanager
async def listening(upstream: Origin, files: tuple[Path, Path], *, lane: bool, server: str = "") -> AsyncIterator[int]:
    """A gateway with a TLS listener; gives its port."""
    text = f"server: {{{server}}}\ntargets: {{m: {{url: '{upstream.url}', max_body: 1MiB}}}}"
    config = parse(text, "targets.yaml", {}).snapshot
    listener, probe = free_socket(), free_socket()
    admin_port = probe.getsockname()[1]
    probe.close()
    options = ServeOptions(
        Path("none"), "127.0.0.1", 0, "127.0.0.1", admin_port, lane, tls_cert=files[0], tls_key=files[1]
    )
    application = Application(config, options, listener, io.BytesIO())
    await application.start()
    cut_now = asyncio.Event()
    try:
        yield listener.getsockname()[1]
    finally:
        cut_now.set()
        await application.stop(cut_now)


@asynccontextmanager
async def secure(port: int, authority: trustme.CA, *, protocols: list[str] | None = None) -> AsyncIterator[Client]:
    """A raw client inside TLS."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(protocols or ["http/1.1"])
    async with asyncio.timeout(CAP):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


@BOTH
async def test_requests_are_served_over_tls(authority: trustme.CA, files: tuple[Path, Path], lane: bool) -> None:
    """The requests use keep-alive and pipelining, small and large bodies; the certificate is verified."""
    bodies = [b'{"model":"m"}', b'{"model":"m"}'.ljust(600_000), b'{"model":"m","n":3}']
    async with origin(serve()) as upstream:
        async with listening(upstream, files, lane=lane) as port, secure(port, authority) as client:
            await client.send(b"".join(map(post, bodies)))
            for _ in bodies:
                assert (await client.response()).body == b'{"ok":true}'
        assert [request.body for request in upstream.requests] == bodies


@BOTH
async def test_a_refusal_can_be_read_over_tls(authority: trustme.CA, files: tuple[Path, Path], lane: bool) -> None:
    """The body is too large and the client is still sending. TLS cannot be half-closed, but the response must
    arrive."""
    async with (
        origin(serve()) as upstream,
        listening(upstream, files, lane=lane) as port,
        secure(port, authority) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 50_000)
        response = await client.response()
        assert (response.status, response.value(b"connection")) == (413, b"close")
        assert await client.closed() in (End.CLOSED, End.RESET)


@BOTH
async def test_http_1_1_is_negotiated(authority: trustme.CA, files: tuple[Path, Path], lane: bool) -> None:
    """RFC 7301: of h2 and http/1.1 the listener chooses the latter."""
    async with origin(serve()) as upstream, listening(upstream, files, lane=lane) as port:
        async with secure(port, authority, protocols=["h2", "http/1.1"]) as client:
            chosen = client._writer.get_extra_info("ssl_object").selected_alpn_protocol()
            await client.send(post())
            assert (await client.response()).status == 200
        assert chosen == "http/1.1"


@BOTH
async def test_plain_http_on_the_tls_port_is_not_served(files: tuple[Path, Path], lane: bool) -> None:
    """The connection ends without a response, and others are not affected."""
    async with origin(serve()) as upstream, listening(upstream, files, lane=lane) as port:
        sock = socket.create_connection(("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(post())
        async with asyncio.timeout(CAP):
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
        writer.close()
        assert not answer.startswith(b"HTTP/")
        assert upstream.requests == []


@BOTH
async def test_a_disconnect_over_tls_closes_the_upstream_connection(
    authority: trustme.CA, files: tuple[Path, Path], lane: bool
) -> None:
    """close_notify and FIN count as FIN alone."""
    cancelled = asyncio.Event()

    async def held(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        cancelled.set()

    async with origin(held) as upstream, listening(upstream, files, lane=lane) as port:
        async with secure(port, authority) as client:
            await client.send(post())
            await upstream.seen(1)
        async with asyncio.timeout(CAP):
            await cancelled.wait()


@BOTH
@pytest.mark.parametrize("fields", [b"", b"Connection: close\r\n"], ids=["kept", "closing"])
async def test_a_tls_client_that_does_not_read_is_cut(
    lane: bool, fields: bytes, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    """It happens within a response. The upstream connection is closed and the permit released."""
    gone = asyncio.Event()

    async def flood(peer: Peer) -> None:
        await peer.request()
        peer.write(answer(b"x" * 30_000_000))
        await peer.gone()
        gone.set()

    server = "send_timeout: 200ms, max_connections: 1"
    async with origin(flood, serve()) as upstream, listening(upstream, files, lane=lane, server=server) as port:
        async with secure(port, authority) as client:
            client._writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(post(fields=fields))
            async with asyncio.timeout(CAP):
                await gone.wait()
                while not await is_served(port, authority):
                    pass


async def is_served(port: int, authority: trustme.CA) -> bool:
    async with secure(port, authority) as client:
        try:
            await client.send(post())
            return (await client.response()).status == 200
        except (ConnectionError, asyncio.IncompleteReadError):
            return False  # refused, and closed before it could say so
