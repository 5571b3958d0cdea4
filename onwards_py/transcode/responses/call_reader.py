"""Reads the calls of an answer. Each is written once, id and name first, whatever the order of the events."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.deltas import CallDelta, CallStart, Delta
from onwards_py.transcode.responses.item_tracker import ItemTracker, TrackedCall, TrackedItem
from onwards_py.transcode.responses.output_items import arguments_of, text_of

Event = Mapping[str, object]


class CallReader:
    """Appends the deltas of one answer's calls to ``out``. ``size``: characters of arguments; ``count``: announced
    calls.

    ``only_one``: the client's API allows one call only. Items other than calls are ignored.
    """

    __slots__ = ("_ids", "_items", "_only_one", "_out", "count", "size")

    def __init__(self, out: list[Delta], items: ItemTracker, only_one: bool) -> None:
        self.size = 0
        self.count = 0
        self._out = out
        self._items = items
        self._only_one = only_one
        self._ids: set[str] = set()

    @property
    def nameless(self) -> bool:
        """Whether a call has no name so far."""
        return any(item.call is not None and not item.call.name for item in self._items.all)

    @property
    def broken(self) -> bool:
        """Whether the arguments of an announced call are truncated."""
        calls = [item.call for item in self._items.all if item.call is not None]
        return any(call.number is not None and call.broken for call in calls)

    def delta(self, item: TrackedItem, text: str, custom: bool) -> None:
        """More of a call's arguments, or of a custom tool's input."""
        call = item.call
        if call is None or call.settled:
            return
        self.size += len(text)
        if call.number is None:
            call.custom |= custom
            call.put(text)
            self._advance(call)
        elif text := call.text.put(text):
            self._out.append(CallDelta(call.number, text))

    def arguments_done(self, item: TrackedItem, event: Event, custom: bool) -> None:
        """The complete arguments of a call."""
        call = item.call
        if call is not None and not call.settled:
            call.custom |= custom and call.number is None
            call.name = call.name or text_of(event, "name")
            self._settle(call, arguments_of(event))

    def added(self, item: TrackedItem, value: Event) -> None:
        """A call begins. Its arguments in this event are used only if no others follow: most providers repeat them in
        deltas."""
        if item.call is not None:
            self._learn(item, item.call, value)
            item.call.initial_arguments = arguments_of(value) or ""

    def done(self, item: TrackedItem, value: Event) -> None:
        """A complete call."""
        call = item.call
        if call is not None:
            self._learn(item, call, value)
            call.identified = True  # an id that is still missing will not follow
            arguments = arguments_of(value)
            self._settle(call, arguments if arguments is not None or call.arguments else call.initial_arguments)

    def close(self, cut: bool) -> None:
        """The answer has ended. Missing arguments of a function become an empty object, unless the answer was
        ``cut``."""
        for item in self._items.all:
            call = item.call
            if call is None:
                continue
            if not call.arguments and call.initial_arguments:
                call.put(call.initial_arguments)
            if not cut and not call.custom and not call.arguments.strip():
                call.put("{}")
            call.identified = True
            call.end()
            self._advance(call)

    def match(self, values: list[dict[str, object]]) -> list[dict[str, object]]:
        """Complete the streamed calls with ``values``, the calls of the final output; return those that were not
        streamed.

        Calls are matched by their id, or by their position if the stream had no id.
        """
        seen = [item for item in self._items.all if item.call is not None]
        by_id: dict[str, deque[TrackedItem]] = {}
        for item in seen:
            if item.call is not None and item.call.given_id:
                by_id.setdefault(item.call.given_id, deque()).append(item)
        new: list[dict[str, object]] = []
        for place, value in enumerate(values):
            same = by_id.get(text_of(value, "call_id"))
            if same:
                self._finish(same.popleft(), value)
            elif place < len(seen) and (call := seen[place].call) is not None and not call.given_id:
                self._finish(seen[place], value)
            else:
                new.append(value)
        return new

    def _finish(self, item: TrackedItem, value: dict[str, object]) -> None:
        if not item.done:
            item.final = value
            self.done(item, value)

    def _learn(self, item: TrackedItem, call: TrackedCall, value: Event) -> None:
        """Take id, name and type of the call from an item."""
        call.name = call.name or text_of(value, "name")
        call.custom |= value.get("type") == "custom_tool_call" and call.number is None
        given = text_of(value, "call_id")
        if given and not call.given_id:
            call.given_id = given
            call.identified = True
            self._items.identify(item, given)
        self._advance(call)

    def _settle(self, call: TrackedCall, full: str | None) -> None:
        before = len(call.arguments)
        call.settle(full)
        self.size += len(call.arguments) - before
        self._advance(call)

    def _advance(self, call: TrackedCall) -> None:
        """Write the part of a call that can be written now. Name and id must be known first."""
        if not call.name or not call.identified or call.dropped:
            return
        if call.number is None:
            if self._only_one and self.count:
                call.dropped = True
                return
            call.number = self.count
            self.count += 1
            # A client could not distinguish two calls with one id.
            call_id = "" if call.given_id in self._ids else call.given_id
            self._ids.add(call.given_id)
            kind = ToolKind.CUSTOM if call.custom else ToolKind.FUNCTION
            self._out.append(CallStart(call.number, call_id, call.name, kind))
        text = call.take()
        if text:
            self._out.append(CallDelta(call.number, text))
