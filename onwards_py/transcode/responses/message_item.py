"""A message item on its way out: text and refusal parts, one after the other."""

from __future__ import annotations

from enum import Enum

from onwards_py.transcode.neutral.surrogates import Halves
from onwards_py.transcode.responses.output_events import Item, Output, status


class PartKind(Enum):
    TEXT = "output_text"
    REFUSAL = "refusal"


class _Part:
    __slots__ = (
        "annotations",
        "announced",
        "announced_annotations",
        "early",
        "fresh",
        "halves",
        "kind",
        "logprobs",
        "texts",
    )

    def __init__(self, kind: PartKind) -> None:
        self.kind = kind
        self.announced = False
        self.texts: list[str] = []
        self.fresh: list[tuple[str, list[object]]] = []
        self.logprobs: list[object] = []
        self.early: list[object] = []  # log probabilities of tokens whose text has not come
        self.halves = Halves()
        self.annotations: list[object] = []
        self.announced_annotations = 0

    def put(self, text: str, logprobs: list[object]) -> None:
        if logprobs:
            self.logprobs += logprobs
        if not text:
            self.early += logprobs
            return
        if self.early:
            logprobs, self.early = self.early + logprobs, []
        self.texts.append(text)
        self.fresh.append((text, logprobs))

    def end(self) -> None:
        """No more of it comes. Tokens whose text never came are told with none."""
        self.put(self.halves.finish(), [])
        if self.early:
            self.fresh.append(("", self.early))

    def shape(self) -> Item:
        """The part as it is now."""
        text = "".join(self.texts)
        if self.kind is PartKind.REFUSAL:
            return {"type": "refusal", "refusal": text}
        return {"type": "output_text", "text": text, "annotations": self.annotations, "logprobs": self.logprobs}


_EMPTY: dict[PartKind, Item] = {
    PartKind.TEXT: {"type": "output_text", "text": "", "annotations": [], "logprobs": []},
    PartKind.REFUSAL: {"type": "refusal", "refusal": ""},
}


class MessageItem:
    """Serial part of an answer; see `Segment`. ``phase``: set before it is closed, for clients that know phases."""

    __slots__ = ("_at", "_index", "_parts", "id", "opened", "phase")

    whole = True
    ready = True

    def __init__(self) -> None:
        self.opened = False
        self.id = ""
        self.phase = ""
        self._index = 0
        self._parts: list[_Part] = []
        self._at = 0

    def begin_part(self, kind: PartKind) -> None:
        self._parts.append(_Part(kind))

    def put(self, text: str, logprobs: list[object]) -> None:
        """Take more of the current part. Text may be empty, where a character takes several tokens."""
        part = self._parts[-1]
        text = part.halves.feed(text)
        if text and not logprobs and not part.early:
            part.texts.append(text)
            part.fresh.append((text, logprobs))
        else:
            part.put(text, logprobs)

    def annotate(self, annotations: list[object]) -> None:
        """Add annotations to the current text part, each once: providers repeat them."""
        known = self._parts[-1].annotations
        known += [annotation for annotation in annotations if annotation not in known]

    def open(self, out: Output) -> None:
        self.opened = True
        self.id = out.ids.new_id("msg_")
        self._index = out.item_added(self._shape("in_progress", []))

    def drain(self, out: Output) -> None:
        part = self._parts[self._at]
        self._drain_part(out, part)
        while self._at + 1 < len(self._parts):
            self._close_part(out, part)
            self._at += 1
            part = self._parts[self._at]
            self._drain_part(out, part)

    def close(self, out: Output, cut: bool) -> bool:
        self._close_part(out, self._parts[self._at])
        out.item_done(self._shape(status(cut), [part.shape() for part in self._parts]))
        return not cut

    def _shape(self, status_: str, content: list[Item]) -> Item:
        item: Item = {"type": "message", "id": self.id, "status": status_, "role": "assistant", "content": content}
        if self.phase:
            item["phase"] = self.phase
        return item

    def _drain_part(self, out: Output, part: _Part) -> None:
        if not part.announced:
            part.announced = True
            self._say(out, "response.content_part.added", part=_EMPTY[part.kind])
        fresh, part.fresh = part.fresh, []
        for text, logprobs in fresh:
            event: Item = {
                "type": "response.output_text.delta",
                "sequence_number": 0,
                "item_id": self.id,
                "output_index": self._index,
                "content_index": self._at,
                "delta": text,
            }
            if part.kind is PartKind.TEXT:
                event["logprobs"] = logprobs
            else:
                event["type"] = "response.refusal.delta"
            out.emit(event)
        if part.announced_annotations < len(part.annotations):
            self._announce_annotations(out, part)

    def _announce_annotations(self, out: Output, part: _Part) -> None:
        start = part.announced_annotations
        part.announced_annotations = len(part.annotations)
        for index, annotation in enumerate(part.annotations[start:], start):
            self._say(out, "response.output_text.annotation.added", annotation_index=index, annotation=annotation)

    def _close_part(self, out: Output, part: _Part) -> None:
        part.end()
        self._drain_part(out, part)
        shape = part.shape()
        if part.kind is PartKind.TEXT:
            self._say(out, "response.output_text.done", text=shape["text"], logprobs=part.logprobs)
        else:
            self._say(out, "response.refusal.done", refusal=shape["refusal"])
        self._say(out, "response.content_part.done", part=shape)

    def _say(self, out: Output, type_: str, **more: object) -> None:
        place = {"item_id": self.id, "output_index": self._index, "content_index": self._at}
        out.emit({"type": type_, "sequence_number": 0, **place, **more})
