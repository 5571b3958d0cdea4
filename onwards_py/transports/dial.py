"""Opens upstream connections: TCP, TLS, and HTTP proxies by CONNECT."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import socket
import ssl
from functools import lru_cache
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import httptools

from onwards_py.messages import Fault
from onwards_py.model.provider import Origin
from onwards_py.transports.base import TransportError

P = TypeVar("P", bound=asyncio.BaseProtocol)

# Routers drop silent connections after minutes, and a model may compute for longer.
_KEEPALIVE_SECONDS = 60
# Waits in seconds: descriptors become free when rejected clients leave, or attempts at a second address end.
_WAITS = (0.02, 0.1, 0.3)
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


@lru_cache(maxsize=64)
def tls_context(ca_pem: str | None, verify: bool) -> ssl.SSLContext:
    """The client context for a trust store (None: the system's). It offers HTTP/1.1 only (RFC 7301).

    Raises ssl.SSLError if there is no certificate in ``ca_pem``.
    """
    # Comments between the certificates may have any characters, and OpenSSL needs ASCII.
    cadata = None if ca_pem is None else ca_pem.encode("ascii", "ignore").decode()
    context = ssl.create_default_context(cadata=cadata)
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def dial(origin: Origin, protocol: P, seconds: float) -> P:
    """Connect ``protocol`` to ``origin`` within ``seconds``. Raises TransportError. Runs in a task."""
    try:
        async with asyncio.timeout(seconds):
            for wait in _WAITS:
                try:
                    return await _open(origin, protocol)
                except (OSError, ssl.SSLError) as error:
                    if fault_of(error) is not Fault.EXHAUSTED:
                        raise
                await asyncio.sleep(wait)
            return await _open(origin, protocol)
    except TimeoutError as error:
        raise TransportError(Fault.CONNECT_TIMEOUT, f"no connection to {origin.host} within {seconds} s") from error
    except (OSError, ssl.SSLError, UnicodeError) as error:
        raise TransportError(fault_of(error), f"{origin.host}: {type(error).__name__}: {error}") from error


def fault_of(error: Exception) -> Fault:
    """The fault of a failed connection: this process's own (EXHAUSTED, NO_PORT), or the provider's."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRNOTAVAIL:
        return Fault.NO_PORT  # connect(2): all ephemeral ports toward this address are in use
    if number in _EXHAUSTED:
        return Fault.EXHAUSTED
    # Without descriptors, a resolver reports that there is no such name, and OpenSSL that there is no issuer.
    # If several addresses of a host failed in different ways, the event loops raise an OSError without errno.
    if (number is None or isinstance(error, socket.gaierror | ssl.SSLError)) and not _has_descriptor():
        return Fault.EXHAUSTED
    return Fault.CONNECT


def _has_descriptor() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in _EXHAUSTED
    return True


async def _open(origin: Origin, protocol: P) -> P:
    loop = asyncio.get_running_loop()
    if origin.socket is not None:
        await loop.create_unix_connection(lambda: protocol, origin.socket)
        return protocol
    context = tls_context(origin.ca_pem, origin.verify) if origin.tls else None
    if origin.proxy_url is not None:
        return await _open_through_proxy(loop, origin, protocol, context)
    name = origin.host if context is not None else None
    transport, _ = await loop.create_connection(
        lambda: protocol, origin.host, origin.port, ssl=context, server_hostname=name
    )
    _set_keepalive(transport)
    return protocol


async def _open_through_proxy(
    loop: asyncio.AbstractEventLoop, origin: Origin, protocol: P, context: ssl.SSLContext | None
) -> P:
    """A tunnel by CONNECT (RFC 9110 section 9.3.6), then TLS inside it."""
    proxy = urlsplit(origin.proxy_url or "")
    answer: asyncio.Future[int] = loop.create_future()
    opener = _ConnectProtocol(answer)
    transport, _ = await loop.create_connection(lambda: opener, proxy.hostname or "", proxy.port or 3128)
    try:
        transport.write(_connect_request(origin, proxy.username, proxy.password))
        status = await answer
        if not 200 <= status < 300:
            raise TransportError(Fault.CONNECT, f"the proxy refused CONNECT to {origin.host}: {status}")
        _set_keepalive(transport)
        if context is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return protocol
        inner = await loop.start_tls(transport, protocol, context, server_hostname=origin.host)
        if inner is None:
            raise ConnectionResetError("the connection was lost while TLS began")
        protocol.connection_made(inner)
        return protocol
    except BaseException:
        transport.abort()
        raise


def _connect_request(origin: Origin, user: str | None, password: str | None) -> bytes:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    lines = [f"CONNECT {host}:{origin.port} HTTP/1.1", f"Host: {host}:{origin.port}"]
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}".encode()
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(pair).decode("ascii"))
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class _ConnectProtocol(asyncio.Protocol):
    """Reads the proxy's response to CONNECT. The first byte behind its head belongs to the tunnel."""

    def __init__(self, answer: asyncio.Future[int]) -> None:
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("its answer to CONNECT is not HTTP")

    def on_headers_complete(self) -> None:
        if not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())

    def eof_received(self) -> None:
        self._fail("it closed the connection during CONNECT")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._fail("it closed the connection during CONNECT")

    def _fail(self, reason: str) -> None:
        if not self._answer.done():
            self._answer.set_exception(TransportError(Fault.CONNECT, f"the proxy failed: {reason}"))


def _set_keepalive(transport: asyncio.BaseTransport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), _KEEPALIVE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
