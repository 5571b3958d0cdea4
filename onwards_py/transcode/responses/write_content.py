"""Content parts as Responses has them, where the parts of a model and those of an input have names of their own."""

from __future__ import annotations

from onwards_py.transcode.neutral.content import (
    Audio,
    Content,
    File,
    Image,
    MarkedText,
    Part,
    Refusal,
    Video,
    Written,
    WrittenPart,
    plain_text,
)
from onwards_py.transcode.neutral.policy import TranslationContext


def write_content(content: Content, context: TranslationContext, *, of_model: bool = False) -> Written:
    """The content of a message; ``of_model``: of an earlier answer."""
    kind = "output_text" if of_model else "input_text"
    if isinstance(content, str):
        return content
    return [{"type": kind, "text": part} if type(part) is str else _write(part, kind, context) for part in content]


def write_flat(content: Content, context: TranslationContext, *, of_model: bool = False) -> Written:
    """The same; text alone becomes one string."""
    written = write_content(content, context, of_model=of_model)
    text = plain_text(content)
    return written if text is None else text


def _write(part: Part, text_kind: str, context: TranslationContext) -> WrittenPart:
    match part:
        case str():
            return {"type": text_kind, "text": part}
        case MarkedText():
            for mark in part.marks:
                context.drop(f"{part.where}.{mark}")
            return {"type": text_kind, "text": part.text}
        case Refusal():
            return {"type": "refusal", "refusal": part.text}
        case Image():
            source = {"image_url": part.url} if part.url else {"file_id": part.file_id}
            detail = {} if part.detail is None else {"detail": part.detail}
            return {"type": "input_image", **source, **detail}
        case File():
            members = {"filename": part.name, "file_data": part.data, "file_id": part.file_id, "file_url": part.url}
            return {"type": "input_file", **{name: value for name, value in members.items() if value}}
        case Audio():
            return {"type": "input_audio", "input_audio": part.members}
        case Video():
            return {"type": "input_video", "video_url": part.url}
