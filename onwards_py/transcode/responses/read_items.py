"""Input items, one by one, into a conversation: a table by item type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import orjson

from onwards_py.transcode.chat.replay_reasoning import TEXT_FIELDS
from onwards_py.transcode.neutral.call_ids import CallIds
from onwards_py.transcode.neutral.content import Content, Part
from onwards_py.transcode.neutral.images import from_item
from onwards_py.transcode.neutral.listed_parts import listed_parts
from onwards_py.transcode.neutral.policy import (
    ForeignReasoning,
    InvalidRequest,
    Orphans,
    TranslationContext,
    member,
    name_of,
)
from onwards_py.transcode.neutral.request_checks import check_size, plain_text, refuse_empty
from onwards_py.transcode.neutral.sealed import open_reasoning
from onwards_py.transcode.neutral.tool_names import ToolNames
from onwards_py.transcode.neutral.turns import Call, Conversation
from onwards_py.transcode.responses.read_content import TEXTS, join, read_content, read_parts
from onwards_py.transcode.responses.read_tools import CUSTOM_INPUT
from onwards_py.transcode.responses.reasoning_item import CALL_EXTRAS, ORIGIN
from onwards_py.transcode.responses.tool_search import NAME as SEARCH
from onwards_py.transcode.responses.tool_search import found_text

Item = dict[str, object]
_FOREIGN = "input[].encrypted_content"
_ROLES = ("user", "assistant", "system", "developer")


class ItemReader:
    """Reads items into ``conversation``. Raises InvalidRequest."""

    def __init__(self, scope: TranslationContext, names: ToolNames, call_ids: CallIds) -> None:
        self.conversation = Conversation(scope)
        self._scope = scope
        self._names = names
        self._call_ids = call_ids

    def read_all(self, items: Sequence[object]) -> None:
        """The items of ``input`` in their order.

        Most of a long session is messages of plain text: those take a short way, for which no path is made.
        """
        for index, item in enumerate(items):
            if type(item) is dict:
                kind = item.get("type")
                if (kind == "message" or kind is None) and self._said_plainly(item):
                    continue
                reader = _READERS.get(kind) if type(kind) is str else None
                if reader is not None:
                    reader(self, item, f"input[{index}]")
                    continue
            self.read(item, f"input[{index}]")

    def read(self, item: object, where: str) -> None:
        """One item; ``where`` is its path in the request."""
        if isinstance(item, str):  # a bare string among items, as some clients send
            self.conversation.say("user", item)
            return
        if not isinstance(item, dict):
            raise InvalidRequest(where, f"An input item must be an object, not {name_of(item)}.", "invalid_type")
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference" if "id" in item else None
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is None:
            what = f"of type {kind!r}" if isinstance(kind, str) else "without a type"
            self._scope.unsupported(f"{where}.type", f"Input items {what} cannot be sent to this model.")
            return
        reader(self, item, where)

    def message(self, item: Item, where: str) -> None:
        """A message of any role."""
        role = member(item, "role", where)
        if role not in _ROLES:
            raise InvalidRequest(f"{where}.role", f"'{where}.role' must be one of {', '.join(_ROLES)}, not {role!r}.")
        phase = item.get("phase")
        kept = role == "assistant" and isinstance(phase, str) and self._scope.quirks.phase
        if phase is not None and not kept:
            self._scope.drop(f"{where}.phase")
        if role == "assistant":
            self._answer(item, where, str(phase) if kept else "")
            return
        if "content" not in item:
            raise InvalidRequest(f"{where}.content", f"'{where}.content' is missing.", "missing_required_parameter")
        refuse_empty(item["content"], f"{where}.content")
        self.conversation.say(role, read_content(item, "content", where, self._scope))

    def function_call(self, item: Item, where: str) -> None:
        """A call of a function, perhaps of a namespace."""
        arguments = item.get("arguments")
        if type(arguments) is not str or not self._fits(arguments):
            arguments = self._arguments(arguments, where)
        self._call(item, arguments, where)

    def custom_call(self, item: Item, where: str) -> None:
        """A call of a custom tool: its free text is the one argument of the function that stands for it."""
        text = item.get("input")
        if not isinstance(text, str):
            raise InvalidRequest(
                f"{where}.input", f"'{where}.input' must be a string, not {name_of(text)}.", "invalid_type"
            )
        self._call(item, orjson.dumps({CUSTOM_INPUT: text}).decode(), where)

    def call_output(self, item: Item, where: str) -> None:
        """What came back from a call, function or custom."""
        call_id = member(item, "call_id", where)
        output = item.get("output")
        listed = listed_parts(output) if type(output) is str else None
        if listed is not None:
            item = {**item, "output": listed}
        content = output if type(output) is str and listed is None else self._output(item, where)
        if self.conversation.output(call_id, content):
            return
        if self._scope.policy.orphans is Orphans.REJECT:
            raise InvalidRequest(f"{where}.call_id", f"No tool call found for the output with call_id {call_id!r}.")
        self.conversation.say("user", join(f"Output of a tool call ({call_id}):", content, "\n"))

    def search_call(self, item: Item, where: str) -> None:
        """A search for tools. One without a call id was run by a server, and is nothing that a model called here."""
        if item.get("call_id") is None:
            self._scope.drop(where)
            return
        arguments = item.get("arguments")
        text = (
            arguments if isinstance(arguments, str) else orjson.dumps({} if arguments is None else arguments).decode()
        )
        self.function_call({**item, "name": SEARCH, "namespace": None, "arguments": text}, where)

    def search_output(self, item: Item, where: str) -> None:
        """What a search found: the tools are offered with all others, and named here."""
        if item.get("call_id") is None:
            self._scope.drop(where)
            return
        self.call_output({**item, "output": found_text(item.get("tools"), self._names)}, where)

    def agent_message(self, item: Item, where: str) -> None:
        """What another agent of the client's wrote. Encrypted parts can only be read by their author."""
        author, recipient = member(item, "author", where), member(item, "recipient", where)
        content = item.get("content")
        parts = content if isinstance(content, list) else []
        readable = [part for part in parts if not (isinstance(part, dict) and part.get("type") == "encrypted_content")]
        if len(readable) < len(parts):
            self._scope.drop(f"{where}.content[].encrypted_content")
            if not readable:
                return
        said = read_content(
            {"content": readable if isinstance(content, list) else content}, "content", where, self._scope
        )
        self.conversation.say("user", join(f"Message from {author} to {recipient}:", said, "\n"))

    def reasoning(self, item: Item, where: str) -> None:
        """Reasoning: what we sealed ourselves before what can be read."""
        blob = item.get("encrypted_content")
        fields: dict[str, object] | None = None
        if isinstance(blob, str) and blob:
            fields = open_reasoning(blob, self._scope.policy.sealer)
            if fields is None:
                self._foreign(where)
            else:
                fields = self._readable(fields)
        if fields is None:
            text = _texts(item.get("content"), "") or _texts(item.get("summary"), "\n\n")
            fields = {"reasoning_content": text} if text else None
        if fields is None:
            return
        self._remember(fields.pop(CALL_EXTRAS, None))
        if fields:
            self.conversation.reason(fields)

    def image(self, item: Item, where: str) -> None:
        """An image that the model made: chat has no place for one in what an assistant said, so a user shows it."""
        image = from_item(item)
        if image is None:
            self._scope.drop(where)
            return
        if not self._scope.quirks.images:
            self._scope.drop(f"{where}.result")
            self.conversation.answer("[An image that cannot be shown]", "")
            return
        check_size(image.result, f"{where}.result", self._scope)
        part: Part = {"type": "image_url", "image_url": {"url": image.data_url}}
        self.conversation.say("user", [{"type": "text", "text": "The image that you made:"}, part])

    def compaction(self, item: Item, where: str) -> None:
        """A summary in place of earlier turns: only the server that encrypted it can read it, and we make none."""
        member(item, "encrypted_content", where)
        raise InvalidRequest(f"{where}.encrypted_content", "This compaction item was not made here and cannot be read.")

    def additional_tools(self, item: Item, where: str) -> None:
        """Tools that were offered at this point of the conversation: read with all others, before any item."""

    def reference(self, item: Item, where: str) -> None:
        """A reference is to be resolved before; what is left points to nothing that is known."""
        ident = member(item, "id", where)
        message = f"Item with id {ident!r} not found: items are not stored. Send it whole, as by 'store: false'."
        raise InvalidRequest(f"{where}.id", message, "item_not_found")

    def _said_plainly(self, item: Item) -> bool:
        """Take a message that is plain text; False if it is not one."""
        role, content = item.get("role"), item.get("content")
        if type(content) is list and len(content) == 1:
            content = plain_text(content[0], TEXTS)
        if type(content) is not str or ("phase" in item and item["phase"] is not None):
            return False
        if role == "user":
            self.conversation.say(role, content)
        elif role == "assistant":
            self.conversation.answer(content, "")
        else:
            return False
        return True

    def _output(self, item: Item, where: str) -> Content:
        if "output" not in item:
            raise InvalidRequest(f"{where}.output", f"'{where}.output' is missing.", "missing_required_parameter")
        output = item["output"]
        if isinstance(output, str | list) or output is None:
            return read_content(item, "output", where, self._scope)
        return orjson.dumps(output).decode()

    def _call(self, item: Item, arguments: str, where: str) -> None:
        call_id = member(item, "call_id", where)
        name = member(item, "name", where)
        namespace = item.get("namespace")
        chat_name = self._names.chat_name(name, namespace if isinstance(namespace, str) else None)
        self.conversation.call(Call(call_id, self._call_ids.chat_id(call_id), chat_name, arguments, where))

    def _fits(self, arguments: str) -> bool:
        """Whether the provider takes these arguments, byte for byte."""
        if not self._scope.quirks.arguments_as_object:
            return arguments != ""
        try:
            return type(orjson.loads(arguments)) is dict
        except orjson.JSONDecodeError:
            return False

    def _arguments(self, arguments: object, where: str) -> str:
        """Arguments in a form that the provider takes. Broken ones would poison every later turn."""
        if isinstance(arguments, dict):
            return orjson.dumps(arguments).decode()
        if arguments is None or arguments == "":
            return "{}"
        if not isinstance(arguments, str):
            param = f"{where}.arguments"
            raise InvalidRequest(param, f"'{param}' must be a string, not {name_of(arguments)}.", "invalid_type")
        return orjson.dumps({"arguments": arguments}).decode()

    def _answer(self, item: Item, where: str, phase: str) -> None:
        """An assistant message; what it refused stands apart for providers that know refusals."""
        content = item.get("content")
        parts = content if isinstance(content, list) and self._scope.quirks.refusal_field else []
        refusals = [part for part in parts if isinstance(part, dict) and part.get("type") == "refusal"]
        if not refusals:
            self.conversation.answer(read_content(item, "content", where, self._scope), "", phase)
            return
        refusal = _texts(read_parts(refusals, f"{where}.content", self._scope), "")
        rest = read_parts([part for part in parts if part not in refusals], f"{where}.content", self._scope)
        self.conversation.answer(rest, refusal, phase)

    def _remember(self, extras: object) -> None:
        for call_id, extra in extras.items() if isinstance(extras, dict) else ():
            if isinstance(extra, dict):
                self.conversation.remember(call_id, extra)

    def _readable(self, fields: dict[str, object]) -> dict[str, object] | None:
        """What of a provider's own fields this provider can read: of another's, the text if there is any."""
        origin = fields.pop(ORIGIN, None)
        if not origin or not self._scope.policy.origin or origin == self._scope.policy.origin:
            return fields
        readable = {name: value for name, value in fields.items() if name in TEXT_FIELDS}
        if len(readable) < len(fields):
            self._scope.drop(_FOREIGN)
        return readable or None

    def _foreign(self, where: str) -> None:
        if self._scope.policy.foreign_reasoning is ForeignReasoning.REJECT:
            message = "This reasoning was not encrypted here and cannot be read."
            raise InvalidRequest(f"{where}.encrypted_content", message, "invalid_encrypted_content")
        self._scope.drop(_FOREIGN)


def _texts(parts: object, between: str) -> str:
    """The texts of reasoning parts, whatever they call themselves; null and odd shapes are no text."""
    if isinstance(parts, str):
        return parts
    if not isinstance(parts, list) or not parts:
        return ""
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return between.join(text for text in texts if isinstance(text, str))


_READERS: Mapping[str, Callable[[ItemReader, Item, str], None]] = {
    "message": ItemReader.message,
    "function_call": ItemReader.function_call,
    "function_call_output": ItemReader.call_output,
    "custom_tool_call": ItemReader.custom_call,
    "tool_search_call": ItemReader.search_call,
    "tool_search_output": ItemReader.search_output,
    "agent_message": ItemReader.agent_message,
    "custom_tool_call_output": ItemReader.call_output,
    "reasoning": ItemReader.reasoning,
    "image_generation_call": ItemReader.image,
    "compaction": ItemReader.compaction,
    "compaction_summary": ItemReader.compaction,
    "additional_tools": ItemReader.additional_tools,
    "item_reference": ItemReader.reference,
}
