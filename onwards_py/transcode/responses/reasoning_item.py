"""A reasoning item of a response.

One shape satisfies the specification and every client: the trace streams as a summary, and the final item has it
twice, as ``summary`` and as ``content``.
"""

from __future__ import annotations

from collections.abc import Mapping

from onwards_py.transcode.neutral.sealed import ORIGIN, seal_reasoning
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.output_events import EventLog, Item, OpenItem, status


class ReasoningItem(OpenItem):
    """``seal`` adds what only the provider can read, for the client to carry."""

    __slots__ = ("_context", "_sealed", "_texts")

    def __init__(self, log: EventLog, context: ResponsesContext) -> None:
        super().__init__(log, "rs_")
        self._context = context
        self._sealed = ""
        self._texts: list[str] = []
        self._announce({"type": "reasoning", "id": self.id, "status": "in_progress", "summary": []})
        self._place["summary_index"] = 0

    def text(self, text: str) -> None:
        """Write more of the trace."""
        if not self._texts:
            self._emit("response.reasoning_summary_part.added", part={"type": "summary_text", "text": ""})
        self._texts.append(text)
        self._emit("response.reasoning_summary_text.delta", delta=text)

    def seal(self, fields: Mapping[str, object]) -> None:
        """Take the provider's own fields, to be given back to it as they were."""
        if self._context.origin:
            fields = {**fields, ORIGIN: self._context.origin}
        if self._context.sealer is not None:
            self._sealed = seal_reasoning(fields, self._context.sealer)

    def close(self, complete: bool, final: bool) -> None:  # noqa: ARG002 reasoning is not the answer
        item: Item = {"type": "reasoning", "id": self.id, "status": status(complete), "summary": []}
        if self._texts:
            text = "".join(self._texts)
            summary = {"type": "summary_text", "text": text}
            self._emit("response.reasoning_summary_text.done", text=text)
            self._emit("response.reasoning_summary_part.done", part=summary)
            item["summary"] = [summary]
            item["content"] = [{"type": "reasoning_text", "text": text}]
        if self._sealed:
            item["encrypted_content"] = self._sealed
        self._log.item_done(item)
