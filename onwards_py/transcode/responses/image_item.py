"""An image of a response: the call of a tool that was never asked for, as the Responses API has images."""

from __future__ import annotations

from onwards_py.transcode.neutral.images import GeneratedImage
from onwards_py.transcode.responses.output_events import EventLog, Item, OpenItem


class ImageItem(OpenItem):
    """It comes whole."""

    __slots__ = ("_image",)

    def __init__(self, log: EventLog, image: GeneratedImage) -> None:
        super().__init__(log, "ig_")
        self._image = image
        self._announce(self._shape("in_progress", None))
        self._emit("response.image_generation_call.in_progress")

    def close(self, complete: bool, final: bool) -> None:  # noqa: ARG002 an image comes whole or not at all
        self._emit("response.image_generation_call.completed")
        self._log.item_done(self._shape("completed", self._image.result))

    def _shape(self, status: str, result: str | None) -> Item:
        item: Item = {"type": "image_generation_call", "id": self.id, "status": status, "result": result}
        if self._image.format:
            item["output_format"] = self._image.format
        return item
