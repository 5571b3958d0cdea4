"""Reading the items of ``output`` and the parts of their content: any JSON value in any place gives something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import NamedTuple

import orjson

from onwards_py.transcode.neutral import lenient_json


class Kind(Enum):
    """The items that a chat answer has words for."""

    MESSAGE = "message"
    REASONING = "reasoning"
    CALL = "call"


class Field(Enum):
    """The texts of a chat answer, by the name of their field."""

    CONTENT = "content"
    REFUSAL = "refusal"
    REASONING = "reasoning_content"


KIND_OF_FIELD = {Field.CONTENT: Kind.MESSAGE, Field.REFUSAL: Kind.MESSAGE, Field.REASONING: Kind.REASONING}

_KINDS = {
    "message": Kind.MESSAGE,
    "reasoning": Kind.REASONING,
    "function_call": Kind.CALL,
    "custom_tool_call": Kind.CALL,
}
_TEXTS = ("output_text", "text", "input_text")
PARAGRAPH = "\n\n"
"""What stands between the parts of a summary, and between one piece of reasoning and another."""


class Text(NamedTuple):
    """What a message says in one of its fields, with the log probabilities and citations of all of it."""

    text: str
    logprobs: list[object]
    annotations: list[object]


def kind_of(item: Mapping[str, object]) -> Kind | None:
    """What kind of item this is; None for one that a chat answer has no words for."""
    kind = item.get("type")
    return _KINDS.get(kind) if isinstance(kind, str) else None


def message_text(item: Mapping[str, object], opening: int) -> Text:
    """The text of a message: its parts joined. ``opening``: what citations count that stands before it."""
    text, logprobs, annotations = "", list[object](), list[object]()
    for part in parts(item.get("content")):
        field, said = read_part(part)
        if field is not Field.CONTENT:
            continue
        annotations += read_annotations(part.get("annotations"), opening + len(text))
        logprobs += read_logprobs(part.get("logprobs"))
        text += said
    return Text(text, logprobs, annotations)


def message_refusal(item: Mapping[str, object]) -> str:
    """The refusal in a message; empty if there is none."""
    found = map(read_part, parts(item.get("content")))
    return "".join(said for field, said in found if field is Field.REFUSAL)


def reasoning_texts(item: Mapping[str, object]) -> tuple[str, str]:
    """What a reasoning item says as ``content``, and what as ``summary``: often only one of them, or the same."""
    content = "".join(text_of(part, "text") for part in parts(item.get("content")))
    summary = PARAGRAPH.join(filter(None, (text_of(part, "text") for part in parts(item.get("summary")))))
    return content, summary


def read_part(part: Mapping[str, object]) -> tuple[Field | None, str]:
    """Which field a content part belongs to, and what it says there; None: to none."""
    kind = part.get("type")
    if kind in _TEXTS:
        return Field.CONTENT, text_of(part, "text")
    if kind == "refusal":
        return Field.REFUSAL, text_of(part, "refusal")
    if kind == "output_audio":  # its sound has no place in a chat answer that did not ask for it; its words have
        return Field.CONTENT, text_of(part, "transcript")
    if kind in ("reasoning_text", "summary_text"):
        return Field.REASONING, text_of(part, "text")
    return None, ""


def parts(content: object) -> Iterator[Mapping[str, object]]:
    """Content parts; a bare string counts as text."""
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict):
            yield part


def read_logprobs(tokens: object) -> list[object]:
    """Token probabilities in chat's form, where ``bytes`` is never missing."""
    return [_logprob(token, True) for token in (tokens if isinstance(tokens, list) else []) if isinstance(token, dict)]


def _logprob(token: Mapping[str, object], outer: bool) -> dict[str, object]:
    logprob, bytes_, top = token.get("logprob"), token.get("bytes"), token.get("top_logprobs")
    read: dict[str, object] = {
        "token": text_of(token, "token"),
        "logprob": logprob if isinstance(logprob, int | float) and not isinstance(logprob, bool) else -9999.0,
        "bytes": [byte for byte in bytes_ if type(byte) is int] if isinstance(bytes_, list) else None,
    }
    if outer:
        read["top_logprobs"] = [_logprob(one, False) for one in (top if isinstance(top, list) else []) if _is_dict(one)]
    return read


def read_annotations(values: object, offset: int) -> list[object]:
    """URL citations, the only kind that chat knows; ``offset``: what stands in the content before their part."""
    found: list[object] = []
    for value in values if isinstance(values, list) else []:
        if isinstance(value, dict) and (url := text_of(value, "url")):
            start, end = (_place(value.get(name)) + offset for name in ("start_index", "end_index"))
            citation = {"start_index": start, "end_index": end, "url": url, "title": text_of(value, "title")}
            found.append({"type": "url_citation", "url_citation": citation})
    return found


def arguments_of(owner: Mapping[str, object]) -> str | None:
    """The whole arguments, or the whole input of a custom tool, that an item or event tells; None if it does not."""
    for name in ("arguments", "input"):
        value = owner.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, dict | list):
            try:
                return lenient_json.dumps(value).decode()
            except orjson.JSONEncodeError:
                return None  # nested deeper than anything that can be said
    return None


def text_of(owner: Mapping[str, object], name: str) -> str:
    """The string under ``name``; empty if there is none."""
    value = owner.get(name)
    return value if isinstance(value, str) else ""


def index_of(event: Mapping[str, object], name: str) -> int | None:
    """The index under ``name``, if it is one."""
    value = event.get(name)
    return value if type(value) is int else None


def _place(value: object) -> int:
    return value if type(value) is int and abs(value) < 2**53 else 0


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)
