"""What of an answer was written already, so that what comes whole, after or instead of its deltas, is written once.

Providers leave events out: deltas without their ``added``, only the ``done`` events, only the terminal with its
``output``. Others change ids from event to event, or count indexes wrongly. So an item is found by its id, else by
index among the open ones of its kind, else it is the last open one; and a whole text adds what its deltas lacked.
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
        """Whether no text came."""
        return not self._pieces

    def next_part(self) -> None:
        """What follows belongs to another part."""
        self._start = len(self._pieces)
        self._closed = False

    def put(self, text: str) -> str:
        """More text came; returns what of it can be written by now."""
        if self._closed:
            self.next_part()
        text = self._halves.feed(text)
        if text:
            self._pieces.append(text)
        return text

    def separate(self, separator: str) -> str:
        """What follows belongs to another part, behind ``separator``; returns what is to be written of both."""
        separator = self._add(self._halves.finish() + separator)
        self.next_part()
        return separator

    def finish(self) -> str:
        """No more comes; returns what was kept back for more."""
        return self._add(self._halves.finish())

    def forget(self) -> None:
        """What was kept back was written in another way."""
        self._halves.forget()

    def part_done(self, full: str, part: int | None) -> str:
        """A part is known in full; returns what of it had not come. ``part``: its index, if known."""
        if self._closed and part != self._part:
            self.next_part()
        full, came = well_formed(full), "".join(self._pieces[self._start :])
        # There are providers that call each token a part, and the whole text one, too.
        rest = "" if not came and full == "".join(self._pieces) else rest_of(came, full)
        self._closed, self._part = True, part
        return self._end(rest)

    def done(self, full: str) -> str:
        """All parts are known in full; returns what of them had not come."""
        return self._end(rest_of("".join(self._pieces), well_formed(full)))

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
    """The provider's id of it."""
    name: str = ""
    custom: bool = False
    hidden: bool = False
    """The client cannot be given it."""
    identified: bool = False
    """Its id is known, or will never be."""
    number: int | None = None
    """Its place among the calls; None until it was announced, and for good if it is hidden."""
    settled: bool = False
    """Its arguments are known in full."""
    spare: str = ""
    """Arguments that came too early to be believed."""
    _halves: Halves = field(default_factory=Halves)
    _pieces: list[str] = field(default_factory=list)
    _backlog: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """All of them so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def broken(self) -> bool:
        """Whether the arguments stop in their middle, so that they must have been cut."""
        return not self.custom and is_cut(self.arguments)

    def add(self, text: str) -> str:
        """Take more arguments; returns what of them can be written by now."""
        text = self._halves.feed(text)
        if text:
            self._pieces.append(text)
        return text

    def put(self, text: str) -> None:
        """Take more arguments, for `take`."""
        if text := self.add(text):
            self._backlog.append(text)

    def settle(self, full: str | None) -> None:
        """The arguments are known in full (None: they were not repeated)."""
        if full:
            rest = rest_of(self.arguments, well_formed(full))
            kept = self._halves.finish()
            self.put(rest or kept)
            self.settled = True

    def end(self) -> None:
        """No more of the arguments comes."""
        self.put(self._halves.finish())

    def take(self) -> str:
        """What was not written yet."""
        backlog, self._backlog = self._backlog, []
        return "".join(backlog)


@dataclass(slots=True, eq=False)
class TrackedItem:
    """One item of the answer."""

    kind: ItemKind
    id: str
    """The provider's, perhaps empty, and perhaps another item's, too."""
    index: int | None
    opening: int
    """The characters of content that came before it."""
    part: int
    """The characters of content that came before its current part."""
    final: Mapping[str, object] | None = None
    """The item as a whole, once it came so."""
    channel: str = ""
    """Which of the two forms of reasoning counts."""
    summary_index: int = 0
    """Which part of the summary is written."""
    emitted: bool = False
    """Anything of it was written."""
    logprobs: int = 0
    """How many tokens had theirs."""
    citations: list[Citation] = field(default_factory=list)
    texts: Mapping[Field, TextAccumulator] = field(default_factory=dict)
    call: TrackedCall | None = None

    @property
    def done(self) -> bool:
        """Whether it came as a whole."""
        return self.final is not None

    @property
    def open(self) -> bool:
        """Whether more of it may come under another id."""
        return not self.done and not (self.call is not None and self.call.settled)


class ItemTracker:
    """The items of an answer, in order of first sight."""

    __slots__ = ("_by_call_id", "_by_index", "_last", "all", "by_id")

    def __init__(self) -> None:
        self.all: list[TrackedItem] = []
        self.by_id: dict[str, TrackedItem] = {}
        self._by_index: dict[tuple[ItemKind, int], TrackedItem] = {}
        self._by_call_id: dict[str, TrackedItem] = {}
        self._last: dict[ItemKind, TrackedItem] = {}

    def find(self, kind: ItemKind, id_: str, index: int | None, *, settled: bool = False) -> TrackedItem | None:
        """The item that an event belongs to; ``id_`` may be empty. ``settled``: its arguments may be known already."""
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
        """Remember a new item."""
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
        """The item with this id, of whatever kind; of several the one with this index, else the last one.

        An index that is not the item's own may be a wrong one, but not once the item is done.
        """
        item = self.by_id.get(id_) if id_ else None
        if item is None or index is None or index == item.index:
            return item
        there = self._by_index.get((item.kind, index))
        if there is not None and there.id == id_:
            return there
        return None if item.done and item.index is not None else item

    def by_call_id(self, call_id: str) -> TrackedItem | None:
        """The item of a call, by the id that its output will have to carry."""
        return self._by_call_id.get(call_id)

    def identify(self, item: TrackedItem, call_id: str) -> None:
        """Remember the provider's id of a call."""
        self._by_call_id.setdefault(call_id, item)


def rest_of(came: str, full: str) -> str:
    """What ``full`` has behind what came. Where the two differ the deltas count: they cannot be taken back."""
    return full[len(came) :] if full.startswith(came) else ""
