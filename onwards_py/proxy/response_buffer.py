"""Where a provider's answer goes whose client wants it whole."""

from __future__ import annotations

from onwards_py.messages import Source
from onwards_py.proxy.delayed_close import Release
from onwards_py.transcode.neutral.pipeline import AnswerCollector


class CollectedAnswer:
    """A BodySink that takes the provider's bytes; nothing goes downstream before all are there."""

    def __init__(self, collector: AnswerCollector, release: Release) -> None:
        self._collector = collector
        self._release = release

    def write(self, piece: bytes) -> None:
        """Take bytes as the provider sent them."""
        self._collector.feed(piece)
        self._release.look()

    def flush(self) -> None:
        """Nothing can be sent yet."""

    def set_source(self, source: Source) -> None:
        """Nobody slows the provider down: what is kept is bounded by the collector."""
