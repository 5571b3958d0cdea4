"""A tool call of a streamed chat answer. Its name may arrive in pieces, its arguments may be repeated or truncated."""

from __future__ import annotations

from onwards_py.transcode.chat.custom_input import CustomInput
from onwards_py.transcode.chat.json_nesting import JsonNesting
from onwards_py.transcode.chat.queued_items import QueuedItem
from onwards_py.transcode.chat.read_delta import CallFragment
from onwards_py.transcode.neutral.context import AnswerContext, Ids, ToolKind, ToolName
from onwards_py.transcode.neutral.deltas import CallDelta, CallEnd, CallStart, Delta
from onwards_py.transcode.neutral.lenient_json import is_cut, is_json
from onwards_py.transcode.neutral.names import LONGEST
from onwards_py.transcode.neutral.surrogates import Halves, well_formed

_NO_ARGUMENTS = "{}"


class StreamedCall(QueuedItem):
    """An item of the queue, see `QueuedItem`. ``chat_id`` and ``chat_name`` are the provider's; they may still be
    empty.

    ``ready``: the name is complete, so that the item can be announced.
    ``admitted``: the name was checked against the calls that the client allows; ``dropped``: the call is dropped.
    """

    def __init__(self, context: AnswerContext, table: CallTable) -> None:
        super().__init__()
        self.ready = False
        self.chat_id = ""
        self.chat_name = ""
        self.admitted = False
        self.dropped = False
        self._context = context
        self._table = table
        self._call_id: str | None = None
        self._number = 0
        self._fragments: list[str] = []
        self._fresh: list[str] = []
        self._halves = Halves()
        self._length = 0
        self._unread: list[str] = []
        self._nesting = JsonNesting()
        self._whole = False
        self._beyond = False  # more text followed a complete object, so the arguments can no longer become valid
        self._unwrap: CustomInput | None = None
        self._sent: list[str] = []

    def put_name(self, piece: str) -> None:
        """Take more of the name, until it is complete. Some providers split it, others repeat it with each fragment.

        A name is complete when it is unambiguously that of an offered tool, and in any case when arguments follow.
        """
        if self.ready:
            return
        joined, tools = self.chat_name + piece, self._context.tools
        if piece == self.chat_name and (piece in tools or not self._context.begins(joined)):
            return
        self.chat_name = piece if piece in tools and joined not in tools else joined
        self.ready = self._context.is_whole(self.chat_name)

    def end_name(self) -> None:
        """The name is complete."""
        if not self.ready and self.chat_name:
            self.ready = True
            self.chat_name = well_formed(self.chat_name)

    def identify(self) -> str:
        """The client's id of the call, final after the first use: the provider's id if it is usable, else empty."""
        if self._call_id is None:
            wanted = self._context.call_ids.get(self.chat_id, self.chat_id)
            self._call_id = wanted if 0 < len(wanted) <= LONGEST and wanted not in self._table.ids else ""
            self._table.ids.add(wanted)
        return self._call_id

    def mint(self, ids: Ids) -> str:
        """Create an id for a call without a usable one."""
        self._call_id = ids.new_id("call_")
        return self._call_id

    @property
    def arguments(self) -> str:
        """All arguments so far."""
        if len(self._fragments) > 1:
            self._fragments = ["".join(self._fragments)]
        return self._fragments[0] if self._fragments else ""

    @property
    def whole(self) -> bool:
        """Whether the arguments are a complete JSON object."""
        if self._unread:
            self._nesting.feed("".join(self._unread))
            self._unread = []
            self._whole = self._nesting.closed and not self._beyond and is_json(self.arguments)
            self._beyond = self._nesting.closed and not self._whole
        return self._whole

    def repeats(self, text: str) -> bool:
        """Whether ``text`` after complete arguments is redundant: white space, a repetition, or the actual arguments
        after a placeholder."""
        return not text.strip() or text == self.arguments or self._is_placeholder

    def put(self, text: str) -> None:
        """Take more arguments; a complete repetition of the arguments is ignored."""
        text = self._halves.feed(text)
        if not text or (len(text) == self._length and self.whole and text == self.arguments):
            return
        if self._length == len(_NO_ARGUMENTS) and self._is_placeholder and text.lstrip().startswith("{"):
            self._fragments, self._fresh, self._length = [], [], 0
            self._unread, self._nesting = [], JsonNesting()
        self._fragments.append(text)
        self._fresh.append(text)
        self._unread.append(text)
        self._length += len(text)

    @property
    def _is_placeholder(self) -> bool:
        """Whether the arguments are ``{}``, which some providers send before the actual arguments. It counts only if it
        is still the whole text at the end."""
        return self._length == len(_NO_ARGUMENTS) and self.arguments == _NO_ARGUMENTS

    def open(self, out: list[Delta]) -> None:
        tool = self._context.tool(self.chat_name) or ToolName(ToolKind.FUNCTION, self.chat_name)
        self._number = self._table.opened
        self._table.opened += 1
        self._unwrap = CustomInput() if tool.kind is ToolKind.CUSTOM else None
        self._out.append(CallStart(self._number, self.identify(), tool.name, tool.kind, tool.namespace))
        super().open(out)

    def drain(self) -> None:
        if self._fresh and not (self._length == len(_NO_ARGUMENTS) and self._is_placeholder):
            self._flush()

    def close(self, complete: bool, final: bool) -> bool:  # noqa: ARG002 calls are not the answer
        self.put(self._halves.finish())
        self._flush()
        if self._unwrap is not None:
            self._send(self._unwrap.finish())
        elif complete and not self.arguments.strip():
            self._send(_NO_ARGUMENTS)
        text = "".join(self._sent)
        complete &= not (is_cut(text) if self._unwrap is None else self._unwrap.broken)
        self._out.append(CallEnd(self._number, text, complete))
        return complete

    def _flush(self) -> None:
        fresh, self._fresh = self._fresh, []
        for fragment in fresh:
            text = fragment if self._unwrap is None else self._unwrap.feed(fragment)
            if text:
                self._sent.append(text)
                self._out.append(CallDelta(self._number, text))

    def _send(self, text: str) -> None:
        if text:
            self._sent.append(text)
            self._out.append(CallDelta(self._number, text))


class CallTable:
    """The calls of one answer by index and id. ``ids``: the used call ids; ``opened``: the number of opened calls."""

    __slots__ = ("_by_id", "_by_index", "_context", "_last", "ids", "opened")

    def __init__(self, context: AnswerContext) -> None:
        self.ids: set[str] = set()
        self.opened = 0
        self._context = context
        self._by_index: dict[int, StreamedCall] = {}
        self._by_id: dict[str, StreamedCall] = {}
        self._last: StreamedCall | None = None

    def find(self, fragment: CallFragment) -> StreamedCall | None:
        """The call that ``fragment`` continues; None: it begins a new call."""
        if fragment.slot is not None:
            known = self._by_index.get(fragment.slot)
        elif fragment.id:
            known = self._by_id.get(fragment.id, None if fragment.name else self._last)
        else:
            known = self._last
        return None if known is None or _begins_another(known, fragment) else known

    def add(self, fragment: CallFragment) -> StreamedCall:
        """Create the call that begins with ``fragment``."""
        call = StreamedCall(self._context, self)
        if fragment.slot is not None:
            self._by_index[fragment.slot] = call
        self.learn(fragment, call)
        return call

    def learn(self, fragment: CallFragment, call: StreamedCall) -> None:
        """Add the id and name of ``fragment`` to the call: the first id that is not empty, and more of the name."""
        self._last = call
        if fragment.id and not call.chat_id:
            call.chat_id = fragment.id
            self._by_id.setdefault(fragment.id, call)
        if fragment.name:
            call.put_name(fragment.name)
        if fragment.arguments and not call.ready:
            call.end_name()


def _begins_another(known: StreamedCall, fragment: CallFragment) -> bool:
    """Whether ``fragment`` begins a new call with the same index as ``known``, or without an index.

    A new call has another id, or a name after complete arguments. Some providers send a new id with each chunk, so
    another id counts only if the fragment also has a name, or follows complete arguments. Others use one id for two
    calls: then the second call has a name, and other arguments than the complete ones of the first.
    """
    if fragment.id and fragment.id == known.chat_id:
        return bool(fragment.name) and known.whole and not known.repeats(fragment.arguments)
    if fragment.id and known.chat_id:
        return bool(fragment.name) or (bool(fragment.arguments.strip()) and known.whole)
    names_another = bool(fragment.name) and (bool(fragment.arguments) or fragment.name != known.chat_name)
    return names_another and bool(known.chat_name) and known.whole
