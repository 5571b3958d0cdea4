"""Chat Completions as far as the transcoder touches it. Foreign JSON: any member may be missing or of another type."""

from __future__ import annotations

from typing import Literal, TypedDict

from onwards_py.transcode.neutral.content import Written


class FunctionCall(TypedDict, total=False):
    """``arguments`` is JSON in a string."""

    name: str
    arguments: str


class ToolCall(TypedDict, total=False):
    """One call in an assistant message. ``extra_content``: Gemini's signatures."""

    id: str
    type: Literal["function"]
    function: FunctionCall
    extra_content: dict[str, object]


class ChatMessage(TypedDict, total=False):
    """A message of a request. ``tool_call_id`` in those of role ``tool``; ``tool_calls`` in those of an assistant."""

    role: str
    content: Written | None
    refusal: str
    phase: str
    tool_calls: list[ToolCall]
    tool_call_id: str
    reasoning_content: str
    reasoning: str
    reasoning_details: list[object]
