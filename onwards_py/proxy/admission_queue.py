"""``on_limit: queue``: an exchange that finds a limit reached waits in line for it, instead of being refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from onwards_py.eager import OneShot
from onwards_py.limits.admission import Rejection
from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import Waiter, WaitQueue
from onwards_py.messages import Clock
from onwards_py.proxy.exchange import Exchange


async def acquire_or_wait(exchange: Exchange, limiters: Sequence[Limiter], clock: Clock) -> None:
    """Take all permits, waiting for them where the operator wishes it. Raises ProxyError.

    What is waited for holds no permits meanwhile; whoever comes later does not overtake.
    """
    blocked = exchange.acquire(limiters, clock())
    if blocked is None:
        return
    if blocked.limiter.queue is None:
        raise blocked.error
    with QueueTicket(clock) as place:
        while blocked is not None:
            await place.wait((blocked,))
            blocked = exchange.acquire(limiters, clock())


class QueueTicket:
    """One exchange's place in the lines of the limits that keep it waiting; left at the end of the context."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiter = Waiter(self._wake)
        self._signal: OneShot[None] = OneShot()
        self._until: float | None = None

    def __enter__(self) -> QueueTicket:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiter.leave()

    async def wait(self, blocks: Sequence[Rejection]) -> None:
        """Until it is worth another try at what ``blocks`` tell. Raises the first block's ProxyError if nobody is let
        wait, all lines are full, or the time is over."""
        error, now = blocks[0].error, self._clock()
        lines = [blocked.limiter.queue for blocked in blocks if blocked.limiter.queue is not None]
        policies = [blocked.limiter.limits.queue for blocked in blocks if blocked.limiter.limits.queue is not None]
        if not policies or not self._stand_in(lines):
            raise error
        if self._until is None:
            self._until = now + max(policy.timeout for policy in policies)
        await self._sleep(blocks, now, self._until)
        if self._clock() >= self._until:
            raise error

    def _stand_in(self, lines: Sequence[WaitQueue]) -> bool:
        """Stand in these lines and in no others; False if all of them are full."""
        for line in [line for line in self._waiter.queues if line not in lines]:
            line.leave(self._waiter)
        for line in lines:
            line.enqueue(self._waiter)
        return bool(self._waiter.queues)

    async def _sleep(self, blocks: Sequence[Rejection], now: float, until: float) -> None:
        self._signal = OneShot()
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(max(0.0, until - now), self._wake)] + [
            loop.call_later(blocked.retry_in, blocked.limiter.queue.wake)
            for blocked in blocks
            if blocked.retry_in is not None and blocked.limiter.queue is not None
        ]
        try:
            await self._signal
        finally:
            for timer in timers:
                timer.cancel()

    def _wake(self) -> None:
        self._signal.set(None)
