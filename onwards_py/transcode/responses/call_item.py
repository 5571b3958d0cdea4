"""A tool call of a response: of a function, of a custom tool, or of the client's search for tools."""

from __future__ import annotations

from onwards_py.transcode.neutral.context import ToolKind
from onwards_py.transcode.neutral.deltas import CallStart
from onwards_py.transcode.responses.output_events import EventLog, Item, OpenItem, status
from onwards_py.transcode.responses.tool_search import call_item

_PREFIXES = {ToolKind.FUNCTION: "fc_", ToolKind.CUSTOM: "ctc_", ToolKind.SEARCH: "tsc_"}
_DELTAS = {
    ToolKind.FUNCTION: "response.function_call_arguments.delta",
    ToolKind.CUSTOM: "response.custom_tool_call_input.delta",
}


class CallItem(OpenItem):
    """The arguments of a search are an object, of which there are no pieces."""

    __slots__ = ("_call_id", "_delta", "_start")

    def __init__(self, log: EventLog, start: CallStart) -> None:
        super().__init__(log, _PREFIXES[start.kind])
        self._start = start
        usable = start.call_id and start.call_id not in log.call_ids
        self._call_id = start.call_id if usable else log.ids.new_id("call_")
        log.call_ids.add(self._call_id)
        self._delta = _DELTAS.get(start.kind)
        self._announce(self._shape("", "in_progress"))

    def arguments(self, text: str) -> None:
        """Write more of the arguments or of the input."""
        if self._delta is not None:
            self._log.emit({"type": self._delta, "sequence_number": 0, **self._place, "delta": text})

    def end(self, text: str, complete: bool) -> None:
        """End the call, whose arguments are ``text``."""
        if self._start.kind is ToolKind.FUNCTION:
            self._emit("response.function_call_arguments.done", name=self._start.name, arguments=text)
        elif self._start.kind is ToolKind.CUSTOM:
            self._emit("response.custom_tool_call_input.done", input=text)
        self._log.item_done(self._shape(text, status(complete)))

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
