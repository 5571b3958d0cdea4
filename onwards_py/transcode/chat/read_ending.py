"""How an answer ended: finish reasons, usage, and what they make of the response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.failure import Failure, cut_off


class Finish(Enum):
    """What a provider's ``finish_reason`` means."""

    STOP = "stop"
    CALLS = "tool_calls"
    LENGTH = "length"
    FILTER = "content_filter"
    ERROR = "error"


_FINISH: Mapping[str, Finish] = {
    **dict.fromkeys(("tool_calls", "function_call", "tool_use", "tool_call"), Finish.CALLS),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "token_limit"), Finish.LENGTH),
    **dict.fromkeys(("max_length", "context_length", "model_context_window_exceeded"), Finish.LENGTH),
    **dict.fromkeys(("content_filter", "content_filtered", "safety", "recitation", "sensitive"), Finish.FILTER),
    **dict.fromkeys(("prohibited_content", "blocklist", "spii", "image_safety", "refusal"), Finish.FILTER),
    **dict.fromkeys(("error", "insufficient_system_resource", "network_error", "abort", "aborted"), Finish.ERROR),
    **dict.fromkeys(("cancelled", "canceled", "malformed_function_call", "repetition_truncation"), Finish.ERROR),
}


def read_finish(reason: object) -> Finish | None:
    """The meaning of a ``finish_reason``; None where there is none. A word that nobody knows means a normal stop."""
    if not reason or not isinstance(reason, str):
        return None
    return _FINISH.get(reason.casefold(), Finish.STOP)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the terminal event says. At most one of ``reason`` (incomplete) and ``failure`` (failed)."""

    reason: str | None = None
    failure: Failure | None = None

    @property
    def cut(self) -> bool:
        """Whether the last item was stopped in its middle."""
        return self.reason is not None or self.failure is not None

    @property
    def status(self) -> str:
        if self.failure is not None:
            return "failed"
        return "completed" if self.reason is None else "incomplete"


COMPLETED = Verdict()
TOO_LONG = Verdict(reason="max_output_tokens")


def judge(finish: Finish | None, ending: Ending, done: bool, proof: bool) -> Verdict:
    """What the end of the stream means.

    ``done``: ``[DONE]`` was seen, or the answer is a whole one; then it is whole, even if no finish reason came.
    ``proof``: nothing came after the finish reason; then it counts even if the connection broke afterwards.
    """
    if not done and (finish is None or not (proof or ending is Ending.DONE)):
        return Verdict(failure=cut_off(ending))
    match finish:
        case Finish.LENGTH:
            return TOO_LONG
        case Finish.FILTER:
            return Verdict(reason="content_filter")
        case Finish.ERROR:
            return Verdict(failure=Failure(502, "server_error", "The provider could not finish its answer."))
        case Finish.STOP | Finish.CALLS | None:
            return COMPLETED


def read_usage(usage: Mapping[str, object]) -> dict[str, object]:
    """Usage as the Responses API says it: integers throughout, zeros for what is not known."""
    prompt = _details(usage, "prompt_tokens_details", "input_tokens_details")
    completion = _details(usage, "completion_tokens_details", "output_tokens_details")
    input_tokens = _count(usage, "prompt_tokens", "input_tokens")
    output_tokens = _count(usage, "completion_tokens", "output_tokens")
    cached = _count(prompt, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens", "cached_tokens")
    reasoning = _count(completion, "reasoning_tokens") or _count(usage, "reasoning_tokens")
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {
            **_extras(prompt),
            "cached_tokens": cached,
            "cache_write_tokens": _count(prompt, "cache_write_tokens", "cache_creation_tokens"),
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {**_extras(completion), "reasoning_tokens": reasoning},
        "total_tokens": _count(usage, "total_tokens") or input_tokens + output_tokens,
    }


def _details(usage: Mapping[str, object], *names: str) -> Mapping[str, object]:
    return next((value for name in names if isinstance(value := usage.get(name), dict)), {})


def _count(usage: Mapping[str, object], *names: str) -> int:
    for name in names:
        value = usage.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53:
            return int(value)
    return 0


def _extras(details: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in details.items() if type(value) is int}
