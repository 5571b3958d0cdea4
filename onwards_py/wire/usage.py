"""The token usage of a response, found without parsing it.

Every API has a JSON member ``"usage": {...}`` near the end of the response:

- Chat Completions, Completions, Embeddings and compatible APIs: ``prompt_tokens``, ``completion_tokens``,
  ``total_tokens``.
- Responses: ``input_tokens``, ``output_tokens``, ``total_tokens``.
- Anthropic Messages: ``input_tokens``, ``output_tokens``, ``cache_creation_input_tokens``,
  ``cache_read_input_tokens``.

The usage is all input and output of the model: the total if there is one, else the sum.
OpenAI's prompt and input tokens include cached tokens. Anthropic counts those separately, so they are added.

Inside a JSON string a quote is escaped, so a text with ``"usage"`` in it is not mistaken for the member.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecoder
from typing import Final

from onwards_py.messages import Ending

_MEMBER: Final = re.compile(rb'"usage"[ \t\r\n]*:[ \t\r\n]*(?=\{)')
_KEY: Final = b'"usage"'
# The most common form: a few counts, with the total before any nested object. It is read without a parser.
_FLAT: Final = re.compile(rb'"usage": ?\{(?: ?"[a-z_]{1,40}": ?[0-9]{1,15},){0,4} ?"total_tokens": ?([0-9]{1,15})[,}]')
_BACKSLASH: Final = 0x5C
_MAX_OBJECT: Final = 16 * 1024  # bytes of a usage object; most have a few hundred
_MAX_CANDIDATES: Final = 16  # usage objects that are tried, so that no response can make this slow
_HEAD: Final = 4 * 1024  # bytes that hold the first event of an Anthropic stream, with its input tokens
_MAX_COUNT: Final = 1 << 53

_decode: Final = JSONDecoder().raw_decode
_Usage = dict[str, object]


class UsageScanner:
    """Filter: passes bytes unchanged, and keeps the first few and the last ``limit`` of them to find the usage in.

    ``limit`` is at least 1. ``seen`` counts bytes.
    Pieces are kept by reference.
    After every ``limit`` bytes, the last ``limit`` bytes are joined and the others are dropped.
    So at most twice the limit is kept.
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
        """True if the bytes could not be decoded."""
        return False

    def feed(self, piece: bytes) -> bytes:
        """Return ``piece``."""
        self._append(piece)
        self.seen = seen = self.seen + len(piece)
        if seen >= self._due:
            self._trim()
        return piece

    def _trim(self) -> None:
        passed = b"".join(self._pieces)
        if self._head is None:
            self._head = passed[:_HEAD]
        self._pieces[:] = (passed[-self._limit :],)
        self._due = self.seen + self._limit

    def finish(self, ending: Ending) -> bytes:  # noqa: ARG002  (messages.Filter)
        """Returns no bytes: `feed` has returned all of them."""
        return b""

    def tokens(self) -> int | None:
        """The last usage so far. None: there was none, or it was more than ``limit`` bytes ago."""
        passed = b"".join(self._pieces)
        head = passed[:_HEAD] if self._head is None else self._head
        return _count(passed[-self._limit :], head, cut=self.seen > self._limit)


def total_tokens_in(body: bytes) -> int | None:
    """The last usage in a complete body. None: there is none."""
    at = body.rfind(_KEY)
    if at < 0:
        return None
    flat = _FLAT.match(body, at)
    if flat is not None and body[at - 1] != _BACKSLASH:
        return int(flat[1])
    return _count(body, body[:_HEAD], cut=False)


def _count(data: bytes, head: bytes, *, cut: bool) -> int | None:
    """The last usage in ``data`` with a count. ``head``: the beginning of the response."""
    for usage in _usages(data, cut=cut):
        total = _total(usage)
        if total is None:
            continue
        if _input(usage) is None and _number(usage, "total_tokens") is None:
            total += next((read for read in map(_input, _usages(head, cut=False)) if read is not None), 0)
        return total
    return None


def _usages(data: bytes, *, cut: bool) -> Iterator[_Usage]:
    """Usage objects in ``data``, the last one first. ``cut``: ``data`` is the end of a longer text."""
    end = len(data)
    for _ in range(_MAX_CANDIDATES):
        at = data.rfind(_KEY, 0, end)
        # The quote at the beginning of cut data may be an escaped one.
        if at < 0 or (cut and at == 0):
            return
        end = at
        member = _MEMBER.match(data, at)
        if member is None or (at and data[at - 1] == _BACKSLASH):
            continue
        usage = _object(data[member.end() : member.end() + _MAX_OBJECT])
        if usage is not None:
            yield usage


def _object(data: bytes) -> _Usage | None:
    """The JSON object at the beginning of ``data``."""
    try:
        usage, _ = _decode(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return usage if isinstance(usage, dict) else None


def _total(usage: _Usage) -> int | None:
    """All tokens of one usage. None: it has no count."""
    total = _number(usage, "total_tokens")
    if total is not None:
        return total
    read, written = _input(usage), _either(usage, "completion_tokens", "output_tokens")
    return None if read is None and written is None else (read or 0) + (written or 0)


def _input(usage: _Usage) -> int | None:
    """Input tokens. None: there is no count."""
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
    """A member that is a count. Some servers send 12.0."""
    value = usage.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT:
        return int(value)
    return None
