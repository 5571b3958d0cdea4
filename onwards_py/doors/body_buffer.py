"""A request body on its way in."""

from __future__ import annotations

from io import BytesIO


class BodyBuffer:
    """Pieces of a body, joined as they come: a list would cost 40 bytes and more for a piece of two.

    One piece alone stays what it is, without a copy. For more there is a BytesIO: it grows in place, by an eighth at a
    time, and gives its bytes away without copying them.
    """

    __slots__ = ("_first", "_joined", "size")

    def __init__(self) -> None:
        self._first = b""
        self._joined: BytesIO | None = None
        self.size = 0

    def add(self, piece: bytes) -> None:
        if not self.size:
            self._first = piece
        elif self._joined is None:
            self._joined = BytesIO()
            self._joined.write(self._first)
            self._joined.write(piece)
            self._first = b""
        else:
            self._joined.write(piece)
        self.size += len(piece)

    def take(self) -> bytes:
        """The whole body; nothing of it stays here."""
        if self._joined is None:
            body, self._first = self._first, b""
        else:
            body, self._joined = self._joined.getvalue(), None
        self.size = 0
        return body

    def clear(self) -> None:
        self._first = b""
        self._joined = None
        self.size = 0
