"""Tools and tool choices of a chat request in the form that Responses have, where nothing is nested."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, must_be_string, name_of
from onwards_py.transcode.neutral.request_checks import object_schema

Tool = dict[str, object]

_NESTED = ("function", "custom")
_MODES = ("none", "auto", "required")


def read_tools(request: Mapping[str, object], scope: TranslationContext) -> list[Tool]:
    """The tools, the old ``functions`` among them; types that chat lacks stay as they are. Raises InvalidRequest."""
    tools = [_tool(tool, f"tools[{i}]") for i, tool in enumerate(_array(request, "tools"))]
    tools += [_function(one, f"functions[{i}]") for i, one in enumerate(_array(request, "functions"))]
    search = request.get("web_search_options")
    if isinstance(search, dict):
        tools.append(_web_search(search))
    if len(tools) > scope.policy.max_tools:
        raise InvalidRequest("tools", f"More than {scope.policy.max_tools} tools.", "array_above_max_length")
    return tools


def read_choice(request: Mapping[str, object], tools: list[Tool]) -> object:
    """The ``tool_choice``, or what the old ``function_call`` means; None: none is said. Raises InvalidRequest."""
    where = "tool_choice" if request.get("tool_choice") is not None else "function_call"
    choice = request.get(where)
    if choice is None:
        return None
    if isinstance(choice, str):
        return _mode(choice, where, tools)
    if not isinstance(choice, dict):
        raise InvalidRequest(where, f"'{where}' must be a string or an object, not {name_of(choice)}.", "invalid_type")
    if where == "function_call":
        return _named({"type": "function", "function": choice}, where, tools)
    kind = must_be_string(choice.get("type"), "tool_choice.type")
    if kind in _MODES:  # a mode in the form of an object, as some clients write it
        return _mode(kind, where, tools)
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    return _named(choice, where, tools)


def _mode(mode: str, where: str, tools: list[Tool]) -> str | None:
    if mode not in _MODES:
        raise InvalidRequest(where, f"'{where}' must be one of {', '.join(_MODES)} or an object.")
    if not tools:  # providers refuse a choice among nothing
        if mode == "required":
            raise InvalidRequest(where, f"'{where}' is 'required', but there are no tools.")
        return None
    return mode


def _named(choice: Tool, where: str, tools: list[Tool]) -> Tool:
    kind = must_be_string(choice.get("type"), f"{where}.type")
    if kind not in _NESTED:
        return choice
    inner = choice.get(kind)
    source = inner if isinstance(inner, dict) else choice
    name = must_be_string(source.get("name"), f"{where}.name")
    if not any(tool.get("type") == kind and tool.get("name") == name for tool in tools):
        raise InvalidRequest(where, f"'{where}' names a tool that is not offered: {name!r}.")
    return {"type": kind, "name": name}


def _allowed(choice: Tool, tools: list[Tool]) -> Tool:
    inner = choice.get("allowed_tools")
    source = inner if isinstance(inner, dict) else choice
    entries, mode = source.get("tools"), source.get("mode")
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest("tool_choice.tools", "'tool_choice.tools' must be an array with at least one tool.")
    if mode is not None and mode not in _MODES:
        raise InvalidRequest("tool_choice.mode", f"'tool_choice.mode' must be one of {', '.join(_MODES)}.")
    allowed: list[object] = []
    for index, entry in enumerate(entries):
        where = f"tool_choice.tools[{index}]"
        if not isinstance(entry, dict):
            raise InvalidRequest(where, f"An allowed tool must be an object, not {name_of(entry)}.", "invalid_type")
        allowed.append(_named(entry, where, tools))
    return {"type": "allowed_tools", "mode": mode or "auto", "tools": allowed}


def _array(request: Mapping[str, object], name: str) -> list[object]:
    value = request.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(name, f"'{name}' must be an array, not {name_of(value)}.", "invalid_type")
    return value


def _tool(tool: object, where: str) -> Tool:
    if not isinstance(tool, dict):
        raise InvalidRequest(where, f"A tool must be an object, not {name_of(tool)}.", "invalid_type")
    kind = must_be_string(tool.get("type"), f"{where}.type")
    inner = tool.get(kind) if kind in _NESTED else None
    if kind == "function":
        return _function(inner if isinstance(inner, dict) else tool, where)
    if kind == "custom":
        return _custom(inner if isinstance(inner, dict) else tool, where)
    return tool


def _function(function: object, where: str) -> Tool:
    """``strict`` is always said: left out it means false to chat, and true to Responses."""
    if not isinstance(function, dict):
        raise InvalidRequest(where, f"A function must be an object, not {name_of(function)}.", "invalid_type")
    name = must_be_string(function.get("name"), f"{where}.name")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise InvalidRequest(f"{where}.parameters", "A function's parameters must be a JSON schema.", "invalid_type")
    strict = function.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{where}.strict", "A function's 'strict' must be a boolean.", "invalid_type")
    flat: Tool = {**function, "type": "function", "name": name}
    flat["parameters"] = object_schema(parameters or {})
    flat["strict"] = bool(strict)
    return flat


def _custom(tool: Tool, where: str) -> Tool:
    flat: Tool = {**tool, "type": "custom", "name": must_be_string(tool.get("name"), f"{where}.name")}
    form = tool.get("format")
    grammar = form.get("grammar") if isinstance(form, dict) else None
    if isinstance(grammar, dict):
        flat["format"] = {"type": "grammar", **grammar}
    return flat


def _web_search(options: Tool) -> Tool:
    tool: Tool = {**options, "type": "web_search"}
    place = options.get("user_location")
    inner = place.get("approximate") if isinstance(place, dict) else None
    if isinstance(inner, dict):
        tool["user_location"] = {"type": "approximate", **inner}
    return tool
