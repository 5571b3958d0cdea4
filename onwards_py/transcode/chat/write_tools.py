"""Writes tools, ``tool_choice`` and ``response_format`` for Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from onwards_py.transcode.chat.write_messages import CUSTOM_INPUT
from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.policy import TranslationContext, nested
from onwards_py.transcode.neutral.quirks import AllowedTools, Structured
from onwards_py.transcode.neutral.request import OutputFormat, Tool, ToolChoice
from onwards_py.transcode.neutral.request_checks import object_schema

_FUNCTION_MEMBERS = frozenset({"type", "name", "description", "parameters", "strict"})
_DEFAULT_NAME = "response"

Json = dict[str, object]


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
    if choice.mode is None or not tools:  # providers refuse a choice among nothing
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
