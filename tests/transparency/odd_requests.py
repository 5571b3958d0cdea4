"""Unusual but legal requests of clients: each reaches the provider unchanged, except for documented edits."""

from __future__ import annotations

import gzip
import random
from typing import NamedTuple

import zstandard

CHAT = b'{"model":"m","messages":[]}'
_DICE = random.Random(9110)  # a fixed seed: the same bytes in every run


class OddRequest(NamedTuple):
    """``raw`` is what the client sends; ``name`` describes the unusual part."""

    name: str
    raw: bytes


def request(
    *lines: bytes,
    body: bytes | None = CHAT,
    method: bytes = b"POST",
    target: bytes = b"/v1/chat/completions",
    host: bytes = b"Host: proxy.example",
) -> bytes:
    """A request with ``lines`` between Host and Content-Length; ``body`` None: no body and no Content-Length."""
    framing = () if body is None else (b"Content-Length: %d" % len(body),)
    head = b"\r\n".join((method + b" " + target + b" HTTP/1.1", host, *lines, *framing))
    return head + b"\r\n\r\n" + (body or b"")


def chunked(*lines: bytes, body: bytes, target: bytes = b"/v1/chat/completions") -> bytes:
    """A chunked request; ``body`` is written out with its chunk headers."""
    return request(*lines, b"Transfer-Encoding: chunked", body=None, target=target) + body


def _by_header(*lines: bytes, body: bytes | None = None, method: bytes = b"POST", target: bytes = b"/v1/x") -> bytes:
    """Routed by the header, so that the body may be arbitrary."""
    return request(b"Model-Override: m", *lines, body=body, method=method, target=target)


def _json(text: str) -> bytes:
    return request(b"Content-Type: application/json", body=text.encode())


def _multipart(*parts: bytes) -> bytes:
    body = b"".join(b"--b0undary\r\n" + part + b"\r\n" for part in parts) + b"--b0undary--\r\n"
    return request(b"Content-Type: multipart/form-data; boundary=b0undary", body=body, target=b"/v1/files")


_MODEL_PART = b'Content-Disposition: form-data; name="model"\r\n\r\nm'
_FILE_PART = (
    b'Content-Disposition: form-data; name="file"; filename="a;\xc3\xa9.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    + bytes(range(256))
)

HEADERS = [
    ("field names in mixed case", request(b"x-UPPER-lower: 1", b"ACCEPT: */*", b"aCCept-LANGuage: en")),
    ("Host behind all others", b"POST /v1/x HTTP/1.1\r\nContent-Length: 13\r\nHost: h\r\n\r\n" + b'{"model":"m"}'),
    ("Content-Length first", b'POST /v1/x HTTP/1.1\r\nContent-Length: 13\r\nhost: h\r\nA: b\r\n\r\n{"model":"m"}'),
    ("lower-case framing fields", b'POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: 13\r\n\r\n{"model":"m"}'),
    ("repeated fields, apart", request(b"X-A: 1", b"X-B: 2", b"X-A: 3", b"x-a: 1")),
    ("repeated list fields", request(b"Accept: a/b", b"Accept: c/d", b"Accept-Encoding: gzip", b"Accept-Encoding: br")),
    ("empty value", request(b"X-Empty:", b"X-Next: 1")),
    ("value of blanks only", request(b"X-Blank:  \t ", b"X-Next: 1")),
    ("only empty values", request(b"A:", b"B:", b"C:")),
    ("no padding", request(b"X-A:1", b"Accept:*/*")),
    ("much padding", request(b"X-A: \t  1", b"X-B:1\t \t", b"X-C:   1   ")),
    ("blanks inside a value", request(b"X-A: a  b\tc", b'X-B: "a, b" , c')),
    ("latin-1 value", request(b"X-Name: M\xfcller \xff\x80", b"X-After: 1")),
    ("utf-8 value", request("X-Name: Zoë 你好".encode())),
    ("value full of separators", request(b'X-A: ()<>@,;:\\"/[]?={}', b"X-B: ::", b"X-C: :")),
    ("field name of every token character", request(b"!#$%&'*+-.^_`|~09azAZ: v")),
    ("one-letter field name", request(b"a: b", b"C: d")),
    ("field name of digits", request(b"123: 456")),
    ("long field name", request(b"x" * 1000 + b": 1")),
    ("very long value", request(b"X-Long: " + b"v" * 40_000)),
    ("hundred fields", request(*(b"X-H%d: %d" % (n, n) for n in range(98)))),
    ("fields that look like ours", request(b"Hostname: a", b"X-Host: b", b"Content-Length-X: 3", b"Authorization2: c")),
    ("fields that look like framing", request(b"Transfer-Encodings: chunked", b"X-Transfer-Encoding: x")),
    ("User-Agent odd", request(b"User-Agent: ;)", b"X-Stainless-Lang: python")),
    ("Via of another proxy", request(b"Via: 1.1 other", b"X-Request-Id: \t7")),
    ("Content-Type odd", request(b'CONTENT-TYPE: Application/JSON ; charset="UTF-8"')),
    ("no Content-Type", request()),
    ("range and conditions", request(b'If-None-Match: "a", W/"b"', b"Range: bytes=0-1,-5", b"Prefer: wait=1")),
    ("Host with port", request(host=b"Host: proxy.example:8080")),
    ("Host IPv6", request(host=b"Host: [::1]:8080")),
    ("Host in odd case", request(host=b"hOST:PROXY.example")),
    (
        "Content-Length with leading zeros",
        b'POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: 0013\r\n\r\n{"model":"m"}',
    ),
]

REMOVED = [
    ("names as variables", request(b"Transfer_Encoding: chunked", b"Content_Length: 5", b"x_api.key: k", b"X_Y: kept")),
    ("credential replaced in its place", request(b"A: 1", b"Authorization: Bearer mine", b"B: 2")),
    ("credential in odd case", request(b"aUTHORIZATION:Bearer mine")),
    ("x-api-key replaced", request(b"A: 1", b"x-api-key: mine", b"B: 2")),
    ("api-key replaced", request(b"Api-Key: mine", b"B: 2")),
    ("three credentials become one", request(b"X-Api-Key: a", b"A: 1", b"Authorization: b", b"Api-Key: c", b"B: 2")),
    ("cookies removed", request(b"Cookie: a=b", b"A: 1", b"Cookie: c=d", b"COOKIE2: x")),
    ("model-override removed", _by_header(b"A: 1", body=b"anything")),
    ("connection fields removed", request(b"Keep-Alive: timeout=5", b"Proxy-Connection: x", b"TE: trailers", b"A: 1")),
    ("Connection: keep-alive", request(b"Connection: keep-alive", b"A: 1")),
    ("nominated fields removed", request(b"X-Hop: 1", b"Connection: x-HOP, foo", b"Foo: 2", b"A: 1", b"foo: 3")),
    ("Connection lines in pieces", request(b"Connection: x-a", b"X-A: 1", b"Connection: , X-B ,", b"x-b: 2", b"A: 1")),
    (
        "Connection nominates what it may not",
        request(b"Connection: host, content-length, content-type, authorization", b"Content-Type: a/b", b"A: 1"),
    ),
    ("proxy credentials removed", request(b"Proxy-Authorization: Basic eA==", b"x-goog-api-key: k", b"A: 1")),
    ("claims about the client removed", request(b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=x", b"X-Real-IP: 1")),
    ("trace context removed", request(b"traceparent: 00-0-0-01", b"A: 1", b"tracestate: a=1", b"TraceState: b=2")),
    ("Trailer announcement removed", request(b"Trailer: X-Sum", b"A: 1")),
]

TARGETS = [
    (f"target {target!r}", request(target=target))
    for target in (
        b"/",
        b"//",
        b"//evil.example/v1/x",
        b"/v1//chat///completions",
        b"/http://evil.example/x",
        b"/v1/%zz%",
        b"/v1/a%2Fb%00%20",
        b"/v1/a;p=1;q/b",
        b"/v1/a|b",
        b'/v1/"q"/a\\b/^`{}<>',
        b"/v1/it's(me)*!$&,=@:~",
        b"/v1/...x/..y/z..",
        b"/.well-known/x",
        b"/v1/x?",
        b"/v1/x??",
        b"/v1/x?a=1?b=2",
        b"/v1/x?a+b=+&&=&c",
        b"/v1/x?path=../../etc&u=http://e/",
        b'/v1/x?q="quoted"|pipe\\back^`{}',
        b"/v1/x?%E4%BD%A0=%e5%a5%bd",
        b"/v1/" + b"x" * 8000,
        b"/v1/x?" + b"k=v&" * 2000,
        b"http://other.example/v1/x?y",
        b"HTTP://OTHER.example:99/v1/x",
        b"https://other.example",
        b"http://other.example?only=query",
    )
]

BODIES = [
    ("JSON with odd white space", _json('\r\n\t {\n\t"model"\r\n:\t"m"\r,\n"x" : [ 1 ,2 ] }\n \r\n')),
    ("JSON, model last", _json('{"messages":[{"role":"user","content":"model"}],"model":"m"}')),
    ("JSON with another model inside", _json('{"a":{"model":"x"},"b":[{"model":"y"}],"model":"m"}')),
    ("JSON, model escaped", _json('{"\\u006dodel":"\\u006d"}')),
    ("JSON with odd numbers", _json('{"model":"m","n":[-0,0.0,1e5,1E+5,1e-07,123456789012345678901234567890,5e-324]}')),
    ("JSON with duplicate other keys", _json('{"model":"m","a":1,"a":2,"\\u0061":3}')),
    ("JSON with raw unicode", _json('{"model":"m","text":"é你\U0001f600\u2028\u2029\u0085\ufeff"}')),
    ("JSON with escapes", _json('{"model":"m","text":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\\u0000"}')),
    ("JSON nested", _json('{"a":' + "[" * 50 + "]" * 50 + ',"model":"m"}')),
    ("JSON with an empty key", _json('{"":"","model":"m"," ":null}')),
    ("JSON body with DEL", _json('{"model":"m","a":"\x7f"}')),
    ("JSON of a megabyte", _json('{"image":"' + "QUJD" * 262_144 + '","model":"m"}')),
    ("zstd body", request(b"Content-Encoding: zstd", body=zstandard.compress(CHAT))),
    ("gzip body", request(b"Content-Encoding: gzip", body=gzip.compress(CHAT, mtime=0))),
    ("gzip body in odd case", request(b"CONTENT-Encoding:  GZip ", body=gzip.compress(CHAT, mtime=0))),
    ("multipart, model first", _multipart(_MODEL_PART, _FILE_PART)),
    ("multipart, model last", _multipart(_FILE_PART, _MODEL_PART)),
    ("every byte", _by_header(body=bytes(range(256)) * 3)),
    ("body that looks like a request", _by_header(body=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")),
    ("body that looks like chunks", _by_header(body=b"5\r\nhello\r\n0\r\n\r\n")),
    ("body of line ends", _by_header(body=b"\r\n\r\n\r\n")),
    ("body of one byte", _by_header(body=b"\0")),
    ("body of 65535 bytes", _by_header(body=_DICE.randbytes(65_535))),
    ("body of 65536 bytes", _by_header(body=_DICE.randbytes(65_536))),
    ("body of 1 MiB and one byte", _by_header(body=_DICE.randbytes(1_048_577))),
    ("Content-Length: 0", _by_header(body=b"")),
]

CHUNKED = [
    ("chunks of one byte", chunked(body=b"".join(b"1\r\n%c\r\n" % c for c in CHAT) + b"0\r\n\r\n")),
    ("one chunk", chunked(body=b"1B\r\n" + CHAT + b"\r\n0\r\n\r\n")),
    ("lower-case chunk size, leading zeros", chunked(body=b"0001b\r\n" + CHAT + b"\r\n000\r\n\r\n")),
    ("chunk extensions", chunked(body=b'1b;a;b=c;d="e;f"\r\n' + CHAT + b"\r\n0;last\r\n\r\n")),
    ("trailers", chunked(b"Trailer: X-Sum", body=b"1b\r\n" + CHAT + b"\r\n0\r\nX-Sum: 1\r\nX-More:2\r\n\r\n")),
    ("coding in odd case", request(b"TRANSFER-Encoding:  ChunKED", body=None) + b"1b\r\n" + CHAT + b"\r\n0\r\n\r\n"),
    (
        "chunked and empty",
        request(b"Model-Override: m", b"Transfer-Encoding: chunked", b"A: 1", body=None) + b"0\r\n\r\n",
    ),
    (
        "chunked, coding field first",
        b"POST /v1/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: h\r\nA: 1\r\n\r\n1b\r\n" + CHAT + b"\r\n0\r\n\r\n",
    ),
]

METHODS = [
    ("GET without a body", _by_header(method=b"GET")),
    ("GET with a body", request(method=b"GET")),
    ("HEAD", _by_header(method=b"HEAD")),
    ("OPTIONS", _by_header(method=b"OPTIONS")),
    ("DELETE without a body", _by_header(method=b"DELETE")),
    ("DELETE with a body", request(method=b"DELETE")),
    ("PUT", request(method=b"PUT")),
    ("PATCH", request(method=b"PATCH")),
    ("POST without body or length", _by_header()),
    ("QUERY-like search method", request(method=b"SEARCH")),
    ("nothing but Host and the model", b"GET / HTTP/1.1\r\nHost: h\r\nmodel-override: m\r\n\r\n"),
    ("empty lines before the request line", b"\r\n\r\n" + request(b"A: 1")),
    (
        "HTTP/1.0 without Host",
        b'POST /v1/x HTTP/1.0\r\nContent-Length: 13\r\nConnection: keep-alive\r\n\r\n{"model":"m"}',
    ),
    (
        "HTTP/1.0 with Host",
        b'POST /v1/x HTTP/1.0\r\nHost: h\r\nContent-Length: 13\r\nConnection: Keep-Alive\r\n\r\n{"model":"m"}',
    ),
]

ODD_REQUESTS = [OddRequest(*row) for row in HEADERS + REMOVED + TARGETS + BODIES + CHUNKED + METHODS]
