"""The model of a form is found in any place; a form that could be read in two ways is refused."""

from __future__ import annotations

import email
import email.policy
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.model_scan import ModelSpan, splice
from onwards_py.wire.multipart import MAX_FIELDS, MAX_PART_HEAD, MAX_PARTS, MAX_VALUE, scan_form

TYPE = b"multipart/form-data; boundary=b"
MODEL = b'Content-Disposition: form-data; name="model"\r\n\r\nwhisper-1'
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: x/y\r\n\r\nRIFF\r\n\x00\xff\n'
FIELD = b'Content-Disposition: form-data; name="language"\r\n\r\nen'


def form(*parts: bytes, boundary: bytes = b"b", end: bytes = b"\r\n") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--" + end


def named(disposition: bytes, value: bytes = b"m", more: bytes = b"") -> bytes:
    return b"Content-Disposition: " + disposition + b"\r\n" + more + b"\r\n" + value


def model_of(content_type: bytes, body: bytes) -> ModelSpan:
    """The span of the field that a form must have."""
    steps = scan_form(content_type, body)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value.require_span()  # type: ignore[no-any-return]


def refusal(body: bytes, content_type: bytes = TYPE) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        model_of(content_type, body)
    assert caught.value.param == "model"
    return caught.value


@pytest.mark.parametrize(
    "parts", [(MODEL,), (MODEL, FILE), (FILE, MODEL), (FILE, FIELD, MODEL), (FIELD, MODEL, FILE, FILE)], ids=len
)
@pytest.mark.parametrize("end", [b"\r\n", b"", b"\r\n\r\n"])
@pytest.mark.parametrize("lead", [b"", b"\r\n"])
def test_model_part_is_found_anywhere(parts: tuple[bytes, ...], end: bytes, lead: bytes) -> None:
    """It may be before or after files. The span is the bare value, and a splice changes nothing else."""
    body = lead + form(*parts, end=end)
    span = model_of(TYPE, body)
    assert (span.name, body[span.start : span.end]) == ("whisper-1", b"whisper-1")
    renamed = tuple(part.replace(b"whisper-1", "größer".encode()) for part in parts)
    assert splice(body, span, "größer".encode()) == lead + form(*renamed, end=end)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Disposition: form-data; name=model",
        b'content-disposition:form-data;name="model"',
        b'CONTENT-DISPOSITION:\tForm-Data ; NAME = "model" ;',
        b'Content-Disposition: form-data; x="; name=y"; name="model"',
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; x=1; name=model",
        b'Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: 8BIT\r\nX-Empty:',
    ],
)
def test_part_headers_are_read_as_the_standards_say(head: bytes) -> None:
    """Names are in any case, values quoted or not, parameters and fields in any order."""
    assert model_of(TYPE, form(FILE, head + b"\r\n\r\nm")).name == "m"


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=b", b"b"),
        (b'Multipart/Form-Data;charset=utf-8; Boundary="b"', b"b"),
        (b'multipart/form-data; boundary="a b:c/d?e=f\'(g)+_,-."; x=y', b"a b:c/d?e=f'(g)+_,-."),
        (b"multipart/form-data; boundary=----=_Part_0/1:2", b"----=_Part_0/1:2"),
        (b"multipart/form-data; boundary=" + b"x" * 70, b"x" * 70),
        (b"multipart/form-data; boundary=b;", b"b"),
        (b"multipart/form-data; boundary=b \t", b"b"),
    ],
)
def test_boundary_is_taken_from_the_content_type(content_type: bytes, boundary: bytes) -> None:
    """It may be quoted, with every permitted character, up to 70 of them."""
    assert model_of(content_type, form(FILE, MODEL, boundary=boundary)).name == "whisper-1"


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/form-data; boundary=" + b"x" * 71,
        b'multipart/form-data; boundary="b "',
        b'multipart/form-data; boundary="\\b"',
        b'multipart/form-data; boundary="b',
        b"multipart/form-data; boundary=b; boundary=c",
        b"multipart/form-data; boundary=b; Boundary=b",
        b"multipart/form-data; boundary=b c",
        b"multipart/form-data; boundary=\xff",
        b"multipart/form-data, boundary=b",
        b"multipart/mixed; boundary=b",
        b"application/json; boundary=b",
    ],
)
def test_unusable_content_type_is_refused(content_type: bytes) -> None:
    """It has no boundary, two, or an invalid one."""
    error = refusal(form(MODEL), content_type)
    assert error.kind is ErrorKind.BAD_REQUEST
    assert "begin" not in error.message  # refused for itself, not for the body


def test_look_alikes_of_the_delimiter_are_data() -> None:
    """Only CRLF, the boundary, and CRLF or two hyphens delimit; other bytes are part of the file."""
    file = FILE + b" --b\r\n x--b-- \r\n--bb\r\n\r\n--b-\r\n\r\n--B\r\n\r\n-b\r\n" + MODEL
    assert model_of(TYPE, form(file, named(b"form-data; name=model", b"real"))).name == "real"


def test_file_that_holds_a_form_is_only_a_file() -> None:
    """Another boundary inside a file does not count."""
    assert model_of(TYPE, form(FILE + form(MODEL, boundary=b"inner"), named(b"form-data; name=model"))).name == "m"


@pytest.mark.parametrize(
    "parts", [(), (FILE,), (FIELD, FILE), (named(b"form-data; name=Model"),), (named(b"form-data; name=model", b""),)]
)
def test_the_error_for_a_missing_or_empty_model_field_says_so(parts: tuple[bytes, ...]) -> None:
    """The client learns that a model is required, not only that the form is invalid."""
    assert refusal(form(*parts)).kind is ErrorKind.MODEL_REQUIRED


def test_filename_called_model_does_not_count() -> None:
    """Only the name of the field counts."""
    file = named(b'form-data; filename="model"; name="file"')
    assert refusal(form(file)).kind is ErrorKind.MODEL_REQUIRED
    assert model_of(TYPE, form(file, MODEL)).name == "whisper-1"


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ((MODEL, MODEL), "twice"),
        ((MODEL, FILE, named(b"form-data; NAME=model")), "twice"),
        ((MODEL, named(b"form-data; name=Model")), "twice"),
        ((named(b'form-data; name="MODEL"'), FILE, MODEL), "twice"),
        ((named(b'form-data; name="model"; filename="x"'),), "file"),
        ((named(b"form-data; name=model; filename*=UTF-8''x"),), "file"),
        ((named(b'form-data; name="model"; filename=""'),), "file"),
        ((named(b'form-data; name="mod\\el"'), MODEL), "backslash"),
        ((named(b"form-data; name*=UTF-8''model"), MODEL), "name*"),
        ((named(b'form-data; name=x; name*0="mo"; name*1="del"'), MODEL), "name*"),
        ((named(b"form-data; name=x; name=model"),), "twice"),
        ((named(b"form-data; name=x", more=b"Content-Disposition: form-data; name=model\r\n"),), "twice"),
        ((named(b"form-data; name=model", more=b"Content-Transfer-Encoding: base64\r\n"),), "transfer encoding"),
        ((named(b"attachment; name=model"),), "form-data"),
        ((named(b"form-data"), MODEL), "name"),
        ((named(b"form-data; name=x y"), MODEL), "name=value"),
        ((named(b'form-data; name="x'), MODEL), "name=value"),
        ((named(b"form-data; name"), MODEL), "name=value"),
        ((named(b"form-data; name=x", more=b" folded\r\n"), MODEL), "colon"),
        ((named(b"form-data; name=x", more=b"X : y\r\n"), MODEL), "colon"),
        ((named(b"form-data; name=x", more=b"no colon\r\n"), MODEL), "colon"),
        ((named(b"form-data; name=x\nContent-Disposition: form-data; name=model"),), "control"),
        ((named(b"form-data; name=x\rY: z"), MODEL), "control"),
        ((named(b"form-data; name=x\x00"), MODEL), "control"),
        ((b"\r\ndata without any header", MODEL), "colon"),
        ((b"X: y\r\n\r\nno disposition", MODEL), "Content-Disposition"),
        ((b"Content-Disposition: form-data; name=model", MODEL), "header block"),
        ((b"", MODEL), "header block"),
        ((named(b"form-data; name=model", b"a\nb"),), "control"),
        ((named(b"form-data; name=model", b"a\r\n"),), "control"),
        ((named(b"form-data; name=model", b"\xff"),), "UTF-8"),
        ((named(b"form-data; name=model", b"\xed\xa0\x80"),), "UTF-8"),
        ((named(b"form-data; name=model", b"m" * (MAX_VALUE + 1)),), "longer"),
        ((named(b"form-data; name=model", "é".encode() * (MAX_VALUE // 2 + 1)),), "longer"),
        ((named(b"form-data; name=x", more=b"X: " + b"y" * MAX_PART_HEAD + b"\r\n"), MODEL), "header block"),
    ],
)
def test_ambiguous_forms_are_refused(parts: tuple[bytes, ...], word: str) -> None:
    """Each of these is one field to some form parsers, and another or none to others."""
    error = refusal(form(*parts))
    assert error.kind is ErrorKind.BAD_REQUEST
    assert word in error.message


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "begin"),
        (b"--b", "line end"),
        (b"--b\r", "line end"),
        (b"--b\r\n", "closing"),
        (b"--b\r\n" + MODEL, "closing"),
        (b"--b\r\n" + MODEL + b"\r\n", "closing"),
        (b"--b\r\n" + MODEL + b"\r\n--b", "line end"),
        (b"--b\r\n" + MODEL + b"\r\n--b-", "closing"),
        (b"--b\r\n" + MODEL + b"--b--", "closing"),
        (form(MODEL, boundary=b"c"), "begin"),
        (b"preamble\r\n" + form(MODEL), "begin"),
        (b"\n" + form(MODEL), "begin"),
        (b" " + form(MODEL), "begin"),
        (form(MODEL, end=b"x"), "follows"),
        (form(MODEL, end=b"\r\nepilogue"), "follows"),
        (form(MODEL, end=b"\r\n" + form(MODEL)), "follows"),
        (form(MODEL).replace(b"\r\n", b"\n"), "line end"),
        (b"--b \r\n" + MODEL + b"\r\n--b--", "line end"),
        (b"--b\t\r\n" + MODEL + b"\r\n--b--", "line end"),
        (b"--bx\r\n" + MODEL + b"\r\n--b--", "line end"),
        (b"--b\r\n" + MODEL + b"\r\n--b\t\r\n" + FILE + b"\r\n--b--", "line end"),
        (b"--b\r\n" + MODEL + b"\r\n--b\r" + FILE + b"\r\n--b--", "line end"),
        (b"--b\r\n" + MODEL + b"\r\n--b \r\n" + FILE + b"\r\n--b--", "line end"),
        (b"--b\r\n" + MODEL + b"\r\n--b\n" + FILE + b"\r\n--b--", "line end"),
        (b"--b\r\n" + FILE + b"\n--b\r\n" + MODEL + b"\r\n--b--", "preceded"),
        (b"--b\r\n" + FILE + b"\n\n--b\r\n" + MODEL + b"\r\n--b--", "preceded"),
    ],
)
def test_invalid_framing_is_refused(body: bytes, word: str) -> None:
    """The form has no start, no end, or an invalid delimiter, and the error names it."""
    error = refusal(body)
    assert error.kind is ErrorKind.BAD_REQUEST
    assert word in error.message


def test_parts_and_near_misses_are_bounded() -> None:
    """MAX_PARTS parts are accepted, one more is not. Near misses of the delimiter count as parts."""
    assert model_of(TYPE, form(*[FIELD] * (MAX_PARTS - 1), MODEL)).name == "whisper-1"
    assert str(MAX_PARTS) in refusal(form(*[FIELD] * MAX_PARTS, MODEL)).message
    assert str(MAX_PARTS) in refusal(form(FILE + b"\r\n--bx" * MAX_PARTS, MODEL)).message


def test_part_headers_are_bounded() -> None:
    """Header lines and parameters are limited, so that they cannot cost much time."""
    lines = b"".join(b"X%d: y\r\n" % number for number in range(MAX_FIELDS))
    parameters = b"".join(b"; x%d=y" % number for number in range(MAX_FIELDS))
    fewer_lines, fewer_parameters = lines.partition(b"\r\n")[2], parameters[6:]
    assert model_of(TYPE, form(named(b"form-data; name=model" + fewer_parameters, more=fewer_lines))).name == "m"
    assert "header lines" in refusal(form(named(b"form-data; name=model", more=lines))).message
    assert "parameters" in refusal(form(named(b"form-data; name=model" + parameters))).message


def test_value_may_be_as_long_as_the_limit() -> None:
    """The limit counts bytes."""
    assert len(model_of(TYPE, form(named(b"form-data; name=model", b"m" * MAX_VALUE))).name) == MAX_VALUE


def test_files_are_not_copied() -> None:
    """A file of megabytes needs no further memory, before or after the model."""
    body = form(FILE + bytes(3_000_000), MODEL, FILE + b"\r\n-" * 1_000_000)
    tracemalloc.start()
    try:
        assert model_of(TYPE, body).name == "whisper-1"
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_large_files_are_searched_in_steps() -> None:
    """Other requests are served between the steps. A delimiter across two steps is found."""
    for size in range(256 * 1024 - 200, 256 * 1024):
        assert model_of(TYPE, form(FILE + bytes(size), MODEL)).name == "whisper-1"
    assert sum(1 for _ in scan_form(TYPE, form(FILE + bytes(3_000_000), MODEL))) > 10


def test_cut_at_any_byte_is_refused() -> None:
    """No prefix of a form is a form (except the one without the last line end)."""
    body = form(FILE, MODEL, FIELD, end=b"")
    for size in range(len(body)):
        assert refusal(body[:size]).kind is ErrorKind.BAD_REQUEST


# --- against the standard library's mail parser, on forms without trickery -----------------------------------

boundaries = st.text("abz09-_.+", min_size=1, max_size=70).map(str.encode)
names = st.sampled_from([b"file", b"language", b"models", b"model[]", b"model ", b"prompt"])
model_values = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20)


@st.composite
def forms(draw: st.DrawFn) -> tuple[bytes, bytes, list[str]]:
    """Content-Type, body, and the values of its model fields (none, one or two)."""
    boundary = draw(boundaries)
    models = draw(st.lists(model_values, max_size=2)) if draw(st.booleans()) else [draw(model_values)]
    parts = [
        named(draw(st.sampled_from([b'form-data; name="model"', b"form-data;name=model"])), v.encode()) for v in models
    ]
    for _ in range(draw(st.integers(0, 3))):
        data = draw(st.binary(max_size=30)).replace(b"\n--", b"")
        part = named(b'form-data; name="' + draw(names) + b'"; filename="x"', data, b"Content-Type: audio/wav\r\n")
        parts.insert(draw(st.integers(0, len(parts))), part)
    quoted = b'"' + boundary + b'"' if draw(st.booleans()) else boundary
    return b"multipart/form-data; boundary=" + quoted, form(*parts, boundary=boundary), models


@examples(300)
@given(forms())
def test_model_agrees_with_the_mail_parser(case: tuple[bytes, bytes, list[str]]) -> None:
    """One model field gives the value that the standard library reads; none or two give the refusal."""
    content_type, body, models = case
    if len(models) != 1:
        assert refusal(body, content_type).kind is (ErrorKind.BAD_REQUEST if models else ErrorKind.MODEL_REQUIRED)
        return
    span = model_of(content_type, body)
    message = email.message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    theirs = [
        part.get_payload(decode=True)
        for part in message.iter_parts()
        if part.get_param("name", header="content-disposition") == "model"
    ]
    assert [span.name] == models
    assert theirs == [body[span.start : span.end]] == [models[0].encode()]


@examples(300)
@given(forms(), st.data())
def test_any_bytes_give_a_span_or_a_refusal(case: tuple[bytes, bytes, list[str]], data: st.DataObject) -> None:
    """A form that is damaged anywhere does not raise another error."""
    content_type, body, _ = case
    at = data.draw(st.integers(0, len(body)))
    junk = data.draw(
        st.one_of(st.binary(max_size=3), st.sampled_from([b"\r\n", b"\n", b'"', b";", b"--", b"\\", b"*"]))
    )
    damaged = body[:at] + junk + body[at + data.draw(st.integers(0, 3)) :]
    try:
        span: ModelSpan | None = model_of(content_type, damaged)
    except ProxyError:
        span = None
    if span is None:
        assert refusal(damaged, content_type).kind in (ErrorKind.BAD_REQUEST, ErrorKind.MODEL_REQUIRED)
    else:
        assert damaged[span.start : span.end].decode() == span.name


@examples(200)
@given(st.binary(max_size=40), st.binary(max_size=60))
def test_any_header_and_body_give_an_answer(content_type: bytes, body: bytes) -> None:
    """Bytes that are not a form are refused, without another error."""
    refusal(body, content_type)
    refusal(b"--b\r\n" + body, TYPE)
