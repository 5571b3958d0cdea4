"""Tells a client the calls of an answer: each once, with its id and name first, however they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from onwards_py.transcode.chat.write_answer import Answer
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.responses.item_tracker import Call, Item, Items
from onwards_py.transcode.responses.output_items import arguments_of, text_of

Event = Mapping[str, object]


class CallTeller:
    """Writes one answer's calls to ``answer``; ignores other items. ``size``: characters of arguments."""

    __slots__ = ("_answer", "_call_ids", "_ids", "_items", "size")

    def __init__(self, answer: Answer, ids: Ids, items: Items) -> None:
        self.size = 0
        self._answer = answer
        self._ids = ids
        self._items = items
        self._call_ids: set[str] = set()

    @property
    def nameless(self) -> bool:
        """Whether there is a call whose name has not come."""
        return any(item.call is not None and not item.call.name for item in self._items.all)

    def delta(self, item: Item, text: str, custom: bool) -> None:
        """More of a call's arguments, or of a custom tool's input."""
        call = item.call
        if call is not None and not call.settled:
            call.custom |= custom and call.number is None
            self.size += len(text)
            call.put(text)
            self._advance(call)

    def arguments_done(self, item: Item, event: Event, custom: bool) -> None:
        """A call's arguments as a whole."""
        call = item.call
        if call is not None and not call.settled:
            call.custom |= custom and call.number is None
            call.name = call.name or text_of(event, "name")
            self._settle(call, arguments_of(event))

    def added(self, item: Item, value: Event) -> None:
        """A call begins. The arguments that it has already are believed in the end: most say them again in deltas."""
        if item.call is not None:
            self._learn(item, item.call, value)
            item.call.spare = arguments_of(value) or ""

    def done(self, item: Item, value: Event) -> None:
        """A call as a whole."""
        call = item.call
        if call is not None:
            self._learn(item, call, value)
            call.identified = True  # whatever it was not told by now will not come
            arguments = arguments_of(value)
            self._settle(call, arguments if arguments is not None or call.arguments else call.spare)

    def close(self, cut: bool) -> None:
        """No more comes. A function without arguments has an empty object of them, unless it was ``cut``."""
        for item in self._items.all:
            call = item.call
            if call is None:
                continue
            if not call.arguments and call.spare:
                call.put(call.spare)
            if not cut and not call.custom and not call.arguments.strip():
                call.put("{}")
            call.identified = True
            call.end()
            self._advance(call)

    def match(self, values: list[dict[str, object]]) -> list[dict[str, object]]:
        """Finish the calls that streamed with what they are said to be in the end; returns those that did not stream.

        Calls are the same by their id, or by their place where the stream gave no id.
        """
        seen = [item for item in self._items.all if item.call is not None]
        by_id: dict[str, deque[Item]] = {}
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

    def _finish(self, item: Item, value: dict[str, object]) -> None:
        if not item.done:
            item.final = value
            self.done(item, value)

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
                return
        self._answer.arguments(call)

    def _call_id(self, given: str) -> str:
        """The provider's id if it will do, else ours: a client could not tell two calls with one id apart."""
        if not given or given in self._call_ids:
            given = self._ids.new_id("call_")
        self._call_ids.add(given)
        return given
