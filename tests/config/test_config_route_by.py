"""``route_by``: what it compiles to, and what is wrong with it, each with its place."""

from __future__ import annotations

import pytest
from config_helpers import error, errors, loaded, warnings

from onwards_py.model.policies import RouteBy

RULED = """\
targets:
  small: {url: "http://s"}
  big: {url: "http://b"}
  which: {url: "http://c"}
  auto:
    route_by: {classifier: which, labels: {hard: big, easy: small}, default: big}
"""
AT_RULE = "f.yaml:6:"


def changed(old: str, new: str) -> str:
    """The file with one place of it written otherwise."""
    assert RULED.count(old) == 1
    return RULED.replace(old, new)


def test_a_rule_is_compiled_as_it_is_written() -> None:
    """A target without providers; the classifier has 100 ms unless the file says otherwise."""
    pool = loaded(RULED).snapshot.pools["auto"]
    assert pool.route_by == RouteBy("which", {"hard": "big", "easy": "small"}, "big", 0.1)
    assert pool.providers == ()
    assert warnings(RULED) == []
    slower = loaded(changed("default: big", "default: big, timeout: 2s")).snapshot.pools["auto"]
    assert slower.route_by == RouteBy("which", {"hard": "big", "easy": "small"}, "big", 2.0)


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("classifier: which", "classifier: witch", "6:16: targets.auto.route_by.classifier"),
        ("hard: big", "hard: witch", "6:44: targets.auto.route_by.labels.hard"),
        ("default: big", "default: witch", "6:69: targets.auto.route_by.default"),
    ],
)
def test_a_target_that_does_not_exist_is_an_error_with_its_place(old: str, new: str, place: str) -> None:
    """Wherever a rule names one; the names that exist are listed."""
    said = error(changed(old, new))
    assert said == f"f.yaml:{place}: there is no target 'witch'; there are: 'small', 'big', 'which', 'auto'"


@pytest.mark.parametrize("old", ["classifier: which", "hard: big", "default: big"])
def test_a_rule_cannot_lead_to_itself(old: str) -> None:
    """The shortest circle, by any of the names."""
    said = error(changed(old, old.partition(":")[0] + ": auto"))
    assert said.startswith(AT_RULE)
    assert said.endswith("the target 'auto' has a 'route_by' itself; name a target with providers")


def test_rules_cannot_lead_to_each_other() -> None:
    """A longer circle: both ways are errors, each at its place."""
    other = "  other: {route_by: {classifier: which, labels: {hard: auto}, default: big}}\n"
    assert errors(changed("easy: small", "easy: other") + other) == [
        "f.yaml:6:55: targets.auto.route_by.labels.easy: "
        "the target 'other' has a 'route_by' itself; name a target with providers",
        "f.yaml:7:50: targets.other.route_by.labels.hard: "
        "the target 'auto' has a 'route_by' itself; name a target with providers",
    ]


@pytest.mark.parametrize(
    "line", ["url: http://x", "local: {engine: echo}", "providers: [{url: http://x}]", "weight: 2", "name: x"]
)
def test_nothing_that_would_answer_may_stand_beside_a_rule(line: str) -> None:
    """The error is at the word that has no meaning there."""
    said = error(changed("    route_by", f"    {line}\n    route_by"))
    name = line.partition(":")[0]
    assert (
        said == f"f.yaml:6:5: targets.auto.{name}: is not allowed beside 'route_by': another target serves the requests"
    )


@pytest.mark.parametrize("name", ["classifier", "labels", "default"])
def test_what_a_rule_needs_is_asked_for(name: str) -> None:
    """Each of the three has no default."""
    parts = {"classifier": "classifier: which", "labels": "labels: {hard: big}", "default": "default: big"}
    rule = ", ".join(text for part, text in parts.items() if part != name)
    text = changed("classifier: which, labels: {hard: big, easy: small}, default: big", rule)
    assert f"f.yaml:6:5: targets.auto.route_by: '{name}' is missing" in errors(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("default: big", "default: big, timeout: 0", "6:92: targets.auto.route_by.timeout: must be longer than zero"),
        ("default: big", "default: big, timeout: soon", "6:92: targets.auto.route_by.timeout: expected a duration"),
        ("{hard: big, easy: small}", "[big]", "6:43: targets.auto.route_by.labels: expected a mapping, found a list"),
        ("default: big", "default: big, otherwise: x", "6:83: targets.auto.route_by: unknown key 'otherwise'"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(old: str, new: str, said: str) -> None:
    """Durations, kinds and unknown keys as everywhere in the file."""
    assert any(line.startswith(f"f.yaml:{said}") for line in errors(changed(old, new)))


def test_a_broken_rule_is_one_error_and_not_two() -> None:
    """Who wrote a rule does not want to be told that there is no url."""
    assert error(changed(", default: big", "")).endswith("'default' is missing")
