"""Halves of surrogate pairs: a provider that cuts its text by UTF-16 units writes one half at the end of a piece
(``"a\\ud83d"``) and the other at the beginning of the next (``"\\ude00b"``).

JSON lets that pass (RFC 8259, section 8.2), UTF-8 does not. So a half at the border of a piece is kept until the other
one comes; without it, it is U+FFFD.
"""

from __future__ import annotations

import re

_FIRST = "\ud800"
_HALF = re.compile("[\ud800-\udfff]")
_ALONE = re.compile("(?!\\A)[\udc00-\udfff]|[\ud800-\udbff](?!\\Z)")
_REPLACEMENT = "\ufffd"


def border_halves_kept(text: str) -> str:
    """``text`` as it was read, with U+FFFD for halves that no other piece can complete."""
    return _ALONE.sub(_REPLACEMENT, text)


def well_formed(text: str) -> str:
    """``text`` with its pairs joined, and U+FFFD for every half that is alone."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Halves:
    """A stream core for the pieces of one text: what goes in may have halves at its borders, what comes out has none.

    Pieces without them, as nearly all are, pass as they are.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be written by now; perhaps nothing."""
        if not self._held and (piece.isascii() or (piece[-1] < _FIRST and piece[0] < _FIRST)):
            return piece
        piece, self._held = self._held + piece, ""
        if "\ud800" <= piece[-1] <= "\udbff":
            piece, self._held = piece[:-1], piece[-1]
        return well_formed(piece)

    def finish(self) -> str:
        """What was held turns out to be alone; nothing if nothing was."""
        held, self._held = self._held, ""
        return _REPLACEMENT if held else ""

    def forget(self) -> None:
        """What was held has been written in another way."""
        self._held = ""
