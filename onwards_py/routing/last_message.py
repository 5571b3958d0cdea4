"""The text of the last user message of a request's body. Pure.

It is needed for every request that a classifier routes. Bodies contain whole histories and images of megabytes, of
which one message matters: members and messages are first located as raw spans, which costs a scan without objects, and
only the needed ones are decoded, from the end. (Measured: 1 µs for 2 kB, 0.15 ms for a history of 400 kB, 0.9 ms for 4
MB of image; decoding everything with orjson takes 1.3 µs, 0.3 ms and 2.9 ms.)
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

_TEXT_PARTS = frozenset({"text", "input_text"})


class _Body(Struct, gc=False):
    """The members with text in Chat Completions, Responses and Completions."""

    messages: list[Raw] | None = None
    input: str | list[Raw] | None = None
    prompt: str | list[Raw] | None = None


class _Message(Struct, gc=False):
    """A message of Chat Completions, or an item of Responses; an item without ``type`` is a message."""

    role: str | None = None
    type: str | None = None
    content: Raw = Raw()


class _Part(Struct, gc=False):
    type: str | None = None
    text: str | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_decode_content = msgspec.json.Decoder(str | list[_Part] | None).decode
_decode_string = msgspec.json.Decoder(str).decode


def last_user_text(body: bytes, limit: int) -> str | None:
    """The text of the last user message of ``body``, at most ``limit`` characters (0 or more); None if there is none.

    In a Chat Completions body this is the last message with the role ``user``; in a Responses body the ``input`` itself
    or its last such item; in a Completions body the ``prompt`` or the last of several prompts. The texts of several
    parts are joined by line ends, and other parts (images, audio, files) are ignored. If the last user message has only
    such parts, the result is None: earlier messages are not considered.

    A text that is longer than ``limit`` is reduced to its beginning and its end, half of ``limit`` each: users write
    their request before or after the material that they paste.

    Does not raise an exception, also not for invalid bytes.
    """
    try:
        text = _text_of(_decode_body(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not text or text.isspace():
        return None
    if len(text) <= limit:
        return text
    return text[: limit // 2] + text[len(text) - (limit - limit // 2) :]


def _text_of(body: _Body) -> str | None:
    if body.messages is not None:
        return _of_messages(body.messages)
    if body.input is not None:
        return body.input if isinstance(body.input, str) else _of_messages(body.input)
    if isinstance(body.prompt, list):
        # Any one of several prompts is sufficient. A list of numbers is a prompt in tokens, which has no text.
        return _decode_string(body.prompt[-1]) if body.prompt else None
    return body.prompt


def _of_messages(messages: list[Raw]) -> str | None:
    for raw in reversed(messages):
        try:
            message = _decode_message(raw)
        except msgspec.ValidationError:
            continue  # not a user message
        if message.role == "user" and message.type in (None, "message"):
            return _of_content(message.content)
    return None


def _of_content(raw: Raw) -> str | None:
    content = _decode_content(raw) if raw else None
    if content is None or isinstance(content, str):
        return content
    return "\n".join(part.text for part in content if part.type in _TEXT_PARTS and part.text is not None)
