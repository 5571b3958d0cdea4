"""The quirks of known providers of Chat Completions, by the name that ``preset`` takes in the configuration.

Each value that differs from the defaults has its source and the date at which it held, so that it can be checked and
removed. "No source found" means that searches of documentation and issue trackers on the date found none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from onwards_py.transcode.neutral.quirks import (
    HINTS,
    AllowedTools,
    Effort,
    EmptyContent,
    Quirks,
    Replay,
    Structured,
    System,
    ToolImages,
)

_GENERIC = Quirks()
_LOCAL = replace(_GENERIC, replay=Replay.LAST)

_OPENAI = Quirks(  # developers.openai.com/api/reference/resources/chat, 2026-09, except for lines with their own source
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
    efforts=(),  # by model, and the API's error names those that a model has
    reasoning_out=(),
    replay=Replay.NONE,
    # "The 'metadata' parameter is only allowed when 'store' is enabled." (tmc/langchaingo#1484, 2026-03)
    hints=frozenset(HINTS) - {"metadata"},
)

_VLLM = replace(
    _LOCAL,
    video=True,  # docs.vllm.ai/en/v0.9.0/features/multimodal_inputs.html, 2025-05; so is audio
    audio=True,
    efforts=(),  # all are understood, but not by each template (ls1intum/edutelligence#750, 2026-08)
    # Renamed in 2025-11 (vllm-project/vllm#27752), the old name removed in 2026-01 (vllm-project/vllm#33402).
    reasoning_out=("reasoning", "reasoning_content"),
    replay=Replay.TOOL_TURNS,
)

_SGLANG = replace(
    _LOCAL,
    video=True,  # sgl-project/sglang: docs/basic_usage/qwen3_vl.md, read in 2026-11
    replay=Replay.TOOL_TURNS,  # no source found, 2026-11
)

_LLAMA_CPP = replace(
    _LOCAL,
    audio=True,
    effort=Effort.TEMPLATE_KWARGS,  # other fields do not turn it off and on (CherryHQ/cherry-studio#14981, 2026-05)
)

_OLLAMA = replace(
    _LOCAL,
    # dataease/SQLBot#787, 2026-01; thinking is the name in Ollama's own API (spring-projects/spring-ai#5057, 2025-12)
    reasoning_out=("reasoning",),
    reasoning_in=("reasoning", "reasoning_content", "thinking"),
)

_DEEPSEEK = replace(
    _GENERIC,
    # "unknown variant `image_url`, expected `text`" (rikkahub/rikkahub#1433, 2026-07; can1357/oh-my-pi#9169, 2026-08)
    images=False,
    effort=Effort.THINKING_OBJECT,  # api-docs.deepseek.com/guides/thinking_mode, 2026-10
    efforts=("none", "low", "high", "max"),
    structured=Structured.JSON_OBJECT,  # api-docs.deepseek.com/guides/json_mode, 2026-11; so is the second next
    parallel_tool_calls=False,  # it is not in the API (deepseek-ai/DeepSeek-V3#883, 2025-05)
    empty_answer_failed=True,  # "may occasionally return empty content"
    # The default TOOL_TURNS: "Missing `reasoning_content` field in the assistant message"
    # (continuedev/continue#10193, 2026-02; AgentiLoop/Agent#22, 2026-06). langchain-ai/langchain#34166 found in 2026-06
    # that it was no longer required.
)

_MISTRAL = replace(
    _GENERIC,
    # "Input should be 'auto', 'none' or 'any'" (kyaukyuai/gpt-all-star#670; 567-labs/instructor#467, 2024-02)
    tool_choice_required="any",
    efforts=("none", "high"),  # docs.mistral.ai/capabilities/reasoning/adjustable, 2026-10
    # "must be a-z, A-Z, 0-9, with a length of 9" (langchain-ai/langchain#24668, 2024-07;
    # openclaw/openclaw#57672, 2026-03)
    short_call_ids=True,
    call_extras=False,  # unknown members are refused, as below
    # "Unexpected role 'user' after role 'tool'" (mistralai/mistral-common#169, 2025-12;
    # NousResearch/hermes-agent#20154, 2026-05)
    tool_images=ToolImages.INLINE,
    logprobs=False,  # not in the API (mistralai/client-python: docs/models/chatcompletionrequest.md, read in 2026-11)
    # "Extra inputs are not permitted": of stream_options (dnakov/anon-kode#53, 2025-03; vybestack/llxprt-code#114,
    # 2025-08), of reasoning_content (charmbracelet/crush#1590, 2025-12; BerriAI/litellm#30835, 2026-06)
    stream_usage=False,
    reasoning_out=(),
    replay=Replay.NONE,
)

_OPENROUTER = replace(
    _GENERIC,
    system=System.KEEP,  # later ones are accepted (Alishahryar1/free-claude-code#1125, 2026-07)
    files=True,
    audio=True,
    effort=Effort.REASONING_OBJECT,  # openrouter.ai/docs/use-cases/reasoning-tokens, 2026-10; so are the next five
    efforts=("none", "minimal", "low", "medium", "high", "xhigh"),
    reasoning_in=("reasoning", "reasoning_content"),
    reasoning_out=("reasoning",),
    replay=Replay.ALWAYS,
    replay_details=True,
    # openrouter.ai/docs/api/reference/parameters and OpenRouterTeam/typescript-sdk: src/models/chatrequest.ts, read in
    # 2026-11; prompt_cache_key keeps the provider (SillyTavern/SillyTavern#5889, 2026-07)
    hints=frozenset({"user", "verbosity", "prompt_cache_key"}),
)

_GEMINI = replace(
    _GENERIC,  # the efforts in its refusals are the same (ctrl-space-labs/gendox-core#480, 2026-01)
    # A missing signature is refused; this one is accepted for calls that the model did not make
    # (ai.google.dev/gemini-api/docs/thought-signatures; continuedev/continue#8865, 2025-11)
    call_placeholder=MappingProxyType({"google": {"thought_signature": "skip_thought_signature_validator"}}),
    audio=True,
    # "contents[2].parts[1].data: required oneof field": of blank text beside calls (54xzh/FLIT#69, 2026-05)
    empty_content=EmptyContent.OMIT,
    # "Unknown name "parallel_tool_calls"" (jackmpcollins/magentic#382, 2024-11, and resolved since for some models),
    # "Parallel tool calls are not supported." (TheAgenticAI/TheAgenticBrowser#4, 2025-01)
    parallel_tool_calls=False,
    # "Logprobs is not enabled for models/..." (mscraftsman/generative-ai#135, 2025-11); varies by model
    logprobs=False,
    reasoning_out=(),
    replay=Replay.NONE,
    empty_answer_failed=True,  # no parts and finishReason STOP, now and then (BerriAI/litellm#24442, 2026-03)
)

_ANTHROPIC_COMPAT = replace(
    # reasoning_effort, response_format and logprobs are ignored (platform.claude.com/docs/en/api/openai-sdk, 2026-09)
    _GENERIC,
    # "text content blocks must be non-empty" (run-llama/llama_index#17278, 2024-12; BiFangKNT/mtga#68, 2026-02)
    empty_content=EmptyContent.OMIT,
    effort=Effort.DROP,
    structured=Structured.NONE,
    logprobs=False,
    reasoning_out=(),  # the same page: thoughts are not returned
    replay=Replay.NONE,
)

PRESETS: Mapping[str, Quirks] = MappingProxyType(
    {
        "generic": _GENERIC,
        "openai": _OPENAI,
        "vllm": _VLLM,
        "sglang": _SGLANG,
        "llama_cpp": _LLAMA_CPP,
        "ollama": _OLLAMA,
        "deepseek": _DEEPSEEK,
        "mistral": _MISTRAL,
        "openrouter": _OPENROUTER,
        "gemini": _GEMINI,
        "anthropic_compat": _ANTHROPIC_COMPAT,
    }
)
