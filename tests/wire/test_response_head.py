"""Reading a response head: the lines for the client, the length of the body, and untrustworthy framing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Field, ResponseHead
from onwards_py.wire.response_head import ResponseFacts, examine_response


def read(*lines: bytes, status: int = 200, extra: tuple[Field, ...] = (), to_head: bool = False) -> ResponseFacts:
    return examine_response(head(*lines, status=status), extra, to_head=to_head)


def head(*lines: bytes, status: int = 200) -> ResponseHead:
    return ResponseHead(status, b"OK", b"".join(b"\r\n" + line for line in lines))


def kept(facts: ResponseFacts) -> list[bytes]:
    """The forwarded lines; each ends with CRLF, and no bytes follow the last."""
    *lines, rest = facts.block.split(b"\r\n")
    assert rest == b""
    return lines


def test_a_head_without_fields() -> None:
    """The result has no line end either."""
    facts = read()
    assert (facts.block, facts.length, facts.event_stream) == (b"", None, False)


def test_one_field() -> None:
    """One field is kept or dropped."""
    assert read(b"A: 1").block == b"A: 1\r\n"
    assert read(b"Connection: close").block == b""


def test_lines_are_kept_as_they_stood() -> None:
    """Order, case, repeats, padding, empty values and odd bytes are kept."""
    lines = [b"x-B:1", b"Set-Cookie: a", b"X-b: \t2 ", b"set-cookie: b", b"Empty:", b"N: \xff", b"Content-Type: a/b"]
    assert kept(read(*lines)) == lines


@pytest.mark.parametrize(
    "name",
    [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Upgrade", b"Proxy-Authenticate"],
)
def test_hop_by_hop_fields_are_dropped(name: bytes) -> None:
    """RFC 9110 section 7.6.1: they may be first, in the middle or last. Fields with similar names stay."""
    lines = [b"A: 1", b"X-" + name + b": 2"]
    for spelling in (name, name.lower(), name.upper(), name.swapcase()):
        for place in range(3):
            assert kept(read(*lines[:place], spelling + b": x", *lines[place:])) == lines


@pytest.mark.parametrize(
    ("connection", "gone"),
    [
        ([b"x-a"], {b"x-a"}),
        ([b"X-A , x-b"], {b"x-a", b"x-b"}),
        ([b"close", b"x-b"], {b"x-b"}),
        ([b", ,x-b,"], {b"x-b"}),
        ([b""], set()),
        ([b"content-length, content-type, content-encoding"], set()),
    ],
)
def test_nominated_fields_are_dropped(connection: list[bytes], gone: set[bytes]) -> None:
    """RFC 9110 section 7.6.1. Fields that frame the body cannot be removed by nomination."""
    lines = [b"X-A: 1", b"Content-Length: 3", b"x-b:2", b"Content-Type: a/b", b"X-a: 3", b"Content-Encoding: gzip"]
    want = [line for line in lines if line.partition(b":")[0].lower() not in gone]
    assert kept(read(*(b"Connection: " + value for value in connection), *lines)) == want


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([], None),
        ([b"Content-Length: 0"], 0),
        ([b"content-length:12"], 12),
        ([b"CONTENT-LENGTH: \t007 "], 7),
        ([b"Transfer-Encoding: chunked"], None),
        ([b"transfer-encoding:\tChunked "], None),
    ],
)
def test_length(lines: list[bytes], length: int | None) -> None:
    """None: the end of the stream ends the body. The line of a length is kept, that of a transfer coding removed."""
    facts = read(*lines)
    assert facts.length == length
    assert kept(facts) == [line for line in lines if not line.lower().startswith(b"transfer")]


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("framing", [[], [b"Content-Length: 5"], [b"Transfer-Encoding: chunked"]])
def test_statuses_without_a_body(status: int, framing: list[bytes]) -> None:
    """RFC 9110 sections 15.3.5 and 15.4.5: 204 must not have a length (section 8.6), 304 may."""
    facts = read(b"A: 1", *framing, status=status)
    assert facts.length == 0
    assert kept(facts) == [b"A: 1", *(framing if status == 304 and b"Length" in b"".join(framing) else [])]


def test_a_response_to_head_has_no_body() -> None:
    """RFC 9110 section 9.3.2: its length is that of the response to GET, and is kept."""
    facts = read(b"Content-Length: 500", b"A: 1", to_head=True)
    assert (facts.length, kept(facts)) == (0, [b"Content-Length: 500", b"A: 1"])
    assert read(b"Transfer-Encoding: chunked", to_head=True).length == 0
    assert read(to_head=True).length == 0


@pytest.mark.parametrize("status", [-1, 0, 99, 100, 101, 199, 600, 999, 1000])
def test_statuses_that_no_final_response_has_are_refused(status: int) -> None:
    """RFC 9110 section 15."""
    assert_invalid(status=status)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Transfer-Encoding: gzip"],
        [b"Transfer-Encoding: gzip, chunked"],
        [b"Transfer-Encoding: chunked, gzip"],
        [b"Transfer-Encoding:"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"transfer-encoding: identity"],
        [b"Content-Length: 3", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 3"],
    ],
)
def test_framing_that_cannot_be_trusted_is_refused(lines: list[bytes]) -> None:
    """RFC 9112 sections 6.1 and 6.3."""
    assert_invalid(*lines)


def assert_invalid(*lines: bytes, status: int = 200) -> None:
    with pytest.raises(ProxyError) as caught:
        read(*lines, status=status)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ([b"Content-Type: text/event-stream"], True),
        ([b"content-type:TEXT/Event-Stream"], True),
        ([b"Content-Type: text/event-stream; charset=utf-8"], True),
        ([b"Content-Type:  text/event-stream ;a=b"], True),
        ([b"Content-Type: text/event-stream", b"Content-Encoding: identity"], True),
        ([b"Content-Type: text/event-stream", b"Content-Encoding: gzip"], False),
        ([b"Content-Encoding: br", b"Content-Type: text/event-stream"], False),
        ([b"Content-Type: text/event-streams"], False),
        ([b"Content-Type: text/event"], False),
        ([b"Content-Type: application/json"], False),
        ([b"Content-Type:"], False),
        ([b"X-Content-Type: text/event-stream"], False),
        ([], False),
    ],
)
def test_event_streams_are_known_by_their_type(lines: list[bytes], verdict: bool) -> None:
    """The type may be in any case and have parameters (RFC 9110 section 8.3.1). A coded body is not one, because its
    lines cannot be read."""
    assert read(*lines).event_stream is verdict


@pytest.mark.parametrize(
    ("lines", "extra", "want"),
    [
        ([], [(b"A", b"1")], [b"A: 1"]),
        ([b"X: 1"], [(b"A", b"1"), (b"B", b"2")], [b"X: 1", b"A: 1", b"B: 2"]),
        ([b"X: 1", b"a:0", b"Y: 2"], [(b"A", b"1")], [b"X: 1", b"A: 1", b"Y: 2"]),
        ([b"a: 0", b"X: 1", b"A: 00"], [(b"A", b"1")], [b"A: 1", b"X: 1"]),
        ([b"X: 1"], [(b"X", b"")], [b"X: "]),
        ([b"X: 1"], [], [b"X: 1"]),
    ],
)
def test_configured_fields_replace_those_of_their_name(
    lines: list[bytes], extra: list[Field], want: list[bytes]
) -> None:
    """The value takes the place of the first field with that name; further ones are removed. A missing field is
    appended."""
    assert kept(read(*lines, extra=tuple(extra))) == want


NAMES = [b"A", b"Connection", b"content-length", b"Transfer-Encoding", b"Set-Cookie", b"TE", b"X-TE", b"Content-Type"]
VALUES = [b"", b"0", b"7", b"chunked", b"a, te", b"text/event-stream", b"\xff: x"]


@examples(500)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=8),
    st.integers(100, 700),
    st.booleans(),
)
def test_any_head_is_read_or_refused(fields: list[Field], status: int, to_head: bool) -> None:
    """The function never raises another error, except for a length that no parser accepts. The kept lines are input
    lines in their order."""
    lines = [name + b": " + value for name, value in fields if name != b"content-length" or value.isdigit()]
    try:
        facts = read(*lines, status=status, to_head=to_head)
    except ProxyError:
        return
    remaining = iter(lines)
    assert all(line in remaining for line in kept(facts)), "a line that was not there, or out of order"
    names = {line.partition(b":")[0].lower() for line in kept(facts)}
    assert not names & {b"connection", b"transfer-encoding", b"te"}
