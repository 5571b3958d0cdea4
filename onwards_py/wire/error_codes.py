"""Finds the codes of an error, in any shape of error body. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

NAMES: Final = ("code", "type", "status", "error_type")
"""Members of an error that hold its code."""

_WITHIN: Final = ("error", "innererror", "response", "detail")
_BARE: Final = frozenset(
    {
        *("message", "detail", "title"),
        *("code", "type", "__type", "error_code", "error_type", "status", "status_code"),
        *("param", "object", "id", "request_id"),
    }
)
_DEEPEST: Final = 4
_LONGEST: Final = 100

CONTENT_FILTER_CODES: Final = frozenset(
    {
        "content_filter",  # Azure OpenAI (compl-ai/compl-ai#20, 2025-02)
        "responsibleaipolicyviolation",  # Azure OpenAI, inside the error (BerriAI/litellm#16231, 2025-11)
        "content_policy_violation",  # OpenAI, images (BerriAI/litellm#16072, 2025-10)
        "moderation_blocked",  # OpenAI, images of gpt-image (jeffstric/ZJT#480, 2026-07)
        "invalid_prompt",  # OpenAI, reasoning models (BeehiveInnovations/pal-mcp-server#178, 2025-07)
        "data_inspection_failed",  # DashScope (camel-ai/owl#432, 2025-03; CommandCodeAI/command-code#813, 2026-09)
        "datainspectionfailed",  # DashScope's own API (QwenLM/Qwen#938, 2024-01)
    }
)
"""Codes by which a provider refuses the content of a request. Another provider must not be asked then."""

_REFUSAL_WORDS: Final = re.compile(rb"content|policy|moderation|prompt|inspection|\\u", re.IGNORECASE)


def may_be_refusal(body: bytes) -> bool:
    """False if the bytes of a JSON error contain no code of a refusal, so that the error need not be decoded."""
    return _REFUSAL_WORDS.search(body) is not None


def codes_in(value: object) -> frozenset[str]:
    """The codes, types and status names of a decoded error and of the errors inside it, in lower case.

    Numbers are converted to text. Sentences are ignored.
    """
    return frozenset(_codes(value, _DEEPEST))


def is_bare_error(event: Mapping[str, object]) -> bool:
    """True if an event of a stream is an error without an envelope, as Bedrock, Cohere and FastAPI send them.

    Such an event has a message, and otherwise only members of an error. If it has a type, it also has a code.
    """
    has_message = isinstance(event.get("message"), str) or bool(event.get("detail"))
    return has_message and event.keys() <= _BARE and ("code" in event or "type" not in event)


def _codes(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        yield from _name(value)
    if not isinstance(value, dict) or not depth:
        return
    for member in NAMES:
        yield from _name(value.get(member))
    for member in _WITHIN:
        if value.get(member):
            yield from _codes(value[member], depth - 1)


def _name(value: object) -> Iterator[str]:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST and " " not in value:
        yield value.lower()
