"""Chat messages to input items: a table by role. Calls and outputs keep their order; each call gets its output."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from onwards_py.transcode.chat.read_content import TEXTS, Content, Part, as_parts, plain, read_content
from onwards_py.transcode.chat.write_messages import NO_OUTPUT
from onwards_py.transcode.neutral.call_ids import CallIds
from onwards_py.transcode.neutral.images import read_images
from onwards_py.transcode.neutral.listed_parts import listed_parts
from onwards_py.transcode.neutral.policy import InvalidRequest, Orphans, TranslationContext, Unanswered, member, name_of
from onwards_py.transcode.neutral.quirks import System
from onwards_py.transcode.neutral.request_checks import check_size, plain_text, refuse_empty

Item = dict[str, object]
Message = Mapping[str, object]

_PHASES = ("commentary", "final_answer")
REASONING_FIELDS = ("reasoning_content", "reasoning")
_REASONING = frozenset({*REASONING_FIELDS, "reasoning_details"})


class ItemMaker:
    """Makes ``items`` of messages. ``replays`` tells whether a message's reasoning goes back to the provider."""

    def __init__(self, scope: TranslationContext, replays: Callable[[int], bool]) -> None:
        self.items: list[Item] = []
        self._scope = scope
        self._replays = replays
        self._ids = CallIds(False)
        self._said: list[str] = []
        self._waiting: dict[str, Item] = {}  # by call id: the items of calls that have no output yet
        self._left: list[Item] = []  # items of calls whose id came again before they had one
        self._answered: set[str] = set()
        self._legacy: list[tuple[str, str]] = []
        self._reasons = 0

    @property
    def instructions(self) -> str:
        """What system messages said, where the provider wants it in one place."""
        return "\n\n".join(filter(None, self._said))

    def read_all(self, messages: list[object]) -> None:
        """Messages in their order. Raises InvalidRequest.

        Most of a long session is plain text: it takes a short way, for which no path is made.
        """
        for index, message in enumerate(messages):
            if type(message) is not dict or len(message) != 2 or not self._said_plainly(message):
                self.read(message, index)

    def read(self, message: object, index: int) -> None:
        """One message. Raises InvalidRequest."""
        where = f"messages[{index}]"
        if not isinstance(message, dict):
            raise InvalidRequest(where, f"A message must be an object, not {name_of(message)}.", "invalid_type")
        role = member(message, "role", where)
        reader = _READERS.get(role)
        if reader is None:
            raise InvalidRequest(f"{where}.role", f"'{where}.role' must be one of {', '.join(_READERS)}, not {role!r}.")
        if "name" in message and message["name"] is not None and role != "function":
            self._scope.drop(f"{where}.name")
        if role == "assistant" and not _REASONING.isdisjoint(message):
            self._reason(message, index, where)
        reader(self, message, where)

    def end(self) -> None:
        """No more messages: look after calls without an output, which providers refuse. Raises InvalidRequest.

        Providers refuse an empty input as well: system messages that stand alone are the input.
        """
        if not self.items:
            for text in self._said:
                self._say("developer", text)
            self._said = []
        unanswered = [*self._left, *self._waiting.values()]
        if not unanswered:
            return
        policy = self._scope.policy.unanswered
        if policy is Unanswered.REJECT:
            raise InvalidRequest("messages", f"The tool call {unanswered[0]['call_id']!r} has no output.")
        missing = set(map(id, unanswered))
        kept: list[Item] = []
        for item in self.items:
            if id(item) not in missing:
                kept.append(item)
            elif policy is Unanswered.SYNTHESIZE:
                kept += [item, {"type": _output_type(item), "call_id": item["call_id"], "output": NO_OUTPUT}]
        self.items = kept

    def say(self, message: Message, where: str) -> None:
        """A message of a user."""
        self._say("user", self._content(message, where))

    def direct(self, message: Message, where: str) -> None:
        """A message of the system: the first ones are the instructions, later ones stay in their place.

        There they are developer items: Responses has one role for what stands above the user, and instructions that
        came from the middle of a conversation would rewrite its beginning.
        """
        content = self._content(message, where)
        quirks = self._scope.quirks
        if quirks.system is System.KEEP:
            developer = message["role"] == "developer" and quirks.developer_role
            self._say("developer" if developer else "system", content)
            return
        text = None if self.items else plain(content)
        if text is not None:
            self._said.append(text)
            return
        self._say("developer", content)

    def answer(self, message: Message, where: str) -> None:
        """What the model said before: a message, and an item for each call."""
        content = read_content(message, "content", where, self._scope, said=True)
        calls = self._calls(message, where)
        if message.get("refusal") is not None:
            content = [*as_parts(content, "output_text"), _refusal(message["refusal"], where)]
        if message.get("audio") is not None:
            self._scope.unsupported(f"{where}.audio", "Earlier audio cannot be sent to this model.")
        text = plain(content)
        if text is None or text or not calls:
            item: Item = {"type": "message", "role": "assistant", "content": content if text is None else text}
            if message.get("phase") in _PHASES:
                item["phase"] = message["phase"]
            self.items.append(item)
        if message.get("images"):
            self._show(message["images"], where)
        self._call_all(calls, where)

    def _show(self, images: object, where: str) -> None:
        """Images that the model made: an assistant's message cannot hold any, so a user shows them."""
        parts: list[Part] = [{"type": "input_image", "image_url": image.data_url} for image in read_images(images)]
        if not parts or not self._scope.quirks.images:
            self._scope.drop(f"{where}.images")
            return
        for part in parts:
            check_size(str(part["image_url"]), f"{where}.images", self._scope)
        self._say("user", [{"type": "input_text", "text": "The image that you made:"}, *parts])

    def _call_all(self, calls: list[Item], where: str) -> None:
        told: set[str] = set()
        for number, call in enumerate(calls):
            call_id = str(call["call_id"])
            if call_id in told:
                raise InvalidRequest(
                    f"{where}.tool_calls[{number}].id", f"Two calls of one message have the id {call_id!r}."
                )
            told.add(call_id)
            self.items.append(call)
            if call_id in self._waiting:
                self._left.append(self._waiting[call_id])
            self._waiting[call_id] = call

    def tool_output(self, message: Message, where: str) -> None:
        """What came back from a call."""
        self._output(self._ids.chat_id(member(message, "tool_call_id", where)), message, where)

    def function_output(self, message: Message, where: str) -> None:
        """The same, from the days before calls had ids: it belongs to the last call of the function."""
        name = member(message, "name", where)
        call_id = next((id_ for called, id_ in reversed(self._legacy) if called == name), "")
        self._output(call_id, message, where)

    def _said_plainly(self, message: Message) -> bool:
        """Take a message that is a role and plain text; False if it is not one."""
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            return False
        if type(content) is list and len(content) == 1:
            text = plain_text(content[0], TEXTS)
            if text is None:
                return False
            content = text if role == "assistant" else [{"type": "input_text", "text": text}]
        elif type(content) is not str:
            return False
        self.items.append({"type": "message", "role": role, "content": content})
        return True

    def _content(self, message: Message, where: str) -> Content:
        if "content" not in message:
            raise InvalidRequest(f"{where}.content", f"'{where}.content' is missing.", "missing_required_parameter")
        refuse_empty(message["content"], f"{where}.content")
        return read_content(message, "content", where, self._scope) or ""  # all its parts may have been dropped

    def _say(self, role: str, content: Content) -> None:
        self.items.append({"type": "message", "role": role, "content": content})

    def _output(self, call_id: str, message: Message, where: str) -> None:
        given = message.get("content")
        listed = listed_parts(given) if isinstance(given, str) else None
        if listed is not None:
            message = {**message, "content": listed}
        content = read_content(message, "content", where, self._scope)
        text = plain(content)
        output = content if text is None else text
        call = self._waiting.pop(call_id, None)
        if call is not None:
            self._answered.add(call_id)
            self.items.append({"type": _output_type(call), "call_id": call_id, "output": output})
            return
        if self._scope.policy.orphans is Orphans.REJECT:
            what = "already has its output" if call_id in self._answered else "is in no message before"
            raise InvalidRequest(where, f"The tool call that '{where}' answers {what}.")
        note: Part = {"type": "input_text", "text": "Output of a tool call:\n"}
        self.items.append({"type": "message", "role": "user", "content": [note, *as_parts(output, "input_text")]})

    def _calls(self, message: Message, where: str) -> list[Item]:
        calls, legacy = message.get("tool_calls"), message.get("function_call")
        if calls is None and legacy is None:
            return []
        if calls is not None and not isinstance(calls, list):
            raise InvalidRequest(f"{where}.tool_calls", f"'{where}.tool_calls' must be an array.", "invalid_type")
        items = [self._call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls or [])]
        if legacy is not None and not items:
            if not isinstance(legacy, dict):
                raise InvalidRequest(f"{where}.function_call", "A function call must be an object.", "invalid_type")
            call_id = f"call_function_{len(self._legacy)}"
            items.append(_function_call(call_id, legacy, f"{where}.function_call"))
            self._legacy.append((str(items[0]["name"]), call_id))
        return items

    def _call(self, call: object, where: str) -> Item:
        if not isinstance(call, dict):
            raise InvalidRequest(where, f"A tool call must be an object, not {name_of(call)}.", "invalid_type")
        call_id = self._ids.chat_id(member(call, "id", where))
        custom = call.get("custom")
        if isinstance(custom, dict):
            name, text = member(custom, "name", f"{where}.custom"), custom.get("input")
            if not isinstance(text, str):
                raise InvalidRequest(f"{where}.custom.input", "A custom tool's input must be a string.", "invalid_type")
            return {"type": "custom_tool_call", "call_id": call_id, "name": name, "input": text}
        function = call.get("function")
        if not isinstance(function, dict):
            raise InvalidRequest(f"{where}.function", f"'{where}.function' must be an object.", "invalid_type")
        return _function_call(call_id, function, f"{where}.function")

    def _reason(self, message: Message, index: int, where: str) -> None:
        """Earlier reasoning: what only the provider can read always, what can be read where it is wanted."""
        details = message.get("reasoning_details")
        sealed = [_sealed(one) for one in details if isinstance(one, dict)] if isinstance(details, list) else []
        found = [item for item in sealed if item is not None]
        if found:
            self.items += found
            return
        text = next((text for name in REASONING_FIELDS if isinstance(text := message.get(name), str) and text), None)
        if text is None:
            return
        if not self._replays(index):
            self._scope.drop(f"{where}.reasoning_content")
            return
        # As a summary: the specification's schema has no other place for it in an input.
        summary = [{"type": "summary_text", "text": text}]
        self.items.append({"type": "reasoning", "id": f"rs_{self._reasons}", "summary": summary})
        self._reasons += 1


def _refusal(refusal: object, where: str) -> Part:
    if not isinstance(refusal, str):
        raise InvalidRequest(f"{where}.refusal", f"'{where}.refusal' must be a string.", "invalid_type")
    return {"type": "refusal", "refusal": refusal}


def _sealed(detail: Item) -> Item | None:
    data, id_ = detail.get("data"), detail.get("id")
    if detail.get("type") != "reasoning.encrypted" or not isinstance(data, str) or not data:
        return None
    item: Item = {"type": "reasoning", "summary": [], "encrypted_content": data}
    if isinstance(id_, str) and id_:
        item["id"] = id_
    return item


def _function_call(call_id: str, function: Message, where: str) -> Item:
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = orjson.dumps(arguments).decode()
    if arguments is not None and not isinstance(arguments, str):
        raise InvalidRequest(f"{where}.arguments", f"'{where}.arguments' must be a string.", "invalid_type")
    name = member(function, "name", where)
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments or "{}"}


def _output_type(call: Item) -> str:
    return f"{call['type']}_output"


_READERS: Mapping[str, Callable[[ItemMaker, Message, str], None]] = {
    "system": ItemMaker.direct,
    "developer": ItemMaker.direct,
    "user": ItemMaker.say,
    "assistant": ItemMaker.answer,
    "tool": ItemMaker.tool_output,
    "function": ItemMaker.function_output,
}
