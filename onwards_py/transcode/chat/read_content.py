"""Content parts of chat messages. A part that is not supported is rejected, or dropped and listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onwards_py.transcode.neutral.content import Content, File, Image, MarkedText, Part, Refusal, Video
from onwards_py.transcode.neutral.policy import (
    InvalidRequest,
    TranslationContext,
    member,
    must_be_object,
    nested,
    wrong_type,
)
from onwards_py.transcode.neutral.request_checks import check_size, read_audio

JsonPart = Mapping[str, object]

TEXTS = ("text", "input_text", "output_text")


def read_content(
    owner: Mapping[str, object], name: str, where: str, context: TranslationContext, *, of_model: bool = False
) -> Content:
    """The content in the member ``name`` of ``owner``, whose path is ``where``. Raises InvalidRequest.

    A string stays a string, null becomes empty. ``of_model``: the content is an earlier answer, which may have only
    text and refusals.
    """
    content = owner.get(name)
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, dict):  # a single part without an array
        content = [content]
    if not isinstance(content, list):
        raise wrong_type(f"{where}.{name}", "a string or an array", content)
    found: list[Part] = []
    for index, part in enumerate(content):
        made = _read(part, f"{where}.{name}[{index}]", context, of_model)
        if made is not None:
            found.append(made)
    return found


def _read(part: object, where: str, context: TranslationContext, of_model: bool) -> Part | None:
    if isinstance(part, str):
        return part
    part = must_be_object(part, where, "A content part")
    kind = part.get("type")
    if kind in TEXTS:
        text = _string(part, "text", where)
        return MarkedText(text, {"cache_control": part["cache_control"]}, where) if "cache_control" in part else text
    if "cache_control" in part:
        context.drop(f"{where}.cache_control")
    if kind == "refusal" and of_model:
        return Refusal(_string(part, "refusal", where))
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None or of_model:
        context.unsupported(f"{where}.type", f"Content parts of type {kind!r} cannot be sent to this model here.")
        return None
    return reader(part, where, context)


def _string(part: JsonPart, name: str, where: str) -> str:
    text = part.get(name)
    if not isinstance(text, str):
        raise wrong_type(f"{where}.{name}", "a string", text)
    return text


def _image(part: JsonPart, where: str, context: TranslationContext) -> Part | None:
    image, detail = part.get("image_url"), part.get("detail")
    if isinstance(image, dict):
        detail = image.get("detail", detail)
        image = image.get("url")
    if not context.quirks.images:
        context.unsupported(where, "This model takes no images.")
        return None
    if isinstance(image, str) and image:
        check_size(image, f"{where}.image_url", context)
        return Image(image, detail)
    if isinstance(part.get("file_id"), str):
        return Image("", detail, part["file_id"], where)
    raise InvalidRequest(f"{where}.image_url", f"'{where}.image_url' must be an object with a URL or a data URL.")


def _file(part: JsonPart, where: str, context: TranslationContext) -> Part | None:
    source = nested(part, "file")
    named = {name: source[name] for name in ("filename", "file_data", "file_id", "file_url") if source.get(name)}
    if not named.keys() & {"file_data", "file_id", "file_url"}:
        raise InvalidRequest(f"{where}.file", f"'{where}.file' must have 'file_data' or 'file_id'.")
    for name, value in named.items():
        if not isinstance(value, str):
            raise InvalidRequest(f"{where}.file.{name}", f"'{name}' of a file must be a string.", "invalid_type")
        check_size(value, f"{where}.file.{name}", context)
    title, data = (str(named[one]) if one in named else None for one in ("filename", "file_data"))
    return File(title, data, named.get("file_id"), named.get("file_url"), where)


def _video(part: JsonPart, where: str, context: TranslationContext) -> Part | None:
    video = part.get("video_url")
    source = video if isinstance(video, dict) else {"url": video}
    url = member(source, "url", f"{where}.video_url")
    check_size(url, f"{where}.video_url", context)
    return Video(url)


_READERS: Mapping[str, Callable[[JsonPart, str, TranslationContext], Part | None]] = {
    "image_url": _image,
    "input_image": _image,
    "file": _file,
    "input_file": _file,
    "input_audio": read_audio,
    "video_url": _video,
    "input_video": _video,
}
