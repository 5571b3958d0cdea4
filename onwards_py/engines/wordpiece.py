"""The tokenizer of BERT: clean the text, split it at spaces and punctuation, then match the longest known pieces.

Pure. llama.cpp also has such a tokenizer, but it treats Hangul, spacing marks and very long words differently from the
one with which the models were trained. The rules are those of the ``BertNormalizer``, ``BertPreTokenizer`` and
``WordPiece`` of a ``tokenizer.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final
from unicodedata import category, normalize

import msgspec

_SPACE: Final = re.compile("[ \t\n\r\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
# Each ideograph is a word: the Unicode blocks in BERT's tokenizer, without kana and Hangul.
_IDEOGRAPH: Final = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f])"
)
# Without Cn: code points that are unassigned in one version of Unicode are letters in the next.
_CONTROLS: Final = frozenset({"Cc", "Cf", "Co", "Cs"})
_UNKNOWN, _BEGIN, _END, _PADDING, _MASK = "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"


class UnsupportedTokenizer(Exception):
    """An unsupported tokenizer. The text names the unsupported feature."""


class _Normalizer(msgspec.Struct):
    type: str
    clean_text: bool = True
    handle_chinese_chars: bool = True
    strip_accents: bool | None = None
    lowercase: bool = True


class _Typed(msgspec.Struct):
    type: str


class _Model(msgspec.Struct):
    type: str = "WordPiece"  # missing in old files


class _Outline(msgspec.Struct):
    model: _Model


class _Pieces(msgspec.Struct):
    vocab: dict[str, int]
    unk_token: str = _UNKNOWN
    continuing_subword_prefix: str = "##"
    max_input_chars_per_word: int = 100


class _Added(msgspec.Struct):
    id: int
    content: str
    special: bool


class _File(msgspec.Struct):
    model: _Pieces
    normalizer: _Normalizer | None = None
    pre_tokenizer: _Typed | None = None
    added_tokens: list[_Added] = []


class Specials(msgspec.Struct, frozen=True):
    """Ids of the special tokens."""

    begin: int
    end: int
    unknown: int
    padding: int
    mask: int


class WordPiece:
    """The tokenizer of one model. ``vocabulary`` holds all tokens in the order of their ids."""

    def __init__(self, file: _File) -> None:
        self._ids = file.model.vocab
        self._normalizer = file.normalizer or _Normalizer("BertNormalizer")
        self._prefix = file.model.continuing_subword_prefix
        self._longest_word = file.model.max_input_chars_per_word
        self.vocabulary = _in_order(self._ids)
        self.specials = Specials(*(self._ids[name] for name in (_BEGIN, _END, _UNKNOWN, _PADDING, _MASK)))
        self._added = {token.content: token.id for token in file.added_tokens if token.special}
        names = "|".join(re.escape(name) for name in self._added)
        self._split = re.compile(f"({names})") if names else None
        self._longest_piece = max(map(len, self._ids))
        self._word = lru_cache(maxsize=16384)(self._pieces)

    @classmethod
    def read(cls, raw: bytes) -> WordPiece:
        """From the bytes of a ``tokenizer.json``. Raises `UnsupportedTokenizer`."""
        try:
            kind = msgspec.json.decode(raw, type=_Outline).model.type
            if kind != "WordPiece":
                raise UnsupportedTokenizer(f"a tokenizer of the kind {kind}")
            file = msgspec.json.decode(raw, type=_File)
        except msgspec.MsgspecError:
            raise UnsupportedTokenizer("a tokenizer.json that cannot be understood") from None
        if file.normalizer is not None and file.normalizer.type != "BertNormalizer":
            raise UnsupportedTokenizer(f"the normalizer {file.normalizer.type}")
        if file.pre_tokenizer is not None and file.pre_tokenizer.type != "BertPreTokenizer":
            raise UnsupportedTokenizer(f"the pre-tokenizer {file.pre_tokenizer.type}")
        if absent := {_BEGIN, _END, _UNKNOWN, _PADDING, _MASK} - file.model.vocab.keys():
            raise UnsupportedTokenizer(f"a vocabulary without {min(absent)}")
        return cls(file)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, between the tokens that begin and end every input. Names of special tokens become these."""
        ids = [self.specials.begin]
        for part in self._split.split(text) if self._split is not None else (text,):
            special = self._added.get(part)
            if special is not None:
                ids.append(special)
                continue
            for word in _SPACE.split(part):
                for token in self._tokens(word):
                    ids.extend(self._word(token))
        ids.append(self.specials.end)
        return ids

    def _tokens(self, word: str) -> Iterator[str]:
        """The parts of a word without spaces: cleaned, and split before and after every punctuation mark."""
        if word.isascii() and word.isalnum():
            if word:
                yield word.lower() if self._normalizer.lowercase else word
            return
        for part in self._clean(word).split(" "):
            start = 0
            for index, char in enumerate(part):
                if _is_punctuation(char):
                    if start < index:
                        yield part[start:index]
                    yield char
                    start = index + 1
            if start < len(part):
                yield part[start:]

    def _clean(self, word: str) -> str:
        rules = self._normalizer
        if rules.clean_text:
            word = "".join(char for char in word if not _is_noise(char))
        if rules.handle_chinese_chars:
            word = _IDEOGRAPH.sub(r" \1 ", word)
        if rules.lowercase if rules.strip_accents is None else rules.strip_accents:
            word = "".join(char for char in normalize("NFD", word) if category(char) != "Mn")
        # str.lower() would convert a sigma at the end of a word to its final form.
        return word.replace("Σ", "σ").lower() if rules.lowercase else word

    def _pieces(self, token: str) -> tuple[int, ...]:
        if len(token) > self._longest_word:
            return (self.specials.unknown,)
        ids = []
        start, prefix = 0, ""
        while start < len(token):
            longest = min(len(token), start + self._longest_piece)
            end = next((end for end in range(longest, start, -1) if prefix + token[start:end] in self._ids), None)
            if end is None:
                return (self.specials.unknown,)
            ids.append(self._ids[prefix + token[start:end]])
            start, prefix = end, self._prefix
        return tuple(ids)


def _in_order(ids: Mapping[str, int]) -> list[str]:
    if sorted(ids.values()) != list(range(len(ids))):
        raise UnsupportedTokenizer("a vocabulary with gaps")
    return sorted(ids, key=ids.__getitem__)


def _is_noise(char: str) -> bool:
    return char == "\ufffd" or category(char) in _CONTROLS


@lru_cache(maxsize=4096)
def _is_punctuation(char: str) -> bool:
    return (char.isascii() and char.isprintable() and not char.isalnum() and char != " ") or category(char)[0] == "P"
