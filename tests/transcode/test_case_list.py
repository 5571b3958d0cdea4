"""Each known case of the Responses API has a test that names it, or a reason in tests/data/responses_cases.yaml.

A test names a case by its id: within the tests of translation in its name, its docstring or the ids of its parameters
(``A14``, ``A1-A3``); elsewhere, where other lists use the same letters, by "Responses case G9" in its docstring.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import yaml

TESTS = Path(__file__).parents[1]
LIST = TESTS / "data" / "responses_cases.yaml"
LAST = {"A": 41, "B": 16, "C": 9, "D": 27, "E": 12, "F": 16, "G": 26, "H": 3, "I": 10, "J": 4, "K": 4, "L": 3}
CASES = [f"{group}{number}" for group, last in LAST.items() for number in range(1, last + 1)]
OF_TRANSLATION = re.compile(
    r"(transcode|sdk)/|wire/test_sse\.py|scenarios/test_(translate_|chat_over_responses|responses_helpers)"
)
IN_A_NAME = re.compile(r"(?<=_)[A-La-l]\d{1,2}(?=_|$)")
IN_WORDS = re.compile(r"(?<![\w.-])([A-L])(\d{1,2})(?:-[A-L]?(\d{1,2}))?(?!\w)")
ELSEWHERE = re.compile(r"Responses cases? ((?:[A-L]\d{1,2}(?:, | and )?)+)")


def in_words(text: str) -> set[str]:
    """The ids in a text, with those between the ends of a range."""
    found = IN_WORDS.findall(text)
    return {f"{group}{one}" for group, first, last in found for one in range(int(first), int(last or first) + 1)}


def named_by(test: ast.FunctionDef | ast.AsyncFunctionDef, *, of_translation: bool) -> set[str]:
    """The ids of the cases that a test names."""
    words = " ".join((ast.get_docstring(test) or "").split())
    if not of_translation:
        return in_words(" ".join(ELSEWHERE.findall(words)))
    labels = [
        part.value
        for decorator in test.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
        if keyword.arg == "ids"
        for part in ast.walk(keyword.value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return {name.upper() for name in IN_A_NAME.findall(test.name)} | in_words(" ".join([words, *labels]))


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The test functions of a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


@cache
def carriers() -> Mapping[str, frozenset[str]]:
    """The tests that name each case, as ``path::name``, the path below tests/."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        place = path.relative_to(TESTS).as_posix()
        if path == Path(__file__):
            continue
        for test in functions_of(path):
            for case in named_by(test, of_translation=OF_TRANSLATION.match(place) is not None):
                found[case].add(f"{place}::{test.name}")
    return {case: frozenset(tests) for case, tests in found.items()}


@cache
def listed() -> Mapping[str, Mapping[str, object]]:
    """The list: of each case what it is ``about``, and its ``tests`` or the ``reason`` why there are none.

    With tests may stand what they leave ``open``, and what is ``decided`` against the case's words.
    """
    cases: dict[str, dict[str, object]] = yaml.safe_load(LIST.read_text())
    return cases


def listed_tests(case: str) -> frozenset[str]:
    tests = listed()[case].get("tests", [])
    assert isinstance(tests, list)
    return frozenset(tests)


def test_every_case_is_listed_once_and_in_order() -> None:
    """None is missing, none is invented; YAML would let a later entry replace an earlier one."""
    assert list(listed()) == CASES
    assert re.findall(r"^(\w+):$", LIST.read_text(), re.MULTILINE) == CASES


def test_every_case_has_tests_or_a_reason() -> None:
    """One of both, not empty. ``open`` tells what the tests leave out, ``decided`` what is otherwise than the case
    asks for, and why; both need tests.
    """
    for case, entry in listed().items():
        assert entry.get("about"), case
        assert bool(entry.get("tests")) != bool(entry.get("reason")), case
        assert entry.keys() <= ({"about", "tests", "open", "decided"} if "tests" in entry else {"about", "reason"}), (
            case
        )


def test_the_listed_tests_exist_and_name_their_case() -> None:
    """A test that was renamed or removed leaves its case without cover, which must be seen."""
    for case in CASES:
        assert listed_tests(case) <= carriers().get(case, frozenset()), case


def test_every_id_that_a_test_names_is_listed() -> None:
    """An id that stands in no list would tell a reader nothing."""
    unlisted = {case: sorted(tests) for case, tests in carriers().items() if case not in listed()}
    assert unlisted == {}


def test_no_case_with_a_test_is_listed_as_missing() -> None:
    """Whoever writes the test of a case strikes the reason out."""
    tested = {case for case in carriers() if case in listed()}
    assert sorted(case for case in tested if "reason" in listed()[case]) == []


def test_ids_are_found_where_tests_carry_them() -> None:
    """In names, docstrings, ranges and parameter ids; in tests of other rooms only where the list is named."""
    (test,) = ast.parse('@mark(ids=["A2", "x"])\ndef test_B3_and_c4_b36x(): "D1-D3. Responses cases E5 and E6."').body
    assert isinstance(test, ast.FunctionDef)
    assert named_by(test, of_translation=True) == {"A2", "B3", "C4", "D1", "D2", "D3", "E5", "E6"}
    assert named_by(test, of_translation=False) == {"E5", "E6"}
