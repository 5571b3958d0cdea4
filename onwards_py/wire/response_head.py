"""A response head, read once: which field lines travel on to the client, and what the body is.

The head was parsed and found valid by llhttp (or made here); what is left is to find the few fields that concern a
proxy among the lines. Most responses have none that must go, and their lines are passed on as one slice.
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

# RFC 9112 section 4. llhttp also takes RTSP, ICE and HTTP/2.0 for this protocol, and any byte in a reason phrase.
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) [0-9]{3}(?: ([\t -~\x80-\xff]*))?")
_STATUS_LINES_KEPT = 256
_FRAMING = re.compile(
    rb"\n(c(?:ontent-(?:length|type|encoding)|onnection)|t(?:e|railer|ransfer-encoding)|keep-alive|upgrade"
    rb"|proxy-(?:connection|authenticate)):[ \t]*([^\r]*)",
    re.IGNORECASE,
)
_ENDLESS_CHUNK = re.compile(rb"0*[1-9a-fA-F][0-9a-fA-F]{15}")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
# Hop-by-hop (RFC 9110 section 7.6.1), and what Connection always may name.
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
# What nearly every server of HTTP/1.1 sends needlessly. Cut out by itself, it costs half of what the search costs.
_KEEP_ALIVE = b"\r\nConnection: keep-alive"
_DROPPED_LINES = re.compile(rb"\r\n(?:" + b"|".join(DROPPED) + rb"):[^\r]*", re.IGNORECASE)
_OF_THE_BODY = frozenset(
    {
        *(b"content-length", b"content-type", b"content-encoding", b"content-md5", b"content-disposition"),
        *(b"digest", b"content-digest", b"repr-digest", b"etag", b"last-modified", b"accept-ranges", b"vary"),
        *(b"cache-control", b"x-accel-buffering"),
    }
)
_OF_THE_CODING = frozenset(
    {b"content-length", b"content-encoding", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"etag"}
)
_WAITS = re.compile(rb"\r\n(retry-after|retry-after-ms|date):[ \t]*([^\r]*)", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,300}(\.\d{1,300})?")  # what a float holds
_FOR_EVER = 1e9
_NOT_NOMINATABLE = frozenset({b"content-length", b"content-type", b"content-encoding"})


class ResponseFacts(msgspec.Struct, frozen=True, gc=False):
    """``block``: the field lines that travel on, each with its CRLF, without framing other than Content-Length.

    ``length``: announced body bytes; None if the stream's end tells. ``event_stream``: Server-Sent Events, not coded.
    ``coding``: the content coding, see `coding_of`; ``coded_events``: it is one of Server-Sent Events.
    """

    block: bytes
    length: int | None
    event_stream: bool
    coding: bytes = b""
    coded_events: bool = False


class StatusLine(NamedTuple):
    """What a status line says beside the status."""

    reason: bytes
    http_minor: int


class ExtractedHead(msgspec.Struct, frozen=True, gc=False):
    """A head cut out of raw bytes, the index just behind it, and its HTTP/1 version."""

    head: ResponseHead
    behind: int
    http_minor: int


_status_lines: dict[bytes, StatusLine] = {}


def extract_head(raw: bytes, status: int, interim: int) -> ExtractedHead:
    """The head that llhttp found in ``raw`` behind ``interim`` interim ones (1xx), as it came.

    llhttp has found the fields of every one valid and accepts nothing but CRLF CRLF as the end of a head; so that is
    where they end. Asking llhttp for each field would cost more than all the rest of a response.
    Raises ProxyError(UPSTREAM_INVALID) for a status line that is not one of HTTP/1.0 or HTTP/1.1.
    """
    if not interim:  # nearly always, and with a status line that came before
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
    said = _status_lines.get(line) or _read_status_line(line)
    end = raw.index(b"\r\n\r\n", line_end)
    return ExtractedHead(ResponseHead(status, said.reason, raw[line_end:end]), end + 4, said.http_minor)


def has_oversized_first_chunk(raw: bytes, cut: ExtractedHead) -> bool:
    """Whether the body behind a head begins with a chunk of 2**60 bytes or more: llhttp takes sizes of 64 bits, nginx
    and this proxy take it for a fault (RFC 9112 section 7.1 asks recipients to expect such)."""
    return _ENDLESS_CHUNK.match(raw, cut.behind) is not None and _CHUNKED.search(cut.head.lines) is not None


def _read_status_line(line: bytes) -> StatusLine:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ProxyError(ErrorKind.UPSTREAM_INVALID)
    said = StatusLine(match[2] or b"", int(match[1]))
    if len(_status_lines) < _STATUS_LINES_KEPT:
        _status_lines[line] = said
    return said


def examine_response(head: ResponseHead, extra: Sequence[Field] = (), *, to_head: bool = False) -> ResponseFacts:
    """Read ``head`` once; ``extra`` fields replace those of their names.

    ``to_head``: the request was HEAD, so no body follows, whatever is announced (RFC 9110 section 9.3.2).
    Raises ProxyError(UPSTREAM_INVALID) where the framing cannot be trusted.
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
    """Of the field lines that travel on (`ResponseFacts.block`) those that do not speak of the body, which is replaced.

    Each has its CRLF behind it.
    """
    if not block:
        return b""
    kept = _keep_lines(b"\r\n" + block[:-2], lambda name: name not in _OF_THE_BODY)
    return kept[2:] + b"\r\n" if kept else b""


def without_coding(facts: ResponseFacts, length: int) -> ResponseFacts:
    """What is to be said of the same body once its content coding is undone; ``length``: of what it is then."""
    kept = _keep_lines(b"\r\n" + facts.block[:-2], lambda name: name not in _OF_THE_CODING)
    block = (kept + b"\r\nContent-Length: %d\r\n" % length)[2:]
    return ResponseFacts(block, length, event_stream=False)


def replace_fields(lines: bytes, extra: Sequence[Field]) -> bytes:
    """``extra`` set on ``lines``: each takes the place of the first of its name, or is appended."""
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
    """Seconds that the sender wishes to be left alone; None if it does not say, or says it in no known way.

    ``Retry-After`` (RFC 9110 section 10.2.3) as seconds, or as a date, counted from the response's own, whose clock
    it was made by; without one from ``today`` (Unix time). The finer ``Retry-After-Ms`` of OpenAI goes before it.
    """
    found = {name.lower(): value.decode("latin-1").strip() for name, value in _WAITS.findall(lines)}
    exact, value = found.get(b"retry-after-ms", ""), found.get(b"retry-after", "")
    if _NUMBER.fullmatch(exact):
        return min(float(exact) / 1000, _FOR_EVER)
    if _NUMBER.fullmatch(value):
        return min(float(value), _FOR_EVER)
    then = _date(value)
    if then is None:
        return None
    now = _date(found.get(b"date", "")) or datetime.fromtimestamp(today, UTC).replace(tzinfo=None)
    return max(0.0, (then - now).total_seconds())


def _date(value: str) -> datetime | None:
    """A date of HTTP, all of which are in GMT."""
    try:
        return parsedate_to_datetime(value).replace(tzinfo=None)
    except (ValueError, TypeError, IndexError):
        return None
