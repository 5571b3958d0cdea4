"""Converts the bytes of a provider's answer to the bytes of a stream or a complete answer for the client."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import orjson

from onwards_py.messages import Ending
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.answer_body import AnswerBody
from onwards_py.transcode.neutral.failure import Failure
from onwards_py.transcode.neutral.machine import Machine, Out, State
from onwards_py.wire.sse import DONE, encode_comment, encode_event

_KEEPALIVE_COMMENT = encode_comment(b"keepalive")


class KeepAlive(Enum):
    """The form of a keep-alive on an idle stream."""

    COMMENT = "comment"  # every reader accepts it; the idle timers of some clients ignore it
    EVENT = "event"  # the idle timers of all clients count it; some clients do not know the event
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
