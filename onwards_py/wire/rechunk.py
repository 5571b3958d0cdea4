"""The re-chunker: complete server-sent events out, bytes unchanged.

An event ends with a blank line; a line ends with LF, CR or CRLF (WHATWG HTML, section 9.2.5).
Only line ends are searched for, so characters may be split between pieces.
At most one incomplete event is buffered. It is returned by the call that gets its last byte.

An event ends after ``CR CR``, although an LF may follow that belongs to the line end: such an LF is sent in front of
the next event.
After ``CRLF CR`` the event ends only with the next byte: if one line of a stream ends with CRLF, the others do too.
"""

from __future__ import annotations

import re

from onwards_py.messages import Ending

_WHOLE = (b"\n\n", b"\n\r\n", b"\r\r")
_BLANK_LINE = re.compile(rb"\n\n|\n\r\n|\r\r|\n\r(?=[^\n])")
_TAIL = 2  # bytes of a blank line that can be in an earlier piece


class EventTooLarge(Exception):
    """One event exceeds the limit (bytes). ``ready``: the complete events before it, which must still be delivered."""

    def __init__(self, limit: int, ready: bytes) -> None:
        super().__init__(f"a server-sent event is larger than {limit} bytes")
        self.ready = ready


class Rechunker:
    """Filter: any pieces of an event stream in, pieces of complete events out.

    ``limit`` bounds one event in bytes (line ends in front of it do not count), however it arrives.
    A larger event is an error, or, if ``passes``, is returned in pieces once it exceeds the limit.
    ``mid_event``: the last returned byte is inside such an event.
    """

    __slots__ = ("_limit", "_passes", "_pending", "_size", "_tail", "mid_event")

    def __init__(self, limit: int, *, passes: bool = False) -> None:
        self._limit = limit
        self._passes = passes
        self.mid_event = False
        self._pending: list[bytes] = []
        self._size = 0
        self._tail = b""

    def feed(self, piece: bytes) -> bytes:
        """Return the events that are now complete, as one piece. Raises EventTooLarge."""
        if not self._pending and len(piece) <= self._limit and piece.endswith(_WHOLE):
            return piece
        if not self._passes and self._size + len(piece) > self._limit:
            self._check_sizes(piece)
        probe = self._tail + piece
        end = _last_boundary(probe) - len(self._tail)
        if end < 0 or (end == 0 and not self._pending):
            self._buffer(piece)
            return self._excess() if self._size > self._limit or self.mid_event else b""
        self._pending.append(piece[:end])
        ready = b"".join(self._pending)
        self._clear()
        if end == len(piece):
            return ready
        self._buffer(piece[end:])
        return ready + self._excess() if self._size > self._limit else ready

    def finish(self, ending: Ending) -> bytes:
        """The last event without its blank line, if the stream ended well; else no bytes."""
        rest = b"".join(self._pending) if ending is Ending.DONE else b""
        self._pending.clear()
        return rest

    def _excess(self) -> bytes:
        """The buffered part of an event that exceeds the limit."""
        ready = b"".join(self._pending)
        self._pending = [b""]  # not empty: the event continues
        self.mid_event = True
        return ready

    def _buffer(self, piece: bytes) -> None:
        if self._size == 0:
            self._size = len(piece.lstrip(b"\r\n"))
        else:
            self._size += len(piece)
        self._pending.append(piece)
        self._tail = piece[-_TAIL:] if len(piece) >= _TAIL else (self._tail + piece)[-_TAIL:]

    def _clear(self) -> None:
        self._pending.clear()
        self._size = 0
        self._tail = b""
        self.mid_event = False

    def _check_sizes(self, piece: bytes) -> None:
        """Measure each event that ends or begins in ``piece``. Called only if one of them may be too large."""
        data = b"".join(self._pending) + piece
        start = 0
        while True:
            match = _BLANK_LINE.search(data, _skip_line_ends(data, start))
            end = match.end() if match else len(data)
            if end - _skip_line_ends(data, start) > self._limit:
                self._clear()
                raise EventTooLarge(self._limit, data[:start])
            if match is None:
                return
            start = end


def _skip_line_ends(data: bytes, start: int) -> int:
    while data[start : start + 1] in (b"\r", b"\n"):
        start += 1
    return start


def _last_boundary(data: bytes) -> int:
    """Index after the last blank line in ``data``; -1 if there is none."""
    lf = data.rfind(b"\n\n")
    end = lf + 2 if lf >= 0 else -1
    if b"\r" not in data:
        return end
    for blank in (b"\n\r\n", b"\r\r"):
        at = data.rfind(blank, max(end - len(blank), 0))
        if at >= 0:
            end = max(end, at + len(blank))
    last = len(data)
    while (at := data.rfind(b"\n\r", max(end, 0), last)) >= 0:
        # LF then CR: a blank line, unless the CR begins a CRLF, which was found above.
        if at + 2 < len(data) and data[at + 2] != 0x0A:
            return at + 2
        last = at + 1
    return end
