"""Estimates the number of input tokens of a Responses request, because only the provider has the tokenizer.

Text is counted by classes of characters, with weights between those of current large vocabularies. Each message, call
and tool adds a few tokens for the provider's template, and an image counts by its detail. Content that the request does
not contain is not counted: earlier responses, conversations, references, files by id or URL, video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import orjson

from onwards_py.transcode.neutral.policy import must_be_string, wrong_type

_ANSWER = 3  # tokens of the template that begin the answer
_MESSAGE = 4  # tokens of the template per message: its role and delimiters
_CALL = 8
_TOOL = 8
_IMAGE = {"low": 85}
_IMAGE_HIGH = 765  # OpenAI's count for a square of 1024 pixels: 85, and 170 for each of four tiles
_BASE64_PER_SOUND_TOKEN = 4267  # 3200 bytes: a tenth of a second of 16 bits at 16 kHz
_BASE64_PER_TEXT_TOKEN = 5.3
_BASE64_PER_PAGE_TOKEN = 100  # for files other than text; their bytes are mostly fonts and images


def _chars(*ranges: tuple[int, int]) -> bytes:
    return b"".join(bytes(range(first, last + 1)) for first, last in ranges)


_PUNCTUATION = _chars((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E))
# Tokens per character, by the first byte of the character in UTF-8.
_WEIGHTS: tuple[tuple[bytes, float], ...] = (
    (_chars((0x41, 0x5A)), 0.4),  # capitals begin words and tokens
    (_chars((0x61, 0x7A)), 0.22),
    (_chars((0x30, 0x39)), 0.6),
    (_PUNCTUATION, 0.6),
    (b"\n", 0.5),
    (b" \t\r", 0.06),  # usually part of the following word
)
_WIDE: tuple[tuple[bytes, float], ...] = (
    (_chars((0xC2, 0xC7)), 2.0),  # Latin with marks, in words that are longer than English ones
    (_chars((0xC8, 0xCF)), 0.5),  # Greek
    (_chars((0xD0, 0xD4)), 0.38),  # Cyrillic
    (_chars((0xD5, 0xDF)), 0.5),  # Armenian, Hebrew, Arabic
    (_chars((0xE0, 0xE1)), 0.6),  # India, Thai, Georgian
    (b"\xe2\xef", 1.0),  # signs, full width
    (_chars((0xE3, 0xE3)), 0.7),  # Kana
    (_chars((0xE4, 0xE9)), 0.85),  # Han
    (_chars((0xEA, 0xEE)), 0.7),  # Hangul
    (_chars((0xF0, 0xF4)), 2.0),  # emoji
)


def answer(request: Mapping[str, object]) -> dict[str, object]:
    """The response body of ``/v1/responses/input_tokens``. Raises InvalidRequest."""
    must_be_string(request.get("model"), "model")
    given = request.get("input")
    if given is not None and not isinstance(given, str | list | dict):
        raise wrong_type("input", "a string or an array", given)
    return {"object": "response.input_tokens", "input_tokens": estimate(request)}


def estimate(request: Mapping[str, object]) -> int:
    """The estimated number of input tokens of ``request``, which may be any parsed JSON."""
    tally = _Tally()
    tally.text(request.get("instructions"), _MESSAGE)
    given = request.get("input")
    for item in given if isinstance(given, list) else (given,):
        tally.item(item)
    tools = request.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        tally.other(tool, _TOOL)
    text = request.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    if isinstance(form, dict) and form.get("type") == "json_schema":
        tally.other(form, 0)
    return _ANSWER + round(tally.tokens + count_text("".join(tally.texts)))


def count_text(text: str) -> float:
    """The estimated number of tokens of ``text``."""
    data = text.encode("utf-8", "surrogatepass")
    classes = _WEIGHTS if text.isascii() else _WEIGHTS + _WIDE
    return sum(weight * (len(data) - len(data.translate(None, members))) for members, weight in classes)


class _Tally:
    """Collects texts to be counted together, and a number of tokens that do not depend on text."""

    __slots__ = ("texts", "tokens")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.tokens: float = 0

    def item(self, item: object) -> None:
        if isinstance(item, str):
            self.text(item, _MESSAGE)
        if not isinstance(item, dict) or item.get("type") == "item_reference":
            return
        kind = item.get("type")
        if "content" in item or "summary" in item:
            self.tokens += _MESSAGE
            self.content(item.get("content") or item.get("summary"))
        elif isinstance(kind, str) and kind.endswith("_output"):
            self.tokens += _CALL
            self.content(item.get("output"))
        elif kind in ("function_call", "custom_tool_call"):
            self.tokens += _CALL
            for name in ("name", "arguments", "input"):
                self.text(item.get(name), 0)
        elif "encrypted_content" not in item:
            self.other(item, 0)
        blob = item.get("encrypted_content")
        if isinstance(blob, str) and not item.get("content"):
            self.tokens += len(blob) / _BASE64_PER_TEXT_TOKEN

    def content(self, content: object) -> None:
        """Add a string, parts, or any JSON that a tool has returned."""
        if not isinstance(content, list):
            self.other(content, 0)
            return
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            reader = _PARTS.get(kind) if isinstance(kind, str) else None
            if isinstance(part, dict) and reader is not None:
                reader(self, part)
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                self.text(part["text"], 0)
            else:
                self.other(part, 0)

    def text(self, text: object, around: int) -> None:
        """Add ``text`` if it is a string, and ``around`` tokens for its surroundings in the template."""
        if isinstance(text, str) and text:
            self.texts.append(text)
            self.tokens += around

    def other(self, value: object, around: int) -> None:
        """Add a string, or any JSON in its encoded form."""
        if isinstance(value, str) or value is None:
            self.text(value, around)
            return
        self.tokens += around
        try:
            self.texts.append(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode())
        except orjson.JSONEncodeError:  # nested deeper than the encoder accepts
            self.texts += _strings(value)

    def image(self, part: dict[str, object]) -> None:
        inner = part.get("image_url")
        detail = inner.get("detail") if isinstance(inner, dict) else part.get("detail")
        self.tokens += _IMAGE.get(detail, _IMAGE_HIGH) if isinstance(detail, str) else _IMAGE_HIGH

    def file(self, part: dict[str, object]) -> None:
        inner = part.get("file")
        data = (inner if isinstance(inner, dict) else part).get("file_data")
        if isinstance(data, str):
            textual = data.startswith(("data:text/", "data:application/json"))
            self.tokens += len(data) / (_BASE64_PER_TEXT_TOKEN if textual else _BASE64_PER_PAGE_TOKEN)

    def audio(self, part: dict[str, object]) -> None:
        audio = part.get("input_audio")
        data = audio.get("data") if isinstance(audio, dict) else None
        if isinstance(data, str):
            self.tokens += len(data) / _BASE64_PER_SOUND_TOKEN

    def uncounted(self, part: dict[str, object]) -> None:
        """Add no tokens: the content is not in the request."""


_PARTS: Mapping[str, Callable[[_Tally, dict[str, object]], None]] = {
    "input_image": _Tally.image,
    "image_url": _Tally.image,
    "input_file": _Tally.file,
    "file": _Tally.file,
    "input_audio": _Tally.audio,
    "input_video": _Tally.uncounted,
    "video_url": _Tally.uncounted,
}


def _strings(value: object) -> Iterator[str]:
    """Every string in ``value``, at any depth."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            stack += one
        elif isinstance(one, dict):
            stack += one.keys()
            stack += one.values()
