"""The interface of engines.

An engine is created from a launch specification and loads its model once, in the main thread, before the process
listens. Its handlers then compute responses in worker threads, and may block. An engine does not use HTTP: it gets the
decoded body, and returns bytes or raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from onwards_py.engines.protocol import ComputeCost

Body = dict[str, object]
"""A decoded JSON request body. The runtime has checked that ``model`` is a non-empty string."""


class LoadError(Exception):
    """The model cannot be served. The text is the remedy; it contains no paths, because clients may see it."""


class EngineError(Exception):
    """An error response: the fields of the error object, and the status.

    Raised before `EventSink.begin`, it becomes a response with ``status``; raised later, an event after which the
    stream is aborted.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code


def bad_request(message: str, param: str | None = None, code: str | None = None) -> EngineError:
    """A 400 error about the parameter ``param``, to be raised."""
    return EngineError(400, message, param=param, code=code)


@dataclass(eq=False, slots=True)
class Job:
    """The computation of one request. ``stop`` is set when the client has left; handlers must check it often.

    ``stop_requested_at``: the time at which ``stop`` was set (monotonic seconds), or None.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    stop_requested_at: float | None = None

    def request_stop(self, now: float) -> None:
        """Called in the event loop; further calls have no effect."""
        if self.stop_requested_at is None:
            self.stop_requested_at = now
            self.stop.set()


class EventSink(Protocol):
    """The destination to which a worker thread writes a streamed response."""

    def begin(self) -> None:
        """Commit to 200 and ``text/event-stream``: once, before the first event. Errors before it keep their status."""

    def event(self, data: bytes) -> bool:
        """Send one event (``data`` without framing: JSON without line ends, or ``[DONE]``).

        Blocks while the client has too much unread data. Returns False, without sending, if the job must stop.
        """


@dataclass(frozen=True, slots=True)
class EngineResult:
    """The result of a successful computation. ``body``: the complete JSON response; None: it was streamed to the sink.

    ``cost``: tokens and seconds; None if nothing was computed.
    """

    body: bytes | None
    cost: ComputeCost | None = None


RouteHandler = Callable[[Body, EventSink, Job], EngineResult]
"""Computes the response to one request. Blocks; up to ``spec.slots`` threads call it at one time.

Raises `EngineError`. Other exceptions are logged by type and become a 500. After ``job.stop`` is set it returns
soon, and only the ``cost`` of its result is used.
"""


class Engine(Protocol):
    """One model. Created by ``factory(spec)``, which must be cheap; see `onwards_py.engines.registry`."""

    @property
    def file(self) -> str:
        """The name of the loaded file, for display. Valid after `load`."""

    @property
    def bytes(self) -> int:
        """The size of that file. Valid after `load`."""

    @property
    def routes(self) -> Mapping[str, RouteHandler]:
        """The handlers of POST requests, by path without ``/v1`` (``/embeddings``). Valid after `load`."""

    def load(self) -> None:
        """Load the model, in the main thread, blocking. Raises `LoadError`."""
