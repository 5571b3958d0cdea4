"""Repairs the events of a Responses stream: indexes, numbers, announcements, the final output.

Added data always follow from the stream itself. Changed ids, missing ends and missing names of calls are not invented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from onwards_py.transcode.responses.repair.items import (
    Event,
    Item,
    Items,
    Known,
    as_index,
    blank,
    blank_part,
    complete_item,
    complete_part,
    item_of,
    text_of,
)

_LARGEST = 2**53
_TEXTS: Mapping[str, tuple[str, str]] = {
    "output_text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning_text", "text"),
    "reasoning": ("reasoning_text", "text"),
    "function_call_arguments": ("function_call", "arguments"),
    "custom_tool_call_input": ("custom_tool_call", "input"),
}
"""By what the events of a text are named for: the type of its part or its call, and its member there and in `done`."""

_EVENTS: Mapping[str, str] = {
    **{f"{name}.{what}": kind for name, (kind, _) in _TEXTS.items() for what in ("delta", "done")},
    "output_text.annotation.added": "output_text",
}
_SUMMARY_EVENTS = frozenset(
    f"reasoning_summary_{what}" for what in ("part.added", "part.done", "text.delta", "text.done")
)
_CALL_TEXTS = {"function_call": "function_call_arguments", "custom_tool_call": "custom_tool_call_input"}
_MESSAGE_PARTS = ("output_text", "refusal")
_STATUSES: Mapping[str, str] = {
    "created": "in_progress",
    "queued": "queued",
    "in_progress": "in_progress",
    "completed": "completed",
    "incomplete": "incomplete",
    "failed": "failed",
}
_ENDS = frozenset({"completed", "incomplete", "failed"})
_ANSWERED = frozenset({"completed", "incomplete"})
_NO_USAGE: Mapping[str, object] = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


class Repaired(NamedTuple):
    """The result for one event. ``before``: missing events to send before it. ``changed``: the event was repaired in
    place.

    ``superfluous``: the event is a repetition that crashes clients, and must be dropped.
    """

    before: list[Event]
    changed: bool
    superfluous: bool = False


class EventRepair:
    """The events of one answer, in order, each repaired in place.

    ``created_at`` (seconds since the epoch) and ``model`` are used if the provider's are missing. Items are kept to
    fill an empty final output; ``limit`` is the maximum of their bytes, beyond which such an output stays empty.
    """

    __slots__ = ("_before", "_changed", "_created_at", "_id", "_items", "_kept", "_last", "_left", "_model", "ended")

    def __init__(self, created_at: int, model: str | None, limit: int) -> None:
        self.ended = False
        self._created_at = created_at
        self._model = model
        self._left = limit
        self._id: object = None
        self._last = -1
        self._items = Items()
        self._kept: dict[int, Item] | None = {}
        self._before: list[Event] = []
        self._changed = False

    def repair(self, event: Event, size: int) -> Repaired:
        """Take the next event, of ``size`` bytes."""
        self._before, self._changed = [], False
        type_ = event.get("type")
        superfluous = False
        if isinstance(type_, str) and type_.startswith("response."):
            superfluous = self._repair_fields(event, type_.removeprefix("response."), size)
        if superfluous:
            return Repaired([], False, superfluous=True)
        for missing in self._before:
            self._number(missing)
        self._number(event)
        return Repaired(self._before, self._changed)

    def _repair_fields(self, event: Event, type_: str, size: int) -> bool:
        if type_ in _STATUSES:
            response = event.get("response")
            if isinstance(response, dict):
                self._lifecycle(response, type_)
            self._items.whole |= type_ == "created"
            self.ended |= type_ in _ENDS
        elif type_ == "output_item.added":
            return self._added(event)
        elif type_ == "output_item.done":
            self._done(event, size)
        elif type_ in ("content_part.added", "content_part.done"):
            self._part(event, type_)
        elif type_ in _EVENTS and _EVENTS[type_] not in _CALL_TEXTS:
            self._in_part(event, type_, _EVENTS[type_])
        else:
            self._in_item(event, type_)
        return False

    def _set(self, owner: Event, name: str, value: object) -> None:
        old = owner.get(name)
        if old != value or type(old) is not type(value):
            owner[name] = value
            self._changed = True

    def _number(self, event: Event) -> None:
        """Set the number if it is not higher than the last one. Gaps are allowed: a resumed stream continues an earlier
        numbering."""
        number = event.get("sequence_number")
        if type(number) is not int or not self._last < number < _LARGEST:
            self._set(event, "sequence_number", self._last + 1)
            number = self._last + 1
        self._last = number

    def _lifecycle(self, response: Item, type_: str) -> None:
        if self._id is None:
            self._id = response.get("id")
        fill: dict[str, object] = {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "status": _STATUSES[type_],
            "model": self._model,
            "output": [],
        }
        for name, value in fill.items():
            if response.get(name) is None and value is not None:
                self._set(response, name, value)
        created_at = response["created_at"]
        if isinstance(created_at, float) and 0 <= created_at < _LARGEST:  # some clients accept only integers
            self._set(response, "created_at", int(created_at))
        if type_ in _ANSWERED:
            self._output(response, type_)
            self._usage(response)

    def _output(self, response: Item, type_: str) -> None:
        output = response["output"]
        if output == [] and self._kept:
            self._set(response, "output", [self._kept[index] for index in sorted(self._kept)])
        elif isinstance(output, list):
            status = "completed" if type_ == "completed" else None
            for item in output:
                self._changed |= isinstance(item, dict) and complete_item(item, status)
        if type_ == "completed" and isinstance(output, list):
            self._end_items(output)

    def _end_items(self, output: list[object]) -> None:
        """Add the missing ends of items, because some clients read only those."""
        final = {item.get("id"): item for item in output if isinstance(item, dict) and isinstance(item.get("id"), str)}
        for known in self._items.all:
            item = final.get(known.id)
            if item is None or known.done or item.get("type") != known.kind:
                continue
            self._add_missing_deltas(known, item)
            known.done = True
            self._before.append({"type": "response.output_item.done", "output_index": known.index, "item": item})

    def _usage(self, response: Item) -> None:
        """Replace unknown counts by 0, because clients crash on null."""
        usage = response.get("usage")
        if usage is None:
            self._set(response, "usage", dict(_NO_USAGE))
        elif isinstance(usage, dict):
            counts = [usage.get(name) for name in ("input_tokens", "output_tokens")]
            known = [as_index(count, 0) for count in counts]
            for name, value in (("input_tokens", known[0]), ("output_tokens", known[1]), ("total_tokens", sum(known))):
                if usage.get(name) is None:
                    self._set(usage, name, value)

    def _added(self, event: Event) -> bool:
        item = event.get("item")
        if not isinstance(item, dict):
            return False
        claimed = event.get("output_index")
        known = self._items.find(item.get("id"), claimed, None) if isinstance(item.get("id"), str) else None
        if known is not None and self._items.repeats(known, item, claimed):
            return True
        known = self._items.add(item, claimed)
        self._set(event, "output_index", known.index)
        self._changed |= complete_item(item, "in_progress")
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and isinstance(part.get("type"), str):
                known.add_part(str(part["type"]), None)
        return False

    def _done(self, event: Event, size: int) -> None:
        item = event.get("item")
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            return
        claimed = event.get("output_index")
        known = self._items.find(item.get("id"), claimed, str(item["type"]))
        if known is None:
            if not self._items.whole:
                return
            known = self._announce(blank(item), claimed)
        self._set(event, "output_index", known.index)
        if known.id is not None:
            self._set(item, "id", known.id)
        self._changed |= complete_item(item, "completed")
        if not known.done:
            self._add_missing_deltas(known, item)
        known.done = True
        self._keep(known.index, item, size)

    def _keep(self, index: int, item: Item, size: int) -> None:
        self._left -= size
        if self._left < 0:
            self._kept = None
        if self._kept is not None:
            self._kept[index] = item

    def _announce(self, item: Item, claimed: object) -> Known:
        known = self._items.add(item, claimed)
        self._before.append({"type": "response.output_item.added", "output_index": known.index, "item": item})
        return known

    def _announce_part(self, known: Known, kind: str, claimed: object) -> int:
        index = known.add_part(kind, claimed)
        place = {"item_id": known.id, "output_index": known.index, "content_index": index}
        self._before.append({"type": "response.content_part.added", **place, "part": blank_part(kind)})
        return index

    def _add_missing_deltas(self, known: Known, item: Item) -> None:
        """Add deltas for content that occurs only in the item's end, because some clients read only deltas."""
        if not self._items.whole or known.id is None:
            return
        if known.kind in _CALL_TEXTS:
            text = _CALL_TEXTS[known.kind]
            self._delta(known, text, None, item.get(_TEXTS[text][1]))
        content = item.get("content")
        if known.kind != "message" or not isinstance(content, list):
            return
        for index in range(len(known.parts), len(content)):
            part = content[index]
            kind = part.get("type") if isinstance(part, dict) else None
            if not isinstance(kind, str) or kind not in _MESSAGE_PARTS:
                return
            self._announce_part(known, kind, None)
            self._delta(known, kind, index, text_of(part, kind))

    def _delta(self, known: Known, name: str, index: int | None, text: object) -> None:
        type_ = f"{name}.delta"
        key = (type_, -1 if index is None else index)
        if key in known.seen or not text or not isinstance(text, str):
            return
        known.seen.add(key)
        event: Event = {"type": f"response.{type_}", "item_id": known.id, "output_index": known.index}
        if index is not None:
            event["content_index"] = index
        event["delta"] = text
        if type_ == "output_text.delta":
            event["logprobs"] = []
        self._before.append(event)

    def _part(self, event: Event, type_: str) -> None:
        part = event.get("part")
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(kind, str):
            return
        known = self._item(event, None, kind)
        if known is None or known.kind not in ("message", "reasoning"):
            return
        if known.kind == "reasoning" and kind == "output_text":
            kind = "reasoning_text"
            self._set(part, "type", kind)
        claimed = event.get("content_index")
        index = known.add_part(kind, claimed) if type_ == "content_part.added" else known.part(kind, claimed)
        if index is not None:
            self._set(event, "content_index", index)
        self._changed |= complete_part(part)

    def _in_part(self, event: Event, type_: str, kind: str) -> None:
        known = self._item(event, item_of(kind), kind)
        if known is None:
            return
        claimed = event.get("content_index")
        index = known.part(kind, claimed)
        if index is None:
            if not self._items.whole or known.id is None:
                return
            index = self._announce_part(known, kind, claimed)
        self._set(event, "content_index", index)
        self._note(known, event, type_, index)

    def _in_item(self, event: Event, type_: str) -> None:
        kind = "reasoning" if type_ in _SUMMARY_EVENTS else _EVENTS.get(type_)
        # Events of unknown types refer to items only by id, and do not create items.
        if kind is None and not self._items.knows(event.get("item_id")):
            return
        known = self._item(event, kind, None)
        if known is None:
            return
        if type_ in _SUMMARY_EVENTS and type(event.get("summary_index")) is not int:
            self._set(event, "summary_index", 0)
        if type_ in _EVENTS:
            self._note(known, event, type_, None)

    def _note(self, known: Known, event: Event, type_: str, index: int | None) -> None:
        """Record a delta. If the event has the complete text, add its delta if that is missing."""
        name, _, what = type_.partition(".")
        if what == "done":
            if self._items.whole and known.id is not None:
                self._delta(known, name, index, event.get(_TEXTS[name][1]))
        else:
            known.seen.add((type_, -1 if index is None else index))

    def _item(self, event: Event, kind: str | None, part: str | None) -> Known | None:
        """The item of ``event``, which gets its correct id and index. A missing announcement is added."""
        ident, claimed = event.get("item_id"), event.get("output_index")
        known = self._items.find(ident, claimed, kind)
        if known is None:
            kind = kind or (item_of(part) if part is not None else None)
            is_new = isinstance(ident, str) and ident != "" and kind in ("message", "reasoning")
            if not is_new or not self._items.whole or self._items.knows(ident):
                return None
            known = self._announce(blank({"type": kind, "id": ident}), claimed)
        if known.id is not None:
            self._set(event, "item_id", known.id)
        self._set(event, "output_index", known.index)
        return known
