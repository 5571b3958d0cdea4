"""Tells a client the items of an answer, each thing once, however many times and in whatever form it comes."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat.write_answer import Answer
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.neutral.images import from_item
from onwards_py.transcode.neutral.surrogates import well_formed
from onwards_py.transcode.responses.call_reader import CallTeller
from onwards_py.transcode.responses.item_tracker import Item, Items, rest_of
from onwards_py.transcode.responses.output_items import (
    KIND_OF_FIELD,
    PARAGRAPH,
    Field,
    Kind,
    arguments_of,
    index_of,
    kind_of,
    message_refusal,
    message_text,
    read_annotations,
    read_logprobs,
    read_part,
    reasoning_texts,
    text_of,
)

Event = Mapping[str, object]

_WEIGHT = 256
"""About how many characters an event or item takes to remember that has none of its own."""


class Teller:
    """What one answer's items say goes to ``answer``; ``calls`` tells those of them that are calls."""

    __slots__ = ("_answer", "_cited", "_images", "_items", "_others", "_sealed", "_size", "calls")

    def __init__(self, answer: Answer, ids: Ids) -> None:
        self._size = 0
        self._answer = answer
        self._items = Items()
        self._others = False
        self._cited = False
        self._sealed: set[str] = set()
        self._images: set[str] = set()
        self.calls = CallTeller(answer, ids, self._items)

    @property
    def size(self) -> int:
        """About how many characters are kept of the answer."""
        return self._size + self.calls.size

    @property
    def empty(self) -> bool:
        """Whether there is no item at all, not even one that chat has no words for."""
        return not self._items.all and not self._others

    def delta(self, field: Field, text: str, event: Event, channel: str) -> None:
        """More of one text. ``channel``: in which of its two forms, if it is reasoning."""
        item = self._item(KIND_OF_FIELD[field], event)
        if item.done or not self._enter(item, field, event, channel):
            return
        text = item.voices[field].put(text)
        tokens = read_logprobs(event["logprobs"]) if event.get("logprobs") else []
        item.logprobs += len(tokens)
        if text or (tokens and self._answer.with_logprobs):
            self._say(item, field, text, tokens)

    def part_done(self, field: Field, full: str, event: Event, channel: str) -> None:
        """One part of a text as a whole."""
        item = self._item(KIND_OF_FIELD[field], event)
        if item.done or not self._enter(item, field, event, channel):
            return
        index = index_of(event, "summary_index" if channel == "summary" else "content_index")
        rest = item.voices[field].part_done(full, index)
        if rest:
            tokens = read_logprobs(event.get("logprobs")) if rest == full else []
            item.logprobs += len(tokens)
            self._say(item, field, rest, tokens)

    def part_added(self, event: Event) -> None:
        """A part of a message begins; that of reasoning is known by its index."""
        if event.get("type") == "response.content_part.added":
            item = self._items.find(Kind.MESSAGE, text_of(event, "item_id"), index_of(event, "output_index"))
            if item is not None:
                item.part = self._answer.length
                item.voices[Field.CONTENT].next_part()
                item.voices[Field.REFUSAL].next_part()

    def whole_part(self, part: Event, event: Event) -> None:
        """A part as a whole, with what it cites."""
        field, text = read_part(part)
        item = self._items.known(text_of(event, "item_id"), index_of(event, "output_index"))
        if field is Field.CONTENT and item is not None and item.kind is Kind.REASONING:
            self.part_done(Field.REASONING, text, event, "content")  # vLLM calls the parts of reasoning output_text
            return
        if field is not None:
            channel = {"reasoning_text": "content", "summary_text": "summary"}.get(text_of(part, "type"), "")
            self.part_done(field, text, event, channel)
        if field is Field.CONTENT and part.get("annotations"):
            item = self._item(Kind.MESSAGE, event)
            self._annotate(item, read_annotations(part["annotations"], item.part))

    def annotation(self, event: Event) -> None:
        """What the content cites."""
        item = self._item(Kind.MESSAGE, event)
        self._annotate(item, read_annotations([event.get("annotation")], item.part))

    def arguments(self, text: str, event: Event, custom: bool) -> None:
        """More of a call's arguments, or of a custom tool's input."""
        self.calls.delta(self._item(Kind.CALL, event), text, custom)

    def arguments_done(self, event: Event, custom: bool) -> None:
        """A call's arguments as a whole."""
        self.calls.arguments_done(self._item(Kind.CALL, event), event, custom)

    def item_added(self, value: Event, index: int | None) -> None:
        """An item begins. What it already says is said again, in deltas or when it is done."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            return
        id_ = text_of(value, "id")
        item = self._items.known(id_, index)
        if item is None or item.kind is not kind or item.done or _elsewhere(item, index):
            item = self._add(kind, id_, index)
        self.calls.added(item, value)

    def item_done(self, value: Event, index: int | None) -> None:
        """An item as a whole."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            self._other(value)
            return
        id_ = text_of(value, "id")
        item = self._items.known(id_, index)
        if item is None or item.kind is not kind:
            item = self._items.by_call_id(text_of(value, "call_id")) if kind is Kind.CALL else None
            if item is None or item.done:
                item = self._items.find(kind, "", index, settled=True) or item
        if item is not None and item.final is not None:
            if not _elsewhere(item, index) and _says(item.kind, item.final) == _says(kind, value):
                return
            item = None  # another one under the same id
        self._whole(item or self._add(kind, id_, index), value)

    def _whole(self, item: Item, value: Event) -> None:
        item.final = value
        match item.kind:
            case Kind.MESSAGE:
                self._message(item, value)
            case Kind.REASONING:
                self._reasoning(item, value)
            case Kind.CALL:
                self.calls.done(item, value)

    def _other(self, value: Event) -> None:
        """An item that is none of those above: an image, or one that chat has no words for."""
        image = from_item(value)
        if image is not None and image.result not in self._images:
            self._images.add(image.result)
            self._size += len(image.result)
            self._answer.image(image.data_url)

    def output(self, output: object, cut: bool) -> None:
        """The answer ended with this ``output``; what of it is new is told. ``cut``: it stopped before it was whole."""
        values = [value for value in (output if isinstance(output, list) else []) if isinstance(value, dict)]
        if self._items.all:
            self._complete(values)
        else:
            for index, value in enumerate(values):
                self._only_whole(value, index)
        for item in self._items.all:
            for field, voice in item.voices.items():
                if kept := voice.finish():
                    self._say(item, field, kept, [])
        self.calls.close(cut)

    def _only_whole(self, value: Event, index: int | None) -> None:
        """An item that did not stream. Whatever its id is, it is none of those before."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            self._other(value)
        else:
            self._whole(self._add(kind, text_of(value, "id"), index), value)

    def _item(self, kind: Kind, event: Event) -> Item:
        id_, index = text_of(event, "item_id"), index_of(event, "output_index")
        return self._items.find(kind, id_, index) or self._add(kind, id_, index)

    def _add(self, kind: Kind, id_: str, index: int | None) -> Item:
        self._size += _WEIGHT
        return self._items.add(kind, id_, index, self._answer.length)

    def _enter(self, item: Item, field: Field, event: Event, channel: str) -> bool:
        """Go to the part that ``event`` speaks of; False if it says in the other form what was said already."""
        if field is not Field.REASONING:
            return True
        item.channel = item.channel or channel
        if channel != item.channel:
            return False
        index = event.get("summary_index") if channel == "summary" else None
        index = index if type(index) is int else 0
        if index != item.summary_index:
            item.summary_index = index
            if not item.voices[field].silent:
                self._say(item, field, item.voices[field].separate(PARAGRAPH), [])
        return True

    def _say(self, item: Item, field: Field, text: str, tokens: list[object]) -> None:
        self._size += len(text) + len(tokens) * _WEIGHT
        if field is Field.REASONING and not item.spoke and self._answer.texts[field]:
            text = PARAGRAPH + text
        item.spoke = True
        self._answer.text(field, text, tokens)

    def _annotate(self, item: Item, annotations: list[object]) -> None:
        fresh = [annotation for annotation in annotations if annotation not in item.annotations]
        if fresh:
            self._cited = True
            item.annotations += fresh
            self._size += len(fresh) * _WEIGHT
            self._answer.annotate(fresh)

    def _message(self, item: Item, value: Event) -> None:
        full = message_text(value, item.opening)
        rest = item.voices[Field.CONTENT].done(full.text)
        tokens = full.logprobs[item.logprobs :] if self._answer.with_logprobs else []
        if rest or tokens:
            self._say(item, Field.CONTENT, rest, tokens)
        refusal = item.voices[Field.REFUSAL].done(message_refusal(value))
        if refusal:
            self._say(item, Field.REFUSAL, refusal, [])
        self._annotate(item, full.annotations)

    def _reasoning(self, item: Item, value: Event) -> None:
        content, summary = reasoning_texts(value)
        full = (summary if item.channel == "summary" else content) or (content or summary if not item.channel else "")
        rest = item.voices[Field.REASONING].done(full)
        if rest:
            self._say(item, Field.REASONING, rest, [])
        self._seal(value)

    def _seal(self, value: Event) -> None:
        """What only the provider can read, in the form that clients know of OpenRouter and give back."""
        data = text_of(value, "encrypted_content")
        if data and data not in self._sealed:
            self._sealed.add(data)
            self._size += len(data)
            self._answer.detail(
                {
                    "type": "reasoning.encrypted",
                    "id": text_of(value, "id") or None,
                    "format": "openai-responses-v1",
                    "data": data,
                }
            )

    def _complete(self, values: list[dict[str, object]]) -> None:
        """Tell what the last word on an answer adds to what streamed: of each text as a whole, and of each call."""
        content, refusal, citations = "", "", list[object]()
        raws: list[str] = []
        summaries: list[str] = []
        for value in values:
            kind = kind_of(value)
            if kind is Kind.MESSAGE:
                said = message_text(value, len(content))
                content += said.text
                citations += said.annotations
                refusal += message_refusal(value)
            elif kind is Kind.REASONING:
                raw, summary = reasoning_texts(value)
                raws.append(raw or summary)
                summaries.append(summary or raw)
                self._seal(value)
            elif kind is None:
                self._other(value)
        self._complete_text(Field.REASONING, [PARAGRAPH.join(filter(None, all_)) for all_ in (summaries, raws)])
        self._complete_text(Field.CONTENT, [content])
        self._complete_text(Field.REFUSAL, [refusal])
        if citations and not self._cited:
            self._answer.annotate(citations)
        for value in self.calls.match([value for value in values if kind_of(value) is Kind.CALL]):
            self._only_whole(value, None)

    def _complete_text(self, field: Field, candidates: list[str]) -> None:
        said = "".join(self._answer.texts[field])
        rest = next((rest for full in candidates if (rest := rest_of(said, well_formed(full)))), "")
        if rest:
            self._size += len(rest)
            self._answer.text(field, rest, [])
            for item in self._items.all:
                if field in item.voices:
                    item.voices[field].forget()


def _elsewhere(item: Item, index: int | None) -> bool:
    """Whether an event with this index speaks of another item than ``item``, although the id is the same."""
    return index is not None and item.index is not None and index != item.index


def _says(kind: Kind, value: Event) -> object:
    """What of a whole item makes it the same as another: not its id."""
    match kind:
        case Kind.MESSAGE:
            return message_text(value, 0).text, message_refusal(value)
        case Kind.REASONING:
            return reasoning_texts(value)
        case Kind.CALL:
            return text_of(value, "call_id"), text_of(value, "name"), arguments_of(value)
