"""The machine of one answer: it joins a reader of the provider's API with a writer of the client's."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Protocol

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.deltas import Delta, Failed, Finished, Started, TextDelta
from onwards_py.transcode.neutral.failure import Failure, cut_off

Out = dict[str, object]
"""One output for the client: an event of the Responses API, or a chunk of a chat completion."""

LARGEST_ANSWER = 64 << 20
"""The default limit of an answer, in characters of text, reasoning and arguments."""


class Reader(Protocol):
    """Reads one answer of a provider. Invalid values never raise an exception; they give no deltas.

    ``size``: approximate number of characters of the answer in memory. ``dropped``: paths, without indexes, of parts
    that were not converted to deltas. ``trusted``: the provider's error messages are passed on.
    """

    trusted: bool
    dropped: dict[str, None]

    @property
    def size(self) -> int: ...

    def feed(self, value: Mapping[str, object], /) -> list[Delta]:
        """Take one event or chunk. A `Finished` or `Failed` is the last delta of the answer."""
        ...

    def whole(self, value: Mapping[str, object], /) -> list[Delta]:
        """Take an answer that was not streamed. The last delta is `Finished` or `Failed`."""
        ...

    def finish(self, ending: Ending, done: bool, /) -> list[Delta]:
        """The stream ended. The last delta is `Finished` or `Failed`. ``done``: the provider marked it as complete."""
        ...

    def abandon(self) -> list[Delta]:
        """The remaining deltas of an answer that is about to fail."""
        ...


class Writer(Protocol):
    """Writes one answer for a client: ``put`` takes deltas, ``take`` returns the output that they became.

    ``announcements``: types of deltas without content for the client. ``dropped``: parts that its API cannot express.
    """

    begun: bool
    dropped: dict[str, None]

    @property
    def announcements(self) -> frozenset[type]: ...

    def begin(self) -> None:
        """Write the first output, unless it was already written."""
        ...

    def pause(self) -> None:
        """Write something without content, to keep the stream alive."""
        ...

    def put(self, delta: Delta, /) -> None: ...

    def take(self) -> list[Out]:
        """The output since the last call."""
        ...

    def answer(self) -> Out:
        """The complete answer, after `Finished`."""
        ...

    def ends_with_done(self, failed: bool, /) -> bool:
        """Whether ``[DONE]`` follows the last event."""
        ...


class State(Enum):
    """The state of an answer. ``ended``: the output is complete, and further data of the provider are ignored."""

    IDLE = "idle", False  # no output was written, so another provider can still be tried
    OPEN = "open", False
    FINISHED = "finished", True  # the terminal event was written
    FAILED = "failed", True
    FAILED_BEFORE_OUTPUT = "failed before output", True  # the response can still be an HTTP error

    def __init__(self, label: str, ended: bool) -> None:
        self.label = label
        self.ended = ended


class _Step(Enum):
    BEGIN = "begin"
    FINISH = "finish"
    FAIL = "fail"


_NEXT: Mapping[State, Mapping[_Step, State]] = {
    State.IDLE: {
        _Step.BEGIN: State.OPEN,
        _Step.FINISH: State.FINISHED,
        _Step.FAIL: State.FAILED_BEFORE_OUTPUT,
    },
    State.OPEN: {
        _Step.BEGIN: State.OPEN,
        _Step.FINISH: State.FINISHED,
        _Step.FAIL: State.FAILED,
    },
}


class Machine:
    """Values of a provider in, events for the client out: one terminal event, then none.

    ``limit``: maximum characters of the answer. ``has_content``: content was returned, or the end of an answer that did
    not fail.
    """

    __slots__ = ("_limit", "_reader", "_writer", "failure", "has_content", "state", "trusted")

    def __init__(self, reader: Reader, writer: Writer, *, limit: int = LARGEST_ANSWER) -> None:
        self.state = State.IDLE
        self.failure: Failure | None = None
        self.has_content = False
        self.trusted = reader.trusted
        self._reader = reader
        self._writer = writer
        self._limit = limit

    @property
    def finished(self) -> bool:
        """Whether the terminal event was returned."""
        return self.state.ended

    @property
    def failed_before_output(self) -> bool:
        """Whether the answer failed before any output, so that the client can get an HTTP status."""
        return self.state is State.FAILED_BEFORE_OUTPUT

    @property
    def ends_with_done(self) -> bool:
        """Whether ``[DONE]`` follows the terminal event."""
        return self.state.ended and self._writer.ends_with_done(self.failure is not None)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Paths, without indexes, of parts of the provider's answer that the client does not get."""
        return (*self._reader.dropped, *self._writer.dropped)

    def begin(self) -> list[Out]:
        """The first output, unless it was already returned."""
        if self.state is not State.IDLE:
            return []
        self._writer.begin()
        self._advance(_Step.BEGIN)
        return self._writer.take()

    def keepalive(self) -> list[Out]:
        """An event without content; an empty list before the first output and after the terminal event."""
        if self.state is not State.OPEN:
            return []
        self._writer.pause()
        return self._writer.take()

    def feed(self, value: Mapping[str, object]) -> list[Out]:
        """Take one event or chunk."""
        if self.state.ended:
            return []
        out = self._write(self._reader.feed(value))
        if self._reader.size > self._limit and not self.state.ended:
            out += self.fail(cut_off(Ending.LIMIT))
        return out

    def whole(self, value: Mapping[str, object]) -> list[Out]:
        """Take an answer that was not streamed, and end it."""
        return [] if self.state.ended else self._write(self._reader.whole(value))

    def finish(self, ending: Ending, *, done: bool = False) -> list[Out]:
        """The stream ended. ``done``: the provider declared that it is whole (``[DONE]``)."""
        return [] if self.state.ended else self._write(self._reader.finish(ending, done))

    def fail(self, failure: Failure) -> list[Out]:
        """End the answer with ``failure``, in any state."""
        return [] if self.state.ended else self._write([*self._reader.abandon(), Failed(failure)])

    def answer(self) -> Out:
        """The complete answer, after it has ended without a failure."""
        return self._writer.answer()

    def _write(self, deltas: list[Delta]) -> list[Out]:
        if not deltas:
            return []
        last = deltas[-1]
        if type(last) is Finished and self._reader.size > self._limit:
            last = deltas[-1] = Failed(cut_off(Ending.LIMIT))
        writer = self._writer
        for delta in deltas:
            writer.put(delta)
        if type(last) is Finished:
            self._advance(_Step.FINISH)
        elif type(last) is Failed:
            self.failure = last.failure
            if any(isinstance(delta, Started) for delta in deltas):
                self._advance(_Step.BEGIN)  # a complete answer with content can still fail
            self._advance(_Step.FAIL)
        elif self.state is State.IDLE and writer.begun:
            self._advance(_Step.BEGIN)
        if not self.has_content:
            self.has_content = any(map(self._is_content, deltas))
        return writer.take()

    def _advance(self, step: _Step) -> None:
        self.state = _NEXT[self.state][step]

    def _is_content(self, delta: Delta) -> bool:
        if isinstance(delta, TextDelta):
            return delta.text != ""
        return not isinstance(delta, Failed) and type(delta) not in self._writer.announcements
