"""Find the byte span of the top-level ``model`` member of a JSON body, and replace the name.

The request must be routed by the model that the provider reads.
JSON parsers disagree on duplicate keys and agree on escapes (RFC 8259 sections 4 and 7).
Some accept keys in any case (Go's encoding/json does, and the last one wins).
So a second ``model`` in any spelling and case is refused, and keys are compared without their escapes.
Only the name becomes a Python object, so memory is constant and time linear for every body.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator, Iterator
from io import BytesIO
from typing import NoReturn

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.json_walk import TRAILING_DATA, Malformed, Walk

MAX_NAME = 1024
"""Longest model name, in characters."""

MAX_MEMBERS = 4096
"""Maximum of top-level members, which limits the time for a hostile body."""

AT_ONCE = 256 * 1024
"""Maximum bytes of a body that is scanned in one step, in a few milliseconds. Use `scan_in_steps` for larger ones."""

_TINY = 2 * 1024
_SMALL = 16 * 1024
"""Up to this size a search for the key is cheaper than a walk over the members.

Such a body cannot hold MAX_MEMBERS members of five bytes (``"":1,``), so both ways agree.
"""

_UTF8_PIECE = 64 * 1024
_COPIED = 256 * 1024
_KEY = b'"model"'
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_MEMBER_KEY = re.compile(rb'[ \t\n\r]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_PLAIN_MEMBER = re.compile(
    rb'[ \t\n\r]*("[^"\\\x00-\x1f]{0,64}")[ \t\n\r]*:[ \t\n\r]*'
    rb'("[^"\\\x00-\x1f]{0,64}"|true|false|null|-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,16})?)'
    rb"[ \t\n\r]*(?=[,}])"
)
"""Key and short scalar at once: half of the members of a usual request, at a third of the cost."""
_KEY_IN_ANY_CASE = re.compile(rb'"(?i:model)"')
_OPENING = re.compile(rb"[ \t\n\r]*\{[ \t\n\r]*")
_SPACE_TO_END = re.compile(rb"[ \t\n\r]*\Z")
_BOOLEANS = {b"true": True, b"fals": False}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
"""The escape of a surrogate. msgspec refuses one without its other half, which is legal (RFC 8259 section 8.2)."""


class ModelSpan(msgspec.Struct, frozen=True, gc=False):
    """A model name and its place in the body.

    ``body[start:end]`` are the bytes to replace for another name: in JSON the string literal with its quotes, in a
    multipart form the bare value.
    """

    name: str
    start: int
    end: int


class _Named(msgspec.Struct, gc=False):
    model: str


_decode_named = msgspec.json.Decoder(_Named).decode
_decode_string = msgspec.json.Decoder(str).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode


class BodyFlags(msgspec.Struct, frozen=True, gc=False):
    """Other top-level members that the scan has found, so that a large body need not be scanned again."""

    streams: bool = False
    """``stream`` is true."""
    stores: bool | None = None
    """``store``. None: neither true nor false."""


class ScanResult(msgspec.Struct, frozen=True, gc=False):
    """The model of a JSON object or a form."""

    span: ModelSpan | None = None
    """None: there is no model."""
    exact: bool = True
    """The key is ``model``. Else it is ``model`` in another case, which only some parsers accept."""
    notes: BodyFlags | None = None
    """Only for large bodies."""

    def require_span(self) -> ModelSpan:
        """The span. Raises ProxyError MODEL_REQUIRED."""
        if self.span is None:
            raise ProxyError(ErrorKind.MODEL_REQUIRED, param="model")
        if not self.exact:
            raise ProxyError(ErrorKind.MODEL_REQUIRED, "Name the model as 'model', in lower case.", param="model")
        return self.span


def scan(body: bytes) -> ModelSpan:
    """The span of the top-level ``model`` of a JSON object.

    The whole body is validated (RFC 8259, UTF-8, no byte order mark, nesting within the interpreter's recursion limit).

    Raises:
        ProxyError: MODEL_REQUIRED if there is no model or it is empty, BAD_REQUEST for everything
            else; always with ``param="model"``. Nothing else is raised, whatever the bytes.
    """
    span = _scan_small(body) if len(body) <= _SMALL else None
    return _scan_members(body).require_span() if span is None else span


def scan_any(body: bytes, *, objects_only: bool = True) -> ScanResult:
    """`scan` for a body that need not name a model. Raises ProxyError like `scan`, except for a missing model.

    Unless ``objects_only``, the body may be any JSON value. Only an object names a model.
    """
    span = _scan_small(body) if len(body) <= _SMALL else None
    return _scan_members(body, objects_only=objects_only) if span is None else ScanResult(span)


def _scan_members(body: bytes, *, objects_only: bool = True) -> ScanResult:
    _check_utf8(body)
    search = _Search(body)
    try:
        for key, start in _members(body):
            search.visit(key, start)
    except ProxyError:
        value = not objects_only and _OPENING.match(body) is None
        if _HALF_PAIR.search(body) is None and not value:
            raise
        for _ in _walk(search := _Search(body), objects_only=objects_only):
            pass
    return search.scanned


def scan_in_steps(body: bytes, *, objects_only: bool = True) -> Generator[None, None, ScanResult]:
    """`scan_any` in steps: yields about every millisecond. Numbers of more than 32 KiB are refused."""
    at = 0
    while at < len(body):
        at = _behind_utf8(body, at)
        yield
    search = _Search(body)
    yield from _walk(search, objects_only=objects_only)
    return ScanResult(search.scanned.span, search.scanned.exact, BodyFlags(search.streams, search.stores))


def splice(body: bytes, span: ModelSpan, model_json: bytes) -> bytes:
    """``body`` with the span's bytes replaced by ``model_json``."""
    view = memoryview(body)
    return b"".join((view[: span.start], model_json, view[span.end :]))


def splice_in_steps(body: bytes, span: ModelSpan, model_json: bytes) -> Generator[None, None, bytes]:
    """`splice` in steps: yields about every millisecond. Most of the time is spent on allocating memory."""
    buffer = BytesIO()
    view = memoryview(body)
    for part in (view[: span.start], memoryview(model_json), view[span.end :]):
        for at in range(0, len(part), _COPIED):
            buffer.write(part[at : at + _COPIED])
            yield
    return buffer.getvalue()


def check_name(name: str) -> str:
    """Return ``name`` if it is a valid model name.

    Raises:
        ProxyError: it is empty, longer than MAX_NAME, or holds control characters.
    """
    if not name:
        raise ProxyError(ErrorKind.MODEL_REQUIRED, "'model' is empty: name a model.", param="model")
    if len(name) > MAX_NAME:
        _refuse(f"'model' is longer than {MAX_NAME} characters.")
    if _CONTROL.search(name):
        _refuse("'model' must not contain control characters.")
    return name


def _refuse(message: str) -> NoReturn:
    raise ProxyError(ErrorKind.BAD_REQUEST, message, param="model")


def _scan_small(body: bytes) -> ModelSpan | None:
    """The common form in a microsecond. None: use `_scan_members`.

    The decoder proves that a top-level model exists and is a string.
    Without ``\\u004`` and ``\\u006`` no letter of its key is escaped, so the key is the bytes ``"model"``.
    Those bytes, in any case, occur once, so that is where the key is.
    Only white space and a colon can be between the key and the quote that opens the value.
    """
    # The first way is cheaper up to a few kilobytes, the second beyond.
    around = body.lower().split(_KEY) if len(body) <= _TINY else _KEY_IN_ANY_CASE.split(body)
    if len(around) != 2:
        return None
    escapes = body.find(b"\\") >= 0  # find() takes half the time of the operator `in`
    if escapes and body.find(b"\\u00") >= 0 and (body.find(b"\\u006") >= 0 or body.find(b"\\u004") >= 0):
        return None
    try:
        name = _decode_named(body).model
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    start = body.find(b'"', len(around[0]) + len(_KEY))
    end = body.find(b'"', start + 1) + 1
    if escapes and body.find(b"\\", start, end) >= 0:
        return None
    return ModelSpan(name, start, end) if name.isprintable() and 0 < len(name) <= MAX_NAME else None


class _Search:
    """The search for the model among the members of ``body``."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.scanned = ScanResult()
        self.streams = False
        self.stores: bool | None = None
        self._count = 0

    def visit(self, key: bytes, start: int) -> None:
        """Visit the next member: the literal of its key, and the offset of its value. Raises ProxyError."""
        self._count += 1
        if self._count > MAX_MEMBERS:
            _refuse(f"The request body has more than {MAX_MEMBERS} top-level members.")
        if b"\\" in key:
            key = _unescaped(key)
        if len(key) != len(_KEY) or key.lower() != _KEY:
            if key == b'"stream"':
                self.streams = self.body.startswith(b"true", start)
            elif key == b'"store"':
                self.stores = _BOOLEANS.get(self.body[start : start + 4])
            return
        if self.scanned.span is not None:
            _refuse("'model' is given twice, or in upper and lower case: send it once.")
        value = _STRING.match(self.body, start)
        if value is None:
            _refuse("'model' must be a string.")
        self.scanned = ScanResult(ModelSpan(_name(value.group()), start, value.end()), key == _KEY)


def _walk(search: _Search, *, objects_only: bool) -> Iterator[None]:
    try:
        for member in Walk(search.body).members(objects_only=objects_only):
            if member is None:
                yield
            else:
                search.visit(*member)
    except Malformed as malformed:
        _refuse(f"The request body {malformed}.")


def _members(body: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the literal of each key and the offset of its value. Raises ProxyError unless the body is one JSON object.

    A member is yielded after its value was validated.
    """
    view = memoryview(body)
    opening = _OPENING.match(body)
    if opening is None:
        _refuse("The request body must be a JSON object (without a byte order mark).")
    at = opening.end()
    closed = body[at : at + 1] == b"}"
    while not closed:
        member = _PLAIN_MEMBER.match(body, at)
        if member is not None:
            start, at = member.start(2), member.end()
        else:
            member = _MEMBER_KEY.match(body, at)
            if member is None:
                _refuse(f"The request body is not valid JSON: no key and colon at byte {at}.")
            _string(member.group(1))
            start = member.end()
            at = _behind_value(view, start)
        yield member.group(1), start
        delimiter = body[at : at + 1]
        if delimiter not in (b",", b"}"):
            _refuse(f"The request body is not valid JSON: no comma or closing brace at byte {at}.")
        closed = delimiter == b"}"
        at += not closed
    if _SPACE_TO_END.match(body, at + 1) is None:
        _refuse("The request body must be one JSON object, with nothing behind it.")


def _behind_value(view: memoryview, start: int) -> int:
    """The offset after the JSON value at ``start`` and the white space that follows it.

    Given more than one value, the decoder reports at which byte trailing data begins.
    That validates this value in one pass, without building objects.
    """
    try:
        _decode_raw(view[start:])
    except RecursionError:
        _refuse("The request body is nested too deeply.")
    except msgspec.DecodeError as error:
        trailing = TRAILING_DATA.search(str(error))
        if trailing is None:
            _refuse(f"The request body is not valid JSON: the value at byte {start} is malformed.")
        return start + int(trailing.group(1)) - 1
    return len(view)


def _string(literal: bytes) -> str:
    try:
        return _decode_string(literal)
    except (msgspec.DecodeError, UnicodeError):
        _refuse("The request body is not valid JSON: a string holds a control character or a bad escape.")


def _unescaped(key: bytes) -> bytes:
    """The literal without escapes. Unchanged if it holds half a surrogate pair: such a key is not ``model``."""
    try:
        return b'"%b"' % _decode_string(key).encode()
    except (msgspec.DecodeError, UnicodeError):
        return key


def _name(literal: bytes) -> str:
    try:
        name = _decode_string(literal)
    except (msgspec.DecodeError, UnicodeError):
        _refuse("'model' holds half a surrogate pair, which is no character: it can be no model's name.")
    return check_name(name)


def _check_utf8(body: bytes) -> None:
    """Validate UTF-8, which msgspec does not do in strings that it skips. In pieces, to save memory."""
    if body.isascii():
        return
    at = 0
    while at < len(body):
        at = _behind_utf8(body, at)


def _behind_utf8(body: bytes, at: int) -> int:
    """The offset after the piece of text that begins at ``at``."""
    end = at + _UTF8_PIECE
    try:
        return at + codecs.utf_8_decode(memoryview(body)[at:end], "strict", end >= len(body))[1]
    except UnicodeDecodeError:
        _refuse("The request body is not valid UTF-8.")
