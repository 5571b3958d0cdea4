"""Images that a model makes, in the forms of both APIs: URLs with the bytes inside, and base64 alone."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

_DATA_URL = re.compile(r"data:(?:image/)?([A-Za-z0-9.+-]*)[^,;]*((?:;[^,;]*)*),", re.IGNORECASE)
_FORMATS = {"jpg": "jpeg", "svg+xml": "svg"}
_KNOWN_FORMATS = frozenset({"png", "webp", "jpeg", "gif", "svg"})


class GeneratedImage(NamedTuple):
    """``result``: base64; empty if there is only a ``url``. ``format``: such as png; empty: not known."""

    result: str
    format: str = ""
    url: str = ""

    @property
    def data_url(self) -> str:
        """The image as a client of Chat Completions expects it."""
        kind = "svg+xml" if self.format == "svg" else self.format or "png"
        return self.url or f"data:image/{kind};base64,{self.result}"


def read_images(values: object) -> Iterator[GeneratedImage]:
    """The ``images`` of a chat answer: ``{type: image_url, image_url: {url}}`` (OpenRouter, LiteLLM), or less of it."""
    for value in values if isinstance(values, list) else [values]:
        image = _from_url(value) if isinstance(value, str) else read_image(value) if isinstance(value, dict) else None
        if image is not None:
            yield image


def read_image(entry: Mapping[str, object]) -> GeneratedImage | None:
    """One image, or a content part that is an image; None: it contains no image."""
    url = entry.get("image_url", entry.get("url"))
    if isinstance(url, dict):
        url = url.get("url")
    if isinstance(url, str) and url:
        return _from_url(url)
    data = entry.get("b64_json")
    return GeneratedImage(data) if isinstance(data, str) and data else None


def from_item(item: Mapping[str, object]) -> GeneratedImage | None:
    """The image of an ``image_generation_call`` item; None: it has no image."""
    result, form = item.get("result"), item.get("output_format")
    if item.get("type") != "image_generation_call" or not isinstance(result, str) or not result:
        return None
    if result.startswith("data:"):  # some gateways put the whole URL there
        return _from_url(result)
    return GeneratedImage(result, _format(form.lower()) if isinstance(form, str) else "")


def _from_url(url: str) -> GeneratedImage:
    head = _DATA_URL.match(url)
    if head is None:
        return GeneratedImage("", url=url)
    data = url[head.end() :]
    if not head[2].lower().endswith(";base64"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return GeneratedImage(data, _format(head[1].lower()))


def _format(name: str) -> str:
    form = _FORMATS.get(name, name)
    return form if form in _KNOWN_FORMATS else ""
