"""The items of one answer, in a queue: serial on the way out, although providers interleave.

The first segment of the queue is open and streams, the others collect; each is closed as soon as another waits behind
it and nothing can follow in it. So order is that of first sight, nothing is lost, and what a provider sends serially
leaves at once. What an input does is looked up in one table, by what stands last in the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from enum import Enum

from onwards_py.transcode.chat.call_table import CallDelta, CallTable
from onwards_py.transcode.chat.read_delta import Input, ReasoningDelta, TextDelta
from onwards_py.transcode.chat.think_tags import ThinkSplitter
from onwards_py.transcode.neutral.context import Context
from onwards_py.transcode.neutral.images import Image
from onwards_py.transcode.neutral.quirks import Think
from onwards_py.transcode.responses.call_item import CallItem
from onwards_py.transcode.responses.image_item import ImageItem
from onwards_py.transcode.responses.message_item import MessageItem, PartKind
from onwards_py.transcode.responses.output_events import Output, Segment
from onwards_py.transcode.responses.reasoning_item import DEFAULT_FIELD, ReasoningItem, seals


class _Kind(Enum):
    """What an input is, and what stands last in the queue."""

    NOTHING = "nothing"
    REASONING = "reasoning"
    TEXT = "text"
    REFUSAL = "refusal"
    CALL = "call"
    IMAGE = "image"


class _Step(Enum):
    """What an input does."""

    CONTINUE = "continue"  # it belongs to what stands last
    PART = "part"  # it begins a new part of the same item
    ITEM = "item"  # it begins a new item


_K, _S = _Kind, _Step
_TABLE: Mapping[_Kind, Mapping[_Kind, _Step]] = {
    # what stands last:   the input: its step
    _K.NOTHING: {_K.REASONING: _S.ITEM, _K.TEXT: _S.ITEM, _K.REFUSAL: _S.ITEM},
    _K.REASONING: {_K.REASONING: _S.CONTINUE, _K.TEXT: _S.ITEM, _K.REFUSAL: _S.ITEM},
    _K.TEXT: {_K.REASONING: _S.ITEM, _K.TEXT: _S.CONTINUE, _K.REFUSAL: _S.PART},
    _K.REFUSAL: {_K.REASONING: _S.ITEM, _K.TEXT: _S.PART, _K.REFUSAL: _S.CONTINUE},
    _K.CALL: {_K.REASONING: _S.ITEM, _K.TEXT: _S.ITEM, _K.REFUSAL: _S.ITEM},
    _K.IMAGE: {_K.REASONING: _S.ITEM, _K.TEXT: _S.ITEM, _K.REFUSAL: _S.ITEM},
}


class Segments:
    """All of an answer's items that are not final yet.

    ``suppressed``: chat names of calls that the client did not allow, and that it is not shown.
    """

    __slots__ = (
        "_accepted",
        "_calls",
        "_context",
        "_early",
        "_images",
        "_last",
        "_out",
        "_queue",
        "_splitter",
        "suppressed",
    )

    def __init__(self, context: Context, out: Output) -> None:
        self.suppressed: list[str] = []
        self._context = context
        self._out = out
        self._queue: deque[Segment] = deque()
        self._last = _Kind.NOTHING
        self._calls = CallTable()
        self._accepted = 0
        self._images: set[str] = set()
        self._early: list[object] = []  # log probabilities of tokens whose text has not come
        think = context.quirks.think
        self._splitter = None if think is Think.OFF else ThinkSplitter(think)

    @property
    def untouched(self) -> bool:
        """Whether nothing has come at all."""
        return not self._queue and not self._out.items and not self.suppressed

    @property
    def empty(self) -> bool:
        """Whether there is no item."""
        return not self._queue and not self._out.items

    def put(self, input_: Input) -> None:
        """Take one input and send what can be sent."""
        if isinstance(input_, TextDelta):
            if self._splitter is None:
                self._put_text(input_)
            else:
                self._put_split(input_, self._splitter)
        elif isinstance(input_, CallDelta):
            self._put_call(input_)
        elif isinstance(input_, ReasoningDelta):
            self._put_reasoning(input_)
        elif isinstance(input_, Image):
            self._put_image(input_)
        else:
            self._message(_Kind.REFUSAL).put(input_.text, [])
        self._advance()

    def put_empty_message(self) -> None:
        """An answer must not be without items: say that it is empty."""
        self._text("", [])

    def flush(self) -> None:
        """No more input comes: names are whole, and what was held back to be told from a tag is none."""
        for segment in list(self._queue):
            if isinstance(segment, CallItem):
                segment.end_name()
                self._admit(segment, False)
        if self._splitter is not None:
            self._put_pieces(self._splitter.finish(), [])
        self._advance()

    def abandon(self) -> None:
        """The answer failed: what it stopped in has no end.

        A failed response has whole items only; incomplete ones are for an incomplete response (specification, "Items").
        """
        self._queue.clear()

    def finish(self, cut: bool) -> bool:
        """Close everything. ``cut``: the answer stopped in its last item. Returns whether all items are complete."""
        named = [segment for segment in self._queue if segment.ready]
        complete = len(named) == len(self._queue)
        for number, segment in enumerate(named, 1):
            if not segment.opened:
                segment.open(self._out)
            segment.drain(self._out)
            self._set_phase(segment, named[number:])
            complete &= segment.close(self._out, cut and number == len(named))
        self._queue.clear()
        return complete

    @property
    def nameless(self) -> bool:
        """Whether there is a call whose name has not come."""
        return any(not segment.ready for segment in self._queue)

    def _put_reasoning(self, delta: ReasoningDelta) -> None:
        if not delta.text and not seals(self._context):
            return
        self._reasoning().put(delta.text, delta.field, delta.details)

    def _reasoning(self) -> ReasoningItem:
        """The reasoning item that takes more reasoning."""
        segment = self._queue[-1] if self._queue else None
        if _TABLE[self._last][_Kind.REASONING] is not _Step.CONTINUE or not isinstance(segment, ReasoningItem):
            segment = ReasoningItem(self._context)
            self._push(segment, _Kind.REASONING)
        return segment

    def _put_text(self, delta: TextDelta) -> None:
        if delta.text or self._last is _Kind.TEXT:
            self._text(delta.text, delta.logprobs)
        else:
            self._early += delta.logprobs  # empty text begins no message
        if delta.annotations:
            self._message(_Kind.TEXT).annotate(delta.annotations)

    def _text(self, text: str, logprobs: list[object]) -> None:
        if self._early:
            logprobs, self._early = self._early + logprobs, []
        self._message(_Kind.TEXT).put(text, logprobs)

    def _put_split(self, delta: TextDelta, splitter: ThinkSplitter) -> None:
        pieces = splitter.feed(delta.text)
        if not pieces and self._last is not _Kind.REASONING:
            self._put_text(TextDelta("", delta.logprobs, []))  # held back, or empty
        self._put_pieces(pieces, delta.logprobs)
        if delta.annotations:
            self._message(_Kind.TEXT).annotate(delta.annotations)

    def _put_pieces(self, pieces: Iterable[tuple[bool, str]], logprobs: list[object]) -> None:
        for reasoning, text in pieces:
            if reasoning:
                self._early = []  # of the tag
                self._put_reasoning(ReasoningDelta(text, DEFAULT_FIELD))
            else:
                self._text(text, logprobs)
                logprobs = []

    def _message(self, kind: _Kind) -> MessageItem:
        """The message that takes an input of ``kind``, with the right part at its end."""
        step = _TABLE[self._last][kind]
        segment = self._queue[-1] if self._queue else None
        if step is _Step.ITEM or not isinstance(segment, MessageItem):
            segment, step = MessageItem(), _Step.PART
            self._push(segment, kind)
        if step is _Step.PART:
            segment.begin_part(PartKind.TEXT if kind is _Kind.TEXT else PartKind.REFUSAL)
        self._last = kind
        return segment

    def _put_call(self, delta: CallDelta) -> None:
        call = self._calls.find(delta)
        new = call is None
        if call is not None:
            self._calls.learn(delta, call)
        elif delta.empty:
            return  # what is said about no call in particular
        else:
            call = CallItem(self._context)
            self._calls.add(delta, call)
        self._admit(call, new)
        if call.hidden:
            return
        self._keep_extra(delta, call)
        if new:
            self._push(call, _Kind.CALL)
        call.put(delta.arguments)

    def _put_image(self, image: Image) -> None:
        """An image comes whole, and again with the last chunk at some gateways."""
        if image.result not in self._images:
            self._images.add(image.result)
            self._push(ImageItem(image), _Kind.IMAGE)

    def _admit(self, call: CallItem, new: bool) -> None:
        """Hold a call against what the client allows, as soon as its name is known."""
        if new and self._context.one_call and self._accepted:
            self._hide(call)
        self._accepted += new
        if call.ready and not call.admitted:
            call.admitted = True
            if not self._context.may_call(call.chat_name):
                self._accepted -= 1
                self._hide(call)

    def _keep_extra(self, delta: CallDelta, call: CallItem) -> None:
        """What must come back with a call travels in the reasoning item before it, the one thing nobody reads."""
        if isinstance(delta.extra, dict) and seals(self._context):
            self._reasoning().put_extra(call.identify(self._out), delta.extra)

    def _hide(self, call: CallItem) -> None:
        """The client has ruled this call out: tool_choice is a hard constraint, whatever the provider made of it."""
        if call.hidden:
            return
        call.hidden = True
        self.suppressed.append(call.chat_name)
        if call in self._queue:
            self._queue.remove(call)

    def _push(self, segment: Segment, kind: _Kind) -> None:
        self._queue.append(segment)
        self._last = kind

    def _advance(self) -> None:
        """Send what the first segment has; go on to the next one as far as can be."""
        queue, out = self._queue, self._out
        while queue:
            head = queue[0]
            if not head.opened:
                if not head.ready:
                    return
                head.open(out)
            head.drain(out)
            if len(queue) == 1 or not head.whole:
                return
            queue.popleft()
            self._set_phase(head, queue)
            head.close(out, False)

    def _set_phase(self, segment: Segment, behind: Collection[Segment]) -> None:
        """A message is the final answer if nothing but images follows it, and if the turn goes on with no call."""
        if isinstance(segment, MessageItem) and self._context.phased:
            final = not self._accepted and all(isinstance(one, ImageItem) for one in behind)
            segment.phase = "final_answer" if final else "commentary"
