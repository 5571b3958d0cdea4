"""Bytes to bytes in this direction: the shared pipeline, with `ChatToEvents` as its machine."""

from __future__ import annotations

from onwards_py.transcode.answer_body import AnswerBody
from onwards_py.transcode.pipeline import Answer, AnswerCollector, EventFilter, KeepAlive

ChatBody = AnswerBody

__all__ = ["Answer", "AnswerCollector", "ChatBody", "EventFilter", "KeepAlive"]
