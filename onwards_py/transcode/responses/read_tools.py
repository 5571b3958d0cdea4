"""Reads ``tool_choice`` and the tools of a Responses request: functions, custom tools, members of namespaces; hosted
tools by policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from onwards_py.transcode.neutral.context import ToolKind, ToolName
from onwards_py.transcode.neutral.policy import (
    HostedTools,
    InvalidRequest,
    TranslationContext,
    check_count,
    member,
    must_be_object,
    name_of,
    nested,
    wrong_type,
)
from onwards_py.transcode.neutral.request import ChosenTool, Tool, ToolChoice, ToolSet
from onwards_py.transcode.neutral.request_checks import MODES, read_mode
from onwards_py.transcode.responses.tool_search import NAME, as_function, is_client_side
from onwards_py.transcode.responses.tool_search import NAME as SEARCH

_DEEPEST = 8
_KINDS = {"function": ToolKind.FUNCTION, "custom": ToolKind.CUSTOM}


@dataclass(frozen=True, slots=True)
class _Declared:
    """One callable tool as it was declared."""

    tool: dict[str, object]
    name: ToolName
    where: str
    intro: str = ""
    """The description of its namespace, for the first member only."""


def read_tools(
    lists: Iterable[tuple[object, str]], context: TranslationContext, found: Iterable[tuple[object, str]] = ()
) -> ToolSet:
    """The tools that are offered to the model, from ``lists``, each with its path. Raises InvalidRequest.

    ``found``: lists of tools that searches found; they may repeat each other and the tools of ``lists``.
    """
    offered = ToolSet()
    hosted: list[tuple[dict[str, object], str]] = []
    declared: dict[tuple[str | None, str], _Declared] = {}
    for tools, where in lists:
        declared.update(_read_list(tools, where, hosted))  # a later list replaces tools of the same name
        if len(declared) + len(hosted) > context.policy.max_tools:
            raise InvalidRequest(where, f"More than {context.policy.max_tools} tools.", "array_above_max_length")
    for tools, where in found:
        for one in _walk(tools if isinstance(tools, list) else [], where, None, 0, []):
            declared.setdefault((one.name.namespace, one.name.name), one)
        check_count(declared, context.policy.max_tools, where, "tools")
    for one in sorted(declared.values(), key=lambda one: one.name.namespace is not None):  # to keep plain names
        offered.names.add(one.name)
    for one in declared.values():
        name = offered.names.flat_name(one.name.name, one.name.namespace)
        offered.tools.append(Tool(one.name.kind, name, _checked(one), one.where))
    for tool, where in hosted:
        _place_hosted(tool, where, offered, bool(declared), context)
    return offered


def _read_list(
    tools: object, where: str, hosted: list[tuple[dict[str, object], str]]
) -> dict[tuple[str | None, str], _Declared]:
    """The callable tools of one list by the client's names."""
    if tools is None:
        return {}
    if not isinstance(tools, list):
        raise wrong_type(where, "an array", tools)
    found: dict[tuple[str | None, str], _Declared] = {}
    for one in _walk(tools, where, None, 0, hosted):
        if found.setdefault((one.name.namespace, one.name.name), one) is not one:
            raise InvalidRequest(f"{one.where}.name", f"Two tools have the name {one.name.name!r}.")
    return found


def _walk(
    tools: list[object], where: str, namespace: str | None, depth: int, hosted: list[tuple[dict[str, object], str]]
) -> Iterator[_Declared]:
    """Every callable tool, including members of namespaces; server-run tools are appended to ``hosted``."""
    for index, given in enumerate(tools):
        here = f"{where}[{index}]"
        tool = must_be_object(given, here, "A tool")
        kind = member(tool, "type", here)
        if kind == "namespace":
            yield from _members(tool, here, namespace, depth, hosted)
        elif is_client_side(tool):
            yield _Declared(as_function(tool), ToolName(ToolKind.SEARCH, NAME), here)
        elif kind in _KINDS:
            inner = tool.get(kind)
            source = {**inner, "type": kind} if isinstance(inner, dict) else tool  # the nested form of Chat Completions
            name = member(source, "name", here)
            yield _Declared(source, ToolName(_KINDS[kind], name, namespace), here)
        else:
            hosted.append((tool, here))


def _members(
    tool: dict[str, object], where: str, outer: str | None, depth: int, hosted: list[tuple[dict[str, object], str]]
) -> Iterator[_Declared]:
    name = member(tool, "name", where)
    members = tool.get("tools")
    if members is None:
        members = []
    if not isinstance(members, list):
        raise wrong_type(f"{where}.tools", "an array", members)
    if depth == _DEEPEST:
        raise InvalidRequest(where, f"Namespaces are nested deeper than {_DEEPEST}.")
    description = tool.get("description")
    intro = description if isinstance(description, str) else ""
    inside = name if outer is None else f"{outer}__{name}"
    for one in _walk(members, f"{where}.tools", inside, depth + 1, hosted):
        yield _Declared(one.tool, one.name, one.where, "\n\n".join(filter(None, (intro, one.intro))))
        intro = ""


def _checked(one: _Declared) -> dict[str, object]:
    """The members of a tool; the description of its namespace precedes its own. Raises InvalidRequest."""
    members = one.tool
    own = members.get("description")
    if own is not None and not isinstance(own, str):
        raise InvalidRequest(f"{one.where}.description", "A tool's description must be a string.", "invalid_type")
    if one.intro:
        members = {**members, "description": "\n\n".join(filter(None, (one.intro, own)))}
    if one.name.kind is ToolKind.CUSTOM:
        return members
    parameters, strict = members.get("parameters"), members.get("strict")
    if parameters is not None and not isinstance(parameters, dict):
        message = f"A tool's parameters must be a JSON schema, not {name_of(parameters)}."
        raise InvalidRequest(f"{one.where}.parameters", message, "invalid_type")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequest(f"{one.where}.strict", "A tool's 'strict' must be a boolean.", "invalid_type")
    return members


def _place_hosted(
    tool: dict[str, object], where: str, offered: ToolSet, beside: bool, context: TranslationContext
) -> None:
    policy = context.policy.hosted_tools
    kind = str(tool["type"])
    if policy is HostedTools.PASS:
        offered.tools.append(Tool(None, "", tool, where))
    elif policy is HostedTools.DROP or (policy is HostedTools.BESIDE and beside):
        offered.left_out.add(kind)
        context.drop(f"tools[].{kind}")
    else:
        message = f"Tools of type {kind!r} are not available for this model."
        raise InvalidRequest(f"{where}.type", message, "unsupported_tool")


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
        return ReadChoice(read_mode(choice, "tool_choice", bool(offered.tools)), choice)
    if not isinstance(choice, dict):
        raise wrong_type("tool_choice", "a string or an object", choice)
    kind = member(choice, "type", "tool_choice")
    if kind in MODES:  # a mode in the form of an object, as some clients write it
        return ReadChoice(read_mode(kind, "tool_choice", bool(offered.tools)), kind)
    if kind == SEARCH and offered.names.find(SEARCH, None) is not None:
        return ReadChoice(_one(ChosenTool(kind, SEARCH)), choice)
    if kind == "allowed_tools":
        return _allowed(choice, offered, context)
    if kind in _KINDS:
        return ReadChoice(_one(ChosenTool(kind, _named(choice, "tool_choice", offered))), _echo(choice, kind))
    if any(tool.kind is None and tool.members.get("type") == kind for tool in offered.tools):
        return ReadChoice(_one(ChosenTool(kind, "", choice)), choice)
    if kind not in offered.left_out:
        raise InvalidRequest("tool_choice", f"'tool_choice' names a tool that is not offered: {kind!r}.")
    context.unsupported("tool_choice", f"Tools of type {kind!r} are not available for this model.")
    return _AUTO


def _one(tool: ChosenTool) -> ToolChoice:
    return ToolChoice(only=(tool,), by_name=True)


def _allowed(choice: dict[str, object], offered: ToolSet, context: TranslationContext) -> ReadChoice:
    source = nested(choice, "allowed_tools")
    entries, mode = source.get("tools"), source.get("mode")
    mode = "auto" if mode is None else mode
    if mode not in MODES:
        raise InvalidRequest("tool_choice.mode", f"'tool_choice.mode' must be one of {', '.join(MODES)}.")
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest("tool_choice.tools", "'tool_choice.tools' must be an array with at least one tool.")
    tools: dict[str, ChosenTool] = {}
    echoes: list[object] = []
    for index, given in enumerate(entries):
        where = f"tool_choice.tools[{index}]"
        entry = must_be_object(given, where, "An allowed tool")
        kind = member(entry, "type", where)
        if kind in _KINDS:
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
