"""Which tools may, must and must not be called: ``tool_choice`` in all its forms, and what answers are held to."""

from __future__ import annotations

from dataclasses import dataclass

from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, must_be_string, name_of
from onwards_py.transcode.neutral.quirks import AllowedTools
from onwards_py.transcode.responses.read_tools import ToolSet
from onwards_py.transcode.responses.tool_search import NAME as SEARCH

_MODES = ("none", "auto", "required")
_CALLABLE = ("function", "custom")


@dataclass(frozen=True, slots=True)
class Choice:
    """``value`` is the chat request's ``tool_choice`` (None: send none), ``tools`` its tools.

    ``allowed``: chat names that may be called; None: any. ``forced``: the answer has to be a call.
    ``echo``: the choice as the response repeats it.
    """

    value: object
    tools: list[dict[str, object]]
    echo: object
    allowed: frozenset[str] | None = None
    forced: bool = False


def read_choice(choice: object, offer: ToolSet, scope: TranslationContext) -> Choice:
    """What ``choice`` means for these tools. Raises InvalidRequest."""
    if choice is None:
        return Choice(None, offer.chat, "auto")
    if isinstance(choice, str):
        return _mode(choice, offer, scope)
    if not isinstance(choice, dict):
        raise InvalidRequest(
            "tool_choice", f"'tool_choice' must be a string or an object, not {name_of(choice)}.", "invalid_type"
        )
    kind = must_be_string(choice.get("type"), "tool_choice.type")
    if kind in _MODES:  # a mode in the form of an object, as some clients write it
        return _mode(kind, offer, scope)
    if kind == SEARCH and offer.names.find(SEARCH, None) is not None:
        return Choice(_function(SEARCH), offer.chat, choice, frozenset({SEARCH}), forced=True)
    if kind == "allowed_tools":
        return _allowed(choice, offer, scope)
    if kind in _CALLABLE:
        name = _named(choice, "tool_choice", offer)
        return Choice(_function(name), offer.chat, _echo(choice, kind), frozenset({name}), forced=True)
    if any(tool.get("type") == kind for tool in offer.passed):
        return Choice(choice, offer.chat, choice, forced=True)
    if kind not in offer.left_out:
        raise InvalidRequest("tool_choice", f"'tool_choice' names a tool that is not offered: {kind!r}.")
    scope.unsupported("tool_choice", f"Tools of type {kind!r} are not available for this model.")
    return Choice("auto", offer.chat, "auto")


def _mode(mode: str, offer: ToolSet, scope: TranslationContext) -> Choice:
    if mode not in _MODES:
        raise InvalidRequest("tool_choice", f"'tool_choice' must be one of {', '.join(_MODES)} or an object.")
    if not offer.chat:  # providers refuse a choice among nothing
        if mode == "required":
            raise InvalidRequest("tool_choice", "'tool_choice' is 'required', but there are no tools.")
        return Choice(None, [], mode, frozenset())
    if mode == "none":
        return Choice("none", offer.chat, mode, frozenset())
    return Choice(_said(mode, scope), offer.chat, mode, forced=mode == "required")


def _allowed(choice: dict[str, object], offer: ToolSet, scope: TranslationContext) -> Choice:
    """A hard constraint: whatever the provider makes of it, the answer is checked against the same names."""
    inner = choice.get("allowed_tools")
    source = inner if isinstance(inner, dict) else choice  # as chat completions nests it
    entries, mode = source.get("tools"), source.get("mode")
    mode = "auto" if mode is None else mode
    if mode not in _MODES:
        raise InvalidRequest("tool_choice.mode", f"'tool_choice.mode' must be one of {', '.join(_MODES)}.")
    if not isinstance(entries, list) or not entries:
        raise InvalidRequest("tool_choice.tools", "'tool_choice.tools' must be an array with at least one tool.")
    names: dict[str, None] = {}
    echoes: list[object] = []
    for index, entry in enumerate(entries):
        where = f"tool_choice.tools[{index}]"
        if not isinstance(entry, dict):
            raise InvalidRequest(where, f"An allowed tool must be an object, not {name_of(entry)}.", "invalid_type")
        kind = must_be_string(entry.get("type"), f"{where}.type")
        if kind in _CALLABLE:
            names[_named(entry, where, offer)] = None
            echoes.append(_echo(entry, kind))
        elif kind not in offer.left_out:
            raise InvalidRequest(where, f"'{where}' names a tool that is not offered: {kind!r}.")
        else:
            scope.unsupported(where, f"Tools of type {kind!r} are not available for this model.")
    echo = {"type": "allowed_tools", "tools": echoes, "mode": mode}
    return _constrain(list(names), str(mode), echo, offer, scope)


def _constrain(names: list[str], mode: str, echo: object, offer: ToolSet, scope: TranslationContext) -> Choice:
    allowed = frozenset(names) if mode != "none" else frozenset()
    forced = mode == "required"
    if not names:
        if forced:
            raise InvalidRequest("tool_choice", "'tool_choice' requires a call, but none of its tools is available.")
        return Choice("none" if offer.chat else None, offer.chat, "none", allowed)
    if scope.quirks.allowed_tools is AllowedTools.NATIVE and mode != "none":
        native = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(map(_function, names))}}
        return Choice(native, offer.chat, echo, allowed, forced)
    subset = [offer.functions[name] for name in names]
    value = _function(names[0]) if forced and len(names) == 1 else _said(mode, scope)
    return Choice(value, subset, echo, allowed, forced)


def _named(entry: dict[str, object], where: str, offer: ToolSet) -> str:
    inner = entry.get(str(entry.get("type")))
    source = inner if isinstance(inner, dict) else entry
    name = must_be_string(source.get("name"), f"{where}.name")
    namespace = source.get("namespace")
    found = offer.names.find(name, namespace if isinstance(namespace, str) else None)
    if found is None:
        raise InvalidRequest(where, f"'{where}' names a tool that is not offered: {name!r}.")
    return found


def _echo(entry: dict[str, object], kind: str) -> dict[str, object]:
    inner = entry.get(kind)
    source = inner if isinstance(inner, dict) else entry
    echo: dict[str, object] = {"type": kind, "name": source.get("name")}
    if isinstance(source.get("namespace"), str):
        echo["namespace"] = source["namespace"]
    return echo


def _function(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name}}


def _said(mode: str, scope: TranslationContext) -> str:
    return scope.quirks.tool_choice_required if mode == "required" else mode
