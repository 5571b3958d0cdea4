"""Errors of all vendors that mean: the input is longer than the model's context. Pure.

Clients shorten the conversation and retry after the code ``context_length_exceeded``, and give up after other codes.
Providers use a code of their own, or only a sentence.
The patterns match sentences, not words: an error about a parameter ``context_length`` is a different error, and so are
limits of the output and rate limits.
The tests have a message for each pattern, with its source and date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_LONGEST: Final = 4000  # characters of a message that are searched

# Codes and types, as a whole.
_NAME: Final = re.compile(
    r"context_?(?:length|window|size)_?exceeded(?:_?error)?"  # OpenAI and most; LiteLLM: ContextWindowExceededError
    r"|model_context_window_exceeded"  # Zhipu
    r"|exceed_context_size_error"  # llama.cpp
    r"|model_max_prompt_tokens_exceeded"  # GitHub Copilot
    r"|(?:prompt|input|context|tokens|characters)_too_long"  # Baidu: the last two
    r"|1261",  # Zhipu
    re.IGNORECASE,
)

_CONTEXT: Final = r"(?:context|context[ -](?:length|window|size|limit)|(?:maximum )?model length)"
_OF_THE_MODEL: Final = r"(?:(?:the|this|its|your|available|max|maximum|configured|model|model['\u2019]s|of) ){0,4}"
_EXCEEDS: Final = r"(?:exceed(?:s|ed|ing)?|(?:longer|larger|greater) than|does not fit in(?:to)?)"
_NUMBER: Final = r"\(?[\d,]+\)?"

_MESSAGE: Final = re.compile(
    "|".join(
        (
            # OpenAI, Azure, DeepSeek, OpenRouter, vLLM, SGLang; xAI: "maximum prompt length is"
            rf"maximum (?:context|prompt) length (?:is|of) {_NUMBER}",
            # Ollama, llama.cpp, llama-cpp-python, SGLang, Together, LM Studio, Anthropic, OpenAI's Responses
            rf"{_EXCEEDS} {_OF_THE_MODEL}{_CONTEXT}\b",
            r"context (?:length|window|size|limit) (?:is |was |has been )?exceed(?:s|ed)",  # MiniMax
            # Anthropic, Fireworks, Bedrock, vLLM
            r"(?<!')\b(?:prompt|input)(?: \([^)]{0,60}\))? is too long",
            r"input token count.{0,40}(?:exceeds the maximum|only supports up to)",  # Gemini, Vertex
            r"exceeded model token limit",  # Moonshot
            r"range of input length should be",  # DashScope
            r"prompt exceeds max length",  # Zhipu
            r"`inputs` tokens \+ `max_new_tokens` must be|`inputs` must have less than",  # TGI, Together
            r"too many input tokens|input tokens(?: \(\d+\))? (?:has |have )?exceed",  # Bedrock; OpenAI
            r"expected maxlength: \d{4,}, actual: \d{4,}",  # Bedrock: the prompt against its JSON schema
            r"reduce the length of the messages",  # Groq, Cerebras
            r"too many tokens: (?:total number of tokens|size limit exceeded)",  # Cohere
            r"(?:request|prompt|input|messages?) (?:has|have|contains?) too many tokens",
            r"when context the overflows|n_keep \(\d+\) >= n_ctx",  # LM Studio
            r"prompt token count of \d+ exceeds the limit",  # GitHub Copilot
            r"too large for model with \d+ maximum context",  # Mistral
            rf"input length {_NUMBER}(?: tokens\))? exceeds (?:the )?max",  # SGLang, OpenRouter
            rf"the model's context length is only {_NUMBER}|reached context length of {_NUMBER}",  # vLLM; LM Studio
            r"total message size \d+ exceeds limit|model max length exceeded",  # Moonshot
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
