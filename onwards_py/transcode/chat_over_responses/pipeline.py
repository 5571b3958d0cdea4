"""Bytes to bytes: the only file that joins this answer's state machine with the framing of streams and bodies."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from onwards_py.messages import Ending
from onwards_py.transcode.answer_body import LARGEST_ANSWER, LARGEST_EVENT, AnswerBody, Out
from onwards_py.transcode.chat_over_responses.stream import EventsToChunks
from onwards_py.transcode.responses_over_chat.errors import Failure
from onwards_py.transcode.responses_over_chat.pipeline import Answer, KeepAlive
from onwards_py.wire.sse import DONE, encode_comment, encode_event

_KEEPALIVE_COMMENT = encode_comment(b"keepalive")


class ResponsesBody(AnswerBody):
    """A provider's answer, streamed or whole: see `AnswerBody`."""

    __slots__ = ()

    def __init__(
        self,
        machine: EventsToChunks,
        now: Callable[[], int],
        *,
        event_limit: int = LARGEST_EVENT,
        body_limit: int = LARGEST_ANSWER,
    ) -> None:
        super().__init__(machine, now, event_limit=event_limit, body_limit=body_limit)


class EventFilter:
    """Filter for a client that streams: the provider's bytes in, whole events out.

    ``begin`` when the response must be committed to although nothing is there to be told yet. As long as nothing was
    returned, a failed answer returns nothing either: ``failure`` says then what to answer instead, or that another
    provider may be tried. A stream that fails ends with an ``error`` and without ``[DONE]``.
    """

    __slots__ = ("_body", "_machine", "_withheld")

    def __init__(self, machine: EventsToChunks, body: ResponsesBody) -> None:
        self._machine = machine
        self._body = body
        self._withheld: list[Out] = []

    @property
    def failure(self) -> Failure | None:
        """Why the answer failed before anything of it was returned."""
        return self._machine.failure if self._withheld else None

    def begin(self) -> bytes:
        """The first chunk, unless it was returned already; after a ``failure`` all there is."""
        if self._withheld:
            chunks, self._withheld = self._withheld, []
            return _encode(chunks)
        return b"" if self._machine.finished else _encode(self._machine.begin())

    def keepalive(self, how: KeepAlive) -> bytes:
        """Something to send on an idle stream; nothing before the beginning and after the end."""
        machine = self._machine
        if how is KeepAlive.OFF or not machine.begun or machine.finished:
            return b""
        return _KEEPALIVE_COMMENT if how is KeepAlive.COMMENT else _encode(machine.keepalive())

    def feed(self, piece: bytes) -> bytes:
        """The chunks that follow from ``piece``; after the last one nothing is returned any more."""
        return self._deliver(self._body.feed(piece))

    def finish(self, ending: Ending) -> bytes:
        """The rest of the chunks, if they were not all returned."""
        return self._deliver(self._body.finish(ending))

    def _deliver(self, chunks: list[Out]) -> bytes:
        if not chunks:
            return b""
        machine = self._machine
        if machine.failed_early:
            self._withheld = chunks
            return b""
        whole = machine.finished and machine.failure is None
        return _encode(chunks) + (DONE if whole else b"")


class AnswerCollector:
    """For a client that wants a whole answer: ``feed`` all bytes, ``finish`` tells status and body.

    A failed answer has an HTTP status of its own and the error envelope, as if it had never begun.
    """

    __slots__ = ("_body", "_machine")

    def __init__(self, machine: EventsToChunks, body: ResponsesBody) -> None:
        self._machine = machine
        self._body = body

    @property
    def failure(self) -> Failure | None:
        """Why the answer failed, if it did."""
        return self._machine.failure

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._body.feed(piece)

    def finish(self, ending: Ending) -> Answer:
        """The answer."""
        self._body.finish(ending)
        failure = self._machine.failure
        if failure is not None:
            return Answer(failure.status, orjson.dumps(failure.envelope()))
        return Answer(200, orjson.dumps(self._machine.completion()))


def _encode(chunks: list[Out]) -> bytes:
    return b"".join([encode_event(b"", orjson.dumps(chunk)) for chunk in chunks])
