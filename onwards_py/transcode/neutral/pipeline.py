"""Converts the bytes of a provider's answer to the bytes of a stream or a complete answer for the client."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import NamedTuple

import orjson

from onwards_py.messages import Ending
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.failure import Failure, cut_off, from_value, malformed
from onwards_py.transcode.neutral.machine import Machine, Out, State
from onwards_py.wire.sse import DONE, OversizedEvent, ServerSentEvent, SSEDecoder, encode_comment, encode_event

_KEEPALIVE_COMMENT = encode_comment(b"keepalive")


class KeepAlive(Enum):
    """The form of a keep-alive on an idle stream."""

    COMMENT = "comment"  # every reader accepts it; the idle timers of some clients ignore it
    EVENT = "event"  # the idle timers of all clients count it; some clients do not support the event
    OFF = "off"


class ClientResponse(NamedTuple):
    """A complete answer for the client: HTTP status and JSON body."""

    status: int
    body: bytes


class EventFilter:
    """Filter for a client that streams: the provider's bytes in, complete events out.

    Call ``begin`` to commit the response before the first event. If the answer fails before an event was returned, no
    event is returned: ``failure`` is then the error for the client, unless another provider is tried.
    """

    __slots__ = ("_body", "_machine", "_withheld")

    def __init__(self, machine: Machine, body: AnswerBody) -> None:
        self._machine = machine
        self._body = body
        self._withheld: list[Out] = []

    @property
    def failure(self) -> Failure | None:
        """Why the answer failed before an event was returned."""
        return self._machine.failure if self._withheld else None

    @property
    def has_content(self) -> bool:
        """Whether a returned event has content."""
        return self._machine.has_content

    @property
    def dropped(self) -> tuple[str, ...]:
        """Paths of the parts that the client does not get, so far."""
        return self._machine.dropped

    @property
    def cause(self) -> Failure | None:
        """Why the answer failed, before or after events were returned."""
        return self._machine.failure

    def begin(self) -> bytes:
        """The first events, unless they were already returned; after a ``failure``, all events."""
        if self._withheld:
            events, self._withheld = self._withheld, []
            return self._written(events)
        return b"" if self._machine.finished else _encode(self._machine.begin())

    def fail(self, failure: Failure) -> bytes:
        """End the stream with ``failure``; no bytes if it has already ended."""
        return b"" if self._machine.finished else self._written(self._machine.fail(failure))

    def keepalive(self, how: KeepAlive) -> bytes:
        """A keep-alive for an idle stream; no bytes before the beginning and after the end."""
        machine = self._machine
        if how is KeepAlive.OFF or machine.state is not State.OPEN:
            return b""
        return _KEEPALIVE_COMMENT if how is KeepAlive.COMMENT else _encode(machine.keepalive())

    def feed(self, piece: bytes) -> bytes:
        """The events for ``piece``; no bytes after the terminal event."""
        return self._deliver(self._body.feed(piece))

    def finish(self, ending: Ending) -> bytes:
        """The remaining events."""
        return self._deliver(self._body.finish(ending))

    def _deliver(self, events: list[Out]) -> bytes:
        if not events:
            return b""
        if self._machine.failed_before_output:
            self._withheld = events
            return b""
        return self._written(events)

    def _written(self, events: list[Out]) -> bytes:
        machine = self._machine
        return _encode(events) + (DONE if machine.ends_with_done else b"")


class AnswerCollector:
    """For a client that does not stream: ``feed`` all bytes, ``finish`` returns status and body.

    A failed answer gets an HTTP error status and the error envelope, even if it failed after content.
    """

    __slots__ = ("_body", "_machine")

    def __init__(self, machine: Machine, body: AnswerBody) -> None:
        self._machine = machine
        self._body = body

    @property
    def failure(self) -> Failure | None:
        """Why the answer failed, if it did."""
        return self._machine.failure

    @property
    def dropped(self) -> tuple[str, ...]:
        """Paths of the parts that the client does not get."""
        return self._machine.dropped

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._body.feed(piece)

    def finish(self, ending: Ending) -> ClientResponse:
        """The answer."""
        self._body.finish(ending)
        failure = self._machine.failure
        if failure is not None:
            return ClientResponse(failure.status, lenient_json.dumps(failure.envelope()))
        return ClientResponse(200, lenient_json.dumps(self._machine.answer()))


def _encode(events: list[Out]) -> bytes:
    try:
        return _encoded(events, orjson.dumps)
    except orjson.JSONEncodeError:
        return _encoded(events, lenient_json.dumps)


def _encoded(events: list[Out], dumps: Callable[[object], bytes]) -> bytes:
    return b"".join([encode_event(str(event.get("type", "")).encode(), dumps(event)) for event in events])


LARGEST_EVENT = 16 << 20
"""The default limit of one event of the provider, in bytes."""

LARGEST_BODY = 64 << 20
"""The default limit of a complete answer of the provider, in bytes."""

_BOM = b"\xef\xbb\xbf"


class AnswerBody:
    """A provider's answer, streamed or complete: ``feed`` bytes, ``finish`` once; both return the client's events.

    The body itself shows whether the provider streams, not the request or the Content-Type: a complete answer begins
    with a brace or bracket, and no line of an event stream does. ``event_limit`` and ``body_limit`` are in bytes.
    """

    __slots__ = ("_body_limit", "_decoder", "_held", "_machine", "_size", "_streams")

    def __init__(self, machine: Machine, *, event_limit: int = LARGEST_EVENT, body_limit: int = LARGEST_BODY) -> None:
        self._machine = machine
        self._body_limit = body_limit
        self._decoder = SSEDecoder(event_limit)
        self._streams: bool | None = None  # None: not known yet
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Out]:
        """Take the next bytes."""
        if self._machine.state.ended:
            return []
        if self._streams is None:
            piece = self._recognise(piece)
            if self._streams is None:
                return []
        return self._stream(piece) if self._streams else self._keep(piece)

    def finish(self, ending: Ending) -> list[Out]:
        """The body ended. Returns the remaining events with the terminal one, unless it was returned before."""
        machine = self._machine
        if machine.finished:
            return []
        if self._streams is False:
            return self._whole(b"".join(self._held), ending)
        return self._events(self._decoder.finish(ending)) + machine.finish(ending)

    def _recognise(self, piece: bytes) -> bytes:
        """Find the kind of the body by its first byte after white space and a byte order mark; return the bytes to
        process."""
        start = b"".join([*self._held, piece]).lstrip()
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._held = [start]
            return b""
        self._held = []
        start = start.removeprefix(_BOM).lstrip()
        if start:
            self._streams = start[:1] not in (b"{", b"[")
        return start

    def _keep(self, piece: bytes) -> list[Out]:
        self._size += len(piece)
        if self._size > self._body_limit:
            return self._machine.fail(cut_off(Ending.LIMIT))
        self._held.append(piece)
        return []

    def _whole(self, body: bytes, ending: Ending) -> list[Out]:
        try:
            value = lenient_json.loads(body)
        except ValueError:
            broken = malformed("something that is not JSON") if ending is Ending.DONE else cut_off(ending)
            return self._machine.fail(broken)
        if isinstance(value, list):
            value = {"error": value}
        if not isinstance(value, dict):
            return self._machine.fail(malformed("something that is not an answer"))
        return self._machine.whole(value)

    def _stream(self, piece: bytes) -> list[Out]:
        try:
            return self._events(self._decoder.feed(piece))
        except OversizedEvent as error:
            return self._events(error.events) + self._machine.fail(cut_off(Ending.LIMIT))

    def _events(self, events: Iterable[ServerSentEvent]) -> list[Out]:
        out: list[Out] = []
        for event in events:
            out += self._event(event)
        return out

    def _event(self, event: ServerSentEvent) -> list[Out]:
        """One event of the provider. Data that does not begin like JSON is ignored, as a gateway's keep-alive."""
        machine = self._machine
        data = event.data
        if data == b"[DONE]" or data.strip() == b"[DONE]":
            return machine.finish(Ending.DONE, done=True)
        try:
            value = lenient_json.loads(data)
        except ValueError:
            if event.name == b"error":
                return machine.fail(from_value(data.decode("utf-8", "replace"), machine.trusted))
            return machine.fail(malformed("an event that is not JSON")) if data.lstrip()[:1] == b"{" else []
        if event.name == b"error" or (isinstance(value, list) and _is_listed_error(value)):
            return machine.fail(from_value(value, machine.trusted))
        return machine.feed(value) if isinstance(value, dict) else []


def _is_listed_error(value: list[object]) -> bool:
    """Whether a value is an array around an error, as Google's are."""
    return bool(value) and isinstance(value[0], dict) and bool(value[0].get("error"))
