"""The way of a provider's body to the client: translation, the first-content gate, the commit, keep-alive.

A native response that is not held does not use this module: the transport writes to the client directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

import msgspec

from onwards_py.messages import Clock, Downstream, Ending, Source
from onwards_py.proxy.delayed_close import DelayedClose
from onwards_py.transcode.neutral.failure import Failure
from onwards_py.transcode.neutral.machine import Machine, State
from onwards_py.transcode.neutral.pipeline import EventFilter, KeepAlive
from onwards_py.transcode.neutral.settings import TranslateSettings
from onwards_py.wire.first_content import Verdict, VerdictKind

T = TypeVar("T")

_CONTENT: Final = VerdictKind.CONTENT
_OPEN: Final = State.OPEN
_EVENT_END: Final = b"\n\n"
_GRACE: Final = 0.5  # seconds for the rest of a response that is discarded
_LONGEST_REST: Final = 1024 * 1024


class ContentDetector(Protocol):
    """Finds the first content of a response. `FirstContentDetector` does so for bytes of a provider."""

    def feed(self, piece: bytes, /) -> Verdict | None:
        """Take the next bytes; None: more are needed for a verdict."""
        ...

    def finish(self, ending: Ending, /) -> Verdict:
        """The verdict at the end of the body, if there was none before."""
        ...


class CommitGate(msgspec.Struct, frozen=True):
    """The condition for sending the response head to the client.

    The gate opens at the first content, or after ``max_time`` seconds. After ``first_token`` seconds without content
    the response is too late, and its connection is closed (None: no such timeout). ``gives_up(verdict)``: the response
    is discarded, because another attempt may follow.
    """

    detector: ContentDetector
    gives_up: Callable[[Verdict], bool]
    max_time: float | None
    first_token: float | None


class TranslatedEvents(msgspec.Struct, frozen=True):
    """The translation of a provider's bytes to events. ``commit_at``: the time at which the stream must begin."""

    machine: Machine
    filter: EventFilter
    settings: TranslateSettings
    commit_at: float | None


class ResponseSink:
    """A BodySink in front of ``downstream``.

    ``commit`` sends the response head. It is called when the gate opens, and for a translated stream with the first
    event, so that a response that fails before can have an error status. ``late``: no content arrived in time.
    ``verdict``: why the response was discarded at the gate. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        downstream: Downstream,
        commit: Callable[[], None],
        clock: Clock,
        events: TranslatedEvents | None = None,
    ) -> None:
        self._downstream = downstream
        self._commit = commit
        self._clock = clock
        self.events = events
        self._loop = asyncio.get_running_loop()
        self._gate: CommitGate | None = None
        self._held: list[bytes] = []
        self._size = 0
        self._timers: list[asyncio.TimerHandle] = []
        self._keepalive: asyncio.TimerHandle | None = None
        self._discard: Callable[[], None] = _no_provider
        self._close: DelayedClose | None = None
        self._written = clock()
        self._committed = False
        self.late = False
        self.verdict: Verdict | None = None

    @property
    def open(self) -> bool:
        """False as long as the gate holds the response."""
        return self._gate is None

    @property
    def held(self) -> bytes:
        """The bytes that the gate holds."""
        return b"".join(self._held)

    # The life of an attempt

    async def before_head(self, sending: Coroutine[Any, Any, T]) -> T:
        """Wait for the response head. If ``commit_at`` passes meanwhile, the client's response begins."""
        self._start_timers()
        try:
            return await sending
        finally:
            self.close()

    async def pump(
        self, pumping: Coroutine[Any, Any, Ending], discard: Callable[[], None], gate: CommitGate | None
    ) -> Ending:
        """Wait until ``pumping`` has moved the provider's body into this sink. ``discard`` closes the connection."""
        self._discard = discard
        if self.events is not None:
            self._close = DelayedClose(self.events.machine, discard)
        if gate is not None and not self._committed:
            self._gate = gate
            if gate.first_token is not None:
                self._after(gate.first_token, self._on_late)
            elif gate.max_time is not None:
                self._after(gate.max_time, self._open)
        self._start_timers()
        try:
            ending = await pumping
            self._finish(ending)
        finally:
            self.close()
        return ending

    def close(self) -> None:
        """Cancel all timers."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        if self._close is not None:
            self._close.cancel()

    def fail(self, failure: Failure) -> None:
        """End a committed stream with the events for ``failure``."""
        assert self.events is not None
        self.send(self.events.filter.fail(failure))

    def send(self, events: bytes) -> None:
        """Send complete events, each in a write of its own, because some clients treat a chunk as one event. The first
        events commit the response."""
        if not events:
            return
        downstream = self._downstream
        if not self._committed:
            self._committed = True
            self._commit()
        self._written = self._clock()
        start = 0
        while (end := events.find(_EVENT_END, start)) >= 0:
            downstream.write(events[start : end + 2])
            start = end + 2
        assert start == len(events), "the filter returns whole events"

    # BodySink

    def write(self, piece: bytes) -> None:
        """Take bytes of the provider's body."""
        if self.events is None:
            if self._gate is None:
                self._downstream.write(piece)
            else:
                self._hold(piece)
            return
        events = self.events.filter.feed(piece)
        if self._gate is None:
            self.send(events)
        elif events:
            self._hold(events)
        if self._close is not None and self.events.machine.state is not _OPEN:
            self._close.check()

    def flush(self) -> None:
        """Send the head, unless it is sent with the first content or event."""
        if self._gate is None and self.events is None:
            self._downstream.flush()

    def set_source(self, source: Source) -> None:
        """See BodySink.set_source."""
        self._downstream.set_source(source)

    # The gate

    def _hold(self, data: bytes) -> None:
        assert self._gate is not None
        self._held.append(data)
        self._size += len(data)
        if self.verdict is None:
            verdict = self._gate.detector.feed(data)
            if verdict is not None:
                self._decide(verdict)
        elif self._size > _LONGEST_REST:
            self._discard()

    def _decide(self, verdict: Verdict) -> None:
        assert self._gate is not None
        if verdict.kind is _CONTENT or not self._gate.gives_up(verdict):
            self._open()
        elif not self.late:
            self.verdict = verdict
            self._after(_GRACE, self._discard)

    def _open(self) -> None:
        if self._gate is None or self.late or self.verdict is not None:
            return
        self._gate = None
        held, self._held = self.held, []
        if self.events is not None:
            self.send(held)
            return
        self._commit()
        if held:
            self._downstream.write(held)
        else:
            self._downstream.flush()

    def _finish(self, ending: Ending) -> None:
        if self.events is not None:
            events = self.events.filter.finish(ending)
            if self._gate is None:
                self.send(events)
            elif events:
                self._hold(events)
        if self._gate is not None and not self.late and self.verdict is None:
            self._decide(self._gate.detector.finish(ending))

    # Timers

    def _after(self, seconds: float, callback: Callable[[], None]) -> None:
        self._timers.append(self._loop.call_later(max(0.0, seconds), callback))

    def _start_timers(self) -> None:
        events = self.events
        if events is None:
            return
        if events.commit_at is not None and not self._committed:
            self._after(events.commit_at - self._clock(), self._begin_early)
        if events.settings.keepalive is not KeepAlive.OFF:
            interval = events.settings.keepalive_interval
            self._keepalive = self._loop.call_later(interval, self._on_silence)

    def _on_late(self) -> None:
        if self._gate is not None and self.verdict is None:
            self.late = True
            self._discard()

    def _begin_early(self) -> None:
        """Begin the client's stream after ``commit_after``, even without data of the provider."""
        assert self.events is not None
        self._open()
        if self._gate is None:  # else the response is late
            self.send(self.events.filter.begin())

    def _on_silence(self) -> None:
        assert self.events is not None
        interval = self.events.settings.keepalive_interval
        silence = self._clock() - self._written
        if self._gate is not None:
            silence = 0.0  # no bytes are sent before the gate is open
        elif silence >= interval:
            self.send(self.events.filter.keepalive(self.events.settings.keepalive))
            silence = 0.0
        self._keepalive = self._loop.call_later(interval - silence, self._on_silence)


def _no_provider() -> None:
    """The default of ``discard``, before there is a response."""
