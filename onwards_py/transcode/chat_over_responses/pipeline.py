"""Bytes to bytes in this direction: the shared pipeline, with `EventsToChunks` as its machine."""

from __future__ import annotations

from onwards_py.transcode.answer_body import AnswerBody
from onwards_py.transcode.pipeline import Answer, AnswerCollector, EventFilter, KeepAlive

ResponsesBody = AnswerBody

__all__ = ["Answer", "AnswerCollector", "EventFilter", "KeepAlive", "ResponsesBody"]
