"""An image on its way out: the call of a tool that was never asked for, as the Responses API has images."""

from __future__ import annotations

from onwards_py.transcode.neutral.images import Image
from onwards_py.transcode.responses.output_events import Item, Output


class ImageItem:
    """Serial part of an answer; see `Segment`. It comes whole, and is complete however the answer ends."""

    __slots__ = ("_image", "_index", "id", "opened")

    whole = True
    ready = True

    def __init__(self, image: Image) -> None:
        self.opened = False
        self.id = ""
        self._image = image
        self._index = 0

    def open(self, out: Output) -> None:
        self.opened = True
        self.id = out.ids.new_id("ig_")
        self._index = out.item_added(self._shape("in_progress", None))
        self._say(out, "response.image_generation_call.in_progress")

    def drain(self, out: Output) -> None:
        """There are no pieces of it."""

    def close(self, out: Output, cut: bool) -> bool:  # noqa: ARG002 an image comes whole or not at all
        self._say(out, "response.image_generation_call.completed")
        out.item_done(self._shape("completed", self._image.result))
        return True

    def _say(self, out: Output, type_: str) -> None:
        out.emit({"type": type_, "sequence_number": 0, "item_id": self.id, "output_index": self._index})

    def _shape(self, status: str, result: str | None) -> Item:
        item: Item = {"type": "image_generation_call", "id": self.id, "status": status, "result": result}
        if self._image.format:
            item["output_format"] = self._image.format
        return item
