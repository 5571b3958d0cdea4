"""The wait queue of a limit: first in, first out; later exchanges cannot overtake.

The queue holds no permits for its waiters: each released permit makes the head try again, and the next waiter only
follows if the head was admitted or has left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from onwards_py.model.limits import QueuePolicy

Schedule = Callable[[Callable[[], None]], object]
"""Calls the function soon, after the current one has returned: ``call_soon`` of an event loop."""


def run_now(callback: Callable[[], None]) -> None:
    """A schedule without a loop. Not for waiters in more than one queue."""
    callback()


class Waiter:
    """A waiting exchange. It may be in several queues at once, and is admitted by the first one that allows it.

    ``wake`` tries again. When it returns, the exchange was admitted and then left (`leave`), or it is still blocked and
    stays. ``queues``: the queues that contain it.
    """

    __slots__ = ("queues", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.queues: list[WaitQueue] = []

    def leave(self) -> None:
        """Leave all queues."""
        for queue in tuple(self.queues):
            queue.leave(self)

    def take_turn(self) -> None:
        """Try again, with priority in every queue whose head this is."""
        heading = [queue for queue in self.queues if queue.head is self]
        for queue in heading:
            queue.serving_head = True
        try:
            self.wake()
        finally:
            for queue in heading:
                queue.serving_head = False


class WaitQueue:
    """The exchanges that wait for one limiter. ``serving_head``: the head is trying at the moment, so that the queue
    does not block it.

    ``policy`` may be replaced at any time; a lower bound does not remove waiters.
    """

    __slots__ = ("_schedule", "_scheduled", "_serving", "_waiters", "policy", "serving_head")

    def __init__(self, policy: QueuePolicy, schedule: Schedule) -> None:
        self.policy = policy
        self.serving_head = False
        self._schedule = schedule
        self._scheduled = False
        self._serving = False
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return len(self._waiters)

    @property
    def head(self) -> Waiter | None:
        """The next waiter; None if the queue is empty."""
        return next(iter(self._waiters), None)

    def enqueue(self, waiter: Waiter) -> bool:
        """Add ``waiter`` at the end, unless the queue contains it. False if the queue is full."""
        if waiter in self._waiters:
            return True
        if len(self._waiters) >= self.policy.max_waiting:
            return False
        self._waiters[waiter] = None
        waiter.queues.append(self)
        return True

    def leave(self, waiter: Waiter) -> None:
        """Remove ``waiter``, if present. A new head tries soon."""
        if waiter not in self._waiters:
            return
        headed = self.head is waiter
        del self._waiters[waiter]
        waiter.queues.remove(self)
        if headed:
            self.serving_head = False
            if not self._serving:
                self.wake()

    def wake(self) -> None:
        """Make the head try again soon. Several calls until then count once."""
        if self._waiters and not self._scheduled:
            self._scheduled = True
            self._schedule(self._serve)

    def _serve(self) -> None:
        """Try the waiters in order until one is still blocked; each at most once."""
        self._scheduled = False
        for _ in range(len(self._waiters)):
            head = self.head
            if head is None:
                return
            self._serving = True
            try:
                head.take_turn()
            finally:
                self._serving = False
            if self.head is head:
                return
