"""Turns to chat messages, shaped for strict templates: system first, one message for all calls, outputs behind it."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat.replay_reasoning import replayed
from onwards_py.transcode.chat.shapes import Message, ToolCall
from onwards_py.transcode.neutral.content import Content, Part
from onwards_py.transcode.neutral.policy import InvalidRequest, TranslationContext, Unanswered
from onwards_py.transcode.neutral.quirks import EmptyContent, System, ToolImages
from onwards_py.transcode.neutral.turns import Call, Conversation, Turn
from onwards_py.transcode.responses.read_content import Joined, join, split_media, squeeze

NO_OUTPUT = "No output: the call was interrupted."
_ELSEWHERE = "The output is in the next message."
_SYSTEM = ("system", "developer")


def to_messages(instructions: str, conversation: Conversation, scope: TranslationContext) -> list[Message]:
    """The chat request's ``messages``. Raises InvalidRequest."""
    turns = conversation.turns
    if instructions:
        turns = [Turn("system", instructions), *turns]
    reasoning: dict[int, dict[str, object]] = {}
    if conversation.directed or conversation.reasoned:
        full = [Turn("user", turn) if isinstance(turn, str) else turn for turn in turns]
        if conversation.directed:
            full = _place_system(full, scope)
        if conversation.reasoned:
            reasoning = replayed(full, scope)
        turns = [*full]
    messages = _Messages(scope)
    for index, turn in enumerate(turns):
        if type(turn) is str and not (messages and messages[-1]["role"] == "user"):
            messages.append({"role": "user", "content": turn})
        elif isinstance(turn, str):
            messages.add("user", turn)
        elif turn.role == "assistant":
            _add_assistant(messages, turn, reasoning.get(index), scope)
        else:
            messages.add(turn.role, turn.content)
    return messages.whole()


class _Messages(list[Message]):
    """The messages so far. What joins a message of the user is kept beside it until all are there."""

    def __init__(self, scope: TranslationContext) -> None:
        super().__init__()
        self._scope = scope
        self._joined: dict[int, Joined] = {}

    def add(self, role: str, content: Content) -> None:
        """A user or system message; one that follows another user message joins it where roles have to alternate."""
        if type(content) is not str:
            content = squeeze(content, self._scope)
        if role != "user" or not self or not self._scope.quirks.merge_roles or self[-1]["role"] != "user":
            self.append({"role": role, "content": content})
        elif (joined := self._joined.get(len(self))) is not None:
            joined.add(content)
        else:
            self._joined[len(self)] = Joined(self[-1]["content"] or "", content)

    def whole(self) -> list[Message]:
        """All of them, with what joined them."""
        for size, joined in self._joined.items():
            self[size - 1]["content"] = squeeze(joined.content(), self._scope)
        return [*self]


def _place_system(turns: list[Turn], scope: TranslationContext) -> list[Turn]:
    """Roles and places of system messages as the provider wants them."""
    quirks = scope.quirks
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
    merged = Joined(*(squeeze(turn.content, scope) for turn in leading))
    return [Turn(leading[0].role, merged.content()), *rest]


def _join_assistants(turns: list[Turn]) -> list[Turn]:
    """Assistant turns that became neighbours when a system message left are one, as far as no output stands between."""
    joined: list[Turn] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if last is None or last.role != "assistant" or turn.role != "assistant" or last.calls:
            joined.append(turn)
            continue
        last.add(turn.said)
        last.refusal = "\n\n".join(filter(None, (last.refusal, turn.refusal)))
        last.calls, last.waiting = turn.calls, turn.waiting
        if turn.reasoning:
            last.take(turn.reasoning)
    return joined


def _add_assistant(
    messages: _Messages, turn: Turn, reasoning: dict[str, object] | None, scope: TranslationContext
) -> None:
    content = turn.said
    if type(content) is not str:
        content = squeeze(content, scope)
    calls = turn.calls
    if calls is None and content and reasoning is None and not (turn.refusal or turn.phase):
        messages.append({"role": "assistant", "content": content})
        return
    if turn.waiting:
        calls = [call for call in calls or () if call.output is not None or _stays(call, scope)]
    if not (content or turn.refusal or calls or reasoning):
        return  # an empty message says nothing, and strict providers refuse it
    message: Message = {"role": "assistant", "content": content}
    if turn.refusal:
        message["refusal"] = turn.refusal
    if turn.phase:
        message["phase"] = turn.phase
    if not content and (calls or turn.refusal):
        _set_empty_content(message, scope)
    if reasoning:
        message.update(reasoning)  # type: ignore[typeddict-item]
    messages.append(message)
    if calls:
        if scope.quirks.call_stand_in is not None:
            _add_stand_in(calls, scope.quirks.call_stand_in)
        message["tool_calls"] = [_tool_call(call, scope.quirks.call_extras) for call in calls]
        _add_outputs(messages, calls, scope)


def _stays(call: Call, scope: TranslationContext) -> bool:
    """Whether a call without an output stays; providers refuse those, so an interrupted one gets an output."""
    policy = scope.policy.unanswered
    if policy is Unanswered.REJECT:
        raise InvalidRequest(f"{call.where}.call_id", "No output found for this tool call.")
    if policy is Unanswered.DROP:
        scope.drop(call.where)
        return False
    call.output = NO_OUTPUT
    return True


def _set_empty_content(message: Message, scope: TranslationContext) -> None:
    quirk = scope.quirks.empty_content
    if quirk is EmptyContent.OMIT:
        del message["content"]
    else:
        message["content"] = "" if quirk is EmptyContent.EMPTY else None


def _add_stand_in(calls: list[Call], stand_in: Mapping[str, object]) -> None:
    """Who insists on a signature has a word for calls whose own is lost; the first call of a step needs it."""
    if not any(call.extra for call in calls):
        calls[0].extra = dict(stand_in)


def _tool_call(call: Call, extras: bool) -> ToolCall:
    made: ToolCall = {
        "id": call.chat_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    if extras and call.extra is not None:
        made["extra_content"] = call.extra
    return made


def _add_outputs(messages: _Messages, calls: list[Call], scope: TranslationContext) -> None:
    """Tool messages in the order of the calls, then what they could not hold."""
    behind: list[Part] = []
    for call in calls:
        output = call.output or ""
        if type(output) is str:
            messages.append({"role": "tool", "tool_call_id": call.chat_id, "content": output})
            continue
        text, media = split_media(output)
        content: Content = text
        if media and scope.quirks.tool_images is ToolImages.INLINE:
            content = output
        elif media and scope.quirks.tool_images is ToolImages.PLACEHOLDER:
            scope.drop(f"{call.where}.output")
            content = join(text, f"[{len(media)} attachment(s) that cannot be shown]", "\n")
        elif media:
            content = text or _ELSEWHERE
            behind += [{"type": "text", "text": f"Output of tool call {call.chat_id} ({call.name}):"}, *media]
        messages.append({"role": "tool", "tool_call_id": call.chat_id, "content": squeeze(content, scope)})
    if behind:
        messages.add("user", behind)
