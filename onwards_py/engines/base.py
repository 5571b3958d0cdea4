"""What every engine is, as the runtime sees it.

An engine is made from its spec, loads once in the main thread before anything listens, and then answers requests by
functions that block and compute in threads of the runtime's. It knows nothing of HTTP: it is given the decoded body and
gives back bytes, or raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from onwards_py.engines.protocol import ComputeCost

Body = dict[str, object]
"""A request's body: a JSON object, decoded. Its ``model`` is a string that is not empty; the runtime saw to that."""


class LoadError(Exception):
    """The model cannot be served. Its text says what to install or to change; clients may see it: no paths."""


class EngineError(Exception):
    """A request that is answered with an error: the envelope's fields and the status.

    Before `Sink.begin` it becomes a response of ``status``; after it, an event in the stream, which is then cut off.
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
    """A 400 that names the parameter at fault; to be raised."""
    return EngineError(400, message, param=param, code=code)


@dataclass(eq=False, slots=True)
class Job:
    """One request's computation. ``stop`` is set when nobody waits for the answer any more: look at it often.

    ``stop_requested_at`` is when that was (monotonic seconds), None before.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    stop_requested_at: float | None = None

    def request_stop(self, now: float) -> None:
        """From the event loop; the second call changes nothing."""
        if self.stop_requested_at is None:
            self.stop_requested_at = now
            self.stop.set()


class EventSink(Protocol):
    """Where a computing thread puts a streamed answer."""

    def begin(self) -> None:
        """Commit to 200 and ``text/event-stream``: once, before the first event. Errors before it have their status."""

    def event(self, data: bytes) -> bool:
        """Send one event (``data`` without framing: JSON without line ends, or ``[DONE]``).

        Blocks while the client leaves too much unread. False: the job is to stop, and nothing was sent.
        """


@dataclass(frozen=True, slots=True)
class EngineResult:
    """How a computation ended well. ``body`` is the whole JSON answer; None: all of it went through the sink.

    ``cost`` is what it cost; None if nothing was computed.
    """

    body: bytes | None
    cost: ComputeCost | None = None


RouteHandler = Callable[[Body, EventSink, Job], EngineResult]
"""Answers one request; blocks; runs in one of ``spec.slots`` threads, so engines must bear as many at one time.

Raises `EngineError`. Anything else that it raises is logged by type and answered with 500. When ``job.stop`` is set it
returns soon, and what it returns then goes nowhere but for ``cost``.
"""


class Engine(Protocol):
    """Made by ``factory(spec)``, which must be cheap; see `onwards_py.engines.registry`."""

    @property
    def file(self) -> str:
        """What was loaded, for people: a file's name. After `load`."""

    @property
    def bytes(self) -> int:
        """How large that file is. After `load`."""

    @property
    def routes(self) -> Mapping[str, RouteHandler]:
        """Path without ``/v1`` (``/embeddings``) to what answers POST requests for it. After `load`."""

    def load(self) -> None:
        """Load the model, in the main thread, blocking. Raises `LoadError`."""
