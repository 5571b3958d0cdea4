"""Reads the tools of a Responses request: functions, custom tools, members of namespaces; hosted tools by policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from onwards_py.transcode.neutral.context import ToolKind, ToolName
from onwards_py.transcode.neutral.policy import (
    HostedTools,
    InvalidRequest,
    TranslationContext,
    check_count,
    member,
    must_be_object,
    name_of,
    wrong_type,
)
from onwards_py.transcode.neutral.request import Tool, ToolSet
from onwards_py.transcode.responses.tool_search import NAME, as_function, is_clients

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
        elif is_clients(tool):
            yield _Declared(as_function(tool), ToolName(ToolKind.SEARCH, NAME), here)
        elif kind in _KINDS:
            inner = tool.get(kind)
            source = {**inner, "type": kind} if isinstance(inner, dict) else tool  # as chat completions nests it
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
