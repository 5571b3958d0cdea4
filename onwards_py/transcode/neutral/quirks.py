"""What providers of Chat Completions do differently, as plain values: one `Quirks` per provider, presets by dialect.

Nobody implements Chat Completions quite like anybody else. Everything the transcoder does for one provider and not for
another is a field here, so that it can be read, listed and overridden in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType


class System(Enum):
    """Where system messages may stand."""

    KEEP = "keep"  # anywhere, any number
    MERGE_LEADING = "merge_leading"  # those at the beginning become one, later ones stay
    HOIST = "hoist"  # one, at the beginning; later ones move there (strict chat templates refuse any other place)


class ToolImages(Enum):
    """What becomes of an image (or file) in a tool's output."""

    INLINE = "inline"  # a content part of the tool message
    FOLLOWUP_USER = "followup_user"  # a user message behind the tool messages
    PLACEHOLDER = "placeholder"  # a line of text says that there was one


class Replay(Enum):
    """To which assistant messages of the history earlier reasoning is given back."""

    NONE = "none"
    TOOL_TURNS = "tool_turns"  # to those of a turn in which tools were called (a turn ends with a user message)
    LAST = "last"  # to all since the last user message
    ALWAYS = "always"


class Think(Enum):
    """Whether reasoning stands in the content between ``<think>`` and ``</think>``."""

    OFF = "off"
    TAGGED = "tagged"  # if the content starts with <think>
    PREFILLED = "prefilled"  # the prompt opened it already: reasoning up to </think>, if there is one


class Effort(Enum):
    """How ``reasoning.effort`` is said."""

    REASONING_EFFORT = "reasoning_effort"  # reasoning_effort: "low"
    REASONING_OBJECT = "reasoning"  # reasoning: {effort: "low"} (OpenRouter)
    TEMPLATE_KWARGS = "chat_template_kwargs"  # chat_template_kwargs: {enable_thinking: false} for none, else true
    THINKING_OBJECT = "thinking"  # reasoning_effort; thinking: {type: disabled} for none (DeepSeek)
    DROP = "drop"


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All efforts that anybody has, from the least to the most."""

COMMON_EFFORTS = ("none", "low", "medium", "high")
"""What most providers of Chat Completions have. vLLM and SGLang have had ``none`` since March 2026
(vllm-project/vllm#36238, sgl-project/sglang#20556)."""


def nearest_effort(effort: str, known: tuple[str, ...]) -> str:
    """``effort`` if it is ``known``, else the next lower one that is, else the least; an unknown word as it is.

    Lower and not higher: nobody pays for more than was asked for.
    """
    if not known or effort in known or effort not in EFFORTS:
        return effort
    rank = EFFORTS.index(effort)
    ranked = sorted(known, key=EFFORTS.index)
    return next((one for one in reversed(ranked) if EFFORTS.index(one) < rank), ranked[0])


class Structured(Enum):
    """The strongest ``response_format`` that is understood."""

    JSON_SCHEMA = "json_schema"
    JSON_OBJECT = "json_object"
    NONE = "none"


class AllowedTools(Enum):
    """How ``tool_choice: allowed_tools`` reaches the model; the answer is checked in either case."""

    NATIVE = "native"  # the provider knows it
    SUBSET = "subset"  # only the allowed tools are sent


class EmptyContent(Enum):
    """What stands for the content of an assistant message that has only tool calls."""

    EMPTY = "empty"  # ""
    NULL = "null"
    OMIT = "omit"


HINTS = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user", "verbosity"})
"""Fields of a request that change nothing in what an answer means: sent to those who know them, else left out."""


@dataclass(frozen=True, slots=True)
class Quirks:
    """One provider's ways. The defaults are what most providers accept.

    ``reasoning_in``: names of the answer's reasoning text, the first one present wins.
    ``reasoning_out``: names under which reasoning is given back; ``replay_details``: the raw ``reasoning_details`` too.
    ``call_extras``: ``extra_content`` that came with a call goes back with it; ``call_stand_in``: what goes instead of
    one that is lost, on the first call of a step.
    ``efforts``: those that are understood; empty: whatever is asked for. ``schema_in_prompt``: a JSON schema for which
    ``structured`` has only ``json_object`` is said in the prompt besides, instead of being refused.
    ``hints``: which of `HINTS` may be sent. ``drop``: chat fields never sent; ``extra``: chat fields added unless the
    request has them.
    """

    # the request
    developer_role: bool = False
    system: System = System.HOIST
    max_tokens: str = "max_tokens"
    text_as_string: bool = True  # several text parts become one string; a lone one always does
    merge_roles: bool = True
    merge_rounds: bool = False  # calls with outputs between them are one assistant message all the same
    empty_content: EmptyContent = EmptyContent.EMPTY
    arguments_as_object: bool = True  # a call's arguments in the history must be a JSON object, or they are wrapped
    short_call_ids: bool = False  # exactly nine letters and digits (Mistral)
    tool_images: ToolImages = ToolImages.FOLLOWUP_USER
    images: bool = True
    files: bool = False
    audio: bool = False
    video: bool = False
    refusal_field: bool = False
    phase: bool = False  # assistant messages may have the phase that the Responses API gives them
    effort: Effort = Effort.REASONING_EFFORT
    efforts: tuple[str, ...] = COMMON_EFFORTS
    structured: Structured = Structured.JSON_SCHEMA
    schema_in_prompt: bool = True
    allowed_tools: AllowedTools = AllowedTools.SUBSET
    parallel_tool_calls: bool = True
    tool_choice_required: str = "required"
    logprobs: bool = True
    stream_usage: bool = True
    reasoning_out: tuple[str, ...] = ("reasoning_content",)
    replay: Replay = Replay.TOOL_TURNS
    replay_details: bool = False
    call_extras: bool = True
    call_stand_in: Mapping[str, object] | None = None
    hints: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    # the answer
    reasoning_in: tuple[str, ...] = ("reasoning_content", "reasoning")
    think: Think = Think.OFF
    dedupe_reasoning: bool = False  # a delta that says the same as reasoning and as content is reasoning only
    empty_answer_failed: bool = False  # one that stopped without text, reasoning, refusal or call is a failure
    incomplete_as_completed: bool = False  # call a truncated answer completed, for clients that raise on incomplete


_GENERIC = Quirks()
_LOCAL = replace(_GENERIC, replay=Replay.LAST)

PRESETS: Mapping[str, Quirks] = MappingProxyType(
    {
        "generic": _GENERIC,
        "openai": Quirks(
            developer_role=True,
            system=System.KEEP,
            max_tokens="max_completion_tokens",
            text_as_string=False,
            merge_roles=False,
            arguments_as_object=False,
            call_extras=False,
            empty_content=EmptyContent.NULL,
            files=True,
            audio=True,
            refusal_field=True,
            allowed_tools=AllowedTools.NATIVE,
            efforts=(),  # by model, and the API names those that a model has
            reasoning_out=(),
            replay=Replay.NONE,
            hints=HINTS - {"metadata"},  # only accepted together with store: true
        ),
        "vllm": replace(
            _LOCAL,
            video=True,
            audio=True,
            efforts=(),  # all are understood since 0.27 (August 2026); templates refuse those that they do not have
            reasoning_out=("reasoning", "reasoning_content"),
            replay=Replay.TOOL_TURNS,
        ),
        "sglang": replace(_LOCAL, video=True, replay=Replay.TOOL_TURNS),
        "llama_cpp": replace(_LOCAL, audio=True, effort=Effort.TEMPLATE_KWARGS),
        "ollama": replace(
            _LOCAL, reasoning_out=("reasoning",), reasoning_in=("reasoning", "reasoning_content", "thinking")
        ),
        "deepseek": replace(
            _GENERIC,
            images=False,
            effort=Effort.THINKING_OBJECT,
            efforts=("none", "low", "high", "max"),  # api-docs.deepseek.com/guides/thinking_mode, October 2026
            structured=Structured.JSON_OBJECT,
            parallel_tool_calls=False,
            empty_answer_failed=True,  # "may occasionally return empty content" (api-docs.deepseek.com, JSON output)
        ),
        "mistral": replace(
            _GENERIC,
            tool_choice_required="any",
            efforts=("none", "high"),  # docs.mistral.ai/capabilities/reasoning/adjustable, October 2026
            short_call_ids=True,
            call_extras=False,
            tool_images=ToolImages.INLINE,  # a user message behind a tool message is refused
            logprobs=False,
            stream_usage=False,
            reasoning_out=(),
            replay=Replay.NONE,
        ),
        "openrouter": replace(
            _GENERIC,
            system=System.KEEP,
            files=True,
            audio=True,
            effort=Effort.REASONING_OBJECT,
            efforts=("none", "minimal", "low", "medium", "high", "xhigh"),  # its guide on reasoning, October 2026
            reasoning_in=("reasoning", "reasoning_content"),
            reasoning_out=("reasoning",),
            replay=Replay.ALWAYS,
            replay_details=True,
            hints=frozenset({"user", "verbosity", "prompt_cache_key"}),
        ),
        "gemini": replace(
            _GENERIC,  # its refusals name the same efforts (ctrl-space-labs/gendox-core#480, January 2026)
            call_stand_in=MappingProxyType({"google": {"thought_signature": "skip_thought_signature_validator"}}),
            audio=True,
            empty_content=EmptyContent.OMIT,
            parallel_tool_calls=False,
            logprobs=False,
            reasoning_out=(),
            replay=Replay.NONE,
            empty_answer_failed=True,  # no parts and finishReason STOP, now and then (BerriAI/litellm#24442)
        ),
        "anthropic_compat": replace(
            _GENERIC,
            empty_content=EmptyContent.OMIT,
            effort=Effort.DROP,
            structured=Structured.NONE,
            logprobs=False,
            reasoning_out=(),
            replay=Replay.NONE,
        ),
    }
)
"""Quirks by the name that ``dialect:`` takes in the configuration."""
