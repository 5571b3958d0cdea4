"""A Chat Completions request to a Responses request: the one entrance of the request side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onwards_py.transcode.chat.context import Context
from onwards_py.transcode.chat.read_fields import add_extras, check_supported, check_types, plain_fields
from onwards_py.transcode.chat.read_messages import ItemMaker
from onwards_py.transcode.chat.read_tools import read_choice, read_tools
from onwards_py.transcode.neutral.policy import InvalidRequest, Policy, TranslationContext, must_be_string, name_of
from onwards_py.transcode.neutral.quirks import Quirks, Replay

Request = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Translated:
    """``responses``: the provider's request. ``context``: what the answer needs.

    ``dropped``: paths that do not reach the provider, without indexes, each once.
    """

    responses: dict[str, object]
    context: Context
    dropped: tuple[str, ...] = ()


def to_responses(request: Request, quirks: Quirks, policy: Policy) -> Translated:
    """Translate a request (parsed JSON). Raises InvalidRequest with the path of what cannot be translated.

    Of ``quirks`` those count that are not about the form of chat: ``system``, ``developer_role``, ``images``,
    ``audio``, ``logprobs``, ``replay``, ``efforts``, ``parallel_tool_calls``, ``drop``, ``extra``,
    ``empty_answer_failed``.
    """
    scope = TranslationContext(quirks, policy)
    model = must_be_string(request.get("model"), "model")
    check_types(request)
    check_supported(request, scope)
    maker = _read(_messages(request, scope), scope)
    made: dict[str, object] = {"model": model}
    if maker.instructions:
        made["instructions"] = maker.instructions
    made["input"] = maker.items
    made.update(plain_fields(request, scope))
    _add_tools(request, made, scope)
    add_extras(request, made, scope)
    options = request.get("stream_options")
    context = Context(
        model=model,
        quirks=quirks,
        wants_stream=request.get("stream") is True,
        wants_usage_chunk=isinstance(options, dict) and options.get("include_usage") is True,
        wants_logprobs=request.get("logprobs") is True,
        legacy_functions=bool(request.get("functions")) and not request.get("tools"),
    )
    return Translated(made, context, tuple(scope.dropped))


def _messages(request: Request, scope: TranslationContext) -> list[object]:
    messages = request.get("messages")
    if not isinstance(messages, list):
        code = "missing_required_parameter" if messages is None else "invalid_type"
        raise InvalidRequest("messages", f"'messages' must be an array, not {name_of(messages)}.", code)
    if not messages:
        raise InvalidRequest("messages", "There is nothing to answer: give 'messages'.", "missing_required_parameter")
    if len(messages) > scope.policy.max_items:
        raise InvalidRequest("messages", f"More than {scope.policy.max_items} messages.", "array_above_max_length")
    return messages


def _read(messages: list[object], scope: TranslationContext) -> ItemMaker:
    replayed: frozenset[int] | None = None

    def replays(index: int) -> bool:
        nonlocal replayed
        if replayed is None:
            replayed = _replayed(messages, scope.quirks.replay)
        return index in replayed

    maker = ItemMaker(scope, replays)
    maker.read_all(messages)
    maker.end()
    return maker


def _replayed(messages: list[object], replay: Replay) -> frozenset[int]:
    """The messages whose reasoning goes back to the provider; a turn ends with a user's message."""
    if replay is Replay.NONE:
        return frozenset()
    turns: list[list[int]] = [[]]
    for index, message in enumerate(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            turns.append([])
        elif isinstance(message, dict):
            turns[-1].append(index)
    if replay is Replay.LAST:
        turns = turns[-1:]
    if replay is Replay.TOOL_TURNS:
        turns = [turn for turn in turns if any(_has_calls(messages[index]) for index in turn)]
    return frozenset(index for turn in turns for index in turn)


def _has_calls(message: object) -> bool:
    return isinstance(message, dict) and bool(message.get("tool_calls") or message.get("function_call"))


def _add_tools(request: Request, made: dict[str, object], scope: TranslationContext) -> None:
    """Tools and what goes only with them: providers refuse a choice, or a word on parallel calls, without tools."""
    tools = read_tools(request, scope)
    choice = read_choice(request, tools)
    if not tools:
        return
    made["tools"] = tools
    if choice is not None:
        made["tool_choice"] = choice
    parallel = request.get("parallel_tool_calls")
    if request.get("functions") and not request.get("tools"):
        parallel = False  # there is no word for a second call
    if parallel is not None and scope.quirks.parallel_tool_calls:
        made["parallel_tool_calls"] = parallel
