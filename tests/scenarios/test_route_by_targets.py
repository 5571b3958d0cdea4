"""The target that ``route_by`` chose: its request, its restrictions and its response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import zstandard
from support.leading import chat, crossing, first_gone, put, says_what_it_is_told
from support.origin import STREAM_HEAD, Peer, answer, chunk, origin, serve, silent, streaming
from support.raw import Client, connect, post
from support.scene import until

KEY = b"Authorization: Bearer sk-a\r\n"


async def test_only_the_model_name_in_the_body_changes(lane: bool) -> None:
    """The bytes of one JSON string change to the chosen target's name."""
    body = chat("it is easy", seed=123456789012345678901)
    async with crossing(lane) as scene:
        await put(scene, body)
    assert scene.small.last.body == body.replace(b'"auto"', b'"small"')


async def test_onwards_model_of_the_chosen_target_applies(lane: bool) -> None:
    """The provider gets its own name of the model."""
    body = chat("it is easy")
    async with crossing(lane, options={"small": {"onwards_model": 'org/"tiny"'}}) as scene:
        await put(scene, body)
    assert scene.small.last.body == body.replace(b'"auto"', rb'"org/\"tiny\""')


@pytest.mark.parametrize("renamed", [False, True])
async def test_a_compressed_body_is_decoded_and_renamed(lane: bool, renamed: bool) -> None:
    """Codex sends zstd. The provider gets the decoded body without Content-Encoding."""
    body = chat("easy")
    options = {"small": {"onwards_model": "tiny"}} if renamed else {}
    async with crossing(lane, options=options) as scene:
        await put(scene, zstandard.compress(body), b"Content-Encoding: zstd\r\n")
    assert scene.small.last.body == body.replace(b'"auto"', b'"tiny"' if renamed else b'"small"')
    assert not scene.small.last.values(b"content-encoding")


async def test_a_header_may_name_the_rule(lane: bool) -> None:
    """The name in the body is replaced by that of the chosen target. A body without a name stays without one."""
    header = b"Model-Override: auto\r\n"
    async with crossing(lane) as scene:
        await put(scene, chat("easy").replace(b'"auto"', b'"anything"'), header)
        await put(scene, b'{"prompt":"easy"}', header)
    bodies = [request.body for request in scene.small.requests]
    assert bodies == [chat("easy").replace(b'"auto"', b'"small"'), b'{"prompt":"easy"}']


async def test_a_header_may_name_the_rule_over_a_compressed_body(lane: bool) -> None:
    """The text to classify is found in the compressed body."""
    async with crossing(lane) as scene:
        await put(scene, zstandard.compress(chat("easy")), b"Model-Override: auto\r\nContent-Encoding: zstd\r\n")
    assert [request.body for request in scene.small.requests] == [chat("easy").replace(b'"auto"', b'"small"')]


async def test_the_chosen_targets_keys_hold(lane: bool) -> None:
    """A key for the rule does not open the rule's targets. If the label does not lead to a closed target, the
    request is served."""
    async with crossing(lane, options={"small": {"keys": ["sk-a"]}}) as scene:
        statuses = [
            (await put(scene, chat(label), fields)).status
            for label, fields in (
                ("easy", b""),
                ("easy", b"Authorization: Bearer sk-b\r\n"),
                ("easy", KEY),
                ("hard", b""),
            )
        ]
    assert statuses == [401, 403, 200, 200]
    assert len(scene.small.requests) == 1


async def test_the_rules_own_keys_hold(lane: bool) -> None:
    """Without a key for the rule, the classifier gets no request. The classifier and the targets need not accept
    that key."""
    options = {"auto": {"keys": ["sk-a"]}, "which": {"keys": ["sk-inside"]}}
    async with crossing(lane, options=options) as scene:
        refused = await put(scene, chat("easy"))
        assert not scene.which.requests
        served = await put(scene, chat("easy"), KEY)
    assert (refused.status, served.body) == (401, b"by small")


@pytest.mark.parametrize("body", [chat("easy"), zstandard.compress(chat("easy"))], ids=["plain", "zstd"])
async def test_max_body_of_the_chosen_target_holds(lane: bool, body: bytes) -> None:
    """The decoded size counts, with the target's name in the body."""
    fields = b"" if body.startswith(b"{") else b"Content-Encoding: zstd\r\n"
    largest = len(chat("easy").replace(b'"auto"', b'"small"'))
    for bound, status in ((largest, 200), (largest - 1, 413)):
        async with crossing(lane, options={"small": {"max_body": bound}}) as scene:
            response = await put(scene, body, fields)
        assert response.status == status
        assert len(scene.small.requests) == (status == 200)


async def test_max_body_of_the_chosen_target_holds_for_bodies_without_a_name(lane: bool) -> None:
    """A header names the rule, and the body names no model."""
    body = b'{"prompt":"easy"}'
    async with crossing(lane, options={"small": {"max_body": len(body) - 1}}) as scene:
        response = await put(scene, body, b"Model-Override: auto\r\n")
    assert (response.status, len(scene.small.requests)) == (413, 0)


async def test_the_chosen_targets_permits_are_held_until_the_last_byte(lane: bool) -> None:
    """While a stream of its pool runs, the next request for that target is refused; requests for other targets are
    not."""
    release = asyncio.Event()
    async with origin(streaming(release)) as member:
        pool = {"url": None, "providers": [{"url": member.url}], "concurrency_limit": {"max_concurrent_requests": 1}}
        async with crossing(lane, options={"small": pool}) as scene:
            async with connect(scene.gateway.port) as client:
                await client.send(post(chat("easy", stream=True)))
                response = await client.head()
                await client.chunk(response)
                refused = await put(scene, chat("easy"))
                elsewhere = await put(scene, chat("hard"))
                release.set()
                await client.rest(response)
            again = await put(scene, chat("easy"))
    assert (refused.status, refused.error["code"]) == (429, "concurrency_limit_exceeded")
    assert (elsewhere.status, again.status, response.whole) == (200, 200, True)


async def test_the_rules_own_permits_are_held_until_the_last_byte(lane: bool) -> None:
    """A limit of the rule bounds its exchanges, with classification and answer, and no others."""
    release = asyncio.Event()
    options = {"auto": {"concurrency_limit": {"max_concurrent_requests": 1}}}
    async with crossing(lane, small=streaming(release), options=options) as scene:
        async with connect(scene.gateway.port) as client:
            await client.send(post(chat("easy")))
            response = await client.head()
            refused = await put(scene, chat("hard"))
            direct = await put(scene, chat("hard").replace(b'"auto"', b'"big"'))
            release.set()
            await client.rest(response)
    assert (refused.status, direct.status) == (429, 200)


async def test_the_limits_of_a_key_count_an_exchange_once(lane: bool) -> None:
    """One token leaves the key's bucket, though the exchange uses two targets and a classifier."""
    auth = {"key_definitions": {"a": {"key": "sk-a", "rate_limit": {"requests_per_second": 0.01, "burst_size": 2}}}}
    async with crossing(lane, auth=auth) as scene:
        statuses = [(await put(scene, chat("easy"), KEY)).status for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_the_chosen_target_falls_back_by_its_own_rules(lane: bool) -> None:
    """The chosen target is a pool with fallback like any other."""
    async with (
        origin(serve(answer(b"by the spare one"))) as spare,
        crossing(lane, options={"small": first_gone(spare.url)}) as scene,
    ):
        assert (await put(scene, chat("easy"))).body == b"by the spare one"
    assert scene.line("small")["attempts"] == 2


# Streams, and clients that leave


async def test_a_streamed_answer_arrives_as_it_is_made(lane: bool) -> None:
    """The first event arrives before the last one, each in its own chunk."""
    release = asyncio.Event()
    async with crossing(lane, small=streaming(release, b"data: 1\n\n")) as scene, connect(scene.gateway.port) as client:
        await client.send(post(chat("easy", stream=True)))
        response = await client.head()
        assert await client.chunk(response) == b"data: 1\n\n"
        release.set()
        await client.rest(response)
    assert response.whole
    assert scene.line("small")["outcome"] == "done"


async def test_a_stream_that_is_cut_stays_cut(lane: bool) -> None:
    """A cut stream does not look complete after ``route_by`` either."""

    async def cuts(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(b"data: 1\n\n"))
        peer.rst()

    async with crossing(lane, small=cuts) as scene:
        response = await put(scene, chat("easy", stream=True))
    assert not response.whole
    assert scene.line("small")["outcome"] == "upstream_cut"


@pytest.mark.parametrize("leave", [Client.fin, Client.rst, Client.half_close])
async def test_a_disconnect_ends_the_classifier_request(lane: bool, leave: Callable[[Client], None]) -> None:
    """The connection to the classifier is closed at once, no target gets the request, and no permit is held."""
    closed = asyncio.Event()

    async def waits(peer: Peer) -> None:
        await silent(peer)
        closed.set()

    async with crossing(lane, waits) as scene, connect(scene.gateway.port) as client:
        await client.send(post(chat("easy")))
        await scene.which.seen(1)
        assert scene.gateway.held_permits() == 3  # the rule's, the classifier's and its provider's
        leave(client)
        await asyncio.wait_for(closed.wait(), 5)
        await until(lambda: scene.gateway.held_permits() == 0)
    assert not scene.big.requests
    assert not scene.small.requests
    assert scene.line("auto")["outcome"] == "client_gone_waiting"


async def test_concurrent_requests_get_their_own_labels(lane: bool) -> None:
    """Forty requests use one classifier, half of them hard. Each gets the answer of its own label."""
    async with crossing(lane, says_what_it_is_told) as scene:
        labels = ["hard", "easy"] * 20
        responses = await asyncio.gather(*(put(scene, chat(label)) for label in labels))
    assert [response.body for response in responses] == [b"by big", b"by small"] * 20


async def test_pipelined_requests_are_answered_in_order(lane: bool) -> None:
    """They come on one connection and go to different targets."""
    async with crossing(lane) as scene, connect(scene.gateway.port) as client:
        await client.send(b"".join(post(chat(label)) for label in ("easy", "hard", "easy")))
        bodies = [(await client.response()).body for _ in range(3)]
    assert bodies == [b"by small", b"by big", b"by small"]
