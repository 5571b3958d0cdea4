"""Where a translated stream goes: commits with the first event, and gives signs of life in long silences."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from onwards_py.messages import Downstream, Ending, Source
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.release import Release
from onwards_py.transcode.pipeline import EventFilter, KeepAlive
from onwards_py.transcode.responses_over_chat.settings import TranslateSettings

_EVENT_END: Final = b"\n\n"


def write_events(downstream: Downstream, events: bytes) -> None:
    """Send whole events, a frame for each: there are clients that take a frame for one."""
    start = 0
    while (end := events.find(_EVENT_END, start)) >= 0:
        downstream.write(events[start : end + 2])
        start = end + 2
    assert start == len(events), "the filter returns whole events"


class TranslatedStream:
    """A BodySink for the provider's bytes; ``events`` makes events of them, ``block`` are the head's field lines.

    Until the first event nothing is committed, so that an answer that fails at once can have a status of its own.
    """

    def __init__(
        self, exchange: Exchange, events: EventFilter, release: Release, block: bytes, settings: TranslateSettings
    ) -> None:
        self._exchange = exchange
        self._events = events
        self._release = release
        self._block = block
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._written = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._commit: asyncio.TimerHandle | None = None
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

    def feed_from(self, source: Source) -> None:
        """See BodySink.feed_from."""
        self._exchange.downstream.feed_from(source)

    def finish(self, ending: Ending) -> None:
        """The provider's body ended: send what that means."""
        self._send(self._events.finish(ending))

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
        for timer in (self._timer, self._commit):
            if timer is not None:
                timer.cancel()

    def _send(self, events: bytes) -> None:
        """Whole events; the first ones commit."""
        if not events:
            return
        if not self.committed:
            self._exchange.commit(200, b"OK", self._block, None, time.monotonic())
        self._written = self._loop.time()
        write_events(self._exchange.downstream, events)

    def _begin_early(self) -> None:
        self._send(self._events.begin())

    def _on_silence(self) -> None:
        interval = self._settings.keepalive_interval
        silence = self._loop.time() - self._written
        if silence >= interval:
            self._send(self._events.keepalive(self._settings.keepalive))
            silence = 0.0
        self._timer = self._loop.call_later(interval - silence, self._on_silence)
