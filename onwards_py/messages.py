"""What crosses rooms: requests, response heads, endings, and the shapes of filters and downstreams.

Everything here is plain data or a protocol. Field names and values are ``bytes`` exactly as they
were on the wire; order, case and repeats are kept. What is made per request is a ``msgspec.Struct``: as frozen as a
dataclass where it should be, at a sixth of the price; with ``gc=False`` where it can be no part of a cycle.
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
"""Gives Unix time in seconds: for what leaves the process, and for dates in header fields."""

Random = Callable[[], float]
"""Gives numbers in [0, 1)."""


class Ending(Enum):
    """Why a body stream ended. Every place that maps it is closed by ``assert_never``."""

    DONE = "done"  # framing says that the message is whole
    EOF = "eof"  # the peer closed although its framing promised more
    RESET = "reset"  # the connection broke, or what arrived on it is not HTTP
    IDLE = "idle"  # nothing arrived for longer than the idle timeout
    LIMIT = "limit"  # a size or total-time limit of ours was passed
    CLIENT_GONE = "client_gone"  # downstream went away; nothing more can be delivered


class Fault(Enum):
    """How an attempt failed before a whole response head arrived."""

    CONNECT = "connect"  # DNS, TCP, TLS or the proxy's CONNECT: no request byte was sent
    CONNECT_TIMEOUT = "connect_timeout"  # the same, by the clock
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"  # sent, and no whole head within timeouts.first_byte
    CLOSED = "closed"  # sent on a fresh connection, which then died without a whole head
    INVALID = "invalid"  # what came back is not an HTTP response that may be forwarded
    UNAVAILABLE = "unavailable"  # the transport itself cannot serve (a local engine is not installed)
    EXHAUSTED = "exhausted"  # we have no descriptor or memory left to connect with: not the provider's failure
    NO_PORT = "no_port"  # this machine has no address or port left toward the provider: neither is that


OWN_FAULTS: Final = frozenset({Fault.EXHAUSTED, Fault.NO_PORT})
"""Faults that say nothing of the provider."""


class ResponseHead(msgspec.Struct, frozen=True, gc=False):
    """A response head as it arrived: never normalised, hop-by-hop fields still inside.

    ``lines``: the field lines, each *preceded* by CRLF (empty: no fields).
    """

    status: int
    reason: bytes
    lines: bytes

    @classmethod
    def of(cls, status: int, reason: bytes, fields: Fields) -> ResponseHead:
        """A head made of fields."""
        return cls(status, reason, b"".join(b"\r\n%b: %b" % field for field in fields))

    @property
    def fields(self) -> Fields:
        """The fields, one by one."""
        pairs = [line.partition(b":") for line in self.lines.split(b"\r\n")[1:]]
        return [(name, value.strip(b" \t")) for name, _, value in pairs]

    @property
    def ends_by_close(self) -> bool:
        """No framing: the body lasts until the connection closes (RFC 9112 section 6.3, rule 8)."""
        return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.fields)


class Filter(Protocol):
    """A pure transformer of a byte stream: ``feed`` until the end, then ``finish`` once."""

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes and return what is ready, in order (perhaps nothing)."""
        ...

    def finish(self, ending: Ending) -> bytes:
        """Return what remains; the filter is spent afterwards."""
        ...


class Source(Protocol):
    """What feeds a downstream and can be told to hold back."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class TunnelSide(Protocol):
    """What takes over a connection that leaves HTTP."""

    def attach(self, transport: object) -> None:
        """Take over the connection's transport."""
        ...

    def pause_writing(self) -> None:
        """Hold back what is sent, until the transport calls ``resume_writing``."""
        ...


class BodySink(Protocol):
    """Where a body goes, piece by piece. Calls are synchronous and never block."""

    def write(self, piece: bytes) -> None:
        """Send body bytes; the head travels with the first of them."""
        ...

    def flush(self) -> None:
        """The next body byte may be long in coming: send the head now."""
        ...

    def set_source(self, source: Source) -> None:
        """Say whom to pause while the client reads slower than the source sends."""
        ...


class Downstream(BodySink, Protocol):
    """Toward the client: one response.

    Order: ``begin``, any number of ``write``, then exactly one of ``end`` and ``abort``.
    """

    @property
    def committed(self) -> bool:
        """True from ``begin`` on: no other answer can be given any more."""
        ...

    @property
    def sent(self) -> int:
        """Body bytes handed over so far."""
        ...

    def begin(self, status: int, reason: bytes, block: bytes, length: int | None) -> None:
        """Commit to a response.

        ``block`` is the joined field lines (each with its CRLF), free of framing and
        connection fields other than a ``Content-Length`` that equals ``length``.
        ``length`` is the announced body size in bytes, or None if it is not known.
        """
        ...

    def end(self) -> None:
        """The body is whole: finish its framing."""
        ...

    def abort(self) -> None:
        """The body is not whole: make sure that the client can tell."""
        ...

    def answer(self, status: int, reason: bytes, block: bytes, length: int | None, body: bytes) -> None:
        """``begin``, ``write`` and ``end`` in one, for a body that is there as a whole."""
        ...

    def upgrade(self, reply: bytes, side: TunnelSide) -> None:
        """Send ``reply`` as it is and give the connection away."""
        ...


class InboundRequest(msgspec.Struct, gc=False):
    """One whole request as a door took it in. ``target`` is raw; ``fields`` are all header field lines. ``peer``: the
    client's address. ``peer_port`` is told of the first request of a connection at least, and else 0."""

    method: bytes
    target: bytes
    http_minor: int
    fields: Fields
    body: bytes
    peer: str
    peer_port: int = 0
