"""Header fields are forwarded unchanged in both directions, except for a short list."""

from __future__ import annotations

import pytest
from support.gateway import running
from support.origin import answer, origin, serve
from support.raw import ask, post
from support.targets import single, snapshot

BODY = b'{"model":"m"}'
CREDENTIALS = [
    b"Authorization: Bearer sk-client",
    b"authorization: Basic c2stY2xpZW50",
    b"X-Api-Key: sk-client",
    b"api-key: sk-client",
    b"x-goog-api-key: sk-client",
    b"Proxy-Authorization: Basic sk-client",
    b"Cookie: session=sk-client",
    b"COOKIE2: sk-client",
]
HOP_BY_HOP = [
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers",
    b"Trailer: X-T",
    b"Proxy-Authenticate: Basic",
    b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
]
CLAIMS = [
    b"X-Forwarded-For: 1.2.3.4",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: evil.test",
    b"Forwarded: for=1.2.3.4",
    b"X-Real-IP: 1.2.3.4",
]


async def test_the_request_head_arrives_in_order_and_case(lane: bool) -> None:
    """Only Host is replaced, in its place. The credential is appended if the client sent none. No other field is
    added."""
    fields = (
        b"user-agent: OpenAI/Python 1\r\nX-B: 2\r\nx-a: 1\r\nX-B: 3\r\nACCEPT: */*\r\naccept-encoding: gzip\r\n"
        b'OpenAI-Organization: org\r\nx-stainless-lang: python\r\nX-Request-ID: 7\r\nX-Empty:\r\nIf-None-Match: "a"\r\n'
    )
    async with origin() as upstream, running(single(upstream.url, onwards_key="sk-provider"), lane=lane) as gateway:
        await ask(gateway.port, post(BODY, fields=fields))
    assert upstream.last.raw == (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%bContent-Length: %d\r\n"
        b"Authorization: Bearer sk-provider\r\n\r\n%b"
    ) % (upstream.port, fields.replace(b"X-Empty:\r\n", b"X-Empty: \r\n"), len(BODY), BODY)


@pytest.mark.either_door
@pytest.mark.parametrize("line", CREDENTIALS)
async def test_client_credentials_never_reach_a_provider(lane: bool, line: bytes) -> None:
    """This holds whether the provider has its own credential or not."""
    async with origin() as upstream, origin() as keyless:
        async with running(single(upstream.url, onwards_key="sk-provider"), lane=lane) as gateway:
            await ask(gateway.port, post(fields=line + b"\r\n"))
        async with running(single(keyless.url), lane=lane) as gateway:
            await ask(gateway.port, post(fields=line + b"\r\n"))
    for received in (upstream.last, keyless.last):
        assert b"sk-client" not in received.raw
        assert b"c2stY2xpZW50" not in received.raw
    assert upstream.last.values(b"authorization") == [b"Bearer sk-provider"]
    assert not keyless.last.values(b"authorization")


@pytest.mark.parametrize("line", HOP_BY_HOP + CLAIMS)
async def test_hop_by_hop_and_forwarding_fields_are_removed(lane: bool, line: bytes) -> None:
    """RFC 9110 section 7.6.1. A client's claims about its own address are removed as well."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=line + b"\r\nX-Kept: 1\r\n"))
    assert response.status == 200
    assert upstream.last.names == [b"Host", b"X-Kept", b"Content-Length"]


async def test_fields_that_connection_nominates_are_removed(lane: bool) -> None:
    """RFC 9110 section 7.6.1: the names may be on several lines and in any case. Framing and routing fields stay."""
    fields = (
        b"Connection: X-Foo , keep-alive,x-BAR\r\nX-Foo: 1\r\nx-bar: 2\r\nX-Baz: 3\r\nx-foo: 4\r\n"
        b"connection: X-Last, Host, Content-Length, Content-Type\r\nX-Last: 5\r\nContent-Type: application/json\r\n"
    )
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=fields))
    assert response.status == 200
    assert upstream.last.names == [b"Host", b"X-Baz", b"Content-Type", b"Content-Length"]
    assert upstream.last.body == BODY


async def test_nominating_the_credential_does_not_undo_authentication(lane: bool) -> None:
    """The proxy checks the credential before it removes the field. The provider still gets its own credential."""
    async with origin() as upstream:
        targets = single(upstream.url, keys=["sk-client"], onwards_key="sk-provider")
        async with running(targets, lane=lane) as gateway:
            fields = b"Authorization: Bearer sk-client\r\nConnection: Authorization\r\n"
            response = await ask(gateway.port, post(fields=fields))
    assert response.status == 200
    assert upstream.last.values(b"authorization") == [b"Bearer sk-provider"]


@pytest.mark.either_door
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, b"Authorization: Bearer sk"),
        ({"upstream_auth_header_prefix": ""}, b"Authorization: sk"),
        ({"upstream_auth_header_prefix": "Key "}, b"Authorization: Key sk"),
        ({"upstream_auth_header_name": "x-api-key", "upstream_auth_header_prefix": ""}, b"x-api-key: sk"),
        ({"upstream_auth_header_name": "X-Auth"}, b"X-Auth: Bearer sk"),
    ],
)
async def test_the_providers_credential_as_configured(lane: bool, options: dict[str, str], line: bytes) -> None:
    """The name and the prefix of the field are configurable. The field replaces the client's."""
    async with origin() as upstream, running(single(upstream.url, onwards_key="sk", **options), lane=lane) as gateway:
        await ask(gateway.port, post(fields=b"X-A: 1\r\nAuthorization: Bearer client\r\nX-B: 2\r\n"))
    lines = upstream.last.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[2:]
    assert lines == [b"X-A: 1", line, b"X-B: 2", b"Content-Length: 13"]


async def test_a_client_cannot_put_its_own_value_beside_the_providers_credential(lane: bool) -> None:
    """A field with the name of the provider's credential is treated as a client credential. The provider gets one
    value, the configured one."""
    options = {"onwards_key": "sk", "upstream_auth_header_name": "X-Auth", "upstream_auth_header_prefix": ""}
    async with origin() as upstream, running(single(upstream.url, **options), lane=lane) as gateway:
        await ask(gateway.port, post(fields=b"x-auth: client\r\n"))
    assert upstream.last.values(b"x-auth") == [b"sk"]


@pytest.mark.either_door
@pytest.mark.parametrize(
    ("options", "travels"),
    [
        ({}, False),
        ({"trusted": True}, True),
        ({"propagate_trace_context": True}, True),
        ({"trusted": True, "propagate_trace_context": False}, False),
    ],
)
async def test_trace_context_goes_to_trusted_providers_only(
    lane: bool, options: dict[str, bool], travels: bool
) -> None:
    """``propagate_trace_context`` decides; without it, ``trusted`` does."""
    fields = b"traceparent: 00-%b-%b-01\r\nTraceState: a=b\r\nX-A: 1\r\n" % (b"1" * 32, b"2" * 16)
    async with origin() as upstream, running(single(upstream.url, **options), lane=lane) as gateway:
        await ask(gateway.port, post(fields=fields))
    assert bool(upstream.last.values(b"traceparent")) is travels
    assert bool(upstream.last.values(b"tracestate")) is travels
    assert upstream.last.values(b"x-a") == [b"1"]


async def test_trace_context_is_decided_for_each_attempt(lane: bool) -> None:
    """A head that was made for a trusted provider is not sent to the untrusted one after it."""
    fields = b"traceparent: 00-%b-%b-01\r\n" % (b"1" * 32, b"2" * 16)
    async with origin(serve(answer(status=b"503 Busy"))) as first, origin() as second:
        both = [{"url": first.url, "trusted": True, "onwards_key": "sk-1"}, {"url": second.url, "onwards_key": "sk-2"}]
        fallback = {"enabled": True, "on_status": [503]}
        targets = snapshot({"m": {"strategy": "priority", "providers": both, "fallback": fallback}})
        async with running(targets, lane=lane) as gateway:
            await ask(gateway.port, post(fields=fields))
    assert first.last.values(b"traceparent")
    assert not second.last.values(b"traceparent")


async def test_the_response_head_arrives_as_it_was(lane: bool) -> None:
    """Status, reason, order, case and repeated fields are the provider's. No Date, Server or Via is added."""
    fields = (
        b"x-ratelimit-remaining: 9\r\nServer: vllm\r\nSet-Cookie: a=1\r\nX-B: 1\r\nset-cookie: b=2\r\nx-b: 2\r\n"
        b'Content-Type: application/json\r\nETag: "x"\r\n'
    )
    async with (
        origin(serve(answer(b"{}", b"203 Quite Fine", fields))) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post())
    assert response.head == b"HTTP/1.1 203 Quite Fine\r\n" + fields + b"Content-Length: 2\r\n\r\n"


async def test_hop_by_hop_response_fields_are_removed(lane: bool) -> None:
    """Connection, Keep-Alive and the fields that Connection nominates do not reach the client."""
    fields = (
        b"Connection: close, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nX-End: 2\r\nProxy-Connection: close\r\n"
        b"Trailer: X-T\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\n"
    )
    async with (
        origin(serve(answer(b"{}", fields=fields))) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post())
    assert response.names == [b"X-End", b"Content-Length"]


async def test_response_headers_are_added_or_replaced(lane: bool) -> None:
    """The pool's ``response_headers`` apply, and the provider's take precedence. They also apply to errors of the
    provider."""
    fields = b"X-Old: upstream\r\nx-pool: upstream\r\nX-POOL: again\r\n"
    async with origin(serve(answer(b"{}", fields=fields), answer(b"{}", b"400 Bad Request", fields))) as upstream:
        provider = {"url": upstream.url, "response_headers": {"X-Mine": "provider", "X-Served-By": "a"}}
        shared = {"X-Pool": "pool", "X-Mine": "pool"}
        async with running(
            snapshot({"m": {"providers": [provider], "response_headers": shared}}), lane=lane
        ) as gateway:
            responses = [await ask(gateway.port, post()) for _ in range(2)]
    for response in responses:
        assert response.values(b"x-old") == [b"upstream"]
        assert response.values(b"x-pool") == [b"pool"]
        assert response.values(b"x-mine") == [b"provider"]
        assert response.values(b"x-served-by") == [b"a"]


@pytest.mark.parametrize("status", [b"301 Moved Permanently", b"302 Found", b"307 Temporary Redirect"])
async def test_redirects_are_passed_on_and_not_followed(lane: bool, status: bytes) -> None:
    """A provider cannot redirect the proxy with its credential to another server."""
    async with origin() as elsewhere:
        location = b"Location: %b/x\r\n" % elsewhere.url.encode()
        async with (
            origin(serve(answer(b"", status, location))) as upstream,
            running(single(upstream.url, onwards_key="sk"), lane=lane) as gateway,
        ):
            response = await ask(gateway.port, post())
    assert response.status == int(status[:3])
    assert response.value(b"location") == elsewhere.url.encode() + b"/x"
    assert not elsewhere.peers


async def test_coded_responses_are_passed_on_undecoded(lane: bool) -> None:
    """The client asked for gzip and the provider answered with gzip; neither is changed."""
    body = b"\x1f\x8b not even gzip"
    async with (
        origin(serve(answer(body, fields=b"Content-Encoding: gzip\r\n"))) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post(fields=b"Accept-Encoding: gzip\r\n"))
    assert upstream.last.values(b"accept-encoding") == [b"gzip"]
    assert (response.value(b"content-encoding"), response.body) == (b"gzip", body)
