"""Puts the items of one answer in order: chat providers interleave them, and other APIs allow one open item at a time.

The first item of the queue is open, and its deltas are sent at once; the deltas of the others are queued. The first
item is closed as soon as another one is queued and the first cannot continue. So items keep the order in which they
began, and items that a provider sends one after the other are not delayed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable

from onwards_py.transcode.chat.queued_items import QueuedImage, QueuedItem, QueuedMessage, QueuedReasoning
from onwards_py.transcode.chat.read_delta import CallFragment, Fragment, ReasoningFragment
from onwards_py.transcode.chat.streamed_call import CallTable, StreamedCall
from onwards_py.transcode.chat.think_tags import ThinkSplitter
from onwards_py.transcode.neutral.context import AnswerContext, Ids
from onwards_py.transcode.neutral.deltas import Citations, Delta, RefusalDelta, TextDelta
from onwards_py.transcode.neutral.images import GeneratedImage
from onwards_py.transcode.neutral.quirks import Think

_WEIGHT_OF_TOKEN = 200  # approximate characters of the log probabilities of one token


class ItemQueue:
    """The items of an answer that are not closed yet; ``out`` has the deltas that `take` returns.

    ``size``: characters put so far. ``suppressed``: whether calls were dropped because the client did not allow them.
    """

    def __init__(self, context: AnswerContext, ids: Ids) -> None:
        self.out: list[Delta] = []
        self.size = 0
        self.suppressed = False
        self._some_opened = False
        self._context = context
        self._ids = ids
        self._queue: deque[QueuedItem] = deque()
        self._tail: QueuedItem | None = None  # the last item, if it can continue
        self._calls = CallTable(context)
        self._accepted = 0
        self._images: set[str] = set()
        self._early: list[dict[str, object]] = []  # log probabilities of tokens without text so far
        think = context.quirks.think
        self._splitter = None if think is Think.OFF else ThinkSplitter(think)

    @property
    def empty(self) -> bool:
        """Whether the answer has no items so far."""
        return not self._queue and not self._some_opened

    @property
    def untouched(self) -> bool:
        """Whether the answer has neither items nor dropped calls so far."""
        return self.empty and not self.suppressed

    @property
    def _takes_text(self) -> bool:
        """Whether further text belongs to the last item."""
        return isinstance(self._tail, QueuedMessage) and not self._tail.refusal

    @property
    def nameless(self) -> bool:
        """Whether a call has no name so far."""
        return any(not item.ready for item in self._queue)

    def take(self) -> list[Delta]:
        """The deltas since the last call."""
        deltas = self.out[:]
        self.out.clear()
        return deltas

    def put(self, fragment: Fragment) -> None:
        """Take one fragment."""
        if isinstance(fragment, TextDelta):
            self.size += len(fragment.text) + _WEIGHT_OF_TOKEN * len(fragment.logprobs)
            tail = self._tail
            if self._splitter is not None:
                self._put_split(fragment, self._splitter)
            elif isinstance(tail, QueuedMessage) and not tail.refusal and not self._early:
                tail.text(fragment)
                return  # the items before it do not change
            else:
                self._put_text(fragment)
        elif isinstance(fragment, CallFragment):
            self.size += len(fragment.arguments)
            self._put_call(fragment)
        elif isinstance(fragment, ReasoningFragment):
            self.size += len(fragment.text) + (len(repr(fragment.details)) if fragment.details else 0)
            self._put_reasoning(fragment)
        elif isinstance(fragment, RefusalDelta):
            self.size += len(fragment.text)
            self._message(True).refuse(fragment.text)
        elif isinstance(fragment, Citations):
            if self._early and self._takes_text:
                self._put_own_text("", [])
            self._message(False).cite(fragment.citations)
        else:
            self._put_image(fragment)
        self._advance()

    def put_empty_message(self) -> None:
        """Add an empty message, because an answer must have an item."""
        self._put_own_text("", [])

    def flush(self) -> None:
        """The answer has ended: names are complete, and text that might have begun a tag is not a tag."""
        for item in list(self._queue):
            if isinstance(item, StreamedCall):
                item.end_name()
                self._admit(item, new=False)
        if self._splitter is not None:
            self._put_pieces(self._splitter.finish(), [])
        self._advance()

    def finish(self, cut: bool) -> bool:
        """Close all items. ``cut``: the last item is truncated. Returns whether all items are complete."""
        named = [item for item in self._queue if item.ready]
        complete = len(named) == len(self._queue)
        for number, item in enumerate(named, 1):
            if not item.opened:
                item.open(self.out)
            item.drain()
            complete &= item.close(not (cut and number == len(named)), self._is_final(named[number:]))
        self._queue.clear()
        return complete

    def _put_reasoning(self, fragment: ReasoningFragment) -> None:
        if fragment.text or self._context.keeps_opaque:
            self._reasoning().put(fragment)

    def _reasoning(self) -> QueuedReasoning:
        """The reasoning item to which further reasoning belongs."""
        tail = self._tail
        if not isinstance(tail, QueuedReasoning):
            tail = QueuedReasoning(self._context)
            self._push(tail)
        return tail

    def _put_text(self, delta: TextDelta) -> None:
        if delta.text or self._takes_text:
            self._put_own_text(delta.text, delta.logprobs)
        else:
            self._early += delta.logprobs  # empty text does not begin a message

    def _put_own_text(self, text: str, logprobs: Iterable[dict[str, object]]) -> None:
        tokens = [*self._early, *logprobs]
        self._early = []
        self._message(False).text(TextDelta(text, tokens))

    def _put_split(self, delta: TextDelta, splitter: ThinkSplitter) -> None:
        pieces = splitter.feed(delta.text)
        if not pieces and not isinstance(self._tail, QueuedReasoning):
            self._put_text(TextDelta("", delta.logprobs))  # the text is empty or was kept
        self._put_pieces(pieces, delta.logprobs)

    def _put_pieces(self, pieces: Iterable[tuple[bool, str]], logprobs: Iterable[dict[str, object]]) -> None:
        for reasoning, text in pieces:
            if reasoning:
                self._early = []  # log probabilities of the tag
                self._put_reasoning(ReasoningFragment(text))
            else:
                self._put_own_text(text, logprobs)
                logprobs = []

    def _message(self, refusal: bool) -> QueuedMessage:
        """The message to which further text belongs; its last part is a refusal if ``refusal``, else text."""
        tail = self._tail
        if not isinstance(tail, QueuedMessage):
            tail = QueuedMessage(refusal)
            self._push(tail)
        elif tail.refusal is not refusal:
            tail.begin_part(refusal)
        return tail

    def _put_call(self, fragment: CallFragment) -> None:
        call = self._calls.find(fragment)
        new = call is None
        if call is not None:
            self._calls.learn(fragment, call)
        elif fragment.empty:
            return  # a fragment without a call
        else:
            call = self._calls.add(fragment)
        if new or not call.admitted:
            self._admit(call, new)
        if call.dropped:
            return
        if fragment.extra is not None and self._context.keeps_opaque:
            # Members that the provider expects back with a call are sealed in the reasoning item before the call.
            self._reasoning().put_extra(call.identify() or call.mint(self._ids), fragment.extra)
        if new:
            self._push(call)
        call.put(fragment.arguments)

    def _put_image(self, image: GeneratedImage) -> None:
        """Add an image, once: some gateways repeat it with the last chunk."""
        if image.result not in self._images:
            self._images.add(image.result)
            self.size += len(image.result)
            self._push(QueuedImage(image))

    def _admit(self, call: StreamedCall, new: bool) -> None:
        """Check whether the client allows a call, as soon as its name is known."""
        if new and self._context.one_call and self._accepted:
            self._drop(call)
        self._accepted += new
        if call.ready and not call.admitted:
            call.admitted = True
            if not self._context.may_call(call.chat_name):
                self._accepted -= 1
                self._drop(call)

    def _drop(self, call: StreamedCall) -> None:
        """Drop a call that the client does not allow: tool_choice is enforced even if the provider ignores it."""
        call.dropped = True
        self.suppressed = True
        if call in self._queue:
            self._queue.remove(call)

    def _push(self, item: QueuedItem) -> None:
        self._queue.append(item)
        self._tail = item

    def _advance(self) -> None:
        """Send the deltas of the first item; if it is complete, close it and continue with the next."""
        queue = self._queue
        while queue:
            head = queue[0]
            if not head.opened:
                if not head.ready:
                    return
                head.open(self.out)
                self._some_opened = True
            head.drain()
            if len(queue) == 1 or not head.whole:
                return
            queue.popleft()
            head.close(True, self._is_final(queue))

    def _is_final(self, behind: Collection[QueuedItem]) -> bool:
        """Whether a message is the final answer: only images follow it, and the answer has no call."""
        return not self._accepted and all(isinstance(item, QueuedImage) for item in behind)
