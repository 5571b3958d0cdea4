"""The items of a Responses stream with their correct indexes and parts, for providers that send wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Event = dict[str, object]
Item = dict[str, object]

_ITEM_OF_PART: Mapping[str, str] = {"output_text": "message", "refusal": "message", "reasoning_text": "reasoning"}
_BLANK: Mapping[str, Mapping[str, object]] = {
    "message": {"status": "in_progress", "role": "assistant", "content": []},
    "function_call": {"status": "in_progress", "arguments": ""},
    "custom_tool_call": {"status": "in_progress", "input": ""},
    "reasoning": {"summary": []},
}
_TEXT_OF: Mapping[str, str] = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text"}


@dataclass(slots=True)
class Known:
    """One announced item. ``places``: the provider's part indexes -> the correct ones.

    ``seen``: types of delta events with the index of their part; ``done``: the end of the item has arrived.
    """

    kind: str
    id: str | None
    index: int
    parts: list[str] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    done: bool = False

    def add_part(self, kind: str, claimed: object) -> int:
        """The index of a new part."""
        index = len(self.parts)
        self.parts.append(kind)
        self.places[as_index(claimed, index)] = index
        return index

    def part(self, kind: str, claimed: object) -> int | None:
        """The correct index of the part with the provider's index ``claimed``; None if no part is of this kind."""
        index = self.places.get(as_index(claimed, -1))
        if index is not None and self.parts[index] == kind:
            return index
        return next((at for at in range(len(self.parts) - 1, -1, -1) if self.parts[at] == kind), None)


class Items:
    """The items of one answer. ``whole``: the stream was read from its beginning, so indexes count from 0."""

    __slots__ = ("_by_claim", "_by_id", "_by_index", "all", "whole")

    def __init__(self) -> None:
        self.all: list[Known] = []
        self.whole = False
        self._by_id: dict[str, Known] = {}
        self._by_claim: dict[int, Known] = {}
        self._by_index: dict[int, Known] = {}

    def add(self, item: Mapping[str, object], claimed: object) -> Known:
        """Add an announced item; ``claimed``: the provider's index of it."""
        kind, ident = item.get("type"), item.get("id")
        follows = max((known.index for known in self.all), default=-1) + 1
        index = follows if self.whole else as_index(claimed, follows)
        known = Known(kind if isinstance(kind, str) else "", ident if isinstance(ident, str) and ident else None, index)
        self.all.append(known)
        self._by_claim[as_index(claimed, index)] = known
        self._by_index[index] = known
        if known.id is not None:
            self._by_id[known.id] = known
        return known

    def find(self, ident: object, claimed: object, kind: str | None) -> Known | None:
        """The item of an event: by id, else an open one by index, else the last one; ``kind``, if given, must match.

        The index may be the provider's or the correct one, so that repaired events also find their item.
        """
        index = as_index(claimed, -1)
        if isinstance(ident, str) and ident in self._by_id:
            known = self._by_id[ident]
            there = self._by_claim.get(index)
            if there is not None and there.id == ident:  # several items have this id
                known = there
            return known if kind in (None, known.kind) else None
        if index < 0:
            candidates = self.all[-1:]
        else:
            candidates = [known for known in (self._by_claim.get(index), self._by_index.get(index)) if known]
        return next((known for known in candidates if not known.done and kind in (None, known.kind)), None)

    def repeats(self, known: Known, item: Mapping[str, object], claimed: object) -> bool:
        """Whether ``item`` is a second announcement of ``known``, and not another item with the same id."""
        if known.done or known.id != item.get("id") or known.kind != item.get("type"):
            return False
        index = as_index(claimed, known.index)
        return index == known.index or self._by_claim.get(index) is known

    def knows(self, ident: object) -> bool:
        """Whether an item with this id was announced."""
        return isinstance(ident, str) and ident in self._by_id


def as_index(value: object, otherwise: int) -> int:
    """``value`` if it is a valid index, else ``otherwise``."""
    return value if type(value) is int and 0 <= value < 2**31 else otherwise


def item_of(part: str) -> str | None:
    """The type of items with parts of type ``part``; None: an unknown type of part."""
    return _ITEM_OF_PART.get(part)


def blank(item: Mapping[str, object]) -> Item:
    """``item`` in the form of its announcement, without content."""
    kind = item.get("type")
    empty = _BLANK.get(kind) if isinstance(kind, str) else None
    if empty is None:
        return {**item, "status": "in_progress"} if "status" in item else dict(item)
    made = {**item, **empty}
    made.pop("encrypted_content", None)
    if kind == "reasoning":
        made.pop("content", None)
        if "status" in made:
            made["status"] = "in_progress"
    return made


def blank_part(kind: str) -> Item:
    """A part without content."""
    if kind == "output_text":
        return {"type": kind, "text": "", "annotations": [], "logprobs": []}
    return {"type": kind, _TEXT_OF[kind]: ""}


def text_of(part: object, kind: str) -> str:
    """The text of a part of type ``kind``; empty for any other."""
    if not isinstance(part, dict) or part.get("type") != kind:
        return ""
    text = part.get(_TEXT_OF.get(kind, ""))
    return text if isinstance(text, str) else ""


def complete_item(item: Item, status: str | None) -> bool:
    """Add members without which clients crash. ``status`` is set if the item has none. True if the item was changed."""
    kind = item.get("type")
    before = len(item)
    if kind in ("message", "function_call", "custom_tool_call") and status is not None:
        item.setdefault("status", status)
    if kind == "reasoning":
        item.setdefault("summary", [])
    if kind == "message":
        item.setdefault("role", "assistant")
        item.setdefault("content", [])
    elif kind == "function_call":
        item.setdefault("arguments", "")
    changed = len(item) != before
    content = item.get("content")
    for part in content if isinstance(content, list) else ():
        changed |= complete_part(part)
    return changed


def complete_part(part: object) -> bool:
    """Add missing ``annotations`` to a text part, as an empty list. True if the part was changed."""
    if not isinstance(part, dict) or part.get("type") != "output_text" or isinstance(part.get("annotations"), list):
        return False
    part["annotations"] = []
    return True
