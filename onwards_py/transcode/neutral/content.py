"""Content of a message: a string, or parts. Readers and writers convert between these parts and those of their API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class MarkedText(NamedTuple):
    """Text with additional members that not every API has, such as ``cache_control``."""

    text: str
    marks: Mapping[str, object]
    where: str
    """The path of the part."""


class Refusal(NamedTuple):
    """The text in which a model refuses to answer."""

    text: str


class Image(NamedTuple):
    """An image by URL (also a data URL), or by the id of a file at the provider."""

    url: str
    detail: object = None
    file_id: object = None
    where: str = ""


class File(NamedTuple):
    """A file by its data (a data URL), by id or by URL."""

    name: str | None
    data: str | None
    file_id: object
    url: object
    where: str


class Audio(NamedTuple):
    """A sound: ``data`` in base64, and ``format``, as in both APIs of OpenAI."""

    members: Mapping[str, object]


class Video(NamedTuple):
    """A video by URL (also a data URL)."""

    url: str


Part = str | MarkedText | Refusal | Image | File | Audio | Video
"""One part; a string is text."""

Content = str | list[Part]

WrittenPart = dict[str, object]
Written = str | list[WrittenPart]
"""Content in the form of an API. In all APIs with turns a text part is ``{"type": "text", "text": ...}``."""


def as_parts(content: Content) -> list[Part]:
    """Content as a list; an empty string becomes an empty list."""
    if isinstance(content, str):
        return [content] if content else []
    return content


def join(first: Content, second: Content, between: str = "\n\n") -> Content:
    """Two contents as one; strings stay a string."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{between}{second}" if first and second else first or second
    return as_parts(first) + as_parts(second)


def plain_text(content: Content) -> str | None:
    """The content as one string, if all of it is text; else None."""
    if isinstance(content, str):
        return content
    texts = [text for part in content if (text := text_of(part)) is not None]
    return "".join(texts) if len(texts) == len(content) else None


def text_of(part: Part) -> str | None:
    """The text of a text part; None for any other."""
    return part if isinstance(part, str) else part.text if isinstance(part, MarkedText) else None
