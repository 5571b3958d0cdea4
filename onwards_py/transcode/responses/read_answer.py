"""Reads a provider's answer of the Responses API: events in, deltas out.

One table maps event types to their handlers. Events of other types, and events of items that are not converted to
deltas, are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.context import AnswerContext
from onwards_py.transcode.neutral.deltas import Delta, Failed, Finished, Metadata, Stop, Usage
from onwards_py.transcode.neutral.failure import Failure, cut_off, error_in, from_value, malformed
from onwards_py.transcode.responses.event_reader import EventReader
from onwards_py.transcode.responses.output_items import Field, index_of, parts, text_of

Event = Mapping[str, object]

_ENDED = {"response.completed": "completed", "response.done": "completed", "response.incomplete": "incomplete"}
_UNFINISHED = ("queued", "in_progress")


class ResponsesReader:
    """One answer; a `Reader`."""

    __slots__ = ("_context", "_events", "_metadata", "dropped", "trusted")

    def __init__(self, context: AnswerContext, *, trusted: bool = False) -> None:
        self.trusted = trusted
        self.dropped: dict[str, None] = {}
        self._context = context
        self._events = EventReader(context.one_call)
        self._metadata = Metadata()

    @property
    def size(self) -> int:
        """Approximate number of characters of the answer in memory."""
        return self._events.size + self._events.calls.size

    def feed(self, event: Event) -> list[Delta]:
        """Take one event."""
        type_ = event.get("type")
        handler = _HANDLERS.get(type_) if isinstance(type_, str) else None
        if handler is not None:
            handler(self._events, event)
        elif isinstance(type_, str) and type_.startswith("response."):
            self._lifecycle(type_, event)
        elif error_in(event) is not None:
            self._fail(from_value(event, self.trusted))
        out = self._events.out
        if not out:
            return []
        deltas = out[:]
        out.clear()
        return deltas

    def whole(self, response: Event) -> list[Delta]:
        """Take an answer that was not streamed, and end it."""
        inner = response.get("response")
        if isinstance(inner, dict):
            response = inner
        if not isinstance(response.get("output"), list) and not isinstance(response.get("status"), str):
            error = error_in(response)
            self._fail(malformed("an answer without output") if error is None else from_value(error, self.trusted))
        elif response.get("status") in _UNFINISHED:
            self._fail(malformed("an answer that is not finished"))
        else:
            self._end("completed", response)
        return self._events.out

    def finish(self, ending: Ending, done: bool) -> list[Delta]:
        """The stream ended. ``[DONE]`` counts as the end of an answer whose terminal event is missing."""
        if not done:
            self._fail(cut_off(ending))
        elif self._events.empty:
            self._fail(malformed("an empty answer"))
        else:
            self._end("completed", {})
        return self._events.out

    def abandon(self) -> list[Delta]:
        """Returns no deltas: all deltas have already been returned."""
        return []

    def _fail(self, failure: Failure) -> None:
        self._events.out.append(Failed(failure))

    def _lifecycle(self, type_: str, event: Event) -> None:
        """Process an event with the complete response."""
        inner = event.get("response")
        response: Event = inner if isinstance(inner, dict) else {}
        if type_ in _ENDED:
            self._end(_ENDED[type_], response)
        elif type_ in ("response.failed", "response.cancelled", "response.error"):
            self._fail_as(response if "error" in response else event)
        elif type_ in ("response.created", "response.in_progress", "response.queued"):
            self._learn(response)

    def _learn(self, response: Event) -> None:
        metadata = Metadata(text_of(response, "model"), text_of(response, "service_tier"))
        if metadata != self._metadata:
            self._metadata = metadata
            self._events.out.append(metadata)

    def _fail_as(self, owner: Event) -> None:
        error = owner.get("error")
        if error:
            self._fail(from_value({"error": error}, self.trusted))
        else:
            self._fail(Failure(502, "server_error", "The provider could not finish its answer."))

    def _end(self, status: str, response: Event) -> None:
        """End a completed or incomplete response; ``status`` is overridden by a worse one in the response itself."""
        self._learn(response)
        claimed = response.get("status")
        if claimed in ("failed", "cancelled") or (response.get("error") and claimed != "completed"):
            self._fail_as(response)
            return
        events, details, usage = self._events, response.get("incomplete_details"), response.get("usage")
        if claimed == "incomplete" or isinstance(details, dict):
            status = "incomplete"
        events.output(response.get("output"), cut=status == "incomplete")
        failure = self._unfit(status)
        if failure is not None:
            self._fail(failure)
            return
        if isinstance(usage, dict):
            events.out.append(read_usage(usage))
        if status == "completed" and events.calls.broken:
            status = "incomplete"  # truncated arguments, regardless of the provider's status
        events.out.append(Finished(read_stop(status, details)))

    def _unfit(self, status: str) -> Failure | None:
        """The failure of a completed response that is empty or has a call without a name; else None."""
        if status != "completed":
            return None
        if self._events.calls.nameless:
            return malformed("a tool call without a name")
        if self._events.empty and self._context.quirks.empty_answer_failed:
            return malformed("an empty answer")
        return None


def _delta(field: Field, channel: str = "") -> Callable[[EventReader, Event], None]:
    def handle(reader: EventReader, event: Event) -> None:
        delta = event.get("delta")
        if isinstance(delta, str) and (delta or event.get("logprobs")):
            reader.delta(field, delta, event, channel)

    return handle


def _done(field: Field, member: str, channel: str = "") -> Callable[[EventReader, Event], None]:
    def handle(reader: EventReader, event: Event) -> None:
        text = event.get(member)
        if isinstance(text, str):
            reader.part_done(field, text, event, channel)

    return handle


def _part_done(reader: EventReader, event: Event) -> None:
    part = event.get("part")
    for one in parts([part]):
        reader.whole_part(one, event)


def _arguments_delta(custom: bool) -> Callable[[EventReader, Event], None]:
    def handle(reader: EventReader, event: Event) -> None:
        delta = event.get("delta")
        if delta and isinstance(delta, str):
            reader.calls.delta(reader.item("call", event), delta, custom)

    return handle


def _arguments_done(custom: bool) -> Callable[[EventReader, Event], None]:
    def handle(reader: EventReader, event: Event) -> None:
        reader.calls.arguments_done(reader.item("call", event), event, custom)

    return handle


def _item_added(reader: EventReader, event: Event) -> None:
    item = event.get("item")
    if isinstance(item, dict):
        reader.item_added(item, index_of(event, "output_index"))


def _item_done(reader: EventReader, event: Event) -> None:
    item = event.get("item")
    if isinstance(item, dict):
        reader.item_done(item, index_of(event, "output_index"))


_HANDLERS: Mapping[str, Callable[[EventReader, Event], None]] = MappingProxyType(
    {
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.content_part.added": EventReader.part_added,
        "response.content_part.done": _part_done,
        "response.output_text.delta": _delta("content"),
        "response.output_text.done": _done("content", "text"),
        "response.output_text.annotation.added": EventReader.annotation,
        "response.refusal.delta": _delta("refusal"),
        "response.refusal.done": _done("refusal", "refusal"),
        "response.reasoning.delta": _delta("reasoning", "content"),
        "response.reasoning.done": _done("reasoning", "text", "content"),
        "response.reasoning_text.delta": _delta("reasoning", "content"),
        "response.reasoning_text.done": _done("reasoning", "text", "content"),
        "response.reasoning_summary.delta": _delta("reasoning", "summary"),
        "response.reasoning_summary.done": _done("reasoning", "text", "summary"),
        "response.reasoning_summary_part.added": EventReader.part_added,
        "response.reasoning_summary_part.done": _part_done,
        "response.reasoning_summary_text.delta": _delta("reasoning", "summary"),
        "response.reasoning_summary_text.done": _done("reasoning", "text", "summary"),
        "response.function_call_arguments.delta": _arguments_delta(custom=False),
        "response.function_call_arguments.done": _arguments_done(custom=False),
        "response.custom_tool_call_input.delta": _arguments_delta(custom=True),
        "response.custom_tool_call_input.done": _arguments_done(custom=True),
    }
)


_STOPS = {"max_output_tokens": Stop.LENGTH, "max_tokens": Stop.LENGTH, "length": Stop.LENGTH}
_STOPS["content_filter"] = Stop.FILTER


def read_stop(status: str, details: object) -> Stop:
    """Why a response that is ``completed`` or ``incomplete`` ended.

    A response that is incomplete for an unknown reason counts as one that reached its length limit.
    """
    if status != "incomplete":
        return Stop.END
    reason = details.get("reason") if isinstance(details, dict) else None
    return _STOPS.get(reason, Stop.LENGTH) if isinstance(reason, str) else Stop.LENGTH


def read_usage(usage: Mapping[str, object]) -> Usage:
    """The usage with all counts of the provider."""
    input_tokens, output_tokens = _count(usage.get("input_tokens")), _count(usage.get("output_tokens"))
    return Usage(
        input_tokens,
        output_tokens,
        _count(usage.get("total_tokens")) or input_tokens + output_tokens,
        _counts(usage.get("input_tokens_details")),
        _counts(usage.get("output_tokens_details")),
    )


def _counts(details: object) -> dict[str, int]:
    if not isinstance(details, dict):
        return {}
    return {name: _count(value) for name, value in details.items() if _is_count(value)}


def _count(value: object) -> int:
    return int(value) if _is_count(value) and isinstance(value, int | float) else 0


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
