"""The shape of ``translate``: how Responses requests become chat requests, and chat answers Responses answers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from onwards_py.config.scalars import JsonObject, SealKey, Timeout
from onwards_py.config.shape import Shape
from onwards_py.transcode.neutral.pipeline import KeepAlive
from onwards_py.transcode.neutral.policy import (
    ForeignReasoning,
    HostedTools,
    OnUnsupported,
    Orphans,
    Unanswered,
)
from onwards_py.transcode.neutral.quirks import (
    AllowedTools,
    Effort,
    EmptyContent,
    Replay,
    Structured,
    System,
    Think,
    ToolImages,
)

Dialect = Literal[
    "generic",
    "openai",
    "vllm",
    "sglang",
    "llama_cpp",
    "ollama",
    "deepseek",
    "mistral",
    "openrouter",
    "gemini",
    "anthropic_compat",
]


class QuirksShape(Shape, frozen=True, kw_only=True):
    """Single deviations from what ``dialect`` says of a provider."""

    merged_by_key: ClassVar[bool] = True

    developer_role: Annotated[bool | None, Meta(description="The role developer is understood.")] = None
    system: Annotated[System | None, Meta(description="Where system messages may stand.")] = None
    max_tokens: Annotated[
        Literal["max_tokens", "max_completion_tokens"] | None, Meta(description="How the bound on tokens is called.")
    ] = None
    text_as_string: Annotated[bool | None, Meta(description="Several text parts become one string.")] = None
    merge_roles: Annotated[bool | None, Meta(description="Neighbours of the same role become one message.")] = None
    merge_rounds: Annotated[
        bool | None, Meta(description="Calls with outputs between them become one assistant message.")
    ] = None
    empty_content: Annotated[
        EmptyContent | None, Meta(description="The content of an assistant message that has only calls.")
    ] = None
    arguments_as_object: Annotated[
        bool | None, Meta(description="A call's arguments must be a JSON object, or they are wrapped.")
    ] = None
    short_call_ids: Annotated[bool | None, Meta(description="Call ids have exactly nine letters and digits.")] = None
    call_extras: Annotated[bool | None, Meta(description="extra_content that came with a call goes back with it.")] = (
        None
    )
    call_stand_in: Annotated[
        JsonObject | None, Meta(description="What goes instead of an extra_content that was lost.")
    ] = None
    tool_images: Annotated[ToolImages | None, Meta(description="What becomes of images in a tool's output.")] = None
    images: Annotated[bool | None, Meta(description="Image parts are understood.")] = None
    files: Annotated[bool | None, Meta(description="File parts are understood.")] = None
    audio: Annotated[bool | None, Meta(description="Audio parts are understood.")] = None
    video: Annotated[bool | None, Meta(description="Video parts are understood.")] = None
    refusal_field: Annotated[bool | None, Meta(description="Assistant messages may have a refusal.")] = None
    phase: Annotated[bool | None, Meta(description="Assistant messages may have a phase.")] = None
    effort: Annotated[Effort | None, Meta(description="How reasoning.effort is said.")] = None
    efforts: Annotated[
        list[Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]] | None,
        Meta(description="Efforts that are understood; another one becomes the next lower. Empty: all."),
    ] = None
    structured: Annotated[Structured | None, Meta(description="The strongest response_format.")] = None
    schema_in_prompt: Annotated[
        bool | None, Meta(description="Where structured is json_object, a JSON schema is said in the prompt.")
    ] = None
    allowed_tools: Annotated[AllowedTools | None, Meta(description="How allowed_tools reaches the model.")] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="parallel_tool_calls is understood.")] = None
    tool_choice_required: Annotated[
        Literal["required", "any"] | None, Meta(description="The word for a call that must be made.")
    ] = None
    logprobs: Annotated[bool | None, Meta(description="Log probabilities are understood.")] = None
    stream_usage: Annotated[bool | None, Meta(description="stream_options.include_usage is understood.")] = None
    reasoning_in: Annotated[
        list[str] | None, Meta(description="Fields of an answer that may hold reasoning; the first present counts.")
    ] = None
    reasoning_out: Annotated[list[str] | None, Meta(description="Fields in which earlier reasoning is given back.")] = (
        None
    )
    replay: Annotated[Replay | None, Meta(description="To which messages earlier reasoning is given back.")] = None
    replay_details: Annotated[bool | None, Meta(description="reasoning_details are given back too.")] = None
    hints: Annotated[
        list[Literal["metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user", "verbosity"]] | None,
        Meta(description="Which of the fields that only hint at something are sent."),
    ] = None
    drop: Annotated[list[str] | None, Meta(description="Chat fields that are never sent.")] = None
    extra: Annotated[JsonObject | None, Meta(description="Chat fields that are added unless the request has them.")] = (
        None
    )
    think: Annotated[Think | None, Meta(description="Reasoning in the text between <think> and </think>.")] = None
    dedupe_reasoning: Annotated[
        bool | None, Meta(description="What comes as reasoning and as text at once is reasoning only.")
    ] = None
    empty_answer_failed: Annotated[
        bool | None, Meta(description="An answer that stopped with nothing in it is a failure, not an empty message.")
    ] = None
    incomplete_as_completed: Annotated[bool | None, Meta(description="A truncated answer is called completed.")] = None


class TranslateShape(Shape, frozen=True, kw_only=True):
    """Settings of open_responses_mode: translate."""

    merged_by_key: ClassVar[bool] = True

    on_unsupported: Annotated[
        OnUnsupported | dict[str, OnUnsupported] | None,
        Meta(
            description="What a provider has no words for: reject or drop; for single fields by their path, with"
            " default for all others. Default: reject."
        ),
    ] = None
    hosted_tools: Annotated[
        HostedTools | None,
        Meta(description="Tools that a server would run: reject, beside, drop or pass. Default: beside."),
    ] = None
    orphans: Annotated[
        Orphans | None, Meta(description="Tool outputs without their call: reject or repair. Default: reject.")
    ] = None
    unanswered: Annotated[
        Unanswered | None,
        Meta(description="Calls without their output: synthesize, drop or reject. Default: synthesize."),
    ] = None
    foreign_reasoning: Annotated[
        ForeignReasoning | None,
        Meta(description="encrypted_content that was not sealed here: skip or reject. Default: skip."),
    ] = None
    profile: Annotated[
        Literal["auto", "openresponses", "openai"] | None,
        Meta(description="Whose schema counts where the two disagree. Default: auto, by the request."),
    ] = None
    keepalive: Annotated[
        KeepAlive | None, Meta(description="Sign of life on silent streams: comment, event or off. Default: comment.")
    ] = None
    keepalive_interval: Annotated[Timeout | None, Meta(description="Silence before a sign of life. Default: 15s.")] = (
        None
    )
    commit_after: Annotated[
        Timeout | None,
        Meta(description="Begin a stream after so long, although nothing has come yet. Default: with the first words."),
    ] = None
    reasoning_keys: Annotated[
        list[SealKey] | None,
        Meta(description="Secrets that seal reasoning which clients carry; the first seals, all open. Default: none."),
    ] = None
    quirks: Annotated[QuirksShape | None, Meta(description="Single deviations from what the dialect says.")] = None
