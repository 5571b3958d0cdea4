"""Detects the end of a streamed JSON text by its nesting depth, without reading any part of it twice."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r'["{}\[\]]')
_INSIDE = re.compile(r'"|\\.?', re.DOTALL)


class JsonNesting:
    """The nesting of one JSON text. Its validity is not checked."""

    __slots__ = ("_depth", "_escaped", "_in_string", "_opened")

    def __init__(self) -> None:
        self._depth = 0
        self._opened = False
        self._in_string = False
        self._escaped = False

    @property
    def closed(self) -> bool:
        """Whether the text has brackets, and all of them are closed."""
        return self._opened and self._depth <= 0 and not self._in_string

    def feed(self, text: str) -> None:
        """Take more text."""
        at = 0
        if self._escaped and text:
            at, self._escaped = 1, False
        while (match := (_INSIDE if self._in_string else _OUTSIDE).search(text, at)) is not None:
            at = match.end()
            self._token(match[0])

    def _token(self, token: str) -> None:
        if token == '"':
            self._in_string = not self._in_string
        elif token in "{[":
            self._depth += 1
            self._opened = True
        elif token in "}]":
            self._depth -= 1
        elif token == "\\":
            self._escaped = True  # the escaped character is in the next text
