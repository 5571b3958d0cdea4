"""Turns to chat messages, shaped for strict templates: system first, one message for all calls, outputs behind it."""

from __future__ import annotations

from onwards_py.transcode.dialects.chat import Content, Message, Part, ToolCall
from onwards_py.transcode.responses_over_chat.content import join, split_media, squeeze
from onwards_py.transcode.responses_over_chat.policy import Refused, Scope, Unanswered
from onwards_py.transcode.responses_over_chat.quirks import EmptyContent, System, ToolImages
from onwards_py.transcode.responses_over_chat.replay import Replayed
from onwards_py.transcode.responses_over_chat.turns import Call, Turn

NO_OUTPUT = "No output: the call was interrupted."
_ELSEWHERE = "The output is in the next message."
_SYSTEM = ("system", "developer")


def to_messages(instructions: str, turns: list[Turn], scope: Scope) -> list[Message]:
    """The chat request's ``messages``. Raises Refused."""
    leading = [Turn("system", instructions)] if instructions else []
    placed = _place_system(leading + turns, scope)
    if scope.quirks.merge_roles:
        placed = _join_assistants(placed)
    replayed = Replayed(placed, scope)
    messages: list[Message] = []
    for index, turn in enumerate(placed):
        if turn.role == "assistant":
            _add_assistant(messages, turn, replayed.fields(index), scope)
        else:
            _add(messages, turn.role, turn.content, scope)
    return messages


def _place_system(turns: list[Turn], scope: Scope) -> list[Turn]:
    """Roles and places of system messages as the provider wants them."""
    quirks = scope.quirks
    if not quirks.developer_role:
        for turn in turns:
            turn.role = "system" if turn.role == "developer" else turn.role
    if quirks.system is System.KEEP:
        return turns
    start = next((index for index, turn in enumerate(turns) if turn.role not in _SYSTEM), len(turns))
    leading, rest = turns[:start], turns[start:]
    if quirks.system is System.HOIST:
        later = [turn for turn in rest if turn.role in _SYSTEM]
        if later:
            scope.repair("input[].role")
            rest = [turn for turn in rest if turn.role not in _SYSTEM]
        leading = leading + later
    if not leading:
        return rest
    merged = Turn(leading[0].role)
    for turn in leading:
        merged.content = join(merged.content, squeeze(turn.content, scope))
    return [merged, *rest]


def _join_assistants(turns: list[Turn]) -> list[Turn]:
    """Assistant turns that became neighbours when a system message left are one, as far as no output stands between."""
    joined: list[Turn] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if last is None or last.role != "assistant" or turn.role != "assistant" or last.calls:
            joined.append(turn)
            continue
        last.content = join(last.content, turn.content)
        last.refusal = "\n\n".join(filter(None, (last.refusal, turn.refusal)))
        last.calls += turn.calls
        last.reasoning += turn.reasoning
    return joined


def _add(messages: list[Message], role: str, content: Content, scope: Scope) -> None:
    """A user or system message; one that follows another user message joins it where roles have to alternate."""
    last = messages[-1] if messages else None
    if last is not None and last["role"] == role == "user" and scope.quirks.merge_roles:
        before = last["content"]
        last["content"] = squeeze(join(before if before is not None else "", squeeze(content, scope)), scope)
        return
    messages.append({"role": role, "content": squeeze(content, scope)})


def _add_assistant(messages: list[Message], turn: Turn, reasoning: dict[str, object], scope: Scope) -> None:
    calls = [call for call in turn.calls if _is_answered(call, scope)]
    content = squeeze(turn.content, scope)
    if not (content or turn.refusal or calls or reasoning):
        return  # an empty message says nothing, and strict providers refuse it
    message: Message = {"role": "assistant", "content": content}
    if turn.refusal:
        message["refusal"] = turn.refusal
    if not content and (calls or turn.refusal):
        _set_empty_content(message, scope)
    message.update(reasoning)  # type: ignore[typeddict-item]
    if calls:
        _add_stand_in(calls, scope)
        message["tool_calls"] = [_tool_call(call, scope) for call in calls]
    messages.append(message)
    _add_outputs(messages, calls, scope)


def _is_answered(call: Call, scope: Scope) -> bool:
    """Whether the call stays; providers refuse a call without an output, so an interrupted one gets one."""
    if call.output is not None:
        return True
    policy = scope.policy.unanswered
    if policy is Unanswered.REJECT:
        raise Refused(f"{call.where}.call_id", "No output found for this tool call.")
    if policy is Unanswered.DROP:
        scope.drop(call.where)
        return False
    scope.repair(call.where)
    call.output = NO_OUTPUT
    return True


def _set_empty_content(message: Message, scope: Scope) -> None:
    quirk = scope.quirks.empty_content
    if quirk is EmptyContent.OMIT:
        del message["content"]
    else:
        message["content"] = "" if quirk is EmptyContent.EMPTY else None


def _add_stand_in(calls: list[Call], scope: Scope) -> None:
    """Who insists on a signature has a word for calls whose own is lost; the first call of a step needs it."""
    stand_in = scope.quirks.call_stand_in
    if stand_in is not None and not any(call.extra for call in calls):
        calls[0].extra = dict(stand_in)


def _tool_call(call: Call, scope: Scope) -> ToolCall:
    made: ToolCall = {
        "id": call.chat_id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
    if call.extra is not None and scope.quirks.call_extras:
        made["extra_content"] = call.extra
    return made


def _add_outputs(messages: list[Message], calls: list[Call], scope: Scope) -> None:
    """Tool messages in the order of the calls, then what they could not hold."""
    behind: list[Part] = []
    for call in calls:
        text, media = split_media(call.output or "")
        content: Content = text
        if media and scope.quirks.tool_images is ToolImages.INLINE:
            content = call.output or ""
        elif media and scope.quirks.tool_images is ToolImages.PLACEHOLDER:
            scope.drop(f"{call.where}.output")
            content = join(text, f"[{len(media)} attachment(s) that cannot be shown]", "\n")
        elif media:
            scope.repair(f"{call.where}.output")
            content = text or _ELSEWHERE
            behind += [{"type": "text", "text": f"Output of tool call {call.chat_id} ({call.name}):"}, *media]
        messages.append({"role": "tool", "tool_call_id": call.chat_id, "content": squeeze(content, scope)})
    if behind:
        _add(messages, "user", behind, scope)
