"""Both doors forward requests byte for byte, except for the documented edits."""

from __future__ import annotations

from hashlib import sha256

import pytest
from documented_edits import forwarded
from odd_requests import CHAT, ODD_REQUESTS, OddRequest, request
from support.gateway import running
from support.origin import Origin, answer, origin, serve
from support.pieces import single_bytes
from support.raw import Response, connect
from support.targets import single

from onwards_py.config.parse import parse
from onwards_py.model.snapshot import Snapshot

CREDENTIAL = b"Authorization: Bearer theirs"
PLAIN = request(b"X-Sentinel: 1")
BOTH = pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])


def snapshot(url: str, more: str = "") -> Snapshot:
    text = f"targets: {{m: {{url: '{url}', onwards_key: theirs{more}}}}}"
    return parse(text, "targets.yaml", {}).snapshot


def authority(upstream: Origin) -> bytes:
    return upstream.url.removeprefix("http://").encode()


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()


def assert_same(got: bytes, want: bytes) -> None:
    """Compare by hash; the message shows the first difference."""
    if digest(got) != digest(want):
        at = next((n for n, (a, b) in enumerate(zip(got, want, strict=False)) if a != b), min(len(got), len(want)))
        around = slice(max(0, at - 60), at + 100)
        pytest.fail(f"differs at byte {at}:\n got {got[around]!r}\nwant {want[around]!r}")


def test_the_table_is_large_and_its_names_are_unique() -> None:
    """A duplicate name would hide a message."""
    assert len(ODD_REQUESTS) >= 80
    assert len({odd.name for odd in ODD_REQUESTS}) == len(ODD_REQUESTS)


@BOTH
@pytest.mark.parametrize("odd", ODD_REQUESTS, ids=lambda odd: odd.name[:60])
async def test_request_arrives_unchanged(odd: OddRequest, lane: bool) -> None:
    """The provider gets the message with exactly the documented edits, and so it does a plain request sent directly
    after it."""
    async with (
        origin(serve(answer())) as upstream,
        running(snapshot(upstream.url), lane=lane) as gateway,
        connect(gateway.port) as client,
    ):
        await client.send(odd.raw)
        got = await client.response(to_head=odd.raw.startswith(b"HEAD"))
        assert got.status == 200, got.body
        want = [forwarded(odd.raw, authority(upstream), CREDENTIAL)]
        if not closes_after(odd, got, lane):
            await client.send(PLAIN)
            assert (await client.response()).status == 200
            want.append(forwarded(PLAIN, authority(upstream), CREDENTIAL))
        assert len(upstream.requests) == len(want)
        for received, wanted in zip(upstream.requests, want, strict=True):
            assert_same(received.raw, wanted)


def closes_after(odd: OddRequest, got: Response, lane: bool) -> bool:
    """The aiohttp door may close after a chunked request, because its parser does not distinguish trailers from
    headers."""
    return not lane and b"chunked" in odd.raw.lower() and got.value(b"connection") == b"close"


@BOTH
async def test_requests_in_one_packet_arrive_one_by_one(lane: bool) -> None:
    """However many requests are in one packet, the provider gets each as if it had come alone."""
    rows = [odd for odd in ODD_REQUESTS if len(odd.raw) < 400 and is_ordinary(odd)]
    async with origin(serve(answer())) as upstream, running(snapshot(upstream.url), lane=lane) as gateway:
        want = [forwarded(odd.raw, authority(upstream), CREDENTIAL) for odd in rows]
        async with connect(gateway.port) as client:
            await client.send(b"".join(odd.raw for odd in rows))
            for _ in rows:
                assert (await client.response()).status == 200
        assert_same(b"".join(got.raw for got in upstream.requests), b"".join(want))


@BOTH
async def test_request_in_single_bytes_arrives_unchanged(lane: bool) -> None:
    """Every byte is written separately."""
    async with origin(serve(answer())) as upstream, running(snapshot(upstream.url), lane=lane) as gateway:
        for odd in ODD_REQUESTS:
            if len(odd.raw) < 400:
                async with connect(gateway.port) as client:
                    await client.send(*single_bytes(odd.raw))
                    got = await client.response(to_head=odd.raw.startswith(b"HEAD"))
                assert got.status == 200, odd.name
                assert_same(upstream.last.raw, forwarded(odd.raw, authority(upstream), CREDENTIAL))


def is_ordinary(odd: OddRequest) -> bool:
    """Whether a request may be in the middle of a pipeline: it keeps the connection, and its response has a body."""
    return b"HTTP/1.0" not in odd.raw and odd.name != "HEAD" and b"chunked" not in odd.raw.lower()


@BOTH
async def test_pipelined_pair_arrives_as_two_requests(lane: bool) -> None:
    """RFC 9112 section 9.3.2: the second request of a pipelined pair is neither lost nor mixed with the first."""
    first = request(b"X-Turn: 1", body=b'{"model":"m","n":1}')
    second = request(b"X-Turn: 2", body=b'{"model":"m","n":22}', target=b"/v1/second")
    replies = serve(answer(b"first"), answer(b"second"))
    async with origin(replies) as upstream, running(snapshot(upstream.url), lane=lane) as gateway:
        async with connect(gateway.port) as client:
            await client.send(first + second)
            assert [(await client.response()).body for _ in range(2)] == [b"first", b"second"]
        assert [got.raw for got in upstream.requests] == [
            forwarded(one, authority(upstream), CREDENTIAL) for one in (first, second)
        ]


@BOTH
@pytest.mark.parametrize("name", ["credential replaced in its place", "three credentials become one", "no padding"])
async def test_without_a_provider_key_the_clients_credential_is_only_removed(lane: bool, name: str) -> None:
    """The client's credential is never forwarded, even if the provider has no credential of its own."""
    raw = next(odd.raw for odd in ODD_REQUESTS if odd.name == name)
    async with origin(serve(answer())) as upstream:
        plain = single(upstream.url)
        async with running(plain, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(raw)
            assert (await client.response()).status == 200
        assert_same(upstream.last.raw, forwarded(raw, authority(upstream), None))


@BOTH
@pytest.mark.parametrize(
    ("header_fields", "body", "want"),
    [
        (b"", b' {"a": 1e5 ,"model" :\t"m"}\n', b' {"a": 1e5 ,"model" :\t"n/\xc3\xa9"}\n'),
        (b"", b'{"\\u006dodel":"\\u006d","b":"m"}', b'{"\\u006dodel":"n/\xc3\xa9","b":"m"}'),
        (b"Model-Override: m\r\n", b'{"model":"other","x":1.0}', b'{"model":"n/\xc3\xa9","x":1.0}'),
        (b"Model-Override: m\r\n", b"\x00binary\xff", b"\x00binary\xff"),
    ],
)
async def test_a_rename_changes_only_the_model_string(
    lane: bool, header_fields: bytes, body: bytes, want: bytes
) -> None:
    """``onwards_model`` changes the JSON string of the model with its quotes, and the Content-Length."""
    async with origin(serve(answer())) as upstream:
        config = snapshot(upstream.url, ", onwards_model: 'n/é'")
        raw = request(*header_fields.splitlines(), body=body)
        async with running(config, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(raw)
            assert (await client.response()).status == 200
        renamed = request(*header_fields.splitlines(), body=want)
        assert_same(upstream.last.raw, forwarded(renamed, authority(upstream), CREDENTIAL))


@BOTH
@pytest.mark.parametrize(
    ("base", "target", "want"),
    [
        (b"/v1", b"/v1/chat/completions", b"/v1/chat/completions"),
        (b"/v1", b"/chat/completions", b"/v1/chat/completions"),
        (b"/v1", b"/v1?x", b"/v1?x"),
        (b"/v1", b"/v1x/y", b"/v1/v1x/y"),
        (b"/v1", b"//evil.example/x", b"/v1//evil.example/x"),
        (b"/api/v2", b"/v1/chat/completions", b"/api/v2/v1/chat/completions"),
        (b"", b"//evil.example/x", b"//evil.example/x"),
    ],
)
async def test_base_path_and_target_are_concatenated(lane: bool, base: bytes, target: bytes, want: bytes) -> None:
    """A base path that the target repeats is not doubled. The path is not normalised."""
    async with origin(serve(answer())) as upstream:
        async with (
            running(snapshot(upstream.url + base.decode()), lane=lane) as gateway,
            connect(gateway.port) as client,
        ):
            await client.send(request(target=target, body=CHAT))
            assert (await client.response()).status == 200
        assert upstream.last.target == want
        assert upstream.last.values(b"host") == [authority(upstream)]
