"""What llama.cpp says is wrong, in the words and with the status that a client of the API knows.

Pure. llama.cpp tells of errors in two ways: as an object (a number for a code, types of its own), or by an exception
when it could not make a prompt of the request; both are the request's fault unless the object says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from onwards_py.engines.base import EngineError, bad_request

_FIELD = re.compile(r"(?:Field|key) '(\w+)'")
_NOISE = re.compile(
    r"\[json\.exception[^\]]*\] ?|Unable to generate parser for this template\. |Automatic parser generation failed: "
)
# Words of llama.cpp's, and the parameters that they can be about: the first of those that the request has.
_WORDS = (
    ("Failed to parse tools", ("tools",)),
    ("tool_choice", ("tool_choice",)),
    ("JSON schema", ("response_format", "json_schema", "tools")),
    ("grammar", ("grammar", "response_format", "json_schema", "tools")),
    ("Prompt", ("prompt",)),
    ("prompt", ("prompt",)),
    ("message", ("messages",)),
    ("content", ("messages",)),
)


def from_error_object(error: object, params: Collection[str]) -> EngineError:
    """Of ``{"code", "message", "type"}``; ``params`` are the names of what the request has."""
    if not isinstance(error, dict):
        return failure()
    if error.get("type") == "exceed_context_size_error":
        return context_exceeded(
            error.get("n_prompt_tokens"), error.get("n_ctx"), "messages" if "messages" in params else "prompt"
        )
    code = error.get("code")
    if isinstance(code, int) and 400 <= code < 500:
        return from_message(str(error.get("message", "")), params)
    if code == 503:
        return EngineError(503, "The local model is not ready.", type="server_error", code="engine_unavailable")
    return failure()


def from_message(message: str, params: Collection[str]) -> EngineError:
    """A 400 with llama.cpp's words, and the parameter that they seem to be about."""
    match = _FIELD.search(message)
    candidates = ((match[1],) if match else (), *(names for words, names in _WORDS if words in message))
    param = next((name for names in candidates for name in names if name in params), None)
    return bad_request(_NOISE.sub("", message) or "The request is not valid.", param)


def context_exceeded(tokens: object, context: object, param: str) -> EngineError:
    """The prompt leaves no room in the window."""
    return bad_request(
        f"This model's context is of {context} tokens, and the request is of {tokens} tokens. Please shorten it.",
        param,
        "context_length_exceeded",
    )


def failure() -> EngineError:
    """Not the request's fault; what exactly it was stays inside."""
    return EngineError(500, "The local model failed.", type="server_error", code="engine_error")
