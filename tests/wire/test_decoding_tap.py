"""A copy of a coded answer is decoded, and its usage and its first content are found as in an uncoded one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.coders import FORMS, coded, flushed, name_of
from support.examples import examples

from onwards_py.messages import Ending, ResponseHead
from onwards_py.wire.decoding_tap import (
    DecodingFirstContentDetector,
    DecodingUsageScanner,
    first_content_detector_for,
    is_readable_sse,
    usage_scanner_for,
)
from onwards_py.wire.first_content import CONTENT, EMPTY, FirstContentDetector, Verdict, VerdictKind
from onwards_py.wire.response_head import ResponseFacts, examine_response
from onwards_py.wire.usage import UsageScanner

ANSWER = json.dumps({"choices": [{"text": "word " * 500}], "usage": {"total_tokens": 77}}).encode()
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
ERROR = b'data: {"error":{"code":503}}\n\n'
LIMIT = 4096
every_form = pytest.mark.parametrize("form", FORMS)


def facts(*lines: bytes) -> ResponseFacts:
    return examine_response(ResponseHead(200, b"OK", b"".join(b"\r\n" + line for line in lines)))


# The head


@pytest.mark.parametrize(
    ("lines", "coding"),
    [
        ([], b""),
        ([b"Content-Encoding: identity"], b""),
        ([b"Content-Encoding:"], b""),
        ([b"content-encoding:  GZip "], b"gzip"),
        ([b"Content-Encoding: gzip", b"Content-Encoding: br"], b"gzip,br"),
        ([b"Content-Encoding: gzip", b"Content-Encoding: identity"], b"gzip"),
        ([b"X-Content-Encoding: gzip"], b""),
    ],
)
def test_the_coding_is_read_from_the_head(lines: list[bytes], coding: bytes) -> None:
    """It is one name in lower case, however it is written. The lines pass unchanged."""
    read = facts(*lines, b"Content-Type: text/event-stream")
    assert read.coding == coding
    assert (read.event_stream, read.coded_events) == (not coding, bool(coding))
    assert read.block == b"".join(line + b"\r\n" for line in [*lines, b"Content-Type: text/event-stream"])


def test_readable_event_streams_are_recognised() -> None:
    """These are uncoded streams and those in a known coding."""
    events = b"Content-Type: text/event-stream"
    assert is_readable_sse(facts(events))
    assert is_readable_sse(facts(events, b"Content-Encoding: br"))
    assert not is_readable_sse(facts(events, b"Content-Encoding: x-own"))
    assert not is_readable_sse(facts(b"Content-Type: application/json", b"Content-Encoding: br"))


def test_an_uncoded_body_is_read_directly() -> None:
    """A body in an unknown coding is not decoded either."""
    for read in (facts(), facts(b"Content-Encoding: x-own"), facts(b"Content-Encoding: gzip, br")):
        assert type(usage_scanner_for(read, LIMIT)) is UsageScanner
        assert type(first_content_detector_for(read, LIMIT)) is FirstContentDetector
    assert type(usage_scanner_for(facts(b"Content-Encoding: br"), LIMIT)) is DecodingUsageScanner
    assert type(first_content_detector_for(facts(b"Content-Encoding: br"), LIMIT)) is DecodingFirstContentDetector


# Usage


@every_form
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_usage_is_found_in_a_coded_answer(form: str, size: int) -> None:
    """The passing bytes are the same objects; the usage is read in the decoded copy."""
    body = coded(form, ANSWER)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    tail = DecodingUsageScanner(LIMIT, name_of(form))
    assert all(tail.feed(piece) is piece for piece in pieces)
    assert tail.finish(Ending.DONE) == b""
    assert (tail.tokens(), tail.seen, tail.undecodable) == (77, len(ANSWER), False)


@every_form
def test_usage_after_a_long_answer_is_found(form: str) -> None:
    """Only the end of the answer is kept."""
    tail = DecodingUsageScanner(LIMIT, name_of(form))
    tail.feed(coded(form, b" " * 2_000_000 + ANSWER[-200:]))
    assert (tail.tokens(), tail.seen) == (77, 2_000_200)


@every_form
def test_usage_of_an_undecodable_answer_is_unknown(form: str) -> None:
    """With a wrong label or damage, the received size counts, whatever was decoded before."""
    tail = DecodingUsageScanner(LIMIT, name_of(form))
    assert tail.feed(ANSWER) is ANSWER
    assert tail.feed(ANSWER) is ANSWER
    assert (tail.tokens(), tail.seen, tail.undecodable) == (None, 2 * len(ANSWER), True)
    first, _ = flushed(form, b'{"usage":{"total_tokens":5}}')
    tail = DecodingUsageScanner(LIMIT, name_of(form))
    tail.feed(first)
    assert tail.tokens() == 5
    tail.feed(b"\xff" * 50)
    assert (tail.tokens(), tail.seen, tail.undecodable) == (None, max(28, len(first) + 50), True)


# The opening


OPENINGS = {
    "content": ([ROLE, WORD], CONTENT),
    "an error": ([b": ok\n\n", ROLE, ERROR, WORD], Verdict(VerdictKind.ERROR, 503)),
    "nothing": ([b": ok\n\n", ROLE], EMPTY),
}


@every_form
@pytest.mark.parametrize("case", OPENINGS)
def test_a_coded_opening_is_classified_like_any_other(form: str, case: str) -> None:
    """The verdict comes with the first piece that decides it."""
    events, expected = OPENINGS[case]
    plain, opening = FirstContentDetector(True, LIMIT), DecodingFirstContentDetector(True, LIMIT, name_of(form))
    *pieces, end = flushed(form, *events)
    assert [opening.feed(piece) for piece in pieces] == [plain.feed(event) for event in events]
    opening.feed(end)
    assert opening.finish(Ending.DONE) == plain.finish(Ending.DONE) == expected


@every_form
def test_a_coded_document_is_classified_when_it_is_complete(form: str) -> None:
    """The document is JSON or empty."""
    opening = DecodingFirstContentDetector(False, LIMIT, name_of(form))
    assert opening.feed(coded(form, b'{"error":{"code":429}}')) is None
    assert opening.finish(Ending.DONE) == Verdict(VerdictKind.ERROR, 429)
    assert DecodingFirstContentDetector(False, LIMIT, name_of(form)).finish(Ending.DONE) == EMPTY
    assert DecodingFirstContentDetector(False, LIMIT, name_of(form)).finish(Ending.RESET).kind is VerdictKind.CUT


@every_form
def test_an_undecodable_opening_is_content(form: str) -> None:
    """Junk is content at once, and truncated data at their end."""
    assert DecodingFirstContentDetector(True, LIMIT, name_of(form)).feed(ERROR) == CONTENT
    opening = DecodingFirstContentDetector(False, LIMIT, name_of(form))
    assert opening.feed(coded(form, b'{"error":{"code":429}}')[:-1]) is None
    assert opening.finish(Ending.DONE) == CONTENT


@every_form
@examples(50)
@given(silence=st.integers(0, 3 * LIMIT), at=st.integers(0, 1000))
def test_the_verdict_on_a_coded_body_does_not_depend_on_the_reads(form: str, silence: int, at: int) -> None:
    """The limit applies to the received bytes and to the decoded ones."""
    body = coded(form, b":" * silence + b"\n\n" + ERROR)
    verdicts = []
    for cut in (0, at % len(body)):
        opening = DecodingFirstContentDetector(True, LIMIT, name_of(form))
        for piece in (body[:cut], body[cut:]):
            opening.feed(piece)
        verdicts.append(opening.finish(Ending.DONE))
    assert verdicts[0] == verdicts[1]
    assert (verdicts[0] == CONTENT) is (silence + 2 + len(ERROR) > LIMIT)


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_coded_bytes_without_output_are_content_above_the_limit(form: str) -> None:
    """A coding may contain bytes without data, which are not held for ever."""
    nothing = {"gzip": b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * LIMIT, "zstd": b"\x50\x2a\x4d\x18\xff\xff\xff\x0f"}[form]
    opening = DecodingFirstContentDetector(True, LIMIT, name_of(form))
    assert opening.feed(nothing[:LIMIT]) is None
    assert opening.feed(b"n" * LIMIT) == CONTENT
