"""Finds the first content of a translated answer, as `wire.first_content` does for the bytes of a native one."""

from __future__ import annotations

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.pipeline import EventFilter
from onwards_py.wire.first_content import CONTENT, Verdict, VerdictKind
from onwards_py.wire.sse import DONE


class EventContentDetector:
    """Finds content in translated events without decoding them: their filter reports it. More than ``limit`` bytes
    count as content; the end mark behind the last event is not one of them."""

    def __init__(self, events: EventFilter, limit: int) -> None:
        self._events = events
        self._left = limit

    def feed(self, piece: bytes) -> Verdict | None:
        """See FirstContentDetector."""
        self._left -= len(piece.removesuffix(DONE))
        return CONTENT if self._events.has_content or self._left < 0 else None

    def finish(self, ending: Ending) -> Verdict:
        """See FirstContentDetector."""
        del ending
        failure = self._events.cause
        return CONTENT if failure is None else Verdict(VerdictKind.ERROR, failure.status)
