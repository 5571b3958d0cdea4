"""Writes the conversation as chat messages, for strict templates: system messages first, outputs directly after
calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import orjson

from onwards_py.transcode.chat.reasoning import replayed
from onwards_py.transcode.chat.write_content import join_text_parts, split_media, write_parts
from onwards_py.transcode.neutral.content import Part, Written, WrittenPart
from onwards_py.transcode.neutral.names import CallIds
from onwards_py.transcode.neutral.policy import NO_OUTPUT, InvalidRequest, TranslationContext, Unanswered
from onwards_py.transcode.neutral.quirks import EmptyContent, System, ToolImages
from onwards_py.transcode.neutral.request import Call, Step
from onwards_py.transcode.neutral.turns import Conversation, Joined, Turn

CUSTOM_INPUT = "input"
"""The only parameter of a function that represents a custom tool."""

_ELSEWHERE = "The output is in the next message."
_SYSTEM = ("system", "developer")


class ChatMessage(TypedDict, total=False):
    """A message of a request; earlier reasoning adds fields of its own."""

    role: str
    content: Written | None
    refusal: str
    phase: str
    tool_calls: list[dict[str, object]]
    tool_call_id: str


def write_messages(
    steps: Iterable[Step], path: str, instructions: str, call_ids: CallIds, context: TranslationContext
) -> list[ChatMessage]:
    """The chat request's ``messages``. ``path``: that of the client's. Raises InvalidRequest."""

    def write(parts: Iterable[Part]) -> list[WrittenPart]:
        return write_parts(parts, context)

    conversation = Conversation(path, context, write)
    conversation.read(steps)
    turns = conversation.turns
    if instructions:
        turns = [Turn("system", instructions), *turns]
    reasoning: dict[int, dict[str, object]] = {}
    if conversation.directed or conversation.reasoned:
        full = [Turn("user", turn) if isinstance(turn, str) else turn for turn in turns]
        if conversation.directed:
            full = _place_system(full, context)
        if conversation.reasoned:
            reasoning = replayed(full, path, context)
        turns = [*full]
    messages = _Messages(call_ids, context)
    for index, turn in enumerate(turns):
        if type(turn) is str and not (messages and messages[-1]["role"] == "user"):
            messages.append({"role": "user", "content": turn})
        elif isinstance(turn, str):
            messages.add("user", turn)
        elif turn.role == "assistant":
            messages.add_assistant(turn, reasoning.get(index))
        else:
            messages.add(turn.role, turn.content)
    return messages.whole()


class _Messages(list[ChatMessage]):
    """The messages so far. Content to be joined to a user message is kept separately until the message is complete."""

    def __init__(self, call_ids: CallIds, context: TranslationContext) -> None:
        super().__init__()
        self._call_ids = call_ids
        self._context = context
        self._joined: dict[int, Joined] = {}

    def add(self, role: str, content: Written) -> None:
        """Add a user or system message. It is joined to a preceding user message if roles must alternate."""
        if type(content) is not str:
            content = join_text_parts(content, self._context)
        if role != "user" or not self or not self._context.quirks.merge_roles or self[-1]["role"] != "user":
            self.append({"role": role, "content": content})
        elif (joined := self._joined.get(len(self))) is not None:
            joined.add(content)
        else:
            self._joined[len(self)] = Joined(self[-1]["content"] or "", content)

    def whole(self) -> list[ChatMessage]:
        """All messages, with joined content."""
        for size, joined in self._joined.items():
            self[size - 1]["content"] = join_text_parts(joined.content(), self._context)
        return [*self]

    def add_assistant(self, turn: Turn, reasoning: dict[str, object] | None) -> None:
        """Add an assistant message, followed by the outputs of its calls. Raises InvalidRequest."""
        context = self._context
        content = turn.whole
        if type(content) is not str:
            content = join_text_parts(content, context)
        calls = turn.calls
        if calls is None and content and reasoning is None and not (turn.refusal or turn.phase):
            self.append({"role": "assistant", "content": content})
            return
        if turn.waiting:
            calls = [call for call in calls or () if call.output is not None or _is_kept(call, context)]
        if not (content or turn.refusal or calls or reasoning):
            return  # strict providers reject an empty message
        message: ChatMessage = {"role": "assistant", "content": content}
        if turn.refusal:
            message["refusal"] = turn.refusal
        if turn.phase:
            message["phase"] = turn.phase
        if not content and (calls or turn.refusal):
            _set_empty_content(message, context)
        if reasoning:
            message.update(reasoning)  # type: ignore[typeddict-item]
        self.append(message)
        if calls:
            message["tool_calls"] = self._tool_calls(calls)
            self._add_outputs(calls)

    def _tool_calls(self, calls: list[Call]) -> list[dict[str, object]]:
        quirks = self._context.quirks
        if quirks.call_placeholder is not None and not any(call.extra for call in calls):
            calls[0].extra = dict(quirks.call_placeholder)  # the provider requires it on the first call of a step
        made: list[dict[str, object]] = []
        for call in calls:
            arguments = _arguments(call, quirks.arguments_as_object)
            one: dict[str, object] = {
                "id": self._call_ids.shortened(call.call_id),
                "type": "function",
                "function": {"name": call.name, "arguments": arguments},
            }
            if quirks.call_extras and call.extra is not None:
                one["extra_content"] = dict(call.extra)
            made.append(one)
        return made

    def _add_outputs(self, calls: list[Call]) -> None:
        """Add tool messages in the order of the calls, then a message with content that tool messages cannot have."""
        context = self._context
        behind: list[WrittenPart] = []
        for call in calls:
            call_id = self._call_ids.shortened(call.call_id)
            output = call.output or ""
            if isinstance(output, str):
                self.append({"role": "tool", "tool_call_id": call_id, "content": output})
                continue
            text, media = split_media(output)
            content: Written = text
            if media and context.quirks.tool_images is ToolImages.INLINE:
                content = output
            elif media and context.quirks.tool_images is ToolImages.PLACEHOLDER:
                context.drop(f"{call.where}.output")
                note = f"[{len(media)} attachment(s) that cannot be shown]"
                content = f"{text}\n{note}" if text else note
            elif media:
                content = text or _ELSEWHERE
                behind += [{"type": "text", "text": f"Output of tool call {call_id} ({call.name}):"}, *media]
            self.append({"role": "tool", "tool_call_id": call_id, "content": join_text_parts(content, context)})
        if behind:
            self.add("user", behind)


def _place_system(turns: list[Turn], context: TranslationContext) -> list[Turn]:
    """The turns with roles and positions of system messages as the provider requires."""
    quirks = context.quirks
    if not quirks.developer_role:
        for turn in turns:
            turn.role = "system" if turn.role == "developer" else turn.role
    if quirks.system is System.KEEP:
        return turns
    start = next((index for index, turn in enumerate(turns) if turn.role not in _SYSTEM), len(turns))
    leading, rest = turns[:start], turns[start:]
    if quirks.system is System.HOIST and (later := [turn for turn in rest if turn.role in _SYSTEM]):
        leading = leading + later
        rest = [turn for turn in rest if turn.role not in _SYSTEM]
        if quirks.merge_roles:
            rest = _join_assistants(rest)
    if not leading:
        return rest
    merged = Joined(*(join_text_parts(turn.content, context) for turn in leading))
    return [Turn(leading[0].role, merged.content()), *rest]


def _join_assistants(turns: list[Turn]) -> list[Turn]:
    """Join assistant turns that became adjacent when a system message was moved, unless an output is between them."""
    joined: list[Turn] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if last is None or last.role != "assistant" or turn.role != "assistant" or last.calls:
            joined.append(turn)
            continue
        last.add(turn.whole)
        last.refusal = "\n\n".join(filter(None, (last.refusal, turn.refusal)))
        last.calls, last.waiting = turn.calls, turn.waiting
        if turn.reasoning:
            last.take(turn.reasoning)
    return joined


def _is_kept(call: Call, context: TranslationContext) -> bool:
    """Whether a call without an output is kept. Providers reject such calls, so it then gets a placeholder output."""
    policy = context.policy.unanswered
    if policy is Unanswered.REJECT:
        raise InvalidRequest(f"{call.where}.call_id", "No output found for this tool call.")
    if policy is Unanswered.DROP:
        context.drop(call.where)
        return False
    call.output = NO_OUTPUT
    return True


def _set_empty_content(message: ChatMessage, context: TranslationContext) -> None:
    quirk = context.quirks.empty_content
    if quirk is EmptyContent.OMIT:
        del message["content"]
    else:
        message["content"] = "" if quirk is EmptyContent.EMPTY else None


def _arguments(call: Call, as_object: bool) -> str:
    """A call's arguments in a form that the provider accepts. Invalid ones would make every later request fail."""
    arguments = call.arguments
    if call.custom:
        return orjson.dumps({CUSTOM_INPUT: arguments}).decode()
    if not arguments:
        return "{}"
    if not as_object:
        return arguments
    try:
        fits = type(orjson.loads(arguments)) is dict
    except orjson.JSONDecodeError:
        fits = False
    return arguments if fits else orjson.dumps({"arguments": arguments}).decode()
