"""Writes a neutral request for a provider of Chat Completions."""

from __future__ import annotations

from onwards_py.transcode.chat.write_messages import write_messages
from onwards_py.transcode.chat.write_tools import write_choice, write_format, write_tool
from onwards_py.transcode.neutral.names import CallIds
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext
from onwards_py.transcode.neutral.quirks import Effort, nearest_effort
from onwards_py.transcode.neutral.request import HINTS, PENALTIES, SAMPLING, Member, Request
from onwards_py.transcode.neutral.request_checks import apply_quirks

_OURS = frozenset({"messages", "functions", "function_call", "logprobs"})
"""Chat fields that only this writer sets; they are dropped from the undefined fields of a request."""


def write_request(request: Request, context: TranslationContext) -> dict[str, object]:
    """The provider's request. Raises InvalidRequest."""
    tools = [write_tool(tool, context) for tool in request.tools.tools]
    choice, tools = write_choice(request.choice, tools, context)
    form, prompt = (None, "") if request.format is None else write_format(request.format, context)
    if request.choice.forced:
        prompt = ""  # the answer is a call; held to a format it could not be one
    call_ids = CallIds(context.quirks.short_call_ids, request.call_ids)
    instructions = "\n\n".join(filter(None, (request.instructions, prompt)))
    messages = write_messages(request.steps, request.path, instructions, call_ids, context)
    if not messages:
        message = f"There is nothing to answer: give '{request.path}'."
        raise InvalidRequest(request.path, message, "missing_required_parameter")
    chat: dict[str, object] = {"model": request.model, "messages": messages}
    _add_fields(request, chat, context)
    if tools:  # providers refuse a choice, or a word on parallel calls, without tools
        chat["tools"] = tools
        if choice is not None:
            chat["tool_choice"] = choice
        if request.parallel_calls is not None and context.quirks.parallel_tool_calls:
            chat["parallel_tool_calls"] = request.parallel_calls
    if form is not None and request.format is not None:
        if request.choice.forced:
            context.drop(request.format.where)
        else:
            chat["response_format"] = form
    _add_extra(request, chat, context)
    return chat


def _add_fields(request: Request, chat: dict[str, object], context: TranslationContext) -> None:
    quirks, fields = context.quirks, request.fields
    chat |= {name: fields[name] for name in (*SAMPLING, *PENALTIES) if name in fields}
    if request.max_tokens is not None:
        chat[quirks.max_tokens] = request.max_tokens.value
    if request.logprobs is not None:
        _logprobs(request.logprobs, chat, context)
    if request.effort is not None:
        _effort(request.effort, chat, context)
    if request.stream:
        chat["stream"] = True
        if quirks.stream_usage:
            chat["stream_options"] = {"include_usage": True}
    for name in HINTS:
        if (value := fields.get(name)) is None:
            continue
        if name in quirks.hints:
            chat[name] = value
        elif name != "metadata" and not (name == "service_tier" and value in ("auto", "default")):
            context.drop(name)
    if request.verbosity is not None:
        if "verbosity" in quirks.hints:
            chat["verbosity"] = request.verbosity.value
        else:
            context.drop(request.verbosity.where)


def _logprobs(asked: Member, chat: dict[str, object], context: TranslationContext) -> None:
    if not context.quirks.logprobs:
        context.unsupported(asked.where, "Log probabilities are not available for this model.")
        return
    chat["logprobs"] = True
    if asked.value is not None:
        chat["top_logprobs"] = asked.value


def _effort(asked: Member, chat: dict[str, object], context: TranslationContext) -> None:
    effort = nearest_effort(str(asked.value), context.quirks.efforts)
    match context.quirks.effort:
        case Effort.THINKING_OBJECT if effort == "none":
            chat["thinking"] = {"type": "disabled"}
        case Effort.REASONING_EFFORT | Effort.THINKING_OBJECT:
            chat["reasoning_effort"] = effort
        case Effort.REASONING_OBJECT:
            chat["reasoning"] = {"effort": effort}
        case Effort.TEMPLATE_KWARGS:
            chat["chat_template_kwargs"] = {"enable_thinking": effort != "none", "reasoning_effort": effort}
        case Effort.DROP:
            context.drop(asked.where)


def _add_extra(request: Request, chat: dict[str, object], context: TranslationContext) -> None:
    """Add fields that the client's API does not define, unchanged; fields of this translation take precedence."""
    for name, value in request.extra.items():
        if name in request.own or name in _OURS:
            context.drop(name)
        elif isinstance(value, dict) and isinstance(made := chat.get(name), dict):
            chat[name] = {**made, **value}
        else:
            chat.setdefault(name, value)
    apply_quirks(chat, context)
