"""The free text of a custom tool comes out of its JSON arguments whole, however they are cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.transcode.chat.custom_input import CustomInput


def unwrap(pieces: list[str]) -> tuple[str, bool]:
    core = CustomInput()
    text = "".join([core.feed(piece) for piece in pieces])
    return text + core.finish(), core.broken


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"a\\nb\\t\\"c\\" \\\\ \\/ \\u00e9 \\ud83d\\ude00"}', 'a\nb\t"c" \\ / é 😀'),
        (' { "input" : "x" } ', "x"),
        ('{"input":"lone \\ud83d!"}', "lone \ufffd!"),
        ('{"input":"x","why":"y"}', "x"),
        ('{"patch":"*** Begin Patch"}', "*** Begin Patch"),
        ('{"command":["apply_patch","*** Begin Patch"]}', "*** Begin Patch"),
        ('{"anything":"x"}', "x"),
        ('"*** Begin Patch"', "*** Begin Patch"),
        ("*** Begin Patch\n*** End Patch\n", "*** Begin Patch\n*** End Patch\n"),
        ("```diff\n*** Begin Patch\n*** End Patch\n```", "*** Begin Patch\n*** End Patch"),
        ("{}", ""),
        ("", ""),
    ],
)
def test_E4_every_shape_that_models_give_the_text_is_understood(arguments: str, text: str) -> None:
    """E4, E5: {input}, {patch}, {command:[..]}, fences, raw text; escapes cut in the middle."""
    assert unwrap([arguments]) == (text, False)
    assert unwrap(list(arguments)) == (text, False)


@given(st.text(), st.booleans(), st.lists(st.integers(0, 500), max_size=8))
def test_E5_escapes_split_across_chunks_come_out_as_the_string_they_stand_for(
    text: str, ascii_: bool, places: list[int]
) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_)
    bounds = sorted({0, len(arguments), *(place % (len(arguments) + 1) for place in places)})
    assert unwrap([arguments[a:b] for a, b in itertools.pairwise(bounds)]) == (text, False)


@given(st.text(alphabet='{}"inputx: \\u0d8c3\n`[],'), st.lists(st.integers(0, 500), max_size=8))
def test_any_arguments_give_the_same_text_however_they_are_cut(arguments: str, places: list[int]) -> None:
    bounds = sorted({0, len(arguments), *(place % (len(arguments) + 1) for place in places)})
    assert unwrap([arguments[a:b] for a, b in itertools.pairwise(bounds)]) == unwrap([arguments])


def test_E5_the_text_streams_as_it_comes() -> None:
    core = CustomInput()
    assert [core.feed(piece) for piece in ('{"inp', 'ut":"a', "b\\", 'nc"', "}")] == ["", "a", "b", "\nc", ""]


@pytest.mark.parametrize("cut", ['{"input":"ab', '{"inp', '{"patch":"ab'])
def test_B9_arguments_that_were_cut_are_told_as_broken(cut: str) -> None:
    assert unwrap([cut])[1]
