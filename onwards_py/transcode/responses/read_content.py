"""Content parts of Responses items. A part that is not supported is rejected, or dropped and listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onwards_py.transcode.neutral.content import Content, File, Image, MarkedText, Part, Refusal, Video
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, must_be_object, nested, wrong_type
from onwards_py.transcode.neutral.request_checks import check_size, lone_text, read_audio

TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def read_content(owner: Mapping[str, object], name: str, where: str, context: TranslationContext) -> Content:
    """The content in the member ``name`` of ``owner``, whose path is ``where``. Raises InvalidRequest.

    A string, and the text of a single text part, become a string; null becomes empty.
    """
    content = owner.get(name)
    if isinstance(content, str):
        return content
    if isinstance(content, list) and len(content) == 1 and (text := lone_text(content[0], TEXTS)) is not None:
        return text
    return "" if content is None else read_parts(content, f"{where}.{name}", context)


def read_parts(content: object, where: str, context: TranslationContext) -> list[Part]:
    """An array of content parts. Raises InvalidRequest."""
    if not isinstance(content, list):
        raise wrong_type(where, "a string or an array", content)
    parts: list[Part] = []
    for index, part in enumerate(content):
        text = part if isinstance(part, str) else lone_text(part, TEXTS)
        if text is not None:
            parts.append(text)
            continue
        here = f"{where}[{index}]"
        made = _read_part(must_be_object(part, here, "A content part"), here, context)
        if made is not None:
            parts.append(made)
    return parts


def _read_part(part: dict[str, object], where: str, context: TranslationContext) -> Part | None:
    kind = part.get("type")
    if kind in TEXTS:
        text = _text(part.get("text"), where)
        return MarkedText(text, {"cache_control": part["cache_control"]}, where) if "cache_control" in part else text
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        context.unsupported(f"{where}.type", f"Content parts of type {kind!r} cannot be sent to this model.")
        return None
    return reader(part, where, context)


def _text(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise wrong_type(f"{where}.text", "a string", text)
    return text


def _refusal(part: dict[str, object], where: str, _context: TranslationContext) -> Part:
    return Refusal(_text(part.get("refusal"), where))


def _image(part: dict[str, object], where: str, context: TranslationContext) -> Part | None:
    url, detail = part.get("image_url"), part.get("detail")
    if isinstance(url, dict):  # the form of Chat Completions
        detail = url.get("detail", detail)
        url = url.get("url")
    if not isinstance(url, str) or not url:
        if part.get("file_id"):
            return Image("", detail, part["file_id"], where)
        raise InvalidRequest(f"{where}.image_url", f"'{where}.image_url' must be a URL or a data URL.")
    if not context.quirks.images:
        context.unsupported(where, "This model takes no images.")
        return None
    check_size(url, f"{where}.image_url", context)
    return Image(url, detail)


def _file(part: dict[str, object], where: str, context: TranslationContext) -> Part | None:
    source = nested(part, "file")
    data, name = source.get("file_data"), source.get("filename")
    if isinstance(data, str) and data:
        check_size(data, f"{where}.file_data", context)
    else:
        data = None
        if not (source.get("file_id") or source.get("file_url")):
            raise InvalidRequest(where, f"'{where}' must hold file_data, file_id or file_url.")
    return File(name if isinstance(name, str) else None, data, source.get("file_id"), source.get("file_url"), where)


def _video(part: dict[str, object], where: str, context: TranslationContext) -> Part | None:
    url = part.get("video_url")
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str) or not url:
        raise InvalidRequest(f"{where}.video_url", f"'{where}.video_url' must be a URL or a data URL.")
    if not context.quirks.video:
        context.unsupported(where, "This model takes no video.")
        return None
    check_size(url, f"{where}.video_url", context)
    return Video(url)


_READERS: Mapping[str, Callable[[dict[str, object], str, TranslationContext], Part | None]] = {
    "refusal": _refusal,
    "input_image": _image,
    "image_url": _image,
    "input_file": _file,
    "file": _file,
    "input_audio": read_audio,
    "input_video": _video,
    "video_url": _video,
}
