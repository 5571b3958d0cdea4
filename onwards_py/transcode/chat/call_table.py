"""Which call a fragment belongs to. Providers number, name and repeat them in every way but one."""

from __future__ import annotations

from typing import NamedTuple

from onwards_py.transcode.responses.call_item import CallItem


class CallDelta(NamedTuple):
    """One entry of ``tool_calls``. ``slot``: its ``index``, None if there was none.

    Strings are empty where nothing usable stood. ``extra``: what the provider wants back with the call
    (``extra_content``, where Gemini signs its thoughts), a dictionary or None.
    """

    slot: int | None
    id: str
    name: str
    arguments: str
    extra: object = None

    @property
    def empty(self) -> bool:
        """Whether it says nothing about a call."""
        return not (self.id or self.name or self.arguments)


class CallTable:
    """The calls of one answer, by what identifies them."""

    __slots__ = ("_by_id", "_by_index", "_last")

    def __init__(self) -> None:
        self._by_index: dict[int, CallItem] = {}
        self._by_id: dict[str, CallItem] = {}
        self._last: CallItem | None = None

    def find(self, delta: CallDelta) -> CallItem | None:
        """The call that ``delta`` continues; None: it begins another."""
        if delta.slot is not None:
            known = self._by_index.get(delta.slot)
        elif delta.id:
            known = self._by_id.get(delta.id, None if delta.name else self._last)
        else:
            known = self._last
        return None if known is None or _begins_another(known, delta) else known

    def add(self, delta: CallDelta, call: CallItem) -> None:
        """Remember that ``delta`` began ``call``."""
        self._last = call
        if delta.slot is not None:
            self._by_index[delta.slot] = call
        self.learn(delta, call)

    def learn(self, delta: CallDelta, call: CallItem) -> None:
        """Take what ``delta`` says about the call's identity: the first id that is any, and more of the name."""
        self._last = call
        if delta.id and not call.chat_id:
            call.chat_id = delta.id
            self._by_id.setdefault(delta.id, call)
        if delta.name:
            call.put_name(delta.name)
        if delta.arguments:
            call.end_name()


def _begins_another(known: CallItem, delta: CallDelta) -> bool:
    """Parallel calls under one index, or under none: told by their ids, else by a name behind whole arguments.

    There are providers that give each chunk an id of its own, so an id counts if there is something to go with it, and
    others that give two calls one id: then the second has a name and other arguments behind those that were whole.
    """
    if delta.id and delta.id == known.chat_id:
        return bool(delta.name) and known.whole and not known.repeats(delta.arguments)
    if delta.id and known.chat_id:
        return bool(delta.name) or (bool(delta.arguments.strip()) and known.whole)
    names_another = bool(delta.name) and (bool(delta.arguments) or delta.name != known.chat_name)
    return names_another and bool(known.chat_name) and known.whole
