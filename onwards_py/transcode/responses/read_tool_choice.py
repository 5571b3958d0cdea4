"""Reads ``tool_choice`` in all its forms: the tools that may, must or must not be called."""

from __future__ import annotations

from typing import NamedTuple

from onwards_py.transcode.neutral.policy import (
    InvalidRequest,
    TranslationContext,
    member,
    must_be_object,
    nested,
    wrong_type,
)
from onwards_py.transcode.neutral.request import ChosenTool, ToolChoice, ToolSet
from onwards_py.transcode.responses.tool_search import NAME as SEARCH

_MODES = ("none", "auto", "required")
_CALLABLE = ("function", "custom")


class ReadChoice(NamedTuple):
    """A choice, and its form in the response."""

    choice: ToolChoice
    echo: object


_AUTO = ReadChoice(ToolChoice("auto"), "auto")


def read_choice(choice: object, offered: ToolSet, context: TranslationContext) -> ReadChoice:
    """The meaning of ``choice`` for these tools. Raises InvalidRequest."""
    if choice is None:
        return ReadChoice(ToolChoice(), "auto")
    if isinstance(choice, str):
        return _mode(choice, offered)
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "a string or an object", choice)
    kind = member(choice, "type", "tool_choice")
    if kind in _MODES:  # a mode in the form of an object, as some clients write it
        return _mode(kind, offered)
    if kind == SEARCH and offered.names.find(SEARCH, None) is not None:
        return ReadChoice(_one(ChosenTool(kind, SEARCH)), choice)
    if kind == "allowed_tools":
        return _allowed(choice, offered, context)
    if kind in _CALLABLE:
        return ReadChoice(_one(ChosenTool(kind, _named(choice, "tool_choice", offered))), _echo(choice, kind))
    if any(tool.kind is None and tool.members.get("type") == kind for tool in offered.tools):
        return ReadChoice(_one(ChosenTool(kind, "", choice)), choice)
    if kind not in offered.left_out:
        raise InvalidRequest("tool_choice", f"'tool_choice' names a tool that is not offered: {kind!r}.")
    context.unsupported("tool_choice", f"Tools of type {kind!r} are not available for this model.")
    return _AUTO


def _one(tool: ChosenTool) -> ToolChoice:
    return ToolChoice(only=(tool,), by_name=True)


def _mode(mode: str, offered: ToolSet) -> ReadChoice:
    if mode not in _MODES:
        raise InvalidRequest("tool_choice", f"'tool_choice' must be one of {', '.join(_MODES)} or an object.")
    if mode == "required" and not offered.tools:
        raise InvalidRequest("tool_choice", "'tool_choice' is 'required', but there are no tools.")
    return ReadChoice(ToolChoice(mode), mode)


def _allowed(choice: dict[str, object], offered: ToolSet, context: TranslationContext) -> ReadChoice:
    source = nested(choice, "allowed_tools")
    entries, mode = source.get("tools"), source.get("mode")
    mode = "auto" if mode is None else mode
    if mode not in _MODES:
        raise InvalidRequest("tool_choice.mode", f"'tool_choice.mode' must be one of {', '.join(_MODES)}.")
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest("tool_choice.tools", "'tool_choice.tools' must be an array with at least one tool.")
    tools: dict[str, ChosenTool] = {}
    echoes: list[object] = []
    for index, given in enumerate(entries):
        where = f"tool_choice.tools[{index}]"
        entry = must_be_object(given, where, "An allowed tool")
        kind = member(entry, "type", where)
        if kind in _CALLABLE:
            name = _named(entry, where, offered)
            tools[name] = ChosenTool(kind, name)
            echoes.append(_echo(entry, kind))
        elif kind not in offered.left_out:
            raise InvalidRequest(where, f"'{where}' names a tool that is not offered: {kind!r}.")
        else:
            context.unsupported(where, f"Tools of type {kind!r} are not available for this model.")
    if not tools and mode == "required":
        raise InvalidRequest("tool_choice", "'tool_choice' requires a call, but none of its tools is available.")
    echo = {"type": "allowed_tools", "tools": echoes, "mode": mode} if tools else "none"
    return ReadChoice(ToolChoice(str(mode), tuple(tools.values())), echo)


def _named(entry: dict[str, object], where: str, offered: ToolSet) -> str:
    source = nested(entry, str(entry.get("type")))
    name = member(source, "name", where)
    namespace = source.get("namespace")
    found = offered.names.find(name, namespace if isinstance(namespace, str) else None)
    if found is None:
        raise InvalidRequest(where, f"'{where}' names a tool that is not offered: {name!r}.")
    return found


def _echo(entry: dict[str, object], kind: str) -> dict[str, object]:
    source = nested(entry, kind)
    echo: dict[str, object] = {"type": kind, "name": source.get("name")}
    if isinstance(source.get("namespace"), str):
        echo["namespace"] = source["namespace"]
    return echo
