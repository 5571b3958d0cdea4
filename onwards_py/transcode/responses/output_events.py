"""The client's side of a streamed answer: events in order, and the items that are final."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.responses.padding import padding

Event = dict[str, object]
"""One event of the Responses API: ``type``, ``sequence_number`` and what the type asks for."""

Item = dict[str, object]
"""One item of ``output``."""


class Segment(Protocol):
    """An item on its way out. Those of one answer stand in a queue; only the first is open, the others collect."""

    @property
    def opened(self) -> bool: ...

    @property
    def ready(self) -> bool:
        """Whether enough is known to open it."""
        ...

    @property
    def whole(self) -> bool:
        """Whether it may be closed as soon as another waits behind it."""
        ...

    def open(self, out: Output) -> None:
        """Announce it, empty."""
        ...

    def drain(self, out: Output) -> None:
        """Send what was collected since."""
        ...

    def close(self, out: Output, cut: bool) -> bool:
        """Send its end. ``cut``: the answer stopped inside it. Returns whether it is complete.

        A call whose arguments are the beginning of some JSON was cut, too, whatever the provider says of the end.
        """
        ...


class Output:
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


def status(cut: bool) -> str:
    """The status of a final item."""
    return "incomplete" if cut else "completed"


def lifecycle(type_: str, resource: Mapping[str, object]) -> Event:
    """An event that carries the whole response."""
    return {"type": type_, "sequence_number": 0, "response": resource}
