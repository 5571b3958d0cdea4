"""Which call a fragment belongs to. Providers number, name and repeat them in every way but one."""

from __future__ import annotations

from onwards_py.transcode.chat.read_delta import CallFragment
from onwards_py.transcode.chat.streamed_call import StreamedCall


class CallTable:
    """The calls of one answer, by what identifies them."""

    __slots__ = ("_by_id", "_by_index", "_last")

    def __init__(self) -> None:
        self._by_index: dict[int, StreamedCall] = {}
        self._by_id: dict[str, StreamedCall] = {}
        self._last: StreamedCall | None = None

    def find(self, fragment: CallFragment) -> StreamedCall | None:
        """The call that ``fragment`` continues; None: it begins another."""
        if fragment.slot is not None:
            known = self._by_index.get(fragment.slot)
        elif fragment.id:
            known = self._by_id.get(fragment.id, None if fragment.name else self._last)
        else:
            known = self._last
        return None if known is None or _begins_another(known, fragment) else known

    def add(self, fragment: CallFragment, call: StreamedCall) -> None:
        """Remember that ``fragment`` began ``call``."""
        self._last = call
        if fragment.slot is not None:
            self._by_index[fragment.slot] = call
        self.learn(fragment, call)

    def learn(self, fragment: CallFragment, call: StreamedCall) -> None:
        """Take what ``fragment`` has of the call's identity: the first id that is any, and more of the name."""
        self._last = call
        if fragment.id and not call.chat_id:
            call.chat_id = fragment.id
            self._by_id.setdefault(fragment.id, call)
        if fragment.name:
            call.put_name(fragment.name)
        if fragment.arguments and not call.ready:
            call.end_name()


def _begins_another(known: StreamedCall, fragment: CallFragment) -> bool:
    """Parallel calls under one index, or under none: told apart by their ids, else by a name behind whole arguments.

    There are providers that give each chunk an id of its own, so an id counts if there is something to go with it, and
    others that give two calls one id: then the second has a name and other arguments behind those that were whole.
    """
    if fragment.id and fragment.id == known.chat_id:
        return bool(fragment.name) and known.whole and not known.repeats(fragment.arguments)
    if fragment.id and known.chat_id:
        return bool(fragment.name) or (bool(fragment.arguments.strip()) and known.whole)
    names_another = bool(fragment.name) and (bool(fragment.arguments) or fragment.name != known.chat_name)
    return names_another and bool(known.chat_name) and known.whole
