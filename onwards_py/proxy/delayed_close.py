"""Letting a provider go once its answer is known, whether or not it stops by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from onwards_py.messages import Ending
from onwards_py.observe import outcomes
from onwards_py.observe.outcomes import Outcome
from onwards_py.transcode.neutral.answer_body import Machine
from onwards_py.transcode.neutral.failure import cut_off

_GRACE: Final = 1.0  # seconds between the end mark and the end of the body; waiting saves the connection
_TOO_MUCH: Final = cut_off(Ending.LIMIT)
_OUTCOMES: Final[dict[Ending, Outcome]] = {
    Ending.DONE: outcomes.UPSTREAM_CUT,  # the framing ended, but not the answer
    Ending.EOF: outcomes.UPSTREAM_CUT,
    Ending.RESET: outcomes.UPSTREAM_CUT,
    Ending.IDLE: outcomes.UPSTREAM_IDLE,
    Ending.LIMIT: outcomes.UPSTREAM_CUT,  # by us, since the provider said that it had failed
    Ending.CLIENT_GONE: outcomes.CLIENT_GONE_STREAMING,
}


class Release:
    """``discard`` frees the provider; it is called at once if the answer failed, and soon if it ended well."""

    __slots__ = ("_discard", "_loop", "_machine", "_timer")

    def __init__(self, machine: Machine, discard: Callable[[], None]) -> None:
        self._machine = machine
        self._discard = discard
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """The machine was fed: is there anything more to be had from the provider?"""
        if self._machine.finished and self._timer is None:
            patience = 0.0 if self._machine.failure is not None else _GRACE
            self._timer = self._loop.call_later(patience, self._discard)

    def now(self) -> None:
        """Nothing more is wanted."""
        self._discard()

    def close(self) -> None:
        """The body has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def outcome(self, ending: Ending) -> Outcome:
        """How the answer ended, whose body ended by ``ending``: an answer that was whole before is whole."""
        failure = self._machine.failure
        if failure is None:
            return outcomes.DONE
        return outcomes.SIZE_OR_TIME_LIMIT if failure == _TOO_MUCH else _OUTCOMES[ending]
