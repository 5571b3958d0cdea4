"""The tool search that a client runs (Codex): the provider sees a function, the client sees items of the type search.

Found tools are offered in all later requests like other tools, because Chat Completions has no other way to add a tool.
A tool search that a server runs is treated like other hosted tools.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from onwards_py.transcode.neutral.names import ToolNames

NAME = "tool_search"
CALL = "tool_search_call"
OUTPUT = "tool_search_output"

_QUERY: dict[str, object] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What the tool should be able to do."}},
    "required": ["query"],
}


def is_client_side(tool: dict[str, object]) -> bool:
    """Whether the client runs this search. By default, the server runs it."""
    return tool.get("type") == NAME and tool.get("execution") == "client"


def as_function(tool: dict[str, object]) -> dict[str, object]:
    """The declaration as a function."""
    given = tool.get("description")
    return {
        "type": NAME,
        "name": NAME,
        "description": "Search for tools that are not listed yet." if given is None else given,
        "parameters": tool.get("parameters") or _QUERY,
    }


def call_item(id_: str, call_id: str, arguments: str, status: str) -> dict[str, object]:
    """The item of a call; its arguments are a JSON object, not a string."""
    return {
        "type": CALL,
        "id": id_,
        "call_id": call_id,
        "execution": "client",
        "status": status,
        "arguments": _arguments(arguments),
    }


def found_text(tools: object, names: ToolNames) -> str:
    """The result of a search for the model: the names of the tools that were found, and their descriptions."""
    found = list(_found(tools, None, names)) if isinstance(tools, list) else []
    return orjson.dumps({"tools": found}).decode()


def _arguments(text: str) -> dict[str, object]:
    """The arguments. Text that is not a JSON object becomes the query, because some models send only the query."""
    if not text.strip():
        return {}
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"query": text}
    return value if isinstance(value, dict) else {"query": value if isinstance(value, str) else text}


def _found(tools: list[object], namespace: str | None, names: ToolNames) -> Iterator[dict[str, object]]:
    for tool in tools:
        if not isinstance(tool, dict) or not isinstance(name := tool.get("name"), str) or not name:
            continue
        members = tool.get("tools")
        if tool.get("type") == "namespace" and isinstance(members, list):
            yield from _found(members, name if namespace is None else f"{namespace}__{name}", names)
        elif tool.get("type") in ("function", "custom"):
            entry: dict[str, object] = {"name": names.flat_name(name, namespace)}
            if isinstance(tool.get("description"), str):
                entry["description"] = tool["description"]
            yield entry
