"""The request's plain fields: what each becomes, in one table; what Responses have no words for, in another."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.context import LOGPROBS
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, name_of
from onwards_py.transcode.neutral.quirks import COMMON_EFFORTS, nearest_effort
from onwards_py.transcode.neutral.request_checks import apply_quirks

Request = Mapping[str, object]

_TYPES: Mapping[str, tuple[type, str]] = {
    "stream": (bool, "a boolean"),
    "stream_options": (dict, "an object"),
    "logprobs": (bool, "a boolean"),
    "response_format": (dict, "an object"),
    "store": (bool, "a boolean"),
    "verbosity": (str, "a string"),
    "reasoning_effort": (str, "a string"),
    "web_search_options": (dict, "an object"),
}
_SAME = (
    "temperature",
    "top_p",
    "metadata",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
)
"""Fields that both APIs have under one name, with one meaning."""

_PENALTIES = ("presence_penalty", "frequency_penalty")
"""The specification has them, OpenAI's own Responses have not: so where they say nothing they are not sent."""

_UNSUPPORTED: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "stop": ([],),
    "seed": (),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
}
"""Fields without words in Responses, and their values that mean the same as leaving them out."""

_LEAST_TOKENS = 16
"""The least ``max_output_tokens`` that the specification's schema allows, and that OpenAI takes."""

_HINTS = ("prediction",)
"""Fields without words in Responses that change nothing in what an answer means."""

_OTHERS = (
    "model",
    "messages",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "parallel_tool_calls",
    "max_tokens",
    "max_completion_tokens",
    "top_logprobs",
)
OURS = frozenset({*_TYPES, *_SAME, *_PENALTIES, *_UNSUPPORTED, *_HINTS, *_OTHERS})
"""Every chat field that is dealt with; all others go on as they are."""


def check_types(request: Request) -> None:
    """Everything below may rely on it: a field is of its type, or null, or missing. Raises InvalidRequest."""
    for name, (type_, words) in _TYPES.items():
        value = request.get(name)
        if value is not None and type(value) is not type_:
            raise InvalidRequest(name, f"'{name}' must be {words}, not {name_of(value)}.", "invalid_type")


def check_supported(request: Request, scope: TranslationContext) -> None:
    """What cannot be said. Raises InvalidRequest, or notes the loss, as the policy has it."""
    for name, neutral in _UNSUPPORTED.items():
        value = request.get(name)
        if value is not None and value not in neutral:
            scope.unsupported(name, f"'{name}' is not available for this model.")
    for name in _HINTS:
        if request.get(name) is not None:
            scope.drop(name)
    if request.get("background"):
        scope.unsupported("background", "A chat completion cannot be made in the background.")


def plain_fields(request: Request, scope: TranslationContext) -> dict[str, object]:
    """Sampling, limits, formats, reasoning, streaming and hints in the words of Responses.

    ``store`` is always said: left out it means false to chat, and true to Responses.
    """
    made = {name: request[name] for name in _SAME if request.get(name) is not None}
    made |= {name: request[name] for name in _PENALTIES if request.get(name)}
    limit = _limit(request, scope)
    if limit is not None:
        made["max_output_tokens"] = limit
    made["store"] = request.get("store") is True
    effort = request.get("reasoning_effort")
    if isinstance(effort, str):
        # What is common among providers of chat is no bound here: the specification of Responses lists more.
        # By identity, since an operator may name the same ones.
        efforts = () if scope.quirks.efforts is COMMON_EFFORTS else scope.quirks.efforts
        made["reasoning"] = {"effort": nearest_effort(effort, efforts)}
    text = _text(request, scope)
    if text:
        made["text"] = text
    if request.get("logprobs"):
        _logprobs(request, made, scope)
    if request.get("stream"):
        made["stream"] = True
        _stream_options(request, made, scope)
    return made


def _limit(request: Request, scope: TranslationContext) -> object:
    """The limit of tokens, at least the schema's: of a smaller one only that there is a limit reaches the provider."""
    for name in ("max_completion_tokens", "max_tokens"):
        limit = request.get(name)
        if limit is None:
            continue
        if isinstance(limit, int | float) and not isinstance(limit, bool) and 0 < limit < _LEAST_TOKENS:
            scope.drop(name)
            return _LEAST_TOKENS
        return limit
    return None


def add_extras(request: Request, made: dict[str, object], scope: TranslationContext) -> None:
    """Fields that chat does not know reach the provider as they are; ``input`` is what the messages became."""
    for name, value in request.items():
        if name in OURS or value is None or name == "background":
            continue
        if name == "input":
            scope.drop(name)
        elif isinstance(value, dict) and isinstance(mine := made.get(name), dict):
            made[name] = {**mine, **value}
        elif isinstance(value, list) and isinstance(ours := made.get(name), list):
            made[name] = [*ours, *(one for one in value if one not in ours)]
        elif name == "instructions" and isinstance(value, str) and isinstance(before := made.get(name), str):
            made[name] = f"{value}\n\n{before}"
        else:
            made.setdefault(name, value)
    apply_quirks(made, scope)


def _text(request: Request, scope: TranslationContext) -> dict[str, object]:
    text: dict[str, object] = {}
    form = request.get("response_format")
    if isinstance(form, dict):
        read = _format(form, scope)
        if read is not None:
            text["format"] = read
    if request.get("verbosity") is not None:
        text["verbosity"] = request["verbosity"]
    return text


def _format(form: dict[str, object], scope: TranslationContext) -> dict[str, object] | None:
    kind = form.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind != "json_schema":
        scope.unsupported("response_format.type", f"The format {kind!r} is not available for this model.")
        return None
    inner = form.get("json_schema")
    source = inner if isinstance(inner, dict) else form
    if not isinstance(source.get("schema"), dict):
        where = "response_format.json_schema.schema"
        raise InvalidRequest(
            where, f"'{where}' must be a JSON schema, not {name_of(source.get('schema'))}.", "invalid_type"
        )
    said = {name: value for name, value in source.items() if value is not None}
    return {"name": "response", **said, "type": "json_schema"}


def _logprobs(request: Request, made: dict[str, object], scope: TranslationContext) -> None:
    if not scope.quirks.logprobs:
        scope.unsupported("logprobs", "Log probabilities are not available for this model.")
        return
    made["include"] = [LOGPROBS]
    if request.get("top_logprobs") is not None:
        made["top_logprobs"] = request["top_logprobs"]


def _stream_options(request: Request, made: dict[str, object], scope: TranslationContext) -> None:
    options = request.get("stream_options")
    for name, value in options.items() if isinstance(options, dict) else ():
        if name == "include_obfuscation":
            made["stream_options"] = {name: value}
        elif name != "include_usage":
            scope.drop(f"stream_options.{name}")
