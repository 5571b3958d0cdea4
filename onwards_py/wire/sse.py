"""Server-sent events, both ways (WHATWG HTML, section 9.2.6).

The decoder stands on the re-chunker, which knows where an event ends and when one is too large; what is left to do here
is to read the lines of one whole event. Bytes stay bytes: what stands in ``data`` is for others to decode, so that a
character cut by a read, or an invalid one, is no concern of this file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from onwards_py.messages import Ending
from onwards_py.wire.rechunk import EventTooLarge, Rechunker

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event. ``name`` is empty if there was no ``event`` line (a browser would call it ``message``).

    ``id`` is the event's own id line (None: it had none); ``retry`` is in milliseconds.
    """

    data: bytes
    name: bytes = b""
    id: bytes | None = None
    retry: int | None = None


class OversizedEvent(Exception):
    """One event passed the limit (bytes). ``events`` are the whole ones before it."""

    def __init__(self, limit: int, events: list[ServerSentEvent]) -> None:
        super().__init__(f"a server-sent event is larger than {limit} bytes")
        self.events = events


class SSEDecoder:
    """Bytes in, events out. ``limit`` bounds one event in bytes, however it arrives."""

    __slots__ = ("_begun", "_chunks", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks = Rechunker(limit)
        self._begun = False

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Return the events that became whole. Raises OversizedEvent, after which the decoder is spent."""
        try:
            return self._read(self._chunks.feed(piece))
        except EventTooLarge as error:
            raise OversizedEvent(self._limit, self._read(error.ready)) from error

    def finish(self, ending: Ending) -> list[ServerSentEvent]:
        """What remains: the last event without its blank line, if the stream ended well.

        A browser would drop it; providers that forget the blank line behind their last event are real.
        """
        return self._read(self._chunks.finish(ending))

    def _read(self, whole: bytes) -> list[ServerSentEvent]:
        if not whole:
            return []
        if not self._begun:
            self._begun = True
            whole = whole.removeprefix(_BOM)
        if b"\r" in whole:
            whole = _LINE_END.sub(b"\n", whole)
        return list(_events(whole))


def _events(text: bytes) -> Iterator[ServerSentEvent]:
    """The events in ``text``, whose lines end with LF alone."""
    for block in text.split(b"\n\n"):
        if block.startswith(b"data: ") and b"\n" not in block:
            yield ServerSentEvent(block[6:])
        elif block:
            event = _event(block)
            if event is not None:
                yield event


def _event(block: bytes) -> ServerSentEvent | None:
    """One event from its lines; None if it has no data line, since such a one is never dispatched."""
    data: list[bytes] = []
    name, id_, retry = b"", None, None
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field == b"id" and b"\0" not in value:
            id_ = value
        elif field == b"retry" and value.isdigit():
            retry = int(value[:18])
    return ServerSentEvent(b"\n".join(data), name, id_, retry) if data else None


def encode_event(name: bytes, data: bytes) -> bytes:
    """One whole event. ``data`` must be free of line ends, as compact JSON is; ``name`` may be empty.

    LF only, one data line, blank line at the end: there are readers that understand nothing else.
    """
    if name:
        return b"event: %b\ndata: %b\n\n" % (name, data)
    return b"data: %b\n\n" % data


def encode_comment(text: bytes) -> bytes:
    """A comment: bytes that keep a connection alive and that no reader takes for an event."""
    return b": %b\n\n" % text


DONE = b"data: [DONE]\n\n"
"""What ends every stream of this family of APIs."""
