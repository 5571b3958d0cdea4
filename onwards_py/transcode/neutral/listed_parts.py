"""Content parts in a string: tool output that a client has encoded as JSON once too often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import orjson

Part = dict[str, object]


def listed_parts(text: str) -> list[Part] | None:
    """The parts that ``text`` lists, if it is a JSON array of content parts only; else None.

    A tool may return a JSON array of its own, such as a list of files that have a ``type``, or of passages that have a
    score. So each entry must have all required members of a part and no unknown members; otherwise the text is left
    unchanged.
    """
    if text.lstrip(" \t\r\n")[:1] != "[" or '"type"' not in text:
        return None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, list) and value and all(map(_is_part, value)) else None


def _is_part(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    kind = value.get("type")
    form = _FORMS.get(kind) if isinstance(kind, str) else None
    return form is not None and value.keys() <= form.members and form.check(value)


def _has_text(part: Part) -> bool:
    return isinstance(part.get("text"), str)


def _has_image(part: Part) -> bool:
    return _has_url(part, "image_url") or isinstance(part.get("file_id"), str)


def _has_video(part: Part) -> bool:
    return _has_url(part, "video_url")


def _has_url(part: Part, name: str) -> bool:
    url = part.get(name)
    return isinstance(url.get("url") if isinstance(url, dict) else url, str)


def _has_file(part: Part) -> bool:
    inner = part.get("file")
    source = inner if isinstance(inner, dict) else part
    return any(isinstance(source.get(name), str) for name in ("file_data", "file_id", "file_url"))


def _has_audio(part: Part) -> bool:
    audio = part.get("input_audio")
    return isinstance(audio, dict) and isinstance(audio.get("data"), str)


class _Form(NamedTuple):
    """``members``: all members that a part of the type may have; ``check``: whether a part has the required ones."""

    check: Callable[[Part], bool]
    members: frozenset[str]


def _form(check: Callable[[Part], bool], *members: str) -> _Form:
    return _Form(check, frozenset(("type", "cache_control", *members)))


_TEXT = _form(_has_text, "text", "annotations", "logprobs", "_meta")  # annotations and _meta: as MCP servers write them
_IMAGE = _form(_has_image, "image_url", "file_id", "detail")
_VIDEO = _form(_has_video, "video_url")

_FORMS: Mapping[str, _Form] = {
    "text": _TEXT,
    "input_text": _TEXT,
    "output_text": _TEXT,
    "image_url": _form(_has_image, "image_url", "detail"),
    "input_image": _IMAGE,
    "file": _form(_has_file, "file"),
    "input_file": _form(_has_file, "file_data", "file_id", "file_url", "filename"),
    "input_audio": _form(_has_audio, "input_audio"),
    "video_url": _VIDEO,
    "input_video": _VIDEO,
}
