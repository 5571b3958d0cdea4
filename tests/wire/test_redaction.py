"""Redaction of a credential: every spelling, however the bytes are split, and no other bytes."""

from __future__ import annotations

import base64
import html
import itertools
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onwards_py.messages import Ending
from onwards_py.wire.redaction import Redaction, Redactor, compile_redaction

KEY = 'sk-a/b+c="<1>'
PAIR = base64.b64encode(b"user:pass/word").decode()
SPELLINGS = {
    "raw": KEY,
    "in JSON": json.dumps(KEY),
    "in JSON of PHP": json.dumps(KEY).replace("/", "\\/"),
    "in JSON of Go": 'sk-a/b+c=\\"\\u003c1\\u003e',
    "in JSON of .NET": "sk-a/b\\u002Bc=\\u0022\\u003C1\\u003E",
    "in JSON of Gson": 'sk-a/b+c\\u003d\\"\\u003c1\\u003e',
    "in JSON with all characters escaped": "sk-a\\u002fb\\u002bc\\u003d\\u0022\\u003c1\\u003e",
    "in a form": quote_plus(KEY),
    "in HTML, as numbers": html.escape(KEY).replace("&quot;", "&#34;"),
    "in JSON in JSON": json.dumps(json.dumps(KEY)),
    "in a URL": quote(KEY, safe=""),
    "in a path": quote(KEY),
    "in a URL, lower case": "sk-a%2fb%2bc%3d%22%3c1%3e",
    "in HTML": html.escape(KEY),
    "behind its scheme": f"Bearer {KEY}",
}


def redactor(prefix: str, key: str) -> Redaction:
    redaction = compile_redaction(prefix, key)
    assert redaction is not None
    return redaction


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_is_redacted_and_lengths_stay(spelling: str) -> None:
    said = f"before {SPELLINGS[spelling]} behind".encode()
    blanked = redactor("Bearer ", KEY).redact(said)
    assert len(blanked) == len(said)
    assert blanked.startswith(b"before ")
    assert blanked.endswith(b" behind")
    assert b"sk-a" not in blanked
    assert b"1" not in blanked


@pytest.mark.parametrize(("prefix", "key"), [("Basic ", PAIR), ("", f"Basic {PAIR}")])
@pytest.mark.parametrize("said", [PAIR, "user:pass/word", "pass/word", "pass\\/word"])
def test_the_pair_and_the_password_of_basic_are_redacted(prefix: str, key: str, said: str) -> None:
    """RFC 7617: the sent value is base64; its decoded parts are redacted, too."""
    assert redactor(prefix, key).redact(said.encode()).strip(b"*") == b""


@pytest.mark.parametrize("prefix", ["", "Bearer "])
@pytest.mark.parametrize("key", ["", "x", "none", "EMPTY"])
def test_a_placeholder_is_not_redacted(prefix: str, key: str) -> None:
    """It is an ordinary word, and so may be the prefix before it."""
    said = b'none EMPTY x Bearer realm="x"'
    redaction = compile_redaction(prefix, key)
    assert redaction is None or redaction.redact(said) == said


def test_secrets_have_at_least_six_bytes() -> None:
    """Shorter values occur in ordinary words."""
    assert redactor("", "abcdef").redact(b"abcdef") == b"******"
    assert compile_redaction("", "abcde") is None
    assert redactor("Bearer ", "abcde").redact(b"abcde Bearer abcde") == b"abcde ************"


PARTS = st.sampled_from(
    [KEY, quote(KEY, safe=""), "sk-", "sk-sk-a", KEY[:-1], "pass/word", PAIR, "\\/", " x ", KEY[1:]]
)
BODY = st.lists(PARTS, max_size=12).map(lambda parts: "".join(parts).encode())


@given(BODY, st.lists(st.integers(0, 300), max_size=12), st.sampled_from([("Bearer ", KEY), ("Basic ", PAIR)]))
def test_redaction_does_not_depend_on_the_reads(body: bytes, places: list[int], credential: tuple[str, str]) -> None:
    redaction = redactor(*credential)
    bounds = sorted({0, len(body), *(place % (len(body) + 1) for place in places)})
    filter_ = Redactor(redaction)
    out = b"".join(filter_.feed(body[a:b]) for a, b in itertools.pairwise(bounds)) + filter_.finish(Ending.DONE)
    assert out == redaction.redact(body)


def test_a_cut_body_does_not_end_with_part_of_a_secret() -> None:
    filter_ = Redactor(redactor("Bearer ", KEY))
    assert filter_.feed(b"your key " + KEY[:-1].encode()) == b"your key "
    assert filter_.finish(Ending.EOF) == b""


def test_bytes_that_cannot_begin_a_secret_pass_at_once() -> None:
    filter_ = Redactor(redactor("Bearer ", KEY))
    assert filter_.feed(b"data: sk-\n\n") == b"data: sk-\n\n"
