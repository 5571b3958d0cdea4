"""A walk in windows finds the members that a decoder finds, and refuses what a decoder refuses, wherever the windows
end."""

from __future__ import annotations

import json
import re
import tracemalloc

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.json_walk import WINDOW, Malformed, Walk
from onwards_py.wire.model_scan import BodyFlags, ScanResult, scan_any, scan_in_steps

SIZES = st.sampled_from([24, 25, 31, 64, 100, WINDOW])

space = st.sampled_from(["", "", " ", "\n\t", " " * 40])
texts = st.one_of(
    st.sampled_from([r"\ud83d", r"\ud83d\ude00", r"\"", "\\\\", "]}", "[{", ",", ":", "x" * 60, r"\n" * 30, "é", ""]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=6),
)
strings = st.lists(texts, max_size=3).map(lambda parts: f'"{"".join(parts)}"')
scalars = st.one_of(strings, st.sampled_from(["0", "-1.5e-7", "true", "false", "null", "123456789012345678901"]))


@st.composite
def containers(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """An array or an object of some of ``inner``."""
    items = draw(st.lists(inner, max_size=4))
    if draw(st.booleans()):
        return f"[{','.join(draw(space) + item + draw(space) for item in items) or draw(space)}]"
    return draw(objects(st.sampled_from(items) if items else st.just("0"), len(items)))


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str], most: int = 4) -> str:
    """An object with up to ``most`` members."""
    members = [
        f"{draw(space)}{draw(strings)}{draw(space)}:{draw(space)}{draw(inner)}{draw(space)}"
        for _ in range(draw(st.integers(0, most)))
    ]
    return f"{{{','.join(members) or draw(space)}}}"


values = st.recursive(scalars, containers, max_leaves=20)
bodies = st.builds(lambda lead, text, tail: (lead + text + tail).encode(), space, objects(values), space)


JUNK = [b"", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"0", b"1.", b"t", b"NaN", b"\x00", b"\n", b"'", b"/*"]


def found(body: bytes, window: int) -> list[tuple[bytes, int]] | None:
    """Keys and offsets of values; None if the body is refused."""
    try:
        return [member for member in Walk(body, window).members() if member is not None]
    except Malformed:
        return None


def is_object(body: bytes) -> bool:
    """Whether a strict decoder that accepts half surrogate pairs accepts the body."""
    try:
        msgspec.json.decode(
            re.sub(rb"(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F]", rb"\1\\u00", body), type=dict[str, msgspec.Raw]
        )
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


@examples(400)
@given(bodies, SIZES)
@example(b'{"a":[[0],{"b":1}],"c":{"d":[1,2,{"e":null}]}}', 24)
def test_members_are_those_of_the_standard_library(body: bytes, window: int) -> None:
    """Each key is found in order with the offset of its value, in windows of any size."""
    text = body.decode()
    decoder = json.JSONDecoder(object_pairs_hook=list)
    wanted = decoder.decode(text)
    got = found(body, window)
    assert got is not None
    for (literal, start), (key, value) in zip(got, wanted, strict=True):
        assert literal == b"" or json.loads(literal) == key
        assert decoder.raw_decode(body[start:].decode())[0] == value


@examples(600)
@given(bodies, SIZES, st.data())
def test_a_damaged_body_is_refused_as_a_decoder_refuses_it(body: bytes, window: int, data: st.DataObject) -> None:
    """Up to three bytes anywhere are junk. The verdict is that of a strict decoder, in windows of any size."""
    at = data.draw(st.integers(0, len(body)))
    junk = data.draw(st.sampled_from(JUNK))
    damaged = body[:at] + junk + body[at + data.draw(st.integers(0, 3)) :]
    assume(damaged.decode(errors="replace").encode() == damaged)  # UTF-8 is looked at elsewhere
    assert (found(damaged, window) is not None) == is_object(damaged)


@pytest.mark.parametrize("value", ["0 .5", "0 e1", "[].5", '{"b":"c"}e-1', '"b" 0'])
def test_a_number_cannot_follow_a_value_directly(value: str) -> None:
    """A window may end between the two."""
    for spaces in range(1, 60):
        padding = " " * spaces
        assert found(f'{{"x":[{padding}{value}]}}'.encode(), 24) is None
        assert found(f'{{"x":{{"y":{padding}{value}}}}}'.encode(), 24) is None


LARGE = 300_000


@pytest.mark.parametrize(
    "unit",
    [b"0,", b'"",', b"[],", b"[[[[[[[[[[[[[0]]]]]]]]]]]]],", b'{"a":{"model":"x"}},', b'"\\ud83d",', b'"\\n\\u0000",'],
    ids=bytes.decode,
)
@pytest.mark.parametrize("extra", [b"", b'"' + b"x" * 100_000 + b'",', b"[" * 300 + b"]" * 300 + b","], ids=len)
def test_large_arrays_are_walked_in_short_steps(unit: bytes, extra: bytes) -> None:
    """Members after them are found, and no step takes more than a few windows."""
    items = unit * (LARGE // len(unit))
    body = b'{"a":[' + items + extra + items + b'0],"model":"m"}'
    assert found(body, WINDOW) == [(b'"a"', 5), (b'"model"', len(body) - 4)]
    steps = sum(1 for _ in Walk(body).members())
    assert steps >= len(body) // WINDOW
    for broken in (body.replace(b"0]", b"0,]"), body.replace(b"0]", b"01]"), body[:-3], body + b"{}"):
        assert found(broken, WINDOW) is None


def test_nesting_without_end_is_refused() -> None:
    """The walk ends with a refusal, not with a crash or in quadratic time."""
    for opening in (b"[", b'{"a":'):
        assert found(b'{"a":' + opening * 100_000, WINDOW) is None
        assert found(b'{"a":["\\ud800",' + opening * 2000, WINDOW) is None


def test_a_number_longer_than_a_window_is_refused() -> None:
    """Such a number has no use and cannot be read in steps."""
    assert found(b'{"a":' + b"1" * (WINDOW + 10) + b"}", WINDOW) is None
    assert found(b'{"a":[0,' + b"1" * (WINDOW + 10) + b"]}", WINDOW) is None


def test_memory_does_not_grow_with_the_body() -> None:
    """Only pieces of one window are held."""
    body = b'{"a":[' + b'"",[],' * 500_000 + b'0],"model":"m"}'
    tracemalloc.start()
    try:
        assert found(body, WINDOW) is not None
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def in_steps(body: bytes) -> ScanResult | ErrorKind:
    steps = scan_in_steps(body)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        scanned = stop.value
        assert isinstance(scanned, ScanResult)
        return scanned
    except ProxyError as error:
        return error.kind


def at_once(body: bytes) -> ScanResult | ErrorKind:
    try:
        return scan_any(body)
    except ProxyError as error:
        return error.kind


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{}", b"[]", b'"m"', b'{"model":"m"}', b'{"a":1}', b'{"Model":"m"}', b'{"\\u004dodel":"m"}',
        b'{"model":"m","MODEL":"n"}', b'{"model":"m","model":"m"}', b'{"model":1}', b'{"model":""}',
        b'{"model":"\\ud83d"}',
        b'{"x":"\\ud83d","model":"m"}', b'{"model":"m","x":"\xff"}', b'{"model":"m"}{}', b'\xef\xbb\xbf{"model":"m"}',
        b'{"model":"m",}', b'{"model":"m","x":NaN}', b'{"model":"a\\"b\\\\"}',
        b'{"model' + b"l" * 100 + b'":1,"model":"m"}',
        '{"model":"m"}'.encode("utf-16"), '{"é":"ü","model":"größe"}'.encode(),
    ],
)  # fmt: skip
def test_in_steps_and_at_once_agree(body: bytes) -> None:
    """The rules for large bodies are those for small ones."""
    read = in_steps(body)
    assert (ScanResult(read.span, read.exact) if isinstance(read, ScanResult) else read) == at_once(body)


@pytest.mark.parametrize(
    ("body", "notes"),
    [
        (b'{"model":"m"}', BodyFlags(False, None)),
        (b'{"stream": true,"store" :false,"model":"m"}', BodyFlags(True, False)),
        (b'{"stream":false,"store":true,"x":{"stream":true}}', BodyFlags(False, True)),
        (b'{"store":null,"stream":"true"}', BodyFlags(False, None)),
    ],
)
def test_the_walk_also_finds_stream_and_store(body: bytes, notes: BodyFlags) -> None:
    """A large body is not searched again for them."""
    read = in_steps(body)
    assert isinstance(read, ScanResult)
    assert read.notes == notes
