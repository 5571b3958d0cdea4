"""Items in the queue of an answer: messages, reasoning, images; calls are in `streamed_call`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onwards_py.transcode.chat.read_delta import DEFAULT_FIELD, ReasoningFragment
from onwards_py.transcode.chat.reasoning import Details
from onwards_py.transcode.neutral import deltas
from onwards_py.transcode.neutral.context import AnswerContext
from onwards_py.transcode.neutral.images import GeneratedImage
from onwards_py.transcode.neutral.sealed import CALL_EXTRAS, CHAT_FIELDS
from onwards_py.transcode.neutral.surrogates import Halves


class QueuedItem:
    """An item of the queue: its deltas are queued until it is opened.

    ``ready``: it can be opened. ``whole``: it may be closed once another item is queued.
    """

    __slots__ = ("_out", "opened")

    ready = True

    def __init__(self, *start: deltas.Delta) -> None:
        self.opened = False
        self._out: list[deltas.Delta] = [*start]

    @property
    def whole(self) -> bool:
        return True

    def open(self, out: list[deltas.Delta]) -> None:
        """The item is now the first in the queue: append its deltas, and all further ones, to ``out``."""
        self.opened = True
        out += self._out
        self._out = out

    def drain(self) -> None:
        """Send the deltas that were collected since the item was opened; most items collect none."""

    def close(self, complete: bool, final: bool) -> bool:
        """End the item. Not ``complete``: the answer stopped inside it. Returns whether the item is complete.

        A call whose arguments are truncated JSON is not complete, even if the provider marks its answer as complete.
        """
        self._out.append(deltas.ItemEnd(complete, final))
        return complete


class QueuedMessage(QueuedItem):
    """A message. ``refusal``: whether its current part is a refusal."""

    __slots__ = ("_citations", "_early", "_halves", "_waiting", "refusal")

    def __init__(self, refusal: bool) -> None:
        super().__init__(deltas.MessageStart())
        self._early: list[dict[str, object]] = []  # log probabilities of tokens without text so far
        self._waiting: list[deltas.Citation] = []
        self._start_part(refusal)

    def begin_part(self, refusal: bool) -> None:
        """Begin another part."""
        self._end_part()
        self._start_part(refusal)

    def text(self, delta: deltas.TextDelta) -> None:
        """Take more text. It may be empty if a character consists of several tokens."""
        text = self._halves.feed(delta.text)
        if text and not self._early:
            self._out.append(delta if text is delta.text else deltas.TextDelta(text, delta.logprobs))
        elif text:
            self._out.append(deltas.TextDelta(text, [*self._early, *delta.logprobs]))
            self._early = []
        else:
            self._early += delta.logprobs

    def refuse(self, text: str) -> None:
        """Take more of the refusal."""
        if text := self._halves.feed(text):
            self._out.append(deltas.RefusalDelta(text))

    def cite(self, citations: Sequence[deltas.Citation]) -> None:
        """Take citations of the current part, each once: providers repeat them."""
        fresh = [citation for citation in citations if citation not in self._citations]
        self._citations += fresh
        self._waiting += fresh
        if self.opened:
            self._cite()

    def open(self, out: list[deltas.Delta]) -> None:
        self._cite()  # after all text that was queued with them
        super().open(out)

    def close(self, complete: bool, final: bool) -> bool:
        self._end_part()
        return super().close(complete, final)

    def _start_part(self, refusal: bool) -> None:
        self.refusal = refusal
        self._halves = Halves()
        self._citations: list[deltas.Citation] = []
        self._out.append(deltas.PartStart(refusal))

    def _end_part(self) -> None:
        self._cite()
        kept = self._halves.finish()
        if kept and self.refusal:
            self._out.append(deltas.RefusalDelta(kept))
        elif kept or self._early:
            self._out.append(deltas.TextDelta(kept, self._early))
            self._early = []

    def _cite(self) -> None:
        if self._waiting:
            self._out.append(deltas.Citations(self._waiting))
            self._waiting = []


class QueuedReasoning(QueuedItem):
    """Reasoning, with its opaque pieces if the client stores them and sends them back to the provider."""

    __slots__ = ("_details", "_extras", "_field", "_halves", "_keeps_opaque", "_texts")

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(deltas.ReasoningStart())
        self._keeps_opaque = context.keeps_opaque
        self._halves = Halves()
        self._field = DEFAULT_FIELD
        self._texts: list[str] = []
        self._details = Details()
        self._extras: dict[str, dict[str, object]] = {}

    def put(self, fragment: ReasoningFragment) -> None:
        """Take more reasoning."""
        if fragment.text:
            self._field = fragment.field
            self._add(self._halves.feed(fragment.text))
        if fragment.details and self._keeps_opaque:
            self._details.put(fragment.details)

    def put_extra(self, call_id: str, extra: Mapping[str, object]) -> None:
        """Take members that the provider expects back with a call; they are sealed with the reasoning."""
        self._extras[call_id] = {**self._extras.get(call_id, {}), **extra}

    def close(self, complete: bool, final: bool) -> bool:
        self._add(self._halves.finish())
        if self._keeps_opaque:
            self._out.append(deltas.OpaqueReasoning(CHAT_FIELDS, self._fields()))
        return super().close(complete, final)

    def _add(self, text: str) -> None:
        if text:
            self._out.append(deltas.ReasoningDelta(text))
            if self._keeps_opaque:
                self._texts.append(text)

    def _fields(self) -> dict[str, object]:
        """The provider's own message fields, which are sent back unchanged."""
        text = "".join(self._texts)
        fields: dict[str, object] = {self._field: text} if text else {}
        if self._details:
            fields["reasoning_details"] = self._details.merged()
        if self._extras:
            fields[CALL_EXTRAS] = self._extras
        return fields


class QueuedImage(QueuedItem):
    """An image. It arrives in one piece, so it is complete even if the answer is truncated."""

    __slots__ = ()

    def __init__(self, image: GeneratedImage) -> None:
        super().__init__(image)

    def close(self, complete: bool, final: bool) -> bool:  # noqa: ARG002 an image comes whole or not at all
        return super().close(True, final)
