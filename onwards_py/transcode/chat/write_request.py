"""Writes a neutral request for a provider of Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from onwards_py.transcode.chat.write_messages import CUSTOM_INPUT, write_messages
from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.names import CallIds
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, nested
from onwards_py.transcode.neutral.quirks import AllowedTools, Effort, Structured, nearest_effort
from onwards_py.transcode.neutral.request import (
    HINTS,
    PENALTIES,
    SAMPLING,
    Member,
    OutputFormat,
    Request,
    Tool,
    ToolChoice,
)
from onwards_py.transcode.neutral.request_checks import apply_quirks, object_schema

_FUNCTION_MEMBERS = frozenset({"type", "name", "description", "parameters", "strict"})
_DEFAULT_NAME = "response"
_OURS = frozenset({"messages", "functions", "function_call", "logprobs"})
"""Chat fields that only this writer sets; they are dropped from the undefined fields of a request."""

Json = dict[str, object]


def write_request(request: Request, context: TranslationContext) -> Json:
    """The provider's request. Raises InvalidRequest."""
    tools = [write_tool(tool, context) for tool in request.tools.tools]
    choice, tools = write_choice(request.choice, tools, context)
    form, prompt = (None, "") if request.format is None else write_format(request.format, context)
    if request.choice.forced:
        prompt = ""  # the answer must be a call, which a format would prevent
    call_ids = CallIds(context.quirks.short_call_ids, request.call_ids)
    instructions = "\n\n".join(filter(None, (request.instructions, prompt)))
    messages = write_messages(request.steps, request.path, instructions, call_ids, context)
    if not messages:
        message = f"There is nothing to answer: give '{request.path}'."
        raise InvalidRequest(request.path, message, "missing_required_parameter")
    chat: Json = {"model": request.model, "messages": messages}
    _add_fields(request, chat, context)
    if tools:  # without tools, providers reject tool_choice and parallel_tool_calls
        chat["tools"] = tools
        if choice is not None:
            chat["tool_choice"] = choice
        if request.parallel_calls is not None and context.quirks.parallel_tool_calls:
            chat["parallel_tool_calls"] = request.parallel_calls
    if form is not None and request.format is not None:
        if request.choice.forced:
            context.drop(request.format.where)
        else:
            chat["response_format"] = form
    _add_extra(request, chat, context)
    return chat


def _add_fields(request: Request, chat: Json, context: TranslationContext) -> None:
    quirks, fields = context.quirks, request.fields
    chat |= {name: fields[name] for name in (*SAMPLING, *PENALTIES) if name in fields}
    if request.max_tokens is not None:
        chat[quirks.max_tokens] = request.max_tokens.value
    if request.logprobs is not None:
        _logprobs(request.logprobs, chat, context)
    if request.effort is not None:
        _effort(request.effort, chat, context)
    if request.stream:
        chat["stream"] = True
        if quirks.stream_usage:
            chat["stream_options"] = {"include_usage": True}
    for name in HINTS:
        if (value := fields.get(name)) is None:
            continue
        if name in quirks.hints:
            chat[name] = value
        elif name != "metadata" and not (name == "service_tier" and value in ("auto", "default")):
            context.drop(name)
    if request.verbosity is not None:
        if "verbosity" in quirks.hints:
            chat["verbosity"] = request.verbosity.value
        else:
            context.drop(request.verbosity.where)


def _logprobs(asked: Member, chat: Json, context: TranslationContext) -> None:
    if not context.quirks.logprobs:
        context.unsupported(asked.where, "Log probabilities are not available for this model.")
        return
    chat["logprobs"] = True
    if asked.value is not None:
        chat["top_logprobs"] = asked.value


def _effort(asked: Member, chat: Json, context: TranslationContext) -> None:
    effort = nearest_effort(str(asked.value), context.quirks.efforts)
    match context.quirks.effort:
        case Effort.THINKING_OBJECT if effort == "none":
            chat["thinking"] = {"type": "disabled"}
        case Effort.REASONING_EFFORT | Effort.THINKING_OBJECT:
            chat["reasoning_effort"] = effort
        case Effort.REASONING_OBJECT:
            chat["reasoning"] = {"effort": effort}
        case Effort.TEMPLATE_KWARGS:
            chat["chat_template_kwargs"] = {"enable_thinking": effort != "none", "reasoning_effort": effort}
        case Effort.DROP:
            context.drop(asked.where)


def _add_extra(request: Request, chat: Json, context: TranslationContext) -> None:
    """Add fields that the client's API does not define, unchanged; fields of this translation take precedence."""
    for name, value in request.extra.items():
        if name in request.own or name in _OURS:
            context.drop(name)
        elif isinstance(value, dict) and isinstance(made := chat.get(name), dict):
            chat[name] = {**made, **value}
        else:
            chat.setdefault(name, value)
    apply_quirks(chat, context)


def write_tool(tool: Tool, context: TranslationContext) -> Json:
    """One entry of ``tools``."""
    if tool.kind is None:
        return dict(tool.members)
    return {"type": "function", "function": _custom(tool) if tool.kind is ToolKind.CUSTOM else _function(tool, context)}


def write_choice(choice: ToolChoice, tools: list[Json], context: TranslationContext) -> tuple[object, list[Json]]:
    """``tool_choice`` (None: send none), and the tools that are sent with it."""
    if choice.by_name and choice.only:
        named = choice.only[0]
        return (named.members or _reference(named.name)), tools
    if choice.only is not None:
        return _allowed([one.name for one in choice.only], choice, tools, context)
    if choice.mode is None or not tools:  # providers reject a tool_choice without tools
        return None, tools
    return _word(choice.mode, context), tools


def write_format(form: OutputFormat, context: TranslationContext) -> tuple[Json | None, str]:
    """The strongest supported ``response_format`` (None: send none), and text to add to the prompt instead.

    Raises InvalidRequest.
    """
    structured = context.quirks.structured
    if form.kind == "json_object":
        if structured is not Structured.NONE:
            return {"type": "json_object"}, ""
        context.unsupported(form.where, "JSON output is not available for this model.")
        return None, "Answer with a single JSON object and nothing else."
    schema = form.members["schema"]
    if structured is Structured.JSON_SCHEMA:
        chat: Json = {"name": form.members.get("name") or _DEFAULT_NAME, "schema": schema}
        chat |= {name: value for name in ("description", "strict") if (value := form.members.get(name)) is not None}
        return {"type": "json_schema", "json_schema": chat}, ""
    in_prompt = structured is Structured.JSON_OBJECT and context.quirks.schema_in_prompt
    if not in_prompt:
        context.unsupported(form.where, "Output by a JSON schema is not available for this model.")
    elif form.members.get("strict"):
        context.drop(f"{form.where}.strict")
    prompt = f"Answer with a single JSON object that matches this JSON schema:\n{orjson.dumps(schema).decode()}"
    if structured is Structured.JSON_OBJECT:
        return {"type": "json_object"}, prompt if in_prompt else ""
    return None, prompt


def _function(tool: Tool, context: TranslationContext) -> Json:
    members = tool.members
    function: Json = {"name": tool.name}
    if members.get("description") is not None:
        function["description"] = members["description"]
    parameters = members.get("parameters")
    function["parameters"] = object_schema(parameters if isinstance(parameters, dict) else {})
    if members.get("strict") is not None:
        function["strict"] = members["strict"]
    for member in members.keys() - _FUNCTION_MEMBERS:
        context.drop(f"{tool.where}.{member}")
    return function


def _custom(tool: Tool) -> Json:
    """A custom tool as a function with one string parameter; its grammar is only part of the description."""
    about = "The tool's whole input as raw text, not wrapped in JSON or a code fence."
    schema: Json = {
        "type": "object",
        "properties": {CUSTOM_INPUT: {"type": "string", "description": about}},
        "required": [CUSTOM_INPUT],
        "additionalProperties": False,
    }
    described = (str(tool.members.get("description") or ""), _grammar(tool.members.get("format")))
    return {"name": tool.name, "description": "\n\n".join(filter(None, described)), "parameters": schema}


def _grammar(form: object) -> str:
    if not isinstance(form, dict) or form.get("type") != "grammar":
        return ""
    source = nested(form, "grammar")
    return f"The input must match this {source.get('syntax')} grammar:\n{source.get('definition')}"


def _allowed(
    names: list[str], choice: ToolChoice, tools: list[Json], context: TranslationContext
) -> tuple[object, list[Json]]:
    """``tool_choice`` and tools for a list of allowed tools. The answer is checked against this list in any case."""
    mode = choice.mode or "auto"
    if not names:
        return ("none" if tools else None), tools
    if context.quirks.allowed_tools is AllowedTools.NATIVE and mode != "none":
        native = {"mode": mode, "tools": list(map(_reference, names))}
        return {"type": "allowed_tools", "allowed_tools": native}, tools
    subset = [tool for name in names for tool in tools if _is_function(tool, name)]
    return (_reference(names[0]) if choice.forced and len(names) == 1 else _word(mode, context)), subset


def _is_function(tool: Mapping[str, object], name: str) -> bool:
    function = tool.get("function")
    return tool.get("type") == "function" and isinstance(function, dict) and function.get("name") == name


def _reference(name: str) -> Json:
    return {"type": "function", "function": {"name": name}}


def _word(mode: str, context: TranslationContext) -> str:
    return context.quirks.tool_choice_required if mode == "required" else mode
