"""Where a translated stream goes: commits with the first event, and gives signs of life in long silences."""

from __future__ import annotations

import asyncio
from typing import Final

from onwards_py.messages import Ending, Source
from onwards_py.observe import record as outcomes
from onwards_py.observe.record import Outcome
from onwards_py.proxy.exchange import Exchange
from onwards_py.transcode.responses_over_chat.pipeline import EventFilter, KeepAlive
from onwards_py.transcode.responses_over_chat.settings import TranslateSettings

_EVENT_END: Final = b"\n\n"
_OUTCOMES: Final[dict[Ending, Outcome]] = {
    Ending.DONE: outcomes.DONE,
    Ending.EOF: outcomes.UPSTREAM_CUT,
    Ending.RESET: outcomes.UPSTREAM_CUT,
    Ending.IDLE: outcomes.UPSTREAM_IDLE,
    Ending.LIMIT: outcomes.LIMIT,
    Ending.CLIENT_GONE: outcomes.CLIENT_GONE_STREAMING,
}


class TranslatedStream:
    """``events`` is asked for what to say when the provider is silent; ``block`` are the head's field lines.

    Until the first event nothing is committed, so that an answer that fails at once can have a status of its own.
    """

    def __init__(self, exchange: Exchange, events: EventFilter, block: bytes, settings: TranslateSettings) -> None:
        self._exchange = exchange
        self._events = events
        self._block = block
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._written = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._commit: asyncio.TimerHandle | None = None
        if settings.commit_after is not None:
            self._commit = self._loop.call_later(settings.commit_after, self._begin_early)
        if settings.keepalive is not KeepAlive.OFF:
            self._timer = self._loop.call_later(settings.keepalive_interval, self._on_silence)

    @property
    def committed(self) -> bool:
        """True when the client has got the first event."""
        return self._exchange.downstream.committed

    def write(self, piece: bytes) -> None:
        """Send whole events; the first ones commit."""
        if not self.committed:
            self._exchange.commit(200, b"OK", self._block, None, self._loop.time())
        self._written = self._loop.time()
        start = 0
        while (end := piece.find(_EVENT_END, start)) >= 0:
            # A frame for each event: there are clients that take a frame for one.
            self._exchange.downstream.write(piece[start : end + 2])
            start = end + 2
        assert start == len(piece), "the filter returns whole events"

    def flush(self) -> None:
        """Nothing waits: a head is only made together with events."""

    def feed_from(self, source: Source) -> None:
        """See BodySink.feed_from."""
        self._exchange.downstream.feed_from(source)

    def conclude(self, ending: Ending) -> None:
        """The last event is out, and said how the answer ended; so the response itself is whole in any case.

        Only a client that is gone, or takes nothing, is cut.
        """
        self._exchange.outcome = _OUTCOMES[ending]
        if ending is Ending.CLIENT_GONE:
            self._exchange.downstream.abort()
        else:
            self._exchange.downstream.end()

    def close(self) -> None:
        """No more signs of life."""
        for timer in (self._timer, self._commit):
            if timer is not None:
                timer.cancel()

    def _begin_early(self) -> None:
        first = self._events.begin()
        if first:
            self.write(first)

    def _on_silence(self) -> None:
        interval = self._settings.keepalive_interval
        silence = self._loop.time() - self._written
        if silence >= interval:
            sign = self._events.keepalive(self._settings.keepalive)
            if sign:
                self.write(sign)
            silence = 0.0
        self._timer = self._loop.call_later(interval - silence, self._on_silence)
