"""Joining a provider's base path and a request target by concatenation, always within the provider's base."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.errors import ErrorKind, ProxyError
from onwards_py.wire.target_url import join, join_sdk_base_url, origin_form

BASES = [b"", b"/v1", b"/api/v2", b"/a%2Fb", b"/v1/x~y"]
PIECES = [
    *(b"/", b"//", b".", b"..", b"...", b"%2e", b"%2E", b".%2e", b"%2f", b"%5c", b"\\", b";", b"?", b"#", b"@", b":"),
    *(b"v1", b"api", b"x", b"evil.example", b"http://", b"https://evil.example", b"%00", b"%", b"\xff", b"", b"?/../"),
]
targets = st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join)


@pytest.mark.parametrize(
    ("base", "target", "joined"),
    [
        (b"", b"/", b"/"),
        (b"", b"/v1/chat/completions?a=b", b"/v1/chat/completions?a=b"),
        (b"/v1", b"/v1/chat/completions", b"/v1/chat/completions"),
        (b"/v1", b"/chat/completions", b"/v1/chat/completions"),
        (b"/v1", b"/v1", b"/v1"),
        (b"/v1", b"/v1/", b"/v1/"),
        (b"/v1", b"/v1?model=m", b"/v1?model=m"),
        (b"/v1", b"/", b"/v1/"),
        (b"/v1", b"/v1x/y", b"/v1/v1x/y"),
        (b"/v1", b"/V1/x", b"/v1/V1/x"),
        (b"/v1", b"/v1/v1/x", b"/v1/v1/x"),
        (b"/v1", b"/%761/x", b"/v1/%761/x"),
        (b"/v1", b"//evil.example/x", b"/v1//evil.example/x"),
        (b"/v1", b"/http://evil.example/x", b"/v1/http://evil.example/x"),
        (b"/v2", b"/v1/models", b"/v2/v1/models"),
        (b"/api/v1", b"/v1/models", b"/api/v1/models"),
        (b"/api/v1", b"/v1", b"/api/v1"),
        (b"/api/v1", b"/v1?q=/api/v1/x", b"/api/v1?q=/api/v1/x"),
        (b"/api/v1", b"/v1/", b"/api/v1/"),
        (b"/api/v1", b"/v1//x", b"/api/v1//x"),
        (b"/api/v1", b"//v1/x", b"/api/v1//v1/x"),
        (b"/api/v1", b"/v1x/y", b"/api/v1/v1x/y"),
        (b"/api/v1", b"/api/x", b"/api/v1/api/x"),
        (b"/api/v1", b"/%761/x", b"/api/v1/%761/x"),
        (b"/apiv1", b"/v1/x", b"/apiv1/v1/x"),
        (b"/a/v1/b", b"/v1/b/x", b"/a/v1/b/x"),
        (b"/a/v1/b", b"/b/v1/x", b"/a/v1/b/v1/x"),
        (b"/a/b/a/b", b"/a/b/x", b"/a/b/a/b/x"),
        (b"/a/b/a/b", b"/a/b/a/b/x", b"/a/b/a/b/x"),
        (b"/x/a%2Fb", b"/a%2Fb/c", b"/x/a%2Fb/c"),
        (b"/x/a%2Fb", b"/a%2fb/c", b"/x/a%2Fb/a%2fb/c"),
        (b"/x/a%2Fb", b"/b/c", b"/x/a%2Fb/b/c"),
        (b"/v1", b"/v1/v1", b"/v1/v1"),
        (b"/api/v1", b"/api/v1/models", b"/api/v1/models"),
        (b"/v1", b"/x?path=/../..", b"/v1/x?path=/../.."),
        (b"/v1", b"/...", b"/v1/..."),
        (b"/v1", b"/..x/x../.x./x", b"/v1/..x/x../.x./x"),
        (b"/v1", b"/%2ex/%2e", b"/v1/%2ex/%2e"),
        (b"/v1", b"/a%2Fb%20c%zz%", b"/v1/a%2Fb%20c%zz%"),
    ],
)
def test_join(base: bytes, target: bytes, joined: bytes) -> None:
    """Segments at the end of the base path with which the target begins are not doubled. All other bytes are kept."""
    assert join(base, target) == joined


@pytest.mark.parametrize(
    ("base", "target", "joined"),
    [
        (b"/api/paas/v4", b"/v1/chat/completions?a=/v1", b"/api/paas/v4/chat/completions?a=/v1"),
        (b"/v1", b"/v1/models", b"/v1/models"),
        (b"/v1beta/openai", b"/v1/models", b"/v1beta/openai/models"),
        (b"", b"/v1/models", b"/models"),
        (b"", b"/v1", b"/"),
        (b"", b"/v1?q", b"/?q"),
        (b"", b"/v1/", b"/"),
        (b"", b"/models", b"/models"),
        (b"/b", b"/v1", b"/b"),
        (b"/b", b"/v1/", b"/b/"),
        (b"/b", b"/v1?q", b"/b?q"),
        (b"/b", b"/models", b"/b/models"),
        (b"/b", b"/b/models", b"/b/b/models"),
        (b"/b", b"/v1/v1/models", b"/b/v1/models"),
        (b"/b", b"/v1//models", b"/b//models"),
        (b"/b", b"//v1/models", b"/b//v1/models"),
        (b"/b", b"/v1beta/models", b"/b/v1beta/models"),
        (b"/b", b"/V1/models", b"/b/V1/models"),
        (b"/b", b"/%761/models", b"/b/%761/models"),
        (b"/b", b"/v2/models", b"/b/v2/models"),
        (b"/b", b"/", b"/b/"),
    ],
)
def test_a_base_url_takes_the_place_of_the_version(base: bytes, target: bytes, joined: bytes) -> None:
    """As in SDKs, it replaces only a complete first segment ``/v1``."""
    assert join_sdk_base_url(base, target) == joined


@pytest.mark.parametrize("base", [b"", b"/v1"])
@pytest.mark.parametrize(
    "target",
    [
        *(b"/..", b"/../", b"/../x", b"/x/..", b"/x/../y", b"/x/..?q", b"/x/..;a/y", b"/x/%2e%2e/y", b"/x/.%2E"),
        *(b"/%2E./y", b"/x%2f..%2fy", b"/x%2F%2e%2e", b"/x\\..\\y", b"/x%5c..%5Cy", b"/..\\y", b"/..%2f"),
        b"/v1/../../x",
    ],
)
def test_a_path_with_dot_segments_is_refused(base: bytes, target: bytes) -> None:
    """Dot segments are refused in any spelling that a server may decode."""
    for way in (join, join_sdk_base_url):
        with pytest.raises(ProxyError) as caught:
            way(base, target)
        assert caught.value.kind is ErrorKind.BAD_REQUEST


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", b"/"),
        (b"/v1/x?y", b"/v1/x?y"),
        (b"//h/x", b"//h/x"),
        (b"http://h/v1/x?y", b"/v1/x?y"),
        (b"HTTPS://h:443/", b"/"),
        (b"http://h", b"/"),
        (b"http://h?q", b"/?q"),
        (b"http://h//x", b"//x"),
        (b"http://h/http://i/", b"/http://i/"),
    ],
)
def test_origin_form(target: bytes, path: bytes) -> None:
    """RFC 9112 section 3.2.2: scheme and authority are removed, the rest does not change."""
    assert origin_form(target) == path


@pytest.mark.parametrize(
    "target", [b"", b"*", b"h:80", b"v1/x", b"?q", b"ftp://h/", b"http:/h/x", b"http:h", b"/x#f", b"/#", b"http://h#f"]
)
def test_other_forms_and_fragments_are_refused(target: bytes) -> None:
    """RFC 9112 section 3.2: authority-form and asterisk-form are for methods that are not served."""
    with pytest.raises(ProxyError) as caught:
        origin_form(target)
    assert caught.value.kind is ErrorKind.BAD_REQUEST


@examples(1000)
@given(st.sampled_from(BASES), targets, st.sampled_from([join, join_sdk_base_url]))
def test_every_joined_target_is_below_the_base(
    base: bytes, target: bytes, way: Callable[[bytes, bytes], bytes]
) -> None:
    """In every accepted case the authority is the provider's, and no server can resolve the path to one outside the
    base."""
    try:
        joined = way(base, origin_form(target))
    except ProxyError:
        return
    assert joined == base or joined.startswith((base + b"/", base + b"?"))
    assert urlsplit("http://provider" + joined.decode("latin-1")).netloc == "provider"
    path = joined.partition(b"?")[0]
    for decoded in (path, unquote_to_bytes(path), unquote_to_bytes(path).replace(b"\\", b"/")):
        climbed = posixpath.normpath(decoded.replace(b"//", b"/"))
        assert climbed.startswith((unquote_to_bytes(base), base))


@examples(300)
@given(st.sampled_from(BASES), targets)
def test_join_changes_only_the_start(base: bytes, target: bytes) -> None:
    """The result ends with the target's bytes, and joining twice equals joining once."""
    try:
        path = origin_form(target)
        joined = join(base, path)
    except ProxyError:
        return
    assert joined.endswith(path)
    if base:
        assert join(base, joined) == joined
