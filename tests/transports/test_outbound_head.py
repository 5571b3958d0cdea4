"""The head that goes to a provider: the client's lines with a few documented changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.messages import Field, Fields
from onwards_py.model.provider import Provider
from onwards_py.transports.outbound_head import outbound_head
from onwards_py.wire.request_head import RequestHead, examine

KEY = (b"Authorization", b"Bearer theirs")
PLAIN = Provider("id", "p", host=b"provider:81")
KEYED = Provider("id", "p", host=b"provider:81", credential=KEY)
TRACED = Provider("id", "p", host=b"provider:81", propagate_trace=True)


def read(*fields: Field, minor: int = 1) -> RequestHead:
    return examine(list(fields), b"/v1/x", minor)


def lines(head: RequestHead, provider: Provider = PLAIN, length: int = 0, *, decoded: bool = False) -> list[bytes]:
    """The lines of the outbound head, without the blank line, which is checked."""
    raw = outbound_head(head, b"POST", b"/v1/x", provider, length, decoded=decoded)
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\r\n\r\n") == 1
    return raw[:-4].split(b"\r\n")


START = b"POST /v1/x HTTP/1.1"
HOST = (b"host", b"ours")


def test_a_head_without_fields() -> None:
    """Host is added, since HTTP/1.1 requires it. No stray line end shifts the body."""
    assert lines(read(minor=0)) == [START, b"Host: provider:81"]
    assert lines(read(minor=0), KEYED) == [START, b"Host: provider:81", b"Authorization: Bearer theirs"]


def test_one_field() -> None:
    """Host keeps its place and spelling, and gets the provider's value."""
    assert lines(read(HOST)) == [START, b"host: provider:81"]


def test_the_order_of_other_fields_is_kept() -> None:
    """Case, repeated fields and empty values are kept, too."""
    head = read((b"b", b"1"), HOST, (b"A", b""), (b"B", b"2"), (b"b", b"1"))
    assert lines(head) == [START, b"b: 1", b"host: provider:81", b"A: ", b"B: 2", b"b: 1"]


@pytest.mark.parametrize("name", [b"Authorization", b"x-api-key", b"Api-Key"])
def test_the_providers_credential_takes_the_place_of_the_clients(name: bytes) -> None:
    """The client's credential is removed, whichever field carried it."""
    head = read(HOST, (name, b"mine"), (b"A", b"1"), (b"X-Goog-Api-Key", b"mine"))
    assert lines(head, KEYED)[2:] == [b"Authorization: Bearer theirs", b"A: 1"]
    assert lines(head)[2:] == [b"A: 1"]


def test_one_credential_replaces_several() -> None:
    """It is in the place of the first."""
    fields = [(b"Api-Key", b"mine"), (b"A", b"1"), (b"Authorization", b"mine"), (b"X-Api-Key", b"mine")]
    assert lines(read(HOST, *fields), KEYED)[2:] == [b"Authorization: Bearer theirs", b"A: 1"]


def test_a_credential_in_a_header_of_another_name_is_the_only_one() -> None:
    """With upstream_auth_header_name, a client's field of that name is not forwarded beside it."""
    provider = Provider("id", "p", host=b"h", credential=(b"X-Key", b"theirs"))
    head = read(HOST, (b"x-key", b"mine"), (b"A", b"1"), (b"Authorization", b"Bearer mine"), (b"X-KEY", b"mine"))
    assert lines(head, provider)[2:] == [b"A: 1", b"X-Key: theirs"]


def test_a_name_that_resembles_the_credentials_is_removed() -> None:
    """A WSGI server could not distinguish the two names."""
    provider = replace(PLAIN, credential=(b"X-Provider-Key", b"theirs"))
    head = read(HOST, (b"X_Provider_Key", b"mine"), (b"x-provider.key", b"mine"), (b"A", b"1"))
    assert lines(head, provider)[2:] == [b"A: 1", b"X-Provider-Key: theirs"]


@pytest.mark.parametrize("size", [0, 1, 13, 10**9])
def test_content_length_keeps_its_place_and_has_the_sent_size(size: int) -> None:
    """The client's own number does not matter, because a rename changes it."""
    head = read(HOST, (b"content-length", b"0013"), (b"A", b"1"))
    assert lines(head, length=size)[2:] == [b"content-length: %d" % size, b"A: 1"]


def test_content_length_is_added_only_for_a_body() -> None:
    """It is added for a chunked request and for a body without framing of its own, not for a request without a body."""
    chunked = read(HOST, (b"Transfer-Encoding", b"chunked"), (b"A", b"1"))
    assert lines(chunked, length=7)[2:] == [b"A: 1", b"Content-Length: 7"]
    assert lines(chunked, length=0)[2:] == [b"A: 1", b"Content-Length: 0"]
    assert lines(read(HOST), length=0) == [START, b"host: provider:81"]


def test_trace_context_goes_to_allowed_providers_only() -> None:
    """The setting is propagate_trace_context."""
    head = read(HOST, (b"traceparent", b"1"), (b"A", b"1"), (b"TraceState", b"2"))
    assert lines(head)[2:] == [b"A: 1"]
    assert lines(head, TRACED)[2:] == [b"traceparent: 1", b"A: 1", b"TraceState: 2"]


def test_a_decoded_body_has_no_content_encoding() -> None:
    """The field is removed together with the coding."""
    head = read(HOST, (b"Content-Encoding", b"gzip"), (b"Content-Length", b"9"), (b"A", b"1"))
    assert lines(head, length=30, decoded=True)[2:] == [b"Content-Length: 30", b"A: 1"]
    assert lines(head, length=9)[2:] == [b"Content-Encoding: gzip", b"Content-Length: 9", b"A: 1"]


def test_a_cached_head_gets_another_length() -> None:
    """A head is cached for the next request with the same head to the same provider."""
    head = read(HOST, (b"Content-Length", b"5"), (b"Authorization", b"mine"), (b"A", b"1"))
    for size in (5, 123):
        raw = outbound_head(head, b"POST", b"/v1/x", KEYED, size)
        memo = head.outbound_heads[id(KEYED)]
        assert memo.provider is KEYED
        assert memo.before + b"%d" % size + memo.after == raw
    outbound_head(head, b"POST", b"/v1/x", PLAIN, 5)
    assert (head.outbound_heads[id(PLAIN)].provider, head.outbound_heads[id(KEYED)]) == (PLAIN, memo)


def test_the_number_of_cached_heads_is_bounded() -> None:
    """A connection that reaches many providers, or survives many reloads, does not keep all heads."""
    head = read(HOST, (b"Content-Length", b"5"))
    providers = [replace(PLAIN, name=str(number)) for number in range(100)]
    for provider in providers:
        outbound_head(head, b"POST", b"/v1/x", provider, 5)
    assert len(head.outbound_heads) <= 16
    assert id(providers[-1]) in head.outbound_heads


def test_the_head_of_a_decoded_body_is_not_cached() -> None:
    """The body of the next request with this head may not be decoded."""
    head = read(HOST, (b"Content-Encoding", b"gzip"), (b"Content-Length", b"5"))
    outbound_head(head, b"POST", b"/v1/x", PLAIN, 5, decoded=True)
    assert not head.outbound_heads


def test_providers_do_not_see_each_others_changes() -> None:
    """Fallback uses the same head again, without the changes for the first provider."""
    head = read(HOST, (b"Authorization", b"mine"), (b"traceparent", b"1"), (b"Content-Length", b"5"))
    alone = {
        provider: outbound_head(read(*fields_of(head)), b"POST", b"/v1/x", provider, 5)
        for provider in (KEYED, PLAIN, TRACED)
    }
    for provider in (KEYED, PLAIN, TRACED, KEYED, TRACED, PLAIN):
        assert outbound_head(head, b"POST", b"/v1/x", provider, 5) == alone[provider]


def fields_of(_: RequestHead) -> Fields:
    return [HOST, (b"Authorization", b"mine"), (b"traceparent", b"1"), (b"Content-Length", b"5")]


NAMES = [b"Host", b"A", b"Cookie", b"Authorization", b"X-Api-Key", b"Content-Length", b"Connection", b"tracestate"]


@examples(500)
@given(
    st.lists(st.sampled_from(NAMES), unique=True).flatmap(st.permutations),
    st.sampled_from([PLAIN, KEYED, TRACED]),
    st.integers(0, 100),
)
def test_every_outbound_head_is_well_formed(names: list[bytes], provider: Provider, size: int) -> None:
    """It has the provider's Host once, at most one credential, never the client's, and at most one length, the true
    one."""
    values = {b"Host": b"ours", b"Content-Length": b"55", b"Connection": b"a"}
    head = examine([(name, values.get(name, b"mine")) for name in names], b"/", 0)
    pairs = [line.split(b": ", 1) for line in lines(head, provider, size)[1:]]
    assert [value for name, value in pairs if name == b"Host"] == [b"provider:81"]
    credentials = [(name, value) for name, value in pairs if name in (b"Authorization", b"X-Api-Key")]
    assert credentials == ([KEY] if provider is KEYED else [])
    needed = size or b"Content-Length" in names
    assert [value for name, value in pairs if name == b"Content-Length"] == ([b"%d" % size] if needed else [])
    assert not {b"Cookie", b"Connection"} & {name for name, _ in pairs}
    assert all(value != b"mine" or name in (b"A", b"tracestate") for name, value in pairs)
