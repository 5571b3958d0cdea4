"""The ending of a provider's chat answer: finish reasons and usage."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.deltas import Failed, Finished, Stop, Usage
from onwards_py.transcode.neutral.failure import Failure, cut_off


class FinishReason(Enum):
    """The meaning of a provider's ``finish_reason``."""

    STOP = "stop"
    CALLS = "tool_calls"
    LENGTH = "length"
    FILTER = "content_filter"
    ERROR = "error"


_REASONS: Mapping[str, FinishReason] = {
    **dict.fromkeys(("tool_calls", "function_call", "tool_use", "tool_call"), FinishReason.CALLS),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "token_limit"), FinishReason.LENGTH),
    **dict.fromkeys(("max_length", "context_length", "model_context_window_exceeded"), FinishReason.LENGTH),
    **dict.fromkeys(("content_filter", "content_filtered", "safety", "recitation", "sensitive"), FinishReason.FILTER),
    **dict.fromkeys(("prohibited_content", "blocklist", "spii", "image_safety", "refusal"), FinishReason.FILTER),
    **dict.fromkeys(("error", "insufficient_system_resource", "network_error", "abort", "aborted"), FinishReason.ERROR),
    **dict.fromkeys(("cancelled", "canceled", "malformed_function_call", "repetition_truncation"), FinishReason.ERROR),
}


def read_finish(reason: object) -> FinishReason | None:
    """The meaning of a ``finish_reason``; None if there is none. An unknown word means a normal stop."""
    if not reason or not isinstance(reason, str):
        return None
    return _REASONS.get(reason.casefold(), FinishReason.STOP)


COMPLETED = Finished(Stop.END)
TOO_LONG = Finished(Stop.LENGTH)


def resolve_ending(
    finish: FinishReason | None, ending: Ending, *, done: bool, finish_is_final: bool
) -> Finished | Failed:
    """The result of an answer whose stream has ended.

    ``done``: the answer ended with ``[DONE]``, or was not streamed; then it is complete even without a finish reason.
    ``finish_is_final``: no content followed the finish reason; then the answer is complete even if the connection broke
    afterwards.
    """
    if not done and (finish is None or not (finish_is_final or ending is Ending.DONE)):
        return Failed(cut_off(ending))
    match finish:
        case FinishReason.LENGTH:
            return TOO_LONG
        case FinishReason.FILTER:
            return Finished(Stop.FILTER)
        case FinishReason.ERROR:
            return Failed(Failure(502, "server_error", "The provider could not finish its answer."))
        case FinishReason.STOP | FinishReason.CALLS | None:
            return COMPLETED


def read_usage(usage: Mapping[str, object]) -> Usage:
    """The provider's usage; missing counts are 0."""
    prompt = _details(usage, "prompt_tokens_details", "input_tokens_details")
    completion = _details(usage, "completion_tokens_details", "output_tokens_details")
    input_tokens = _count(usage, "prompt_tokens", "input_tokens")
    output_tokens = _count(usage, "completion_tokens", "output_tokens")
    cached = _count(prompt, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens", "cached_tokens")
    reasoning = _count(completion, "reasoning_tokens") or _count(usage, "reasoning_tokens")
    written = _count(prompt, "cache_write_tokens", "cache_creation_tokens")
    return Usage(
        input_tokens,
        output_tokens,
        _count(usage, "total_tokens") or input_tokens + output_tokens,
        {**_integers(prompt), "cached_tokens": cached, "cache_write_tokens": written},
        {**_integers(completion), "reasoning_tokens": reasoning},
    )


def _details(usage: Mapping[str, object], *names: str) -> Mapping[str, object]:
    return next((value for name in names if isinstance(value := usage.get(name), dict)), {})


def _count(usage: Mapping[str, object], *names: str) -> int:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
            return int(value)
    return 0


def _integers(details: Mapping[str, object]) -> dict[str, int]:
    return {name: value for name, value in details.items() if type(value) is int and abs(value) < 2**53}
