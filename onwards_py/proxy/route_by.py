"""``route_by``: a classifier labels the request, and the target of that label serves it.

The classifier is an ordinary target, with limits, fallback and metrics: the request to it is an exchange of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import msgspec

from onwards_py.eager import OneShot, StepTask
from onwards_py.messages import InboundRequest, Source, TunnelSide
from onwards_py.routing.classifier_question import label_in, question
from onwards_py.routing.last_message import last_user_text
from onwards_py.routing.routed_request import RoutedRequest
from onwards_py.routing.table import ClassifierRoute, LivePool

_log = logging.getLogger("onwards.proxy")

Reason = Literal["label", "other_label", "no_text", "timeout", "failed"]

_LONGEST_TEXT = 8192  # characters; a longer text is shortened to its beginning and end
_LONGEST_ANSWER = 64 * 1024


class TargetChoice(msgspec.Struct, frozen=True):
    """The chosen target, and the reason."""

    target: LivePool
    reason: Reason


Subrequest = Callable[[InboundRequest, "ResponseBuffer", LivePool], Coroutine[Any, Any, None]]
"""Serves a request at a target, to its end."""


async def choose(routed: RoutedRequest, route: ClassifierRoute, subrequest: Subrequest) -> TargetChoice:
    """The target of the classifier's label; the default target if there is no known label in time."""
    text = last_user_text(routed.address.body, _LONGEST_TEXT)
    if text is None:
        return TargetChoice(route.default, "no_text")
    buffer = ResponseBuffer()
    finished: OneShot[None] = OneShot()

    def on_done(error: BaseException | None) -> None:
        if error is not None and not isinstance(error, asyncio.CancelledError):
            _log.error("a question to %s failed", route.classifier.pool.name, exc_info=error)
        finished.set(None)

    running = StepTask(subrequest(question(route.classifier.pool.name, text), buffer, route.classifier), on_done)
    timer = asyncio.get_running_loop().call_later(route.timeout, finished.set, None)
    try:
        await finished
        if not running.done:
            return TargetChoice(route.default, "timeout")
    finally:
        timer.cancel()
        running.cancel()
    label = buffer.label()
    if label is None:
        return TargetChoice(route.default, "failed")
    target = route.labels.get(label)
    return TargetChoice(route.default, "other_label") if target is None else TargetChoice(target, "label")


class ResponseBuffer(msgspec.Struct):
    """The Downstream of a request to the classifier: it keeps the response, up to a maximum length."""

    committed: bool = False
    sent: int = 0
    status: int = 0
    pieces: list[bytes] = []
    whole: bool = False

    def label(self) -> str | None:
        """The classifier's label; None if the response has none."""
        if not self.whole or self.status != 200 or self.sent > _LONGEST_ANSWER:
            return None
        return label_in(b"".join(self.pieces))

    def begin(self, status: int, reason: bytes, block: bytes, length: int | None) -> None:
        """See Downstream.begin."""
        del reason, block, length
        self.committed = True
        self.status = status

    def write(self, piece: bytes) -> None:
        """See Downstream.write."""
        self.sent += len(piece)
        if self.sent <= _LONGEST_ANSWER:
            self.pieces.append(piece)

    def answer(self, status: int, reason: bytes, block: bytes, length: int | None, body: bytes) -> None:
        """See Downstream.answer."""
        self.begin(status, reason, block, length)
        self.write(body)
        self.end()

    def end(self) -> None:
        """See Downstream.end."""
        self.whole = True

    def abort(self) -> None:
        """See Downstream.abort: the response stays incomplete."""

    def flush(self) -> None:
        """See Downstream.flush."""

    def set_source(self, source: Source) -> None:
        """Does nothing: the provider is never paused."""

    def upgrade(self, reply: bytes, side: TunnelSide) -> None:  # noqa: ARG002  (Downstream)
        """Not called: a request to the classifier is not an upgrade."""
        raise AssertionError("a question never becomes a tunnel")
