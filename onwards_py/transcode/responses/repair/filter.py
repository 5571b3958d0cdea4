"""Repairs defective Responses streams of native providers: bytes in, bytes out.

The setting ``repair`` is off by default, because the bytes of native responses are not changed otherwise. An event
without a defect is forwarded byte for byte, and so is a body that is not an event stream.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import orjson

from onwards_py.messages import Ending
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.responses.repair.events import EventRepair
from onwards_py.transcode.responses.repair.items import Event
from onwards_py.wire.rechunk import EventTooLarge, Rechunker
from onwards_py.wire.sse import DONE, encode_event

LARGEST_EVENT = 16 << 20
"""The default limit of one event of the provider, in bytes."""

LARGEST_KEPT = 64 << 20
"""The default limit of finished items that are kept for an empty final output, in bytes."""

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINES = re.compile(rb"((?:\r\n|\r(?!\n)|\n){2,})")
_START = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*")
_NAME = re.compile(r"[!-~]+\Z")


class _Block(NamedTuple):
    """One event in its wire format, without the blank line."""

    name: bytes
    data: bytes
    others: list[bytes]


class Repair:
    """Filter. ``created_at``: when the exchange began, in seconds since the epoch; ``model``: the name asked for.

    Both are used if the provider's are missing. In bytes, ``limit`` bounds one event, and ``keep`` the items that are
    kept for the final output. ``changes`` counts changed events and an added end mark; 0: all bytes are the provider's.
    Raises EventTooLarge.
    """

    __slots__ = ("_chunks", "_done", "_events", "_held", "_limit", "_stream", "changes")

    def __init__(
        self, created_at: int, model: str | None = None, *, limit: int = LARGEST_EVENT, keep: int = LARGEST_KEPT
    ) -> None:
        self.changes = 0
        self._limit = limit
        self._chunks = Rechunker(limit)
        self._events = EventRepair(created_at, model, keep)
        self._stream: bool | None = None
        self._held = b""
        self._done = False

    def feed(self, piece: bytes) -> bytes:
        """Take the next bytes; return the events that are now complete, repaired."""
        if self._stream is None:
            piece, self._held = self._held + piece, b""
            self._recognise(piece)
            if self._stream is None:
                self._held = piece
                return b""
        if not self._stream:
            return piece
        try:
            return self._blocks(self._chunks.feed(piece))
        except EventTooLarge as error:
            raise EventTooLarge(self._limit, self._blocks(error.ready)) from error

    def finish(self, ending: Ending) -> bytes:
        """Return the remaining bytes. A missing ``[DONE]`` after a terminal event is added."""
        if not self._stream:
            return self._held
        rest = self._chunks.finish(ending)
        out = self._blocks(rest)
        added = DONE if ending is Ending.DONE and self._events.ended and not self._done else b""
        if rest.strip(b"\r\n") and (self._done or added):
            added = (b"\n" if rest.endswith(b"\n") else b"\n\n") + added
        self.changes += added != b""
        return out + added

    def _recognise(self, piece: bytes) -> None:
        """Determine whether the body is an event stream, whose lines do not begin with a brace, or JSON."""
        start = piece.lstrip()
        if start.startswith(_BOM) or not _BOM.startswith(start):
            start = start.removeprefix(_BOM).lstrip()
        elif len(piece) <= self._limit:
            return
        if start or len(piece) > self._limit:
            self._stream = start[:1] not in (b"{", b"[")

    def _blocks(self, ready: bytes) -> bytes:
        """Repair complete events, each with its blank line; further line ends between them are not changed."""
        if not ready:
            return b""
        out: list[bytes] = []
        for number, text in enumerate(_BLANK_LINES.split(ready)):
            if number % 2 or not text:
                out.append(text)
                continue
            start = _START.match(text)
            at = start.end() if start else 0
            event = text[at:]
            repaired = self._block(event)
            self.changes += repaired != event
            out += (text[:at], repaired)
        return b"".join(out)

    def _block(self, text: bytes) -> bytes:
        block = _read(text)
        if block is None:
            return text
        if block.data.strip() == b"[DONE]":
            self._done = True
            return text
        try:
            event = lenient_json.loads(block.data)
        except ValueError:
            return _as_comment(text, block)
        if not isinstance(event, dict):
            return text
        changed = "type" not in event and block.name.startswith(b"response.")
        if changed:
            event = {"type": block.name.decode("ascii", "replace"), **event}
        return self._event(text, block, event, changed)

    def _event(self, text: bytes, block: _Block, event: Event, changed: bool) -> bytes:
        type_ = event.get("type")
        if not isinstance(type_, str) or not _NAME.match(type_):
            return text
        repaired = self._events.repair(event, len(text))
        if repaired.superfluous:
            return b": repeated"
        name = type_.encode()
        try:
            before = b"".join(
                [encode_event(str(one["type"]).encode(), lenient_json.dumps_as_read(one)) for one in repaired.before]
            )
            if changed or repaired.changed:
                return before + b"\n".join(
                    [*block.others, b"event: " + name, b"data: " + lenient_json.dumps_as_read(event)]
                )
        except orjson.JSONEncodeError:  # nested deeper than the encoder accepts: the event is not changed
            return text
        if name == block.name:
            return before + text
        if block.name:
            text = b"\n".join(line for line in _LINE_END.split(text) if not line.startswith(b"event"))
        return before + b"event: " + name + b"\n" + text


def _read(text: bytes) -> _Block | None:
    """The lines of an event; None if it has no data, because such an event is never dispatched."""
    name = b""
    data: list[bytes] = []
    others: list[bytes] = []
    for line in _LINE_END.split(text) if b"\r" in text else text.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif line:
            others.append(line)
    return _Block(name, b"\n".join(data), others) if data else None


def _as_comment(text: bytes, block: _Block) -> bytes:
    """Turn data that is not JSON, such as a gateway's keep-alive, into a comment, because clients fail to parse it.
    Data that begins like JSON is invalid content, and is not changed."""
    if block.name == b"error" or block.data.lstrip()[:1] in (b"{", b"["):
        return text
    return b"\n".join(b": " + line for line in block.data.split(b"\n"))
