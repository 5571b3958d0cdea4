"""Content parts of Responses items to those of chat messages. Nothing is left out without a refusal or a note."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onwards_py.transcode.neutral.content import Content, Part
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, name_of
from onwards_py.transcode.neutral.request_checks import check_size, plain_text

TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")
_TEXTUAL = (
    "text/",
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
)


def read_content(owner: Mapping[str, object], name: str, where: str, scope: TranslationContext) -> Content:
    """The content that ``owner``, whose path is ``where``, holds under ``name``. Raises InvalidRequest.

    A string stays as it is, as does the text of a lone part; an array becomes chat parts, null is empty.
    """
    content = owner.get(name)
    if isinstance(content, str):
        return content
    if isinstance(content, list) and len(content) == 1 and (text := plain_text(content[0], TEXTS)) is not None:
        return text
    return "" if content is None else read_parts(content, f"{where}.{name}", scope)


def read_parts(content: object, where: str, scope: TranslationContext) -> list[Part]:
    """An array of content parts as chat parts. Raises InvalidRequest."""
    if not isinstance(content, list):
        raise InvalidRequest(where, f"'{where}' must be a string or an array, not {name_of(content)}.", "invalid_type")
    parts: list[Part] = []
    for index, part in enumerate(content):
        text = part if isinstance(part, str) else plain_text(part, TEXTS)
        if text is not None:
            parts.append({"type": "text", "text": text})
            continue
        if not isinstance(part, dict):
            raise InvalidRequest(
                f"{where}[{index}]", f"A content part must be an object, not {name_of(part)}.", "invalid_type"
            )
        made = _read_part(part, f"{where}[{index}]", scope)
        if made is not None:
            parts.append(made)
    return parts


def squeeze(content: Content, scope: TranslationContext) -> Content:
    """Text alone becomes one string, since many servers refuse arrays; what else there is keeps the array."""
    if isinstance(content, str):
        return content
    if len(content) == 1 and len(part := content[0]) == 2 and part["type"] == "text":
        return text_of(part)
    if scope.quirks.text_as_string and all(len(part) == 2 and part["type"] == "text" for part in content):
        return "".join(text_of(part) for part in content)
    return content


def text_of(part: Part) -> str:
    """The text of a text part; empty for any other."""
    text = part.get("text") if part.get("type") == "text" else None
    return text if isinstance(text, str) else ""


def as_parts(content: Content) -> list[Part]:
    """Content as an array, for joining; an empty string is no part."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def join(first: Content, second: Content, between: str = "\n\n") -> Content:
    """Two contents as one; strings stay a string."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{between}{second}" if first and second else first or second
    return as_parts(first) + as_parts(second)


@dataclass(slots=True, init=False)
class Joined:
    """Many contents as one: what `join` makes of them one after another, without copying the first for each."""

    _texts: list[str]
    _parts: list[Part]

    def __init__(self, *contents: Content) -> None:
        self._texts = []
        self._parts = []
        for content in contents:
            self.add(content)

    def add(self, content: Content) -> None:
        """Put it behind the others."""
        if isinstance(content, str) and not self._parts:
            if content:
                self._texts.append(content)
        elif content:
            if self._texts:
                self._parts += as_parts("\n\n".join(self._texts))
                self._texts = []
            self._parts += as_parts(content)

    def content(self) -> Content:
        """All of them."""
        return self._parts or "\n\n".join(self._texts)


def split_media(content: Content) -> tuple[str, list[Part]]:
    """The text of a content, joined, and what is not text."""
    if isinstance(content, str):
        return content, []
    return "".join(map(text_of, content)), [part for part in content if part["type"] != "text"]


def _read_part(part: dict[str, object], where: str, scope: TranslationContext) -> Part | None:
    kind = part.get("type")
    if kind in TEXTS:
        return _text(part, where)
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        scope.unsupported(f"{where}.type", f"Content parts of type {kind!r} cannot be sent to this model.")
        return None
    return reader(part, where, scope)


def _text(part: dict[str, object], where: str) -> Part:
    text = part.get("text")
    if not isinstance(text, str):
        raise InvalidRequest(f"{where}.text", f"'{where}.text' must be a string, not {name_of(text)}.", "invalid_type")
    if "cache_control" in part:
        return {"type": "text", "text": text, "cache_control": part["cache_control"]}
    return {"type": "text", "text": text}


def _refusal(part: dict[str, object], where: str, _scope: TranslationContext) -> Part:
    return _text({"text": part.get("refusal")}, where)


def _image(part: dict[str, object], where: str, scope: TranslationContext) -> Part | None:
    url, detail = part.get("image_url"), part.get("detail")
    if isinstance(url, dict):  # as chat completions has it
        detail = url.get("detail", detail)
        url = url.get("url")
    if not isinstance(url, str) or not url:
        if part.get("file_id"):
            scope.unsupported(f"{where}.file_id", "Images by file id cannot be sent to this model; send a data URL.")
            return None
        raise InvalidRequest(f"{where}.image_url", f"'{where}.image_url' must be a URL or a data URL.")
    if not scope.quirks.images:
        scope.unsupported(where, "This model takes no images.")
        return None
    check_size(url, f"{where}.image_url", scope)
    image: dict[str, object] = {"url": url}
    if detail == "original":  # Responses has it (Codex sends it); chat knows auto, low and high
        detail = "high"
    if isinstance(detail, str):
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


def _file(part: dict[str, object], where: str, scope: TranslationContext) -> Part | None:
    inner = part.get("file")
    source = inner if isinstance(inner, dict) else part
    data, name, file_id = source.get("file_data"), source.get("filename"), source.get("file_id")
    if isinstance(data, str) and data:
        check_size(data, f"{where}.file_data", scope)
        file: dict[str, object] = {"filename": name} if isinstance(name, str) else {}
        return _file_of({**file, "file_data": data}, where, scope)
    if isinstance(file_id, str) and file_id and scope.quirks.files:
        return {"type": "file", "file": {"file_id": file_id}}
    for key in ("file_id", "file_url"):
        if source.get(key):
            scope.unsupported(f"{where}.{key}", f"Files by {key} cannot be sent to this model; send file_data.")
            return None
    raise InvalidRequest(where, f"'{where}' must hold file_data, file_id or file_url.")


def _file_of(file: dict[str, object], where: str, scope: TranslationContext) -> Part | None:
    if scope.quirks.files:
        return {"type": "file", "file": file}
    text = _text_of_file(str(file["file_data"]))
    if text is None:
        scope.unsupported(where, "This model takes no files other than text.")
        return None
    name = file.get("filename")
    return {"type": "text", "text": f"{name}:\n{text}" if name else text}


def _text_of_file(data: str) -> str | None:
    """The text of a data URL of a textual type; None for anything else."""
    head, comma, body = data.partition(",")
    if not comma or not head.startswith("data:") or not head[5:].startswith(_TEXTUAL) or not head.endswith(";base64"):
        return None
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _audio(part: dict[str, object], where: str, scope: TranslationContext) -> Part | None:
    audio = part.get("input_audio")
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        raise InvalidRequest(f"{where}.input_audio", f"'{where}.input_audio' must be an object with data and format.")
    if not scope.quirks.audio:
        scope.unsupported(where, "This model takes no audio.")
        return None
    check_size(str(audio["data"]), f"{where}.input_audio.data", scope)
    return {"type": "input_audio", "input_audio": audio}


def _video(part: dict[str, object], where: str, scope: TranslationContext) -> Part | None:
    url = part.get("video_url")
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{where}.video_url", f"'{where}.video_url' must be a URL or a data URL.")
    if not scope.quirks.video:
        scope.unsupported(where, "This model takes no video.")
        return None
    check_size(url, f"{where}.video_url", scope)
    return {"type": "video_url", "video_url": {"url": url}}


_READERS: Mapping[str, Callable[[dict[str, object], str, TranslationContext], Part | None]] = {
    "refusal": _refusal,
    "input_image": _image,
    "image_url": _image,
    "input_file": _file,
    "file": _file,
    "input_audio": _audio,
    "input_video": _video,
    "video_url": _video,
}
