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

    developer_role: Annotated[bool | None, Meta(description="The role developer is supported.")] = None
    system: Annotated[System | None, Meta(description="Positions of system messages.")] = None
    max_tokens: Annotated[
        Literal["max_tokens", "max_completion_tokens"] | None, Meta(description="Name of the token limit.")
    ] = None
    text_as_string: Annotated[bool | None, Meta(description="Several text parts become one string.")] = None
    merge_roles: Annotated[
        bool | None, Meta(description="Consecutive messages of the same role become one message.")
    ] = None
    merge_rounds: Annotated[
        bool | None, Meta(description="Calls with outputs between them become one assistant message.")
    ] = None
    empty_content: Annotated[
        EmptyContent | None, Meta(description="Content of an assistant message that has only calls.")
    ] = None
    arguments_as_object: Annotated[
        bool | None, Meta(description="Arguments of a call that are not a JSON object are wrapped in one.")
    ] = None
    short_call_ids: Annotated[bool | None, Meta(description="Call ids have exactly nine letters and digits.")] = None
    call_extras: Annotated[bool | None, Meta(description="extra_content of a call is sent back with it.")] = None
    call_stand_in: Annotated[JsonObject | None, Meta(description="Replacement for a lost extra_content.")] = None
    tool_images: Annotated[ToolImages | None, Meta(description="Position of images of a tool's output.")] = None
    images: Annotated[bool | None, Meta(description="Image parts are supported.")] = None
    files: Annotated[bool | None, Meta(description="File parts are supported.")] = None
    audio: Annotated[bool | None, Meta(description="Audio parts are supported.")] = None
    video: Annotated[bool | None, Meta(description="Video parts are supported.")] = None
    refusal_field: Annotated[bool | None, Meta(description="Assistant messages may have a refusal.")] = None
    phase: Annotated[bool | None, Meta(description="Assistant messages may have a phase.")] = None
    effort: Annotated[Effort | None, Meta(description="Field for reasoning.effort.")] = None
    efforts: Annotated[
        list[Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]] | None,
        Meta(description="Supported efforts; others become the next lower one. Empty: all."),
    ] = None
    structured: Annotated[Structured | None, Meta(description="The strongest response_format.")] = None
    schema_in_prompt: Annotated[
        bool | None, Meta(description="If structured is json_object, a JSON schema is added to the prompt.")
    ] = None
    allowed_tools: Annotated[AllowedTools | None, Meta(description="How allowed_tools is sent.")] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="parallel_tool_calls is supported.")] = None
    tool_choice_required: Annotated[
        Literal["required", "any"] | None, Meta(description="Value of tool_choice that requires a call.")
    ] = None
    logprobs: Annotated[bool | None, Meta(description="Log probabilities are supported.")] = None
    stream_usage: Annotated[bool | None, Meta(description="stream_options.include_usage is supported.")] = None
    reasoning_in: Annotated[
        list[str] | None,
        Meta(description="Fields of an answer that may contain reasoning; the first one present is used."),
    ] = None
    reasoning_out: Annotated[list[str] | None, Meta(description="Fields in which earlier reasoning is sent back.")] = (
        None
    )
    replay: Annotated[Replay | None, Meta(description="Messages with which earlier reasoning is sent back.")] = None
    replay_details: Annotated[bool | None, Meta(description="reasoning_details are sent back too.")] = None
    hints: Annotated[
        list[Literal["metadata", "prompt_cache_key", "safety_identifier", "service_tier", "user", "verbosity"]] | None,
        Meta(description="Optional hint fields that are sent."),
    ] = None
    drop: Annotated[list[str] | None, Meta(description="Chat fields that are never sent.")] = None
    extra: Annotated[
        JsonObject | None, Meta(description="Chat fields that are added unless the request contains them.")
    ] = None
    think: Annotated[Think | None, Meta(description="Reasoning in the text between <think> and </think>.")] = None
    dedupe_reasoning: Annotated[
        bool | None, Meta(description="Text that is sent as reasoning and as content counts as reasoning only.")
    ] = None
    empty_answer_failed: Annotated[
        bool | None,
        Meta(description="An empty answer with a finish reason of stop is a failure, not an empty message."),
    ] = None
    incomplete_as_completed: Annotated[
        bool | None, Meta(description="A truncated answer has the status completed.")
    ] = None


class TranslateShape(Shape, frozen=True, kw_only=True):
    """Settings of open_responses_mode: translate."""

    merged_by_key: ClassVar[bool] = True

    on_unsupported: Annotated[
        OnUnsupported | dict[str, OnUnsupported] | None,
        Meta(
            description="Fields that a provider does not support: reject or drop; also by path of single fields, "
            "with default for all others. Default: reject."
        ),
    ] = None
    hosted_tools: Annotated[
        HostedTools | None,
        Meta(description="Tools that run on a server: reject, beside, drop or pass. Default: beside."),
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
        Meta(description="encrypted_content from other servers: skip or reject. Default: skip."),
    ] = None
    profile: Annotated[
        Literal["auto", "openresponses", "openai"] | None,
        Meta(description="Schema of the response. Default: auto, by the request."),
    ] = None
    keepalive: Annotated[
        KeepAlive | None, Meta(description="Keep-alive on idle streams: comment, event or off. Default: comment.")
    ] = None
    keepalive_interval: Annotated[
        Timeout | None, Meta(description="Time without an event before a keep-alive. Default: 15s.")
    ] = None
    commit_after: Annotated[
        Timeout | None,
        Meta(description="Start a stream after this time even without content. Default: at the first content."),
    ] = None
    reasoning_keys: Annotated[
        list[SealKey] | None,
        Meta(description="Secrets that encrypt reasoning; the first one encrypts, all decrypt. Default: none."),
    ] = None
    quirks: Annotated[QuirksShape | None, Meta(description="Differences from the dialect's preset.")] = None
