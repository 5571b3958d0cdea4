"""Coroutines stepped by hand: when they run, what resumes them, and what a cancellation meets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from onwards_py.eager import OneShot, StepTask


class Run:
    """A driven coroutine and how it ended: ``ends`` holds what `StepTask` reported."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.ends: list[BaseException | None] = []
        self.task = StepTask(coroutine, self.ends.append)


async def test_it_runs_to_its_first_wait_before_the_constructor_returns() -> None:
    """Eager start: no trip through the loop."""
    log: list[str] = []
    one_shot: OneShot[int] = OneShot()

    async def work() -> None:
        log.append("begun")
        log.append(str(await one_shot))

    run = Run(work())
    assert log == ["begun"]
    assert not run.task.done
    one_shot.set(7)
    assert log == ["begun", "7"]
    assert run.task.done
    assert run.ends == [None]


async def test_setting_a_signal_runs_the_waiter_before_set_returns() -> None:
    """The order of effects is that of plain calls."""
    log: list[str] = []
    first: OneShot[None] = OneShot()
    second: OneShot[None] = OneShot()

    async def work() -> None:
        await first
        log.append("between")
        await second
        log.append("after")

    Run(work())
    log.append("before")
    first.set(None)
    log.append("set")
    second.set(None)
    assert log == ["before", "between", "set", "after"]


async def test_a_signal_that_was_set_before_is_not_waited_for() -> None:
    """The value is kept for who comes later."""
    one_shot: OneShot[str] = OneShot()
    one_shot.set("early")
    got: list[str] = []

    async def work() -> None:
        got.append(await one_shot)

    assert Run(work()).ends == [None]
    assert got == ["early"]


async def test_the_first_cause_counts() -> None:
    """A later value or failure changes nothing, set or failed first."""
    ends: list[object] = []
    for first, second in (("set", "fail"), ("fail", "set"), ("set", "set"), ("fail", "fail")):
        one_shot: OneShot[int] = OneShot()

        async def work(one_shot: OneShot[int] = one_shot) -> None:
            try:
                ends.append(await one_shot)
            except KeyError as error:
                ends.append(error.args[0])

        run = Run(work())
        for number, verb in enumerate((first, second)):
            if verb == "set":
                one_shot.set(number)
            else:
                one_shot.fail(KeyError(number))
        assert run.ends == [None]
        assert one_shot.done
    assert ends == [0, 0, 0, 0]


async def test_none_is_a_value() -> None:
    """``set(None)`` is not "not set"."""
    one_shot: OneShot[None] = OneShot()
    one_shot.set(None)
    assert one_shot.done


async def test_what_the_coroutine_lets_out_is_reported() -> None:
    """At once, or after a wait; the setter of the signal does not get it."""
    one_shot: OneShot[None] = OneShot()

    async def at_once() -> None:
        raise ValueError("at once")

    async def later() -> None:
        await one_shot
        raise ValueError("later")

    first, second = Run(at_once()), Run(later())
    one_shot.set(None)
    assert [str(run.ends[0]) for run in (first, second)] == ["at once", "later"]
    assert all(isinstance(run.ends[0], ValueError) for run in (first, second))


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_program_is_not_swallowed(fatal: type[BaseException]) -> None:
    """It reaches whoever ran the coroutine on."""

    async def work() -> None:
        raise fatal

    with pytest.raises(fatal):
        Run(work())


async def test_cancelling_while_it_waits_for_a_signal() -> None:
    """Raised at once; the signal, set later, resumes nobody."""
    one_shot: OneShot[None] = OneShot()
    log: list[str] = []

    async def work() -> None:
        try:
            await one_shot
        finally:
            log.append("cleaned")

    run = Run(work())
    run.task.cancel()
    assert log == ["cleaned"]
    assert isinstance(run.ends[0], asyncio.CancelledError)
    one_shot.set(None)
    assert len(run.ends) == 1


async def test_cancelling_while_it_waits_for_a_future_cancels_the_future() -> None:
    """So that a task that was awaited ends too."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await future

    run = Run(work())
    run.task.cancel()
    assert isinstance(run.ends[0], asyncio.CancelledError)
    assert future.cancelled()


async def test_cancelling_itself_takes_effect_at_its_next_wait() -> None:
    """A client's departure may be noticed inside the exchange's own write."""
    one_shot: OneShot[None] = OneShot()
    log: list[str] = []
    drives: list[StepTask] = []
    ends: list[BaseException | None] = []

    async def work() -> None:
        await one_shot
        drives[0].cancel()
        log.append("goes on")
        await asyncio.sleep(0)
        log.append("never")

    drives.append(StepTask(work(), ends.append))
    one_shot.set(None)
    assert log == ["goes on"]
    assert isinstance(ends[0], asyncio.CancelledError)


@pytest.mark.parametrize("already", [False, True])
async def test_cancelling_itself_takes_effect_at_a_signal_too(already: bool) -> None:
    """Also at one that is not set yet; one that is set already is no wait."""
    start: OneShot[None] = OneShot()
    next_: OneShot[str] = OneShot()
    drives: list[StepTask] = []
    ends: list[BaseException | None] = []
    got: list[str] = []

    async def work() -> None:
        await start
        drives[0].cancel()
        if already:
            next_.set("set")
        got.append(await next_)

    drives.append(StepTask(work(), ends.append))
    start.set(None)
    assert got == (["set"] if already else [])
    assert isinstance(ends[0], type(None) if already else asyncio.CancelledError)


async def test_a_cancellation_may_be_outlived() -> None:
    """Cleaning up may wait; the coroutine then ends by itself."""
    first: OneShot[None] = OneShot()
    second: OneShot[None] = OneShot()
    log: list[str] = []

    async def work() -> None:
        try:
            await first
        except asyncio.CancelledError:
            await second
            log.append("cleaned")

    run = Run(work())
    run.task.cancel()
    assert not run.task.done
    second.set(None)
    assert log == ["cleaned"]
    assert run.ends == [None]


async def test_cancelling_what_is_over_changes_nothing() -> None:
    """It is reported once."""

    async def work() -> None:
        pass

    run = Run(work())
    run.task.cancel()
    assert run.ends == [None]


async def test_sleep_zero_yields_one_turn_of_the_loop() -> None:
    """`asyncio.sleep(0)` is what some libraries do between steps."""
    log: list[str] = []
    over = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        log.append("resumed")
        over.set()

    Run(work())
    log.append("meanwhile")
    await asyncio.wait_for(over.wait(), 5)
    assert log == ["meanwhile", "resumed"]


async def test_futures_and_tasks_can_be_awaited() -> None:
    """Values and exceptions arrive as under a task."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[list[object]] = loop.create_future()

    async def fails() -> None:
        raise ValueError("inside")

    async def work() -> None:
        got: list[object] = [await loop.run_in_executor(None, lambda: 5)]
        try:
            await loop.create_task(fails())
        except ValueError as error:
            got.append(str(error))
        await asyncio.sleep(0.001)
        over.set_result(got)

    run = Run(work())
    assert await asyncio.wait_for(over, 5) == [5, "inside"]
    assert run.ends == [None]


async def test_a_thousand_signals_in_a_row_are_no_thousand_stack_frames() -> None:
    """Waits that are over before they begin do not recurse."""
    signals: list[OneShot[int]] = [OneShot() for _ in range(5000)]
    total: list[int] = []

    async def work() -> None:
        for one_shot in signals:
            one_shot.set(1)
            total.append(await one_shot)

    assert Run(work()).ends == [None]
    assert sum(total) == 5000
