"""Extracts the free text of a custom tool from the JSON arguments of a chat function, as a stream if possible.

The model was offered a function with one string parameter, ``input``. If it writes such an object, its characters are
streamed. Otherwise the arguments are examined at their end: they may be a string under another name, a list of command
words, a fenced block, or the text itself.
"""

from __future__ import annotations

import re
from enum import Enum

import orjson

from onwards_py.transcode.neutral.lenient_json import is_cut

_BEGIN = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_MAY_BEGIN = re.compile(r'\s*(\{\s*("(i(n(p(u(t("\s*(:\s*)?)?)?)?)?)?)?)?)?\Z')
_HEX = re.compile(r"[0-9a-fA-F]{4}\Z")
_FENCE = re.compile(r"\A\s*```[^\n]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_SIMPLE = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_OTHER_NAMES = ("input", "patch", "command", "text", "content", "code")


class _Place(Enum):
    START = "start"  # the arguments may still begin with {"input": "
    STRING = "string"
    ENDED = "ended"  # text after the string is ignored
    OTHER = "other"  # another shape, examined at the end


class CustomInput:
    """``feed`` takes arguments and returns text; ``finish`` returns the rest. ``broken``: the text was truncated."""

    __slots__ = ("_held", "_other", "_place", "broken")

    def __init__(self) -> None:
        self._place = _Place.START
        self._held = ""
        self._other: list[str] = []
        self.broken = False

    def feed(self, fragment: str) -> str:
        """The text that is known now."""
        match self._place:
            case _Place.START:
                return self._start(self._held + fragment)
            case _Place.STRING:
                return self._unescape(fragment)
            case _Place.OTHER:
                self._other.append(fragment)
        return ""

    def finish(self) -> str:
        """The remaining text: empty if the text was streamed, else the whole text."""
        if self._place is _Place.OTHER:
            text = "".join(self._other)
            self.broken = text.lstrip().startswith('{"') and is_cut(text)
            return _plain(text)
        self.broken = self._place is _Place.STRING or bool(self._held.strip())
        return ""

    def _start(self, text: str) -> str:
        begin = _BEGIN.match(text)
        if begin is not None:
            self._place, self._held = _Place.STRING, ""
            return self._unescape(text[begin.end() :])
        if _MAY_BEGIN.match(text):
            self._held = text
        else:
            self._place, self._held = _Place.OTHER, ""
            self._other.append(text)
        return ""

    def _unescape(self, fragment: str) -> str:
        """Unescape more of the JSON string; an incomplete escape is kept for the next fragment."""
        text, self._held = self._held + fragment, ""
        out: list[str] = []
        at = 0
        while at < len(text):
            stop = _next_special(text, at)
            out.append(text[at:stop])
            if stop == len(text):
                break
            if text[stop] == '"':
                self._place = _Place.ENDED
                break
            char, length = _escape(text, stop)
            if length == 0:
                self._held = text[stop:]
                break
            out.append(char)
            at = stop + length
        return "".join(out)


def _next_special(text: str, at: int) -> int:
    quote, slash = text.find('"', at), text.find("\\", at)
    places = [place for place in (quote, slash) if place >= 0]
    return min(places, default=len(text))


def _escape(text: str, at: int) -> tuple[str, int]:
    """The character of the escape at ``at``, and the length of the escape; length 0: it is not complete yet."""
    kind = text[at + 1 : at + 2]
    if not kind:
        return "", 0
    if kind != "u":
        return _SIMPLE.get(kind, "\\" + kind), 2
    digits = text[at + 2 : at + 6]
    if len(digits) < 4:
        return "", 0
    code = _hex(digits)
    if code is None or not 0xD800 <= code < 0xE000:
        return (chr(code), 6) if code is not None else ("\\u", 2)
    return _surrogates(text, at, code)


def _surrogates(text: str, at: int, high: int) -> tuple[str, int]:
    """The character of a pair of escaped surrogates; a surrogate without its counterpart becomes U+FFFD."""
    if high >= 0xDC00:
        return "\ufffd", 6
    second = text[at + 6 : at + 12]
    if len(second) < 6 and "\\u".startswith(second[:2]):
        return "", 0
    low = _hex(second[2:]) if second[:2] == "\\u" else None
    if low is None or not 0xDC00 <= low < 0xE000:
        return "\ufffd", 6
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)), 12


def _hex(digits: str) -> int | None:
    return int(digits, 16) if _HEX.match(digits) else None


def _plain(text: str) -> str:
    """The text in arguments of another shape."""
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        fenced = _FENCE.match(text)
        return fenced[1] if fenced else text
    if value == {}:
        return ""
    if isinstance(value, dict):
        named = [value[name] for name in _OTHER_NAMES if name in value]
        value = named[0] if named else (next(iter(value.values())) if len(value) == 1 else value)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        # ["apply_patch", "*** Begin Patch..."]: the last word is the text.
        return str(value[-1]) if value else ""
    return value if isinstance(value, str) else text
