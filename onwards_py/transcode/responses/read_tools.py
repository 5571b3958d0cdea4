"""Tools of a Responses request to chat functions: functions, custom tools, namespaces; hosted ones by policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from onwards_py.transcode.neutral.context import ToolKind, ToolName
from onwards_py.transcode.neutral.policy import HostedTools, InvalidRequest, TranslationContext, must_be_string, name_of
from onwards_py.transcode.neutral.request_checks import object_schema
from onwards_py.transcode.neutral.tool_names import ToolNames
from onwards_py.transcode.responses.tool_search import NAME, as_function, is_clients

_DEEPEST = 8
_FUNCTION_MEMBERS = frozenset({"type", "name", "description", "parameters", "strict"})
_KINDS = {"function": ToolKind.FUNCTION, "custom": ToolKind.CUSTOM}
CUSTOM_INPUT = "input"


@dataclass(frozen=True, slots=True)
class _Declared:
    """One callable tool as it was declared; ``intro`` is its namespace's description, for the first member only."""

    tool: dict[str, object]
    name: ToolName
    where: str
    intro: str = ""


@dataclass(slots=True)
class ToolSet:
    """What the model is offered: chat tools by chat name in their order, tools sent as they are, types left out."""

    names: ToolNames = field(default_factory=ToolNames)
    functions: dict[str, dict[str, object]] = field(default_factory=dict)
    passed: list[dict[str, object]] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    @property
    def chat(self) -> list[dict[str, object]]:
        """The chat request's ``tools``."""
        return [*self.functions.values(), *self.passed]


def read_tools(
    lists: Iterable[tuple[object, str]], scope: TranslationContext, found: Iterable[tuple[object, str]] = ()
) -> ToolSet:
    """What of all ``lists`` the model is offered; each comes with its path in the request. Raises InvalidRequest.

    ``found``: lists of what searches found, which may name a tool more than once, or one that is offered anyway.
    """
    offer = ToolSet()
    hosted: list[tuple[dict[str, object], str]] = []
    declared: dict[tuple[str | None, str], _Declared] = {}
    for tools, where in lists:
        declared.update(_read_list(tools, where, hosted))  # a later list replaces what has the same name
        if len(declared) + len(hosted) > scope.policy.max_tools:
            raise InvalidRequest(where, f"More than {scope.policy.max_tools} tools.", "array_above_max_length")
    for tools, where in found:
        for one in _walk(tools if isinstance(tools, list) else [], where, None, 0, []):
            declared.setdefault((one.name.namespace, one.name.name), one)
        if len(declared) > scope.policy.max_tools:
            raise InvalidRequest(where, f"More than {scope.policy.max_tools} tools.", "array_above_max_length")
    for one in sorted(declared.values(), key=lambda one: one.name.namespace is not None):  # plain names keep theirs
        offer.names.add(one.name)
    for one in declared.values():
        name = offer.names.chat_name(one.name.name, one.name.namespace)
        offer.functions[name] = {"type": "function", "function": _function(one, name, scope)}
    for tool, where in hosted:
        _place_hosted(tool, where, offer, scope)
    return offer


def _read_list(
    tools: object, where: str, hosted: list[tuple[dict[str, object], str]]
) -> dict[tuple[str | None, str], _Declared]:
    """The callable tools of one list by what the client calls them."""
    if tools is None:
        return {}
    if not isinstance(tools, list):
        raise InvalidRequest(where, f"'{where}' must be an array, not {name_of(tools)}.", "invalid_type")
    found: dict[tuple[str | None, str], _Declared] = {}
    for one in _walk(tools, where, None, 0, hosted):
        if found.setdefault((one.name.namespace, one.name.name), one) is not one:
            raise InvalidRequest(f"{one.where}.name", f"Two tools have the name {one.name.name!r}.")
    return found


def _walk(
    tools: list[object], where: str, namespace: str | None, depth: int, hosted: list[tuple[dict[str, object], str]]
) -> Iterator[_Declared]:
    """Every callable tool, namespaces opened; tools that a server would run go to ``hosted``."""
    for index, tool in enumerate(tools):
        here = f"{where}[{index}]"
        if not isinstance(tool, dict):
            raise InvalidRequest(here, f"A tool must be an object, not {name_of(tool)}.", "invalid_type")
        kind = must_be_string(tool.get("type"), f"{here}.type")
        if kind == "namespace":
            yield from _members(tool, here, namespace, depth, hosted)
        elif is_clients(tool):
            yield _Declared(as_function(tool), ToolName(ToolKind.SEARCH, NAME), here)
        elif kind in _KINDS:
            inner = tool.get(kind)
            source = {**inner, "type": kind} if isinstance(inner, dict) else tool  # as chat completions nests it
            name = must_be_string(source.get("name"), f"{here}.name")
            yield _Declared(source, ToolName(_KINDS[kind], name, namespace), here)
        else:
            hosted.append((tool, here))


def _members(
    tool: dict[str, object], where: str, outer: str | None, depth: int, hosted: list[tuple[dict[str, object], str]]
) -> Iterator[_Declared]:
    name = must_be_string(tool.get("name"), f"{where}.name")
    members = tool.get("tools")
    if members is None:
        members = []
    if not isinstance(members, list):
        raise InvalidRequest(
            f"{where}.tools", f"'{where}.tools' must be an array, not {name_of(members)}.", "invalid_type"
        )
    if depth == _DEEPEST:
        raise InvalidRequest(where, f"Namespaces are nested deeper than {_DEEPEST}.")
    description = tool.get("description")
    intro = description if isinstance(description, str) else ""
    inside = name if outer is None else f"{outer}__{name}"
    for one in _walk(members, f"{where}.tools", inside, depth + 1, hosted):
        yield _Declared(one.tool, one.name, one.where, "\n\n".join(filter(None, (intro, one.intro))))
        intro = ""


def _function(one: _Declared, name: str, scope: TranslationContext) -> dict[str, object]:
    own = one.tool.get("description")
    if own is not None and not isinstance(own, str):
        raise InvalidRequest(f"{one.where}.description", "A tool's description must be a string.", "invalid_type")
    description = "\n\n".join(filter(None, (one.intro, own)))
    if one.name.kind is ToolKind.CUSTOM:
        return _custom(one, name, description)
    function: dict[str, object] = {"name": name}
    if description or own is not None:
        function["description"] = description
    function["parameters"] = _parameters(one.tool.get("parameters"), f"{one.where}.parameters")
    strict = one.tool.get("strict")
    if isinstance(strict, bool):
        function["strict"] = strict
    elif strict is not None:
        raise InvalidRequest(f"{one.where}.strict", "A tool's 'strict' must be a boolean.", "invalid_type")
    for member in one.tool.keys() - _FUNCTION_MEMBERS:
        scope.drop(f"{one.where}.{member}")
    return function


def _parameters(parameters: object, where: str) -> dict[str, object]:
    """Null and ``{}`` become the schema of an object without members: some providers refuse anything less."""
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise InvalidRequest(
            where, f"A tool's parameters must be a JSON schema, not {name_of(parameters)}.", "invalid_type"
        )
    return object_schema(parameters)


def _custom(one: _Declared, name: str, description: str) -> dict[str, object]:
    """A tool that takes free text is a function with one string; its grammar can only be described."""
    grammar = _grammar(one.tool.get("format"))
    about = "The tool's whole input as raw text, not wrapped in JSON or a code fence."
    schema: dict[str, object] = {
        "type": "object",
        "properties": {CUSTOM_INPUT: {"type": "string", "description": about}},
        "required": [CUSTOM_INPUT],
        "additionalProperties": False,
    }
    return {"name": name, "description": "\n\n".join(filter(None, (description, grammar))), "parameters": schema}


def _grammar(form: object) -> str:
    if not isinstance(form, dict) or form.get("type") != "grammar":
        return ""
    inner = form.get("grammar")
    source = inner if isinstance(inner, dict) else form
    return f"The input must match this {source.get('syntax')} grammar:\n{source.get('definition')}"


def _place_hosted(tool: dict[str, object], where: str, offer: ToolSet, scope: TranslationContext) -> None:
    policy = scope.policy.hosted_tools
    kind = str(tool["type"])
    if policy is HostedTools.PASS:
        offer.passed.append(tool)
    elif policy is HostedTools.DROP or (policy is HostedTools.BESIDE and offer.functions):
        offer.left_out.add(kind)
        scope.drop(f"tools[].{kind}")
    else:
        raise InvalidRequest(
            f"{where}.type", f"Tools of type {kind!r} are not available for this model.", "unsupported_tool"
        )
