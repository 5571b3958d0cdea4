"""Writes an answer for a client of the Responses API: deltas in, events out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onwards_py.transcode.neutral import deltas
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.neutral.images import GeneratedImage
from onwards_py.transcode.neutral.sealed import CHAT_FIELDS
from onwards_py.transcode.responses import written_items as items
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.written_items import Event, EventLog, OpenItem, ReasoningItem

_TIERS = frozenset({"default", "flex", "scale", "priority", "fast", "ultrafast"})
"""The tiers in the enumerations of strict clients; other values are dropped."""

_REASONS = {deltas.Stop.LENGTH: "max_output_tokens", deltas.Stop.FILTER: "content_filter"}
_NO_USAGE = deltas.Usage(0, 0, 0, {}, {})


_ITEMS: Mapping[type, Callable[..., OpenItem]] = {
    deltas.MessageStart: items.MessageItem,
    deltas.ReasoningStart: items.ReasoningItem,
    deltas.CallStart: items.CallItem,
    GeneratedImage: items.ImageItem,
}
"""Deltas that begin an item."""

_IN_ITEM: Mapping[type, Callable[..., None]] = {
    deltas.PartStart: items.MessageItem.begin_part,
    deltas.TextDelta: items.MessageItem.text,
    deltas.RefusalDelta: items.MessageItem.refuse,
    deltas.Citations: items.MessageItem.cite,
    deltas.ReasoningDelta: items.ReasoningItem.text,
    deltas.CallDelta: items.CallItem.arguments,
    deltas.CallEnd: items.CallItem.end,
}
"""What the open item does with a delta: readers enclose those of each item between its start and its end."""


class ResponsesWriter:
    """One answer; a `Writer`. ``clock``: the time in seconds since the epoch."""

    announcements = deltas.ANNOUNCEMENTS | {deltas.CallStart}

    def __init__(self, context: ResponsesContext, ids: Ids, clock: Callable[[], int]) -> None:
        self.begun = False
        self.dropped: dict[str, None] = {}
        self._context = context
        self._clock = clock
        self._created_at = clock()
        self._id = ids.new_id("resp_")
        self._log = EventLog(ids, context)
        self._item: OpenItem | None = None
        self._service_tier = ""
        self._usage: deltas.Usage | None = None
        self._whole: Event = {}

    def begin(self) -> None:
        """Write ``response.created`` and ``response.in_progress``, unless they were already written."""
        if not self.begun:
            self.begun = True
            for type_ in ("response.created", "response.in_progress"):
                self._emit(type_, self._resource("in_progress"))

    def pause(self) -> None:
        """Write an event that resets the idle timers of clients."""
        self._log.emit({"type": "keepalive", "sequence_number": 0})

    def put(self, delta: deltas.Delta) -> None:
        """Write one delta."""
        write = _IN_ITEM.get(type(delta))
        if write is not None:
            write(self._item, delta)
        else:
            _PUT[type(delta)](self, delta)

    def take(self) -> list[Event]:
        """The events since the last call."""
        return self._log.take()

    def answer(self) -> Event:
        """The complete response, after its end."""
        return self._whole

    def ends_with_done(self, failed: bool) -> bool:  # noqa: ARG002
        """``[DONE]`` always follows in this API."""
        return True

    def _start(self, _delta: deltas.Started) -> None:
        self.begin()

    def _learn(self, delta: deltas.Metadata) -> None:
        if delta.service_tier in _TIERS:
            self._service_tier = delta.service_tier

    def _open(self, start: deltas.Delta) -> None:
        self.begin()
        self._item = _ITEMS[type(start)](self._log, start)

    def _seal(self, delta: deltas.OpaqueReasoning) -> None:
        if delta.origin != CHAT_FIELDS or not isinstance(delta.data, Mapping):
            self.dropped["reasoning"] = None
        elif isinstance(self._item, ReasoningItem):
            self._item.seal(delta.data)

    def _end_item(self, delta: deltas.ItemEnd) -> None:
        if self._item is not None:
            self._item.close(delta)

    def _count(self, usage: deltas.Usage) -> None:
        self._usage = usage

    def _finish(self, delta: deltas.Finished) -> None:
        self.begin()
        reason = _REASONS.get(delta.stop)
        status = "completed" if reason is None or self._context.quirks.incomplete_as_completed else "incomplete"
        self._end(status, incomplete_details={"reason": reason} if reason else None)

    def _fail(self, delta: deltas.Failed) -> None:
        self.begin()
        self._end("failed", error=delta.failure.error())

    def _end(self, status: str, **members: object) -> None:
        completed_at = self._clock() if status == "completed" else None
        usage = _written(self._usage or _NO_USAGE)
        self._whole = self._resource(status, completed_at=completed_at, usage=usage, **members)
        self._emit(f"response.{status}", self._whole)

    def _emit(self, type_: str, resource: Event) -> None:
        self._log.emit({"type": type_, "sequence_number": 0, "response": resource})

    def _resource(self, status: str, **members: object) -> Event:
        """The complete response in its current state: all 31 members of a ResponseResource."""
        resource: Event = {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": None,
            "status": status,
            "incomplete_details": None,
            "error": None,
            **self._context.request_echo,
            "output": list(self._log.items),
            "usage": None,
            **members,
        }
        if self._service_tier:
            resource["service_tier"] = self._service_tier
        return resource


def _written(usage: deltas.Usage) -> Event:
    """Usage with every count that the schema requires."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {**usage.input_details, **_missing(usage.input_details, _INPUT_COUNTS)},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {**usage.output_details, **_missing(usage.output_details, _OUTPUT_COUNTS)},
        "total_tokens": usage.total_tokens,
    }


_INPUT_COUNTS = ("cached_tokens", "cache_write_tokens")
_OUTPUT_COUNTS = ("reasoning_tokens",)


def _missing(details: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {name: 0 for name in names if name not in details}


_W = ResponsesWriter
_PUT: Mapping[type, Callable[..., None]] = {
    deltas.Started: _W._start,
    deltas.Metadata: _W._learn,
    deltas.OpaqueReasoning: _W._seal,
    deltas.ItemEnd: _W._end_item,
    deltas.Usage: _W._count,
    deltas.Finished: _W._finish,
    deltas.Failed: _W._fail,
    **dict.fromkeys(_ITEMS, _W._open),
}
