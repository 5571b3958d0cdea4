"""``<think>`` inside the content is told from the answer, however the stream is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.transcode.chat.think_tags import ThinkSplitter
from onwards_py.transcode.neutral.quirks import Think

ALPHABET = st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "think>", "\n", " ", "a", "é"]), max_size=12)


def split(pieces: list[str], think: Think = Think.TAGGED) -> tuple[str, str]:
    """Reasoning and answer, each joined."""
    splitter = ThinkSplitter(think)
    out = [piece for text in pieces for piece in splitter.feed(text)] + splitter.finish()
    assert all(piece.text for piece in out)
    return "".join(p.text for p in out if p.reasoning), "".join(p.text for p in out if not p.reasoning)


@pytest.mark.parametrize(
    ("think", "content", "reasoning", "answer"),
    [
        (Think.TAGGED, "<think>\nhm\n</think>\n\nyes", "hm\n", "yes"),
        (Think.TAGGED, "\n<think>hm</think>yes", "hm", "yes"),
        (Think.TAGGED, "the tag <think> opens, </think> closes", "", "the tag <think> opens, </think> closes"),
        (Think.TAGGED, '{"a": "<think>x</think>"}', "", '{"a": "<think>x</think>"}'),
        (Think.TAGGED, "<think>never closed </thin", "never closed </thin", ""),
        (Think.TAGGED, "<think></think>yes </think>", "", "yes </think>"),
        (Think.TAGGED, "<thi", "", "<thi"),
        (Think.TAGGED, " \n", "", " \n"),
        (Think.PREFILLED, "hm</think>\nyes", "hm", "yes"),
        (Think.PREFILLED, "<think>hm</think>\nyes", "hm", "yes"),
        (Think.PREFILLED, "<th", "<th", ""),
        (Think.OFF, "<think>hm</think>", "", "<think>hm</think>"),
    ],
)
def test_H1_only_tags_at_the_start_of_the_content_are_markup(
    think: Think, content: str, reasoning: str, answer: str
) -> None:
    """H1: prefilled open tag, literal tags in prose and JSON, unclosed at the end."""
    assert split([content], think) == (reasoning, answer)
    assert split(list(content), think) == (reasoning, answer)


@given(ALPHABET, st.lists(st.integers(0, 80), max_size=8), st.sampled_from(Think))
def test_H1_the_cut_does_not_matter(tokens: list[str], places: list[int], think: Think) -> None:
    text = "".join(tokens)
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    cut = [text[a:b] for a, b in itertools.pairwise(bounds)]
    assert split(cut, think) == split([text], think)


def test_H1_what_cannot_be_a_tag_any_more_leaves_at_once() -> None:
    splitter = ThinkSplitter(Think.TAGGED)
    assert [piece.text for text in ("<think>a", "b<", "/c", "</think>", "d", "e") for piece in splitter.feed(text)] == [
        "a",
        "b",
        "</c",
        "d",
        "e",
    ]
