"""The catalogue of faults, held against the cases that play it."""

from __future__ import annotations

import re
from pathlib import Path

from fault_tables import CASES, FILES

LAST = {"A": 13, "B": 42, "C": 59, "D": 91, "E": 98, "F": 109, "G": 120}


def numbers() -> set[str]:
    """All of the catalogue's."""
    found, first = set(), 1
    for letter, last in LAST.items():
        found |= {f"{letter}{number}" for number in range(first, last + 1)}
        first = last + 1
    return found


def left_out() -> set[str]:
    """Those that the README gives a reason for."""
    text = (Path(__file__).parent / "README.md").read_text()
    return set(re.findall(r"^\| ([A-G]\d+) \| .+ \| .+ \|$", text, re.MULTILINE))


def test_every_number_is_played_or_has_a_reason() -> None:
    """Not both, either."""
    played = {case.number for case in CASES if case.number[1:].isdigit()}
    assert played | left_out() == numbers()
    assert not played & left_out()


def test_there_are_enough_cases() -> None:
    """At least 80 of the catalogue's numbers can be played here, and no case hides another one."""
    assert len({case.number for case in CASES}) >= 80
    assert len({case.id for case in CASES}) == len(CASES) >= 110


def test_cases_stand_where_their_letter_says() -> None:
    """The letter is in the file's name."""
    for module in FILES:
        letter = module.__name__.removeprefix("test_faults_")[0].upper()
        assert {case.number[0] for case in module.CASES} == {letter}
