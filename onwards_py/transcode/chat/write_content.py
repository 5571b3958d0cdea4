"""Writes content parts for Chat Completions. A part that is not supported is rejected, or dropped and listed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from onwards_py.transcode.neutral.content import (
    Audio,
    File,
    Image,
    MarkedText,
    Part,
    Refusal,
    Video,
    Written,
    WrittenPart,
)
from onwards_py.transcode.neutral.policy import TranslationContext

_TEXTUAL = (
    "text/",
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
)


def write_parts(parts: Iterable[Part], context: TranslationContext) -> list[WrittenPart]:
    """The parts of one content. Raises InvalidRequest."""
    written: list[WrittenPart] = []
    for part in parts:
        if isinstance(part, str):
            written.append({"type": "text", "text": part})
        elif (one := _write(part, context)) is not None:
            written.append(one)
    return written


def join_text_parts(content: Written, context: TranslationContext) -> Written:
    """Content of text parts only becomes one string, because many servers reject arrays; other content stays an
    array."""
    if isinstance(content, str):
        return content
    if len(content) == 1 and len(part := content[0]) == 2 and part["type"] == "text":
        return _text_of(part)
    if context.quirks.text_as_string and all(len(part) == 2 and part["type"] == "text" for part in content):
        return "".join(_text_of(part) for part in content)
    return content


def split_media(content: list[WrittenPart]) -> tuple[str, list[WrittenPart]]:
    """The joined text of a content, and its other parts."""
    return "".join(map(_text_of, content)), [part for part in content if part["type"] != "text"]


def _text_of(part: WrittenPart) -> str:
    """The text of a text part; empty for any other."""
    text = part.get("text") if part.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def _write(part: Part, context: TranslationContext) -> WrittenPart | None:
    match part:
        case MarkedText():
            return {"type": "text", "text": part.text, **part.marks}
        case Refusal():
            return {"type": "text", "text": part.text}
        case Image():
            return _image(part, context)
        case File():
            return _file(part, context)
        case Audio():
            return {"type": "input_audio", "input_audio": part.members}
        case Video():
            return {"type": "video_url", "video_url": {"url": part.url}}
        case str():
            return {"type": "text", "text": part}


def _image(part: Image, context: TranslationContext) -> WrittenPart | None:
    if not part.url:
        message = "Images by file id cannot be sent to this model; send a data URL."
        context.unsupported(f"{part.where}.file_id", message)
        return None
    image: dict[str, object] = {"url": part.url}
    if isinstance(part.detail, str):  # Responses also has original (sent by Codex); chat has auto, low and high
        image["detail"] = "high" if part.detail == "original" else part.detail
    return {"type": "image_url", "image_url": image}


def _file(part: File, context: TranslationContext) -> WrittenPart | None:
    if part.data is not None:
        return _file_of(part, part.data, context)
    if isinstance(part.file_id, str) and part.file_id and context.quirks.files:
        return {"type": "file", "file": {"file_id": part.file_id}}
    key = "file_id" if part.file_id else "file_url"
    context.unsupported(f"{part.where}.{key}", f"Files by {key} cannot be sent to this model; send file_data.")
    return None


def _file_of(part: File, data: str, context: TranslationContext) -> WrittenPart | None:
    if context.quirks.files:
        named: dict[str, object] = {} if part.name is None else {"filename": part.name}
        return {"type": "file", "file": {**named, "file_data": data}}
    text = _text_of_file(data)
    if text is None:
        context.unsupported(part.where, "This model takes no files other than text.")
        return None
    return {"type": "text", "text": f"{part.name}:\n{text}" if part.name else text}


def _text_of_file(data: str) -> str | None:
    """The text of a data URL of a textual type; None for anything else."""
    head, comma, body = data.partition(",")
    if not comma or not head.startswith("data:") or not head[5:].startswith(_TEXTUAL) or not head.endswith(";base64"):
        return None
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
