"""Tells a client the items of an answer, each thing once, however many times and in whatever form it comes."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.chat_over_responses.answer import Answer
from onwards_py.transcode.chat_over_responses.output_items import (
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
from onwards_py.transcode.chat_over_responses.said import Call, Item, Items, rest_of
from onwards_py.transcode.responses_over_chat.context import Ids

Event = Mapping[str, object]

_WEIGHT = 256
"""About how many characters an event or item takes to remember that has none of its own."""


class Teller:
    """What one answer's items say goes to ``answer``. ``size``: about how many characters are kept of it.

    ``hidden``: names of calls that could not be told.
    """

    __slots__ = ("_answer", "_call_ids", "_ids", "_items", "_others", "_sealed", "hidden", "size")

    def __init__(self, answer: Answer, ids: Ids) -> None:
        self.size = 0
        self.hidden: list[str] = []
        self._answer = answer
        self._ids = ids
        self._items = Items()
        self._others = False
        self._call_ids: set[str] = set()
        self._sealed: set[str] = set()

    @property
    def empty(self) -> bool:
        """Whether there is no item at all, not even one that chat has no words for."""
        return not self._items.all and not self._others

    @property
    def nameless(self) -> bool:
        """Whether there is a call whose name has not come."""
        return any(item.call is not None and not item.call.name for item in self._items.all)

    def delta(self, field: Field, text: str, event: Event, channel: str) -> None:
        """More of one text. ``channel``: in which of its two forms, if it is reasoning."""
        item = self._item(KIND_OF_FIELD[field], event)
        if item.done or not self._enter(item, field, event, channel):
            return
        item.voices[field].put(text)
        tokens = read_logprobs(event["logprobs"]) if event.get("logprobs") else []
        item.logprobs += len(tokens)
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
        item = self._items.known(text_of(event, "item_id"))
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
        item = self._item(Kind.CALL, event)
        call = item.call
        if call is not None and not call.settled:
            call.custom |= custom and call.number is None
            self.size += len(text)
            call.put(text)
            self._advance(call)

    def arguments_done(self, event: Event, custom: bool) -> None:
        """A call's arguments as a whole."""
        call = self._item(Kind.CALL, event).call
        if call is not None and not call.settled:
            call.custom |= custom and call.number is None
            call.name = call.name or text_of(event, "name")
            self._settle(call, arguments_of(event))

    def item_added(self, value: Event, index: int | None) -> None:
        """An item begins. What it already says is believed when it is done: most say it again in deltas."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            return
        id_ = text_of(value, "id")
        item = self._items.known(id_) if id_ else None
        if item is None or item.kind is not kind:
            item = self._add(kind, id_, index)
        if item.call is not None:
            self._learn(item, item.call, value)
            item.call.spare = arguments_of(value) or ""

    def item_done(self, value: Event, index: int | None) -> None:
        """An item as a whole."""
        kind = kind_of(value)
        self._others |= kind is None
        if kind is None:
            return
        id_ = text_of(value, "id")
        item = self._items.known(id_)
        if item is None or item.kind is not kind:
            item = self._items.by_call_id(text_of(value, "call_id")) if kind is Kind.CALL else None
            item = item or self._items.find(kind, "", index, settled=True) or self._add(kind, id_, index)
        if item.done:
            return
        item.done = True
        match kind:
            case Kind.MESSAGE:
                self._message(item, value)
            case Kind.REASONING:
                self._reasoning(item, value)
            case Kind.CALL:
                self._call(item, value)

    def output(self, output: object, cut: bool) -> None:
        """The answer ended with this ``output``; what of it is new is told. ``cut``: it stopped before it was whole."""
        values = [value for value in (output if isinstance(output, list) else []) if isinstance(value, dict)]
        if self._items.all:
            self._complete(values)
        else:
            for index, value in enumerate(values):
                self.item_done(value, index)
        for item in self._items.all:
            if item.call is not None:
                self._close(item.call, cut)

    def _item(self, kind: Kind, event: Event) -> Item:
        id_, index = text_of(event, "item_id"), index_of(event, "output_index")
        return self._items.find(kind, id_, index) or self._add(kind, id_, index)

    def _add(self, kind: Kind, id_: str, index: int | None) -> Item:
        self.size += _WEIGHT
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
                item.voices[field].separate(PARAGRAPH)
                self._say(item, field, PARAGRAPH, [])
        return True

    def _say(self, item: Item, field: Field, text: str, tokens: list[object]) -> None:
        self.size += len(text) + len(tokens) * _WEIGHT
        if field is Field.REASONING and not item.spoke and self._answer.texts[field]:
            text = PARAGRAPH + text
        item.spoke = True
        self._answer.text(field, text, tokens)

    def _annotate(self, item: Item, annotations: list[object]) -> None:
        fresh = [annotation for annotation in annotations if annotation not in item.annotations]
        if fresh:
            item.annotations += fresh
            self.size += len(fresh) * _WEIGHT
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
            self.size += len(data)
            self._answer.detail(
                {
                    "type": "reasoning.encrypted",
                    "id": text_of(value, "id") or None,
                    "format": "openai-responses-v1",
                    "data": data,
                }
            )

    def _call(self, item: Item, value: Event) -> None:
        call = item.call
        if call is not None:
            self._learn(item, call, value)
            call.identified = True  # whatever it was not told by now will not come
            arguments = arguments_of(value)
            self._settle(call, arguments if arguments is not None or call.arguments else call.spare)

    def _learn(self, item: Item, call: Call, value: Event) -> None:
        """Take what an item says of its call's identity."""
        call.name = call.name or text_of(value, "name")
        call.custom |= value.get("type") == "custom_tool_call" and call.number is None
        given = text_of(value, "call_id")
        if given and not call.given_id:
            call.given_id = given
            call.identified = True
            self._items.identify(item, given)
        self._advance(call)

    def _settle(self, call: Call, full: str | None) -> None:
        before = len(call.arguments)
        call.settle(full)
        self.size += len(call.arguments) - before
        self._advance(call)

    def _advance(self, call: Call) -> None:
        """Tell what can be told of a call: nothing before its name and its id."""
        if not call.name or not call.identified or call.hidden:
            return
        if call.number is None:
            call.call_id = self._call_id(call.given_id)
            self._answer.announce(call)
            if call.hidden:
                self.hidden.append(call.name)
                return
        self._answer.arguments(call)

    def _call_id(self, given: str) -> str:
        """The provider's id if it will do, else ours: a client could not tell two calls with one id apart."""
        if not given or given in self._call_ids:
            given = self._ids.new_id("call_")
        self._call_ids.add(given)
        return given

    def _close(self, call: Call, cut: bool) -> None:
        """No more comes. A function without arguments has an empty object of them."""
        if not call.arguments and call.spare:
            call.put(call.spare)
        if not cut and not call.custom and not call.arguments.strip():
            call.put("{}")
        call.identified = True
        self._advance(call)

    def _complete(self, values: list[dict[str, object]]) -> None:
        """Tell what the last word on an answer adds to what streamed: of each text as a whole, and of each call."""
        texts: dict[Field, list[str]] = {Field.CONTENT: [], Field.REFUSAL: []}
        contents: list[str] = []
        summaries: list[str] = []
        calls: list[dict[str, object]] = []
        for value in values:
            match kind_of(value):
                case Kind.MESSAGE:
                    texts[Field.CONTENT].append(message_text(value, 0).text)
                    texts[Field.REFUSAL].append(message_refusal(value))
                case Kind.REASONING:
                    content, summary = reasoning_texts(value)
                    contents.append(content or summary)
                    summaries.append(summary or content)
                    self._seal(value)
                case Kind.CALL:
                    calls.append(value)
        for field, whole in texts.items():
            self._complete_text(field, ["".join(whole)])
        self._complete_text(Field.REASONING, [PARAGRAPH.join(filter(None, all_)) for all_ in (summaries, contents)])
        self._complete_calls(calls)

    def _complete_text(self, field: Field, candidates: list[str]) -> None:
        said = "".join(self._answer.texts[field])
        rest = next((rest for full in candidates if (rest := rest_of(said, full))), "")
        if rest:
            self.size += len(rest)
            self._answer.text(field, rest, [])

    def _complete_calls(self, values: list[dict[str, object]]) -> None:
        """Calls are the same by their id, or by their place where the stream gave no id."""
        seen = [item for item in self._items.all if item.call is not None]
        for place, value in enumerate(values):
            item = self._items.by_call_id(text_of(value, "call_id"))
            if item is None and place < len(seen) and (call := seen[place].call) is not None and not call.given_id:
                item = seen[place]
            if item is None:
                self.item_done(value, None)
            elif not item.done:
                item.done = True
                self._call(item, value)
