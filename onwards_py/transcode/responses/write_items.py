"""Writes the conversation as input items: calls and outputs keep their order, and every call has an output."""

from __future__ import annotations

from collections.abc import Iterable

from onwards_py.transcode.neutral.content import (
    Audio,
    Content,
    File,
    Image,
    MarkedText,
    Part,
    Refusal,
    Video,
    Written,
    WrittenPart,
    plain_text,
)
from onwards_py.transcode.neutral.names import CallIds
from onwards_py.transcode.neutral.policy import NO_OUTPUT, InvalidRequest, TranslationContext, Unanswered
from onwards_py.transcode.neutral.quirks import System
from onwards_py.transcode.neutral.request import Call, Message, Output, Reasoning, Step

Item = dict[str, object]


class ItemWriter:
    """Converts the steps of a conversation to ``items``."""

    def __init__(self, path: str, ids: CallIds, context: TranslationContext) -> None:
        self.items: list[Item] = []
        self._path = path
        self._context = context
        self._ids = ids
        self._instructions: list[str] = []
        self._waiting: dict[str, Item] = {}  # call id -> items of calls without an output so far
        self._left: list[Item] = []  # items of calls whose id was repeated before their output
        self._reasons = 0

    @property
    def instructions(self) -> str:
        """The system messages at the beginning, if the provider requires them in one place."""
        return "\n\n".join(filter(None, self._instructions))

    def write(self, steps: Iterable[Step]) -> None:
        """Write all steps. Raises InvalidRequest."""
        for step in steps:
            if type(step) is str:
                self.items.append({"type": "message", "role": "user", "content": step})
            elif type(step) is Message:
                self._message(step)
            else:
                self._other(step)
        if not self.items:  # providers reject an empty input
            for text in self._instructions:
                self._add("developer", text)
            self._instructions = []
        unanswered = [*self._left, *self._waiting.values()]
        if unanswered:
            self._answer_all(unanswered)

    def _other(self, step: Step) -> None:
        match step:
            case Call():
                self._call(step)
            case Output():
                call_id = self._ids.shortened(step.call_id)
                call = self._waiting.pop(call_id)
                output = write_flat(step.content, self._context)
                self.items.append({"type": _output_type(call), "call_id": call_id, "output": output})
            case Reasoning():
                self._reasoning(step)

    def _message(self, message: Message) -> None:
        role, content = message.role, message.content
        if role == "user":
            self._add(role, content)
        elif role != "assistant":
            self._direct(role, content)
        else:
            item: Item = {"type": "message", "role": role, "content": write_flat(content, self._context, of_model=True)}
            if message.phase:
                item["phase"] = message.phase
            self.items.append(item)

    def _add(self, role: str, content: Content) -> None:
        self.items.append({"type": "message", "role": role, "content": write_content(content, self._context)})

    def _direct(self, role: str, content: Content) -> None:
        """Write a system message. The first ones become the instructions, later ones keep their position.

        Later ones become developer items, because moving them to the instructions would change the beginning of the
        conversation.
        """
        quirks = self._context.quirks
        if quirks.system is System.KEEP:
            self._add("developer" if role == "developer" and quirks.developer_role else "system", content)
            return
        text = None if self.items else plain_text(content)
        if text is None:
            self._add("developer", content)
            return
        write_content(content, self._context)
        self._instructions.append(text)

    def _call(self, call: Call) -> None:
        call_id = self._ids.shortened(call.call_id)
        kind, text = ("custom_tool_call", "input") if call.custom else ("function_call", "arguments")
        arguments = call.arguments if call.custom else call.arguments or "{}"
        item: Item = {"type": kind, "call_id": call_id, "name": call.name, text: arguments}
        self.items.append(item)
        if call_id in self._waiting:
            self._left.append(self._waiting[call_id])
        self._waiting[call_id] = item

    def _reasoning(self, reasoning: Reasoning) -> None:
        for piece in reasoning.opaque:
            item: Item = {"type": "reasoning", "summary": [], "encrypted_content": piece["data"]}
            id_ = piece.get("id")
            if isinstance(id_, str) and id_:
                item["id"] = id_
            self.items.append(item)
        if reasoning.text and not reasoning.opaque:
            # Reasoning is sent as a summary, because the specification's schema allows no other form in an input.
            summary = [{"type": "summary_text", "text": reasoning.text}]
            self.items.append({"type": "reasoning", "id": f"rs_{self._reasons}", "summary": summary})
            self._reasons += 1

    def _answer_all(self, unanswered: list[Item]) -> None:
        """Apply the policy to calls without an output, which providers reject."""
        policy = self._context.policy.unanswered
        if policy is Unanswered.REJECT:
            raise InvalidRequest(self._path, f"The tool call {unanswered[0]['call_id']!r} has no output.")
        missing = set(map(id, unanswered))
        kept: list[Item] = []
        for item in self.items:
            if id(item) not in missing:
                kept.append(item)
            elif policy is Unanswered.SYNTHESIZE:
                kept += [item, {"type": _output_type(item), "call_id": item["call_id"], "output": NO_OUTPUT}]
        self.items = kept


def _output_type(call: Item) -> str:
    return f"{call['type']}_output"


def write_content(content: Content, context: TranslationContext, *, of_model: bool = False) -> Written:
    """The content of a message; ``of_model``: the message is an earlier answer."""
    kind = "output_text" if of_model else "input_text"
    if isinstance(content, str):
        return content
    return [{"type": kind, "text": part} if type(part) is str else _write(part, kind, context) for part in content]


def write_flat(content: Content, context: TranslationContext, *, of_model: bool = False) -> Written:
    """As `write_content`, but content of text only becomes one string."""
    written = write_content(content, context, of_model=of_model)
    text = plain_text(content)
    return written if text is None else text


def _write(part: Part, text_kind: str, context: TranslationContext) -> WrittenPart:
    match part:
        case str():
            return {"type": text_kind, "text": part}
        case MarkedText():
            for mark in part.marks:
                context.drop(f"{part.where}.{mark}")
            return {"type": text_kind, "text": part.text}
        case Refusal():
            return {"type": "refusal", "refusal": part.text}
        case Image():
            source = {"image_url": part.url} if part.url else {"file_id": part.file_id}
            detail = {} if part.detail is None else {"detail": part.detail}
            return {"type": "input_image", **source, **detail}
        case File():
            members = {"filename": part.name, "file_data": part.data, "file_id": part.file_id, "file_url": part.url}
            return {"type": "input_file", **{name: value for name, value in members.items() if value}}
        case Audio():
            return {"type": "input_audio", "input_audio": part.members}
        case Video():
            return {"type": "input_video", "video_url": part.url}
