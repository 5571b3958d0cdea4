"""How far an answer has come."""

from __future__ import annotations

from onwards_py.transcode.neutral.failure import Failure


class AnswerState:
    """How far an answer has come, for the machine that makes it. ``limit`` is in characters."""

    __slots__ = ("_done", "_dropped", "_early", "_failure", "_limit", "_terminal", "trusted")

    def __init__(self, trusted: bool, limit: int) -> None:
        self.trusted = trusted
        self._limit = limit
        self._done = False
        self._terminal = False
        self._early = False
        self._failure: Failure | None = None
        self._dropped: dict[str, None] = {}

    @property
    def finished(self) -> bool:
        """Whether the end was returned; what comes later is ignored."""
        return self._terminal

    @property
    def failure(self) -> Failure | None:
        """Why the answer failed, if it did."""
        return self._failure

    @property
    def failed_early(self) -> bool:
        """Whether it failed before anything was due, so that the failure can be told as an HTTP status."""
        return self._early

    @property
    def dropped(self) -> tuple[str, ...]:
        """Paths, without indexes, of what the provider said and the client is not told."""
        return tuple(self._dropped)

    def drop(self, path: str) -> None:
        """Note that the client is not told what stands at ``path``."""
        self._dropped[path] = None

    def done(self) -> None:
        """The provider said that its answer is whole (``[DONE]``, or it was not streamed at all)."""
        self._done = True
