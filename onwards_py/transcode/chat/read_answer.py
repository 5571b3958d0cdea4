"""Reads a provider's chat answer: chunks in, deltas out, one item open at a time.

The end of the answer is delayed until it is certain: usage arrives last, and finish reasons are not always final.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from onwards_py.messages import Ending
from onwards_py.transcode.chat.item_queue import ItemQueue
from onwards_py.transcode.chat.read_delta import CallFragment, Fragment, read_delta
from onwards_py.transcode.chat.read_ending import (
    COMPLETED,
    TOO_LONG,
    FinishReason,
    read_finish,
    read_usage,
    resolve_ending,
)
from onwards_py.transcode.neutral.context import AnswerContext, Ids
from onwards_py.transcode.neutral.deltas import Delta, Failed, Finished, Metadata, Started, TextDelta
from onwards_py.transcode.neutral.failure import Failure, error_in, from_value, malformed

_CONTENT = ("content", "refusal", "tool_calls", "function_call")
_OWNERS = ("delta", "message")


class ChatReader:
    """One answer; a `Reader`."""

    def __init__(self, context: AnswerContext, ids: Ids, *, trusted: bool = False) -> None:
        self.trusted = trusted
        self.dropped: dict[str, None] = {}
        self._context = context
        self._queue = ItemQueue(context, ids)
        self._started = False
        self._audible = False  # the answer had sound, which is not converted to a delta
        self._whole = False  # the answer was not streamed
        self._finish: FinishReason | None = None
        self._finish_is_final = True
        self._usage: Mapping[str, object] | None = None
        self._service_tier = ""

    @property
    def size(self) -> int:
        """Approximate number of characters of the answer in memory."""
        return self._queue.size

    def feed(self, chunk: Mapping[str, object]) -> list[Delta]:
        """Take one chunk, or an answer that was not streamed."""
        if chunk.get("error") or "choices" not in chunk:
            error = error_in(chunk)
            if error is not None:
                return [*self.abandon(), Failed(from_value(error, self.trusted))]
        queue = self._queue
        fragments = self._read(chunk)
        if not self._started and not all(map(_is_empty, fragments)):
            self._started = True
            queue.out.append(Started())
        for fragment in fragments:
            queue.put(fragment)
        return queue.take() if queue.out else []

    def whole(self, chat: Mapping[str, object]) -> list[Delta]:
        """Take an answer that was not streamed, and end it."""
        deltas = self.feed(chat)
        if deltas and isinstance(deltas[-1], Failed):
            return deltas
        if not isinstance(chat.get("choices"), list):
            return [*deltas, *self.abandon(), Failed(malformed("an answer without choices"))]
        return deltas + self.finish(Ending.DONE, True)

    def finish(self, ending: Ending, done: bool) -> list[Delta]:
        """The stream ended. Its finish reason and ``ending`` decide whether the answer is complete."""
        queue = self._queue
        queue.flush()
        end = self._check_output(resolve_ending(self._finish, ending, done=done, finish_is_final=self._finish_is_final))
        # A failed response has only complete items; incomplete items are for incomplete responses (specification,
        # "Items"). So an item that is open at a failure does not end.
        if isinstance(end, Finished) and not queue.finish(end is not COMPLETED) and end is COMPLETED:
            end = TOO_LONG  # truncated arguments, regardless of the finish reason
        return [*self.abandon(), end]

    def abandon(self) -> list[Delta]:
        """The items that have waited for their names or for the rest of a tag, and the usage so far."""
        queue = self._queue
        queue.flush()
        queue.out.append(read_usage(self._usage or {}))
        return queue.take()

    def _read(self, chunk: Mapping[str, object]) -> list[Fragment]:
        """The fragments of a chunk. Usage and service tier are kept from the last chunk that has them."""
        usage = chunk.get("usage")
        if usage is not None and isinstance(usage, dict):
            self._usage = usage
        tier = chunk.get("service_tier")
        if tier and tier != self._service_tier and isinstance(tier, str):
            self._service_tier = tier
            self._queue.out.append(Metadata(service_tier=tier))
        choices = chunk.get("choices")
        fragments: list[Fragment] = []
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index") in (None, 0):
                fragments += self._read_choice(choice)
            elif isinstance(choice, dict):
                self._drop_choice(choice)
        if "x_groq" in chunk and isinstance(groq := chunk["x_groq"], dict) and isinstance(groq.get("usage"), dict):
            self._usage = groq["usage"]
        return fragments

    def _read_choice(self, choice: Mapping[str, object]) -> list[Fragment]:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            fragments = read_delta(delta, choice.get("logprobs"), self._context.quirks)
        else:
            fragments = self._read_message(choice)
        if "message" in choice or (isinstance(delta, dict) and "audio" in delta):
            self._drop_sound(choice)
        if fragments and self._finish is not None:
            self._finish_is_final = False  # this provider sends finish reasons before the end
        if choice.get("finish_reason"):
            self._finish = read_finish(choice["finish_reason"]) or self._finish
        if "usage" in choice and isinstance(usage := choice["usage"], dict):
            self._usage = usage
        return fragments

    def _read_message(self, choice: Mapping[str, object]) -> list[Fragment]:
        """A complete message. Each entry of its ``tool_calls`` is a separate call, even if indexes or ids repeat."""
        message = choice.get("message")
        if not isinstance(message, dict) or not self._queue.untouched:
            return []
        self._whole = True
        fragments = read_delta(message, choice.get("logprobs"), self._context.quirks)
        return [
            replace(fragment, slot=number) if isinstance(fragment, CallFragment) else fragment
            for number, fragment in enumerate(fragments)
        ]

    def _drop_choice(self, choice: Mapping[str, object]) -> None:
        """List the parts of another choice as dropped: an answer has one choice, and the request asked for one."""
        for owner in _OWNERS:
            value = choice.get(owner)
            if isinstance(value, dict):
                for name in _CONTENT:
                    if value.get(name):
                        self.dropped[f"choices[].{owner}.{name}"] = None

    def _drop_sound(self, choice: Mapping[str, object]) -> None:
        """List sound as dropped: its transcript becomes text, but no item can contain the sound."""
        for owner in _OWNERS:
            value = choice.get(owner)
            audio = value.get("audio") if isinstance(value, dict) else None
            if isinstance(audio, dict) and audio.get("data"):
                self._audible = True
                self.dropped[f"choices[].{owner}.audio.data"] = None

    def _check_output(self, end: Finished | Failed) -> Finished | Failed:
        """Replace the end of a completed answer by a failure if a call has no name or the answer is empty.

        An empty answer with a finish reason of stop is valid: the model had no text to write. It fails without that
        finish reason, if the finish reason announces calls, and at providers that are known to fail in this way.
        """
        queue = self._queue
        if end is not COMPLETED:
            return end
        if queue.nameless:
            return Failed(malformed("a tool call without a name"))
        if not queue.empty:
            return end
        if queue.suppressed:
            return Failed(Failure(502, "server_error", "The model only made calls that were not allowed."))
        meant = self._finish is FinishReason.STOP or (self._finish is None and self._whole)
        if not self._audible and (self._context.quirks.empty_answer_failed or not meant):
            return Failed(malformed("an empty answer"))
        queue.put_empty_message()
        return end


def _is_empty(fragment: Fragment) -> bool:
    """Whether a fragment has no content, for example because its token is only the first part of a character."""
    return isinstance(fragment, TextDelta) and not fragment.text
