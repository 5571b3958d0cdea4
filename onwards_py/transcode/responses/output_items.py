"""Reads the items of ``output`` and the parts of their content. Invalid values never raise an exception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from onwards_py.transcode.neutral.deltas import Citation
from onwards_py.transcode.neutral.lenient_json import dumps_text
from onwards_py.transcode.neutral.logprobs import read_logprobs

ItemKind = Literal["message", "reasoning", "call"]
"""The kinds of items that are converted to deltas."""

Field = Literal["content", "refusal", "reasoning"]
"""The texts of an answer."""

FIELDS: tuple[Field, ...] = ("content", "refusal", "reasoning")

KIND_OF_FIELD: Mapping[Field, ItemKind] = {"content": "message", "refusal": "message", "reasoning": "reasoning"}

_KINDS: Mapping[str, ItemKind] = {
    "message": "message",
    "reasoning": "reasoning",
    "function_call": "call",
    "custom_tool_call": "call",
}
_TEXTS = ("output_text", "text", "input_text")
PARAGRAPH = "\n\n"
"""The separator between parts of a summary, and between pieces of reasoning."""


class MessageText(NamedTuple):
    """A text of a message, with the log probabilities and citations of all of it."""

    text: str
    logprobs: list[dict[str, object]]
    citations: list[Citation]


def kind_of(item: Mapping[str, object]) -> ItemKind | None:
    """The kind of an item; None for types that are not converted to deltas."""
    kind = item.get("type")
    return _KINDS.get(kind) if isinstance(kind, str) else None


def message_text(item: Mapping[str, object], opening: int) -> MessageText:
    """The joined text of a message. ``opening``: number of characters before it, which is added to citation offsets."""
    text, logprobs, citations = "", list[dict[str, object]](), list[Citation]()
    for part in parts(item.get("content")):
        field, content = read_part(part)
        if field != "content":
            continue
        citations += read_citations(part.get("annotations"), opening + len(text))
        logprobs += read_logprobs(part.get("logprobs"))
        text += content
    return MessageText(text, logprobs, citations)


def message_refusal(item: Mapping[str, object]) -> str:
    """The refusal in a message; empty if there is none."""
    found = map(read_part, parts(item.get("content")))
    return "".join(text for field, text in found if field == "refusal")


def reasoning_texts(item: Mapping[str, object]) -> tuple[str, str]:
    """The ``content`` of a reasoning item, and its ``summary``. Often one of them is empty, or both are the same."""
    content = "".join(text_of(part, "text") for part in parts(item.get("content")))
    summary = PARAGRAPH.join(filter(None, (text_of(part, "text") for part in parts(item.get("summary")))))
    return content, summary


def read_part(part: Mapping[str, object]) -> tuple[Field | None, str]:
    """The field to which a content part belongs, and its text; None: an unknown type."""
    kind = part.get("type")
    if kind in _TEXTS:
        return "content", text_of(part, "text")
    if kind == "refusal":
        return "refusal", text_of(part, "refusal")
    if kind == "output_audio":  # the sound is dropped, because the client did not request it; the transcript is kept
        return "content", text_of(part, "transcript")
    if kind in ("reasoning_text", "summary_text"):
        return "reasoning", text_of(part, "text")
    return None, ""


def parts(content: object) -> Iterator[Mapping[str, object]]:
    """Content parts; a bare string counts as text."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict):
            yield part


def read_citations(values: object, offset: int) -> list[Citation]:
    """URL citations; chat has no other annotations. ``offset``: number of characters before their part."""
    found: list[Citation] = []
    for value in values if isinstance(values, list) else []:
        if isinstance(value, dict) and (url := text_of(value, "url")):
            start, end = (_place(value.get(name)) + offset for name in ("start_index", "end_index"))
            found.append(Citation(start, end, url, text_of(value, "title")))
    return found


def arguments_of(owner: Mapping[str, object]) -> str | None:
    """The complete arguments, or the complete input of a custom tool, in an item or event; None if it has none."""
    for name in ("arguments", "input"):
        value = owner.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, dict | list):
            return dumps_text(value)
    return None


def text_of(owner: Mapping[str, object], name: str) -> str:
    """The string member ``name``; empty if there is none."""
    value = owner.get(name)
    return value if isinstance(value, str) else ""


def index_of(event: Mapping[str, object], name: str) -> int | None:
    """The member ``name`` if it is a valid index, else None."""
    value = event.get(name)
    return value if type(value) is int else None


def _place(value: object) -> int:
    return value if type(value) is int and abs(value) < 2**53 else 0
