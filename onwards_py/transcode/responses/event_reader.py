"""Reads the items of an answer. Every text is written once, although providers repeat it in several events."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.deltas import (
    Citation,
    Citations,
    Delta,
    OpaqueReasoning,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
)
from onwards_py.transcode.neutral.images import from_item
from onwards_py.transcode.neutral.logprobs import read_logprobs
from onwards_py.transcode.neutral.sealed import RESPONSES_REASONING
from onwards_py.transcode.neutral.surrogates import well_formed
from onwards_py.transcode.responses.call_reader import CallReader
from onwards_py.transcode.responses.item_tracker import ItemTracker, TrackedItem, rest_of
from onwards_py.transcode.responses.output_items import (
    KIND_OF_FIELD,
    PARAGRAPH,
    Field,
    ItemKind,
    arguments_of,
    index_of,
    kind_of,
    message_refusal,
    message_text,
    read_citations,
    read_part,
    reasoning_texts,
    text_of,
)

Event = Mapping[str, object]

_WEIGHT = 256
"""Approximate memory, in characters, of an event or item without text."""


class EventReader:
    """Appends the deltas of one answer's items to ``out``; ``calls`` reads the calls among them.

    ``size``: approximate number of characters in memory, without those of calls.
    ``only_one_call``: the client's API allows one call only.
    """

    def __init__(self, only_one_call: bool) -> None:
        self.out: list[Delta] = []
        self.size = 0
        self._items = ItemTracker()
        self._others = False
        self._cited = False
        self._sealed: set[str] = set()
        self._images: set[str] = set()
        self._length = 0  # characters of content
        self._texts: dict[Field, list[str]] = {"content": [], "refusal": [], "reasoning": []}
        self.calls = CallReader(self.out, self._items, only_one_call)

    @property
    def empty(self) -> bool:
        """Whether the answer has no items, not even of types that are not converted to deltas."""
        return not self._items.all and not self._others

    def delta(self, field: Field, text: str, event: Event, channel: str) -> None:
        """More of one text. ``channel``: the form of reasoning, content or summary."""
        item = self.item(KIND_OF_FIELD[field], event)
        if item.final is not None or (field == "reasoning" and not self._enter(item, field, event, channel)):
            return
        text = item.texts[field].put(text)
        tokens = read_logprobs(event["logprobs"]) if event.get("logprobs") else []
        item.logprobs += len(tokens)
        if text or tokens:
            self._emit(item, field, text, tokens)

    def part_done(self, field: Field, full: str, event: Event, channel: str) -> None:
        """A complete part of a text."""
        item = self.item(KIND_OF_FIELD[field], event)
        if item.final is not None or (field == "reasoning" and not self._enter(item, field, event, channel)):
            return
        index = index_of(event, "summary_index" if channel == "summary" else "content_index")
        rest = item.texts[field].part_done(full, index)
        if rest:
            tokens = read_logprobs(event.get("logprobs")) if rest == full else []
            item.logprobs += len(tokens)
            self._emit(item, field, rest, tokens)

    def part_added(self, event: Event) -> None:
        """A part of a message begins. Parts of reasoning are found by their index instead."""
        if event.get("type") == "response.content_part.added":
            item = self._items.find("message", text_of(event, "item_id"), index_of(event, "output_index"))
            if item is not None:
                item.part = self._length
                item.texts["content"].next_part()
                item.texts["refusal"].next_part()

    def whole_part(self, part: Event, event: Event) -> None:
        """A complete part, with its citations."""
        field, text = read_part(part)
        item = self._items.known(text_of(event, "item_id"), index_of(event, "output_index"))
        if field == "content" and item is not None and item.kind == "reasoning":
            self.part_done("reasoning", text, event, "content")  # vLLM calls the parts of reasoning output_text
            return
        if field is not None:
            channel = {"reasoning_text": "content", "summary_text": "summary"}.get(text_of(part, "type"), "")
            self.part_done(field, text, event, channel)
        if field == "content" and part.get("annotations"):
            item = self.item("message", event)
            self._cite(item, read_citations(part["annotations"], item.part))

    def annotation(self, event: Event) -> None:
        """A citation in the content."""
        item = self.item("message", event)
        self._cite(item, read_citations([event.get("annotation")], item.part))

    def item_added(self, value: Event, index: int | None) -> None:
        """An item begins. Its content is repeated in later events, so it is ignored here."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            return
        id_ = text_of(value, "id")
        item = self._items.known(id_, index)
        if item is None or item.kind != kind or item.done or _elsewhere(item, index):
            item = self._add(kind, id_, index)
        self.calls.added(item, value)

    def item_done(self, value: Event, index: int | None) -> None:
        """A complete item."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            self._other(value)
            return
        id_ = text_of(value, "id")
        item = self._items.known(id_, index)
        if item is None or item.kind != kind:
            item = self._items.by_call_id(text_of(value, "call_id")) if kind == "call" else None
            if item is None or item.done:
                item = self._items.find(kind, "", index, settled=True) or item
        if item is not None and item.final is not None:
            if not _elsewhere(item, index) and _content_of(item.kind, item.final) == _content_of(kind, value):
                return
            item = None  # another item with the same id
        self._whole(item or self._add(kind, id_, index), value)

    def _whole(self, item: TrackedItem, value: Event) -> None:
        item.final = value
        match item.kind:
            case "message":
                self._message(item, value)
            case "reasoning":
                self._reasoning(item, value)
            case "call":
                self.calls.done(item, value)

    def _other(self, value: Event) -> None:
        """An item of another type: an image, or an item that is not converted to deltas."""
        image = from_item(value)
        if image is not None and image.result not in self._images:
            self._images.add(image.result)
            self.size += len(image.result)
            self.out.append(image)

    def output(self, output: object, cut: bool) -> None:
        """The answer ended with this ``output``: write its new parts. ``cut``: the answer is truncated."""
        values = [value for value in (output if isinstance(output, list) else []) if isinstance(value, dict)]
        if self._items.all:
            self._complete(values)
        else:
            for index, value in enumerate(values):
                self._only_whole(value, index)
        for item in self._items.all:
            for field, text in item.texts.items():
                if kept := text.finish():
                    self._emit(item, field, kept, [])
        self.calls.close(cut)

    def _only_whole(self, value: Event, index: int | None) -> None:
        """An item that was not streamed. It is a new item even if its id is known."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            self._other(value)
        else:
            self._whole(self._add(kind, text_of(value, "id"), index), value)

    def item(self, kind: ItemKind, event: Event) -> TrackedItem:
        """The item to which a delta belongs; it is created if necessary."""
        given = event.get("item_id")
        item = self._items.by_id.get(given) if type(given) is str else None
        if item is not None and item.kind == kind and item.index == event.get("output_index"):
            return item
        id_, index = text_of(event, "item_id"), index_of(event, "output_index")
        return self._items.find(kind, id_, index) or self._add(kind, id_, index)

    def _add(self, kind: ItemKind, id_: str, index: int | None) -> TrackedItem:
        self.size += _WEIGHT
        return self._items.add(kind, id_, index, self._length)

    def _enter(self, item: TrackedItem, field: Field, event: Event, channel: str) -> bool:
        """Begin the part of ``event``. False if the event repeats reasoning that was written in the other form."""
        item.channel = item.channel or channel
        if channel != item.channel:
            return False
        index = event.get("summary_index") if channel == "summary" else None
        index = index if type(index) is int else 0
        if index != item.summary_index:
            item.summary_index = index
            if not item.texts[field].empty:
                self._emit(item, field, item.texts[field].separate(PARAGRAPH), [])
        return True

    def _emit(self, item: TrackedItem, field: Field, text: str, tokens: list[dict[str, object]]) -> None:
        self.size += len(text) + len(tokens) * _WEIGHT
        if field == "reasoning" and not item.emitted and self._texts[field]:
            text = PARAGRAPH + text
        item.emitted = True
        self._write(field, text, tokens)

    def _write(self, field: Field, text: str, tokens: list[dict[str, object]]) -> None:
        self._texts[field].append(text)
        if field == "content":
            self._length += len(text)
            self.out.append(TextDelta(text, tokens))
        else:
            self.out.append(RefusalDelta(text) if field == "refusal" else ReasoningDelta(text))

    def _cite(self, item: TrackedItem, citations: list[Citation]) -> None:
        fresh = [citation for citation in citations if citation not in item.citations]
        if fresh:
            self._cited = True
            item.citations += fresh
            self.size += len(fresh) * _WEIGHT
            self.out.append(Citations(fresh))

    def _message(self, item: TrackedItem, value: Event) -> None:
        full = message_text(value, item.opening)
        rest = item.texts["content"].done(full.text)
        tokens = full.logprobs[item.logprobs :]
        if rest or tokens:
            self._emit(item, "content", rest, tokens)
        refusal = item.texts["refusal"].done(message_refusal(value))
        if refusal:
            self._emit(item, "refusal", refusal, [])
        self._cite(item, full.citations)

    def _reasoning(self, item: TrackedItem, value: Event) -> None:
        content, summary = reasoning_texts(value)
        full = (summary if item.channel == "summary" else content) or (content or summary if not item.channel else "")
        rest = item.texts["reasoning"].done(full)
        if rest:
            self._emit(item, "reasoning", rest, [])
        self._seal(value)

    def _seal(self, value: Event) -> None:
        """Reasoning that only the provider can read."""
        data = text_of(value, "encrypted_content")
        if data and data not in self._sealed:
            self._sealed.add(data)
            self.size += len(data)
            self.out.append(OpaqueReasoning(RESPONSES_REASONING, data, text_of(value, "id")))

    def _complete(self, values: list[dict[str, object]]) -> None:
        """Write the parts of the final output that were not streamed: the rest of each text, and of each call."""
        content, refusal, citations = "", "", list[Citation]()
        raws: list[str] = []
        summaries: list[str] = []
        for value in values:
            kind = kind_of(value)
            if kind == "message":
                found = message_text(value, len(content))
                content += found.text
                citations += found.citations
                refusal += message_refusal(value)
            elif kind == "reasoning":
                raw, summary = reasoning_texts(value)
                raws.append(raw or summary)
                summaries.append(summary or raw)
                self._seal(value)
            elif kind is None:
                self._other(value)
        self._complete_text("reasoning", [PARAGRAPH.join(filter(None, all_)) for all_ in (summaries, raws)])
        self._complete_text("content", [content])
        self._complete_text("refusal", [refusal])
        if citations and not self._cited:
            self.out.append(Citations(citations))
        for value in self.calls.match([value for value in values if kind_of(value) == "call"]):
            self._only_whole(value, None)

    def _complete_text(self, field: Field, candidates: list[str]) -> None:
        came = "".join(self._texts[field])
        rest = next((rest for full in candidates if (rest := rest_of(came, well_formed(full)))), "")
        if rest:
            self.size += len(rest)
            self._write(field, rest, [])
            for item in self._items.all:
                if field in item.texts:
                    item.texts[field].forget()


def _elsewhere(item: TrackedItem, index: int | None) -> bool:
    """Whether an event with this index belongs to another item than ``item``, although the id is the same."""
    return index is not None and item.index is not None and index != item.index


def _content_of(kind: ItemKind, value: Event) -> object:
    """The content of a complete item, by which repetitions are recognised; the id is not a part of it."""
    match kind:
        case "message":
            return message_text(value, 0).text, message_refusal(value)
        case "reasoning":
            return reasoning_texts(value)
        case "call":
            return text_of(value, "call_id"), text_of(value, "name"), arguments_of(value)
