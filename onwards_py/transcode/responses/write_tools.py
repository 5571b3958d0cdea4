"""Tools, the choice among them and the format of the answer as Responses has them, where no member is nested."""

from __future__ import annotations

from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.request import ChosenTool, OutputFormat, Tool, ToolChoice
from onwards_py.transcode.neutral.request_checks import object_schema

Json = dict[str, object]


def write_tool(tool: Tool) -> Json:
    """One entry of ``tools``; ``strict`` is always sent: left out it means false to chat, and true to Responses."""
    if tool.kind is None:
        return dict(tool.members)
    flat: Json = {**tool.members, "type": "custom" if tool.kind is ToolKind.CUSTOM else "function", "name": tool.name}
    if tool.kind is not ToolKind.CUSTOM:
        parameters = tool.members.get("parameters")
        flat["parameters"] = object_schema(parameters if isinstance(parameters, dict) else {})
        flat["strict"] = bool(tool.members.get("strict"))
    return flat


def write_choice(choice: ToolChoice) -> object:
    """``tool_choice``; None: send none."""
    if choice.only is None:
        return choice.mode
    if choice.by_name:
        return _reference(choice.only[0])
    return {"type": "allowed_tools", "mode": choice.mode, "tools": list(map(_reference, choice.only))}


def write_format(form: OutputFormat) -> Json:
    """``text.format``."""
    return {"name": "response", **form.members, "type": form.kind} if form.members else {"type": form.kind}


def _reference(tool: ChosenTool) -> Json:
    return dict(tool.members) if tool.members is not None else {"type": tool.kind, "name": tool.name}
