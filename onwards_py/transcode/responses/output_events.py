"""The client's side of a streamed response: events in order, and the items that are final."""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.responses.padding import padding

Event = dict[str, object]
"""One event of the Responses API: ``type``, ``sequence_number`` and what the type asks for."""

Item = dict[str, object]
"""One item of ``output``."""


class EventLog:
    """Collects events and numbers them when they are emitted, so that no number is ever left out or used twice.

    ``pads``: deltas carry padding.
    """

    __slots__ = ("_events", "_next", "_pads", "call_ids", "ids", "items")

    def __init__(self, ids: Ids, pads: bool = False) -> None:
        self.ids = ids
        self.items: list[Item] = []
        self.call_ids: set[str] = set()
        self._events: list[Event] = []
        self._next = 0
        self._pads = pads

    def emit(self, event: Event) -> None:
        """Add an event; its ``sequence_number`` (0, where it is written down) is filled in here."""
        event["sequence_number"] = self._next
        self._next += 1
        if self._pads and "delta" in event:
            event["obfuscation"] = padding(event, self.ids)
        self._events.append(event)

    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def item_added(self, item: Item) -> int:
        """Announce the next item; returns its ``output_index``. Items are serial: the former one is final."""
        index = len(self.items)
        self.emit({"type": "response.output_item.added", "sequence_number": 0, "output_index": index, "item": item})
        return index

    def item_done(self, item: Item) -> None:
        """Announce that the item is final, and keep it for the whole response."""
        index = len(self.items)
        self.items.append(item)
        self.emit({"type": "response.output_item.done", "sequence_number": 0, "output_index": index, "item": item})


class OpenItem:
    """The item of a response that is open; ``place`` is what its events have to find it by."""

    __slots__ = ("_log", "_place", "id")

    def __init__(self, log: EventLog, prefix: str) -> None:
        self.id = log.ids.new_id(prefix)
        self._log = log
        self._place: Event = {}

    def _announce(self, item: Item) -> None:
        self._place = {"item_id": self.id, "output_index": self._log.item_added(item)}

    def _emit(self, type_: str, **more: object) -> None:
        self._log.emit({"type": type_, "sequence_number": 0, **self._place, **more})

    def close(self, complete: bool, final: bool) -> None:
        """End the item. Not ``complete``: the answer stopped inside it. ``final``: see `ItemEnd`."""
        raise NotImplementedError


def status(complete: bool) -> str:
    """The status of a final item."""
    return "completed" if complete else "incomplete"


def lifecycle(type_: str, resource: Mapping[str, object]) -> Event:
    """An event that carries the whole response."""
    return {"type": type_, "sequence_number": 0, "response": resource}
