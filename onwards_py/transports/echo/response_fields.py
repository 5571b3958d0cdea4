"""The members of a Response object that repeat the request.

Source: the Open Responses schema of 2026-04-24, ``ResponseResource``. It is narrower than the
request's schema: hosted tools and JSON schemas are
omitted here and unknown efforts replaced, so that a strict client can read every response.
"""

from __future__ import annotations

import orjson

from onwards_py.transports.echo.answers import EchoError
from onwards_py.transports.echo.params import JsonObject, as_list, as_object, flag, integer, number, one_of, text

_EFFORTS = {
    "none": "none",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}
_SUMMARIES = ("concise", "detailed", "auto")
_VERBOSITIES = ("low", "medium", "high")
_CHOICES = ("none", "auto", "required")


def echoed(body: JsonObject) -> JsonObject:
    """Every required member that does not depend on the answer. Raises EchoError for wrong values."""
    tier = one_of(body, "service_tier", ("auto", "default", "flex", "priority"), "auto")
    return {
        "previous_response_id": text(body, "previous_response_id"),
        "instructions": text(body, "instructions"),
        "tools": _frozen([_tool(tool) for tool in as_list(body.get("tools")) if _is_function(tool)], "tools"),
        "tool_choice": _tool_choice(body.get("tool_choice")),
        "truncation": one_of(body, "truncation", ("auto", "disabled"), "disabled"),
        "parallel_tool_calls": flag(body, "parallel_tool_calls", True),
        "text": _text_settings(as_object(body.get("text"))),
        "top_p": number(body, "top_p", 1.0),
        "presence_penalty": number(body, "presence_penalty", 0.0),
        "frequency_penalty": number(body, "frequency_penalty", 0.0),
        "top_logprobs": integer(body, "top_logprobs", 0, 20) or 0,
        "temperature": number(body, "temperature", 1.0),
        "reasoning": _reasoning(body.get("reasoning")),
        "max_output_tokens": integer(body, "max_output_tokens", 1),
        "max_tool_calls": integer(body, "max_tool_calls", 1),
        "store": flag(body, "store", True),
        "background": False,  # the echo has no background responses
        "service_tier": "default" if tier == "auto" else tier,
        "metadata": _frozen(as_object(body.get("metadata")), "metadata"),
        "safety_identifier": text(body, "safety_identifier"),
        "prompt_cache_key": text(body, "prompt_cache_key"),
    }


def _frozen(value: object, name: str) -> orjson.Fragment:
    """Encode foreign JSON once; the parser accepts deeper nesting than the encoder."""
    try:
        return orjson.Fragment(orjson.dumps(value))
    except orjson.JSONEncodeError:
        raise EchoError(f"'{name}' is nested too deeply.", param=name) from None


def _is_function(tool: object) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "function" and isinstance(tool.get("name"), str)


def _tool(value: object) -> JsonObject:
    tool = as_object(value)
    description, parameters, strict = tool.get("description"), tool.get("parameters"), tool.get("strict")
    return {
        "type": "function",
        "name": tool["name"],
        "description": description if isinstance(description, str) else None,
        "parameters": parameters if isinstance(parameters, dict) else None,
        "strict": strict if isinstance(strict, bool) else None,
    }


def _tool_choice(value: object) -> object:
    if isinstance(value, str) and value in _CHOICES:
        return value
    choice = as_object(value)
    if _is_function(choice):
        return _function_choice(choice)
    if choice.get("type") == "allowed_tools":
        tools = [_function_choice(as_object(tool)) for tool in as_list(choice.get("tools")) if _is_function(tool)]
        return {"type": "allowed_tools", "tools": tools, "mode": _known(choice.get("mode"), _CHOICES) or "auto"}
    return "auto"


def _function_choice(choice: JsonObject) -> JsonObject:
    return {"type": "function", "name": choice["name"]}


def _text_settings(settings: JsonObject) -> JsonObject:
    answer: JsonObject = {"format": _text_format(as_object(settings.get("format")))}
    verbosity = _known(settings.get("verbosity"), _VERBOSITIES)
    if verbosity is not None:  # null is not allowed here
        answer["verbosity"] = verbosity
    return answer


def _text_format(wanted: JsonObject) -> JsonObject:
    if wanted.get("type") == "json_object":
        return {"type": "json_object"}
    if wanted.get("type") != "json_schema":
        return {"type": "text"}
    name, description = wanted.get("name"), wanted.get("description")
    return {
        "type": "json_schema",
        "name": name if isinstance(name, str) else "",
        "description": description if isinstance(description, str) else None,
        "schema": None,  # the published schema of the reply allows nothing else
        "strict": wanted.get("strict") is True,
    }


def _reasoning(value: object) -> JsonObject | None:
    if not isinstance(value, dict):
        return None
    effort = value.get("effort")
    return {
        "effort": _EFFORTS.get(effort) if isinstance(effort, str) else None,
        "summary": _known(value.get("summary"), _SUMMARIES),
    }


def _known(value: object, allowed: tuple[str, ...]) -> str | None:
    return value if isinstance(value, str) and value in allowed else None
