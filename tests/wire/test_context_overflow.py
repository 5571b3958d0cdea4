"""The messages of providers for a prompt that exceeds the context, and messages that only resemble them.

Each message was sent by the provider; the issue or documentation page that it is quoted from stands beside it.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.transcode.neutral.failure import from_body, from_value
from onwards_py.wire.context_overflow import is_context_overflow
from onwards_py.wire.error_status import error_status


class Said(NamedTuple):
    """``error``: the object or string under ``error``."""

    provider: str
    error: object
    source: str


def message(provider: str, text: str, source: str) -> Said:
    return Said(provider, {"message": text, "type": "invalid_request_error"}, source)


OVERFLOWS = [
    message(
        "Gemini",
        "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        "google-gemini/gemini-cli#6678, 2025-08-20",
    ),
    message(
        "Gemini",
        "The input token count exceeds the maximum number of tokens allowed (1048576).",
        "arkavo-org/arkavo-edge#371, 2025-11-21",
    ),
    message(
        "Vertex",
        "Unable to submit request because the input token count is 2137344 but model only supports up to 1048576.",
        "google-gemini/gemini-cli#19727, 2026-02-20",
    ),
    message("Anthropic", "prompt is too long: 219898 tokens > 200000 maximum", "earendil-works/pi#102, 2025-12-03"),
    message(
        "Anthropic",
        "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length or "
        "`max_tokens` and try again",
        "continuedev/continue#6080, 2025-06-11",
    ),
    message(
        "xAI",
        "This model's maximum prompt length is 131072 but the request contains 136973 tokens.",
        "cline/cline#3120, 2025-04-25",
    ),
    message(
        "Moonshot",
        "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)",
        "MoonshotAI/kimi-cli#2011, 2026-04-22",
    ),
    Said(
        "DashScope",
        {
            "code": "invalid_parameter_error",
            "message": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 983616]",
            "param": None,
            "type": "invalid_request_error",
        },
        "agentscope-ai/QwenPaw#6255, 2026-07-19",
    ),
    Said("Zhipu", {"code": "1261", "message": "Prompt exceeds max length"}, "zeroclaw-labs/zeroclaw#4124, 2026-03-21"),
    message(
        "TGI",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1244 `inputs` tokens and "
        "1000 `max_new_tokens`",
        "huggingface/text-generation-inference#628, 2023-07-18",
    ),
    Said(
        "TGI",
        "Input validation error: `inputs` must have less than 1024 tokens. Given: 1168",
        "huggingface/text-generation-inference#695, 2023-07-25",
    ),
    message("Bedrock", "Input is too long for requested model.", "aws-samples/bedrock-chat#95, 2023-12-13"),
    message(
        "Bedrock",
        "Malformed input request: expected maxLength: 42000, actual: 46735, please reformat your input and try again.",
        "ryanadoty/Amazon-Bedrock-Amazon-RDS-POC#9, 2023-12-27",
    ),
    Said(
        "Groq",
        {
            "message": "Please reduce the length of the messages or completion.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
        "OpenHands/OpenHands#1902, 2024-05-19",
    ),
    message(
        "Cerebras",
        "Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000",
        "cline/cline#5140, 2025-07-24",
    ),
    message(
        "Together",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 80125 `inputs` tokens and "
        "4096 `max_new_tokens`",
        "BerriAI/litellm#4934, 2024-07-29",
    ),
    message(
        "Cohere",
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292. Try using a shorter "
        "prompt, or enabling prompt truncating.",
        "docs.cohere.com/reference/errors, 2026-11",
    ),
    Said(
        "Cohere",
        "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs, or setting "
        "prompt_truncation='AUTO'.",
        "docs.cohere.com/reference/errors, 2026-11",
    ),
    Said(
        "LM Studio",
        "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context "
        "length of only 32768 tokens, which is not enough. Try to load the model with a larger context length, or "
        "provide a shorter input",
        "lmstudio-ai/lmstudio-bug-tracker#546, 2025-03-24",
    ),
    Said(
        "LM Studio", "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)", "anomalyco/opencode#11141, 2026-01"
    ),
    Said("LM Studio", "Error: Input length 6491 exceeds context length 1500", "lmstudio-ai/examples#29, 2023-10-31"),
    Said(
        "vLLM",
        {
            "message": "This model's maximum context length is 16384 tokens. However, you requested 19591 tokens "
            "(9591 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        "vllm-project/vllm#20409, 2025-07-03",
    ),
    message(
        "vLLM",
        "The prompt (total length 25938) is too long to fit into the model (context length 4096). Make sure that "
        "`max_model_len` is no smaller than the number of text tokens plus multimodal tokens.",
        "vllm-project/vllm#12165, 2025-01-17",
    ),
    message(
        "vLLM",
        "The decoder prompt (length 322) is longer than the maximum model length of 256. Make sure that "
        "`max_model_len` is no smaller than the number of text tokens.",
        "unslothai/unsloth#2666, 2025-06-01",
    ),
    Said(
        "SGLang",
        {
            "object": "error",
            "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        "QwenLM/Qwen3#1321, 2025-04-29",
    ),
    message(
        "SGLang",
        "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).",
        "sgl-project/sglang#4048, 2025-03",
    ),
    message(
        "SGLang",
        "Bad Request: Requested token count exceeds the model's maximum context length of 202752 tokens. You requested "
        "a total of 202941 tokens: 170941 tokens from the input messages and 32000 tokens for the completion.",
        "anomalyco/opencode#25230, 2026-05-01",
    ),
    Said(
        "llama.cpp",
        {
            "code": 400,
            "message": "the request exceeds the available context size. try increasing the context size or enable "
            "context shift",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 14429,
            "n_ctx": 8192,
        },
        "ggml-org/llama.cpp#15780, 2025-09-03; oobabooga/textgen#7257, 2025-10-07",
    ),
    Said(
        "llama.cpp",
        {"code": 400, "message": "the request exceeds the available context size, try increasing it"},
        "continuedev/continue#9797, 2026-01-22",
    ),
    message(
        "llama-cpp-python",
        "Requested tokens (2285) exceed context window of 2048",
        "fedora-copr/logdetective-website#193",
    ),
    Said("Ollama", "the input length exceeds the context length", "nano-step/nano-brain#208, 2026-05-30"),
    message(
        "OpenRouter",
        "This endpoint's maximum context length is 16384 tokens. However, you requested about 94307 tokens (94307 of "
        'text input). Please reduce the length of either one, or use the "middle-out" transform.',
        "topoteretes/cognee#1061, 2025-07-07",
    ),
    Said(
        "GitHub Copilot",
        {
            "message": "prompt token count of 138898 exceeds the limit of 64000",
            "code": "model_max_prompt_tokens_exceeded",
        },
        "microsoft/copilot-intellij-feedback#94, 2025-04-14",
    ),
    message(
        "OpenAI",
        "Input tokens exceed the configured limit of 922000 tokens. Your messages resulted in 926618 tokens. Please "
        "reduce the length of the messages.",
        "esengine/DeepSeek-Reasonix#6521",
    ),
    Said(
        "Baidu",
        {"code": "tokens_too_long", "message": "Prompt tokens too long", "type": "invalid_request_error"},
        "cloud.baidu.com/doc/qianfan-api, 2026-11-11",
    ),
    message(
        "a gateway",
        "number of input tokens (167594) has exceeded max_prompt_tokens (163840) limit.",
        "RhythmicWave/NovelForge#136, 2026-05-27",
    ),
    message(
        "vLLM",
        "You passed 74655 input characters and requested 32000 output tokens. However, the model's context length is "
        "only 32000 tokens, resulting in a maximum input length of 0 tokens (at most 0 characters). Please reduce the "
        "length of the input prompt. (parameter=input_text, value=74655)",
        "agentscope-ai/AgentTeams#346, 2026-03-18",
    ),
    message(
        "LM Studio",
        "Reached context length of 4096 tokens with model (arch: qwen3vlmoe) that does not currently support "
        "mid-generation context overflow. Try reloading with a larger context length or shortening the prompt/chat.",
        "lmstudio-ai/lmstudio-bug-tracker#1251, 2025-11-21",
    ),
    message("Moonshot", "total message size 2100954 exceeds limit 2097152", "MoonshotAI/kimi-code#1862, 2026-07-17"),
    message("Moonshot", "model max length exceeded, max length:8192", "MoonshotAI/MoonshotAI-Cookbook#18, 2024-04-15"),
    Said(
        "Ollama",
        "prompt too long; exceeded max context length by 540451 tokens (ref: 00ad71bb)",
        "dyad-sh/dyad#3498, 2026-05-24",
    ),
    Said(
        "OpenAI",
        {
            "message": "This model's maximum context length is 4097 tokens. However, your messages resulted in 4294 "
            "tokens. Please reduce the length of the messages.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        },
        "chathub-dev/chathub#126, 2023-03-20",
    ),
]

OTHERS = [
    message("a parameter's name", "Unknown parameter: 'context_length'.", "as OpenAI words it"),
    message("a parameter's name", "max_context_length is not supported", "a gateway"),
    message("a parameter's name", "Unrecognized request argument supplied: context_size", "as OpenAI words it"),
    message("a parameter's name", "context_window: Extra inputs are not permitted", "as Pydantic words it"),
    message("a parameter's name", "'context_length' exceeds the maximum value of 8192", "a gateway"),
    message("a parameter's value", "'context_length' (9000) exceeds the model's context length (8192).", "a gateway"),
    message("a parameter's value", "max_tokens must not exceed the context length of the model.", "a gateway"),
    message("a parameter's name", "Invalid value for max_model_len", "a gateway"),
    message("a parameter's name", "Unsupported parameter: 'prompt_too_long'.", "as OpenAI words it"),
    message(
        "a string's length", "Invalid 'input': string too long. Expected a string with maximum length 100.", "OpenAI"
    ),
    message("a string's length", "'prompt' is too long", "a gateway"),
    message(
        "the answer's limit",
        "`max_tokens` must be less than or equal to `16384`, the maximum value for `max_tokens` is less than the "
        "`context_window` for this model",
        "RooCodeInc/Roo-Code#5729, 2025-07-15 (Groq)",
    ),
    message(
        "the answer's limit",
        "The maximum tokens you requested exceed the model limit of 4096. Try again with a maximum tokens value lower "
        "than 4096.",
        "RooCodeInc/Roo-Code#248, 2024-12-30 (Bedrock)",
    ),
    message(
        "the answer's limit",
        "too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model - received "
        "8192.",
        "docs.cohere.com/reference/errors, 2026-11",
    ),
    message(
        "the answer's limit",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
        "OpenAI",
    ),
    message("a minute's limit", "Too many tokens, please wait before trying again.", "anthropics/claude-code#236"),
    message("a minute's limit", "Input tokens exceed the limit of 5000 tokens per minute.", "a gateway"),
    message("a day's limit", "Too many tokens per day, please wait before trying again.", "minorun365/agent-book#29"),
    Said(
        "a minute's limit",
        {
            "message": "Request too large for model `llama-3.3-70b-versatile` on tokens per minute (TPM): Limit 6000, "
            "Requested 14810, please reduce your message size and try again.",
            "type": "tokens",
            "code": "rate_limit_exceeded",
        },
        "ITSpecialist111/ai_automation_suggester#61, 2025-03-31 (Groq)",
    ),
    message("nothing of the kind", "The context of this conversation was not found.", "a gateway"),
]


def told(said: Said) -> str:
    return said.provider


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("said", OVERFLOWS, ids=told)
def test_every_providers_overflow_message_is_recognised(said: Said, trusted: bool) -> None:
    """It is the body of a 400 or an error within an answer, of a trusted provider or an untrusted one."""
    failure = from_value({"error": said.error}, trusted, status=400)
    assert (failure.code, failure.status) == ("context_length_exceeded", 400)
    assert from_value({"error": said.error}, trusted).code == "context_length_exceeded"


@pytest.mark.parametrize("said", OVERFLOWS, ids=told)
def test_an_overflow_within_an_answer_is_the_requests_fault(said: Said) -> None:
    """Its status for fallback is 400, so that no failure of the provider is counted, even if its type is unspecific."""
    assert error_status(said.error) == 400
    if isinstance(said.error, dict) and not isinstance(said.error.get("code"), str):
        assert error_status({"message": said.error["message"], "type": "server_error"}) == 400


@pytest.mark.parametrize("said", OTHERS, ids=told)
def test_messages_that_only_resemble_an_overflow_are_not_recognised(said: Said) -> None:
    assert from_value({"error": said.error}, True, status=400).code != "context_length_exceeded"
    assert from_value({"error": said.error}, False).code != "context_length_exceeded"
    assert not is_context_overflow((), [said.error["message"]])  # type: ignore[index]


def test_a_throttling_code_takes_precedence_over_the_message() -> None:
    said = {"type": "ThrottlingException", "message": "Too many input tokens, please wait before trying again."}
    assert from_value({"error": said}, True).code == "rate_limit_exceeded"
    assert error_status(said) == 429


def test_a_throttling_status_takes_precedence_over_the_message() -> None:
    body = b'{"message": "Too many input tokens, please wait before trying again."}'
    assert from_body(429, body, True).code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    "words",
    [
        "Too many tokens, please wait before trying again.",  # anthropics/claude-code#236
        "Input tokens exceed the limit of 5000 tokens per minute.",
        "Number of request tokens has exceeded your per-minute rate limit",
    ],
)
def test_a_throttling_message_without_a_code_is_a_429(words: str) -> None:
    """The error is the first event of an answer, in both dialects."""
    failure = from_value({"error": {"message": words}}, False)
    assert (failure.status, failure.code) == (429, "rate_limit_exceeded")
    assert error_status({"message": words}) == error_status(words) == 429


LONG = "prompt is too long: 219898 tokens > 200000 maximum"
RAW = '{"type":"error","error":{"type":"invalid_request_error","message":"Prompt is too long"}}'
ENVELOPES: dict[str, object] = {
    # Gemini's answer is an array; OpenRouter repeats another provider's error, tailcallhq/forgecode#1146, 2025-07-20.
    "in an array": [{"error": {"code": 400, "message": LONG, "status": "INVALID_ARGUMENT"}}],
    "repeated": {"error": {"message": "Provider returned error", "code": 413, "metadata": {"raw": RAW}}},
    "as a detail": {"detail": LONG},
    "in a detail": {"detail": {"message": LONG}},
    "as the error of a detail": {"detail": {"error": LONG}},
    "in a list of details": {"detail": [{"loc": ["body"], "msg": LONG, "type": "value_error"}]},
    "without anything around": {"message": LONG},
    "beside a code": {"code": "InvalidParameter", "message": LONG, "request_id": "1"},
}


@pytest.mark.parametrize("status", [400, 413, 422, 500])
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_an_overflow_is_found_in_any_envelope(envelope: str, status: int) -> None:
    """The status does not matter, and it does not change."""
    failure = from_body(status, json.dumps(ENVELOPES[envelope]).encode(), False)
    assert (failure.status, failure.code) == (status, "context_length_exceeded")


def test_only_complete_codes_count() -> None:
    """A code that contains another one has another meaning."""
    assert is_context_overflow(["ContextWindowExceededError", None, 5], ())
    assert not is_context_overflow(["invalid_context_length", "context_length", "context_length_exceeded_by_x"], ())


@given(st.text(max_size=300), st.text(max_size=30))
def test_any_message_is_classified_without_an_error(text: str, name: str) -> None:
    assert is_context_overflow([name], [text]) in (True, False)
