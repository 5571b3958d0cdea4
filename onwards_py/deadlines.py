"""Timeouts by the thousand for the price of one timer each kind.

All members of a `Deadlines` wait equally long, so the order of arrival is the order of expiry: one timer at the
oldest suffices, and joining and leaving are two dictionary operations. No timer per request.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol


class Expiring(Protocol):
    """A member: told once that its time is over, and no longer a member then."""

    def on_deadline(self) -> None: ...


class Deadlines:
    """Members that each get ``duration`` seconds from `start` until `on_deadline`, unless `stop` comes first."""

    __slots__ = ("_duration", "_loop", "_members", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, duration: float) -> None:
        self._loop = loop
        self._duration = duration
        self._members: OrderedDict[Expiring, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def start(self, member: Expiring) -> None:
        """Begin to count for ``member``, anew if it counts already."""
        members = self._members
        if member in members:
            del members[member]
        members[member] = due = self._loop.time() + self._duration
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)

    def stop(self, member: Expiring) -> None:
        """No more counting for ``member``; nothing happens if it does not count."""
        self._members.pop(member, None)

    def close(self) -> None:
        """Forget everyone."""
        self._members.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._members:
            member, due = next(iter(self._members.items()))
            if due > now:
                self._timer = self._loop.call_at(due, self._expire)
                return
            del self._members[member]
            member.on_deadline()


class DeadlineTable:
    """`Deadlines` by duration: configurations have few different durations."""

    __slots__ = ("_by_duration", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._by_duration: dict[float, Deadlines] = {}

    def of(self, duration: float) -> Deadlines:
        """The one `Deadlines` of this duration (seconds)."""
        deadlines = self._by_duration.get(duration)
        if deadlines is None:
            deadlines = self._by_duration[duration] = Deadlines(self._loop, duration)
        return deadlines

    def close(self) -> None:
        for deadlines in self._by_duration.values():
            deadlines.close()
