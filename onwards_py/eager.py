"""Coroutines that resume inside the callback that wakes them, instead of one loop turn later.

An exchange is straight-line coroutine code.
An asyncio task per request would cost more than the exchange's own work: a Task object, a Future per wait, and a trip
through the loop's ready queue per wake-up.
`StepTask` steps a coroutine by hand, and a `OneShot` resumes it synchronously.
Futures can be awaited too, at their usual price.

``asyncio.timeout`` and ``wait_for`` do not work under `StepTask`: they ask for the current task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class OneShot(msgspec.Struct, Generic[T], eq=False):
    """One value, set once, awaited by at most one `StepTask`.

    ``set`` and ``fail`` resume the waiter before they return.
    So they belong at the end of a callback: any code after them runs after the waiter's work.
    """

    done: bool = False
    waiter: StepTask | None = None
    """The task to resume."""
    _value: Any = None
    _error: BaseException | None = None

    def set(self, value: T) -> None:
        """Set the value. Later calls are ignored: the first cause counts."""
        if not self.done:
            self.done = True
            self._value = value
            if self.waiter is not None:
                self.waiter.resume()

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in the waiter. Ignored if a value or an error was set before."""
        if not self.done:
            self.done = True
            self._error = error
            if self.waiter is not None:
                self.waiter.resume()

    def __await__(self) -> Generator[OneShot[T], None, T]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value


class StepTask:
    """Runs one coroutine, starting now, until it ends or is cancelled.

    ``on_done`` is called at the end, perhaps before the constructor returns.
    Its argument is the exception that the coroutine raised (CancelledError included), or None.
    """

    __slots__ = ("_cancelled", "_coroutine", "_future", "_on_done", "_one_shot", "_running", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_done: Callable[[BaseException | None], None]) -> None:
        self.done = False
        self._coroutine = coroutine
        self._on_done = on_done
        self._one_shot: OneShot[Any] | None = None
        self._future: asyncio.Future[Any] | None = None
        self._running = False
        self._cancelled = False
        self.resume()

    def cancel(self) -> None:
        """Raise CancelledError inside the coroutine: at once if it waits, else at its next wait."""
        if self.done:
            return
        if self._running:
            self._cancelled = True
            return
        if self._one_shot is not None:
            self._one_shot.waiter = None
            self._one_shot = None
        elif self._future is not None:
            self._future.remove_done_callback(self._on_future)
            self._future.cancel()
            self._future = None
        self.resume(asyncio.CancelledError())

    def resume(self, error: BaseException | None = None) -> None:
        """Run to the next wait, or to the end. Called by the awaited object."""
        if self.done:
            return
        self._one_shot = None
        self._running = True
        try:
            awaited = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
        except StopIteration:
            self.done = True
            self._on_done(None)
            return
        except (KeyboardInterrupt, SystemExit):
            self.done = True
            raise
        except BaseException as exception:
            self.done = True
            self._on_done(exception)
            return
        finally:
            self._running = False
        if type(awaited) is OneShot and not awaited.done and not self._cancelled:
            self._one_shot = awaited
            awaited.waiter = self
        else:
            self._wait_for(awaited)

    def _wait_for(self, awaited: object) -> None:
        """Wait for ``awaited``, in the cases that `resume` does not handle itself."""
        if isinstance(awaited, OneShot):
            if awaited.done and not self._cancelled:  # the coroutine itself has set it
                self.resume()
                return
            self._one_shot = awaited
            awaited.waiter = self
        elif awaited is None:  # asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            self._future = future = loop.create_future()
            future.add_done_callback(self._on_future)
            loop.call_soon(_resolve, future)
        else:
            assert isinstance(awaited, asyncio.Future), f"cannot await {awaited!r} here"
            awaited._asyncio_future_blocking = False
            self._future = awaited
            awaited.add_done_callback(self._on_future)
        if self._cancelled:
            self._cancelled = False
            self.cancel()

    def _on_future(self, _: asyncio.Future[Any]) -> None:
        self._future = None
        self.resume()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
