"""The request parser turns bytes into complete requests, however the bytes are split. It never raises."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable
from typing import NamedTuple, Self

import pytest
from bad_requests import BAD_REQUESTS
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples
from support.pieces import cut_at

from onwards_py.doors.listener_load import ListenerLoad
from onwards_py.doors.request_parser import Phase, QueuedRequest, RequestParser
from onwards_py.doors.response_writer import ResponseWriter
from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.messages import Fields, InboundRequest
from onwards_py.model.snapshot import ServerSettings
from onwards_py.wire.request_head import RequestHead

SMALL = ServerSettings(max_head_bytes=2000, max_header_count=20, max_target_bytes=300, max_buffered=1_000_000)


class Precheck:
    """A handler whose precheck is the only method in use."""

    max_body = 5000

    @property
    def config(self) -> Self:
        return self

    def __init__(self) -> None:
        self.checked: list[bytes] = []

    async def handle(self, request: InboundRequest, head: RequestHead, downstream: ResponseWriter) -> None:
        raise AssertionError("the parser does not call the handler")

    def is_own_connection(self, peer: str, port: int) -> bool:
        return (peer, port) == ("ourselves", 1)

    def precheck(self, target: bytes, head: RequestHead) -> None:
        self.checked.append(target)

    def record_refusal(self, request: InboundRequest, error: ProxyError) -> None:
        raise AssertionError("the parser leaves the response to the connection")


class Roomy(Precheck):
    """A handler that accepts large bodies."""

    max_body = 2**30


class Seen(NamedTuple):
    """A parsed request in a form that can be compared."""

    method: bytes
    target: bytes
    minor: int
    fields: Fields
    body: bytes
    keep_alive: bool
    refusal: ErrorKind | None
    upgrade_tail: bytes | None


def taken(pieces: Iterable[bytes], settings: ServerSettings = SMALL) -> tuple[list[Seen], RequestParser]:
    """The requests that the parser makes of these reads. The load counts exactly the bytes that it buffers."""
    load = ListenerLoad()
    parser = RequestParser(Precheck(), settings, load, "peer")
    pending: list[QueuedRequest] = []
    for piece in pieces:
        parser.feed(piece)
        while parser.unparsed:
            assert len(parser.ready) == settings.max_pipelined
            pending += parser.ready
            parser.ready.clear()
            parser.resume()
    parser.ready.extendleft(reversed(pending))
    seen = [
        Seen(
            waiting.request.method,
            waiting.request.target,
            waiting.request.http_minor,
            list(waiting.request.fields),
            waiting.request.body,
            waiting.keep_alive,
            waiting.refusal and waiting.refusal.kind,  # type: ignore[arg-type]
            waiting.upgrade_tail,
        )
        for waiting in parser.ready
    ]
    assert load.buffered == parser.body_size + sum(len(one.body) for one in seen)
    return seen, parser


def refusals(pieces: Iterable[bytes]) -> list[ErrorKind | None]:
    return [one.refusal for one in taken(pieces)[0]]


def length_request(body: bytes, target: bytes, fields: bytes) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n%b" % (target, fields, len(body), body)


def chunked_request(body: bytes, target: bytes, fields: bytes) -> bytes:
    chunks = b"".join(b"%x;e=1\r\n%b\r\n" % (len(body[n : n + 7]), body[n : n + 7]) for n in range(0, len(body), 7))
    head = b"POST %b HTTP/1.1\r\nHost: h\r\n%bTransfer-Encoding: chunked\r\n\r\n" % (target, fields)
    return head + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"


def bodiless_request(_: bytes, target: bytes, fields: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (target, fields)


def old_request(body: bytes, target: bytes, fields: bytes) -> bytes:
    head = b"POST %b HTTP/1.0\r\nConnection: keep-alive\r\n%bContent-Length: %d\r\n\r\n" % (target, fields, len(body))
    return head + body


VALID = st.builds(
    lambda build, body, target, fields: build(body, b"/" + target, b"".join(fields)),
    st.sampled_from([length_request, chunked_request, bodiless_request, old_request]),
    st.binary(max_size=40) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"]),
    st.sampled_from([b"", b"v1/x", b"v1/x?HTTP/1.1", b"x" * 200]),
    st.lists(st.sampled_from([b"X-A: 1\r\n", b"X-B:\r\n", b"x-c:\xff\r\n", b"Expect: 100-continue\r\n"]), unique=True),
)
CUTS = st.lists(st.integers(0, 5000), max_size=12)


@examples(300)
@given(st.lists(VALID, min_size=1, max_size=5), CUTS)
def test_splitting_valid_requests_does_not_change_them(requests: list[bytes], places: list[int]) -> None:
    """The parser gives the same requests in order, however the reads are split."""
    stream = b"".join(requests)
    alone = [one for request in requests for one in taken([request])[0]]
    assert [one.refusal for one in alone] == [None] * len(requests)
    assert taken([stream])[0] == alone
    assert taken(cut_at(stream, places))[0] == alone


@examples(50)
@given(st.lists(VALID, min_size=1, max_size=3))
def test_single_bytes_give_the_same_requests(requests: list[bytes]) -> None:
    """Each read has one byte."""
    stream = b"".join(requests)
    assert taken(stream[n : n + 1] for n in range(len(stream)))[0] == taken([stream])[0]


@examples(300)
@given(
    st.lists(
        st.binary(max_size=60)
        | VALID
        | st.sampled_from([bad.raw for bad in BAD_REQUESTS])
        | st.sampled_from([b"\r\n", b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b"Upgrade: websocket\r\n"]),
        max_size=6,
    ),
    CUTS,
)
def test_any_bytes_give_requests_or_one_refusal(pieces: list[bytes], places: list[int]) -> None:
    """The parser never raises. A refusal is its last result."""
    seen, parser = taken(cut_at(b"".join(pieces), places) if places else pieces)
    refused = [at for at, one in enumerate(seen) if one.refusal is not None]
    assert refused in ([], [len(seen) - 1])
    if refused:
        assert parser.closed
        parser.feed(length_request(b"x", b"/late", b""))
        assert len(parser.ready) == len(seen)


def test_a_refusal_does_not_depend_on_the_reads() -> None:
    """One read, two halves or single bytes give the same kind of refusal, and no request before it."""
    different = []
    for bad in BAD_REQUESTS:
        whole = refusals([bad.raw])
        assert [kind is None for kind in whole] == [False], bad.name
        halves, bytewise = cut_at(bad.raw, [len(bad.raw) // 2]), [bad.raw[n : n + 1] for n in range(len(bad.raw))]
        different += [bad.name for pieces in (halves, bytewise) if refusals(pieces) != whole]
    assert different == []


def test_a_read_over_many_heads_is_no_large_head() -> None:
    """A read that begins in one head and ends in another may be larger than the limit of a head."""
    stream = bodiless_request(b"", b"/x", b"X-A: 1\r\n") * 1000
    assert refusals(cut_at(stream, [30, len(stream) // 2 + 7, len(stream) - 10])) == [None] * 1000


def test_the_phase_names_the_expected_part() -> None:
    """The phase is IDLE between requests, HEAD from the first byte, and BODY after the blank line. Each has its own
    deadline."""
    _, parser = taken([])
    phases = []
    for piece in (b"", b"P", b"OST / HTTP/1.1\r\nHost: h\r\n", b"Content-Length: 2\r\n\r\n", b"a", b"b"):
        parser.feed(piece)
        phases.append(parser.phase)
    assert phases == [Phase.IDLE, Phase.HEAD, Phase.HEAD, Phase.BODY, Phase.BODY, Phase.IDLE]


def test_a_request_with_close_is_the_last_one() -> None:
    """RFC 9112 section 9.6: bytes after it are not parsed."""
    first = length_request(b"a", b"/1", b"Connection: close\r\n")
    seen, parser = taken([first + length_request(b"b", b"/2", b"")])
    assert [(one.target, one.keep_alive) for one in seen] == [(b"/1", False)]
    assert parser.closed


def test_a_websocket_request_keeps_the_bytes_after_it() -> None:
    """The other door reads on from there; this parser does not treat them as HTTP."""
    raw = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    seen, parser = taken([raw + b"\x81\x00tail"])
    assert [(one.target, one.upgrade_tail) for one in seen] == [(b"/ws", b"\x81\x00tail")]
    assert parser.closed


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"GET /" + b"x" * 300 + b" HTTP/1.1\r\nHost: h\r\n\r\n", ErrorKind.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 2000 + b"\r\n\r\n", ErrorKind.HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 20 + b"\r\n", ErrorKind.HEAD_TOO_LARGE),
        (length_request(b"x" * 5001, b"/", b""), ErrorKind.BODY_TOO_LARGE),
        (chunked_request(b"x" * 5001, b"/", b""), ErrorKind.BODY_TOO_LARGE),
    ],
    ids=["target", "head", "fields", "length", "chunks"],
)
def test_limits_hold_in_single_bytes_and_in_one_read(raw: bytes, kind: ErrorKind) -> None:
    """One byte or field above a limit is refused with the error of that limit."""
    assert refusals([raw]) == [kind]
    assert refusals(raw[n : n + 1] for n in range(len(raw))) == [kind]


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"GET /" + b"x" * 9000, ErrorKind.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9000, ErrorKind.HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"x" * 9000, ErrorKind.HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 2000, ErrorKind.HEAD_TOO_LARGE),
    ],
    ids=["target", "value", "name", "fields"],
)
def test_a_head_without_end_is_refused_before_it_ends(start: bytes, kind: ErrorKind) -> None:
    """A limit that applied only to a complete head would not bound the memory."""
    for pieces in (cut_at(start, range(0, len(start), 100)), [start[n : n + 1] for n in range(len(start))]):
        assert refusals(pieces) == [kind]


def test_requests_at_the_limits_are_accepted() -> None:
    """The limits refuse only what is above them."""
    for raw in (
        b"GET /" + b"x" * 299 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 19 + b"\r\n",
        length_request(b"x" * 5000, b"/", b""),
        chunked_request(b"x" * 5000, b"/", b""),
    ):
        assert refusals([raw]) == [None]
        assert refusals(raw[n : n + 1] for n in range(len(raw))) == [None]


@pytest.mark.parametrize(
    "flood", [b"X-Trailer: 1\r\n" * 1000, b"X: " + b"x" * 5000], ids=["many trailers", "one trailer without end"]
)
def test_trailers_are_bounded(flood: bytes) -> None:
    """They are dropped, but their number is limited."""
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + flood
    for pieces in (cut_at(raw, range(0, len(raw), 100)), [raw[n : n + 1] for n in range(len(raw))]):
        assert refusals(pieces) == [ErrorKind.HEAD_TOO_LARGE]


def test_a_chunk_extension_is_bounded() -> None:
    """RFC 9112 section 7.1.1: a recipient ought to limit them."""
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"e" * 5000
    for pieces in (cut_at(raw, range(0, len(raw), 100)), [raw[n : n + 1] for n in range(len(raw))]):
        assert refusals(pieces) == [ErrorKind.HEAD_TOO_LARGE]


def test_all_buffered_bodies_together_are_bounded() -> None:
    """``max_buffered`` is a limit over all connections. A refused request releases its bytes."""
    load = ListenerLoad()
    settings = ServerSettings(max_buffered=100)
    first, second = (RequestParser(Precheck(), settings, load, "") for _ in range(2))
    first.feed(length_request(b"x" * 90, b"/", b"")[:-10])
    second.feed(length_request(b"y" * 90, b"/", b"")[:-10])
    assert [pending.refusal and pending.refusal.kind for pending in second.ready] == [ErrorKind.OVERLOADED]
    assert load.buffered == 80
    first.feed(b"x" * 10)
    assert [pending.refusal for pending in first.ready] == [None]
    assert load.buffered == 90


def test_100_is_due_only_for_a_body_that_is_still_to_come() -> None:
    """RFC 9110 section 10.1.1: there is no 100 without a body, for HTTP/1.0, or after the body has arrived."""
    expecting = length_request(b"ab", b"/", b"Expect: 100-continue\r\n")
    _, waiting = taken([expecting[:-2]])
    assert waiting.continue_due
    _, whole = taken([expecting])
    assert not whole.continue_due
    _, none = taken([length_request(b"", b"/", b"Expect: 100-continue\r\n")])
    assert not none.continue_due
    _, old = taken([old_request(b"ab", b"/", b"Expect: 100-continue\r\n")[:-2]])
    assert not old.continue_due


SIZES = [
    b"ffffffffffffffff",
    b"fffffffffffffff",
    b"000000000000000001389",
    b"7fffffff",
    b"1389;e=1",
    b"FFFFFFFFFFFFFFFF",
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("before", [b"", b"2\r\nab\r\n", b"a\r\n\r\n7fffffff\r\n"])
def test_a_chunk_that_is_too_large_is_refused_by_its_size(size: bytes, before: bytes) -> None:
    """The refusal does not wait for the bytes of the chunk, however the reads are split."""
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + before + size + b"\r\n"
    for rest in (b"", b"x", b"x\r\n0\r\n"):
        for cuts in ([], [len(raw) - 3], [len(raw) - len(size) - 1], range(len(raw) + 1)):
            assert refusals(cut_at(raw + rest, cuts)) == [ErrorKind.BODY_TOO_LARGE]


@pytest.mark.parametrize("size", [b"1388", b"0000000000001388", b"1388;" + b"f" * 20])
def test_a_chunk_at_the_limit_is_accepted(size: bytes) -> None:
    """The limit is exact, and text that resembles a chunk size does not count elsewhere."""
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\n"
    body = b"\nffffffffffffffff\r\n".ljust(5000, b"f")
    for cuts in ([], [len(raw)], [len(raw) + 19], range(len(raw) + 5000)):
        (one,), _ = taken(cut_at(raw + body + b"\r\n0\r\nffffffffffffffff: x\r\n\r\n", cuts))
        assert (one.refusal, one.body) == (None, body)


RTSP = b"POST /v1/x RTSP/1.0"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (b"", RTSP + b"\r\n"),
        (b"", b"\r\n" + RTSP + b"\r\nX: y\r\n\r\n"),
        (b"", b"\r\nDESCRIBE /x RTSP/1.0\r\n"),
        (b"", b"\nSOURCE /x ICE/1.0\n"),
        (b"X: DESCRIBE /x RTSP/1.0\r\n", b""),
        (b"X: POST /v1/x RTSP/1.0\r\n", b"x"),
    ],
)
def test_only_a_request_line_names_the_protocol(fields: bytes, body: bytes) -> None:
    """Bodies and field values may contain lines that resemble RTSP or ICE."""
    for raw in (length_request(body, b"/v1/x", fields), length_request(body, b"/v1/x", fields) * 2):
        for cuts in ([], [len(raw) - len(body)], [len(raw) - len(body) + 2], range(len(raw))):
            assert set(refusals(cut_at(raw, cuts))) == {None}


def test_another_protocol_is_detected_however_the_reads_are_split() -> None:
    """It follows a complete HTTP request whose body does not end with a line end."""
    before = length_request(b"x", b"/v1/y", b"")
    raw = before + length_request(b"x", b"/v1/x", b"").replace(b" HTTP/1.1", b" RTSP/1.0")
    for at in range(1, len(raw)):
        assert refusals(cut_at(raw, [at])) == [None, ErrorKind.VERSION]


def memory_of(pieces: Iterable[bytes]) -> tuple[int, RequestParser]:
    """The bytes that a parser allocates for these reads, and the parser."""
    parser = RequestParser(Roomy(), ServerSettings(), ListenerLoad(), "peer")
    gc.collect()
    tracemalloc.start()
    try:
        began = tracemalloc.get_traced_memory()[0]
        for piece in pieces:
            parser.feed(piece)
        return tracemalloc.get_traced_memory()[0] - began, parser
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [1, 2, 100, 4000])
def test_small_chunks_need_little_memory(size: int) -> None:
    """A body in small chunks takes at most one and a half times its size, and max_buffered counts it."""
    count = 400_000 // size
    chunks = (b"%x\r\n%b\r\n" % (size, b"x" * size)) * count
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    held, parser = memory_of([head, *(chunks[n : n + 65536] for n in range(0, len(chunks), 65536))])
    assert parser.body_size == count * size
    assert held < 1.5 * parser.body_size + 10_000
    parser.feed(b"0\r\n\r\n")
    assert parser.ready[0].request.body == b"x" * (count * size)


def test_a_body_in_one_piece_is_not_copied() -> None:
    """The body is the object that the HTTP parser passed on, however large the read is."""
    body = b"x" * 200_000
    held, parser = memory_of([length_request(body, b"/", b"")])
    assert held < len(body) + 10_000
    assert parser.ready[0].request.body == body
    assert parser.head_cache is not None, "the next head is found in the cache"


def test_of_small_requests_in_one_read_only_the_queue_is_parsed() -> None:
    """A parsed request takes fifty times its size, so no more are parsed than may wait."""
    read = b"GET / HTTP/1.1\r\nHost:h\r\n\r\n" * 10_000
    held, parser = memory_of([read[:256_000], read[256_000:]])
    assert len(parser.ready) == ServerSettings().max_pipelined
    assert held < 2 * len(read)
