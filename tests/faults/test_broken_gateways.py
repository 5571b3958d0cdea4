"""The fault suite can fail: gateways with one defect each do not pass it."""

from __future__ import annotations

import asyncio

import pytest
from broken import DEFECTS, OF_THE_LANE, SIMPLE
from fault_stage import Case, Defect, perform
from fault_tables import CASES

_PATIENCE = 1.5  # seconds for a case that would else hang until its clients give up

BROKEN = [
    pytest.param(defect, wanted, lane, id=f"{defect.name}-{'lane' if lane else 'aiohttp'}")
    for number, (defect, wanted) in enumerate(DEFECTS)
    for lane in ([number % 2 == 0] if defect.name not in OF_THE_LANE else [True])
]
"""A defect behind the doors is put behind one of them, in turn."""


def relevant(wanted: list[tuple[str, str]]) -> list[Case]:
    return [case for case in CASES for number, words in wanted if case.number == number and words in case.name]


@pytest.mark.parametrize(("defect", "wanted", "lane"), BROKEN)
async def test_a_broken_gateway_fails_a_case(defect: Defect, wanted: list[tuple[str, str]], lane: bool) -> None:
    """Each defect is noticed by one at least of the cases that concern it."""
    cases = relevant(wanted)
    assert cases, "no such case"
    for case in cases:
        try:
            async with asyncio.timeout(_PATIENCE):
                await perform(case, lane=lane, defect=defect)
        except Exception:  # in whichever way a case fails
            return
    raise AssertionError("nothing was noticed")


@pytest.mark.parametrize(("defect", "wanted", "lane"), BROKEN)
async def test_apart_from_its_defect_it_works(defect: Defect, wanted: list[tuple[str, str]], lane: bool) -> None:
    """A gateway that only crashes would fail any case."""
    control = [("B30", "latin-1")] if defect.name in SIMPLE else [("B30", "latin-1"), ("C50", "one byte")]
    for case in relevant(control):
        await perform(case, lane=lane, defect=defect)


def test_there_are_enough_of_them() -> None:
    """Each of its own kind."""
    assert len({defect.name for defect, _ in DEFECTS}) == len(DEFECTS) >= 12
