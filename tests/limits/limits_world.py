"""A small world for tests of limits: a manual clock, a manual event loop, and callers that wait in queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

from onwards_py.limits.admission import Rejection, release, try_acquire
from onwards_py.limits.counters import Limiter
from onwards_py.limits.wait_queue import Waiter
from onwards_py.model.limits import Limits

State = tuple[int, float | None, float | None]


class World:
    """``now`` is in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ready: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._armed = 0

    def limiter(self, limits: Limits) -> Limiter:
        return Limiter(limits, self.now, self._ready.append)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._armed += 1
        heappush(self._timers, (self.now + seconds, self._armed, callback))

    def run(self) -> None:
        """Run all scheduled callbacks, and those that they schedule."""
        turns = 0
        while self._ready:
            self._ready.popleft()()
            turns += 1
            assert turns < 1000, "the lines wake each other for ever"

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        self.run()
        while self._timers and self._timers[0][0] <= until:
            at, _, callback = heappop(self._timers)
            self.now = max(self.now, at)
            callback()
            self.run()
        self.now = until


def state_of(limiter: Limiter, now: float) -> State:
    """Permits held, requests and tokens left."""
    return (
        limiter.in_flight,
        limiter.bucket.remaining(now) if limiter.bucket else None,
        limiter.tokens.remaining(now) if limiter.tokens else None,
    )


class Caller:
    """One exchange: it waits in the queue of the limit that blocks it, and is admitted when it may be. ``state``:
    ``new``, ``waiting``, ``in``, ``refused`` (by a limit without a queue, or with a full one), ``out``."""

    def __init__(
        self,
        world: World,
        limiters: Sequence[Limiter],
        estimate: float = 0.0,
        journal: list[Caller] | None = None,
    ) -> None:
        self.state = "new"
        self.estimate = estimate
        self.limiters = limiters
        self.waiter = Waiter(self.enter)
        self._world = world
        self._journal = journal if journal is not None else []

    def enter(self) -> None:
        """All or nothing, which is checked here; the result is admission, waiting or refusal."""
        now = self._world.now
        before = [state_of(limiter, now) for limiter in self.limiters]
        blocked = try_acquire(self.limiters, now, self.estimate)
        after = [state_of(limiter, now) for limiter in self.limiters]
        if blocked is None:
            assert after == [self._charged(state) for state in before]
            self.waiter.leave()
            self.state = "in"
            self._journal.append(self)
        else:
            assert after == before
            self._wait(blocked)

    def _charged(self, state: State) -> State:
        held, requests, tokens = state
        return (
            held + 1,
            None if requests is None else requests - 1.0,
            None if tokens is None else tokens - self.estimate,
        )

    def _wait(self, blocked: Rejection) -> None:
        line = blocked.limiter.queue
        for other in tuple(self.waiter.queues):
            if other is not line:
                other.leave(self.waiter)
        if line is None or not line.enqueue(self.waiter):
            self.waiter.leave()
            self.state = "refused"
            return
        self.state = "waiting"
        if blocked.retry_in is not None:
            self._world.call_later(blocked.retry_in, line.wake)

    def leave(self) -> None:
        """The exchange ends, or gives up waiting."""
        if self.state == "in":
            release(self.limiters)
        self.waiter.leave()
        self.state = "out"
