"""Bytes to bytes, for either direction: the provider's answer in, a stream or a whole answer for the client out."""

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
    """What keeps an idle stream alive."""

    COMMENT = "comment"  # understood by every reader; some clients' own timers do not count it
    EVENT = "event"  # counted by all, an unknown event to some
    OFF = "off"


class ClientResponse(NamedTuple):
    """A whole answer for the client: HTTP status and JSON body."""

    status: int
    body: bytes


class EventFilter:
    """Filter for a client that streams: the provider's bytes in, whole events out.

    ``begin`` when the response must be committed although there is no event yet. As long as none was returned, a
    failed answer returns none either: ``failure`` is then what to answer instead, unless another provider is tried.
    """

    __slots__ = ("_body", "_machine", "_withheld")

    def __init__(self, machine: Machine, body: AnswerBody) -> None:
        self._machine = machine
        self._body = body
        self._withheld: list[Out] = []

    @property
    def failure(self) -> Failure | None:
        """Why the answer failed before anything of it was returned."""
        return self._machine.failure if self._withheld else None

    @property
    def has_content(self) -> bool:
        """Whether an event that was returned has content in it."""
        return self._machine.has_content

    @property
    def dropped(self) -> tuple[str, ...]:
        """Paths of what the client is not given, as far as is known."""
        return self._machine.dropped

    @property
    def cause(self) -> Failure | None:
        """Why the answer failed, whatever of it was returned."""
        return self._machine.failure

    def begin(self) -> bytes:
        """The first events, unless they were returned already; after a ``failure`` all there are."""
        if self._withheld:
            events, self._withheld = self._withheld, []
            return self._written(events)
        return b"" if self._machine.finished else _encode(self._machine.begin())

    def fail(self, failure: Failure) -> bytes:
        """End what was begun with ``failure``; nothing if it has ended."""
        return b"" if self._machine.finished else self._written(self._machine.fail(failure))

    def keepalive(self, how: KeepAlive) -> bytes:
        """Something to send on an idle stream; nothing before the beginning and after the end."""
        machine = self._machine
        if how is KeepAlive.OFF or machine.state is not State.OPEN:
            return b""
        return _KEEPALIVE_COMMENT if how is KeepAlive.COMMENT else _encode(machine.keepalive())

    def feed(self, piece: bytes) -> bytes:
        """The events that follow from ``piece``; after the last one nothing is returned any more."""
        return self._deliver(self._body.feed(piece))

    def finish(self, ending: Ending) -> bytes:
        """The rest of the events, if they were not all returned."""
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
    """For a client that wants a whole answer: ``feed`` all bytes, ``finish`` returns status and body.

    A failed answer has an HTTP status of its own and the error envelope, as if it had never begun.
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
        """Paths of what the client is not given."""
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
