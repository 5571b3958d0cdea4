"""A translated stream that begins before the provider has said anything, not even its head (``commit_after``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from onwards_py.errors import ProxyError
from onwards_py.proxy.exchange import Exchange
from onwards_py.proxy.translated_stream import write_events
from onwards_py.transcode.neutral.answer_body import AnswerBody, Machine
from onwards_py.transcode.neutral.failure import Failure
from onwards_py.transcode.neutral.pipeline import EventFilter, KeepAlive
from onwards_py.transcode.neutral.settings import TranslateSettings
from onwards_py.transports.base import UpstreamResponse


class EarlyStream:
    """The first events of one attempt's answer, due ``commit_after`` seconds after the exchange began.

    ``machine`` and ``body`` are then those of the whole answer, and ``block`` the head's field lines, among which
    there can be none of the provider's. Once ``begun``, no other provider can be tried.
    """

    def __init__(
        self, exchange: Exchange, machine: Machine, body: AnswerBody, block: bytes, settings: TranslateSettings
    ) -> None:
        self.machine = machine
        self.body = body
        self.events = EventFilter(machine, body)
        self.begun = False
        self._exchange = exchange
        self._block = block
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        delay = max(0.0, exchange.began + (settings.commit_after or 0.0) - time.monotonic())
        self._timer = self._loop.call_later(delay, self._begin)

    def give_up(self, error: ProxyError) -> bool:
        """Tell a failure in the stream, if it has begun; that is then the whole answer."""
        if not self.begun:
            return False
        kind = error.kind.value
        events = self.events.fail(Failure(kind.status, error.code, error.message, kind.type, error.param))
        write_events(self._exchange.downstream, events)
        self._exchange.downstream.end()
        self._exchange.note_refusal(error)
        self._exchange.status = 200  # which is what was sent
        return True

    async def during(self, sending: Coroutine[Any, Any, UpstreamResponse]) -> UpstreamResponse:
        """Wait for the provider's head; whoever goes on then looks after the time."""
        try:
            return await sending
        finally:
            self._timer.cancel()

    def _begin(self) -> None:
        self.begun = True
        self._exchange.commit(200, b"OK", self._block, None, time.monotonic())
        write_events(self._exchange.downstream, self.events.begin())
        self._wait()

    def _wait(self) -> None:
        if self._settings.keepalive is not KeepAlive.OFF:
            self._timer = self._loop.call_later(self._settings.keepalive_interval, self._on_silence)

    def _on_silence(self) -> None:
        write_events(self._exchange.downstream, self.events.keepalive(self._settings.keepalive))
        self._wait()
