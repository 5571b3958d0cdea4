"""Walk over the members of a JSON object of any size, in steps that each take about a millisecond.

A decoder validates a value in one call, which blocks the interpreter: 300 ms for 57 MiB of numbers.
Here a large value is validated in windows.
A regular expression checks the strings of a window and replaces them by empty ones.
The rest is completed to a document: the open brackets are added before it, and the closing brackets after it.
A decoder validates that document (RFC 8259), and reports where the value ends, if it ends in this window.
No objects are built.

The escape of half a surrogate pair is legal in a string (RFC 8259 section 8.2), although decoders refuse it.
UTF-8 is not validated.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from itertools import islice
from typing import Final

import msgspec

WINDOW: Final = 32 * 1024
"""Maximum bytes of a step."""

MAX_KEY: Final = 64
"""Maximum bytes of a key's literal. A longer one is reported as empty."""

Steps = Generator[None, None, int]
"""Yields between steps. Returns an offset."""

TRAILING_DATA: Final = re.compile(r"trailing characters \(byte (\d+)\)")
"""msgspec's error for trailing data: its group is the offset at which they begin, counted from 1."""

_SPACES: Final = b" \t\n\r"
_SCALARS: Final = b"0123456789+-.eEtrufalsn"
_CLOSING: Final = bytes.maketrans(b"[{", b"]}")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_SPACE = rb"[ \t\n\r]*+"
_TEXT = rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*+)*+'
_STRING = b'"' + _TEXT + b'"'

_space = re.compile(_SPACE).match
_text = re.compile(_TEXT).match
_literal = re.compile(_STRING).match
_strings = re.compile(_STRING)
_key = re.compile(_STRING + _SPACE + b":" + _SPACE).match
_scalar = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+|true|false|null").match
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


class Malformed(Exception):
    """The bytes are not a JSON object. ``args[0]`` is the reason, for the client."""


class Walk:
    """One walk over ``body``. ``window``: maximum bytes of a step. Longer numbers are refused."""

    __slots__ = ("_body", "_window")

    def __init__(self, body: bytes, window: int = WINDOW) -> None:
        self._body = body
        self._window = window

    def members(self, *, objects_only: bool = True) -> Generator[tuple[bytes, int] | None]:
        """Yield the literal of each key (see MAX_KEY) with the offset of its value, and None between steps.

        A member is yielded after its value was validated.
        Raises Malformed.
        Unless ``objects_only``, other values are accepted too, and have no members.
        """
        body = self._body
        at = yield from self._behind_space(0)
        if body[at : at + 1] != b"{":
            if not objects_only and (yield from self._behind_value(at)) == len(body):
                return
            raise Malformed("must be a JSON object (without a byte order mark)")
        at = yield from self._behind_space(at + 1)
        closed = body[at : at + 1] == b"}"
        while not closed:
            yield None
            opening = at
            at = start = yield from self._behind_key(at)
            at = yield from self._behind_value(at)
            literal = _literal(body, opening, opening + MAX_KEY)
            yield b"" if literal is None else literal.group(), start
            delimiter = body[at : at + 1]
            if delimiter not in (b",", b"}"):
                raise Malformed(f"is not valid JSON: no comma or closing brace at byte {at}")
            closed = delimiter == b"}"
            if not closed:
                at = yield from self._behind_space(at + 1)
        if (yield from self._behind_space(at + 1)) < len(body):
            raise Malformed("must be one JSON object, with nothing behind it")

    def _behind_value(self, at: int) -> Steps:
        """The offset after the value at ``at`` and the white space that follows it."""
        first = self._body[at : at + 1]
        if first == b'"':
            at = yield from self._behind_string(at)
        elif first in (b"[", b"{"):
            at = yield from self._behind_container(at)
        else:
            scalar = _scalar(self._body, at, at + self._window)
            if scalar is None or scalar.end() == at + self._window:
                raise _malformed(at)
            at = scalar.end()
        return (yield from self._behind_space(at))

    def _behind_key(self, at: int) -> Steps:
        """The offset of the value whose key begins at ``at``."""
        key = _key(self._body, at, at + self._window)
        if key is not None and key.end() < at + self._window:
            return key.end()
        no_key = Malformed(f"is not valid JSON: no key and colon at byte {at}")
        if self._body[at : at + 1] != b'"':
            raise no_key
        behind = yield from self._behind_string(at)
        behind = yield from self._behind_space(behind)
        if self._body[behind : behind + 1] != b":":
            raise no_key
        return (yield from self._behind_space(behind + 1))

    def _behind_string(self, at: int) -> Steps:
        """The offset after the string that begins at ``at``."""
        body, opening, size = self._body, at, len(self._body)
        at += 1
        while True:
            end = min(at + self._window, size)
            if body.find(b"\\", at, end) < 0:
                behind = self._behind_plain(at, end, opening)
            else:
                text = _text(body, at, end)
                assert text is not None
                behind = text.end()
            if behind < size and body[behind] == ord('"'):
                return behind + 1
            if behind == at or end == size:
                raise _malformed(opening)
            at = behind
            yield

    def _behind_plain(self, at: int, end: int, opening: int) -> int:
        """`_behind_string` for text without escapes, such as base64, which a decoder validates ten times as fast."""
        quote = self._body.find(b'"', at, end)
        behind = end if quote < 0 else quote
        try:
            _decode_raw(b'"%b"' % self._body[at:behind])
        except msgspec.DecodeError:
            raise _malformed(opening) from None
        return behind

    def _behind_space(self, at: int) -> Steps:
        while True:
            space = _space(self._body, at, at + self._window)
            assert space is not None
            if space.end() < at + self._window:
                return space.end()
            at = space.end()
            yield

    def _behind_container(self, at: int) -> Steps:
        """The offset after the container that begins at ``at``, and perhaps after the white space that follows it."""
        end = self._behind_short(at)
        if end:
            return end
        body, size = self._body, len(self._body)
        before = body[at : at + 1]
        at += 1
        while True:
            yield
            window = body[at : at + self._window]
            pieces = _strings.split(window)
            taken = len(window) - _trim_incomplete(pieces, last=at + len(window) == size)
            if not taken:
                if window[:1] != b'"':
                    raise _malformed(at)
                at = yield from self._behind_string(at)
                before += b'""'
                continue
            text = before + b'""'.join(pieces)
            containers = _open_at_end(text)
            rest, closing = _rest_of(text, containers)
            try:
                _decode_raw(text + rest + closing)
            except RecursionError:
                raise Malformed("is nested too deeply") from None
            except msgspec.DecodeError as error:
                trailing = TRAILING_DATA.search(str(error))
                if trailing is None:
                    raise Malformed(f"is not valid JSON: it is malformed behind byte {at}") from None
                return at + _offset(window, pieces, int(trailing.group(1)) - 1 - len(before))
            at += taken
            if not containers:
                return at
            before = _shortest_like(text, rest, containers)

    def _behind_short(self, at: int) -> int:
        """`_behind_container` if the container ends within the window and a decoder accepts it unchanged; else 0."""
        try:
            _decode_raw(memoryview(self._body)[at : at + self._window])
        except RecursionError:
            raise Malformed("is nested too deeply") from None
        except msgspec.DecodeError as error:
            trailing = TRAILING_DATA.search(str(error))
            return 0 if trailing is None else at + int(trailing.group(1)) - 1
        return min(at + self._window, len(self._body))


# ``pieces`` are the parts of a window between its strings.
# A text is a window with empty strings, after the brackets that were open before it.


def _trim_incomplete(pieces: list[bytes], *, last: bool) -> int:
    """Remove a string or a number that may continue behind the window, and return its length."""
    rest = pieces[-1]
    quote = rest.find(b'"')
    if quote >= 0:
        pieces[-1] = rest[:quote]
    elif not last:
        pieces[-1] = rest.rstrip(_SCALARS)
    return len(rest) - len(pieces[-1])


def _open_at_end(text: bytes) -> bytes:
    """The opening brackets of the containers that are open at the end of ``text``, from the outermost."""
    brackets = text.translate(None, _NO_BRACKETS)
    for _ in range(8):  # most pairs are gone after a few turns
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if b"]" not in brackets and b"}" not in brackets:
        return brackets
    stack = bytearray()
    for bracket in brackets:
        if bracket in b"[{":
            stack.append(bracket)
        elif stack:
            stack.pop()  # the decoder checks that the two match
    return bytes(stack)


def _rest_of(text: bytes, containers: bytes) -> tuple[bytes, bytes]:
    """The completion of ``text``: the rest of the member or item at its end, and the closing brackets."""
    rest = b""
    tail = text.rstrip(_SPACES)
    if tail[-1:] == b":":
        rest = b"0"
    elif tail[-1:] == b",":
        rest = b"0" if containers[-1:] == b"[" else b'"":0'
    elif tail[-1:] == b'"' and containers[-1:] == b"{" and tail[:-2].rstrip(_SPACES)[-1:] in (b"{", b","):
        rest = b":0"
    return rest, containers[::-1].translate(_CLOSING)


def _shortest_like(text: bytes, rest: bytes, containers: bytes) -> bytes:
    """The shortest text with the same open containers as ``text`` and the same ``rest``."""
    inner = containers[-1:]
    outer = containers[:-1].replace(b"{", b'{"":')
    if rest == b":0":
        return outer + b'{""'
    if rest == b"0" and inner == b"{":
        return outer + b'{"":'
    if text.rstrip(_SPACES)[-1:] == inner:
        return outer + inner  # it was just opened
    value = b"0 " if inner == b"[" else b'"":0 '  # the space: the next byte must not continue the number
    return outer + inner + value + (b"," if rest else b"")


def _offset(window: bytes, pieces: list[bytes], at: int) -> int:
    """The offset in ``window`` for the offset ``at`` in the pieces with empty strings between them."""
    count = 0
    while at > len(pieces[count]):
        at -= len(pieces[count]) + 2
        count += 1
    if not count:
        return at
    last = next(islice(_strings.finditer(window), count - 1, None))
    return last.end() + at


def _malformed(at: int) -> Malformed:
    return Malformed(f"is not valid JSON: the value at byte {at} is malformed, or a very long number")


if Walk(b"[1] ,2")._behind_short(0) != 4:  # pragma: no cover
    raise ImportError("this version of msgspec does not report where trailing data begins")
