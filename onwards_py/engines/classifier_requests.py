"""The texts in requests to a classifier: Chat Completions, Completions, and vLLM's ``/classify``."""

from __future__ import annotations

from typing import cast

from onwards_py.engines.base import Body, bad_request

MAX_CHARACTERS = 1_000_000
"""The longest text, which takes a tenth of a second; its computation cannot be stopped."""

MAX_TEXTS = 2048
"""The most texts of one request, as in OpenAI's embeddings."""


def text_of_chat(body: Body) -> str:
    """The last user message's text; several text parts are joined by line ends.

    Raises:
        EngineError: 400 for ``messages``, if there is no such message or text in it.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("'messages' must be a list with at least one message.", "messages")
    for message in reversed(cast("list[object]", messages)):
        if not isinstance(message, dict):
            raise bad_request("Each of 'messages' must be an object.", "messages")
        if message.get("role") == "user":
            return _checked(_text_of_content(message.get("content")), "messages")
    raise bad_request("A classifier reads the last message of the user, and there is none.", "messages")


def _text_of_content(content: object) -> str:
    if isinstance(content, str):
        return content
    parts: list[object] = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise bad_request("The last message of the user must have text: a string, or parts of type 'text'.", "messages")
    return "\n".join(cast("list[str]", texts))


def text_of_prompt(body: Body) -> str:
    """The ``prompt``: a string, or a list of one.

    Raises:
        EngineError: 400 for ``prompt``.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise bad_request("'prompt' must be one string; /v1/classify takes several.", "prompt")
    return _checked(prompt, "prompt")


def texts_of_input(body: Body) -> list[str]:
    """The ``input`` of ``/classify``: a string or a list of strings.

    Raises:
        EngineError: 400 for ``input``.
    """
    given = body.get("input")
    texts: list[object] = cast("list[object]", given) if isinstance(given, list) else [given]
    if not texts:
        raise bad_request("'input' must have at least one text.", "input")
    if len(texts) > MAX_TEXTS:
        raise bad_request(f"'input' has {len(texts)} texts; at most {MAX_TEXTS} are taken.", "input")
    if not all(isinstance(text, str) for text in texts):
        raise bad_request("'input' must be a string or a list of strings.", "input")
    return [_checked(text, "input") for text in cast("list[str]", texts)]


def wants_stream(body: Body) -> bool:
    """Whether the client requests a stream.

    Raises:
        EngineError: 400 for ``stream``, or for ``n``: a classifier has one choice.
    """
    if body.get("n") not in (None, 1):
        raise bad_request("A classifier has one answer: 'n' must be 1.", "n")
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise bad_request("'stream' must be a boolean.", "stream")
    return bool(stream)


def wants_usage(body: Body) -> bool:
    """Whether the client requests usage at the end of a stream.

    Raises:
        EngineError: 400 for ``stream_options``.
    """
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise bad_request("'stream_options' must be an object.", "stream_options")
    return options.get("include_usage") is True


def _checked(text: str, param: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise bad_request(
            f"The text has {len(text)} characters; at most {MAX_CHARACTERS} are taken.",
            param,
            "context_length_exceeded",
        )
    return text
