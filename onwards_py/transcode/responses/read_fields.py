"""The request's plain fields: their types in one table, and which of them reach the provider under which name."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.context import LOGPROBS
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, name_of
from onwards_py.transcode.neutral.quirks import HINTS, Effort, nearest_effort
from onwards_py.transcode.neutral.request_checks import apply_quirks

Request = Mapping[str, object]

_NUMBER = (int, float)
_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "instructions": ((str,), "a string"),
    "previous_response_id": ((str,), "a string"),
    "safety_identifier": ((str,), "a string"),
    "prompt_cache_key": ((str,), "a string"),
    "service_tier": ((str,), "a string"),
    "truncation": ((str,), "a string"),
    "user": ((str,), "a string"),
    "temperature": (_NUMBER, "a number"),
    "top_p": (_NUMBER, "a number"),
    "presence_penalty": (_NUMBER, "a number"),
    "frequency_penalty": (_NUMBER, "a number"),
    "top_logprobs": ((int,), "an integer"),
    "max_output_tokens": ((int,), "an integer"),
    "max_tool_calls": ((int,), "an integer"),
    "parallel_tool_calls": ((bool,), "a boolean"),
    "stream": ((bool,), "a boolean"),
    "store": ((bool,), "a boolean"),
    "background": ((bool,), "a boolean"),
    "text": ((dict,), "an object"),
    "reasoning": ((dict,), "an object"),
    "metadata": ((dict,), "an object"),
    "stream_options": ((dict,), "an object"),
    "include": ((list,), "an array"),
}
_AT_LEAST = {"max_output_tokens": 1, "max_tool_calls": 1, "top_logprobs": 0}
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")

_OURS = frozenset({"model", "input", "tools", "tool_choice"}) | _TYPES.keys()
_RESPONSES_ONLY = frozenset(
    {
        "client_metadata",
        "context_management",
        "conversation",
        "moderation",
        "prompt",
        "prompt_cache_options",
        "prompt_cache_retention",
    }
)
_CHAT_OURS = frozenset({"messages", "functions", "function_call", "logprobs", "n", "response_format"})
_HINTS = tuple(sorted(HINTS))
_MEANINGFUL = ("context_management", "conversation", "prompt")


def check_types(request: Request) -> None:
    """Everything below may rely on it: a field is of its type, or null, or missing. Raises InvalidRequest."""
    for name, value in request.items():
        if name not in _TYPES or value is None:
            continue
        types, words = _TYPES[name]
        if type(value) not in types:
            raise InvalidRequest(name, f"'{name}' must be {words}, not {name_of(value)}.", "invalid_type")
    for name, least in _AT_LEAST.items():
        number = request.get(name)
        if isinstance(number, int) and number < least:
            raise InvalidRequest(name, f"'{name}' must be at least {least}.", "integer_below_min_value")
    if request.get("truncation") not in (None, "auto", "disabled"):
        raise InvalidRequest("truncation", "'truncation' must be 'auto' or 'disabled'.")


def check_server_side(request: Request, scope: TranslationContext) -> None:
    """What only a server with state can do. Raises InvalidRequest."""
    if request.get("background"):
        scope.unsupported("background", "Background responses are not available for this model.")
    if request.get("store") and not scope.policy.stores:
        scope.unsupported("store", "Responses are not stored here; send 'store': false or leave it out.")
    for name in _MEANINGFUL:
        if request.get(name):
            scope.unsupported(name, f"'{name}' is not available for this model.")
    if request.get("n") not in (None, 1):
        raise InvalidRequest("n", "A response holds one answer; 'n' must be 1.")


def include_of(request: Request) -> frozenset[str]:
    """What is to be included, as far as it is known by name; asking for likelihoods in numbers asks for them at all."""
    include = request.get("include")
    names = {name for name in include if isinstance(name, str)} if isinstance(include, list) else set()
    if request.get("top_logprobs"):
        names.add(LOGPROBS)
    return frozenset(names)


def plain_fields(request: Request, include: frozenset[str], scope: TranslationContext) -> dict[str, object]:
    """Sampling, limits, log probabilities, reasoning effort, streaming and hints in the provider's words."""
    chat: dict[str, object] = {name: request[name] for name in _SAMPLING if request.get(name) is not None}
    limit = request.get("max_output_tokens")
    if limit is None:
        limit = next((request[name] for name in ("max_completion_tokens", "max_tokens") if request.get(name)), None)
    if limit is not None:
        chat[scope.quirks.max_tokens] = limit
    if LOGPROBS in include:
        _logprobs(request, chat, scope)
    _reasoning(request, chat, scope)
    if request.get("stream"):
        chat["stream"] = True
        if scope.quirks.stream_usage:
            chat["stream_options"] = {"include_usage": True}
    _hints(request, chat, scope)
    return chat


def add_extras(request: Request, chat: dict[str, object], scope: TranslationContext) -> None:
    """Fields that neither API of ours knows reach the provider as they are; what this translation says goes before."""
    for name, value in request.items():
        if name in _OURS or value is None or name in ("max_tokens", "max_completion_tokens"):
            continue
        if name in _RESPONSES_ONLY or name in _CHAT_OURS:
            if name not in ("n", "response_format"):
                scope.drop(name)
        elif isinstance(value, dict) and isinstance(made := chat.get(name), dict):
            chat[name] = {**made, **value}
        else:
            chat.setdefault(name, value)
    apply_quirks(chat, scope)


def _logprobs(request: Request, chat: dict[str, object], scope: TranslationContext) -> None:
    top = request.get("top_logprobs")
    if not scope.quirks.logprobs:
        param = "top_logprobs" if top else "include"
        scope.unsupported(param, "Log probabilities are not available for this model.")
        return
    chat["logprobs"] = True
    if top is not None:
        chat["top_logprobs"] = top


def _reasoning(request: Request, chat: dict[str, object], scope: TranslationContext) -> None:
    reasoning = request.get("reasoning")
    if not isinstance(reasoning, dict):
        return
    effort = reasoning.get("effort")
    if effort is None:
        return
    if not isinstance(effort, str):
        raise InvalidRequest(
            "reasoning.effort", f"'reasoning.effort' must be a string, not {name_of(effort)}.", "invalid_type"
        )
    effort = nearest_effort(effort, scope.quirks.efforts)
    match scope.quirks.effort:
        case Effort.THINKING_OBJECT if effort == "none":
            chat["thinking"] = {"type": "disabled"}
        case Effort.REASONING_EFFORT | Effort.THINKING_OBJECT:
            chat["reasoning_effort"] = effort
        case Effort.REASONING_OBJECT:
            chat["reasoning"] = {"effort": effort}
        case Effort.TEMPLATE_KWARGS:
            chat["chat_template_kwargs"] = {"enable_thinking": effort != "none", "reasoning_effort": effort}
        case Effort.DROP:
            scope.drop("reasoning.effort")


def _hints(request: Request, chat: dict[str, object], scope: TranslationContext) -> None:
    text = request.get("text")
    for name in _HINTS:
        source = request if name != "verbosity" else text if isinstance(text, dict) else {}
        value = source.get(name)
        if value is None:
            continue
        if name in scope.quirks.hints:
            chat[name] = value
        elif name != "metadata" and not (name == "service_tier" and value in ("auto", "default")):
            scope.drop("text.verbosity" if name == "verbosity" else name)
