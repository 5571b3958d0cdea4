"""A reasoning item on its way out.

One shape satisfies the specification and every client: the trace streams as a summary, and the final item has it
twice, as ``summary`` and as ``content``.
"""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat.reasoning_details import Details
from onwards_py.transcode.neutral.context import ENCRYPTED_REASONING, Context
from onwards_py.transcode.neutral.sealed import seal_reasoning
from onwards_py.transcode.neutral.surrogates import Halves
from onwards_py.transcode.responses.output_events import Item, Output, status

DEFAULT_FIELD = "reasoning_content"

ORIGIN = "onwards_origin"
"""Not a field of a chat message: the provider that said it."""

CALL_EXTRAS = "tool_call_extra_content"
"""Not a field of a chat message: call id -> ``extra_content``, to be put back on the calls themselves."""


def seals(context: Context) -> bool:
    """Whether reasoning goes back to the client sealed, so that opaque pieces of it are worth keeping."""
    return context.sealer is not None and ENCRYPTED_REASONING in context.include


class ReasoningItem:
    """Serial part of an answer; see `Segment`."""

    __slots__ = (
        "_announced",
        "_context",
        "_details",
        "_extras",
        "_field",
        "_fresh",
        "_halves",
        "_index",
        "_texts",
        "id",
        "opened",
    )

    whole = True
    ready = True

    def __init__(self, context: Context) -> None:
        self.opened = False
        self.id = ""
        self._context = context
        self._index = 0
        self._announced = False
        self._texts: list[str] = []
        self._fresh: list[str] = []
        self._halves = Halves()
        self._field = DEFAULT_FIELD
        self._details = Details()
        self._extras: dict[str, dict[str, object]] = {}

    def put(self, text: str, field: str, details: object) -> None:
        """Take more reasoning; ``field`` is the chat field it came in."""
        if text:
            self._field = field
            self._add(self._halves.feed(text))
        if details and seals(self._context):
            self._details.put(details)

    def _add(self, text: str) -> None:
        if text:
            self._texts.append(text)
            self._fresh.append(text)

    def put_extra(self, call_id: str, extra: Mapping[str, object]) -> None:
        """Take what must go back with a call; it is opaque like the rest of what is sealed."""
        self._extras[call_id] = {**self._extras.get(call_id, {}), **extra}

    def open(self, out: Output) -> None:
        self.opened = True
        self.id = out.ids.new_id("rs_")
        self._index = out.item_added({"type": "reasoning", "id": self.id, "status": "in_progress", "summary": []})

    def drain(self, out: Output) -> None:
        fresh, self._fresh = self._fresh, []
        for text in fresh:
            if not self._announced:
                self._announced = True
                self._say(out, "response.reasoning_summary_part.added", part={"type": "summary_text", "text": ""})
            self._say(out, "response.reasoning_summary_text.delta", delta=text)

    def close(self, out: Output, cut: bool) -> bool:
        self._add(self._halves.finish())
        self.drain(out)
        text = "".join(self._texts)
        item: Item = {"type": "reasoning", "id": self.id, "status": status(cut), "summary": []}
        if self._announced:
            summary = {"type": "summary_text", "text": text}
            self._say(out, "response.reasoning_summary_text.done", text=text)
            self._say(out, "response.reasoning_summary_part.done", part=summary)
            item["summary"] = [summary]
            item["content"] = [{"type": "reasoning_text", "text": text}]
        sealer = self._context.sealer
        if sealer is not None and seals(self._context):
            item["encrypted_content"] = seal_reasoning(self._fields(text), sealer)
        out.item_done(item)
        return not cut

    def _fields(self, text: str) -> Mapping[str, object]:
        """The provider's own message fields, to be given back as they were."""
        fields: dict[str, object] = {self._field: text} if text else {}
        if self._details:
            fields["reasoning_details"] = self._details.merged()
        if self._extras:
            fields[CALL_EXTRAS] = self._extras
        if self._context.origin:
            fields[ORIGIN] = self._context.origin
        return fields

    def _say(self, out: Output, type_: str, **more: object) -> None:
        place = {"item_id": self.id, "output_index": self._index, "summary_index": 0}
        out.emit({"type": type_, "sequence_number": 0, **place, **more})
