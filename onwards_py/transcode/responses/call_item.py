"""A tool call on its way out: a function call, or the call of a custom tool that became a function on the way in."""

from __future__ import annotations

from onwards_py.transcode.chat.json_nesting import JsonNesting
from onwards_py.transcode.neutral.context import Context, ToolKind, ToolName
from onwards_py.transcode.neutral.lenient_json import is_cut, is_json
from onwards_py.transcode.neutral.surrogates import Halves, well_formed
from onwards_py.transcode.responses.custom_input import CustomInput
from onwards_py.transcode.responses.output_events import Item, Output, status
from onwards_py.transcode.responses.tool_search import call_item

_LONGEST_CALL_ID = 64
_PREFIXES = {ToolKind.FUNCTION: "fc_", ToolKind.CUSTOM: "ctc_", ToolKind.SEARCH: "tsc_"}
_NO_ARGUMENTS = "{}"


class CallItem:
    """Serial part of an answer; see `Segment`. ``chat_id`` and ``chat_name`` are the provider's, perhaps empty yet.

    ``ready``: the name is whole, so that the item can be announced.
    ``admitted``: the name was held against what the client allows; ``hidden``: it is not to be shown.
    """

    __slots__ = (
        "_beyond",
        "_context",
        "_fragments",
        "_fresh",
        "_halves",
        "_index",
        "_length",
        "_nesting",
        "_streamed",
        "_tool",
        "_unread",
        "_unwrap",
        "_whole",
        "admitted",
        "call_id",
        "chat_id",
        "chat_name",
        "hidden",
        "id",
        "opened",
        "ready",
    )

    def __init__(self, context: Context) -> None:
        self.ready = False
        self.chat_id = ""
        self.chat_name = ""
        self.call_id = ""
        self.id = ""
        self.opened = False
        self.admitted = False
        self.hidden = False
        self._context = context
        self._fragments: list[str] = []
        self._fresh: list[str] = []
        self._halves = Halves()
        self._length = 0
        self._unread: list[str] = []
        self._nesting = JsonNesting()
        self._whole = False
        self._beyond = False  # a whole text and more of it: nothing that follows can mend that
        self._index = 0
        self._tool = ToolName(ToolKind.FUNCTION, "")
        self._unwrap: CustomInput | None = None
        self._streamed: list[str] = []

    def put_name(self, piece: str) -> None:
        """Take more of the name, until it is whole. Some providers cut it, others say it again with each fragment.

        A name is whole as soon as it is a tool's that was offered, and in any case when arguments follow.
        """
        if self.ready:
            return
        joined, tools = self.chat_name + piece, self._context.tools
        if piece == self.chat_name and (piece in tools or not self._context.begins(joined)):
            return
        self.chat_name = piece if piece in tools and joined not in tools else joined
        self.ready = self._context.is_whole(self.chat_name)

    def end_name(self) -> None:
        """No more of the name can follow."""
        if not self.ready and self.chat_name:
            self.ready = True
            self.chat_name = well_formed(self.chat_name)

    @property
    def arguments(self) -> str:
        """All that came so far."""
        if len(self._fragments) > 1:
            self._fragments = ["".join(self._fragments)]
        return self._fragments[0] if self._fragments else ""

    @property
    def whole(self) -> bool:
        """Whether nothing more can follow in the arguments, since they are a whole JSON object."""
        if self._unread:
            self._nesting.feed("".join(self._unread))
            self._unread = []
            self._whole = self._nesting.closed and not self._beyond and is_json(self.arguments)
            self._beyond = self._nesting.closed and not self._whole
        return self._whole

    def repeats(self, text: str) -> bool:
        """Whether ``text``, behind whole arguments, is nothing new: white space, the same, or what they stand for."""
        return not text.strip() or text == self.arguments or self._is_placeholder

    def put(self, text: str) -> None:
        """Take more arguments; a whole repetition of what is there counts once."""
        text = self._halves.feed(text)
        if not text or (len(text) == self._length and self.whole and text == self.arguments):
            return
        if self._is_placeholder and text.lstrip().startswith("{"):
            self._fragments, self._fresh, self._length = [], [], 0
            self._unread, self._nesting = [], JsonNesting()
        self._fragments.append(text)
        self._fresh.append(text)
        self._unread.append(text)
        self._length += len(text)

    @property
    def _is_placeholder(self) -> bool:
        """Some providers say ``{}`` first and the arguments afterwards; so it is believed only in the end."""
        return self._length == len(_NO_ARGUMENTS) and self.arguments == _NO_ARGUMENTS

    def open(self, out: Output) -> None:
        self.opened = True
        tool = self._context.tool(self.chat_name)
        self._tool = tool or ToolName(ToolKind.FUNCTION, self.chat_name)
        self._unwrap = CustomInput() if self._tool.kind is ToolKind.CUSTOM else None
        self.id = out.ids.new_id(_PREFIXES[self._tool.kind])
        self.identify(out)
        self._index = out.item_added(self._shape("", "in_progress"))

    def drain(self, out: Output) -> None:
        if self._fresh and not self._is_placeholder:
            self._flush(out)

    def close(self, out: Output, cut: bool) -> bool:
        self.put(self._halves.finish())
        self._flush(out)
        if self._unwrap is None and not cut and not self.arguments.strip():
            self._delta(out, _NO_ARGUMENTS)
        elif self._unwrap is not None:
            self._delta(out, self._unwrap.finish())
        text = "".join(self._streamed)
        cut |= is_cut(text) if self._unwrap is None else self._unwrap.broken
        if self._tool.kind is not ToolKind.SEARCH:
            self._say_done(out, text)
        out.item_done(self._shape(text, status(cut)))
        return not cut

    def _say_done(self, out: Output, text: str) -> None:
        place = {"item_id": self.id, "output_index": self._index}
        if self._unwrap is None:
            type_, last = "response.function_call_arguments.done", {"name": self._tool.name, "arguments": text}
        else:
            type_, last = "response.custom_tool_call_input.done", {"input": text}
        out.emit({"type": type_, "sequence_number": 0, **place, **last})

    def _flush(self, out: Output) -> None:
        fresh, self._fresh = self._fresh, []
        for fragment in fresh:
            self._delta(out, fragment if self._unwrap is None else self._unwrap.feed(fragment))

    def _delta(self, out: Output, text: str) -> None:
        if not text:
            return
        self._streamed.append(text)
        if self._tool.kind is ToolKind.SEARCH:
            return  # its arguments are an object, of which there are no pieces
        event: Item = {
            "type": "response.function_call_arguments.delta",
            "sequence_number": 0,
            "item_id": self.id,
            "output_index": self._index,
            "delta": text,
        }
        if self._unwrap is not None:
            event["type"] = "response.custom_tool_call_input.delta"
        out.emit(event)

    def _shape(self, text: str, status_: str) -> Item:
        if self._tool.kind is ToolKind.SEARCH:
            return call_item(self.id, self.call_id, text, status_)
        item: Item = {"type": "function_call", "id": self.id, "status": status_, "call_id": self.call_id}
        item["name"] = self._tool.name
        if self._tool.namespace is not None:
            item["namespace"] = self._tool.namespace
        if self._unwrap is None:
            item["arguments"] = text
        else:
            item["type"], item["input"] = "custom_tool_call", text
        return item

    def identify(self, out: Output) -> str:
        """The client's id of the call, once and for all: the provider's if it will do, else ours."""
        if self.call_id:
            return self.call_id
        wanted = self._context.call_ids.get(self.chat_id, self.chat_id)
        if not 0 < len(wanted) <= _LONGEST_CALL_ID or wanted in out.call_ids:
            wanted = out.ids.new_id("call_")
        out.call_ids.add(wanted)
        self.call_id = wanted
        return wanted
