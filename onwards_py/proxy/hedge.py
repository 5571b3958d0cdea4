"""Hedging: if a provider is slow to answer, a second one gets the request too, and the first useful response wins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from onwards_py.eager import OneShot, StepTask
from onwards_py.proxy.attempt import NO_RESPONSE, Attempt

Send = Callable[[Attempt], Coroutine[Any, Any, None]]


class HedgeWinner(msgspec.Struct, frozen=True):
    """The attempt whose response is used. ``outrun``: an earlier attempt that has no response yet."""

    attempt: Attempt
    outrun: Attempt | None


async def race(
    first: Attempt,
    send: Send,
    after: float,
    second: Callable[[], Attempt | None],
    *,
    wins: Callable[[Attempt], bool],
    on_loser: Callable[[Attempt], None],
) -> HedgeWinner:
    """The first attempt for which ``wins`` is true, else the last one. Raises the last attempt's TransportError.

    After ``after`` seconds without a response ``second`` prepares another attempt (None: there is no other provider).
    ``on_loser`` is called with each attempt that lost.
    """
    attempts = _Race()
    try:
        attempts.start(first, send(first))
        runner = await attempts.next(after)
        if runner is None:
            other = second()
            if other is not None:
                attempts.start(other, send(other))
            runner = await attempts.next(None)
        assert runner is not None
        while attempts.running and (runner.error is not None or not wins(runner.attempt)):
            runner.drop()
            on_loser(runner.attempt)
            runner = await attempts.next(None)
            assert runner is not None
        if runner.error is not None:
            raise runner.error
        later = runner.attempt is not first
        return HedgeWinner(runner.attempt, first if later and attempts.runs(first) else None)
    finally:
        for loser in attempts.stop():
            on_loser(loser)


class _Runner:
    """One attempt of a race. ``error``: why it has no response."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.error: BaseException | None = None
        self.task: StepTask | None = None

    def drop(self) -> None:
        """Cancel the attempt, and free its connection if it has a response."""
        if self.task is not None:
            self.task.cancel()
        if self.attempt.response is not NO_RESPONSE:
            self.attempt.response.discard()


class _Race:
    """Concurrent attempts, and those that have ended."""

    def __init__(self) -> None:
        self.running: list[_Runner] = []
        self._over: deque[_Runner] = deque()
        self._signal: OneShot[None] = OneShot()

    def start(self, attempt: Attempt, sending: Coroutine[Any, Any, None]) -> None:
        runner = _Runner(attempt)
        self.running.append(runner)

        def on_done(error: BaseException | None) -> None:
            runner.error = error
            if runner in self.running:
                self.running.remove(runner)
                self._over.append(runner)
                self._signal.set(None)

        runner.task = StepTask(sending, on_done)

    async def next(self, seconds: float | None) -> _Runner | None:
        """The next attempt that ends; None if no attempt ends within ``seconds``."""
        if not self._over:
            self._signal = OneShot()
            timer = None
            if seconds is not None:
                timer = asyncio.get_running_loop().call_later(seconds, self._signal.set, None)
            try:
                await self._signal
            finally:
                if timer is not None:
                    timer.cancel()
        return self._over.popleft() if self._over else None

    def runs(self, attempt: Attempt) -> bool:
        """True if this attempt has not ended."""
        return any(runner.attempt is attempt for runner in self.running)

    def stop(self) -> list[Attempt]:
        """Cancel running attempts, drop those that ended without winning, and return all of these."""
        rest = [*self.running, *self._over]
        self.running.clear()
        self._over.clear()
        for runner in rest:
            runner.drop()
        return [runner.attempt for runner in rest]
