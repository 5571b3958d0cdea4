"""A message of a response: text and refusal parts, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from onwards_py.transcode.neutral.deltas import Citation, TextDelta
from onwards_py.transcode.responses.output_events import EventLog, Item, OpenItem, status


class _Part:
    __slots__ = ("annotations", "logprobs", "refusal", "texts")

    def __init__(self, refusal: bool) -> None:
        self.refusal = refusal
        self.texts: list[str] = []
        self.logprobs: list[Item] = []
        self.annotations: list[Item] = []

    def shape(self) -> Item:
        """The part as it is now."""
        text = "".join(self.texts)
        if self.refusal:
            return {"type": "refusal", "refusal": text}
        # Copies: the events that hold the part are written later than it grows.
        annotations, logprobs = list(self.annotations), list(self.logprobs)
        return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}


class MessageItem(OpenItem):
    """``phased``: the client knows the phases of messages."""

    __slots__ = ("_part", "_phased", "_shapes")

    def __init__(self, log: EventLog, phased: bool) -> None:
        super().__init__(log, "msg_")
        self._phased = phased
        self._part: _Part | None = None
        self._shapes: list[Item] = []
        self._announce(self._shape("in_progress", []))

    def begin_part(self, refusal: bool) -> _Part:
        """Begin a part; what follows belongs to it."""
        self._end_part()
        self._part = _Part(refusal)
        self._place["content_index"] = len(self._shapes)
        self._emit("response.content_part.added", part=self._part.shape())
        return self._part

    def text(self, delta: TextDelta) -> None:
        """Write more text."""
        part = self._part or self.begin_part(False)
        logprobs: list[Item] = []
        if delta.logprobs:
            logprobs = [_without_null(token) for token in delta.logprobs]
            part.logprobs += logprobs
        part.texts.append(delta.text)
        self._log.emit(
            {
                "type": "response.output_text.delta",
                "sequence_number": 0,
                **self._place,
                "delta": delta.text,
                "logprobs": logprobs,
            }
        )

    def refuse(self, text: str) -> None:
        """Write more of a refusal."""
        part = self._part or self.begin_part(True)
        part.texts.append(text)
        self._emit("response.refusal.delta", delta=text)

    def cite(self, citations: Sequence[Citation]) -> None:
        """Write what the text cites."""
        part = self._part or self.begin_part(False)
        for citation in citations:
            annotation: Item = {"type": "url_citation", "start_index": citation.start, "end_index": citation.end}
            annotation |= {"url": citation.url, "title": citation.title}
            index = len(part.annotations)
            part.annotations.append(annotation)
            self._emit("response.output_text.annotation.added", annotation_index=index, annotation=annotation)

    def close(self, complete: bool, final: bool) -> None:
        self._end_part()
        item = self._shape(status(complete), self._shapes)
        if self._phased:
            item["phase"] = "final_answer" if final else "commentary"
        self._log.item_done(item)

    def _shape(self, status_: str, content: list[Item]) -> Item:
        return {"type": "message", "id": self.id, "status": status_, "role": "assistant", "content": content}

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        shape = part.shape()
        if part.refusal:
            self._emit("response.refusal.done", refusal=shape["refusal"])
        else:
            self._emit("response.output_text.done", text=shape["text"], logprobs=shape["logprobs"])
        self._emit("response.content_part.done", part=shape)
        self._shapes.append(shape)


def _without_null(token: Item) -> Item:
    """A token with ``bytes`` and ``top_logprobs`` that are never null, as the schema wants them."""
    top = token["top_logprobs"]
    others = [{**one, "bytes": one["bytes"] or []} for one in top] if isinstance(top, list) else []
    return {**token, "bytes": token["bytes"] or [], "top_logprobs": others}
