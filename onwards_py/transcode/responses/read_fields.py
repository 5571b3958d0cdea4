"""Reads the plain fields of a request into a neutral request; one table has their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, name_of, nested, wrong_type
from onwards_py.transcode.neutral.request import COMMON_FIELDS, PENALTIES, SAMPLING, Member, OutputFormat
from onwards_py.transcode.neutral.request import Request as NeutralRequest
from onwards_py.transcode.responses.context import LOGPROBS

Request = Mapping[str, object]

_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("instructions", "previous_response_id", "truncation"), ((str,), "a string")),
    **dict.fromkeys(("safety_identifier", "prompt_cache_key", "service_tier", "user"), ((str,), "a string")),
    **dict.fromkeys((*SAMPLING, *PENALTIES), ((int, float), "a number")),
    **dict.fromkeys(("top_logprobs", "max_output_tokens", "max_tool_calls"), ((int,), "an integer")),
    **dict.fromkeys(("parallel_tool_calls", "stream", "store", "background"), ((bool,), "a boolean")),
    **dict.fromkeys(("text", "reasoning", "metadata", "stream_options"), ((dict,), "an object")),
    "include": ((list,), "an array"),
}
_AT_LEAST = {"max_output_tokens": 1, "max_tool_calls": 1, "top_logprobs": 0}

_OF_CHAT = ("max_tokens", "max_completion_tokens", "n", "response_format")
"""Chat fields that are also accepted in Responses requests."""

_READ = frozenset({"model", "input", "tools", "tool_choice", *_OF_CHAT}) | _TYPES.keys()
_MEANINGFUL = ("context_management", "conversation", "prompt")
_RESPONSES_ONLY = frozenset(
    {*_MEANINGFUL, "client_metadata", "moderation", "prompt_cache_options", "prompt_cache_retention"}
)


def check_types(request: Request) -> None:
    """Check that each field is of its type, null or absent: `read_fields` relies on it. Raises InvalidRequest."""
    for name, value in request.items():
        if name not in _TYPES or value is None:
            continue
        types, words = _TYPES[name]
        if type(value) not in types:
            raise wrong_type(name, words, value)
    for name, least in _AT_LEAST.items():
        number = request.get(name)
        if isinstance(number, int) and number < least:
            raise InvalidRequest(name, f"'{name}' must be at least {least}.", "integer_below_min_value")
    if request.get("truncation") not in (None, "auto", "disabled"):
        raise InvalidRequest("truncation", "'truncation' must be 'auto' or 'disabled'.")


def check_server_side(request: Request, context: TranslationContext) -> None:
    """Reject fields that only a server with stored responses can support. Raises InvalidRequest."""
    if request.get("background"):
        context.unsupported("background", "Background responses are not available for this model.")
    if request.get("store") and not context.policy.stores:
        context.unsupported("store", "Responses are not stored here; send 'store': false or leave it out.")
    for name in _MEANINGFUL:
        if request.get(name):
            context.unsupported(name, f"'{name}' is not available for this model.")
    if request.get("n") not in (None, 1):
        raise InvalidRequest("n", "A response holds one answer; 'n' must be 1.")


def include_of(request: Request) -> frozenset[str]:
    """The known values of ``include``. ``top_logprobs`` implies that log probabilities are included."""
    include = request.get("include")
    names = {name for name in include if isinstance(name, str)} if isinstance(include, list) else set()
    if request.get("top_logprobs"):
        names.add(LOGPROBS)
    return frozenset(names)


def read_fields(request: Request, include: frozenset[str], to: NeutralRequest) -> None:
    """Read sampling, limits, log probabilities, effort, streaming, hints, and fields that this API does not define.

    Raises InvalidRequest.
    """
    to.fields = {name: request[name] for name in COMMON_FIELDS if request.get(name) is not None}
    limits = ("max_output_tokens", "max_completion_tokens", "max_tokens")  # the last two are fields of Chat Completions
    where = next((name for name in limits if request.get(name)), None)
    if where is not None:
        to.max_tokens = Member(request[where], where)
    top = request.get("top_logprobs")
    if LOGPROBS in include:
        to.logprobs = Member(top, "top_logprobs" if top else "include")
    reasoning, text = request.get("reasoning"), request.get("text")
    effort = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if effort is not None:
        if not isinstance(effort, str):
            raise wrong_type("reasoning.effort", "a string", effort)
        to.effort = Member(effort, "reasoning.effort")
    verbosity = text.get("verbosity") if isinstance(text, dict) else None
    if verbosity is not None:
        to.verbosity = Member(verbosity, "text.verbosity")
    to.stream = bool(request.get("stream"))
    to.parallel_calls = request.get("parallel_tool_calls")
    to.extra = {name: value for name, value in request.items() if name not in _READ and value is not None}
    to.own = _RESPONSES_ONLY


class ReadFormat(NamedTuple):
    """A format, and its form in the response: a schema has name, description, schema and strict there."""

    format: OutputFormat | None
    echo: dict[str, object]


_TEXT = ReadFormat(None, {"type": "text"})


def read_format(request: Mapping[str, object], context: TranslationContext) -> ReadFormat:
    """The requested format; ``response_format`` is accepted too. Raises InvalidRequest."""
    text, where = request.get("text"), "text.format"
    form = text.get("format") if isinstance(text, dict) else None
    if form is None:
        form, where = request.get("response_format"), "response_format"
    if form is None:
        return _TEXT
    if not isinstance(form, dict):
        raise wrong_type(where, "an object", form)
    kind = form.get("type")
    if kind == "text":
        return _TEXT
    if kind == "json_object":
        return ReadFormat(OutputFormat(kind, {}, where), {"type": kind})
    if kind == "json_schema":
        return _json_schema(nested(form, "json_schema"), where)
    if not isinstance(kind, str):
        raise wrong_type(f"{where}.type", "a string", kind)
    context.unsupported(f"{where}.type", f"The format {kind!r} is not available for this model.")
    return _TEXT


def _json_schema(form: Mapping[str, object], where: str) -> ReadFormat:
    schema, strict = form.get("schema"), form.get("strict")
    if not isinstance(schema, dict):
        message = f"'{where}.schema' must be a JSON schema, not {name_of(schema)}."
        raise InvalidRequest(f"{where}.schema", message, "invalid_type")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{where}.strict", f"'{where}.strict' must be a boolean.", "invalid_type")
    name, description = form.get("name"), form.get("description")
    for member, value in (("name", name), ("description", description)):
        if value is not None and not isinstance(value, str):
            raise InvalidRequest(f"{where}.{member}", f"'{where}.{member}' must be a string.", "invalid_type")
    name = name or "response"
    members = {"name": name, "schema": schema, "description": description, "strict": strict}
    echo = {"type": "json_schema", **members, "strict": bool(strict)}
    return ReadFormat(OutputFormat("json_schema", members, where), echo)
