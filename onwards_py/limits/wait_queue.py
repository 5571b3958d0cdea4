"""The line before a limit: first come, first served, and nobody who comes later gets in between.

Who waits is asked, not told: each place that comes free asks the head of the queue to try again, and goes on with the
next one only if the head went in (or gave up).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from onwards_py.model.limits import QueuePolicy

Schedule = Callable[[Callable[[], None]], object]
"""Calls back soon, and not before it has returned: ``call_soon`` of an event loop."""


def run_now(callback: Callable[[], None]) -> None:
    """A schedule without a loop. Not for lines in which more than one limit is waited for."""
    callback()


class Waiter:
    """One who waits. It may stand in several lines at once, and goes in when one of them lets it.

    ``wake`` tries again and has decided when it returns: it went in, and left (`leave`), in this order; or it is still
    blocked, and stays. ``queues``: where it stands.
    """

    __slots__ = ("queues", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.queues: list[WaitQueue] = []

    def leave(self) -> None:
        """Leave all lines."""
        for queue in tuple(self.queues):
            queue.leave(self)

    def take_turn(self) -> None:
        """Try again, with the right of way in every queue whose head this is."""
        heading = [queue for queue in self.queues if queue.head is self]
        for queue in heading:
            queue.serving_head = True
        try:
            self.wake()
        finally:
            for queue in heading:
                queue.serving_head = False


class WaitQueue:
    """Those who wait for one limiter. ``serving_head``: it is the head that is just trying, so nobody is in front of
    it.

    ``policy`` may be replaced at any time; a shorter bound sends nobody away.
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
        """How many wait."""
        return len(self._waiters)

    @property
    def head(self) -> Waiter | None:
        """Who is next; None if nobody waits."""
        return next(iter(self._waiters), None)

    def enqueue(self, waiter: Waiter) -> bool:
        """Stand at the end, or stay where one stands already. False if the queue is as long as it may be."""
        if waiter in self._waiters:
            return True
        if len(self._waiters) >= self.policy.max_waiting:
            return False
        self._waiters[waiter] = None
        waiter.queues.append(self)
        return True

    def leave(self, waiter: Waiter) -> None:
        """Stand here no longer, if one did. Who becomes the head by that is asked soon."""
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
        """Something has come free: ask the head soon. Any number of calls until then are one."""
        if self._waiters and not self._scheduled:
            self._scheduled = True
            self._schedule(self._serve)

    def _serve(self) -> None:
        """Ask one after the other until one is still blocked. Who stands in queue again since is not asked twice."""
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
