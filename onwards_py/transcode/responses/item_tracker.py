"""Tracks the written parts of an answer, so that complete texts after their deltas are not written twice.

Some providers omit events: they send deltas without ``added``, only ``done`` events, or only the terminal event with
its ``output``. Others change ids from event to event, or send wrong indexes. So an item is found by its id, else by its
index among the open items of its kind, else it is the last open one; and a complete text adds only what its deltas
lacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onwards_py.transcode.neutral.deltas import Citation
from onwards_py.transcode.neutral.lenient_json import is_cut
from onwards_py.transcode.neutral.surrogates import Halves, well_formed
from onwards_py.transcode.responses.output_items import FIELDS, Field, ItemKind


class TextAccumulator:
    """One text of one item, which may have several parts."""

    __slots__ = ("_closed", "_halves", "_part", "_pieces", "_start")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._halves = Halves()
        self._start = 0
        self._closed = False
        self._part: int | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no text so far."""
        return not self._pieces

    @property
    def whole(self) -> str:
        """All text so far."""
        if self._start == 0 and len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return "".join(self._pieces)

    def next_part(self) -> None:
        """Begin another part."""
        self._start = len(self._pieces)
        self._closed = False

    def put(self, text: str) -> str:
        """Take more text; returns the text that can be written now."""
        if self._closed:
            self.next_part()
        text = self._halves.feed(text)
        if text:
            self._pieces.append(text)
        return text

    def separate(self, separator: str) -> str:
        """Begin another part after ``separator``; returns the text to write before it."""
        separator = self._add(self._halves.finish() + separator)
        self.next_part()
        return separator

    def finish(self) -> str:
        """The text has ended; returns the kept rest."""
        return self._add(self._halves.finish())

    def forget(self) -> None:
        """Drop the kept rest, because it was written in another way."""
        self._halves.forget()

    def part_done(self, full: str, part: int | None) -> str:
        """Take a complete part; returns its text that was not streamed. ``part``: its index, if known."""
        if self._closed and part != self._part:
            self.next_part()
        full, came = well_formed(full), "".join(self._pieces[self._start :])
        # Some providers send each token as a part, and then the whole text as a part.
        rest = "" if not came and full == self.whole else rest_of(came, full)
        self._closed, self._part = True, part
        return self._end(rest)

    def done(self, full: str) -> str:
        """Take the complete text of all parts; returns the text that was not streamed."""
        return self._end(rest_of(self.whole, well_formed(full)))

    def _end(self, rest: str) -> str:
        kept = self._halves.finish()
        return self._add(rest or kept)

    def _add(self, text: str) -> str:
        if text:
            self._pieces.append(text)
        return text


@dataclass(slots=True)
class TrackedCall:
    """One tool call."""

    given_id: str = ""
    """The provider's id of the call."""
    name: str = ""
    custom: bool = False
    dropped: bool = False
    """The call is dropped, because the client's API allows one call only."""
    identified: bool = False
    """The id is known, or will not follow."""
    number: int | None = None
    """The position among the calls; None: the call was not announced."""
    settled: bool = False
    """The arguments are complete."""
    initial_arguments: str = ""
    """Arguments of the ``added`` event, used only if no others follow."""
    text: TextAccumulator = field(default_factory=TextAccumulator)
    _backlog: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """All arguments so far."""
        return self.text.whole

    @property
    def broken(self) -> bool:
        """Whether the arguments are truncated JSON."""
        return not self.custom and is_cut(self.arguments)

    def put(self, text: str) -> None:
        """Take more arguments, for `take`."""
        self._backlog.append(self.text.put(text))

    def settle(self, full: str | None) -> None:
        """The arguments are complete. ``full``: all of them; None: the event did not repeat them."""
        if full:
            self._backlog.append(self.text.done(full))
            self.settled = True

    def end(self) -> None:
        """The arguments have ended."""
        self._backlog.append(self.text.finish())

    def take(self) -> str:
        """Return the arguments that were not written yet."""
        backlog, self._backlog = self._backlog, []
        return "".join(backlog)


@dataclass(slots=True, eq=False)
class TrackedItem:
    """One item of the answer."""

    kind: ItemKind
    id: str
    """The provider's id; it may be empty, or the same as that of another item."""
    index: int | None
    opening: int
    """Number of content characters before the item."""
    part: int
    """Number of content characters before the current part of the item."""
    final: Mapping[str, object] | None = None
    """The complete item, once it has arrived."""
    channel: str = ""
    """The form of reasoning that is written: content or summary; empty: not decided yet."""
    summary_index: int = 0
    """Index of the current part of the summary."""
    emitted: bool = False
    """A part of the item was written."""
    logprobs: int = 0
    """Number of tokens with log probabilities so far."""
    citations: list[Citation] = field(default_factory=list)
    texts: Mapping[Field, TextAccumulator] = field(default_factory=dict)
    call: TrackedCall | None = None

    @property
    def done(self) -> bool:
        """Whether the complete item has arrived."""
        return self.final is not None

    @property
    def open(self) -> bool:
        """Whether further events of the item may arrive, perhaps with another id."""
        return not self.done and not (self.call is not None and self.call.settled)


class ItemTracker:
    """The items of an answer, in the order of their first events."""

    __slots__ = ("_by_call_id", "_by_index", "_last", "all", "by_id")

    def __init__(self) -> None:
        self.all: list[TrackedItem] = []
        self.by_id: dict[str, TrackedItem] = {}
        self._by_index: dict[tuple[ItemKind, int], TrackedItem] = {}
        self._by_call_id: dict[str, TrackedItem] = {}
        self._last: dict[ItemKind, TrackedItem] = {}

    def find(self, kind: ItemKind, id_: str, index: int | None, *, settled: bool = False) -> TrackedItem | None:
        """The item to which an event belongs; ``id_`` may be empty. ``settled``: its arguments may be complete."""
        known = self.known(id_, index)
        if known is not None and known.kind == kind:
            return known
        there = self._by_index.get((kind, index)) if index is not None else None
        if there is not None and (there.open or (settled and not there.done)):
            return there
        last = self._last.get(kind)
        if last is not None and last.open and (index is None or last.index is None):
            return last
        return None

    def add(self, kind: ItemKind, id_: str, index: int | None, opening: int) -> TrackedItem:
        """Add a new item."""
        item = TrackedItem(kind, id_, index, opening, part=opening)
        if kind == "call":
            item.call = TrackedCall()
        else:
            item.texts = {name: TextAccumulator() for name in FIELDS}
        self.all.append(item)
        self._last[kind] = item
        if id_:
            self.by_id[id_] = item
        if index is not None:
            self._by_index[kind, index] = item
        return item

    def known(self, id_: str, index: int | None) -> TrackedItem | None:
        """The item of any kind with this id; if there are several, the one with this index, else the last one.

        Another index than that of the item may be an error of the provider, but not after the item is done.
        """
        item = self.by_id.get(id_) if id_ else None
        if item is None or index is None or index == item.index:
            return item
        there = self._by_index.get((item.kind, index))
        if there is not None and there.id == id_:
            return there
        return None if item.done and item.index is not None else item

    def by_call_id(self, call_id: str) -> TrackedItem | None:
        """The item of a call, by its call id."""
        return self._by_call_id.get(call_id)

    def identify(self, item: TrackedItem, call_id: str) -> None:
        """Register the provider's id of a call."""
        self._by_call_id.setdefault(call_id, item)


def rest_of(came: str, full: str) -> str:
    """The rest of ``full`` after ``came``. Empty if they differ, because written deltas cannot be retracted."""
    return full[len(came) :] if full.startswith(came) else ""
