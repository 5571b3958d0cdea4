"""The streamed answer: events of the Responses API in, chunks of a chat completion out.

What an event does is looked up in one table; those that are not in it, and those about items that chat has no words
for, say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from onwards_py.messages import Ending
from onwards_py.transcode.chat.context import Context
from onwards_py.transcode.chat.write_answer import Answer
from onwards_py.transcode.chat.write_ending import finish_reason, to_usage
from onwards_py.transcode.neutral.answer_body import LARGEST_ANSWER, Out
from onwards_py.transcode.neutral.answer_state import AnswerState
from onwards_py.transcode.neutral.context import Ids
from onwards_py.transcode.neutral.failure import Failure, cut_off, error_in, from_value, malformed
from onwards_py.transcode.responses.event_reader import Teller
from onwards_py.transcode.responses.output_items import Field, index_of, parts, text_of

Event = Mapping[str, object]

_ENDED = {"response.completed": "completed", "response.done": "completed", "response.incomplete": "incomplete"}
_UNFINISHED = ("queued", "in_progress")


class EventsToChunks(AnswerState):
    """One answer. ``begin`` if the client must not wait, ``feed`` each event, ``finish`` once; all return chunks.

    Until something is worth telling nothing is said, so that an answer that fails at once can still be another
    provider's. ``created_at`` is in seconds since the epoch; ``trusted``: the provider's error messages are passed on;
    ``limit`` is in characters.
    """

    __slots__ = ("_answer", "_context", "_teller")

    def __init__(
        self, context: Context, ids: Ids, created_at: int, *, trusted: bool = False, limit: int = LARGEST_ANSWER
    ) -> None:
        super().__init__(trusted, limit)
        self._context = context
        self._answer = Answer(context, ids, created_at)
        self._teller = Teller(self._answer, ids)

    @property
    def begun(self) -> bool:
        """Whether any chunk was returned."""
        return self._answer.begun

    @property
    def marks_end(self) -> bool:
        """Whether ``[DONE]`` stands behind the end: not behind an error."""
        return self._failure is None

    def begin(self) -> list[Out]:
        """The first chunk, unless it was returned already."""
        self._answer.begin()
        return self._answer.take()

    def keepalive(self) -> list[Out]:
        """A chunk that says nothing; none before the beginning or after the end."""
        if self.begun and not self._terminal:
            self._answer.pause()
        return self._answer.take()

    def feed(self, event: Event) -> list[Out]:
        """Take one event."""
        if self._terminal:
            return []
        type_ = event.get("type")
        handler = _HANDLERS.get(type_) if isinstance(type_, str) else None
        if handler is not None:
            handler(self._teller, event)
        elif isinstance(type_, str) and type_.startswith("response."):
            return self._lifecycle(type_, event)
        elif error_in(event) is not None:
            return self.fail(from_value(event, self.trusted))
        if self._teller.size > self._limit:
            return self.fail(cut_off(Ending.LIMIT))
        return self._answer.take()

    def whole(self, response: Event, _now: int) -> list[Out]:
        """Take an answer that came as a whole, which is its end, too. Chat does not say when that was."""
        inner = response.get("response")
        if isinstance(inner, dict):
            response = inner
        if not isinstance(response.get("output"), list) and not isinstance(response.get("status"), str):
            error = error_in(response)
            return self.fail(
                malformed("an answer without output") if error is None else from_value(error, self.trusted)
            )
        if response.get("status") in _UNFINISHED:
            return self.fail(malformed("an answer that is not finished"))
        return self._end("completed", response)

    def fail(self, failure: Failure) -> list[Out]:
        """End with an error, whatever came so far."""
        return self._fail(failure, not self.begun)

    def finish(self, ending: Ending, _now: int) -> list[Out]:
        """The stream ended. ``[DONE]`` counts as the end of an answer whose terminal event is missing."""
        if self._terminal:
            return []
        if not self._done:
            return self.fail(cut_off(ending))
        return self.fail(malformed("an empty answer")) if self._teller.empty else self._end("completed", {})

    def answer(self) -> Out:
        """The whole answer, once it ended without a failure."""
        return self._answer.completion()

    def _lifecycle(self, type_: str, event: Event) -> list[Out]:
        """Events that carry the whole response."""
        inner = event.get("response")
        response: Event = inner if isinstance(inner, dict) else {}
        if type_ in _ENDED:
            return self._end(_ENDED[type_], response)
        if type_ in ("response.failed", "response.cancelled", "response.error"):
            return self._fail_as(response if "error" in response else event)
        if type_ in ("response.created", "response.in_progress", "response.queued"):
            self._learn(response)
        return []

    def _fail(self, failure: Failure, early: bool) -> list[Out]:
        if self._terminal:
            return []
        self._terminal = True
        self._early = early
        self._failure = failure
        self._answer.fail(failure.envelope())
        return self._answer.take()

    def _learn(self, response: Event) -> None:
        self._answer.model = text_of(response, "model") or self._answer.model
        self._answer.service_tier = text_of(response, "service_tier") or self._answer.service_tier

    def _fail_as(self, owner: Event) -> list[Out]:
        error = owner.get("error")
        if error:
            return self.fail(from_value({"error": error}, self.trusted))
        return self.fail(Failure(502, "server_error", "The provider could not finish its answer."))

    def _end(self, status: str, response: Event) -> list[Out]:
        """A completed or incomplete response, unless it says itself that it is something worse."""
        self._learn(response)
        said = response.get("status")
        if said in ("failed", "cancelled") or (response.get("error") and said != "completed"):
            return self._fail_as(response)
        usage = response.get("usage")
        if isinstance(usage, dict):
            self._answer.usage = to_usage(usage)
        if said == "incomplete" or isinstance(response.get("incomplete_details"), dict):
            status = "incomplete"
        early = not self.begun
        self._teller.output(response.get("output"), cut=status == "incomplete")
        failure = self._unfit(status)
        if failure is not None:
            return self._fail(failure, early)
        if status == "completed" and any(call.broken for call in self._answer.calls):
            status = "incomplete"  # arguments that stop in their middle were cut, whatever the provider says
        calls = bool(self._answer.calls)
        details = response.get("incomplete_details")
        self._terminal = True
        self._answer.end(finish_reason(status, details, calls, self._context.legacy_functions))
        return self._answer.take()

    def _unfit(self, status: str) -> Failure | None:
        """What is too long, or calls itself whole and is not: with a nameless call, or with nothing in it."""
        if self._teller.size > self._limit:
            return cut_off(Ending.LIMIT)
        if status != "completed":
            return None
        if self._teller.calls.nameless:
            return malformed("a tool call without a name")
        if self._teller.empty and self._context.quirks.empty_answer_failed:
            return malformed("an empty answer")
        return None


def _delta(field: Field, channel: str = "") -> Callable[[Teller, Event], None]:
    def handle(teller: Teller, event: Event) -> None:
        delta = event.get("delta")
        if isinstance(delta, str) and (delta or event.get("logprobs")):
            teller.delta(field, delta, event, channel)

    return handle


def _done(field: Field, member: str, channel: str = "") -> Callable[[Teller, Event], None]:
    def handle(teller: Teller, event: Event) -> None:
        text = event.get(member)
        if isinstance(text, str):
            teller.part_done(field, text, event, channel)

    return handle


def _part_done(teller: Teller, event: Event) -> None:
    part = event.get("part")
    for one in parts([part]):
        teller.whole_part(one, event)


def _arguments_delta(teller: Teller, event: Event) -> None:
    delta = event.get("delta")
    if delta and isinstance(delta, str):
        teller.arguments(delta, event, "custom" in str(event["type"]))


def _arguments_done(teller: Teller, event: Event) -> None:
    teller.arguments_done(event, "custom" in str(event["type"]))


def _item_added(teller: Teller, event: Event) -> None:
    item = event.get("item")
    if isinstance(item, dict):
        teller.item_added(item, index_of(event, "output_index"))


def _item_done(teller: Teller, event: Event) -> None:
    item = event.get("item")
    if isinstance(item, dict):
        teller.item_done(item, index_of(event, "output_index"))


_HANDLERS: Mapping[str, Callable[[Teller, Event], None]] = MappingProxyType(
    {
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.content_part.added": Teller.part_added,
        "response.content_part.done": _part_done,
        "response.output_text.delta": _delta(Field.CONTENT),
        "response.output_text.done": _done(Field.CONTENT, "text"),
        "response.output_text.annotation.added": Teller.annotation,
        "response.refusal.delta": _delta(Field.REFUSAL),
        "response.refusal.done": _done(Field.REFUSAL, "refusal"),
        "response.reasoning.delta": _delta(Field.REASONING, "content"),
        "response.reasoning.done": _done(Field.REASONING, "text", "content"),
        "response.reasoning_text.delta": _delta(Field.REASONING, "content"),
        "response.reasoning_text.done": _done(Field.REASONING, "text", "content"),
        "response.reasoning_summary.delta": _delta(Field.REASONING, "summary"),
        "response.reasoning_summary.done": _done(Field.REASONING, "text", "summary"),
        "response.reasoning_summary_part.added": Teller.part_added,
        "response.reasoning_summary_part.done": _part_done,
        "response.reasoning_summary_text.delta": _delta(Field.REASONING, "summary"),
        "response.reasoning_summary_text.done": _done(Field.REASONING, "text", "summary"),
        "response.function_call_arguments.delta": _arguments_delta,
        "response.function_call_arguments.done": _arguments_done,
        "response.custom_tool_call_input.delta": _arguments_delta,
        "response.custom_tool_call_input.done": _arguments_done,
    }
)
