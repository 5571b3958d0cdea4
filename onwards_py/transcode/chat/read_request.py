"""Reads a Chat Completions request into a neutral request."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.chat.read_fields import check_types, read_fields
from onwards_py.transcode.chat.read_messages import MessageReader
from onwards_py.transcode.chat.read_tools import read_choice, read_tools
from onwards_py.transcode.neutral.policy import (
    InvalidRequest,
    TranslationContext,
    check_count,
    must_be_string,
    wrong_type,
)
from onwards_py.transcode.neutral.request import Request, ToolSet


def read_request(given: Mapping[str, object], context: TranslationContext) -> tuple[Request, ChatContext]:
    """Read a request (parsed JSON). Also returns the facts of the request that the answer needs.

    Raises InvalidRequest with the path of the part that is invalid or not supported.
    """
    model = must_be_string(given.get("model"), "model")
    check_types(given, context)
    steps = MessageReader(_messages(given, context), context).read_all()
    tools = read_tools(given, context)
    legacy = bool(given.get("functions")) and not given.get("tools")
    request = Request(
        model=model,
        path="messages",
        steps=steps,
        tools=ToolSet(tools),
        choice=read_choice(given, tools),
        # The old functions allow only one call at a time, because an answer cannot express a second one.
        parallel_calls=False if legacy else given.get("parallel_tool_calls"),
    )
    read_fields(given, request, context)
    return request, ChatContext(
        model=model,
        quirks=context.quirks,
        wants_stream=request.stream,
        wants_usage_chunk=request.stream_options.get("include_usage") is True,
        wants_logprobs=request.logprobs is not None,
        legacy_functions=legacy,
    )


def _messages(given: Mapping[str, object], context: TranslationContext) -> list[object]:
    messages = given.get("messages")
    if messages is None:
        raise InvalidRequest("messages", "'messages' must be an array, not null.", "missing_required_parameter")
    if not isinstance(messages, list):
        raise wrong_type("messages", "an array", messages)
    if not messages:
        message = "There is nothing to answer: give 'messages'."
        raise InvalidRequest("messages", message, "missing_required_parameter")
    check_count(messages, context.policy.max_items, "messages", "messages")
    return messages
