"""A setting is declared once: keys, bounds, descriptions, compiled values and inheritance follow from the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec.inspect as mi
import pytest
from config_helpers import NOTHING

from onwards_py.config.decode import Decoder
from onwards_py.config.diagnostics import Diagnostics
from onwards_py.config.inherit import inherit
from onwards_py.config.json_schema import schema_of
from onwards_py.config.references import Env
from onwards_py.config.setting_shapes import build, build_if_enabled, explicit, keys_of, settings_of, shape_class
from onwards_py.config.shape import Settings, Shape, Toggleable
from onwards_py.config.yaml_tree import read
from onwards_py.setting import Setting, ValueKind


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    """A group in a group."""

    merged_by_key: ClassVar = True

    after: Annotated[float, Setting("Needed where it is on.", ValueKind.TIMEOUT)]
    ratio: Annotated[float, Setting("A share.", ge=0, le=1)] = 0.5


@dataclass(frozen=True, slots=True)
class Group:
    """What editors show.

    What only readers of the code need.
    """

    must: Annotated[str, Setting("Required.")]
    colour: Annotated[Colour, Setting("One of two.")] = Colour.RED
    wait: Annotated[float, Setting("Short.", ValueKind.TIMEOUT)] = 0.1
    delay: Annotated[float, Setting("None.", ValueKind.DURATION)] = 0.0
    grace: Annotated[float, Setting("Another unit.", ValueKind.MILLISECONDS, key="grace_ms")] = 1.5
    size: Annotated[int, Setting("Bytes.", ValueKind.SIZE)] = 8 * 1024 * 1024
    odd: Annotated[int, Setting("Bytes.", ValueKind.SIZE)] = 1000
    count: Annotated[int | None, Setting("Many; 0: never.", ge=0, zero_is_none=True)] = 5
    most: Annotated[int | None, Setting("At most.", ge=1, default="no bound")] = None
    words: Annotated[tuple[str, ...], Setting("Some.", choices=("a", "b"))] = ()
    names: Annotated[frozenset[str], Setting("Any.")] = frozenset()
    extra: Annotated[Mapping[str, object], Setting("JSON.")] = field(default_factory=dict)
    labels: Annotated[Mapping[str, str], Setting("Text.")] = field(default_factory=dict)
    mode: Annotated[Literal["x", "y"], Setting("A word.")] = "x"
    on: Annotated[bool, Setting("A switch.")] = False
    inner: Annotated[Inner | None, Setting("May be off.")] = None
    computed: int = 7


@dataclass(frozen=True, slots=True)
class Flat:
    """Keys among those of a shape."""

    share: Annotated[float, Setting("A share.", ge=0, le=1)] = 0.5
    often: Annotated[int, Setting("A count.", ge=0)] = 1


class Holder(Shape, frozen=True, kw_only=True):
    """A mapping that has the keys of a group among its own, and two groups of their own."""

    flattened: ClassVar[tuple[type, ...]] = (Flat,)

    own: str | None = None
    group: Settings[Group] | None = None
    inner: Toggleable[Inner] | None = None


def decoded(text: str) -> tuple[Holder | None, list[str]]:
    diagnostics = Diagnostics("f.yaml")
    node = read(text, diagnostics)
    assert node is not None
    decoder = Decoder(diagnostics, Env(NOTHING, Path()))
    holder = decoder.mapping(node, Holder)
    return holder, [str(problem) for problem in diagnostics.errors]


def group(text: str) -> Group:
    holder, errors = decoded(f"group: {{must: m, {text}}}")
    assert errors == []
    assert holder is not None
    assert holder.group is not None
    return build(holder.group)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("colour: blue", "colour", Colour.BLUE),
        ("wait: 2m", "wait", 120.0),
        ("grace_ms: 250", "grace", 0.25),
        ("size: 1KiB", "size", 1024),
        ("count: 0", "count", None),
        ("count: 3", "count", 3),
        ("words: [b, a]", "words", ("b", "a")),
        ("names: [z]", "names", frozenset({"z"})),
        ("extra: {a: [1, null]}", "extra", {"a": [1, None]}),
        ("labels: {a: 1}", "labels", {"a": "1"}),
        ("mode: y", "mode", "y"),
        ("on: yes", "on", True),
        ("inner: {after: 1s}", "inner", Inner(1.0)),
        ("inner: {enabled: false}", "inner", None),
        ("wait: null", "wait", 0.1),
    ],
)
def test_a_key_becomes_the_value_of_its_field(text: str, name: str, value: object) -> None:
    found = getattr(group(text), name)
    assert found == value
    assert type(found) is type(value) or isinstance(value, dict)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("group: {}", "f.yaml:1:1: group: 'must' is missing"),
        ("group: {must: m, colours: red}", "f.yaml:1:18: group: unknown key 'colours'; did you mean 'colour'?"),
        ("group: {must: m, computed: 1}", "f.yaml:1:18: group: unknown key 'computed'; did you mean 'count'?"),
        ("group: {must: m, most: 0}", "f.yaml:1:24: group.most: must be at least 1"),
        ("group: {must: m, count: 9007199254740993}", "f.yaml:1:25: group.count: must be at most 9007199254740992"),
        ("group: {must: m, words: [c]}", "f.yaml:1:26: group.words[0]: expected one of a, b"),
        ("group: {must: m, inner: {ratio: 2}}", "f.yaml:1:33: group.inner.ratio: must be at most 1"),
        ("share: -1", "f.yaml:1:8: share: must be at least 0"),
    ],
)
def test_what_a_field_cannot_hold_is_an_error_at_its_place(text: str, error: str) -> None:
    assert decoded(text)[1] == [error]


def test_only_explicit_values_are_given() -> None:
    holder, _ = decoded("{group: {must: m, wait: 100ms}, share: 0.1}")
    assert holder is not None
    assert explicit(holder.group) == {"must": "m", "wait": 0.1}
    assert explicit(holder) == explicit(holder, Flat) == {"share": 0.1}
    assert explicit(None) == {}
    assert keys_of(Inner) == ["after", "ratio"]


def test_a_group_that_is_merged_by_key_inherits_the_keys_that_it_does_not_set() -> None:
    own, _ = decoded("{inner: {ratio: 0.1}, group: {must: own}}")
    base, _ = decoded("{inner: {after: 2s, ratio: 0.9}, group: {must: base, on: true}, share: 0.2}")
    assert own is not None
    assert base is not None
    merged = inherit(own, base)
    assert build_if_enabled(merged.inner) == Inner(2.0, 0.1)
    assert merged.group is not None
    assert build(merged.group) == Group("own")
    assert explicit(merged) == {"share": 0.2}


def test_a_group_that_is_switched_off_is_none() -> None:
    for text in ("inner: {enabled: false}", "inner: {enabled: false, after: 1s}", "own: x"):
        holder, errors = decoded(text)
        assert errors == []
        assert holder is not None
        assert build_if_enabled(holder.inner) is None


def test_fields_that_are_no_settings_come_from_elsewhere() -> None:
    holder, _ = decoded("group: {must: m}")
    assert holder is not None
    assert holder.group is not None
    assert build(holder.group, computed=8) == Group("m", computed=8)
    assert explicit(settings_of(Flat)) == {}


def test_the_default_of_the_field_ends_its_description() -> None:
    described = {}
    for one in mi.type_info(shape_class(Settings[Group])).fields:  # type: ignore[attr-defined]
        assert isinstance(one.type, mi.Metadata)
        described[one.name] = (one.type.extra_json_schema or {})["description"]
    assert described == {
        "must": "Required.",
        "colour": "One of two. Default: red.",
        "wait": "Short. Default: 100ms.",
        "delay": "None. Default: 0.",
        "grace_ms": "Another unit. Default: 1500.",
        "size": "Bytes. Default: 8MiB.",
        "odd": "Bytes. Default: 1000B.",
        "count": "Many; 0: never. Default: 5.",
        "most": "At most. Default: no bound.",
        "words": "Some.",
        "names": "Any.",
        "extra": "JSON.",
        "labels": "Text.",
        "mode": "A word. Default: x.",
        "on": "A switch. Default: false.",
        "inner": "May be off.",
    }


def test_the_schema_describes_the_group_by_the_first_paragraph() -> None:
    definitions = schema_of(Holder)["definitions"]
    assert isinstance(definitions, dict)
    assert definitions["Group"]["description"] == "What editors show."
    assert definitions["Group"]["required"] == ["must"]
    assert set(definitions["Inner"]["properties"]) == {"enabled", "after", "ratio"}
    assert set(definitions["Inner"].get("required", [])) == set()
