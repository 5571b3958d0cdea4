"""Find the byte span of the ``model`` part of a multipart/form-data body (RFC 7578, RFC 2046 section 5.1).

Only delimiters and part headers are parsed; files are skipped by search, and never copied.
Form parsers tolerate different errors.
So a form that two of them could read differently is refused: the request must be routed by the model that the provider
reads.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import NoReturn

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.model_scan import ModelSpan, ScanResult, check_name

MAX_PARTS = 1000
"""Maximum parts of a form. Data that resembles the delimiter counts too."""

MAX_PART_HEAD = 16 * 1024
"""Maximum bytes of the header block of one part."""

MAX_FIELDS = 32
"""Maximum header lines of one part, and parameters of one line."""

MAX_VALUE = 1024
"""Maximum bytes of the model part's value."""

_WINDOW = 256 * 1024
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 §5.1.1
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PARAMETER = re.compile(
    rb'(?:[ \t]*;)+[ \t]*(?:([!#$%&\'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s";\\]+)))?',
    re.DOTALL,
)
_PLAIN_ENCODINGS = (b"7bit", b"8bit", b"binary")


@dataclass(frozen=True, slots=True)
class _Part:
    """Offsets into the body: of the header block, and of the end of the part's data."""

    head: int
    end: int


def scan_form(content_type: bytes, body: bytes) -> Generator[None, None, ScanResult]:
    """Find the value of the form's one ``model`` field, if it has one: bare bytes, without quotes.

    In steps of about a millisecond.
    ``content_type`` is the value of the request's Content-Type.
    The field may be before or after files. A part with a filename is a file, whatever its name.
    A field named ``model`` in another case counts as the same field, as in some frameworks.
    To rename, splice the other name's UTF-8 bytes into the span. They must not hold CR or LF.

    Raises:
        ProxyError: MODEL_REQUIRED if the field is empty, BAD_REQUEST for everything else; always with
            ``param="model"``. Nothing else is raised, whatever the bytes.
    """
    found = ScanResult()
    for part in _parts(body, b"--" + _boundary(content_type)):
        yield
        if part is None:
            continue
        data = body.find(b"\r\n\r\n", part.head, min(part.end, part.head + MAX_PART_HEAD)) + 4
        if data < 4:
            _refuse(f"a part has no header block of at most {MAX_PART_HEAD} bytes")
        # the line end before the first field line belongs to the delimiter
        name = _model_name(body[part.head + 2 : data - 4])
        if name is None:
            continue
        if found.span is not None:
            _refuse("'model' is given twice, or in upper and lower case: send it once")
        if part.end - data > MAX_VALUE:
            _refuse(f"'model' is longer than {MAX_VALUE} bytes")
        try:
            span = ModelSpan(check_name(body[data : part.end].decode()), data, part.end)
        except UnicodeDecodeError:
            _refuse("'model' is not valid UTF-8")
        found = ScanResult(span, name == b"model")
    return found


def _refuse(what: str) -> NoReturn:
    raise ProxyError(ErrorKind.BAD_REQUEST, f"The form is malformed: {what}.", param="model")


def _boundary(content_type: bytes) -> bytes:
    kind, separator, rest = content_type.partition(b";")
    if kind.strip(b" \t").lower() != b"multipart/form-data":
        _refuse("its Content-Type must be multipart/form-data")
    boundary = _parameters(separator + rest, "Content-Type").get(b"boundary", b"")
    if _BOUNDARY.fullmatch(boundary) is None:
        _refuse("its Content-Type must name a boundary of 1 to 70 of the permitted characters")
    return boundary


def _parts(body: bytes, dashes: bytes) -> Generator[_Part | None]:
    """Yield the parts between ``dashes`` (two hyphens and the boundary), and None between the steps of a search.

    Raises ProxyError unless the last part is closed.
    A delimiter is a whole line, or is followed by two hyphens.
    The bytes of the boundary are data if other text follows them.
    A line that ends in LF only is a delimiter to lenient parsers, so it is refused.
    """
    at = 2 if body.startswith(b"\r\n") else 0
    if not body.startswith(dashes, at):
        _refuse("it does not begin with the boundary that its Content-Type names")
    needle = b"\n" + dashes
    head = -1  # offset of the current part's header block
    end = at
    for _ in range(MAX_PARTS + 1):
        behind = at + len(dashes)
        follows = body[behind : behind + 2]
        if follows in (b"\r\n", b"--"):
            if head >= 0:
                yield _Part(head, end)
            head = behind
            if follows == b"--":
                return _check_epilogue(body, behind + 2)
        elif head < 0 or follows[:1] in (b"\n", b"\r", b" ", b"\t", b""):
            _refuse("a boundary is not followed by a line end")
        newline = -1
        while newline < 0 and behind < len(body):
            newline = body.find(needle, behind, behind + _WINDOW + len(needle))
            behind += _WINDOW
            yield None
        if newline < 0:
            _refuse("its closing boundary is missing")
        if body[newline - 1] != ord("\r"):
            _refuse("a boundary is not preceded by CR LF")
        end, at = newline - 1, newline + 1
    _refuse(f"it has more than {MAX_PARTS} parts")


def _check_epilogue(body: bytes, at: int) -> None:
    if len(body) - at > MAX_PART_HEAD or body[at:].strip(b"\r\n"):
        _refuse("something follows its closing boundary")


def _model_name(head: bytes) -> bytes | None:
    """The name of a part with these header lines, if it is ``model`` in any case. Raises ProxyError if parsers could
    disagree on it."""
    fields = _fields(head)
    kind, separator, rest = fields.get(b"content-disposition", b"").partition(b";")
    if kind.strip(b" \t").lower() != b"form-data":
        _refuse("a part has no Content-Disposition of form-data")
    parameters = _parameters(separator + rest, "Content-Disposition")
    if any(name.startswith(b"name*") for name in parameters):
        _refuse("a part's name is encoded as name*, which forms must not do")  # RFC 7578 §4.2
    name = parameters.get(b"name")
    if name is None:
        _refuse("a part has no name")
    if name.lower() != b"model":
        if name.replace(b"\\", b"").lower() == b"model":
            _refuse("a part's name holds needless backslashes")
        return None
    if any(name.partition(b"*")[0] == b"filename" for name in parameters):
        _refuse("'model' must be a plain field, not a file")
    if fields.get(b"content-transfer-encoding", b"7bit").lower() not in _PLAIN_ENCODINGS:
        _refuse("'model' must not have a transfer encoding")  # RFC 7578 §4.7
    return name


def _fields(head: bytes) -> dict[bytes, bytes]:
    """Field values by lower-cased name."""
    fields: dict[bytes, bytes] = {}
    if head.count(b"\r\n") >= MAX_FIELDS:
        _refuse(f"a part has more than {MAX_FIELDS} header lines")
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or _TOKEN.fullmatch(name) is None:
            _refuse("a part has a header line without a name and a colon")
        if b"\r" in value or b"\n" in value or b"\x00" in value:
            _refuse("a part's header holds a control character")
        if name.lower() in fields:
            _refuse("a part has a header twice")
        fields[name.lower()] = value.strip(b" \t")
    return fields


def _parameters(text: bytes, where: str) -> dict[bytes, bytes]:
    """Values of ``; name=value`` pairs by lower-cased name, without their quotes, but with their backslashes."""
    parameters: dict[bytes, bytes] = {}
    at = 0
    text = text.rstrip(b" \t")
    while at < len(text):
        pair = _PARAMETER.match(text, at)
        if pair is None:
            _refuse(f"{where} has a parameter that is not name=value")
        at = pair.end()
        if pair[1] is None:  # a semicolon without a parameter
            continue
        name = pair[1].lower()
        if name in parameters:
            _refuse(f"{where} has a parameter twice")
        if len(parameters) == MAX_FIELDS:
            _refuse(f"{where} has more than {MAX_FIELDS} parameters")
        parameters[name] = pair[3] if pair[2] is None else pair[2]
    return parameters
