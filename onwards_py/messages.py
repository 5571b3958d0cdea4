"""Types that several rooms use: requests, response heads, endings, and the protocols of filters and downstreams.

Field names and values are ``bytes`` exactly as on the wire, with their order, case and repetitions.
Objects that are made per request are ``msgspec.Struct``s, which cost a sixth of a dataclass.
They have ``gc=False`` where they cannot be part of a cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

import msgspec

Field = tuple[bytes, bytes]
"""One header field line: name and value, without the colon, the padding or the line end."""

Fields = list[Field]

Clock = Callable[[], float]
"""Gives seconds of a monotonic clock: for deadlines, durations and health. The same one everywhere in a process."""

WallClock = Callable[[], float]
"""Gives Unix time in seconds: for values that leave the process, and for dates in header fields."""

Random = Callable[[], float]
"""Gives numbers in [0, 1)."""


class Ending(Enum):
    """Why a body stream ended. Every place that maps it is closed by ``assert_never``."""

    DONE = "done"  # the message is complete by its framing
    EOF = "eof"  # the peer closed before the message was complete
    RESET = "reset"  # the connection was reset, or its bytes are not HTTP
    IDLE = "idle"  # no byte arrived for the idle timeout
    LIMIT = "limit"  # a limit of size or of total time was exceeded
    CLIENT_GONE = "client_gone"  # the client closed the connection


class Fault(Enum):
    """How an attempt failed before a complete response head arrived."""

    CONNECT = "connect"  # DNS, TCP, TLS or the proxy's CONNECT: no request byte was sent
    CONNECT_TIMEOUT = "connect_timeout"  # no connection within timeouts.connect
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"  # sent, and no complete head within timeouts.first_byte
    CLOSED = "closed"  # sent on a new connection, which was closed before a complete head
    INVALID = "invalid"  # the bytes are not an HTTP response that may be forwarded
    UNAVAILABLE = "unavailable"  # the transport itself cannot serve (a local engine is not installed)
    EXHAUSTED = "exhausted"  # this process has no descriptor or memory left to connect: not the provider's failure
    NO_PORT = "no_port"  # this machine has no port left toward the provider: not the provider's failure


OWN_FAULTS: Final = frozenset({Fault.EXHAUSTED, Fault.NO_PORT})
"""Faults that the provider did not cause."""


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """A response head as it arrived, not normalised, with its hop-by-hop fields."""

    status: int
    reason: bytes
    lines: bytes
    """The field lines, each *preceded* by CRLF (empty: there are no fields)."""

    @classmethod
    def of(cls, status: int, reason: bytes, fields: Fields) -> ResponseHead:
        """A head with these fields."""
        return cls(status, reason, b"".join(b"\r\n%b: %b" % field for field in fields))

    @property
    def fields(self) -> Fields:
        """The fields as pairs."""
        pairs = [line.partition(b":") for line in self.lines.split(b"\r\n")[1:]]
        return [(name, value.strip(b" \t")) for name, _, value in pairs]

    @property
    def ends_by_close(self) -> bool:
        """True if the body lasts until the connection closes (RFC 9112 section 6.3, rule 8)."""
        return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.fields)


class Filter(Protocol):
    """A pure transformer of a byte stream: ``feed`` until the end, then ``finish`` once."""

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes. Returns the bytes that are ready, in order, perhaps none."""
        ...

    def finish(self, ending: Ending) -> bytes:
        """Return the remaining bytes. The filter cannot be used afterwards."""
        ...


class Source(Protocol):
    """The source of a body, which a slow client pauses."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class TunnelSide(Protocol):
    """One side of a tunnel: the protocol of a connection after its upgrade."""

    def attach(self, transport: object) -> None:
        """Take over the connection's transport."""
        ...

    def pause_writing(self) -> None:
        """Send no more, until the transport calls ``resume_writing``."""
        ...


class BodySink(Protocol):
    """The destination of a body. Calls are synchronous and never block."""

    def write(self, piece: bytes) -> None:
        """Send body bytes. The head is sent with the first of them."""
        ...

    def flush(self) -> None:
        """Send the head now: the first body byte may take long."""
        ...

    def set_source(self, source: Source) -> None:
        """Set the source to pause while the client reads slower than the source sends."""
        ...


class Downstream(BodySink, Protocol):
    """One response to the client.

    Order: ``begin``, any number of ``write``, then exactly one of ``end`` and ``abort``.
    """

    @property
    def committed(self) -> bool:
        """True from ``begin`` on: no other response can be sent."""
        ...

    @property
    def sent(self) -> int:
        """Body bytes so far."""
        ...

    def begin(self, status: int, reason: bytes, block: bytes, length: int | None) -> None:
        """Commit to a response.

        ``block``: the joined field lines, each with its CRLF.
        It has no framing or connection fields except a ``Content-Length`` that equals ``length``.
        ``length``: the body size in bytes. None: it is not known.
        """
        ...

    def end(self) -> None:
        """The body is complete: send the end of its framing."""
        ...

    def abort(self) -> None:
        """The body is not complete: close so that the client notices."""
        ...

    def answer(self, status: int, reason: bytes, block: bytes, length: int | None, body: bytes) -> None:
        """``begin``, ``write`` and ``end`` in one call, for a complete body."""
        ...

    def upgrade(self, reply: bytes, side: TunnelSide) -> None:
        """Send ``reply`` unchanged, and give the connection to ``side``."""
        ...


class InboundRequest(msgspec.Struct, gc=False):
    """A complete request as a door has read it."""

    method: bytes
    target: bytes
    """The raw request target."""
    http_minor: int
    fields: Fields
    """All header field lines."""
    body: bytes
    peer: str
    """The client's address."""
    peer_port: int = 0
    """The client's port: set at least for the first request of a connection, else 0."""
