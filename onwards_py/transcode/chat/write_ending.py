"""How an answer ended, in the words of chat completions: finish reasons and usage."""

from __future__ import annotations

from collections.abc import Mapping

TIERS = frozenset({"default", "flex", "scale", "priority"})
"""What clients with closed enumerations understand; ``auto`` is a wish, and no answer to it."""

_REASONS = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "length": "length",
    "content_filter": "content_filter",
}


def finish_reason(status: str, details: object, calls: bool, legacy: bool) -> str:
    """The ``finish_reason`` of a response that is ``completed`` or ``incomplete``.

    Incomplete for a reason that chat has no word for is ``length``: never a normal end.
    """
    if status == "incomplete":
        reason = details.get("reason") if isinstance(details, dict) else None
        return _REASONS.get(reason, "length") if isinstance(reason, str) else "length"
    if not calls:
        return "stop"
    return "function_call" if legacy else "tool_calls"


def to_usage(usage: Mapping[str, object]) -> dict[str, object]:
    """Usage as chat completions say it; details keep every count that came."""
    prompt, completion = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    total = usage.get("total_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": _count(total) or prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, **_counts(usage.get("input_tokens_details"))},
        "completion_tokens_details": {"reasoning_tokens": 0, **_counts(usage.get("output_tokens_details"))},
    }


def _counts(details: object) -> dict[str, int]:
    if not isinstance(details, dict):
        return {}
    return {name: _count(value) for name, value in details.items() if _is_count(value)}


def _count(value: object) -> int:
    return int(value) if _is_count(value) and isinstance(value, int | float) else 0


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
