"""The members of a response that repeat its request, valid by the specification's schema for every request."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.policy import nested
from onwards_py.transcode.neutral.request import ToolSet

_EFFORTS = ("none", "low", "medium", "high", "xhigh")
_NEAREST_EFFORT = {"minimal": "low", "max": "xhigh"}
_SUMMARIES = ("auto", "concise", "detailed")
_VERBOSITIES = ("low", "medium", "high")
_SECRETS = ("headers", "authorization")

_DEFAULTS: Mapping[str, object] = {
    "previous_response_id": None,
    "instructions": None,
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "safety_identifier": None,
    "prompt_cache_key": None,
}


def choose_profile(request: Mapping[str, object]) -> Profile:
    """The schema that a request was written for: OpenAI's if it contains tools other than functions."""
    tools = request.get("tools")
    kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return Profile.OPENRESPONSES if all(kind == "function" for kind in kinds) else Profile.OPENAI


def make_echo(
    request: Mapping[str, object],
    offered: ToolSet,
    choice: object,
    form: Mapping[str, object],
    *,
    profile: Profile,
    stores: bool,
) -> dict[str, object]:
    """The 22 members. ``request`` has passed `check_types`; ``choice`` and ``form`` are already in the form to
    repeat."""
    echo: dict[str, object] = {"model": request.get("model")}
    for name, default in _DEFAULTS.items():
        value = request.get(name)
        echo[name] = default if value is None else value
    echo["tools"] = _tools(request.get("tools"), offered, profile)
    echo["tool_choice"] = _choice(choice) if profile is Profile.OPENRESPONSES else choice
    echo["text"] = _text(request.get("text"), form, profile)
    echo["reasoning"] = _reasoning(request.get("reasoning"), profile)
    echo["store"] = stores and request.get("store") is not False
    echo["background"] = False
    tier = request.get("service_tier")
    echo["service_tier"] = "default" if tier in (None, "auto") else tier
    echo["metadata"] = request.get("metadata") or {}
    return echo


def _tools(tools: object, offered: ToolSet, profile: Profile) -> list[object]:
    """The tools that the model was offered: functions in full; other kinds have no place in the specification's schema.

    Secrets of tools that a server runs are not repeated.
    """
    if not isinstance(tools, list):
        return []
    echo: list[object] = []
    for tool in tools:
        if not isinstance(tool, dict):
            continue
        if tool.get("type") == "function":
            source = nested(tool, "function")
            members = ("name", "description", "parameters", "strict")
            echo.append({"type": "function", **{member: source.get(member) for member in members}})
        elif profile is Profile.OPENAI and tool.get("type") not in offered.left_out:
            echo.append({member: value for member, value in tool.items() if member not in _SECRETS})
    return echo


def _choice(choice: object) -> object:
    """The repeated ``tool_choice``. The specification allows only functions, by name."""
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "allowed_tools":
        return {**choice, "tools": [_choice({**tool, "type": "function"}) for tool in choice["tools"]]}
    if choice.get("type") not in ("function", "custom"):
        return "required"
    return {"type": "function", "name": choice["name"]}


def _text(text: object, form: Mapping[str, object], profile: Profile) -> dict[str, object]:
    shown = dict(form)
    if profile is Profile.OPENRESPONSES and "schema" in shown:
        shown["schema"] = None  # the only value that the specification's schema allows
    echo: dict[str, object] = {"format": shown}
    verbosity = text.get("verbosity") if isinstance(text, dict) else None
    if verbosity in _VERBOSITIES or (profile is Profile.OPENAI and verbosity is not None):
        echo["verbosity"] = verbosity
    return echo


def _reasoning(reasoning: object, profile: Profile) -> dict[str, object] | None:
    """Null, or both members. In the specification's profile, the effort is the nearest one that it lists."""
    if not isinstance(reasoning, dict):
        return None
    effort, summary = reasoning.get("effort"), reasoning.get("summary", reasoning.get("generate_summary"))
    if profile is Profile.OPENRESPONSES:
        if isinstance(effort, str):
            effort = _NEAREST_EFFORT.get(effort, effort)
        effort = effort if effort in _EFFORTS else None
        summary = summary if summary in _SUMMARIES else None
    return {"effort": effort, "summary": summary}
