"""A response head, read once: the field lines for the client, and the form of the body.

llhttp has validated the head (or it was made here). This module finds the few fields that concern a proxy.
Most responses have no field that must be removed, and their lines are passed on as one slice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import msgspec

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Field, ResponseHead
from onwards_py.wire.decoding import coding_of

# RFC 9112 section 4. llhttp also accepts RTSP, ICE and HTTP/2.0, and any byte in a reason phrase.
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) [0-9]{3}(?: ([\t -~\x80-\xff]*))?")
_MAX_STATUS_LINES = 256
_FRAMING = re.compile(
    rb"\n(c(?:ontent-(?:length|type|encoding)|onnection)|t(?:e|railer|ransfer-encoding)|keep-alive|upgrade"
    rb"|proxy-(?:connection|authenticate)):[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_ENDLESS_CHUNK = re.compile(rb"0*[1-9a-fA-F][0-9a-fA-F]{15}")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
# Hop-by-hop (RFC 9110 section 7.6.1), and fields that Connection may always name.
DROPPED = (
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)
# Nearly every server sends this field, although it is the default. Removing it alone costs half of the general search.
_KEEP_ALIVE = b"\r\nConnection: keep-alive"
_DROPPED_LINES = re.compile(rb"\r\n(?:" + b"|".join(DROPPED) + rb"):[^\r]*", re.IGNORECASE)
_REPRESENTATION_FIELDS = frozenset(
    {
        *(b"content-length", b"content-type", b"content-encoding", b"content-md5", b"content-disposition"),
        *(b"digest", b"content-digest", b"repr-digest", b"etag", b"last-modified", b"accept-ranges", b"vary"),
        *(b"cache-control", b"x-accel-buffering"),
    }
)
_CODING_FIELDS = frozenset(
    {b"content-length", b"content-encoding", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"etag"}
)
_WAITS = re.compile(rb"\r\n(retry-after|retry-after-ms|date):[ \t]*([^\r]*)", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,300}(\.\d{1,300})?")  # digits that a float can hold
_MAX_SECONDS = 1e9
_NOT_NOMINATABLE = frozenset({b"content-length", b"content-type", b"content-encoding"})


class ResponseFacts(msgspec.Struct, frozen=True, gc=False):
    """Facts of one response head."""

    block: bytes
    """The field lines that are passed on, each with its CRLF, without framing except Content-Length."""
    length: int | None
    """Announced body bytes. None: not announced."""
    event_stream: bool
    """The body is Server-Sent Events without a content coding."""
    coding: bytes = b""
    """The content coding, see `coding_of`."""
    coded_events: bool = False
    """The body is Server-Sent Events with a content coding."""


class StatusLine(NamedTuple):
    """A status line without the status."""

    reason: bytes
    http_minor: int


class ExtractedHead(msgspec.Struct, frozen=True, gc=False):
    """A head extracted from raw bytes."""

    head: ResponseHead
    end: int
    """The index after the head."""
    http_minor: int


_status_lines: dict[bytes, StatusLine] = {}


def extract_head(raw: bytes, status: int, interim: int) -> ExtractedHead:
    """The head in ``raw`` after ``interim`` interim heads (1xx), unchanged.

    llhttp has validated the fields of all these heads, and accepts only CRLF CRLF as the end of a head.
    Callbacks for each field would cost more than the rest of the response.
    Raises ProxyError(UPSTREAM_INVALID) for a status line that is not of HTTP/1.0 or HTTP/1.1.
    """
    if not interim:  # the common case, with a known status line
        line_end = raw.find(b"\r\n")
        known = _status_lines.get(raw[:line_end])
        if known is not None:
            end = raw.find(b"\r\n\r\n", line_end)
            return ExtractedHead(ResponseHead(status, known.reason, raw[line_end:end]), end + 4, known.http_minor)
    start = 0
    while raw.startswith(b"\r\n", start):  # RFC 9112 section 2.2 lets a parser skip these
        start += 2
    for _ in range(interim):
        _read_status_line(raw[start : raw.index(b"\r\n", start)])
        start = raw.index(b"\r\n\r\n", start) + 4
    line_end = raw.index(b"\r\n", start)
    line = raw[start:line_end]
    status_line = _status_lines.get(line) or _read_status_line(line)
    end = raw.index(b"\r\n\r\n", line_end)
    return ExtractedHead(ResponseHead(status, status_line.reason, raw[line_end:end]), end + 4, status_line.http_minor)


def has_oversized_first_chunk(raw: bytes, cut: ExtractedHead) -> bool:
    """True if the body after a head begins with a chunk of 2**60 bytes or more.

    llhttp accepts sizes of 64 bits. nginx and this proxy treat such a size as a fault (RFC 9112 section 7.1).
    """
    return _ENDLESS_CHUNK.match(raw, cut.end) is not None and _CHUNKED.search(cut.head.lines) is not None


def _read_status_line(line: bytes) -> StatusLine:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ProxyError(ErrorKind.UPSTREAM_INVALID)
    status_line = StatusLine(match[2] or b"", int(match[1]))
    if len(_status_lines) < _MAX_STATUS_LINES:
        _status_lines[line] = status_line
    return status_line


def examine_response(head: ResponseHead, extra: Sequence[Field] = (), *, to_head: bool = False) -> ResponseFacts:
    """The facts of ``head``. ``extra`` fields replace fields of the same names.

    ``to_head``: the request was HEAD, so no body follows (RFC 9110 section 9.3.2).
    Raises ProxyError(UPSTREAM_INVALID) for invalid framing.
    """
    status, lines = head.status, head.lines
    if not 200 <= status <= 599:
        raise ProxyError(ErrorKind.UPSTREAM_INVALID)
    if extra:
        lines = replace_fields(lines, extra)
    at = lines.find(_KEEP_ALIVE)
    if at >= 0:
        rest = lines[at + len(_KEEP_ALIVE) :]
        if not rest or rest.startswith(b"\r"):
            lines = lines[:at] + rest
    length: int | None = None
    events = chunked = drops = False
    nominated = coding = b""
    for name, value in _FRAMING.findall(lines):
        kind = name.lower()
        if kind == b"content-length":
            length = int(value)
        elif kind == b"content-type":
            events = value[:1] in b"tT" and _is_event_stream(value)
        elif kind == b"content-encoding":
            coding = coding_of(coding + b"," + value)
        else:
            drops = True
            if kind == b"transfer-encoding":
                if chunked or value.strip().lower() != b"chunked":
                    raise ProxyError(ErrorKind.UPSTREAM_INVALID)
                chunked = True
            elif kind == b"connection":
                nominated += b"," + value
    if drops:
        lines = _DROPPED_LINES.sub(b"", lines)
        if nominated:
            lines = _without_nominated(lines, nominated)
    if status == 204 and length is not None:  # RFC 9110 section 8.6: must not be sent with 204
        lines = _keep_lines(lines, lambda name: name != b"content-length")
    if to_head or status in (204, 304):
        length = 0
    elif chunked and length is not None:
        raise ProxyError(ErrorKind.UPSTREAM_INVALID)
    block = lines[2:] + b"\r\n" if lines else b""
    if coding:
        return ResponseFacts(block, length, False, coding, events)
    return ResponseFacts(block, length, events)


def _is_event_stream(content_type: bytes) -> bool:
    """Media types are case-insensitive and may carry parameters (RFC 9110 section 8.3.1)."""
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"


def _without_nominated(lines: bytes, nominated: bytes) -> bytes:
    names = {token.strip().lower() for token in nominated.split(b",")} - _NOT_NOMINATABLE
    if names <= {b"", b"keep-alive", b"close"}:
        return lines
    return _keep_lines(lines, lambda name: name not in names)


def _keep_lines(lines: bytes, wanted: Callable[[bytes], bool]) -> bytes:
    """The lines whose lower-case field name is ``wanted``."""
    kept = [line for line in lines.split(b"\r\n")[1:] if wanted(line.partition(b":")[0].lower())]
    return b"".join(b"\r\n" + line for line in kept)


def provider_lines(block: bytes) -> bytes:
    """The field lines of a `ResponseFacts.block` that do not describe the body. For responses with another body."""
    if not block:
        return b""
    kept = _keep_lines(b"\r\n" + block[:-2], lambda name: name not in _REPRESENTATION_FIELDS)
    return kept[2:] + b"\r\n" if kept else b""


def without_coding(facts: ResponseFacts, length: int) -> ResponseFacts:
    """The facts of the same body after decoding. ``length``: of the decoded body."""
    kept = _keep_lines(b"\r\n" + facts.block[:-2], lambda name: name not in _CODING_FIELDS)
    block = (kept + b"\r\nContent-Length: %d\r\n" % length)[2:]
    return ResponseFacts(block, length, event_stream=False)


def replace_fields(lines: bytes, extra: Sequence[Field]) -> bytes:
    """``lines`` with ``extra`` fields, each in the place of the first field of its name, or appended."""
    pending = {name.lower(): b"%b: %b" % (name, value) for name, value in extra}
    names = frozenset(pending)
    result: list[bytes] = []
    for line in lines.split(b"\r\n")[1:]:
        name = line.partition(b":")[0].lower()
        if name in pending:
            result.append(pending.pop(name))
        elif name not in names:
            result.append(line)
    result.extend(pending.values())
    return b"".join(b"\r\n" + line for line in result)


def retry_after(lines: bytes, today: float) -> float | None:
    """Seconds until the sender accepts requests again. None: no such field, or an unknown format.

    ``Retry-After`` (RFC 9110 section 10.2.3) is in seconds, or a date.
    A date is compared with the response's own Date field, which comes from the same clock, else with ``today`` (Unix
    time).
    OpenAI's ``Retry-After-Ms`` is more precise and takes precedence.
    """
    found = {name.lower(): value.decode("latin-1").strip() for name, value in _WAITS.findall(lines)}
    exact, value = found.get(b"retry-after-ms", ""), found.get(b"retry-after", "")
    if _NUMBER.fullmatch(exact):
        return min(float(exact) / 1000, _MAX_SECONDS)
    if _NUMBER.fullmatch(value):
        return min(float(value), _MAX_SECONDS)
    then = _date(value)
    if then is None:
        return None
    now = _date(found.get(b"date", "")) or datetime.fromtimestamp(today, UTC).replace(tzinfo=None)
    return max(0.0, (then - now).total_seconds())


def _date(value: str) -> datetime | None:
    """An HTTP date, which is always in GMT."""
    try:
        return parsedate_to_datetime(value).replace(tzinfo=None)
    except (ValueError, TypeError, IndexError):
        return None
