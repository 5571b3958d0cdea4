"""Halves of surrogate pairs: a provider that cuts its text by UTF-16 units writes one half at the end of a piece
(``"a\\ud83d"``) and the other at the beginning of the next (``"\\ude00b"``).

JSON allows that (RFC 8259, section 8.2), UTF-8 does not. So a half at the end of a piece is kept until the next piece;
a half without its counterpart becomes U+FFFD.
"""

from __future__ import annotations

import re

_FIRST = "\ud800"
_HALF = re.compile("[\ud800-\udfff]")
_ALONE = re.compile("(?!\\A)[\udc00-\udfff]|[\ud800-\udbff](?!\\Z)")
_REPLACEMENT = "\ufffd"


def border_halves_kept(text: str) -> str:
    """``text`` with U+FFFD for halves that no other piece can complete."""
    return _ALONE.sub(_REPLACEMENT, text)


def well_formed(text: str) -> str:
    """``text`` with its pairs joined, and U+FFFD for every half that is alone."""
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Halves:
    """Joins the halves at the borders of the pieces of one text: its output has no halves.

    Pieces without halves, which are nearly all, are returned unchanged.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """The text that can be written now, perhaps empty."""
        if not self._held and (piece.isascii() or (piece[-1] < _FIRST and piece[0] < _FIRST)):
            return piece
        piece, self._held = self._held + piece, ""
        if "\ud800" <= piece[-1] <= "\udbff":
            piece, self._held = piece[:-1], piece[-1]
        return well_formed(piece)

    def finish(self) -> str:
        """U+FFFD if a half was kept, else an empty string."""
        held, self._held = self._held, ""
        return _REPLACEMENT if held else ""

    def forget(self) -> None:
        """Drop a kept half, because the caller has written it."""
        self._held = ""
