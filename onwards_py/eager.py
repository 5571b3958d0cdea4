"""Coroutines that run in the callback that wakes them, instead of one loop turn later.

An exchange is straight-line coroutine code, but a task per request would cost more than the exchange's own
work: a Task object, a Future per wait, and a trip through the loop's ready queue per wake-up. `StepTask` steps a
coroutine by hand; a `OneShot` resumes it synchronously. Futures can be awaited too, at their usual price.

What does not work under `StepTask` is what asks for the current task: ``asyncio.timeout``, ``wait_for``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_UNSET: Any = object()


class OneShot(Generic[T]):
    """One value, set once, awaited by at most one `StepTask`. Setting it resumes the waiter before ``set`` returns.

    So ``set`` and ``fail`` belong at the end of a callback: whatever stands behind them runs after the waiter's work.
    ``waiter`` is the `StepTask` to resume.
    """

    __slots__ = ("_error", "_value", "waiter")

    def __init__(self) -> None:
        self._value: T = _UNSET
        self._error: BaseException | None = None
        self.waiter: StepTask | None = None

    @property
    def done(self) -> bool:
        return self._value is not _UNSET or self._error is not None

    def set(self, value: T) -> None:
        """Give the value; later calls are ignored (the first cause counts)."""
        if self._value is _UNSET and self._error is None:
            self._value = value
            if self.waiter is not None:
                self.waiter.resume()

    def fail(self, error: BaseException) -> None:
        """Raise ``error`` in the waiter; ignored if something came before."""
        if self._value is _UNSET and self._error is None:
            self._error = error
            if self.waiter is not None:
                self.waiter.resume()

    def __await__(self) -> Generator[OneShot[T], None, T]:
        if self._value is _UNSET and self._error is None:
            yield self
        if self._error is not None:
            raise self._error
        return self._value


class StepTask:
    """Runs one coroutine, starting now, until it ends or is cancelled.

    ``on_done`` is called at the end, perhaps before the constructor returns: with the exception that the coroutine
    let out (CancelledError included), or None.
    """

    __slots__ = ("_cancelled", "_coroutine", "_future", "_on_done", "_running", "_signal")

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_done: Callable[[BaseException | None], None]) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = coroutine
        self._on_done = on_done
        self._signal: OneShot[Any] | None = None
        self._future: asyncio.Future[Any] | None = None
        self._running = False
        self._cancelled = False
        self.resume()

    @property
    def done(self) -> bool:
        return self._coroutine is None

    def cancel(self) -> None:
        """Raise CancelledError inside the coroutine, at once if it waits, else at its next wait."""
        if self._coroutine is None:
            return
        if self._running:
            self._cancelled = True
            return
        if self._signal is not None:
            self._signal.waiter = None
            self._signal = None
        elif self._future is not None:
            self._future.remove_done_callback(self._on_future)
            self._future.cancel()
            self._future = None
        self.resume(asyncio.CancelledError())

    def resume(self, error: BaseException | None = None) -> None:
        """Run on to the next wait, or to the end. Called by what was waited for."""
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._signal = None
        self._running = True
        try:
            awaited = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration:
            self._coroutine = None
            self._on_done(None)
            return
        except (KeyboardInterrupt, SystemExit):
            self._coroutine = None
            raise
        except BaseException as exception:
            self._coroutine = None
            self._on_done(exception)
            return
        finally:
            self._running = False
        if type(awaited) is OneShot and not awaited.done and not self._cancelled:
            self._signal = awaited
            awaited.waiter = self
        else:
            self._wait_for(awaited)

    def _wait_for(self, awaited: object) -> None:
        """The rarer kinds of waiting."""
        if isinstance(awaited, OneShot):
            if awaited.done and not self._cancelled:  # set from inside the coroutine's own call
                self.resume()
                return
            self._signal = awaited
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
