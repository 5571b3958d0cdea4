"""Reads a Responses request into a neutral request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from onwards_py.transcode.neutral.policy import (
    InvalidRequest,
    TranslationContext,
    check_count,
    must_be_string,
    wrong_type,
)
from onwards_py.transcode.neutral.request import Request
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.read_fields import (
    check_server_side,
    check_types,
    include_of,
    read_fields,
    read_format,
)
from onwards_py.transcode.responses.read_items import ItemReader
from onwards_py.transcode.responses.read_tools import read_choice, read_tools
from onwards_py.transcode.responses.request_echo import choose_profile, make_echo
from onwards_py.transcode.responses.tool_search import OUTPUT


def read_request(given: Mapping[str, object], context: TranslationContext) -> tuple[Request, ResponsesContext]:
    """Read a request (parsed JSON). Also returns the facts of the request that the answer needs.

    Raises InvalidRequest with the path of the part that is invalid or not supported.
    """
    model = must_be_string(given.get("model"), "model")
    check_types(given)
    check_server_side(given, context)
    offered = chain([(given.get("tools"), "tools")], _tool_lists(given, "additional_tools"))
    tools = read_tools(offered, context, _tool_lists(given, OUTPUT))
    choice = read_choice(given.get("tool_choice"), tools, context)
    form = read_format(given, context)
    previous = given.get("previous_response_id")
    if previous:
        message = f"Previous response with id {previous!r} not found."
        raise InvalidRequest("previous_response_id", message, "previous_response_not_found")
    items = _items(given.get("input"))
    check_count(items, context.policy.max_items, "input", "items")
    request = Request(
        model=model,
        path="input",
        steps=ItemReader(tools.names, context).read_all(items),
        instructions=str(given.get("instructions") or ""),
        tools=tools,
        choice=choice.choice,
        format=form.format,
    )
    include = include_of(given)
    read_fields(given, include, request)
    policy = context.policy
    profile = policy.profile or choose_profile(given)
    options = given.get("stream_options")
    return request, ResponsesContext(
        quirks=context.quirks,
        tools=tools.names.by_flat_name,
        allowed=choice.choice.allowed(bool(tools.tools)),
        one_call=request.parallel_calls is False,
        call_ids=request.call_ids,
        wants_stream=request.stream,
        request_echo=make_echo(given, tools, choice.echo, form.echo, profile=profile, stores=policy.stores),
        profile=profile,
        include=include,
        obfuscation=isinstance(options, dict) and options.get("include_obfuscation") is True,
        summary=_summary(given.get("reasoning")),
        phased=policy.phased or _phased(given),
        sealer=policy.sealer,
        origin=policy.origin,
    )


def _phased(given: Mapping[str, object]) -> bool:
    """Whether the client supports phases: the request has Codex's own field, or a message with a phase."""
    items = given.get("input")
    returned = any(isinstance(one, dict) and one.get("phase") for one in (items if isinstance(items, list) else ()))
    return "client_metadata" in given or returned


def _tool_lists(given: Mapping[str, object], kind: str) -> Iterator[tuple[object, str]]:
    """The lists of tools in items of this ``kind``, with their paths."""
    items = given.get("input")
    for index, item in enumerate(items if isinstance(items, list) else (items,)):
        if isinstance(item, dict) and "tools" in item and item.get("type") == kind:
            yield item["tools"], f"input[{index}].tools"


def _items(given: object) -> list[object]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if given is None:
        return []
    if isinstance(given, dict):  # a single item without an array
        return [given]
    if not isinstance(given, list):
        raise wrong_type("input", "a string or an array", given)
    return given


def _summary(reasoning: object) -> str | None:
    if not isinstance(reasoning, dict):
        return None
    summary = reasoning.get("summary", reasoning.get("generate_summary"))
    return summary if isinstance(summary, str) else None
