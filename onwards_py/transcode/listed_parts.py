"""Content parts that a client wrote into a string: the output of a tool that was made JSON once too often."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

Part = dict[str, object]


def listed_parts(text: str) -> list[Part] | None:
    """The parts that ``text`` lists, if it is a JSON array of content parts and of nothing else; else None.

    A tool may well answer with JSON of its own, such as a list of files that have a ``type``. So each part must have
    all that makes it one, and one entry that is none leaves the whole text as it came.
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
    check = _CHECKS.get(kind) if isinstance(kind, str) else None
    return check is not None and check(value)


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


_CHECKS: Mapping[str, Callable[[Part], bool]] = {
    "text": _has_text,
    "input_text": _has_text,
    "output_text": _has_text,
    "image_url": _has_image,
    "input_image": _has_image,
    "file": _has_file,
    "input_file": _has_file,
    "input_audio": _has_audio,
    "video_url": _has_video,
    "input_video": _has_video,
}
