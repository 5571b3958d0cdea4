"""A request body that is being read."""

from __future__ import annotations

from io import BytesIO


class BodyBuffer:
    """Joins the pieces of a body as they arrive.

    A list would cost at least 40 bytes for a piece of two bytes.
    A body of one piece is kept without a copy.
    Several pieces are joined in a BytesIO, which grows in place by an eighth at a time and returns its bytes without a
    copy.
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
        """Return the body and empty the buffer."""
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
