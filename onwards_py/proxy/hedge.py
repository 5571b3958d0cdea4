"""Hedging: when a provider is slow to answer, a second one is asked too, and the first head that will do wins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from onwards_py.eager import OneShot, StepTask
from onwards_py.proxy.attempt import Attempt
from onwards_py.proxy.model_lookup import is_responses
from onwards_py.proxy.upstream_request import Answer, RoutedRequest, safe_to_duplicate, stores

Send = Callable[[Attempt], Coroutine[Any, Any, Answer]]


def safe_to_hedge(routed: RoutedRequest) -> bool:
    """True if the request can be worked on twice without a trace. (Responses are stored by default.)"""
    return safe_to_duplicate(routed) and (not is_responses(routed.path) or stores(routed) is False)


class HedgeWinner:
    """The attempt whose answer counts. ``beaten``: the one that was asked before it and is still silent, if so."""

    __slots__ = ("answer", "beaten", "prepared")

    def __init__(self, prepared: Attempt, answer: Answer, beaten: Attempt | None) -> None:
        self.prepared = prepared
        self.answer = answer
        self.beaten = beaten


async def race(
    prepared: Attempt,
    send: Send,
    after: float,
    second: Callable[[], Attempt | None],
    *,
    will_do: Callable[[Answer], bool],
    let_go: Callable[[Attempt], None],
) -> HedgeWinner:
    """The first answer that ``will_do``; the last one if none does. Raises the last attempt's TransportError.

    After ``after`` seconds of silence ``second`` makes another attempt ready (None: nobody else may be asked).
    ``let_go`` is told of each attempt that lost.
    """
    race = _Race()
    try:
        race.start(prepared, send(prepared))
        runner = await race.next(after)
        if runner is None:
            other = second()
            if other is not None:
                race.start(other, send(other))
            runner = await race.next(None)
        assert runner is not None
        while race.running and (runner.answer is None or not will_do(runner.answer)):
            runner.drop()
            let_go(runner.prepared)
            runner = await race.next(None)
            assert runner is not None
        if runner.answer is None:
            assert runner.error is not None
            raise runner.error
        later = runner.prepared is not prepared
        return HedgeWinner(runner.prepared, runner.answer, prepared if later and race.runs(prepared) else None)
    finally:
        for loser in race.stop():
            let_go(loser)


class _Runner:
    """One attempt on its way: ``answer`` or ``error`` is there once it is over."""

    def __init__(self, prepared: Attempt) -> None:
        self.prepared = prepared
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.task: StepTask | None = None

    async def run(self, sending: Coroutine[Any, Any, Answer]) -> None:
        self.answer = await sending

    def drop(self) -> None:
        """Let go of it, whatever has become of it."""
        if self.task is not None:
            self.task.cancel()
        if self.answer is not None:
            self.answer.response.discard()
            self.answer = None


class _Race:
    """Attempts that run at the same time, and those that are over."""

    def __init__(self) -> None:
        self.running: list[_Runner] = []
        self._over: deque[_Runner] = deque()
        self._signal: OneShot[None] = OneShot()

    def start(self, prepared: Attempt, sending: Coroutine[Any, Any, Answer]) -> None:
        runner = _Runner(prepared)
        self.running.append(runner)

        def on_done(error: BaseException | None) -> None:
            runner.error = error
            if runner in self.running:
                self.running.remove(runner)
                self._over.append(runner)
                self._signal.set(None)

        runner.task = StepTask(runner.run(sending), on_done)

    async def next(self, seconds: float | None) -> _Runner | None:
        """The next that is over; None if none is within ``seconds``."""
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

    def runs(self, prepared: Attempt) -> bool:
        """True if nothing has come of this attempt so far."""
        return any(runner.prepared is prepared for runner in self.running)

    def stop(self) -> list[Attempt]:
        """End what still runs and drop what nobody took; returns what had been asked."""
        rest = [*self.running, *self._over]
        self.running.clear()
        self._over.clear()
        for runner in rest:
            runner.drop()
        return [runner.prepared for runner in rest]
