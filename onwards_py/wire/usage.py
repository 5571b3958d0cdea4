"""How many tokens an answer says it used, found without parsing it.

Every dialect tells it in a JSON member ``"usage": {...}`` near the answer's end: Chat Completions, Completions,
Embeddings and those who speak like them ``prompt_tokens``, ``completion_tokens``, ``total_tokens``; Responses
``input_tokens``, ``output_tokens``, ``total_tokens``; Anthropic Messages ``input_tokens``, ``output_tokens``,
``cache_creation_input_tokens``, ``cache_read_input_tokens``. What counts is all that the model read and wrote: the
total if it is told, else the sum. Cached tokens are in OpenAI's prompt and input tokens already, so they are added only
where they stand beside them, which is Anthropic's way.

Inside a JSON string a quote is escaped, so a text that talks about ``"usage"`` does not look like the member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import Final

from onwards_py.messages import Ending

_MEMBER: Final = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
_KEY: Final = b'"usage"'
# The form of nearly all: a few counts, the total among them, before anything nested. Read without a parser.
_FLAT: Final = re.compile(rb'"usage": ?\{(?: ?"[a-z_]{1,40}": ?[0-9]{1,15},){0,4} ?"total_tokens": ?([0-9]{1,15})[,}]')
_BACKSLASH: Final = 0x5C
_LONGEST: Final = 16 * 1024  # bytes of a usage object; those of today are a few hundred
_CANDIDATES: Final = 16  # so many are looked at, so that no answer can make this slow
_HEAD: Final = 4 * 1024  # where a stream of Anthropic's tells its input, in the first event
_LARGEST: Final = 1 << 53  # beyond it a number is no count

_decode: Final = JSONDecoder().raw_decode
_Usage = dict[str, object]


class UsageScanner:
    """Filter: passes bytes on unchanged and remembers the first few and the last ``limit`` of them, so that the usage
    can be looked for at the end. ``limit`` is at least 1. ``seen``: bytes that passed.

    Pieces are kept by reference, and looked at again when another ``limit`` of them has passed: then what is too old is
    forgotten, and the rest is joined. So at most twice the limit is held.
    """

    __slots__ = ("_append", "_due", "_head", "_limit", "_pieces", "seen")

    def __init__(self, limit: int) -> None:
        self.seen = 0
        self._limit = limit
        self._head: bytes | None = None
        self._pieces: list[bytes] = []
        self._append = self._pieces.append
        self._due = 2 * limit

    @property
    def undecodable(self) -> bool:
        """True if the bytes turned out to be nothing that can be read."""
        return False

    def feed(self, piece: bytes) -> bytes:
        """Return ``piece``."""
        self._append(piece)
        self.seen = seen = self.seen + len(piece)
        if seen >= self._due:
            self._forget()
        return piece

    def _forget(self) -> None:
        passed = b"".join(self._pieces)
        if self._head is None:
            self._head = passed[:_HEAD]
        self._pieces[:] = (passed[-self._limit :],)
        self._due = self.seen + self._limit

    def finish(self, ending: Ending) -> bytes:  # noqa: ARG002  (messages.Filter)
        """Nothing is held back."""
        return b""

    def tokens(self) -> int | None:
        """Tokens used, by the last usage that passed; None if none did, or if too much came after it."""
        passed = b"".join(self._pieces)
        head = passed[:_HEAD] if self._head is None else self._head
        return _count(passed[-self._limit :], head, cut=self.seen > self._limit)


def total_tokens_in(body: bytes) -> int | None:
    """Tokens used, by the last usage in a whole body; None if there is none."""
    at = body.rfind(_KEY)
    if at < 0:
        return None
    flat = _FLAT.match(body, at)
    if flat is not None and body[at - 1] != _BACKSLASH:
        return int(flat[1])
    return _count(body, body[:_HEAD], cut=False)


def _count(data: bytes, head: bytes, *, cut: bool) -> int | None:
    """By the last usage in ``data`` that counts anything; ``head`` is the answer's beginning."""
    for usage in _usages(data, cut=cut):
        total = _total(usage)
        if total is None:
            continue
        if _input(usage) is None and _number(usage, "total_tokens") is None:
            total += next((told for told in map(_input, _usages(head, cut=False)) if told is not None), 0)
        return total
    return None


def _usages(data: bytes, *, cut: bool) -> Iterator[_Usage]:
    """Usage objects in ``data``, the last one first. ``cut``: something came before the first byte."""
    end = len(data)
    for _ in range(_CANDIDATES):
        at = data.rfind(_KEY, 0, end)
        # Of a quote behind a cut nobody knows whether it is escaped.
        if at < 0 or (cut and at == 0):
            return
        end = at
        member = _MEMBER.match(data, at)
        if member is None or (at and data[at - 1] == _BACKSLASH):
            continue
        usage = _object(data[member.end() : member.end() + _LONGEST])
        if usage is not None:
            yield usage


def _object(data: bytes) -> _Usage | None:
    """The JSON object that ``data`` begins with."""
    try:
        usage, _ = _decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return usage if isinstance(usage, dict) else None


def _total(usage: _Usage) -> int | None:
    """All tokens of one usage; None if it counts none."""
    total = _number(usage, "total_tokens")
    if total is not None:
        return total
    read, written = _input(usage), _either(usage, "completion_tokens", "output_tokens")
    return None if read is None and written is None else (read or 0) + (written or 0)


def _input(usage: _Usage) -> int | None:
    """Tokens of the prompt. None: not told."""
    prompt = _number(usage, "prompt_tokens")
    if prompt is not None:
        return prompt
    read = _number(usage, "input_tokens")
    if read is None:
        return None
    beside = ("cache_creation_input_tokens", "cache_read_input_tokens")
    return read + sum(_number(usage, name) or 0 for name in beside)


def _either(usage: _Usage, name: str, other: str) -> int | None:
    number = _number(usage, name)
    return _number(usage, other) if number is None else number


def _number(usage: _Usage, name: str) -> int | None:
    """A member that can be a count. Some servers write 12.0."""
    value = usage.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LARGEST:
        return int(value)
    return None
