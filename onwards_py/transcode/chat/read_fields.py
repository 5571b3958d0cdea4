"""Reads the plain fields of a request into a neutral request; one table has their types."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, name_of, nested, wrong_type
from onwards_py.transcode.neutral.request import COMMON_FIELDS, Member, OutputFormat
from onwards_py.transcode.neutral.request import Request as NeutralRequest

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
_CHAT_ONLY = ("n", "stop", "seed", "logit_bias", "modalities", "audio", "prediction")
_OTHERS = (
    *("model", "messages", "tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"),
    *("max_tokens", "max_completion_tokens", "top_logprobs"),
)
READ = frozenset({*_TYPES, *COMMON_FIELDS, *_CHAT_ONLY, *_OTHERS})
"""All chat fields that are read; other fields are sent unchanged."""


def check_types(request: Request, context: TranslationContext) -> None:
    """Check that each field is of its type, null or absent: `read_fields` relies on it. Raises InvalidRequest."""
    for name, (type_, words) in _TYPES.items():
        value = request.get(name)
        if value is not None and type(value) is not type_:
            raise wrong_type(name, words, value)
    if request.get("background"):
        context.unsupported("background", "A chat completion cannot be made in the background.")


def read_fields(request: Request, to: NeutralRequest, context: TranslationContext) -> None:
    """Read sampling, limits, formats, reasoning, streaming, hints, and fields that chat does not define.

    Raises InvalidRequest.
    """
    to.fields = {name: request[name] for name in COMMON_FIELDS if request.get(name) is not None}
    to.chat_only = {name: request[name] for name in _CHAT_ONLY if request.get(name) is not None}
    where = next((name for name in ("max_completion_tokens", "max_tokens") if request.get(name) is not None), None)
    if where is not None:
        to.max_tokens = Member(request[where], where)
    if request.get("reasoning_effort") is not None:
        to.effort = Member(request["reasoning_effort"], "reasoning_effort")
    if request.get("verbosity") is not None:
        to.verbosity = Member(request["verbosity"], "verbosity")
    if request.get("logprobs"):
        to.logprobs = Member(request.get("top_logprobs"), "logprobs")
    form = request.get("response_format")
    to.format = _format(form, context) if isinstance(form, dict) else None
    to.store = request.get("store") is True
    to.stream = request.get("stream") is True
    options = request.get("stream_options")
    to.stream_options = options if isinstance(options, dict) else {}
    to.extra = {
        name: value
        for name, value in request.items()
        if name not in READ and name != "background" and value is not None
    }


def _format(form: dict[str, object], context: TranslationContext) -> OutputFormat | None:
    kind = form.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return OutputFormat(kind, {}, "response_format")
    if kind != "json_schema":
        context.unsupported("response_format.type", f"The format {kind!r} is not available for this model.")
        return None
    source = nested(form, "json_schema")
    if not isinstance(source.get("schema"), dict):
        where = "response_format.json_schema.schema"
        message = f"'{where}' must be a JSON schema, not {name_of(source.get('schema'))}."
        raise InvalidRequest(where, message, "invalid_type")
    members = {name: value for name, value in source.items() if value is not None}
    return OutputFormat(kind, members, "response_format")
