"""Holding an answer back until its first content, so that an error inside a 200 can still move the exchange on.

A 200 says little: providers announce a stream and then send an error as its first event, or nothing at all. Only the
opening is held; slow is not empty, so a bound in time lets what there is pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from onwards_py.messages import Downstream, Ending, Source
from onwards_py.wire.first_content import FirstContentDetector, Verdict, VerdictKind

_CONTENT: Final = VerdictKind.CONTENT
_GRACE: Final = 0.5  # seconds for the rest of an answer that is given up
_LONGEST_REST: Final = 1024 * 1024


class Hold:
    """A BodySink in front of ``downstream``.

    ``begin`` commits; it is called when the opening says something, or when ``max_time`` seconds are over (None: no
    such bound). ``gives_up(verdict)`` says whether an opening that is an error is to be given up; ``discard`` frees the
    provider. ``first_token``: seconds after which an answer that has said nothing is too late (None: never).
    """

    def __init__(
        self,
        downstream: Downstream,
        opening: FirstContentDetector,
        begin: Callable[[], None],
        gives_up: Callable[[Verdict], bool],
        discard: Callable[[], None],
        *,
        max_time: float | None,
        first_token: float | None,
    ) -> None:
        self._downstream = downstream
        self._opening = opening
        self._begin = begin
        self._gives_up = gives_up
        self._discard = discard
        self._pieces: list[bytes] = []
        self._size = 0
        self._loop = loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        if max_time is not None:
            self._timers.append(loop.call_later(max_time, self._on_patience_over))
        if first_token is not None:
            self._timers.append(loop.call_later(max(0.0, first_token), self._on_late))
        self.open = False
        self.late = False
        self.verdict: Verdict | None = None

    @property
    def body(self) -> bytes:
        """What was held back so far."""
        return b"".join(self._pieces)

    # BodySink

    def write(self, piece: bytes) -> None:
        """Take bytes of the answer."""
        if self.open:
            self._downstream.write(piece)
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self.verdict is None:
            verdict = self._opening.feed(piece)
            if verdict is not None:
                self._decide(verdict)
        elif self._size > _LONGEST_REST:
            self._discard()

    def flush(self) -> None:
        """The head travels with the first content."""
        if self.open:
            self._downstream.flush()

    def set_source(self, source: Source) -> None:
        """See BodySink.set_source."""
        self._downstream.set_source(source)

    # The end

    def finish(self, ending: Ending) -> Verdict | None:
        """The body is over. The verdict if the answer is to be given up; None if it is on its way to the client."""
        self.close()
        if not self.open and not self.late:
            if self.verdict is None:
                self._decide(self._opening.finish(ending))
            self.close()
        return None if self.open else self.verdict

    def close(self) -> None:
        """Wait for nothing any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _decide(self, verdict: Verdict) -> None:
        if verdict.kind is _CONTENT or not self._gives_up(verdict):
            self._let_pass()
            return
        self.close()
        self.verdict = verdict
        self._timers.append(self._loop.call_later(_GRACE, self._discard))

    def _let_pass(self) -> None:
        self.close()
        self.open = True
        self._begin()
        held, self._pieces = self.body, []
        if held:
            self._downstream.write(held)
        else:
            self._downstream.flush()

    def _on_patience_over(self) -> None:
        if not self.open and self.verdict is None:
            self._let_pass()

    def _on_late(self) -> None:
        if not self.open and self.verdict is None:
            self.late = True
            self.close()
            self._discard()
