"""Bodies are read in slices: others have their turn, few are read at one time, and no place is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

import pytest

from onwards_py.body_reading import MOST_READERS, BodyReading
from onwards_py.eager import StepTask


class Clock:
    """Goes on by a millisecond whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def steps(count: int, log: list[str], name: str = "x") -> Generator[None, None, str]:
    """So many steps, each of which is logged."""
    for _ in range(count):
        log.append(name)
        yield
    return name


class Reader:
    """A driven reading."""

    def __init__(self, reading: BodyReading, generator: Generator[None, None, str]) -> None:
        self.result: str | None = None
        self.error: BaseException | None = None
        self.drive = StepTask(self._run(reading, generator), self._done)

    async def _run(self, reading: BodyReading, generator: Generator[None, None, str]) -> None:
        self.result = await reading.run(generator)

    def _done(self, error: BaseException | None) -> None:
        self.error = error


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_a_slice_is_enough_for_is_read_at_once() -> None:
    """Without a turn of the loop."""
    reading = BodyReading(Clock())
    reader = Reader(reading, steps(1, []))
    assert (reader.drive.done, reader.result, reading.active) == (True, "x", 0)


async def test_others_have_their_turn_between_slices() -> None:
    """Two long readers take turns, and so does everybody else."""
    reading, log = BodyReading(Clock()), list[str]()
    readers = [Reader(reading, steps(6, log, name)) for name in "ab"]
    for _ in range(30):
        log.append(".")
        await asyncio.sleep(0)
    assert [reader.result for reader in readers] == ["a", "b"]
    assert "".join(log).strip(".").count(".") > 3


async def test_few_are_read_at_one_time_and_the_others_come_in_their_order() -> None:
    """A thousand short ones behind long ones are no thousand stack frames."""
    reading, log = BodyReading(Clock()), list[str]()
    readers = [Reader(reading, steps(20, log, f"{number}")) for number in range(MOST_READERS)]
    for number in range(1500):
        Reader(reading, steps(1, log, f"late {number}"))
    assert (reading.active, reading.waiting) == (MOST_READERS, 1500)
    assert "late 0" not in log
    await turns(3200)
    assert [entry for entry in log if "late" in entry] == [f"late {number}" for number in range(1500)]
    await turns(60)
    assert all(reader.result for reader in readers)
    assert (reading.active, reading.waiting) == (0, 0)


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "in line"])
async def test_who_leaves_gives_up_the_place(reads: bool) -> None:
    """While it is read, and while it stands in line; nothing more is read for it."""
    reading, log = BodyReading(Clock()), list[str]()
    first = [Reader(reading, steps(1000, log, "first")) for _ in range(MOST_READERS)]
    second, third = (Reader(reading, steps(5, log, name)) for name in ("second", "third"))
    (first[0] if reads else second).drive.cancel()
    await turns(10)
    assert ("second" in log) == reads
    for reader in [*first, second]:
        reader.drive.cancel()
    await turns(20)
    assert third.result == "third"
    assert (reading.active, reading.waiting) == (0, 0)


async def test_who_leaves_just_as_its_turn_comes_passes_it_on() -> None:
    """The place was handed over, but not taken yet."""
    reading, log = BodyReading(Clock()), list[str]()
    first = [Reader(reading, steps(1000, log, "first")) for _ in range(MOST_READERS)]
    second, third = (Reader(reading, steps(1, log, name)) for name in ("second", "third"))
    first[0].drive.cancel()  # its place is second's in the next turn
    second.drive.cancel()
    await turns()
    assert (second.result, third.result) == (None, "third")
    for reader in first:
        reader.drive.cancel()
    assert (reading.active, reading.waiting) == (0, 0)


async def test_an_error_of_the_steps_is_raised_and_gives_the_place_back() -> None:
    """A refusal, as a rule."""

    def broken() -> Generator[None, None, str]:
        yield
        raise ValueError("no")

    reading = BodyReading(Clock())
    reader = Reader(reading, broken())
    await turns()
    assert isinstance(reader.error, ValueError)
    assert reading.active == 0
