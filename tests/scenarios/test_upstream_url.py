"""Where a request goes: base path and raw target joined by concatenation, never out of the provider's authority."""

from __future__ import annotations

import pytest
from support.gateway import running
from support.origin import origin
from support.raw import ask, post
from support.targets import single

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


@pytest.mark.parametrize(("base", "target", "wanted"), JOINS)
async def test_the_target_is_joined_without_normalising(lane: bool, base: str, target: bytes, wanted: bytes) -> None:
    """onwards.md 1.10: the base path is not doubled, partial segments are no repetition, no escape is touched.

    Responses case L1.
    """
    async with origin() as upstream, running(single(upstream.url + base), lane=lane) as gateway:
        response = await ask(gateway.port, post(target=target))
    assert response.status == 200
    assert upstream.last.target == wanted


@pytest.mark.parametrize("base", ["", "/base/v1"])
@pytest.mark.parametrize("target", HOSTILE)
async def test_no_target_leaves_the_providers_authority(lane: bool, base: str, target: bytes) -> None:
    """B1, B2: refused with 400, or forwarded to the configured authority, under its base path, as its Host."""
    host = b"evil.test:443" if target.lower().startswith(b"https:") else b"evil.test"
    async with (
        origin() as upstream,
        running(single(upstream.url + base, onwards_key="sk-provider"), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post(target=target, host=host))
    if response.status == 400:
        assert not upstream.requests
        return
    assert response.status == 200
    assert upstream.last.values(b"host") == [b"127.0.0.1:%d" % upstream.port]
    assert upstream.last.target.startswith(base.encode() + b"/")
    assert b"://evil.test" not in upstream.last.target or target.startswith(b"/")


@pytest.mark.parametrize("target", CLIMBING)
async def test_dot_segments_are_refused_and_never_folded(lane: bool, target: bytes) -> None:
    """B2: whatever a server behind might fold upward does not get there, in any spelling."""
    async with origin() as upstream, running(single(upstream.url + "/base/v1"), lane=lane) as gateway:
        response = await ask(gateway.port, post(target=target))
    assert response.status == 400
    assert not upstream.requests


async def test_absolute_form_chooses_neither_host_nor_scheme(lane: bool) -> None:
    """RFC 9112 section 3.2.2: its path is used; where it goes is the configuration's to say."""
    async with origin() as upstream, running(single(upstream.url + "/v1"), lane=lane) as gateway:
        response = await ask(gateway.port, post(target=b"http://evil.test/v1/chat?x=1", host=b"evil.test"))
    assert response.status == 200
    assert upstream.last.target == b"/v1/chat?x=1"
    assert upstream.last.values(b"host") == [b"127.0.0.1:%d" % upstream.port]
