"""Reading a request head: the forwarded lines, the facts about the message, and the refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Field, Fields
from onwards_py.wire.request_head import RequestHead, examine, size_of, strip_upgrade

HOST = (b"Host", b"h")


def read(*fields: Field, target: bytes = b"/v1/x", minor: int = 1) -> RequestHead:
    return examine([HOST, *fields], target, minor)


def kept(head: RequestHead) -> list[bytes]:
    """The field lines that are forwarded."""
    return b"".join(head.parts).split(b"\r\n")[:-1]


def refusal(fields: Fields, target: bytes = b"/v1/x", minor: int = 1) -> ErrorKind:
    with pytest.raises(ProxyError) as caught:
        examine(fields, target, minor)
    return caught.value.kind


def test_a_head_without_fields() -> None:
    """HTTP/1.0 allows it: no line is kept, no fact is known, and no stray line end is added."""
    head = examine([], b"/", 0)
    assert head.parts == []
    assert (head.host_at, head.length_at, head.credential_at, head.encoding_at, head.trace_at) == (-1, -1, -1, -1, ())
    assert (head.content_length, head.chunked, head.expects_continue, head.upgrade) == (None, False, False, None)


def test_one_field() -> None:
    """One field line is kept."""
    assert kept(read()) == [b"Host: h"]
    assert kept(examine([(b"X", b"")], b"/", 0)) == [b"X: "]


def test_order_case_and_repeats_are_kept() -> None:
    """Lines are not sorted, folded or joined."""
    fields = [(b"x-B", b"1"), (b"X-a", b"2"), (b"X-B", b"3"), (b"x-B", b"1"), (b"Accept", b""), (b"Via", b"\xff")]
    assert kept(read(*fields))[1:] == [b"x-B: 1", b"X-a: 2", b"X-B: 3", b"x-B: 1", b"Accept: ", b"Via: \xff"]


@pytest.mark.parametrize(
    "name",
    [
        *(b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade"),
        *(b"Expect", b"HTTP2-Settings", b"Proxy-Authorization", b"Proxy-Authenticate", b"Cookie", b"Cookie2"),
        *(b"Authorization", b"X-Api-Key", b"Api-Key", b"X-Goog-Api-Key", b"Model-Override"),
        *(
            b"Forwarded",
            b"X-Forwarded-For",
            b"X-Forwarded-Host",
            b"X-Forwarded-Proto",
            b"X-Forwarded-Port",
            b"X-Real-IP",
        ),
    ],
)
def test_fields_that_are_never_forwarded(name: bytes) -> None:
    """These are hop-by-hop fields, credentials and claims about the client, in any spelling."""
    value = {b"Transfer-Encoding": b"chunked", b"Expect": b"100-continue"}.get(name, b"x")
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        assert kept(read((spelling, value), (b"X-A", b"1"))) == [b"Host: h", b"X-A: 1"]


@pytest.mark.parametrize(
    "name",
    [
        *(b"Transfer_Encoding", b"Content_Length", b"content_length", b"TRANSFER_ENCODING", b"Content.Length"),
        *(b"X_Api_Key", b"x-api_key", b"X_Forwarded-For", b"X_Real_IP", b"Model_Override", b"Content_Type"),
        *(b"Content~Encoding", b"Proxy_Connection", b"User_Agent", b"X_Goog|Api`Key"),
    ],
)
def test_fields_that_cgi_would_confuse_are_never_forwarded(name: bytes) -> None:
    """RFC 3875 section 4.1.18: a CGI server gives both names one variable. The proxy ignores such a field, however
    often it occurs."""
    head = examine([(b"A", b"1"), (name, b"x"), (b"X_Custom_Name", b"2"), (name, b"x")], b"/", 0)
    assert kept(head) == [b"A: 1", b"X_Custom_Name: 2"]
    assert (head.content_length, head.chunked, head.model_override, head.api_key) == (None, False, None, None)


def test_facts() -> None:
    """The facts about the message come from its head."""
    head = read(
        (b"content-length", b"12"),
        (b"Content-Type", b"a/b"),
        (b"CONTENT-ENCODING", b"gzip"),
        (b"Authorization", b"Bearer t"),
        (b"x-api-key", b"k"),
        (b"Model-Override", b"m"),
        (b"Expect", b" 100-Continue"),
        (b"Connection", b"upgrade"),
        (b"Upgrade", b" WebSocket "),
    )
    assert (head.content_length, head.content_type, head.content_encoding) == (12, b"a/b", b"gzip")
    assert (head.authorization, head.api_key, head.model_override) == (b"Bearer t", b"k", b"m")
    assert head.expects_continue
    assert head.upgrade == b"websocket"
    assert not head.chunked


def test_places() -> None:
    """The indices name the values that an attempt replaces: Host, length, encoding and trace fields."""
    head = read(
        (b"A", b"1"),
        (b"traceparent", b"t"),
        (b"Authorization", b"x"),
        (b"Content-Encoding", b"gzip"),
        (b"Api-Key", b"y"),
        (b"Content-Length", b"5"),
        (b"TraceState", b"u"),
    )
    parts = head.parts
    assert (parts[head.host_at], parts[head.length_at]) == (b"h", b"5")
    assert parts[head.credential_at] == b""
    assert parts[head.encoding_at] == b"Content-Encoding"
    assert [parts[at] for at in head.trace_at] == [b"traceparent", b"TraceState"]


@pytest.mark.parametrize(
    ("connection", "gone"),
    [
        ([b"x-a"], {b"X-A"}),
        ([b"X-A, x-b"], {b"X-A", b"X-B"}),
        ([b"close, x-a"], {b"X-A"}),
        ([b"x-a", b"x-b"], {b"X-A", b"X-B"}),
        ([b" , x-b ,, "], {b"X-B"}),
        ([b"keep-alive"], set()),
        ([b""], set()),
        ([b"host, content-length, content-type, content-encoding, authorization, x"], set()),
    ],
)
def test_nominated_fields_are_not_forwarded(connection: list[bytes], gone: set[bytes]) -> None:
    """RFC 9110 section 7.6.1. Fields for framing, routing or authentication cannot be removed by nomination."""
    others = [(b"X-A", b"1"), (b"Content-Type", b"t"), (b"X-B", b"2"), (b"Content-Encoding", b"gzip"), (b"X-a", b"3")]
    framing = [(b"Content-Length", b"3"), (b"Authorization", b"Bearer x")]
    head = read(*((b"Connection", value) for value in connection), *others, *framing)
    want = [name + b": " + value for name, value in (*others, framing[0]) if name.upper() not in gone]
    assert kept(head) == [b"Host: h", *want]
    assert head.authorization == b"Bearer x"
    assert head.parts[head.length_at] == b"3"


@pytest.mark.parametrize(
    "name",
    [
        *(
            b"Host",
            b"Content-Length",
            b"Expect",
            b"Upgrade",
            b"Authorization",
            b"X-Api-Key",
            b"Api-Key",
            b"Model-Override",
        ),
        *(b"Content-Type", b"Content-Encoding", b"User-Agent", b"Content-Range", b"ETag", b"Max-Forwards"),
    ],
)
def test_a_repeated_singleton_is_refused(name: bytes) -> None:
    """RFC 9110 section 5.3: servers differ in which of the two counts."""
    value = {b"Expect": b"100-continue", b"Content-Length": b"1"}.get(name, b"x")
    fields = [HOST] if name != b"Host" else []
    assert refusal([*fields, (name, value), (b"A", b"1"), (name.lower(), value)]) is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize("value", [b"gzip", b"chunked, chunked", b"gzip, chunked", b"identity", b"", b"chunked;q=1"])
def test_any_transfer_coding_but_chunked_is_refused(value: bytes) -> None:
    """RFC 9112 section 6.1."""
    assert refusal([HOST, (b"Transfer-Encoding", value)]) is ErrorKind.TRANSFER_CODING


def test_chunked_in_any_case() -> None:
    """Transfer codings are case-insensitive (RFC 9112 section 7)."""
    assert read((b"transfer-encoding", b" ChunkeD\t")).chunked


def test_two_framings_are_refused_in_either_order() -> None:
    """RFC 9112 section 11.2."""
    coding = (b"Transfer-Encoding", b"chunked")
    for length in ((b"Content-Length", b"3"), (b"Content-Length", b"0")):
        assert refusal([HOST, length, coding]) is ErrorKind.BAD_REQUEST
        assert refusal([HOST, coding, length]) is ErrorKind.BAD_REQUEST


def test_chunked_in_http_1_0_is_refused() -> None:
    """RFC 9112 section 6.1: the framing is faulty."""
    assert refusal([HOST, (b"Transfer-Encoding", b"chunked")], minor=0) is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize("value", [b"", b"200-ok", b"100-continue, x", b"100"])
def test_unknown_expectations_are_refused(value: bytes) -> None:
    """RFC 9110 section 10.1.1: the status is 417."""
    assert refusal([HOST, (b"Expect", value)]) is ErrorKind.EXPECTATION_FAILED


@pytest.mark.parametrize(
    "value", [b"h", b"h:1", b"h:", b"H.example", b"127.0.0.1:80", b"[::1]", b"[::1]:80", b"xn--a.b", b"a_b", b" h\t"]
)
def test_valid_hosts(value: bytes) -> None:
    """RFC 3986 section 3.2.2."""
    assert examine([(b"Host", value)], b"/", 1).host_at == 2


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b" ",
            b"a b",
            b"a,b",
            b"a/b",
            b"u@h",
            b"a?b",
            b"a#b",
            b"a\\b",
            b"h:x",
            b"h:1:2",
            b"::1",
            b"[::1",
            b"\xff",
        ),
        *(b"h\x00", b"[h]"),
    ],
)
def test_invalid_hosts_are_refused(value: bytes) -> None:
    """RFC 9112 section 3.2."""
    assert refusal([(b"Host", value)]) is ErrorKind.BAD_REQUEST
    if b" " not in value and b"/" not in value and b"?" not in value and b"#" not in value:
        assert refusal([HOST], target=b"http://" + value + b"/x") is ErrorKind.BAD_REQUEST


def test_host_is_required_by_http_1_1_only() -> None:
    """RFC 9112 section 3.2."""
    assert refusal([]) is ErrorKind.BAD_REQUEST
    assert refusal([], target=b"http://h/") is ErrorKind.BAD_REQUEST
    assert examine([], b"/", 0).host_at == -1


def test_an_upgrade_that_is_not_nominated_is_ignored() -> None:
    """RFC 9110 section 7.8: Upgrade needs the connection option of that name."""
    assert read((b"Upgrade", b"websocket")).upgrade is None
    assert read((b"Upgrade", b"websocket"), (b"Connection", b"keep-alive, Upgrade")).upgrade == b"websocket"


def test_size_counts_the_received_bytes() -> None:
    """It counts the target, and each line with its colon, space and CRLF."""
    assert size_of([], b"/") == 1
    assert size_of([(b"A", b""), (b"Bc", b"def")], b"/xy") == 3 + len(b"A: \r\n") + len(b"Bc: def\r\n")


def test_without_upgrade() -> None:
    """Only the request to change protocols is removed."""
    fields = [HOST, (b"UPGRADE", b"h2c"), (b"A", b"1"), (b"HTTP2-Settings", b"y"), (b"A", b"2")]
    assert strip_upgrade(fields) == [HOST, (b"A", b"1"), (b"A", b"2")]
    options = [(b"Connection", b"Upgrade, close ,HTTP2-Settings, x-a"), (b"connection", b" upgrade")]
    assert strip_upgrade(options) == [(b"Connection", b"close , x-a")]
    assert strip_upgrade([]) == []


NAMES = [b"Host", b"X-A", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"traceparent"]
VALUES = [b"", b"h", b"7", b"chunked", b"x-a, close", b"100-continue", b"\xff", b" "]


@examples(500)
@given(
    st.lists(st.tuples(st.sampled_from([*NAMES, b"Expect", b"Upgrade", b"cookie"]), st.sampled_from(VALUES))),
    st.sampled_from([b"/", b"http://h/", b"http://h,i/", b"*", b""]),
    st.integers(0, 1),
)
def test_any_fields_are_read_or_refused(fields: Fields, target: bytes, minor: int) -> None:
    """The function never raises another error, except for a Content-Length that no parser accepts. The kept lines
    are input lines in their order."""
    fields = [pair for pair in fields if pair[0] != b"Content-Length" or pair[1].isdigit()]
    try:
        head = examine(fields, target, minor)
    except ProxyError:
        return
    lines = iter(name + b": " + value for name, value in fields)
    assert all(line in lines for line in kept(head)), "a line that was not there, or out of order"
