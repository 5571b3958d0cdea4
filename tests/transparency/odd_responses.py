"""Unusual but legal responses of providers: each reaches the client unchanged, except for framing."""

from __future__ import annotations

import gzip
import random
from itertools import pairwise
from typing import NamedTuple

_DICE = random.Random(9112)  # a fixed seed: the same bytes in every run


class OddResponse(NamedTuple):
    """``raw`` is what the provider sends. Its framing ends it, or (``closes``) the close of the connection."""

    name: str
    raw: bytes
    closes: bool = False


def response(*lines: bytes, body: bytes = b"ok", status: bytes = b"200 OK") -> bytes:
    """A response with Content-Length as its last field."""
    head = b"\r\n".join((b"HTTP/1.1 " + status, *lines, b"Content-Length: %d" % len(body)))
    return head + b"\r\n\r\n" + body


def bare(*lines: bytes, status: bytes = b"200 OK", version: bytes = b"HTTP/1.1") -> bytes:
    """A response head without framing."""
    return b"\r\n".join((version + b" " + status, *lines)) + b"\r\n\r\n"


def chunked(*pieces: bytes, lines: tuple[bytes, ...] = (), tail: bytes = b"0\r\n\r\n") -> bytes:
    """A chunked response, one chunk for each piece."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return bare(*lines, b"Transfer-Encoding: chunked") + body + tail


def stream(*pieces: bytes) -> bytes:
    """Server-sent events, in chunks as given by the pieces."""
    return chunked(*pieces, lines=(b"Content-Type: text/event-stream",))


def cut(data: bytes, count: int) -> list[bytes]:
    """``data`` in ``count`` or fewer pieces, split at random places."""
    places = sorted({0, len(data), *(_DICE.randrange(len(data) + 1) for _ in range(count - 1))})
    return [data[a:b] for a, b in pairwise(places)]


STATUSES = [
    (f"status {status!r}", response(status=status))
    for status in (
        b"200 OK",
        b"200 ",
        b'200 A very odd reason; with: separators, (and) "quotes"',
        b"200 Z\xfcrich \xff\x80",
        b"200 \xe5\xa5\xbd",
        b"200 tab\there  ",
        b"202 Accepted",
        b"206 Partial Content",
        b"299 Whatever",
        b"305 Use Proxy",
        b"404 Not Found",
        b"418 I'm a teapot",
        b"429 Too Many Requests",
        b"500 Internal Server Error",
        b"529 Overloaded",
        b"599 ?",
    )
]

BODILESS = [
    ("204", bare(b"X-A: 1", status=b"204 No Content")),
    ("204 with Content-Length: 0", bare(b"Content-Length: 0", b"X-A: 1", status=b"204 No Content")),
    ("205", bare(b"Content-Length: 0", status=b"205 Reset Content")),
    ("304 without length", bare(b'ETag: "a"', status=b"304 Not Modified")),
    ("304 with the length of what it does not send", bare(b"Content-Length: 1234", status=b"304 Not Modified")),
    ("status line without a reason or its blank", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"),
]

INTERIM = [
    ("100 and the answer", bare(status=b"100 Continue") + response()),
    ("102 twice", bare(status=b"102 Processing") * 2 + response(b"X-A: 1")),
    ("103 with fields", bare(b"Link: </x>", b"Content-Type: a/b", status=b"103 Early Hints") + response(b"X-A: 1")),
    ("199 with a reason", bare(status=b"199 Odd") + chunked(b"ok")),
]

FIELDS = [
    ("repeated Set-Cookie", response(b"Set-Cookie: a=1; Path=/", b"X: y", b"SET-cookie: b=2, c", b"Set-Cookie: a=1")),
    ("field names in mixed case", response(b"x-UPPER-lower: 1", b"SERVER: odd", b"date: Mon")),
    ("repeated and empty fields", response(b"X-A: 1", b"X-Empty:", b"X-A: 2", b"x-a:", b"Vary: a", b"Vary: b")),
    ("padding", response(b"X-A:1", b"X-B: \t 2", b"X-C:3 \t ")),
    ("latin-1 value", response(b"X-Name: M\xfcller \xff\x80")),
    ("utf-8 value", response("X-Name: 你好".encode())),
    ("value full of separators", response(b'X-A: ()<>@,;:\\"/[]?={}', b"X-B: ::")),
    ("no fields but the length", response()),
    ("no Content-Type", response(b"X-A: 1")),
    ("huge field", response(b"X-Huge: " + b"h" * 100_000)),
    ("two hundred fields", response(*(b"X-H%d: %d" % (n, n) for n in range(200)))),
    ("Content-Length with leading zeros", bare(b"Content-Length: 002") + b"ok"),
    ("Content-Length in the middle", bare(b"A: 1", b"content-LENGTH:2", b"B: 2") + b"ok"),
    (
        "connection fields removed",
        response(b"Keep-Alive: timeout=5", b"Connection: keep-alive", b"Proxy-Connection: a"),
    ),
    ("nominated fields removed", response(b"X-Hop: 1", b"Connection: x-HOP , foo", b"FOO: 2", b"X-A: 1")),
    ("Upgrade offer removed", response(b"Upgrade: h2c", b"Connection: upgrade", b"X-A: 1")),
    ("Retry-After and limits", response(b"Retry-After: 7", b"x-ratelimit-remaining-tokens: 0", status=b"429 Slow")),
    ("provider's challenge", response(b'WWW-Authenticate: Bearer realm="p"', status=b"401 Unauthorized")),
    ("Content-Encoding: identity", response(b"Content-Encoding: identity")),
    ("unknown Content-Encoding", response(b"Content-Encoding: rot13", body=b"bx")),
    ("trailing fields of the kind we add", response(b"Access-Control-Allow-Origin: *", b"Via: 1.1 p", b"Age: 0")),
]

REDIRECTS = [
    (f"redirect {status!r}", response(b"Location: " + place, status=status))
    for status, place in (
        (b"301 Moved Permanently", b"https://elsewhere.example/v1"),
        (b"302 Found", b"//elsewhere.example"),
        (b"303 See Other", b"../x"),
        (b"307 Temporary Redirect", b"http://127.0.0.1:1/"),
        (b"308 Permanent Redirect", b""),
    )
]

BODIES = [
    *((f"body of {size} bytes", response(body=_DICE.randbytes(size))) for size in (0, 1, 65_535, 65_536, 1_100_003)),
    ("body that looks like a response", response(body=response() * 2)),
    ("body that looks like chunks", response(body=b"2\r\nok\r\n0\r\n\r\n")),
    ("body of line ends", response(body=b"\r\n\r\n")),
    ("gzip body", response(b"Content-Encoding: gzip", body=gzip.compress(b"x" * 10_000, mtime=0))),
    ("JSON body with odd white space", response(b"Content-Type: application/json", body=b'\r\n{ "a" :1e400 }\t')),
    ("chunked empty", chunked()),
    ("chunked, one chunk", chunked(b"ok")),
    ("chunked, bytes", chunked(*(bytes([n]) for n in range(256)))),
    ("chunked, odd cuts", chunked(*cut(_DICE.randbytes(100_000), 40))),
    ("chunked, 1 MiB in one chunk", chunked(_DICE.randbytes(1_048_576))),
    ("chunk extensions", bare(b"Transfer-Encoding: chunked") + b'02;a="b";c\r\nok\r\n000;z\r\n\r\n'),
    ("trailers dropped", chunked(b"ok", lines=(b"Trailer: X-Sum",), tail=b"0\r\nX-Sum: 1\r\nSet-Cookie: a=b\r\n\r\n")),
    ("coding in odd case", bare(b"TRANSFER-encoding:CHUNKED", b"X-A: 1") + b"2\r\nok\r\n0\r\n\r\n"),
    ("gzip body, chunked", chunked(*cut(gzip.compress(_DICE.randbytes(5000), mtime=0), 9),
                                   lines=(b"Content-Encoding: gzip", b"Content-Type: text/event-stream"))),
]  # fmt: skip

CLOSING = [
    ("close-delimited", bare(b"X-A: 1") + b"until the end"),
    ("close-delimited, empty", bare(b"X-A: 1")),
    ("close-delimited, large", bare() + _DICE.randbytes(300_000)),
    ("HTTP/1.0 close-delimited", bare(version=b"HTTP/1.0") + b"old"),
    ("HTTP/1.0 with length", bare(b"Content-Length: 3", version=b"HTTP/1.0") + b"old"),
    ("Connection: close with length", response(b"Connection: close", b"X-A: 1")),
    ("Connection: close, chunked", chunked(b"ok", lines=(b"Connection: Close",))),
    ("close-delimited events", bare(b"Content-Type: text/event-stream") + b"data: 1\n\ndata: 2\n\n"),
]

STREAMS = [
    ("events with LF", stream(b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n")),
    ("events with CR", stream(b"data: 1\r\r", b"data: 2\r\r")),
    ("events with CRLF", stream(b"data: 1\r\n\r\n", b"data: 2\r\n\r\n")),
    ("events with mixed line ends", stream(b"data: 1\r\n\n", b"data: 2\n\r\n", b"data: 3\r\r\ndata: 4\n\r")),
    ("line end cut between CR and LF", stream(b"data: 1\r", b"\n\r", b"\ndata: 2\r\n", b"\r\n")),
    ("BOM", stream(b"\xef\xbb\xbfdata: 1\n\n")),
    ("BOM cut, and again later", stream(b"\xef", b"\xbb", b"\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n")),
    ("comments", stream(b": hi\n\n", b":\n", b"\n", b":x\ndata: 1\n:y\n\n", b": ping\n\n")),
    ("UTF-8 cut at every byte", stream(*(bytes([c]) for c in "data: é你\U0001f600\u2028\u0085\n\n".encode()))),
    ("invalid UTF-8", stream(b"data: \xff\xc3(\n\n", b"data: \xed\xa0\x80\n\n")),
    ("NUL and control bytes", stream(b"data: \x00\x01\x0b\x0c\x1f\x7f\n\nid: \x00\n\n")),
    ("empty lines first", stream(b"\n\n\r\n", b"\ndata: 1\n\n")),
    ("fields of every kind", stream(b"event: a\ndata\ndata:\ndata:x\n data: y\nid: 1\nretry: 5\nfoo\n\n")),
    ("last event without its empty line", stream(b"data: 1\n\n", b"data: 2\n")),
    ("last line without its end", stream(b"data: 1\n\n", b"data: [DONE]")),
    ("many events in one chunk", stream(b"data: {}\n\n" * 1000)),
    ("one event in many chunks", stream(*cut(b"data: " + b"x" * 50_000 + b"\n\n", 60))),
    ("event longer than a read", stream(b"data: " + b"y" * 300_000 + b"\n\n")),
    ("events with a length", response(b"Content-Type: text/event-stream", body=b"data: 1\n\ndata: 2\n\n")),
    ("events, type in odd case", chunked(b"data: 1\n", b"\n", lines=(b"content-TYPE: TEXT/Event-Stream ;a=b",))),
    ("stream without events", stream()),
]

TABLES = {
    "statuses": STATUSES,
    "no body": BODILESS,
    "interim": INTERIM,
    "fields": FIELDS,
    "redirects": REDIRECTS,
    "bodies": BODIES,
    "streams": STREAMS,
    "closing": CLOSING,
}
BY_TABLE = {table: [OddResponse(*row, closes=table == "closing") for row in rows] for table, rows in TABLES.items()}
ODD_RESPONSES = [odd for rows in BY_TABLE.values() for odd in rows]
