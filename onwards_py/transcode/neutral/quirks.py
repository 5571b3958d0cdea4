"""The differences between providers of Chat Completions as plain values: one `Quirks` per provider.

Every special treatment of a provider is a field here, so that it can be read, listed and overridden in one place.
`chat.presets` has the values of known providers, with their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Annotated, ClassVar

from onwards_py.setting import Setting


class System(Enum):
    """The accepted positions of system messages."""

    KEEP = "keep"
    """Any number, at any position."""
    MERGE_LEADING = "merge_leading"
    """System messages at the beginning are joined into one; later ones keep their position."""
    HOIST = "hoist"
    """All are joined into one at the beginning, because strict chat templates reject any other position
    (vllm-project/vllm#41114, 2026-04; QwenLM/Qwen3.8#244, 2026-09)."""


class ToolImages(Enum):
    """How an image (or file) in a tool's output is sent."""

    INLINE = "inline"
    """As a content part of the tool message."""
    FOLLOWUP_USER = "followup_user"
    """As a user message after the tool messages."""
    PLACEHOLDER = "placeholder"
    """As a line of text that mentions the image."""


class Replay(Enum):
    """The assistant messages of the history with which earlier reasoning is sent back."""

    NONE = "none"
    TOOL_TURNS = "tool_turns"
    """The messages of a turn in which tools were called; a turn ends with a user message."""
    LAST = "last"
    """All messages since the last user message."""
    ALWAYS = "always"


class Think(Enum):
    """Whether the content contains reasoning between ``<think>`` and ``</think>``."""

    OFF = "off"
    TAGGED = "tagged"
    """If the content starts with ``<think>``."""
    PREFILLED = "prefilled"
    """The prompt ends with ``<think>``: the content is reasoning up to ``</think>``, if it contains one."""


class Effort(Enum):
    """The field for ``reasoning.effort``."""

    REASONING_EFFORT = "reasoning_effort"
    """``reasoning_effort: low``"""
    REASONING_OBJECT = "reasoning"
    """``reasoning: {effort: low}``"""
    TEMPLATE_KWARGS = "chat_template_kwargs"
    """``chat_template_kwargs: {enable_thinking: ..., reasoning_effort: low}``, with false for none."""
    THINKING_OBJECT = "thinking"
    """``reasoning_effort: low``; for the effort none, ``thinking: {type: disabled}``."""
    DROP = "drop"


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts that any provider supports, in ascending order."""

COMMON_EFFORTS = ("none", "low", "medium", "high")
"""The efforts that most providers of Chat Completions support. vLLM and SGLang support ``none`` since March 2026
(vllm-project/vllm#36238, sgl-project/sglang#20556)."""


def nearest_effort(effort: str, known: tuple[str, ...]) -> str:
    """The nearest effort in ``known``: ``effort`` itself, else the next lower one, else the lowest.

    A lower effort is preferred to a higher one, so that a client does not pay for more than it asked for. A word that
    is not in `EFFORTS` is returned unchanged.
    """
    if not known or effort in known or effort not in EFFORTS:
        return effort
    rank = EFFORTS.index(effort)
    ranked = sorted(known, key=EFFORTS.index)
    return next((one for one in reversed(ranked) if EFFORTS.index(one) < rank), ranked[0])


class Structured(Enum):
    """The strongest ``response_format`` that the provider supports."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    NONE = "none"


class AllowedTools(Enum):
    """How ``tool_choice: allowed_tools`` is sent to the model; the answer is checked in either case."""

    NATIVE = "native"
    """Unchanged."""
    SUBSET = "subset"
    """Only the allowed tools are sent."""


class EmptyContent(Enum):
    """The content of an assistant message that has only tool calls."""

    EMPTY = "empty"
    """An empty string."""
    NULL = "null"
    OMIT = "omit"


HINTS = ("metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user", "verbosity")
"""Fields of a request that do not change the meaning of an answer: dropped if the provider does not know them."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """Single deviations from the preset of a provider.

    The defaults are what most providers accept.
    """

    shows_defaults: ClassVar = False

    # The request.
    developer_role: Annotated[bool, Setting("The role developer is supported.")] = False
    system: Annotated[System, Setting("Positions of system messages.")] = System.HOIST
    max_tokens: Annotated[str, Setting("Name of the token limit.", choices=("max_tokens", "max_completion_tokens"))] = (
        "max_tokens"
    )
    text_as_string: Annotated[bool, Setting("Several text parts become one string.")] = True
    merge_roles: Annotated[bool, Setting("Consecutive messages of the same role become one message.")] = True
    merge_rounds: Annotated[bool, Setting("Calls with outputs between them become one assistant message.")] = False
    empty_content: Annotated[EmptyContent, Setting("Content of an assistant message that has only calls.")] = (
        EmptyContent.EMPTY
    )
    arguments_as_object: Annotated[
        bool, Setting("Arguments of a call that are not a JSON object are wrapped in one.")
    ] = True
    short_call_ids: Annotated[bool, Setting("Call ids have exactly nine letters and digits.")] = False
    tool_images: Annotated[ToolImages, Setting("Position of images of a tool's output.")] = ToolImages.FOLLOWUP_USER
    images: Annotated[bool, Setting("Image parts are supported.")] = True
    files: Annotated[bool, Setting("File parts are supported.")] = False
    audio: Annotated[bool, Setting("Audio parts are supported.")] = False
    video: Annotated[bool, Setting("Video parts are supported.")] = False
    refusal_field: Annotated[bool, Setting("Assistant messages may have a refusal.")] = False
    phase: Annotated[bool, Setting("Assistant messages may have a phase.")] = False
    effort: Annotated[Effort, Setting("Field for reasoning.effort.")] = Effort.REASONING_EFFORT
    efforts: Annotated[
        tuple[str, ...],
        Setting("Supported efforts; others become the next lower one. Empty: all.", choices=EFFORTS),
    ] = COMMON_EFFORTS
    structured: Annotated[Structured, Setting("The strongest response_format.")] = Structured.JSON_SCHEMA
    schema_in_prompt: Annotated[
        bool, Setting("If structured is json_object, a JSON schema is added to the prompt.")
    ] = True
    allowed_tools: Annotated[AllowedTools, Setting("How allowed_tools is sent.")] = AllowedTools.SUBSET
    parallel_tool_calls: Annotated[bool, Setting("parallel_tool_calls is supported.")] = True
    tool_choice_required: Annotated[
        str, Setting("Value of tool_choice that requires a call.", choices=("required", "any"))
    ] = "required"
    logprobs: Annotated[bool, Setting("Log probabilities are supported.")] = True
    stream_usage: Annotated[bool, Setting("stream_options.include_usage is supported.")] = True
    reasoning_out: Annotated[tuple[str, ...], Setting("Fields in which earlier reasoning is sent back.")] = (
        "reasoning_content",
    )
    replay: Annotated[Replay, Setting("Messages with which earlier reasoning is sent back.")] = Replay.TOOL_TURNS
    replay_details: Annotated[bool, Setting("reasoning_details are sent back too.")] = False
    call_extras: Annotated[bool, Setting("extra_content of a call is sent back with it.")] = True
    call_placeholder: Annotated[Mapping[str, object] | None, Setting("Replacement for a lost extra_content.")] = None
    """Sent with the first call of a step if none of its calls has its own."""
    hints: Annotated[frozenset[str], Setting("Optional hint fields that are sent.", choices=HINTS)] = frozenset()
    drop: Annotated[frozenset[str], Setting("Chat fields that are never sent.")] = frozenset()
    extra: Annotated[Mapping[str, object], Setting("Chat fields that are added unless the request contains them.")] = (
        field(default_factory=lambda: MappingProxyType({}))
    )

    # The answer.
    reasoning_in: Annotated[
        tuple[str, ...],
        Setting("Fields of an answer that may contain reasoning; the first one present is used."),
    ] = ("reasoning_content", "reasoning")
    think: Annotated[Think, Setting("Reasoning in the text between <think> and </think>.")] = Think.OFF
    dedupe_reasoning: Annotated[
        bool, Setting("Text that is sent as reasoning and as content counts as reasoning only.")
    ] = False
    empty_answer_failed: Annotated[
        bool, Setting("An empty answer with a finish reason of stop is a failure, not an empty message.")
    ] = False
    incomplete_as_completed: Annotated[bool, Setting("A truncated answer has the status completed.")] = False
