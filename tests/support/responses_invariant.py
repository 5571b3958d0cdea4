"""The stream invariant, read off the events alone: what openai-node, the AI SDK, Codex and LangChain take for granted.

A reader of its own, in the manner of the strictest client: it follows the events, keeps what they announce, and
compares.
It knows nothing of how they were made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from support.responses_bodies import (
    ITEM_PREFIXES,
    TERMINALS,
    final_breaches,
    identity_breaches,
    is_text,
    item_breaches,
    start_breaches,
)
from support.responses_promises import Breach, Json, Promise, as_dict, as_list, as_text


@dataclass(frozen=True)
class PartKind:
    """How the text of one part type travels: its events, the member with the text, and the name of the index."""

    opened: str
    delta: str
    done: str
    closed: str
    text: str
    index: str


_CONTENT = ("response.content_part.added", "response.content_part.done")
_SUMMARY = ("response.reasoning_summary_part.added", "response.reasoning_summary_part.done")
PART_KINDS = {
    "output_text": PartKind(
        _CONTENT[0], "response.output_text.delta", "response.output_text.done", _CONTENT[1], "text", "content_index"
    ),
    "refusal": PartKind(
        _CONTENT[0], "response.refusal.delta", "response.refusal.done", _CONTENT[1], "refusal", "content_index"
    ),
    "summary_text": PartKind(
        _SUMMARY[0],
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        _SUMMARY[1],
        "text",
        "summary_index",
    ),
}
_HOST = {"output_text": "message", "refusal": "message", "summary_text": "reasoning"}
ARGUMENTS = {
    "function_call": ("response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments"),
    "custom_tool_call": ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "input"),
}
IMAGE = ("response.image_generation_call.in_progress", "response.image_generation_call.completed")
LIFECYCLE = ("response.created", "response.in_progress")


@dataclass
class Part:
    """A part that was announced: what its deltas said so far, and how it was done."""

    kind: PartKind
    index: int
    text: str = ""
    logprobs: list[object] = field(default_factory=list)
    annotations: list[object] = field(default_factory=list)
    text_done: bool = False
    final: object = None

    @property
    def open(self) -> bool:
        return self.final is None


@dataclass
class Item:
    """An item that was announced, with its parts."""

    added: Json
    index: int
    parts: list[Part] = field(default_factory=list)
    arguments: str = ""
    arguments_done: bool = False

    @property
    def type(self) -> str:
        return as_text(self.added.get("type"))


class Reader:
    """Follows one stream. ``breaches`` grows while it does."""

    def __init__(self) -> None:
        self.breaches: list[Breach] = []
        self.done: list[Json] = []
        self.item: Item | None = None
        self.response: Json | None = None
        self.terminal: Json | None = None
        self._ids: set[str] = set()
        self._count = 0
        self._where = ""

    def follow(self, events: list[Json]) -> list[Breach]:
        """All breaches of a whole stream."""
        for event in events:
            self._event(event)
        if self.terminal is None:
            self._say(Promise.ONE_TERMINAL, "the stream ends without a terminal event")
        return self.breaches

    def _say(self, promise: Promise, detail: str) -> None:
        self.breaches.append(Breach(promise, f"{self._where}: {detail}"))

    def _expect(self, promise: Promise, holds: bool, detail: str) -> None:
        if not holds:
            self._say(promise, detail)

    def _event(self, event: Json) -> None:
        kind = as_text(event.get("type"))
        self._where = f"event {self._count} {kind}"
        self._expect(Promise.SEQUENCE, event.get("sequence_number") == self._count, f"{event.get('sequence_number')!r}")
        self._expect(Promise.NO_ERROR_KEY, kind == "error" or not event.get("error"), "an error at the top level")
        if self._count < len(LIFECYCLE):
            self._expect(Promise.CREATED_FIRST, kind == LIFECYCLE[self._count], f"not {LIFECYCLE[self._count]}")
        else:
            self._expect(Promise.CREATED_FIRST, kind not in LIFECYCLE, "comes late")
        self._expect(Promise.ONE_TERMINAL, self.terminal is None, "comes behind the terminal event")
        self._count += 1
        handler = HANDLERS.get(kind)
        if handler is None:
            self._say(Promise.KNOWN_EVENTS, "is not part of the common shape")
        else:
            handler(self, event)

    # the response

    def lifecycle(self, event: Json) -> None:
        self._same_response(event)
        self.breaches += start_breaches(as_dict(event.get("response")), self._where)

    def end(self, event: Json) -> None:
        self._same_response(event)
        failed = event.get("type") == "response.failed"
        self._expect(Promise.SERIAL_ITEMS, self.item is None or failed, "an item is still open")
        self.terminal = event
        body = as_dict(event.get("response"))
        kind = as_text(event.get("type"))
        self._expect(Promise.STATUS, kind == f"response.{body.get('status')}", f"status is {body.get('status')!r}")
        self._expect(Promise.FINAL_OUTPUT, body.get("output") == self.done, f"{body.get('output')!r} != {self.done!r}")
        self.breaches += final_breaches(body, self._where)

    def _same_response(self, event: Json) -> None:
        body = as_dict(event.get("response"))
        if self.response is None:
            self.response = body
            self._expect(Promise.OWN_IDS, is_text(body.get("id"), "resp_"), f"{body.get('id')!r}")
        for key in ("id", "created_at", "model", "object"):
            self._expect(
                Promise.ONE_RESPONSE,
                body.get(key) == self.response.get(key),
                f"{key} changed from {self.response.get(key)!r} to {body.get(key)!r}",
            )

    # items

    def item_added(self, event: Json) -> None:
        added = as_dict(event.get("item"))
        self._expect(Promise.SERIAL_ITEMS, self.item is None, "the item before is still open")
        self._expect(
            Promise.OUTPUT_INDEX, event.get("output_index") == len(self.done), f"{event.get('output_index')!r}"
        )
        self.breaches += identity_breaches(added, self._ids, self._where)
        self._expect(Promise.EMPTY_ADDED, added.get("status") == "in_progress", f"status {added.get('status')!r}")
        self._expect(Promise.KNOWN_EVENTS, added.get("type") in ITEM_PREFIXES, f"item type {added.get('type')!r}")
        self._expect(Promise.EMPTY_ADDED, _is_blank(added), f"{added!r}")
        self.item = Item(added, len(self.done))

    def item_done(self, event: Json) -> None:
        item, final = self._item_of(event, as_dict(event.get("item")).get("id")), as_dict(event.get("item"))
        self.item = None
        self.done.append(final)
        self.breaches += item_breaches(final, self._where)
        if item is None:
            return
        for key in ("id", "type", "role", "call_id", "name", "namespace"):
            before, after = item.added.get(key), final.get(key)
            self._expect(Promise.SAME_ITEM, before == after, f"{key} was {before!r}, is {after!r}")
        self._expect(Promise.PARTS, not any(part.open for part in item.parts), "a part is still open")
        finals = [part.final for part in item.parts]
        if item.type in ("message", "reasoning"):
            shown = final.get("content" if item.type == "message" else "summary")
            self._expect(Promise.SAME_TEXT, shown == finals, f"{shown!r} != parts done {finals!r}")
        elif item.type in ARGUMENTS:
            shown = final.get(ARGUMENTS[item.type][2])
            self._expect(Promise.DELTAS, item.arguments_done, "no .done event of the arguments")
            self._expect(Promise.SAME_TEXT, shown == item.arguments, f"{shown!r} != deltas {item.arguments!r}")

    def _item_of(self, event: Json, item_id: object) -> Item | None:
        """The open item, which the event has to name."""
        if self.item is None:
            self._say(Promise.SERIAL_ITEMS, "no item is open")
            return None
        index, known = event.get("output_index"), self.item.added.get("id")
        self._expect(Promise.OUTPUT_INDEX, index == self.item.index, f"{index!r} is not {self.item.index}")
        promise = Promise.SAME_ITEM if event.get("type") == "response.output_item.done" else Promise.ITEM_ID
        self._expect(promise, item_id == known, f"item {item_id!r} is not {known!r}")
        return self.item

    # parts

    def part_added(self, event: Json) -> None:
        item, part = self._item_of(event, event.get("item_id")), as_dict(event.get("part"))
        kind = PART_KINDS.get(as_text(part.get("type")))
        if item is None:
            return
        if kind is None or kind.opened != event.get("type") or _HOST[as_text(part.get("type"))] != item.type:
            self._say(Promise.PARTS, f"part {part.get('type')!r} in a {item.type}")
            return
        self._expect(Promise.PARTS, not any(each.open for each in item.parts), "the part before is still open")
        self._expect(Promise.PARTS, event.get(kind.index) == len(item.parts), f"{kind.index} {event.get(kind.index)!r}")
        self._expect(Promise.PARTS, part.get(kind.text) == "", f"{kind.text} {part.get(kind.text)!r}")
        if part.get("type") == "output_text":
            self._expect(Promise.ANNOTATIONS, part.get("annotations") == [], "the part begins without annotations: []")
            self._expect(Promise.LOGPROBS, part.get("logprobs") == [], "the part begins without logprobs: []")
        item.parts.append(Part(kind, len(item.parts)))

    def part_delta(self, event: Json) -> None:
        part = self._part_of(event)
        saying = is_text(event.get("delta")) or (event.get("delta") == "" and bool(event.get("logprobs")))
        self._expect(Promise.DELTAS, saying, f"delta {event.get('delta')!r}")
        if part is None:
            return
        self._expect(Promise.DELTAS, not part.text_done, "a delta behind the text's done")
        part.text += as_text(event.get("delta"))
        if part.kind.text == "text" and part.kind.index == "content_index":
            self._expect(Promise.LOGPROBS, isinstance(event.get("logprobs"), list), "no logprobs: []")
            part.logprobs += as_list(event.get("logprobs"))

    def part_text_done(self, event: Json) -> None:
        part = self._part_of(event)
        if part is None:
            return
        self._expect(Promise.DELTAS, not part.text_done, "done twice")
        part.text_done = True
        shown = event.get(part.kind.text)
        self._expect(Promise.DELTAS, shown == part.text, f"{shown!r} != deltas {part.text!r}")
        if event.get("type") == "response.output_text.done":
            self._expect(
                Promise.LOGPROBS, event.get("logprobs") == part.logprobs, "logprobs are not those of the deltas"
            )

    def annotation_added(self, event: Json) -> None:
        part = self._part_of(event)
        if part is not None:
            at = event.get("annotation_index")
            self._expect(Promise.ANNOTATIONS, at == len(part.annotations), f"annotation_index {at!r}")
            part.annotations.append(event.get("annotation"))

    def part_done(self, event: Json) -> None:
        part = self._part_of(event)
        if part is None:
            return
        final = as_dict(event.get("part"))
        part.final = final
        self._expect(Promise.PARTS, part.text_done, "no .done event of the text")
        shown = final.get(part.kind.text)
        self._expect(Promise.SAME_TEXT, shown == part.text, f"{shown!r} != deltas {part.text!r}")
        if final.get("type") == "output_text":
            self._expect(Promise.LOGPROBS, final.get("logprobs") == part.logprobs, f"{final.get('logprobs')!r}")
            self._expect(Promise.ANNOTATIONS, final.get("annotations") == part.annotations, "not those of the events")

    def _part_of(self, event: Json) -> Part | None:
        """The open part, which the event has to name and to fit."""
        item = self._item_of(event, event.get("item_id"))
        part = item.parts[-1] if item is not None and item.parts else None
        if part is None or not part.open:
            self._say(Promise.PARTS, "no part is open")
            return None
        kind = part.kind
        fits = event.get("type") in (kind.delta, kind.done, kind.closed, "response.output_text.annotation.added")
        self._expect(Promise.PARTS, fits, "does not belong to the open part")
        self._expect(Promise.PARTS, event.get(kind.index) == part.index, f"{kind.index} {event.get(kind.index)!r}")
        return part if fits else None

    # arguments

    def arguments_delta(self, event: Json) -> None:
        item = self._call_of(event)
        self._expect(Promise.DELTAS, is_text(event.get("delta")), f"delta {event.get('delta')!r}")
        if item is not None:
            self._expect(Promise.DELTAS, not item.arguments_done, "a delta behind done")
            item.arguments += as_text(event.get("delta"))

    def arguments_done(self, event: Json) -> None:
        item = self._call_of(event)
        if item is not None:
            self._expect(Promise.DELTAS, not item.arguments_done, "done twice")
            item.arguments_done = True
            shown = event.get(ARGUMENTS[item.type][2])
            self._expect(Promise.DELTAS, shown == item.arguments, f"{shown!r} != deltas {item.arguments!r}")

    def image(self, event: Json) -> None:
        item = self._item_of(event, event.get("item_id"))
        if item is not None:
            self._expect(Promise.ITEM_ID, item.type == "image_generation_call", f"an image for a {item.type}")

    def _call_of(self, event: Json) -> Item | None:
        item = self._item_of(event, event.get("item_id"))
        if item is not None and event.get("type") not in ARGUMENTS.get(item.type, ()):
            self._say(Promise.ITEM_ID, f"arguments for a {item.type}")
            return None
        return item


HANDLERS: dict[str, Callable[[Reader, Json], None]] = {
    **dict.fromkeys(LIFECYCLE, Reader.lifecycle),
    **dict.fromkeys(IMAGE, Reader.image),
    **{f"response.{status}": Reader.end for status in TERMINALS},
    "response.output_item.added": Reader.item_added,
    "response.output_item.done": Reader.item_done,
    "response.output_text.annotation.added": Reader.annotation_added,
    **{kind.opened: Reader.part_added for kind in PART_KINDS.values()},
    **{kind.delta: Reader.part_delta for kind in PART_KINDS.values()},
    **{kind.done: Reader.part_text_done for kind in PART_KINDS.values()},
    **{kind.closed: Reader.part_done for kind in PART_KINDS.values()},
    **{names[0]: Reader.arguments_delta for names in ARGUMENTS.values()},
    **{names[1]: Reader.arguments_done for names in ARGUMENTS.values()},
}


def _is_blank(added: Json) -> bool:
    """Whether an item says who it is and nothing else yet."""
    kind = added.get("type")
    if kind == "message":
        return added.get("role") == "assistant" and added.get("content") == []
    if kind == "reasoning":
        return added.get("summary") == [] and not added.get("content")
    if kind == "image_generation_call":
        return added.get("result") is None
    if kind == "tool_search_call":
        return added.get("arguments") == {} and is_text(added.get("call_id"))
    text = ARGUMENTS[kind][2] if isinstance(kind, str) and kind in ARGUMENTS else ""
    return is_text(added.get("name")) and is_text(added.get("call_id")) and added.get(text) == ""


def stream_breaches(events: list[Json]) -> list[Breach]:
    """What the events of one stream break of the invariant."""
    return Reader().follow(events)
