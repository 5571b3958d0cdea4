"""A provider's answer as bytes, complete or streamed, for the state machine of either direction.

The body itself shows whether the provider streams, not the request or the Content-Type: a complete answer begins with a
brace or bracket, and no line of an event stream does.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from onwards_py.messages import Ending
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.failure import cut_off, from_value, malformed
from onwards_py.transcode.neutral.machine import Machine, Out
from onwards_py.wire.sse import OversizedEvent, ServerSentEvent, SSEDecoder

LARGEST_EVENT = 16 << 20
"""The default limit of one event of the provider, in bytes."""

LARGEST_BODY = 64 << 20
"""The default limit of a complete answer of the provider, in bytes."""

_BOM = b"\xef\xbb\xbf"


class _Kind(Enum):
    UNKNOWN = "unknown"
    STREAM = "stream"
    WHOLE = "whole"


class AnswerBody:
    """A provider's answer, streamed or complete: ``feed`` bytes, ``finish`` once; both return the client's events.

    ``event_limit`` and ``body_limit`` are in bytes.
    """

    __slots__ = ("_body_limit", "_decoder", "_held", "_kind", "_machine", "_size")

    def __init__(
        self,
        machine: Machine,
        *,
        event_limit: int = LARGEST_EVENT,
        body_limit: int = LARGEST_BODY,
    ) -> None:
        self._machine = machine
        self._body_limit = body_limit
        self._decoder = SSEDecoder(event_limit)
        self._kind = _Kind.UNKNOWN
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[Out]:
        """Take the next bytes."""
        if self._machine.state.ended:
            return []
        if self._kind is _Kind.UNKNOWN:
            piece = self._recognise(piece)
        match self._kind:
            case _Kind.STREAM:
                return self._stream(piece)
            case _Kind.WHOLE:
                return self._keep(piece)
            case _Kind.UNKNOWN:
                return []

    def finish(self, ending: Ending) -> list[Out]:
        """The body ended. Returns the remaining events with the terminal one, unless it was returned before."""
        machine = self._machine
        if machine.finished:
            return []
        if self._kind is _Kind.WHOLE:
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
            self._kind = _Kind.WHOLE if start[:1] in (b"{", b"[") else _Kind.STREAM
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
