"""Detects errors, of all vendors, about an input that is longer than the model's context. Pure.

After the code ``context_length_exceeded``, clients shorten the conversation and retry; after other codes they stop.
Providers use a code of their own, or only a sentence.
The patterns match sentences, not words: an error about a parameter ``context_length`` is a different error, and so are
limits of the output and rate limits.
Each pattern names a vendor with a source and its date; the tests have the messages, and more sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 4000  # characters of a message that are searched

# Codes and types, as a whole.
_NAME: Final = re.compile(
    # OpenAI and most (chathub-dev/chathub#126, 2023-03); LiteLLM: ContextWindowExceededError
    r"context_?(?:length|window|size)_?exceeded(?:_?error)?"
    r"|model_context_window_exceeded"  # Zhipu, Anthropic: a reason to stop (anomalyco/opencode#18814, 2026-03)
    r"|exceed_context_size_error"  # llama.cpp (ggml-org/llama.cpp#15780, 2025-09)
    r"|model_max_prompt_tokens_exceeded"  # GitHub Copilot (microsoft/copilot-intellij-feedback#94, 2025-04)
    # Baidu: the last two (cloud.baidu.com/doc/qianfan-api, 2026-11)
    r"|(?:prompt|input|context|tokens|characters)_too_long"
    r"|1261",  # Zhipu (zeroclaw-labs/zeroclaw#4124, 2026-03)
    re.IGNORECASE,
)

_CONTEXT: Final = r"(?:context|context[ -](?:length|window|size|limit)|(?:maximum )?model length)"
_OF_THE_MODEL: Final = r"(?:(?:the|this|its|your|available|max|maximum|configured|model|model['\u2019]s|of) ){0,4}"
_EXCEEDS: Final = r"(?:exceed(?:s|ed|ing)?|(?:longer|larger|greater) than|does not fit in(?:to)?)"
_NUMBER: Final = r"\(?[\d,]+\)?"

_MESSAGE: Final = re.compile(
    "|".join(
        (
            # OpenAI and most (vllm-project/vllm#20409, 2025-07); xAI: "maximum prompt" (cline/cline#3120, 2025-04)
            rf"maximum (?:context|prompt) length (?:is|of) {_NUMBER}",
            # Local servers and many others (ggml-org/llama.cpp#15780, 2025-09; continuedev/continue#6080, 2025-06)
            rf"{_EXCEEDS} {_OF_THE_MODEL}{_CONTEXT}\b",
            # MiniMax (MiniMax-AI/MiniMax-M2#119, 2026-05)
            r"context (?:length|window|size|limit) (?:is |was |has been )?exceed(?:s|ed)",
            # Anthropic (earendil-works/pi#102, 2025-12), Fireworks, Bedrock, vLLM (vllm-project/vllm#12165, 2025-01)
            r"(?<!')\b(?:prompt|input)(?: \([^)]{0,60}\))? is too long",
            # Gemini (google-gemini/gemini-cli#6678, 2025-08), Vertex (google-gemini/gemini-cli#19727, 2026-02)
            r"input token count.{0,40}(?:exceeds the maximum|only supports up to)",
            r"exceeded model token limit",  # Moonshot (MoonshotAI/kimi-cli#2011, 2026-04)
            r"range of input length should be",  # DashScope (agentscope-ai/QwenPaw#6255, 2026-07)
            r"prompt exceeds max length",  # Zhipu (zeroclaw-labs/zeroclaw#4124, 2026-03)
            # TGI (huggingface/text-generation-inference#628, 2023-07), Together (BerriAI/litellm#4934, 2024-07)
            r"`inputs` tokens \+ `max_new_tokens` must be|`inputs` must have less than",
            # Bedrock; OpenAI (esengine/DeepSeek-Reasonix#6521); a gateway (RhythmicWave/NovelForge#136, 2026-05)
            r"too many input tokens|input tokens(?: \(\d+\))? (?:has |have )?exceed",
            # Bedrock: the prompt against its JSON schema (ryanadoty/Amazon-Bedrock-Amazon-RDS-POC#9, 2023-12)
            r"expected maxlength: \d{4,}, actual: \d{4,}",
            r"reduce the length of the messages",  # Groq (OpenHands/OpenHands#1902, 2024-05), Cerebras
            # Cohere (docs.cohere.com/reference/errors, 2026-11)
            r"too many tokens: (?:total number of tokens|size limit exceeded)",
            r"(?:request|prompt|input|messages?) (?:has|have|contains?) too many tokens",
            # LM Studio (lmstudio-ai/lmstudio-bug-tracker#546, 2025-03)
            r"when context the overflows|n_keep \(\d+\) >= n_ctx",
            r"prompt token count of \d+ exceeds the limit",  # microsoft/copilot-intellij-feedback#94, 2025-04
            # Mistral (earendil-works/pi: packages/ai/src/utils/overflow.ts, read in 2026-11)
            r"too large for model with \d+ maximum context",
            rf"input length {_NUMBER}(?: tokens\))? exceeds (?:the )?max",  # SGLang (sgl-project/sglang#4048, 2025-03)
            # vLLM (agentscope-ai/AgentTeams#346, 2026-03); LM Studio (lmstudio-ai/lmstudio-bug-tracker#1251, 2025-11)
            rf"the model's context length is only {_NUMBER}|reached context length of {_NUMBER}",
            # Moonshot (MoonshotAI/kimi-code#1862, 2026-07)
            r"total message size \d+ exceeds limit|model max length exceeded",
        )
    ),
    re.IGNORECASE,
)

THROTTLED: Final = (
    r"rate.?limit|too many requests|please wait before trying again|\b[TR]PM\b"
    r"|\b(?:tokens?|requests?) per[ -](?:second|minute|min|hour|day)\b|\bper[ -](?:minute|day) (?:limit|quota)"
)
"""A pattern of messages about a rate limit, in any case. Such a message may also mean that the input is too long."""

_THROTTLED: Final = re.compile(THROTTLED, re.IGNORECASE)

# "'context_length' (9000) exceeds the model's context length": a parameter is too large, not the input.
_PARAMETER: Final = re.compile(
    r"\W*(?:(?:the|parameter|value|of|for|invalid) )*\W?(?!input_|prompt_)[a-z]+_\w+\W?(?: parameter)?(?: \([\d,]+\))? "
    r"(?:exceeds|is|must|should|cannot) ",
    re.IGNORECASE,
)


def is_context_overflow(names: Iterable[object], messages: Iterable[object]) -> bool:
    """True if a code or type in ``names``, or a message in ``messages``, means a context overflow. Values that are not
    strings are ignored."""
    if any(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        return True
    return any(isinstance(text, str) and _overflows(text[:_LONGEST]) for text in messages)


def is_throttling(messages: Iterable[object]) -> bool:
    """True if one of ``messages`` is about a rate limit, such as tokens per minute."""
    return any(isinstance(text, str) and _THROTTLED.search(text[:_LONGEST]) for text in messages)


def _overflows(text: str) -> bool:
    return _MESSAGE.search(text) is not None and not (_THROTTLED.search(text) or _PARAMETER.match(text))
