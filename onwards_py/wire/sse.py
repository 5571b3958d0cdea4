"""Server-sent events, decoded and encoded (WHATWG HTML, section 9.2.6).

The re-chunker finds the end of each event and limits its size. This module reads the lines of complete events.
``data`` stays bytes, so invalid characters, and characters split between reads, are not errors here.
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
    """One event."""

    data: bytes
    name: bytes = b""
    """Empty without an ``event`` line (``message`` in a browser)."""
    id: bytes | None = None
    """The value of the event's own ``id`` line."""
    retry: int | None = None
    """In milliseconds."""


class OversizedEvent(Exception):
    """One event exceeds the limit (bytes). ``events``: the complete ones before it."""

    def __init__(self, limit: int, events: list[ServerSentEvent]) -> None:
        super().__init__(f"a server-sent event is larger than {limit} bytes")
        self.events = events


class SSEDecoder:
    """Bytes in, events out. ``limit``: maximum bytes of one event, however it arrives."""

    __slots__ = ("_begun", "_chunks", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks = Rechunker(limit)
        self._begun = False

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Return the events that are now complete. Raises OversizedEvent. Then the decoder cannot be used again."""
        try:
            return self._read(self._chunks.feed(piece))
        except EventTooLarge as error:
            raise OversizedEvent(self._limit, self._read(error.ready)) from error

    def finish(self, ending: Ending) -> list[ServerSentEvent]:
        """The last event without its blank line, if the stream ended well.

        Browsers drop such an event, but some providers omit the blank line after their last event.
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
    """The events in ``text``, whose lines end with LF."""
    for block in text.split(b"\n\n"):
        if block.startswith(b"data: ") and b"\n" not in block:
            yield ServerSentEvent(block[6:])
        elif block:
            event = _event(block)
            if event is not None:
                yield event


def _event(block: bytes) -> ServerSentEvent | None:
    """One event from its lines. None without a data line: such an event is never dispatched."""
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
    """One complete event. ``data`` must have no line ends, as compact JSON has none; ``name`` may be empty.

    LF only, one data line, a blank line at the end: some readers support no other form.
    """
    if name:
        return b"event: %b\ndata: %b\n\n" % (name, data)
    return b"data: %b\n\n" % data


def encode_comment(text: bytes) -> bytes:
    """A comment, which keeps a connection alive and is not an event."""
    return b": %b\n\n" % text


DONE = b"data: [DONE]\n\n"
"""The last event of every Chat Completions stream."""
