"""Content parts in a string: tool output that a client has encoded as JSON once too often."""

from __future__ import annotations

from collections.abc import Mapping
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
    return form is not None and value.keys() <= form.members and any(_has(value, path) for path in form.contents)


def _has(part: Part, path: str) -> bool:
    """Whether there is a string under ``path``, of one or two names."""
    outer, _, inner = path.partition(".")
    found = part.get(outer)
    if inner:
        found = found.get(inner) if isinstance(found, dict) else None
    return isinstance(found, str)


class _Form(NamedTuple):
    """``contents``: paths of which a part of the type must have one; ``members``: all members that it may have."""

    contents: tuple[str, ...]
    members: frozenset[str]


def _form(*contents: str, others: tuple[str, ...] = ()) -> _Form:
    return _Form(contents, frozenset({"type", "cache_control", *(path.split(".")[0] for path in contents), *others}))


_TEXT = _form("text", others=("annotations", "logprobs", "_meta"))  # annotations and _meta: as MCP servers write them
_VIDEO = _form("video_url", "video_url.url")
_FORMS: Mapping[str, _Form] = {
    "text": _TEXT,
    "input_text": _TEXT,
    "output_text": _TEXT,
    "image_url": _form("image_url", "image_url.url", others=("detail",)),
    "input_image": _form("image_url", "image_url.url", "file_id", others=("detail",)),
    "file": _form("file.file_data", "file.file_id", "file.file_url"),
    "input_file": _form("file_data", "file_id", "file_url", others=("filename",)),
    "input_audio": _form("input_audio.data"),
    "video_url": _VIDEO,
    "input_video": _VIDEO,
}
