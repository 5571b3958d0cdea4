"""The client's side of a streamed response: numbered events, the open item, and the completed items."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral import deltas, lenient_json
from onwards_py.transcode.neutral.context import Ids, ToolKind
from onwards_py.transcode.neutral.images import GeneratedImage
from onwards_py.transcode.neutral.sealed import ORIGIN, seal_reasoning
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.tool_search import call_item

Event = dict[str, object]
"""One event of the Responses API: ``type``, ``sequence_number``, and the members of the type."""

Item = dict[str, object]
"""One item of ``output``."""

_LEAST, _MOST = 16, 256  # bytes of a padded delta: the smallest size; the step between the sizes from there on


class EventLog:
    """Collects events. Each gets its number when it is emitted, so that no number is skipped or used twice."""

    __slots__ = ("_events", "_next", "call_ids", "context", "ids", "items")

    def __init__(self, ids: Ids, context: ResponsesContext) -> None:
        self.ids = ids
        self.context = context
        self.items: list[Item] = []
        self.call_ids: set[str] = set()
        self._events: list[Event] = []
        self._next = 0

    def emit(self, event: Event) -> None:
        """Add an event and set its ``sequence_number``, which is 0 until then."""
        event["sequence_number"] = self._next
        self._next += 1
        if self.context.obfuscation and "delta" in event:
            event["obfuscation"] = padding(event, self.ids)
        self._events.append(event)

    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events


class OpenItem:
    """The open item of a response. An item is announced only after the previous one has ended."""

    __slots__ = ("_log", "_place", "id")

    def __init__(self, log: EventLog, prefix: str) -> None:
        self.id = log.ids.new_id(prefix)
        self._log = log
        self._place: Event = {}

    def close(self, end: deltas.ItemEnd) -> None:
        """End the item."""
        raise NotImplementedError

    def _announce(self, item: Item) -> None:
        index = len(self._log.items)
        self._emit("response.output_item.added", output_index=index, item=item)
        self._place = {"item_id": self.id, "output_index": index}

    def _emit(self, type_: str, **more: object) -> None:
        self._log.emit({"type": type_, "sequence_number": 0, **self._place, **more})

    def _finish(self, item: Item) -> None:
        """Announce that the item is final, and keep it for the complete response."""
        items = self._log.items
        self._log.emit(
            {"type": "response.output_item.done", "sequence_number": 0, "output_index": len(items), "item": item}
        )
        items.append(item)


class MessageItem(OpenItem):
    """A message: text and refusal parts, one after the other."""

    __slots__ = ("_annotations", "_content", "_logprobs", "_refusal", "_texts")

    def __init__(self, log: EventLog, _start: deltas.MessageStart) -> None:
        super().__init__(log, "msg_")
        self._content: list[Item] = []
        self._refusal: bool | None = None  # whether the part is a refusal; None: no part has begun
        self._texts: list[str] = []
        self._logprobs: list[Item] = []
        self._annotations: list[Item] = []
        self._announce(self._shape("in_progress", []))

    def begin_part(self, start: deltas.PartStart) -> None:
        """Begin a part, to which further text belongs."""
        self._end_part()
        self._refusal = start.refusal
        self._texts, self._logprobs, self._annotations = [], [], []
        self._place["content_index"] = len(self._content)
        self._emit("response.content_part.added", part=self._part())

    def text(self, delta: deltas.TextDelta) -> None:
        """Write more text."""
        logprobs: list[Item] = []
        if delta.logprobs:
            logprobs = [_without_null(token) for token in delta.logprobs]
            self._logprobs += logprobs
        self._texts.append(delta.text)
        event = {"type": "response.output_text.delta", "sequence_number": 0, **self._place}
        self._log.emit({**event, "delta": delta.text, "logprobs": logprobs})

    def refuse(self, delta: deltas.RefusalDelta) -> None:
        """Write more of a refusal."""
        self._texts.append(delta.text)
        self._emit("response.refusal.delta", delta=delta.text)

    def cite(self, delta: deltas.Citations) -> None:
        """Write citations."""
        for citation in delta.citations:
            annotation: Item = {"type": "url_citation", "start_index": citation.start, "end_index": citation.end}
            annotation |= {"url": citation.url, "title": citation.title}
            index = len(self._annotations)
            self._annotations.append(annotation)
            self._emit("response.output_text.annotation.added", annotation_index=index, annotation=annotation)

    def close(self, end: deltas.ItemEnd) -> None:
        self._end_part()
        item = self._shape(_status(end.complete), self._content)
        if self._log.context.phased:
            item["phase"] = "final_answer" if end.final else "commentary"
        self._finish(item)

    def _shape(self, status: str, content: list[Item]) -> Item:
        return {"type": "message", "id": self.id, "status": status, "role": "assistant", "content": content}

    def _part(self) -> Item:
        """The part in its current state, with copies of its lists, because events with the part are encoded later."""
        text = "".join(self._texts)
        if self._refusal:
            return {"type": "refusal", "refusal": text}
        lists = {"annotations": list(self._annotations), "logprobs": list(self._logprobs)}
        return {"type": "output_text", "text": text, **lists}

    def _end_part(self) -> None:
        if self._refusal is None:
            return
        part = self._part()
        if self._refusal:
            self._emit("response.refusal.done", refusal=part["refusal"])
        else:
            self._emit("response.output_text.done", text=part["text"], logprobs=part["logprobs"])
        self._emit("response.content_part.done", part=part)
        self._content.append(part)


class ReasoningItem(OpenItem):
    """A reasoning item. One shape satisfies the specification and every client: reasoning is streamed as a summary, and
    the final item contains it twice, as ``summary`` and as ``content``."""

    __slots__ = ("_sealed", "_texts")

    def __init__(self, log: EventLog, _start: deltas.ReasoningStart) -> None:
        super().__init__(log, "rs_")
        self._sealed = ""
        self._texts: list[str] = []
        self._announce({"type": "reasoning", "id": self.id, "status": "in_progress", "summary": []})
        self._place["summary_index"] = 0

    def text(self, delta: deltas.ReasoningDelta) -> None:
        """Write more reasoning."""
        if not self._texts:
            self._emit("response.reasoning_summary_part.added", part={"type": "summary_text", "text": ""})
        self._texts.append(delta.text)
        self._emit("response.reasoning_summary_text.delta", delta=delta.text)

    def seal(self, fields: Mapping[str, object]) -> None:
        """Seal the provider's own fields, which the client stores and which are sent back to the provider unchanged."""
        context = self._log.context
        if context.origin:
            fields = {**fields, ORIGIN: context.origin}
        if context.sealer is not None:
            self._sealed = seal_reasoning(fields, context.sealer)

    def close(self, end: deltas.ItemEnd) -> None:
        item: Item = {"type": "reasoning", "id": self.id, "status": _status(end.complete), "summary": []}
        if self._texts:
            text = "".join(self._texts)
            summary = {"type": "summary_text", "text": text}
            self._emit("response.reasoning_summary_text.done", text=text)
            self._emit("response.reasoning_summary_part.done", part=summary)
            item["summary"] = [summary]
            item["content"] = [{"type": "reasoning_text", "text": text}]
        if self._sealed:
            item["encrypted_content"] = self._sealed
        self._finish(item)


_PREFIXES = {ToolKind.FUNCTION: "fc_", ToolKind.CUSTOM: "ctc_", ToolKind.SEARCH: "tsc_"}
_DELTAS = {
    ToolKind.FUNCTION: "response.function_call_arguments.delta",
    ToolKind.CUSTOM: "response.custom_tool_call_input.delta",
}


class CallItem(OpenItem):
    """A call under construction. The arguments of a tool search are one object, which is not streamed in pieces."""

    __slots__ = ("_call_id", "_delta", "_start")

    def __init__(self, log: EventLog, start: deltas.CallStart) -> None:
        super().__init__(log, _PREFIXES[start.kind])
        self._start = start
        usable = start.call_id and start.call_id not in log.call_ids
        self._call_id = start.call_id if usable else log.ids.new_id("call_")
        log.call_ids.add(self._call_id)
        self._delta = _DELTAS.get(start.kind)
        self._announce(self._shape("", "in_progress"))

    def arguments(self, delta: deltas.CallDelta) -> None:
        """Write more arguments, or more input of a custom tool."""
        if self._delta is not None:
            self._log.emit({"type": self._delta, "sequence_number": 0, **self._place, "delta": delta.text})

    def end(self, end: deltas.CallEnd) -> None:
        """End the call."""
        text = end.text
        if self._start.kind is ToolKind.FUNCTION:
            self._emit("response.function_call_arguments.done", name=self._start.name, arguments=text)
        elif self._start.kind is ToolKind.CUSTOM:
            self._emit("response.custom_tool_call_input.done", input=text)
        self._finish(self._shape(text, _status(end.complete)))

    def _shape(self, text: str, status_: str) -> Item:
        start = self._start
        if start.kind is ToolKind.SEARCH:
            return call_item(self.id, self._call_id, text, status_)
        custom = start.kind is ToolKind.CUSTOM
        type_ = "custom_tool_call" if custom else "function_call"
        item: Item = {"type": type_, "id": self.id, "status": status_, "call_id": self._call_id, "name": start.name}
        if start.namespace is not None:
            item["namespace"] = start.namespace
        item["input" if custom else "arguments"] = text
        return item


class ImageItem(OpenItem):
    """An image, which arrives in one piece."""

    __slots__ = ("_image",)

    def __init__(self, log: EventLog, image: GeneratedImage) -> None:
        super().__init__(log, "ig_")
        self._image = image
        self._announce(self._shape("in_progress", None))
        self._emit("response.image_generation_call.in_progress")

    def close(self, _end: deltas.ItemEnd) -> None:
        self._emit("response.image_generation_call.completed")
        self._finish(self._shape("completed", self._image.result))

    def _shape(self, status: str, result: str | None) -> Item:
        item: Item = {"type": "image_generation_call", "id": self.id, "status": status, "result": result}
        if self._image.format:
            item["output_format"] = self._image.format
        return item


def _status(complete: bool) -> str:
    return "completed" if complete else "incomplete"


def _without_null(token: Item) -> Item:
    """A token whose ``bytes`` and ``top_logprobs`` are never null, as the schema requires."""
    top = token["top_logprobs"]
    others = [{**one, "bytes": one["bytes"] or []} for one in top] if isinstance(top, list) else []
    return {**token, "bytes": token["bytes"] or [], "top_logprobs": others}


def padding(event: Mapping[str, object], ids: Ids) -> str:
    """Padding for an event with a ``delta``, of letters and digits that cannot be guessed (``include_obfuscation``).

    An observer of an encrypted stream can measure the length of each event, which reveals the length of each token. The
    specification defines a member for padding in events with a ``delta``, but not its length. Here the delta, its log
    probabilities and the padding have 16, 32, 64, 128 or a multiple of 256 bytes of JSON in all. So most tokens have
    the same size, and long pieces do not double in size.
    """
    size = len(lenient_json.dumps(event["delta"])) - 2
    logprobs = event.get("logprobs")
    if logprobs:
        size += len(lenient_json.dumps(logprobs))
    room = _sizes(size) - size
    made = ""
    while len(made) < room:
        made += ids.new_id("")
    return made[:room]


def _sizes(size: int) -> int:
    """The smallest of these sizes that is at least ``size``."""
    if size > _MOST:
        return size + -size % _MOST
    return max(_LEAST, 1 << max(size - 1, 0).bit_length())
