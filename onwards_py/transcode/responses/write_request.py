"""Writes a neutral request for a provider of Responses."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.names import CallIds
from onwards_py.transcode.neutral.policy import TranslationContext
from onwards_py.transcode.neutral.quirks import COMMON_EFFORTS, nearest_effort
from onwards_py.transcode.neutral.request import PENALTIES, ChosenTool, Member, OutputFormat, Request, Tool, ToolChoice
from onwards_py.transcode.neutral.request_checks import apply_quirks, object_schema
from onwards_py.transcode.responses.context import LOGPROBS
from onwards_py.transcode.responses.write_items import ItemWriter

_SAME = ("temperature", "top_p", "metadata", "user", "safety_identifier", "prompt_cache_key", "service_tier")
UNSUPPORTED: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "stop": ([],),
    "seed": (),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "audio": (),
}
"""Chat fields without an equivalent in Responses -> values that are the same as an absent field."""

DROPPED = ("prediction",)
"""Chat fields without an equivalent in Responses that do not change the meaning of an answer."""

_LEAST_TOKENS = 16
"""The minimum of ``max_output_tokens`` in the specification's schema and at OpenAI."""

Json = dict[str, object]


def write_request(request: Request, context: TranslationContext) -> Json:
    """The provider's request. Raises InvalidRequest."""
    _check_supported(request, context)
    writer = ItemWriter(request.path, CallIds(False, request.call_ids), context)
    writer.write(request.steps)
    body: Json = {"model": request.model}
    instructions = "\n\n".join(filter(None, (request.instructions, writer.instructions)))
    if instructions:
        body["instructions"] = instructions
    body["input"] = writer.items
    _add_fields(request, body, context)
    if request.tools.tools:  # without tools, providers reject tool_choice and parallel_tool_calls
        body["tools"] = [write_tool(tool) for tool in request.tools.tools]
        choice = write_choice(request.choice)
        if choice is not None:
            body["tool_choice"] = choice
        if request.parallel_calls is not None and context.quirks.parallel_tool_calls:
            body["parallel_tool_calls"] = request.parallel_calls
    _add_extra(request, body, context)
    return body


def _check_supported(request: Request, context: TranslationContext) -> None:
    for name, value in request.chat_only.items():
        if name in DROPPED:
            context.drop(name)
        elif value not in UNSUPPORTED[name]:
            context.unsupported(name, f"'{name}' is not available for this model.")


def _add_fields(request: Request, body: Json, context: TranslationContext) -> None:
    """Write sampling, limits, formats, reasoning, streaming and hints.

    ``store`` is always sent, because an absent one means false in Chat Completions and true in Responses. Penalties are
    sent if they are not 0: the specification has them, but OpenAI's Responses API does not.
    """
    fields = request.fields
    body |= {name: fields[name] for name in _SAME if name in fields}
    body |= {name: fields[name] for name in PENALTIES if fields.get(name)}
    if request.max_tokens is not None:
        body["max_output_tokens"] = _limit(request.max_tokens, context)
    body["store"] = request.store
    if request.effort is not None:
        # The efforts that are common among chat providers are no limit here: the specification of Responses lists more.
        # The comparison is by identity, because an operator may configure the same list.
        efforts = () if context.quirks.efforts is COMMON_EFFORTS else context.quirks.efforts
        body["reasoning"] = {"effort": nearest_effort(str(request.effort.value), efforts)}
    text: Json = {} if request.format is None else {"format": write_format(request.format)}
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity.value
    if text:
        body["text"] = text
    if request.logprobs is not None:
        _logprobs(request.logprobs, body, context)
    if request.stream:
        body["stream"] = True
        _stream_options(request.stream_options, body, context)


def _limit(limit: Member, context: TranslationContext) -> object:
    """The token limit, at least the minimum of the schema: a smaller limit is raised and listed as dropped."""
    value = limit.value
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LEAST_TOKENS:
        context.drop(limit.where)
        return _LEAST_TOKENS
    return value


def _logprobs(asked: Member, body: Json, context: TranslationContext) -> None:
    if not context.quirks.logprobs:
        context.unsupported(asked.where, "Log probabilities are not available for this model.")
        return
    body["include"] = [LOGPROBS]
    if asked.value is not None:
        body["top_logprobs"] = asked.value


def _stream_options(options: Mapping[str, object], body: Json, context: TranslationContext) -> None:
    for name, value in options.items():
        if name == "include_obfuscation":
            body["stream_options"] = {name: value}
        elif name != "include_usage":
            context.drop(f"stream_options.{name}")


def _add_extra(request: Request, body: Json, context: TranslationContext) -> None:
    """Add fields that the client's API does not define, unchanged, except for ``input``, which is the conversation."""
    for name, value in request.extra.items():
        made = body.get(name)
        if name == "input" or name in request.own:
            context.drop(name)
        elif isinstance(value, dict) and isinstance(made, dict):
            body[name] = {**made, **value}
        elif isinstance(value, list) and isinstance(made, list):
            body[name] = [*made, *(one for one in value if one not in made)]
        elif name == "instructions" and isinstance(value, str) and isinstance(made, str):
            body[name] = f"{value}\n\n{made}"
        else:
            body.setdefault(name, value)
    apply_quirks(body, context)


def write_tool(tool: Tool) -> Json:
    """One entry of ``tools``. ``strict`` is always sent, because an absent one is false in chat and true in
    Responses."""
    if tool.kind is None:
        return dict(tool.members)
    flat: Json = {**tool.members, "type": "custom" if tool.kind is ToolKind.CUSTOM else "function", "name": tool.name}
    if tool.kind is not ToolKind.CUSTOM:
        parameters = tool.members.get("parameters")
        flat["parameters"] = object_schema(parameters if isinstance(parameters, dict) else {})
        flat["strict"] = bool(tool.members.get("strict"))
    return flat


def write_choice(choice: ToolChoice) -> object:
    """``tool_choice``; None: send none."""
    if choice.only is None:
        return choice.mode
    if choice.by_name:
        return _reference(choice.only[0])
    return {"type": "allowed_tools", "mode": choice.mode, "tools": list(map(_reference, choice.only))}


def write_format(form: OutputFormat) -> Json:
    """``text.format``."""
    return {"name": "response", **form.members, "type": form.kind} if form.members else {"type": form.kind}


def _reference(tool: ChosenTool) -> Json:
    return dict(tool.members) if tool.members is not None else {"type": tool.kind, "name": tool.name}
