"""Separates reasoning between ``<think>`` and ``</think>`` from content, for tags in any number of pieces.

A tag counts only at the *beginning* of the content, so prose and JSON that contain the tag are not changed. The line
ends directly after each tag are removed with it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from onwards_py.transcode.neutral.quirks import Think

_OPEN = "<think>"
_CLOSE = "</think>"
_LINE_ENDS = "\r\n"


class Piece(NamedTuple):
    """Some text, and whether it is reasoning."""

    reasoning: bool
    text: str


class _Place(Enum):
    START = "start"  # only white space so far: the tag may follow
    AFTER_OPEN = "after_open"
    INSIDE = "inside"
    AFTER_CLOSE = "after_close"
    PROSE = "prose"  # no tag can follow


class ThinkSplitter:
    """``feed`` takes content and returns pieces. It keeps at most leading white space and the beginning of one tag."""

    __slots__ = ("_held", "_place", "_untagged")

    def __init__(self, think: Think) -> None:
        self._place = _Place.PROSE if think is Think.OFF else _Place.START
        self._untagged = _Place.AFTER_OPEN if think is Think.PREFILLED else _Place.PROSE
        self._held = ""

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are known now, in order, without empty ones."""
        text, self._held = self._held + text, ""
        pieces: list[Piece] = []
        while text:
            text = self._step(text, pieces)
        return pieces

    def finish(self) -> list[Piece]:
        """The kept text, which is not a tag."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [Piece(self._place is _Place.INSIDE or self._untagged is _Place.AFTER_OPEN, held)]

    def _step(self, text: str, pieces: list[Piece]) -> str:
        """Process the beginning of ``text`` in the current state; return the rest for the next step."""
        match self._place:
            case _Place.PROSE:
                pieces.append(Piece(False, text))
                return ""
            case _Place.START:
                return self._start(text)
            case _Place.INSIDE:
                return self._inside(text, pieces)
            case _Place.AFTER_OPEN | _Place.AFTER_CLOSE:
                rest = text.lstrip(_LINE_ENDS)
                if rest:
                    self._place = _Place.INSIDE if self._place is _Place.AFTER_OPEN else _Place.PROSE
                return rest

    def _start(self, text: str) -> str:
        rest = text.lstrip()
        if rest.startswith(_OPEN):
            self._place = _Place.AFTER_OPEN
            return rest[len(_OPEN) :]
        if _OPEN.startswith(rest):
            self._held = text
            return ""
        self._place = self._untagged
        return text

    def _inside(self, text: str, pieces: list[Piece]) -> str:
        before, tag, after = text.partition(_CLOSE)
        if tag:
            self._place = _Place.AFTER_CLOSE
        else:
            held = _overlap(text)
            before, self._held = text[: len(text) - held], text[len(text) - held :]
        if before:
            pieces.append(Piece(True, before))
        return after


def _overlap(text: str) -> int:
    """The number of characters at the end of ``text`` that may begin the closing tag."""
    at = text.rfind("<", -len(_CLOSE) + 1)
    return len(text) - at if at >= 0 and _CLOSE.startswith(text[at:]) else 0
