"""Reads the tools and the ``tool_choice`` of a chat request."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.policy import (
    InvalidRequest,
    TranslationContext,
    check_count,
    member,
    must_be_object,
    nested,
    wrong_type,
)
from onwards_py.transcode.neutral.request import ChosenTool, Tool, ToolChoice
from onwards_py.transcode.neutral.request_checks import MODES, read_mode

Json = Mapping[str, object]

_KINDS = {"function": ToolKind.FUNCTION, "custom": ToolKind.CUSTOM}


def read_tools(request: Json, context: TranslationContext) -> list[Tool]:
    """The tools, including the old ``functions``; tools of unknown types are kept unchanged. Raises InvalidRequest."""
    tools = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(_array(request, "tools"))]
    tools += [_function(one, f"functions[{i}]") for i, one in enumerate(_array(request, "functions"))]
    search = request.get("web_search_options")
    if isinstance(search, dict):
        tools.append(_web_search(search))
    check_count(tools, context.policy.max_tools, "tools", "tools")
    return tools


def read_choice(request: Json, tools: list[Tool]) -> ToolChoice:
    """The ``tool_choice``, or its equivalent for the old ``function_call``. Raises InvalidRequest."""
    where = "tool_choice" if request.get("tool_choice") is not None else "function_call"
    choice = request.get(where)
    if choice is None:
        return ToolChoice()
    if isinstance(choice, str):
        return read_mode(choice, where, bool(tools))
    if not isinstance(choice, dict):
        raise wrong_type(where, "a string or an object", choice)
    if where == "function_call":
        return ToolChoice(only=(_named({"type": "function", "function": choice}, where, tools),), by_name=True)
    kind = member(choice, "type", "tool_choice")
    if kind in MODES:  # a mode in the form of an object, as some clients write it
        return read_mode(kind, where, bool(tools))
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    return ToolChoice(only=(_named(choice, where, tools),), by_name=True)


def _named(choice: Json, where: str, tools: list[Tool]) -> ChosenTool:
    kind = member(choice, "type", where)
    if kind not in _KINDS:
        return ChosenTool(kind, "", choice)
    source = nested(choice, kind)
    name = member(source, "name", where)
    if not any(tool.kind is _KINDS[kind] and tool.name == name for tool in tools):
        raise InvalidRequest(where, f"'{where}' names a tool that is not offered: {name!r}.")
    return ChosenTool(kind, name)


def _allowed(choice: Json, tools: list[Tool]) -> ToolChoice:
    source = nested(choice, "allowed_tools")
    entries, mode = source.get("tools"), source.get("mode")
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest("tool_choice.tools", "'tool_choice.tools' must be an array with at least one tool.")
    if mode is not None and mode not in MODES:
        raise InvalidRequest("tool_choice.mode", f"'tool_choice.mode' must be one of {', '.join(MODES)}.")
    allowed: list[ChosenTool] = []
    for index, entry in enumerate(entries):
        where = f"tool_choice.tools[{index}]"
        allowed.append(_named(must_be_object(entry, where, "An allowed tool"), where, tools))
    return ToolChoice(mode or "auto", tuple(allowed))


def _array(request: Mapping[str, object], name: str) -> list[object]:
    value = request.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(name, "an array", value)
    return value


def _tool(tool: object, where: str) -> Tool:
    tool = must_be_object(tool, where, "A tool")
    kind = member(tool, "type", where)
    if kind not in _KINDS:
        return Tool(None, "", tool, where)
    source = nested(tool, kind)
    return _function(source, where) if kind == "function" else _custom(source, where)


def _function(function: object, where: str) -> Tool:
    function = must_be_object(function, where, "A function")
    name = member(function, "name", where)
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest(f"{where}.parameters", "A function's parameters must be a JSON schema.", "invalid_type")
    strict = function.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{where}.strict", "A function's 'strict' must be a boolean.", "invalid_type")
    return Tool(ToolKind.FUNCTION, name, function, where)


def _custom(tool: Json, where: str) -> Tool:
    name = member(tool, "name", where)
    form = tool.get("format")
    grammar = form.get("grammar") if isinstance(form, dict) else None
    if isinstance(grammar, dict):
        tool = {**tool, "format": {"type": "grammar", **grammar}}
    return Tool(ToolKind.CUSTOM, name, tool, where)


def _web_search(options: dict[str, object]) -> Tool:
    tool: dict[str, object] = {**options, "type": "web_search"}
    place = options.get("user_location")
    inner = place.get("approximate") if isinstance(place, dict) else None
    if isinstance(inner, dict):
        tool["user_location"] = {"type": "approximate", **inner}
    return Tool(None, "", tool, "web_search_options")
