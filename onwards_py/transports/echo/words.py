"""The words of texts, and their number. A word is this engine's token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from onwards_py.transports.echo.answers import EchoError
from onwards_py.transports.echo.params import JsonObject, as_list

_WORD = re.compile(r"\S+\s*|\s+")
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True, slots=True)
class Reply:
    """The words of one choice, each with the white space after it. ``cut``: a limit ended the choice."""

    words: list[str]
    cut: bool

    @property
    def text(self) -> str:
        return "".join(self.words)


def reply(text: str, limit: int | None) -> Reply:
    """The first ``limit`` words of a text."""
    words = _WORD.findall(text)
    if limit is None or len(words) <= limit:
        return Reply(words, cut=False)
    return Reply(words[:limit], cut=True)


def count(text: str) -> int:
    """The number of words of a text."""
    return len(text.split())


def messages(body: JsonObject, name: str) -> list[JsonObject]:
    """The messages of a conversation. Raises EchoError for an empty list, or an item that is not an object."""
    found = body.get(name)
    if not isinstance(found, list) or not found:
        raise EchoError(f"'{name}' must be an array with at least one message.", param=name)
    for index, message in enumerate(found):
        if not isinstance(message, dict):
            raise EchoError(f"'{name}[{index}]' is not an object.", param=name)
    return found


def last_user_text(conversation: list[JsonObject]) -> str:
    """The text of the user's last message. Empty without one."""
    for message in reversed(conversation):
        if message.get("role") == "user":
            return "".join(_texts(message))
    return ""


def count_all(conversation: list[JsonObject]) -> int:
    """The number of words of all messages."""
    return sum(count(text) for message in conversation for text in _texts(message))


def _texts(message: JsonObject) -> Iterator[str]:
    content = message.get("content")
    if isinstance(content, str):
        yield content
        return
    for part in as_list(content):
        if isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
            text = part.get("text")
            if isinstance(text, str):
                yield text
