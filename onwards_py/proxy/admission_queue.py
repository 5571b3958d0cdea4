"""``on_limit: queue``: an exchange waits for a permit of a full limit, instead of being rejected."""

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
    """Take all permits; wait for them if the limit has a queue. Raises ProxyError.

    An exchange that waits holds no permits, and later exchanges do not overtake it.
    """
    rejection = exchange.acquire(limiters, clock())
    if rejection is None:
        return
    if rejection.limiter.queue is None:
        raise rejection.error
    with QueueTicket(clock) as place:
        while rejection is not None:
            await place.wait((rejection,))
            rejection = exchange.acquire(limiters, clock())


class QueueTicket:
    """The places of one exchange in the queues of full limits. The exchange leaves them at the end of the context."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiter = Waiter(self._wake)
        self._signal: OneShot[None] = OneShot()
        self._until: float | None = None

    def __enter__(self) -> QueueTicket:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiter.leave()

    async def wait(self, rejections: Sequence[Rejection]) -> None:
        """Wait until one of these limits may admit the exchange. Raises the first rejection's ProxyError if no limit
        has a queue, if all queues are full, or after the timeout of the queue."""
        error, now = rejections[0].error, self._clock()
        queues = [rejection.limiter.queue for rejection in rejections if rejection.limiter.queue is not None]
        policies = [
            rejection.limiter.limits.queue for rejection in rejections if rejection.limiter.limits.queue is not None
        ]
        if not policies or not self._enter(queues):
            raise error
        if self._until is None:
            self._until = now + max(policy.timeout for policy in policies)
        await self._sleep(rejections, now, self._until)
        if self._clock() >= self._until:
            raise error

    def _enter(self, queues: Sequence[WaitQueue]) -> bool:
        """Enter these queues and leave all others; False if all of them are full."""
        for queue in [queue for queue in self._waiter.queues if queue not in queues]:
            queue.leave(self._waiter)
        for queue in queues:
            queue.enqueue(self._waiter)
        return bool(self._waiter.queues)

    async def _sleep(self, rejections: Sequence[Rejection], now: float, until: float) -> None:
        self._signal = OneShot()
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(max(0.0, until - now), self._wake)] + [
            loop.call_later(rejection.retry_in, rejection.limiter.queue.wake)
            for rejection in rejections
            if rejection.retry_in is not None and rejection.limiter.queue is not None
        ]
        try:
            await self._signal
        finally:
            for timer in timers:
                timer.cancel()

    def _wake(self) -> None:
        self._signal.set(None)
