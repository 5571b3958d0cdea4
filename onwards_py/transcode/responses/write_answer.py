"""Writes an answer for a client of the Responses API: deltas in, events out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onwards_py.transcode.neutral import deltas
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.neutral.images import GeneratedImage
from onwards_py.transcode.neutral.sealed import CHAT_FIELDS
from onwards_py.transcode.responses.call_item import CallItem
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.image_item import ImageItem
from onwards_py.transcode.responses.message_item import MessageItem
from onwards_py.transcode.responses.output_events import Event, EventLog, OpenItem, lifecycle
from onwards_py.transcode.responses.reasoning_item import ReasoningItem

_TIERS = frozenset({"default", "flex", "scale", "priority", "fast", "ultrafast"})
"""What clients with closed enumerations understand; other providers' words stay behind."""

_REASONS = {deltas.Stop.LENGTH: "max_output_tokens", deltas.Stop.FILTER: "content_filter"}
_NO_USAGE = deltas.Usage(0, 0, 0, {}, {})


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
        self._log = EventLog(ids, context.obfuscation)
        self._item: OpenItem | None = None
        self._service_tier = ""
        self._usage: deltas.Usage | None = None
        self._whole: Event = {}

    def begin(self) -> None:
        """created and in_progress, unless they were written already."""
        if not self.begun:
            self.begun = True
            for type_ in ("response.created", "response.in_progress"):
                self._log.emit(lifecycle(type_, self._resource("in_progress")))

    def pause(self) -> None:
        """An event that resets clients' timers."""
        self._log.emit({"type": "keepalive", "sequence_number": 0})

    def put(self, delta: deltas.Delta) -> None:
        """Write one delta."""
        _PUT[type(delta)](self, delta)

    def take(self) -> list[Event]:
        """The events since the last call."""
        return self._log.take()

    def answer(self) -> Event:
        """The whole response, once it ended."""
        return self._whole

    def ends_with_done(self, failed: bool) -> bool:  # noqa: ARG002
        """Always, in this API."""
        return True

    def _start(self, _delta: deltas.Started) -> None:
        self.begin()

    def _learn(self, delta: deltas.Metadata) -> None:
        if delta.service_tier in _TIERS:
            self._service_tier = delta.service_tier

    def _start_message(self, _delta: deltas.MessageStart) -> None:
        self._open_message()

    def _open_message(self) -> MessageItem:
        self.begin()
        self._item = item = MessageItem(self._log, self._context.phased)
        return item

    def _message(self) -> MessageItem:
        return self._item if isinstance(self._item, MessageItem) else self._open_message()

    def _start_part(self, delta: deltas.PartStart) -> None:
        self._message().begin_part(delta.refusal)

    def _text(self, delta: deltas.TextDelta) -> None:
        item = self._item
        (item if type(item) is MessageItem else self._message()).text(delta)

    def _refuse(self, delta: deltas.RefusalDelta) -> None:
        self._message().refuse(delta.text)

    def _cite(self, delta: deltas.Citations) -> None:
        self._message().cite(delta.citations)

    def _start_reasoning(self, _delta: deltas.ReasoningStart) -> None:
        self.begin()
        self._item = ReasoningItem(self._log, self._context)

    def _reason(self, delta: deltas.ReasoningDelta) -> None:
        if isinstance(self._item, ReasoningItem):
            self._item.text(delta.text)

    def _seal(self, delta: deltas.OpaqueReasoning) -> None:
        if delta.origin != CHAT_FIELDS or not isinstance(delta.data, Mapping):
            self.dropped["reasoning"] = None
        elif isinstance(self._item, ReasoningItem):
            self._item.seal(delta.data)

    def _start_call(self, delta: deltas.CallStart) -> None:
        self.begin()
        self._item = CallItem(self._log, delta)

    def _arguments(self, delta: deltas.CallDelta) -> None:
        if isinstance(self._item, CallItem):
            self._item.arguments(delta.text)

    def _end_call(self, delta: deltas.CallEnd) -> None:
        if isinstance(self._item, CallItem):
            self._item.end(delta.text, delta.complete)
        self._item = None

    def _image(self, image: GeneratedImage) -> None:
        self.begin()
        self._item = ImageItem(self._log, image)

    def _end_item(self, delta: deltas.ItemEnd) -> None:
        if self._item is not None:
            self._item.close(delta.complete, delta.final)
        self._item = None

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
        self._log.emit(lifecycle(f"response.{status}", self._whole))

    def _resource(self, status: str, **members: object) -> Event:
        """The whole response as it is now: all 31 members of a ResponseResource."""
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
    deltas.MessageStart: _W._start_message,
    deltas.PartStart: _W._start_part,
    deltas.TextDelta: _W._text,
    deltas.RefusalDelta: _W._refuse,
    deltas.Citations: _W._cite,
    deltas.ReasoningStart: _W._start_reasoning,
    deltas.ReasoningDelta: _W._reason,
    deltas.OpaqueReasoning: _W._seal,
    deltas.CallStart: _W._start_call,
    deltas.CallDelta: _W._arguments,
    deltas.CallEnd: _W._end_call,
    GeneratedImage: _W._image,
    deltas.ItemEnd: _W._end_item,
    deltas.Usage: _W._count,
    deltas.Finished: _W._finish,
    deltas.Failed: _W._fail,
}
