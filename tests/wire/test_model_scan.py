"""The scan reads the model that every JSON parser would read, or refuses; the splice changes only the model."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.model_scan import MAX_MEMBERS, MAX_NAME, ModelSpan, scan, splice

PAD = b" " * 17_000
"""White space behind a body that makes it big enough for the walk."""

SMALL_AND_BIG = (b"", PAD)
"""A small body is decoded, a big one is walked; each case is read in both ways, and they must agree."""

JsonValue = object


def refusal(body: bytes) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        scan(body)
    assert caught.value.param == "model"
    return caught.value


@pytest.mark.parametrize(
    ("body", "name", "literal"),
    [
        (b'{"model":"gpt-4o"}', "gpt-4o", b'"gpt-4o"'),
        (b' \t\r\n{ "model" \n:\t"m" \r} \n', "m", b'"m"'),
        (b'{"model":"org\\/m"}', "org/m", b'"org\\/m"'),
        (b'{"mod\\u0065l":"m"}', "m", b'"m"'),
        (b'{"\\u006D\\u006f\\u0064\\u0065\\u006C":"m"}', "m", b'"m"'),
        (b'{"model":"\\u0067pt"}', "gpt", b'"\\u0067pt"'),
        (b'{"model":"a\\"b\\\\"}', 'a"b\\', b'"a\\"b\\\\"'),
        (b'{"model":"\\ud83d\\ude00"}', "\U0001f600", b'"\\ud83d\\ude00"'),
        ('{"model":"modèle"}'.encode(), "modèle", '"modèle"'.encode()),
        (b'{"metadata":{"model":"nested"},"model":"m"}', "m", b'"m"'),
        (b'{"model":"m","tools":[{"model":"nested"}]}', "m", b'"m"'),
        (b'{"text":"\\"model\\":\\"fake\\"","model":"m"}', "m", b'"m"'),
        (b'{"model":"m","text":"\\"model\\":\\"fake\\""}', "m", b'"m"'),
        (b'{"text":",\\"model\\\\\\":\\"x","model":"m"}', "m", b'"m"'),
        (b'{"a":"model","model":"model"}', "model", b'"model"'),
        (b'{"a":"model","mod\\u0065l":"m"}', "m", b'"m"'),
        (b'{"model ":"z","models":"y","model":"m","xmodel":1}', "m", b'"m"'),
        (b'{"model":"m","x":"cut \\ud83d"}', "m", b'"m"'),
        (b'{"x":["cut \\ud83d",{"\\uDE00":"\\udc00\\ud800"}],"model" : "m","y\\uDBFF":1}', "m", b'"m"'),
        (b'{"mod\\u0065l":"\\u006d","x":"\\\\\\ud83d\\u0041"}', "m", b'"\\u006d"'),
        (b'{"x":{"Model":"x"},"model":"m"}', "m", b'"m"'),
        (b'{"a":1,"a":12,"a":[1],"a":"s","model":"m","a":{}}', "m", b'"m"'),
        (b'{"a":[1,2],"a":[1,22],"model":"m"}', "m", b'"m"'),
        (b'{"seed":18446744073709551617,"t":1e999,"x":-0.0E+1,"model":"m"}', "m", b'"m"'),
        (b'{"":0,"model":"m","text":"\\u0000\\u2028"}', "m", b'"m"'),
        (b'{"model":"m","text":"\xf0\x9f\x98\x80 \xe4\xb8\xad"}', "m", b'"m"'),
    ],
)
def test_the_top_level_model_is_found(body: bytes, name: str, literal: bytes) -> None:
    """Name and span are those of the top-level member, despite escapes, white space, nesting and similar text."""
    for pad in SMALL_AND_BIG:
        span = scan(body + pad)
        assert (span.name, body[span.start : span.end]) == (name, literal)
    assert json.loads(body)["model"] == name


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","x":[{"y":1}],"mod\\u0065l":"b"}',
        b'{"mod\\u0065l":"a","model":"b"}',
        b'{"mod\\u0065l":"a","\\u006dodel":"b"}',
        b'{"model":"a","text":"' + b"x" * 20_000 + b'","model":"b"}',
        b'{"model":"a","Model":"b"}',
        b'{"MODEL":"a","model":"b"}',
        b'{"model":"a","x":1,"mODEL":null}',
        b'{"model":"a","\\u004dodel":"b"}',
        b'{"model":"a","mode\\u004C":"b"}',
        b'{"Model":"a","MODEL":"b"}',
        b'{"x":"cut \\ud83d","model":"a","model":"b"}',
        b'{"x":"cut \\ud83d","model":"a","moDel":"b"}',
    ],
)
def test_second_model_in_any_spelling_is_refused(body: bytes) -> None:
    """Parsers use the first or the last member, and Go's in any case, so the provider could read another model than
    the proxy."""
    for pad in SMALL_AND_BIG:
        error = refusal(body + pad)
        assert error.kind is ErrorKind.BAD_REQUEST
        assert "twice" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b" { } ",
        b'{"messages":[]}',
        b'{"Model":"m"}',
        b'{"\\u004dodel":"m"}',
        b'{"a":{"model":"m"}}',
        b'{"model":""}',
        b'{"model" : "" }',
    ],
)
def test_the_error_for_a_missing_or_empty_model_says_so(body: bytes) -> None:
    """The client learns that a model is required, not only that the request is invalid."""
    for pad in SMALL_AND_BIG:
        assert refusal(body + pad).kind is ErrorKind.MODEL_REQUIRED


@pytest.mark.parametrize("value", [b"null", b"1", b"-1.5e3", b"true", b"[]", b'["m"]', b"{}", b'{"model":"m"}'])
def test_model_that_is_no_string_is_refused(value: bytes) -> None:
    """A list, a null or a number is reported as the client's error."""
    for pad in SMALL_AND_BIG:
        error = refusal(b'{"model":' + value + b"}" + pad)
        assert error.kind is ErrorKind.BAD_REQUEST
        assert "string" in error.message


@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uDE00", b"\\ude00\\ud83d", b"\\ud83d\\u0041"])
def test_half_a_surrogate_pair_in_the_name_is_refused(half: bytes) -> None:
    """It is not a character, so no target can have that name."""
    assert "surrogate" in refusal(b'{"model":"m' + half + b'"}').message


@pytest.mark.parametrize("escape", [b"\\u0000", b"\\n", b"\\u001f", b"\\u007f", b"\x7f"])
def test_control_characters_in_the_name_are_refused(escape: bytes) -> None:
    """The name is used in logs, labels and lookups."""
    assert "control" in refusal(b'{"model":"a' + escape + b'b"}').message


def test_name_may_be_as_long_as_the_limit_and_no_longer() -> None:
    """The limit counts characters of the decoded name, whichever way it is found."""
    for pad in (b"", PAD):
        assert len(scan(b'{"model":"' + b"m" * MAX_NAME + b'"}' + pad).name) == MAX_NAME
        assert "longer" in refusal(b'{"model":"' + b"m" * (MAX_NAME + 1) + b'"}' + pad).message


def test_members_are_bounded() -> None:
    """MAX_MEMBERS members are accepted, one more is refused."""
    body = b'{"model":"m"' + b',"key":[0]' * (MAX_MEMBERS - 1)
    assert scan(body + b"}").name == "m"
    assert str(MAX_MEMBERS) in refusal(body + b',"key":0}').message


BAD_VALUES = [
    b"", b"01", b"+1", b".5", b"1.", b"-", b"1e", b"0x1", b"1_0", b"NaN", b"Infinity", b"-Infinity", b"True", b"nul",
    b"nullx", b"undefined", b"1 2", b"[1,]", b"[,1]", b"[1 2]", b"[1", b"[[]", b"[1}", b"{]", b'{"b":}', b'{"b"}',
    b"{b:1}", b'{"b":1,}', b"{1:1}", b"'b'", b'"\n"', b'"\x1f"', b'"\x00"', b'"\\x41"', b'"\\q"', b'"\\u12"',
    b'"\\u00zz"',
    b'"\\U0041"', b'"\\"', b'"', b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe4\xb8"',
    b'"\\ud80"', b'"\\udc00\\ud8', b'"\\ud800\\u004"', b'["\\ud800" 1]', b'["\\ud800",]', b'["\xff"]', b'"\\udbff\\u',
    b'"\\ud800\n"', b'"\\ud800\xff"', b'["\\ud800",01]', b'"\\ud800\\x"',
]  # fmt: skip

BAD_OBJECTS = [
    b"", b" ", b"\x00", b"{", b"}", b"[", b"]", b"null", b"true", b"1", b'"model"', b"[]", b'[{"model":"m"}]',
    b"model=m", b"{model:'m'}", b"{'model':'m'}", b'{model:"m"}', b'{"model"}', b'{"model":}', b'{"model" "m"}',
    b'{"model":"m"',
    b'{"model":"m', b'{"model":"m"]', b'{"model":"m",}', b'{,"model":"m"}', b'{"model":"m",,"a":1}', b'{"model":"m"}}',
    b'{"model":"m"},', b'{"model":"m"}x', b'{"model":"m"}{}', b'{"model":"m"}\x00', b'{"model":"m"}#',
    b'{"model":"m"}//',
    b'/**/{"model":"m"}', b'{"model":"m"/**/}', b'{"model"::"m"}', b'{"model":"m" "a":1}', b'{"model":"m"\x0c}',
    b'{"model":"m\t"}', b'{"model":"m\\q"}', b'{"model":"\xe9"}', b'{"model":"\\ud800"}', b'{"model":"m"}\xff',
    b'{"model":"m"}\xe4',
    b'{"model":"m","\x01":1}', b'{"model":"m","\\q":1}', b'{"model":"m","\\ud800" 1}', b'{"model":"m","\xff":1}',
    b'{"mod\xff":1}', b'{\xc2\xa0"model":"m"}', b'\xef\xbb\xbf{"model":"m"}', '{"model":"m"}'.encode("utf-16"),
    '{"model":"m"}'.encode("utf-16-le"), '{"model":"m"}'.encode("utf-32-be"),
]  # fmt: skip

NOT_JSON = [
    *BAD_OBJECTS,
    *(b'{"model":"m","a":' + value + b"}" for value in BAD_VALUES),
    *(b'{"a":' + value + b',"model":"m"}' for value in BAD_VALUES),
]


@pytest.mark.parametrize("body", NOT_JSON)
def test_invalid_json_is_refused(body: bytes) -> None:
    """The table follows the classes of JSONTestSuite. Extensions of parsers to the grammar are refused."""
    for pad in SMALL_AND_BIG:
        assert refusal(body + pad).kind is ErrorKind.BAD_REQUEST


def test_control_characters_are_refused_in_keys_and_values() -> None:
    """RFC 8259 section 7: all 32 are refused; DEL is allowed."""
    for control in (b"%c" % number for number in range(0x20)):
        for body in (b'{"a%b":1,"model":"m"}' % control, b'{"a":"%b","model":"m"}' % control):
            for pad in SMALL_AND_BIG:
                assert refusal(body + pad).kind is ErrorKind.BAD_REQUEST, body
    assert scan(b'{"a\x7f":"\x7f","model":"m"}' + PAD).name == "m"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("lead", [b'{"model":"m","a":', b'{"a":', b""])
def test_nesting_without_end_is_refused(lead: bytes, opening: bytes) -> None:
    """The recursion limit causes a refusal, not a crash."""
    assert refusal(lead + opening * 100_000).kind is ErrorKind.BAD_REQUEST


def test_nesting_that_clients_use_is_accepted() -> None:
    """A hundred levels are more than any tool schema has."""
    assert scan(b'{"a":' + b"[" * 100 + b"]" * 100 + b',"model":"m"}').name == "m"


def test_hostile_members_cost_no_memory() -> None:
    """The scan builds neither repeated members nor a large member with many values in memory."""
    body = b'{"a":[' + b"[]," * 300_000 + b'0],"a":0,"model":"m","b":"' + "é".encode() * 500_000 + b'"}'
    tracemalloc.start()
    try:
        assert scan(body).name == "m"
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


def test_invalid_utf8_is_found_anywhere_in_a_large_text() -> None:
    """The check runs in pieces: it accepts a character across two pieces and refuses an invalid one."""
    lead = b'{"model":"m","a":"'
    for size in range(64 * 1024 - len(lead) - 4, 64 * 1024 - len(lead) + 1):
        assert scan(lead + b"x" * size + "\U0001f600".encode() + b'"}').name == "m"
        assert "UTF-8" in refusal(lead + b"x" * size + b"\xf0\x9f\x98" + b'"}').message


def test_splice_replaces_only_the_literal() -> None:
    """White space, order and all other text stay unchanged."""
    body = b'{ "a":1.0 ,"model" : "org\\/m"  ,"seed":18446744073709551617}'
    assert splice(body, scan(body), b'"x"') == b'{ "a":1.0 ,"model" : "x"  ,"seed":18446744073709551617}'


# --- against an oracle made from the standard library -------------------------------------------------------

space = st.text(" \t\r\n", max_size=2)
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(
        ["model", '"model":', '\\"model":"x', "mod\\u0065l", "model ", "Model", "MODEL", "]}", "\\", '"', "", "é"]
    ),
)


@st.composite
def literals(draw: st.DrawFn, of: st.SearchStrategy[str] = texts) -> str:
    """A JSON string literal in one of its many spellings."""
    text = draw(of)
    spelled = []
    for char in text:
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        escaped = json.dumps(char, ensure_ascii=True)[1:-1]
        forced = "".join(f"\\u{unit:04x}" for unit in _utf16(char))
        spelled.append(draw(st.sampled_from([plain, plain, escaped, forced, forced.upper().replace("\\U", "\\u")])))
    return f'"{"".join(spelled)}"'


def _utf16(char: str) -> list[int]:
    units = char.encode("utf-16-be")
    return [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]


scalars = st.one_of(
    st.sampled_from(["null", "true", "false", "0", "-0", "1.50", "1E+2", "18446744073709551617", "1e999"]),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    literals(),
)


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = [draw(space) + item + draw(space) for item in draw(st.lists(inner, max_size=3))]
    return f"[{','.join(items) or draw(space)}]"


keys = literals(st.one_of(st.just("model"), texts))


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str], most: int = 3) -> str:
    members = [
        f"{draw(space)}{draw(keys)}{draw(space)}:{draw(space)}{draw(inner)}{draw(space)}"
        for _ in range(draw(st.integers(0, most)))
    ]
    return f"{{{','.join(members) or draw(space)}}}"


values = st.recursive(scalars, lambda inner: st.one_of(arrays(inner), objects(inner)), max_leaves=6)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    text = draw(space) + draw(objects(values, most=5)) + draw(space)
    return text.encode() + draw(st.sampled_from([b"", PAD]))


def top_level(body: bytes) -> list[tuple[str, JsonValue]]:
    return list(json.loads(body, object_pairs_hook=tuple))


@examples(400)
@given(bodies())
@example(b'{"model":"m","a":"\\ud83d\\ude00"}')
def test_scan_agrees_with_the_standard_library(body: bytes) -> None:
    """For any JSON object, one valid model gives its name and span; any other gives the matching refusal."""
    members = [(key, value) for key, value in top_level(body) if key.lower() == "model"]
    models = [value for _, value in members]
    usable = bool(models) and isinstance(models[0], str) and models[0] and not _has_control(models[0])
    if usable and len(models) == 1 and members[0][0] == "model":
        span = scan(body)
        assert span.name == models[0]
        assert json.loads(body[span.start : span.end]) == models[0]
        assert body[span.start : span.start + 1] == b'"' == body[span.end - 1 : span.end]
        changed = splice(body, span, b'"other"')
        assert changed[: span.start] + changed[span.start + 7 :] == body[: span.start] + body[span.end :]
        assert top_level(changed) == [(k, "other" if k == "model" else v) for k, v in top_level(body)]
    else:
        empty = not models or models[0] == "" or (usable and len(models) == 1)
        assert refusal(body).kind is (ErrorKind.MODEL_REQUIRED if empty else ErrorKind.BAD_REQUEST)


def _has_control(name: str) -> bool:
    return any(ord(char) < 0x20 or ord(char) == 0x7F for char in name)


@examples(300)
@given(st.one_of(bodies(), st.just(b'{"model":"m","a":[1,{"b":"c\\u00e9"}],"d":-1.5}')), st.data())
def test_any_bytes_give_a_span_or_a_refusal(body: bytes, data: st.DataObject) -> None:
    """A body that is damaged anywhere does not raise another error. An accepted one is what the standard library
    reads."""
    at = data.draw(st.integers(0, min(len(body), 200)))
    junk = data.draw(st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"{", b"}", b",", b":", b"\\"])))
    damaged = body[:at] + junk + body[at + data.draw(st.integers(0, 2)) :]
    try:
        span: ModelSpan | None = scan(damaged)
    except ProxyError:
        span = None
    if span is None:
        assert refusal(damaged).kind in (ErrorKind.BAD_REQUEST, ErrorKind.MODEL_REQUIRED)
    else:
        assert json.loads(damaged.decode())["model"] == span.name
