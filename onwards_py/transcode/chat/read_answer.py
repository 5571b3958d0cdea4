"""The streamed answer: chat chunks in, events of the Responses API out.

The terminal event is held back until the end is known: usage comes last, and finish reasons are not always final.
"""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.messages import Ending
from onwards_py.transcode.chat.call_table import CallDelta
from onwards_py.transcode.chat.read_delta import Input, ReasoningDelta, RefusalDelta, TextDelta, read_delta
from onwards_py.transcode.chat.read_ending import (
    COMPLETED,
    TOO_LONG,
    Finish,
    Verdict,
    judge,
    read_finish,
    read_usage,
)
from onwards_py.transcode.neutral.answer_state import AnswerState
from onwards_py.transcode.neutral.context import Context, Ids
from onwards_py.transcode.neutral.failure import Failure, cut_off, error_in, from_value, malformed
from onwards_py.transcode.neutral.images import Image
from onwards_py.transcode.responses.output_events import Event, Output, lifecycle
from onwards_py.transcode.responses.output_queue import Segments

_TIERS = frozenset({"default", "flex", "scale", "priority", "fast", "ultrafast"})
"""What clients with closed enumerations understand; other providers' words stay behind."""

_SAYING = ("content", "refusal", "tool_calls", "function_call")

LARGEST_ANSWER = 64 << 20
"""Characters of text, reasoning and arguments that an answer may have by default."""


class ChatToEvents(AnswerState):
    """One answer. ``begin`` if the client must not wait, ``feed`` each chunk, ``finish`` once; all return events.

    Until something is worth telling nothing is said, so that an answer that fails at once can still be another
    provider's. ``created_at`` is in seconds since the epoch; ``trusted``: the provider's error messages are passed on;
    ``limit`` is in characters.
    """

    __slots__ = (
        "_begun",
        "_context",
        "_created_at",
        "_final",
        "_finish",
        "_id",
        "_out",
        "_proof",
        "_segments",
        "_service_tier",
        "_size",
        "_sounded",
        "_usage",
        "_whole",
    )

    def __init__(
        self, context: Context, ids: Ids, created_at: int, *, trusted: bool = False, limit: int = LARGEST_ANSWER
    ) -> None:
        super().__init__(trusted, limit)
        self._context = context
        self._created_at = created_at
        self._id = ids.new_id("resp_")
        self._out = Output(ids, context.obfuscation)
        self._segments = Segments(context, self._out)
        self._begun = False
        self._proof = True
        self._size = 0
        self._sounded = False
        self._finish: Finish | None = None
        self._whole = False
        self._usage: Mapping[str, object] | None = None
        self._service_tier: str | None = None
        self._final: Event = {}

    @property
    def begun(self) -> bool:
        """Whether any event was returned."""
        return self._begun

    @property
    def marks_end(self) -> bool:
        """Whether ``[DONE]`` stands behind the end: always in this API."""
        return True

    def begin(self) -> list[Event]:
        """created and in_progress, unless they were returned already."""
        if self._begun:
            return []
        self._begun = True
        for type_ in ("response.created", "response.in_progress"):
            self._out.emit(lifecycle(type_, self._resource("in_progress", None, None, None)))
        return self._out.take()

    def keepalive(self) -> list[Event]:
        """An event that says nothing and resets clients' timers; none before the beginning or after the end."""
        if not self._begun or self._terminal:
            return []
        self._out.emit({"type": "keepalive", "sequence_number": 0})
        return self._out.take()

    def feed(self, chunk: Mapping[str, object]) -> list[Event]:
        """Take one chunk, or a whole chat answer."""
        if self._terminal:
            return []
        error = error_in(chunk)
        if error is not None:
            return self.fail(from_value(error, self.trusted))
        inputs = self._read(chunk)
        if not inputs:
            return []
        events = [] if self._begun or all(map(_is_silent, inputs)) else self.begin()
        for input_ in inputs:
            self._size += _weight(input_)
            self._segments.put(input_)
        events += self._out.take()
        if self._size > self._limit:
            events += self.fail(cut_off(Ending.LIMIT))
        return events

    def whole(self, chat: Mapping[str, object], now: int) -> list[Event]:
        """Take an answer that came as a whole, which is its end, too."""
        if not isinstance(chat.get("choices"), list) and not chat.get("error"):
            return self.feed(chat) or self.fail(malformed("an answer without choices"))
        events = self.feed(chat)
        self.done()
        return events + self.finish(Ending.DONE, now)

    def fail(self, failure: Failure) -> list[Event]:
        """End with ``response.failed``, whatever came so far."""
        return self._end(Verdict(failure=failure), None)

    def finish(self, ending: Ending, now: int) -> list[Event]:
        """End the answer as ``ending`` and the finish reason say; exactly one terminal event, unless there was one."""
        verdict = judge(self._finish, ending, self._done, self._proof)
        return self._end(verdict, now)

    def answer(self) -> Event:
        """The whole response, once it ended."""
        return self._final

    def _read(self, chunk: Mapping[str, object]) -> list[Input]:
        """The inputs of a chunk; what is said once for the whole answer is kept: the last that says anything wins."""
        usage = chunk.get("usage")
        if usage is not None and isinstance(usage, dict):
            self._usage = usage
        tier = chunk.get("service_tier")
        if tier and isinstance(tier, str) and tier in _TIERS:
            self._service_tier = tier
        choices = chunk.get("choices")
        inputs: list[Input] = []
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index") in (None, 0):
                inputs += self._read_choice(choice)
            elif isinstance(choice, dict):
                self._drop_choice(choice)
        if "x_groq" in chunk and isinstance(groq := chunk["x_groq"], dict) and isinstance(groq.get("usage"), dict):
            self._usage = groq["usage"]
        return inputs

    def _read_choice(self, choice: Mapping[str, object]) -> list[Input]:
        delta = choice.get("delta")
        self._drop_sound(choice)
        if isinstance(delta, dict):
            inputs = read_delta(delta, choice.get("logprobs"), self._context.quirks)
        else:
            inputs = self._read_message(choice)
        if inputs and self._finish is not None:
            self._proof = False  # this provider's finish reasons come too early
        self._finish = read_finish(choice.get("finish_reason")) or self._finish
        if "usage" in choice and isinstance(usage := choice["usage"], dict):
            self._usage = usage
        return inputs

    def _drop_choice(self, choice: Mapping[str, object]) -> None:
        """A response has one answer; what a provider said in another was not asked for, and is named."""
        for owner in ("delta", "message"):
            said = choice.get(owner)
            if isinstance(said, dict):
                for name in _SAYING:
                    if said.get(name):
                        self.drop(f"choices[].{owner}.{name}")

    def _drop_sound(self, choice: Mapping[str, object]) -> None:
        """No item holds sound: what is said in it is the text, and that it was heard as well is named."""
        for owner in ("delta", "message"):
            said = choice.get(owner)
            if (
                isinstance(said, dict)
                and "audio" in said
                and isinstance(said["audio"], dict)
                and said["audio"].get("data")
            ):
                self._sounded = True
                self.drop(f"choices[].{owner}.audio.data")

    def _read_message(self, choice: Mapping[str, object]) -> list[Input]:
        """A whole message: each entry of its ``tool_calls`` is a call, whatever their indexes and ids say."""
        message = choice.get("message")
        if not isinstance(message, dict) or not self._segments.untouched:
            return []
        self._whole = True
        inputs = read_delta(message, choice.get("logprobs"), self._context.quirks)
        return [
            input_._replace(slot=number) if isinstance(input_, CallDelta) else input_
            for number, input_ in enumerate(inputs)
        ]

    def _end(self, verdict: Verdict, now: int | None) -> list[Event]:
        if self._terminal:
            return []
        begun = self._begun
        events = self.begin()
        self._segments.flush()
        verdict = self._look_at_output(verdict)
        self._early = verdict.failure is not None and not begun
        if verdict.failure is not None:
            self._segments.abandon()
        elif not self._segments.finish(verdict.cut) and not verdict.cut:
            verdict = TOO_LONG  # arguments that stop in their middle were cut, whatever the finish reason says
        self._terminal = True
        self._failure = verdict.failure
        status = verdict.status
        if status == "incomplete" and self._context.quirks.incomplete_as_completed:
            status = "completed"
        completed_at = now if status == "completed" else None
        self._final = self._resource(status, verdict, completed_at, self._usage or {})
        self._out.emit(lifecycle(f"response.{status}", self._final))
        return events + self._out.take()

    def _look_at_output(self, verdict: Verdict) -> Verdict:
        """Answers that call themselves whole and are not: with a nameless call, or with nothing in them.

        A model may have nothing to say; it says so by stopping. Not whole is what says nothing and does not stop
        either, or speaks of calls and has none; and anything empty of a provider that is known to fail in this way.
        """
        segments = self._segments
        if verdict is not COMPLETED:
            return verdict
        if segments.nameless:
            return Verdict(failure=malformed("a tool call without a name"))
        if not segments.empty:
            return verdict
        if segments.suppressed:
            return Verdict(failure=Failure(502, "server_error", "The model only made calls that were not allowed."))
        meant = self._finish is Finish.STOP or (self._finish is None and self._whole)
        if not self._sounded and (self._context.quirks.empty_answer_failed or not meant):
            return Verdict(failure=malformed("an empty answer"))
        segments.put_empty_message()
        return verdict

    def _resource(
        self, status: str, verdict: Verdict | None, completed_at: int | None, usage: Mapping[str, object] | None
    ) -> dict[str, object]:
        """The whole response as it is now: all 31 members of a ResponseResource."""
        reason = verdict.reason if verdict else None
        failure = verdict.failure if verdict else None
        resource: dict[str, object] = {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "completed_at": completed_at,
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "error": failure.error() if failure else None,
            **self._context.echo,
            "output": list(self._out.items),
            "usage": None if usage is None else read_usage(usage),
        }
        if self._service_tier is not None:
            resource["service_tier"] = self._service_tier
        return resource


def _is_silent(input_: Input) -> bool:
    """Whether an input says nothing yet, as a token that is only the first part of a character."""
    return isinstance(input_, TextDelta) and not input_.text and not input_.annotations


def _weight(input_: Input) -> int:
    """About how many characters an input adds to what is kept until the end."""
    match input_:
        case TextDelta(text, logprobs):
            return len(text) + 200 * len(logprobs)
        case ReasoningDelta(text, _, details):
            return len(text) + (len(repr(details)) if details else 0)
        case RefusalDelta(text):
            return len(text)
        case CallDelta():
            return len(input_.arguments)
        case Image():
            return len(input_.result)
