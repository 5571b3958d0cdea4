"""The URL of an upstream request: base path and raw target are concatenated, always within the provider's authority."""

from __future__ import annotations

import json

import pytest
from support.chat_upstream import create, whole
from support.gateway import running
from support.origin import Received, origin, serve
from support.raw import ask, get, post
from support.targets import single, snapshot

from onwards_py.model.snapshot import Snapshot

JOINS = [
    ("", b"/v1/chat/completions", b"/v1/chat/completions"),
    ("/", b"/v1/chat/completions", b"/v1/chat/completions"),
    ("/v1", b"/v1/chat/completions?x=1", b"/v1/chat/completions?x=1"),
    ("/v1/", b"/v1/chat/completions", b"/v1/chat/completions"),
    ("/v2", b"/v1/chat/completions", b"/v2/v1/chat/completions"),
    ("/v1", b"/v1x/something", b"/v1/v1x/something"),
    ("", b"/v1/v1/something", b"/v1/v1/something"),
    ("/v1", b"/v1/v1/something", b"/v1/v1/something"),
    ("/openai/v1", b"/v1/chat/completions", b"/openai/v1/chat/completions"),
    ("/openai/v1/", b"/v1/chat/completions?x=1", b"/openai/v1/chat/completions?x=1"),
    ("/openai/v1", b"/openai/v1/chat/completions", b"/openai/v1/chat/completions"),
    ("/v1", b"/v1", b"/v1"),
    ("/v1", b"/v1?x", b"/v1?x"),
    ("/v1", b"/", b"/v1/"),
    ("/v1", b"/files/a%2Fb%20c?q=%zz&r=a+b", b"/v1/files/a%2Fb%20c?q=%zz&r=a+b"),
    ("/a%20b", b"/x;y=1/~(z)?", b"/a%20b/x;y=1/~(z)?"),
    ("", b"/v1/...//x/.well-known/..a", b"/v1/...//x/.well-known/..a"),
    ("/v1", b"/v1/x?next=../../y", b"/v1/x?next=../../y"),
]

# What URL libraries resolve to another authority, or out of the base path.
HOSTILE = [
    b"/http://evil.test/x",
    b"/https://evil.test/x",
    b"//evil.test/x",
    b"///evil.test/x",
    b"/v1//evil.test/x",
    b"/v1///evil.test/x",
    b"/v1/http://evil.test/x",
    b"/@evil.test/x",
    b"/:80@evil.test/x",
    b"/\\evil.test\\x",
    b"/\\\\evil.test/x",
    b"/%2f%2fevil.test/x",
    b"/?//evil.test",
    b"/../../admin",
    b"/v1/../../admin",
    b"/v1/x/..",
    b"/%2e%2e/admin",
    b"/v1/%2E%2e/%2e./admin",
    b"/v1/.%2E/admin",
    b"/v1/..%2fadmin",
    b"/v1/..%5cadmin",
    b"/v1/x%2f..%2f..%2fadmin",
    b"/v1/..\\admin",
    b"/v1/..;/admin",
    b"http://evil.test/v1/x",
    b"HTTPS://evil.test:443/v1/x",
    b"http://evil.test",
    b"http://evil.test?x",
    b"http://user:pass@evil.test/x",
    b"ftp://evil.test/x",
    b"evil.test:443",
    b"*",
    b"evil.test/x",
    b"/v1/x#@evil.test",
]

CLIMBING = [target for target in HOSTILE if b".." in target or b"%2e" in target.lower()]


@pytest.mark.either_door
@pytest.mark.parametrize(("base", "target", "wanted"), JOINS)
async def test_the_target_is_joined_without_normalising(lane: bool, base: str, target: bytes, wanted: bytes) -> None:
    """The base path is not doubled, only complete segments count as a repetition, and no escape changes. Responses
    case L1."""
    async with origin() as upstream, running(single(upstream.url + base), lane=lane) as gateway:
        response = await ask(gateway.port, post(target=target))
    assert response.status == 200
    assert upstream.last.target == wanted


@pytest.mark.parametrize("target", HOSTILE)
async def test_no_target_leaves_the_providers_authority(lane: bool, target: bytes) -> None:
    """The target is refused with 400, or forwarded below the configured base path with the provider's Host. Dot
    segments are always refused in every spelling, because a server might resolve them."""
    host = b"evil.test:443" if target.lower().startswith(b"https:") else b"evil.test"
    for base in ("", "/base/v1"):
        async with (
            origin() as upstream,
            running(single(upstream.url + base, onwards_key="sk-provider"), lane=lane) as gateway,
        ):
            response = await ask(gateway.port, post(target=target, host=host))
        if response.status == 400:
            assert not upstream.requests
            continue
        assert target not in CLIMBING
        assert response.status == 200
        assert upstream.last.values(b"host") == [b"127.0.0.1:%d" % upstream.port]
        assert upstream.last.target.startswith(base.encode() + b"/")
        assert b"://evil.test" not in upstream.last.target or target.startswith(b"/")


async def test_absolute_form_chooses_neither_host_nor_scheme(lane: bool) -> None:
    """RFC 9112 section 3.2.2: only its path is used; the configuration sets the server."""
    async with origin() as upstream, running(single(upstream.url + "/v1"), lane=lane) as gateway:
        response = await ask(gateway.port, post(target=b"http://evil.test/v1/chat?x=1", host=b"evil.test"))
    assert response.status == 200
    assert upstream.last.target == b"/v1/chat?x=1"
    assert upstream.last.values(b"host") == [b"127.0.0.1:%d" % upstream.port]


DEPLOYMENT = "/openai/deployments/my-deployment"
AZURE = {
    "query": {"api-version": "2024-10-21"},
    "onwards_key": "azure-key",
    "upstream_auth_header_name": "api-key",
    "upstream_auth_header_prefix": "",
}
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
REQUESTS = {
    "native": (post(target=b"/v1/embeddings?api-version=old&x=%zz&"), b"/embeddings?x=%zz&api-version=2024-10-21"),
    "without a version": (post(target=b"/rerank"), b"/rerank?api-version=2024-10-21"),
    "translated": (create(b"/v1/responses?x=1"), b"/chat/completions?x=1&api-version=2024-10-21"),
    "WebSocket": (get(b"/v1/realtime?model=m", UPGRADE), b"/realtime?model=m&api-version=2024-10-21"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_base_url_and_query_parameters_hold_for_every_request(lane: bool, kind: str) -> None:
    """The configuration describes an Azure deployment: path, version and credential are Azure's, and the client's
    are removed."""
    request, wanted = REQUESTS[kind]
    request = request.replace(b"\r\nHost", b"\r\nAuthorization: Bearer client\r\napi-key: client\r\nHost", 1)
    async with origin(serve(whole("hello"))) as upstream:
        provider = {"base_url": upstream.url + DEPLOYMENT, **AZURE, "open_responses_mode": "translate"}
        async with running(snapshot({"m": provider}), lane=lane) as gateway:
            response = await ask(gateway.port, request)
    assert response.status == 200
    assert upstream.last.target == DEPLOYMENT.encode() + wanted
    assert (upstream.last.values(b"api-key"), upstream.last.values(b"authorization")) == ([b"azure-key"], [])


async def test_a_chat_is_translated_to_a_base_url_as_well(lane: bool) -> None:
    """This is the other direction of translation."""
    answer = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": []}
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    async with origin(serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % _sized(answer))) as upstream:
        targets = snapshot({"m": {"base_url": upstream.url + "/openai/v4", "chat_completions_mode": "translate"}})
        async with running(targets, lane=lane) as gateway:
            await ask(gateway.port, post(body))
    assert upstream.last.target == b"/openai/v4/responses"


def _sized(value: object) -> tuple[int, bytes]:
    body = json.dumps(value).encode()
    return len(body), body


@pytest.mark.parametrize(
    ("key", "base", "options", "wanted"),
    [
        ("base_url", "/api/v4", {}, b"/api/v4/models"),
        ("url", "/api/v1", {}, b"/api/v1/models"),
        ("base_url", DEPLOYMENT, AZURE, DEPLOYMENT.encode() + b"/models?api-version=2024-10-21"),
    ],
)
async def test_health_checks_go_where_requests_go(
    lane: bool, key: str, base: str, options: dict[str, object], wanted: bytes
) -> None:
    """They have the provider's parameters and credential."""
    async with origin() as checked, origin() as other:
        first = {key: checked.url + base, "health_check": {"interval": "20ms"}, **options}
        async with running(snapshot({"m": {"providers": [first, {"url": other.url}]}}), lane=lane):
            await checked.seen(1)
    assert checked.last.target == wanted
    assert checked.last.values(b"api-key") == ([b"azure-key"] if options else [])


@pytest.mark.either_door
@pytest.mark.parametrize("target", CLIMBING)
async def test_no_dot_segment_leaves_a_base_url(lane: bool, target: bytes) -> None:
    """This is as with ``url``, whatever the base path is."""
    async with origin() as upstream, running(_based(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(target=target))
    assert response.status == 400
    assert not upstream.requests


async def test_an_empty_base_never_makes_an_authority(lane: bool) -> None:
    """The rest of the path after /v1 stays a path, and a request line always has one."""
    got: list[Received] = []
    for target in (b"/v1//evil.test/x", b"/v1", b"/v1?x"):
        async with origin() as upstream, running(snapshot({"m": {"base_url": upstream.url}}), lane=lane) as gateway:
            await ask(gateway.port, post(target=target))
        got += upstream.requests
        assert upstream.last.values(b"host") == [b"127.0.0.1:%d" % upstream.port]
    assert [received.target for received in got] == [b"//evil.test/x", b"/", b"/?x"]


def _based(url: str) -> Snapshot:
    return snapshot({"m": {"base_url": url + "/base/v4"}})
