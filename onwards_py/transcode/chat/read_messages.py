"""Chat messages as steps of a conversation: a table by role."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import orjson

from onwards_py.transcode.chat.read_content import TEXTS, read_content
from onwards_py.transcode.neutral.content import Content, Image, Part, Refusal, as_parts, plain_text
from onwards_py.transcode.neutral.images import read_images
from onwards_py.transcode.neutral.listed_parts import listed_parts
from onwards_py.transcode.neutral.policy import InvalidRequest, Orphans, TranslationContext, member, must_be_object
from onwards_py.transcode.neutral.quirks import Replay
from onwards_py.transcode.neutral.request import Call, Output, Reasoning, Step
from onwards_py.transcode.neutral.request import Message as MessageStep
from onwards_py.transcode.neutral.request_checks import check_size, lone_text, refuse_empty

Message = Mapping[str, object]

_PHASES = ("commentary", "final_answer")
_REASONING_FIELDS = ("reasoning_content", "reasoning")
_REASONING = frozenset({*_REASONING_FIELDS, "reasoning_details"})


class MessageReader:
    """Reads messages: each reader appends the steps of one message to the list that `read` returns.

    Raises InvalidRequest.
    """

    def __init__(self, messages: list[object], context: TranslationContext) -> None:
        self._messages = messages
        self._context = context
        self._steps: list[Step] = []
        self._open: set[str] = set()  # ids of calls that have no output yet
        self._answered: set[str] = set()
        self._legacy: list[tuple[str, str]] = []
        self._replayed: frozenset[int] | None = None

    def read_all(self) -> Iterator[Step]:
        """The steps of all messages, in their order.

        Messages of plain text, which are most of a long session, are read without creating their paths.
        """
        for index, message in enumerate(self._messages):
            if type(message) is dict and len(message) == 2 and (step := _plain_message(message)) is not None:
                yield step
            else:
                yield from self.read(message, index)

    def read(self, message: object, index: int) -> list[Step]:
        """The steps of one message."""
        self._steps = []
        where = f"messages[{index}]"
        message = must_be_object(message, where, "A message")
        role = member(message, "role", where)
        reader = _READERS.get(role)
        if reader is None:
            raise InvalidRequest(f"{where}.role", f"'{where}.role' must be one of {', '.join(_READERS)}, not {role!r}.")
        if "name" in message and message["name"] is not None and role != "function":
            self._context.drop(f"{where}.name")
        if role == "assistant" and not _REASONING.isdisjoint(message):
            self._reason(message, index, where)
        reader(self, message, where)
        return self._steps

    def plain(self, message: Message, where: str) -> None:
        """A message of a user or of the system."""
        if "content" not in message:
            raise InvalidRequest(f"{where}.content", f"'{where}.content' is missing.", "missing_required_parameter")
        refuse_empty(message["content"], f"{where}.content")
        content = read_content(message, "content", where, self._context) or ""  # all its parts may have been dropped
        self._steps.append(MessageStep(str(message["role"]), content))

    def answer(self, message: Message, where: str) -> None:
        """An earlier answer of the model: a message, and its calls."""
        content = read_content(message, "content", where, self._context, of_model=True)
        calls = self._calls(message, where)
        if message.get("refusal") is not None:
            content = [*as_parts(content), _refusal(message["refusal"], where)]
        if message.get("audio") is not None:
            self._context.unsupported(f"{where}.audio", "Earlier audio cannot be sent to this model.")
        if not calls or plain_text(content) != "":
            phase = message.get("phase")
            self._steps.append(MessageStep("assistant", content, str(phase) if phase in _PHASES else ""))
        if message.get("images"):
            self._show(message["images"], where)
        ids: set[str] = set()
        for call in calls:
            if call.call_id in ids:
                text = f"Two calls of one message have the id {call.call_id!r}."
                raise InvalidRequest(f"{call.where}.id", text)
            ids.add(call.call_id)
        self._open |= ids
        self._steps += calls

    def _show(self, images: object, where: str) -> None:
        """Add generated images as a user's message, because an assistant's message cannot contain images."""
        urls = [image.data_url for image in read_images(images)]
        if not urls or not self._context.quirks.images:
            self._context.drop(f"{where}.images")
            return
        for url in urls:
            check_size(url, f"{where}.images", self._context)
        self._steps.append(MessageStep("user", ["The image that you made:", *map(Image, urls)]))

    def tool_output(self, message: Message, where: str) -> None:
        """The output of a call."""
        self._output(member(message, "tool_call_id", where), message, where)

    def function_output(self, message: Message, where: str) -> None:
        """The output of a call without an id (legacy): it belongs to the last call of the function."""
        name = member(message, "name", where)
        call_id = next((id_ for called, id_ in reversed(self._legacy) if called == name), "")
        self._output(call_id, message, where)

    def _output(self, call_id: str, message: Message, where: str) -> None:
        given = message.get("content")
        listed = listed_parts(given) if isinstance(given, str) else None
        if listed is not None:
            message = {**message, "content": listed}
        content = read_content(message, "content", where, self._context)
        if call_id in self._open:
            self._open.remove(call_id)
            self._answered.add(call_id)
            self._steps.append(Output(call_id, content))
            return
        if self._context.policy.orphans is Orphans.REJECT:
            what = "already has its output" if call_id in self._answered else "is in no message before"
            raise InvalidRequest(where, f"The tool call that '{where}' answers {what}.")
        text = plain_text(content)
        output: Content = content if text is None else text
        self._steps.append(MessageStep("user", ["Output of a tool call:\n", *as_parts(output)]))

    def _calls(self, message: Message, where: str) -> list[Call]:
        calls, legacy = message.get("tool_calls"), message.get("function_call")
        if calls is None and legacy is None:
            return []
        if calls is not None and not isinstance(calls, list):
            raise InvalidRequest(f"{where}.tool_calls", f"'{where}.tool_calls' must be an array.", "invalid_type")
        found = [_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls or [])]
        if legacy is not None and not found:
            if not isinstance(legacy, dict):
                raise InvalidRequest(f"{where}.function_call", "A function call must be an object.", "invalid_type")
            call_id = f"call_function_{len(self._legacy)}"
            found.append(_function_call(call_id, legacy, f"{where}.function_call", f"{where}.function_call"))
            self._legacy.append((found[0].name, call_id))
        return found

    def _reason(self, message: Message, index: int, where: str) -> None:
        """Add earlier reasoning: always the opaque pieces, and the text if the provider expects it back."""
        details = message.get("reasoning_details")
        reasoning = Reasoning("", details if isinstance(details, list) else ())
        if reasoning.opaque:
            self._steps.append(reasoning)
            return
        text = next((text for name in _REASONING_FIELDS if isinstance(text := message.get(name), str) and text), None)
        if text is None:
            return
        if self._replayed is None:
            self._replayed = _replayed(self._messages, self._context.quirks.replay)
        if index in self._replayed:
            self._steps.append(Reasoning(text))
        else:
            self._context.drop(f"{where}.reasoning_content")


def _plain_message(message: Message) -> Step | None:
    """The step of a message with a role and plain text only; None for other messages."""
    role, content = message.get("role"), message.get("content")
    if role == "user":
        if type(content) is str:
            return content
    elif role != "assistant":
        return None
    elif type(content) is str:
        return MessageStep("assistant", content)
    if type(content) is not list or len(content) != 1 or (text := lone_text(content[0], TEXTS)) is None:
        return None
    return MessageStep(str(role), text if role == "assistant" else [text])


def _call(call: object, where: str) -> Call:
    call = must_be_object(call, where, "A tool call")
    call_id = member(call, "id", where)
    custom = call.get("custom")
    if isinstance(custom, dict):
        name, text = member(custom, "name", f"{where}.custom"), custom.get("input")
        if not isinstance(text, str):
            raise InvalidRequest(f"{where}.custom.input", "A custom tool's input must be a string.", "invalid_type")
        return Call(call_id, name, text, where, custom=True)
    function = call.get("function")
    if not isinstance(function, dict):
        raise InvalidRequest(f"{where}.function", f"'{where}.function' must be an object.", "invalid_type")
    return _function_call(call_id, function, where, f"{where}.function")


def _function_call(call_id: str, function: Message, where: str, inside: str) -> Call:
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = orjson.dumps(arguments).decode()
    if arguments is not None and not isinstance(arguments, str):
        raise InvalidRequest(f"{inside}.arguments", f"'{inside}.arguments' must be a string.", "invalid_type")
    return Call(call_id, member(function, "name", inside), arguments or "", where)


def _refusal(refusal: object, where: str) -> Part:
    if not isinstance(refusal, str):
        raise InvalidRequest(f"{where}.refusal", f"'{where}.refusal' must be a string.", "invalid_type")
    return Refusal(refusal)


def _replayed(messages: list[object], replay: Replay) -> frozenset[int]:
    """Indexes of the messages whose reasoning is sent back to the provider; a turn ends with a user's message."""
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


_READERS: Mapping[str, Callable[[MessageReader, Message, str], None]] = {
    "system": MessageReader.plain,
    "developer": MessageReader.plain,
    "user": MessageReader.plain,
    "assistant": MessageReader.answer,
    "tool": MessageReader.tool_output,
    "function": MessageReader.function_output,
}
