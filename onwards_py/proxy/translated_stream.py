"""Where a translated stream goes: commits with the first event, and gives signs of life in long silences."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec

from onwards_py.messages import Downstream, Ending, Source
from onwards_py.model.policies import HoldPolicy
from onwards_py.proxy.delayed_close import Release
from onwards_py.proxy.exchange import Exchange
from onwards_py.transcode.neutral.failure import Failure
from onwards_py.transcode.neutral.pipeline import EventFilter, KeepAlive
from onwards_py.transcode.neutral.settings import TranslateSettings
from onwards_py.wire.first_content import FirstContentDetector, VerdictKind

_EVENT_END: Final = b"\n\n"


def write_events(downstream: Downstream, events: bytes) -> None:
    """Send whole events, a frame for each: there are clients that take a frame for one."""
    start = 0
    while (end := events.find(_EVENT_END, start)) >= 0:
        downstream.write(events[start : end + 2])
        start = end + 2
    assert start == len(events), "the filter returns whole events"


class CommitGate(msgspec.Struct):
    """What an answer must pass before the client is told anything.

    ``on_open`` is called when it has. ``hold``: only the first content passes, unless ``max_time`` seconds are over
    before it comes; ``first_token``: after so many seconds it is too late (None: no such bound). ``gives_up(failure)``:
    whether an answer that fails so is to be given up, instead of being told.
    """

    on_open: Callable[[], None]
    gives_up: Callable[[Failure], bool]
    hold: HoldPolicy | None = None
    first_token: float | None = None

    @property
    def opening(self) -> FirstContentDetector | None:
        """What judges; None: anything passes."""
        if self.hold is None and self.first_token is None:
            return None
        return FirstContentDetector(event_stream=True, limit=(self.hold or HoldPolicy()).max_bytes)


class TranslatedStream:
    """A BodySink for the provider's bytes; ``events`` makes events of them, ``block`` the head's field lines.

    Until the first event has passed the ``gate`` nothing is committed, so that an answer that fails at once can have a
    status of its own. ``late``: nothing had passed when it was due.
    """

    def __init__(
        self,
        exchange: Exchange,
        events: EventFilter,
        release: Release,
        *,
        block: Callable[[], bytes],
        settings: TranslateSettings,
        gate: CommitGate,
    ) -> None:
        self._exchange = exchange
        self._events = events
        self._release = release
        self._block = block
        self._settings = settings
        self._gate = gate
        self._opening = None if self.committed else gate.opening
        self._held: list[bytes] = []
        self.late = False
        self._loop = asyncio.get_running_loop()
        self._written = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._commit: asyncio.TimerHandle | None = None
        self._patience = self._wait_for_content()
        if settings.commit_after is not None:
            delay = max(0.0, exchange.began + settings.commit_after - time.monotonic())
            self._commit = self._loop.call_later(delay, self._begin_early)
        if settings.keepalive is not KeepAlive.OFF:
            self._timer = self._loop.call_later(settings.keepalive_interval, self._on_silence)

    @property
    def committed(self) -> bool:
        """True when the client has got the first event."""
        return self._exchange.downstream.committed

    def write(self, piece: bytes) -> None:
        """Take bytes as the provider sent them, and send the events that follow from them."""
        self._send(self._events.feed(piece))
        self._release.look()

    def flush(self) -> None:
        """Nothing waits: a head is only made together with events."""

    def set_source(self, source: Source) -> None:
        """See BodySink.set_source."""
        self._exchange.downstream.set_source(source)

    def finish(self, ending: Ending) -> None:
        """The provider's body ended: send what that means."""
        self._send(self._events.finish(ending))
        if self._opening is not None and self.failure is None:
            self._open()

    @property
    def failure(self) -> Failure | None:
        """Why the answer failed, if nothing of it has been told."""
        if self._opening is None:
            return self._events.failure
        failure = self._events.cause
        if failure is None or self.late:
            return failure
        return failure if self._gate.gives_up(failure) else None

    def conclude(self, ending: Ending) -> None:
        """The last event is out, and said how the answer ended; so the response itself is whole in any case.

        Only a client that is gone, or takes nothing, is cut.
        """
        if ending is Ending.CLIENT_GONE:
            self._exchange.downstream.abort()
        else:
            self._exchange.downstream.end()

    def close(self) -> None:
        """No more signs of life."""
        self._release.close()
        for timer in (self._timer, self._commit, self._patience):
            if timer is not None:
                timer.cancel()

    def _send(self, events: bytes) -> None:
        """Whole events; the first ones commit, as soon as they say something."""
        if not events:
            return
        if self._opening is not None:
            self._held.append(events)
            verdict = self._opening.feed(events)
            if verdict is not None and verdict.kind is VerdictKind.CONTENT:
                self._open()
            return
        if not self.committed:
            self._gate.on_open()
            self._exchange.commit(200, b"OK", self._block(), None, time.monotonic())
        self._written = self._loop.time()
        write_events(self._exchange.downstream, events)

    def _open(self) -> None:
        """Let pass what there is."""
        if self._opening is None or self.late:
            return
        self._opening = None
        held, self._held = b"".join(self._held), []
        self._send(held)

    def _wait_for_content(self) -> asyncio.TimerHandle | None:
        if self._opening is None:
            return None
        if self._gate.first_token is not None:
            return self._loop.call_later(max(0.0, self._gate.first_token), self._on_late)
        assert self._gate.hold is not None
        return self._loop.call_later(self._gate.hold.max_time, self._open)

    def _on_late(self) -> None:
        if self._opening is not None:
            self.late = True
            self._release.now()

    def _begin_early(self) -> None:
        self._open()
        self._send(self._events.begin())

    def _on_silence(self) -> None:
        interval = self._settings.keepalive_interval
        silence = self._loop.time() - self._written
        if self._opening is not None:
            silence = 0.0  # nothing is told before the gate is open
        elif silence >= interval:
            self._send(self._events.keepalive(self._settings.keepalive))
            silence = 0.0
        self._timer = self._loop.call_later(interval - silence, self._on_silence)
