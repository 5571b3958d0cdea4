"""Tunnels after an upgrade from HTTP/1.1 (RFC 9110 section 7.8): bytes in both directions, unchanged."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

from onwards_py.messages import Fault, ResponseHead
from onwards_py.model.provider import Provider
from onwards_py.transports.base import OutboundRequest, TransportError
from onwards_py.transports.dial import dial
from onwards_py.transports.tls_connection import limit_tls_reading
from onwards_py.wire.response_head import extract_head

_MAX_HEAD = 64 * 1024


class TunnelEnd(asyncio.Protocol):
    """One side of a tunnel. Its bytes are sent on the other side; it pauses that side while its own buffer is full."""

    def __init__(self, over: asyncio.Future[None]) -> None:
        self._over = over
        self.transport: asyncio.Transport | None = None
        self.other: TunnelEnd | None = None
        self._is_paused = False

    def attach(self, transport: object) -> None:
        """Become the protocol of a connection."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_protocol(self)

    def send(self, data: bytes) -> None:
        if self.transport is not None and data:
            self.transport.write(data)

    def close(self) -> None:
        """Close after the remaining bytes are sent."""
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.send(data)

    def eof_received(self) -> bool:
        if self.other is not None:
            self.other.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio.Protocol)
        self.transport = None
        if self.other is not None:
            self.other.close()
        if not self._over.done():
            self._over.set_result(None)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.resume_reading()

    def pause_reading(self) -> None:
        """Pause, in TLS the socket too: bytes that TLS has not handed over when the socket ends are lost."""
        self._is_paused = True
        if self.transport is not None:
            self.transport.pause_reading()
            limit_tls_reading(self.transport, 0)

    def resume_reading(self) -> None:
        """Resume: first bytes that TLS has buffered, then the socket."""
        self._is_paused = False
        if self.transport is not None:
            self.transport.resume_reading()
            asyncio.get_running_loop().call_soon(self._resume_socket)

    def _resume_socket(self) -> None:
        if self.transport is not None and not self._is_paused:
            limit_tls_reading(self.transport, None)


class Handshake(asyncio.Protocol):
    """Reads the upstream's response to an upgrade request."""

    def __init__(self) -> None:
        self.answered: asyncio.Future[ResponseHead] = asyncio.get_running_loop().create_future()
        """The response head."""
        self.transport: asyncio.Transport | None = None
        self.rest = b""
        """The bytes after a 101."""
        self.body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        """The body of any other response, set when it has ended, was truncated or exceeded the limit."""
        self.is_complete = False
        """The body has ended well."""
        self._head: ResponseHead | None = None
        self._pieces: list[bytes] = []
        self._raw = b""
        self._interim = 0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def abort(self) -> None:
        """The response is not needed."""
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.answered.done() and self.answered.result().status == 101:
            self.rest += data
            return
        self._raw += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # 101: the bytes after the head are not HTTP
        except httptools.HttpParserError:
            self.fail(Fault.INVALID, "not an HTTP response")
        if self._head is not None and not self.answered.done():  # after all bytes of this read were validated
            self.answered.set_result(self._head)
        if len(self._raw) > _MAX_HEAD:
            self.fail(Fault.INVALID, "its answer is too large")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._head is not None:
            return
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            return
        extracted = extract_head(self._raw, status, self._interim)
        self.rest = self._raw[extracted.end :]
        self._head = extracted.head

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._head is not None and not self.body.done():
            self._end_body(is_complete=True)

    def eof_received(self) -> bool:
        if self._head is not None and not self.body.done():
            self._end_body(is_complete=self._head.ends_by_close)
        self.fail(Fault.CLOSED, "closed during the handshake")
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio.Protocol)
        self.fail(Fault.CLOSED, "closed during the handshake")

    def fail(self, fault: Fault, detail: str) -> None:
        """The handshake has failed, or the body was truncated."""
        if not self.answered.done():
            self.answered.set_exception(TransportError(fault, detail))
        elif not self.body.done():
            self._end_body(is_complete=False)

    def _end_body(self, *, is_complete: bool) -> None:
        self.is_complete = is_complete
        self.body.set_result(b"".join(self._pieces))


async def handshake(provider: Provider, request: OutboundRequest) -> Handshake:
    """Send an upgrade request on a new connection, and wait for the response head. Raises TransportError.

    On return the `Handshake` is the connection's protocol. On failure and cancellation the connection is closed.
    """
    assert provider.origin is not None, "an http provider has an origin"
    loop = asyncio.get_running_loop()
    handshake = Handshake()
    try:
        await loop.create_task(dial(provider.origin, handshake, provider.timeouts.connect))
        assert handshake.transport is not None
        handshake.transport.write(request.head)
        timer = loop.call_later(
            provider.timeouts.first_byte, handshake.fail, Fault.FIRST_BYTE_TIMEOUT, "no answer to the handshake"
        )
        try:
            await handshake.answered
        finally:
            timer.cancel()
    except BaseException:
        if handshake.transport is not None:
            handshake.transport.abort()
        raise
    return handshake
