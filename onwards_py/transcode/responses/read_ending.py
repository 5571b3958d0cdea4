"""How a provider's response ended: the reason, and its usage."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.deltas import Stop, Usage

_STOPS = {"max_output_tokens": Stop.LENGTH, "max_tokens": Stop.LENGTH, "length": Stop.LENGTH}
_STOPS["content_filter"] = Stop.FILTER


def read_stop(status: str, details: object) -> Stop:
    """Why a response that is ``completed`` or ``incomplete`` ended.

    Incomplete for an unknown reason is a limit of length: never a normal end.
    """
    if status != "incomplete":
        return Stop.END
    reason = details.get("reason") if isinstance(details, dict) else None
    return _STOPS.get(reason, Stop.LENGTH) if isinstance(reason, str) else Stop.LENGTH


def read_usage(usage: Mapping[str, object]) -> Usage:
    """Usage with every count that came."""
    input_tokens, output_tokens = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    return Usage(
        input_tokens,
        output_tokens,
        _count(usage.get("total_tokens")) or input_tokens + output_tokens,
        _counts(usage.get("input_tokens_details")),
        _counts(usage.get("output_tokens_details")),
    )


def _counts(details: object) -> dict[str, int]:
    if not isinstance(details, dict):
        return {}
    return {name: _count(value) for name, value in details.items() if _is_count(value)}


def _count(value: object) -> int:
    return int(value) if _is_count(value) and isinstance(value, int | float) else 0


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
