"""Reads input items as steps of a conversation, by a table of item types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from onwards_py.transcode.neutral.content import Content, Image, join
from onwards_py.transcode.neutral.images import from_item
from onwards_py.transcode.neutral.listed_parts import listed_parts
from onwards_py.transcode.neutral.names import ToolNames
from onwards_py.transcode.neutral.policy import (
    ForeignReasoning,
    InvalidRequest,
    Orphans,
    TranslationContext,
    member,
    must_be_object,
    wrong_type,
)
from onwards_py.transcode.neutral.request import Call, CallExtra, Message, Output, Reasoning, Step
from onwards_py.transcode.neutral.request_checks import check_size, lone_text, refuse_empty
from onwards_py.transcode.neutral.sealed import CALL_EXTRAS, ORIGIN, open_reasoning
from onwards_py.transcode.responses.read_content import TEXTS, read_content
from onwards_py.transcode.responses.tool_search import NAME as SEARCH
from onwards_py.transcode.responses.tool_search import found_text

Item = dict[str, object]
_FOREIGN = "input[].encrypted_content"
_TEXT_FIELDS = ("reasoning_content", "reasoning", "thinking")
_ROLES = ("user", "assistant", "system", "developer")


class ItemReader:
    """Reads items: each reader appends the steps of one item to the list that `read` returns. Raises InvalidRequest."""

    def __init__(self, names: ToolNames, context: TranslationContext) -> None:
        self._context = context
        self._names = names
        self._steps: list[Step] = []
        self._open: Counter[str] = Counter()  # by call id: how many calls have no output yet

    def read_all(self, items: Sequence[object]) -> Iterator[Step]:
        """The steps of ``input``, in its order.

        Messages of plain text, which are most of a long session, are read without creating their paths.
        """
        for index, item in enumerate(items):
            if type(item) is dict:
                kind = item.get("type")
                if (kind == "message" or kind is None) and (step := _plain_message(item)) is not None:
                    yield step
                    continue
            yield from self.read(item, f"input[{index}]")

    def read(self, item: object, where: str) -> list[Step]:
        """The steps of one item; ``where`` is its path in the request."""
        self._steps = []
        if isinstance(item, str):  # a bare string among items, as some clients send
            return [item]
        item = must_be_object(item, where, "An input item")
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference" if "id" in item else None
        reader = _READERS.get(kind) if isinstance(kind, str) else None
        if reader is None:
            what = f"of type {kind!r}" if isinstance(kind, str) else "without a type"
            self._context.unsupported(f"{where}.type", f"Input items {what} cannot be sent to this model.")
        else:
            reader(self, item, where)
        return self._steps

    def message(self, item: Item, where: str) -> None:
        """A message of any role."""
        role = member(item, "role", where)
        if role not in _ROLES:
            raise InvalidRequest(f"{where}.role", f"'{where}.role' must be one of {', '.join(_ROLES)}, not {role!r}.")
        phase = item.get("phase")
        kept = role == "assistant" and isinstance(phase, str) and self._context.quirks.phase
        if phase is not None and not kept:
            self._context.drop(f"{where}.phase")
        if role != "assistant":
            if "content" not in item:
                raise InvalidRequest(f"{where}.content", f"'{where}.content' is missing.", "missing_required_parameter")
            refuse_empty(item["content"], f"{where}.content")
        content = read_content(item, "content", where, self._context)
        self._steps.append(Message(role, content, str(phase) if kept else ""))

    def function_call(self, item: Item, where: str) -> None:
        """A call of a function, perhaps of a namespace."""
        arguments = item.get("arguments")
        if isinstance(arguments, dict):
            arguments = orjson.dumps(arguments).decode()
        elif arguments is not None and not isinstance(arguments, str):
            raise wrong_type(f"{where}.arguments", "a string", arguments)
        self._call(item, arguments or "", where)

    def custom_call(self, item: Item, where: str) -> None:
        """A call of a custom tool, with its free text."""
        text = item.get("input")
        if not isinstance(text, str):
            raise wrong_type(f"{where}.input", "a string", text)
        self._call(item, text, where, custom=True)

    def call_output(self, item: Item, where: str) -> None:
        """The output of a call of a function or a custom tool."""
        call_id = member(item, "call_id", where)
        output = item.get("output")
        listed = listed_parts(output) if type(output) is str else None
        if listed is not None:
            item = {**item, "output": listed}
        content = output if type(output) is str and listed is None else self._output(item, where)
        if self._open[call_id]:
            self._open[call_id] -= 1
            self._steps.append(Output(call_id, content))
            return
        if self._context.policy.orphans is Orphans.REJECT:
            raise InvalidRequest(f"{where}.call_id", f"No tool call found for the output with call_id {call_id!r}.")
        self._quote(f"Output of a tool call ({call_id}):", content)

    def search_call(self, item: Item, where: str) -> None:
        """A tool search. A search without a call id was run by a server, and not called by this model."""
        if item.get("call_id") is None:
            self._context.drop(where)
            return
        given = item.get("arguments")
        text = given if isinstance(given, str) else orjson.dumps({} if given is None else given).decode()
        self.function_call({**item, "name": SEARCH, "namespace": None, "arguments": text}, where)

    def search_output(self, item: Item, where: str) -> None:
        """The result of a tool search. The found tools are offered like all others; this step has their names."""
        if item.get("call_id") is None:
            self._context.drop(where)
            return
        self.call_output({**item, "output": found_text(item.get("tools"), self._names)}, where)

    def agent_message(self, item: Item, where: str) -> None:
        """A message of another agent of the client. Encrypted parts can be read only by their author."""
        author, recipient = member(item, "author", where), member(item, "recipient", where)
        content = item.get("content")
        parts = content if isinstance(content, list) else []
        readable = [part for part in parts if not (isinstance(part, dict) and part.get("type") == "encrypted_content")]
        if len(readable) < len(parts):
            self._context.drop(f"{where}.content[].encrypted_content")
            if not readable:
                return
        given = {"content": readable if isinstance(content, list) else content}
        text = read_content(given, "content", where, self._context)
        self._quote(f"Message from {author} to {recipient}:", text)

    def reasoning(self, item: Item, where: str) -> None:
        """Reasoning. Data that this proxy has sealed takes precedence over readable text."""
        blob = item.get("encrypted_content")
        fields: dict[str, object] | None = None
        if isinstance(blob, str) and blob:
            fields = open_reasoning(blob, self._context.policy.sealer)
            if fields is None:
                self._foreign(where)
            else:
                fields = self._readable(fields)
        if fields is None:
            text = _texts(item.get("content"), "") or _texts(item.get("summary"), "\n\n")
            self._steps += [Reasoning(text)] if text else ()
            return
        extras = fields.pop(CALL_EXTRAS, None)
        for call_id, extra in extras.items() if isinstance(extras, dict) else ():
            if isinstance(extra, dict):
                self._steps.append(CallExtra(call_id, extra))
        if fields:
            details = fields.get("reasoning_details")
            texts = (one for name in _TEXT_FIELDS if isinstance(one := fields.get(name), str) and one)
            self._steps.append(Reasoning(next(texts, ""), details if isinstance(details, list) else ()))

    def image(self, item: Item, where: str) -> None:
        """A generated image, as a user's message, because an assistant's message in a request cannot contain images."""
        image = from_item(item)
        if image is None:
            self._context.drop(where)
            return
        if not self._context.quirks.images:
            self._context.drop(f"{where}.result")
            self._steps.append(Message("assistant", "[An image that cannot be shown]"))
            return
        check_size(image.result, f"{where}.result", self._context)
        self._steps.append(Message("user", ["The image that you made:", Image(image.data_url)]))

    def compaction(self, item: Item, where: str) -> None:
        """A summary that replaces earlier turns. Only the server that encrypted it can read it; the proxy creates
        none."""
        member(item, "encrypted_content", where)
        raise InvalidRequest(f"{where}.encrypted_content", "This compaction item was not made here and cannot be read.")

    def additional_tools(self, item: Item, where: str) -> None:
        """Tools that are added at this point of the conversation. `read_tools` has already read them."""

    def reference(self, item: Item, where: str) -> None:
        """A reference to an earlier item: items are not stored, so it cannot be resolved."""
        ident = member(item, "id", where)
        message = f"Item with id {ident!r} not found: items are not stored. Send it whole, as by 'store: false'."
        raise InvalidRequest(f"{where}.id", message, "item_not_found")

    def _quote(self, title: str, content: Content) -> None:
        """Add text of another author as a message of the user, which is the only role that fits."""
        self._steps.append(Message("user", join(title, content, "\n")))

    def _output(self, item: Item, where: str) -> Content:
        if "output" not in item:
            raise InvalidRequest(f"{where}.output", f"'{where}.output' is missing.", "missing_required_parameter")
        output = item["output"]
        if isinstance(output, str | list) or output is None:
            return read_content(item, "output", where, self._context)
        return orjson.dumps(output).decode()

    def _call(self, item: Item, arguments: str, where: str, *, custom: bool = False) -> None:
        call_id = member(item, "call_id", where)
        name = member(item, "name", where)
        namespace = item.get("namespace")
        flat = self._names.flat_name(name, namespace if isinstance(namespace, str) else None)
        self._steps.append(Call(call_id, flat, arguments, where, custom))
        self._open[call_id] += 1

    def _readable(self, fields: dict[str, object]) -> dict[str, object] | None:
        """The fields that this provider can read: all fields of its own, but only the text of another provider."""
        origin = fields.pop(ORIGIN, None)
        if not origin or not self._context.policy.origin or origin == self._context.policy.origin:
            return fields
        readable = {name: value for name, value in fields.items() if name in _TEXT_FIELDS}
        if len(readable) < len(fields):
            self._context.drop(_FOREIGN)
        return readable or None

    def _foreign(self, where: str) -> None:
        if self._context.policy.foreign_reasoning is ForeignReasoning.REJECT:
            message = "This reasoning was not encrypted here and cannot be read."
            raise InvalidRequest(f"{where}.encrypted_content", message, "invalid_encrypted_content")
        self._context.drop(_FOREIGN)


def _plain_message(item: Item) -> Step | None:
    """The step of a message of plain text; None for other items."""
    role, content = item.get("role"), item.get("content")
    if type(content) is list and len(content) == 1:
        content = lone_text(content[0], TEXTS)
    if type(content) is not str or ("phase" in item and item["phase"] is not None):
        return None
    if role == "user":
        return content
    return Message(role, content) if role == "assistant" else None


def _texts(parts: object, between: str) -> str:
    """The texts of reasoning parts of any type; null and invalid parts are ignored."""
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
