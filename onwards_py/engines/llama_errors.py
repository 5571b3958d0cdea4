"""Converts errors of llama.cpp to errors of the OpenAI API.

Pure. llama.cpp reports errors as an object (with numeric codes and types of its own), or as an exception if it cannot
render the prompt. Both are errors of the request, except for an object with the code of a server error.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from onwards_py.engines.base import EngineError, bad_request

_FIELD = re.compile(r"(?:Field|key) '(\w+)'")
_NOISE = re.compile(
    r"\[json\.exception[^\]]*\] ?|Unable to generate parser for this template\. |Automatic parser generation failed: "
)
# Words in messages of llama.cpp, and the parameters that they may refer to; the first one in the request is used.
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
    """The error for ``{"code", "message", "type"}``. ``params``: names of the parameters in the request."""
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
    """A 400 with the message of llama.cpp, and the parameter that it probably refers to."""
    match = _FIELD.search(message)
    candidates = ((match[1],) if match else (), *(names for words, names in _WORDS if words in message))
    param = next((name for names in candidates for name in names if name in params), None)
    return bad_request(_NOISE.sub("", message) or "The request is not valid.", param)


def context_exceeded(tokens: object, context: object, param: str) -> EngineError:
    """The prompt does not fit into the context window."""
    return bad_request(
        f"This model's context is of {context} tokens, and the request is of {tokens} tokens. Please shorten it.",
        param,
        "context_length_exceeded",
    )


def failure() -> EngineError:
    """An internal error, without details for the client."""
    return EngineError(500, "The local model failed.", type="server_error", code="engine_error")
