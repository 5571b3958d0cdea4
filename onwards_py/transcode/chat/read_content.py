"""Content parts of chat messages to those of Responses items. Nothing is left out without a refusal or a note."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, member, name_of
from onwards_py.transcode.neutral.request_checks import check_size

Part = dict[str, object]
Content = str | list[Part]

TEXTS = ("text", "input_text", "output_text")


def read_content(
    owner: Mapping[str, object], name: str, where: str, scope: TranslationContext, *, said: bool = False
) -> Content:
    """The content that ``owner``, whose path is ``where``, holds under ``name``. Raises InvalidRequest.

    A string stays one, null is empty; an array becomes parts: those of an answer if ``said``, else those of an input.
    """
    content = owner.get(name)
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, dict):  # one part without its array
        content = [content]
    if not isinstance(content, list):
        raise InvalidRequest(
            f"{where}.{name}",
            f"'{where}.{name}' must be a string or an array, not {name_of(content)}.",
            "invalid_type",
        )
    found: list[Part] = []
    for index, part in enumerate(content):
        made = _read(part, f"{where}.{name}[{index}]", scope, "output_text" if said else "input_text")
        if made is not None:
            found.append(made)
    return found


def plain(content: Content) -> str | None:
    """The content as one string, if it is nothing but text."""
    if isinstance(content, str):
        return content
    if all(part["type"] in ("input_text", "output_text") for part in content):
        return "".join(str(part["text"]) for part in content)
    return None


def as_parts(content: Content, kind: str) -> list[Part]:
    """Content as an array whose text parts are of this kind; an empty string is no part."""
    if isinstance(content, str):
        return [{"type": kind, "text": content}] if content else []
    return content


def _read(part: object, where: str, scope: TranslationContext, text_kind: str) -> Part | None:
    if isinstance(part, str):
        return {"type": text_kind, "text": part}
    if not isinstance(part, dict):
        raise InvalidRequest(where, f"A content part must be an object, not {name_of(part)}.", "invalid_type")
    kind = part.get("type")
    if "cache_control" in part:
        scope.drop(f"{where}.cache_control")
    if kind in TEXTS:
        return {"type": text_kind, "text": _string(part, "text", where)}
    if kind == "refusal" and text_kind == "output_text":
        return {"type": "refusal", "refusal": _string(part, "refusal", where)}
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None or text_kind == "output_text":
        scope.unsupported(f"{where}.type", f"Content parts of type {kind!r} cannot be sent to this model here.")
        return None
    return reader(part, where, scope)


def _string(part: Part, name: str, where: str) -> str:
    text = part.get(name)
    if not isinstance(text, str):
        raise InvalidRequest(
            f"{where}.{name}", f"'{where}.{name}' must be a string, not {name_of(text)}.", "invalid_type"
        )
    return text


def _image(part: Part, where: str, scope: TranslationContext) -> Part | None:
    image, detail = part.get("image_url"), part.get("detail")
    if isinstance(image, dict):
        detail = image.get("detail", detail)
        image = image.get("url")
    if not scope.quirks.images:
        scope.unsupported(where, "This model takes no images.")
        return None
    made: Part = {"type": "input_image"}
    if isinstance(image, str) and image:
        check_size(image, f"{where}.image_url", scope)
        made["image_url"] = image
    elif isinstance(part.get("file_id"), str):
        made["file_id"] = part["file_id"]
    else:
        raise InvalidRequest(f"{where}.image_url", f"'{where}.image_url' must be an object with a URL or a data URL.")
    if detail is not None:
        made["detail"] = detail
    return made


def _file(part: Part, where: str, scope: TranslationContext) -> Part | None:
    inner = part.get("file")
    source = inner if isinstance(inner, dict) else part
    named = {name: source[name] for name in ("filename", "file_data", "file_id", "file_url") if source.get(name)}
    if not named.keys() & {"file_data", "file_id", "file_url"}:
        raise InvalidRequest(f"{where}.file", f"'{where}.file' must have 'file_data' or 'file_id'.")
    for name, value in named.items():
        if not isinstance(value, str):
            raise InvalidRequest(f"{where}.file.{name}", f"'{name}' of a file must be a string.", "invalid_type")
        check_size(value, f"{where}.file.{name}", scope)
    return {"type": "input_file", **named}


def _audio(part: Part, where: str, scope: TranslationContext) -> Part | None:
    audio = part.get("input_audio")
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        raise InvalidRequest(f"{where}.input_audio", f"'{where}.input_audio' must be an object with data and format.")
    if not scope.quirks.audio:
        scope.unsupported(where, "This model takes no audio.")
        return None
    check_size(audio["data"], f"{where}.input_audio.data", scope)
    return {"type": "input_audio", "input_audio": audio}


def _video(part: Part, where: str, scope: TranslationContext) -> Part | None:
    video = part.get("video_url")
    source = video if isinstance(video, dict) else {"url": video}
    url = member(source, "url", f"{where}.video_url")
    check_size(url, f"{where}.video_url", scope)
    return {"type": "input_video", "video_url": url}


_READERS: Mapping[str, Callable[[Part, str, TranslationContext], Part | None]] = {
    "image_url": _image,
    "input_image": _image,
    "file": _file,
    "input_file": _file,
    "input_audio": _audio,
    "video_url": _video,
    "input_video": _video,
}
