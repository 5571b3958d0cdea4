"""The target that ``route_by`` chose: what it is asked, what it allows, and how its answer gets back."""

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


async def test_the_body_names_the_chosen_target_and_is_otherwise_as_it_was(lane: bool) -> None:
    """The bytes of that one JSON string, and nothing else."""
    body = chat("it is easy", seed=123456789012345678901)
    async with crossing(lane) as scene:
        await put(scene, body)
    assert scene.small.last.body == body.replace(b'"auto"', b'"small"')


async def test_a_provider_that_has_its_own_name_for_the_model_gets_that(lane: bool) -> None:
    """``onwards_model`` of the chosen target."""
    body = chat("it is easy")
    async with crossing(lane, options={"small": {"onwards_model": 'org/"tiny"'}}) as scene:
        await put(scene, body)
    assert scene.small.last.body == body.replace(b'"auto"', rb'"org/\"tiny\""')


@pytest.mark.parametrize("renamed", [False, True])
async def test_a_compressed_body_is_read_and_named_anew(lane: bool, renamed: bool) -> None:
    """Codex sends zstd: the provider gets the body without its coding, and is not told of one."""
    body = chat("easy")
    options = {"small": {"onwards_model": "tiny"}} if renamed else {}
    async with crossing(lane, options=options) as scene:
        await put(scene, zstandard.compress(body), b"Content-Encoding: zstd\r\n")
    assert scene.small.last.body == body.replace(b'"auto"', b'"tiny"' if renamed else b'"small"')
    assert not scene.small.last.values(b"content-encoding")


async def test_a_header_may_name_the_rule(lane: bool) -> None:
    """The name in the body is the chosen target's, whatever it was; a body without one stays without."""
    header = b"Model-Override: auto\r\n"
    async with crossing(lane) as scene:
        await put(scene, chat("easy").replace(b'"auto"', b'"anything"'), header)
        await put(scene, b'{"prompt":"easy"}', header)
    bodies = [request.body for request in scene.small.requests]
    assert bodies == [chat("easy").replace(b'"auto"', b'"small"'), b'{"prompt":"easy"}']


async def test_a_header_may_name_the_rule_over_a_compressed_body(lane: bool) -> None:
    """The text is found in there too."""
    async with crossing(lane) as scene:
        await put(scene, zstandard.compress(chat("easy")), b"Model-Override: auto\r\nContent-Encoding: zstd\r\n")
    assert [request.body for request in scene.small.requests] == [chat("easy").replace(b'"auto"', b'"small"')]


async def test_the_chosen_targets_keys_hold(lane: bool) -> None:
    """Who may use the rule does not thereby get into every target; where nobody is led to it, nothing is refused."""
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


async def test_the_rules_own_keys_hold_for_all(lane: bool) -> None:
    """Without the rule's key no question is asked; the classifier and the targets need not know that key."""
    options = {"auto": {"keys": ["sk-a"]}, "which": {"keys": ["sk-inside"]}}
    async with crossing(lane, options=options) as scene:
        refused = await put(scene, chat("easy"))
        assert not scene.which.requests
        served = await put(scene, chat("easy"), KEY)
    assert (refused.status, served.body) == (401, b"by small")


@pytest.mark.parametrize("body", [chat("easy"), zstandard.compress(chat("easy"))], ids=["plain", "zstd"])
async def test_the_chosen_targets_largest_body_holds(lane: bool, body: bytes) -> None:
    """Counted as that target would have it: with its name in it, and decoded."""
    fields = b"" if body.startswith(b"{") else b"Content-Encoding: zstd\r\n"
    largest = len(chat("easy").replace(b'"auto"', b'"small"'))
    for bound, status in ((largest, 200), (largest - 1, 413)):
        async with crossing(lane, options={"small": {"max_body": bound}}) as scene:
            response = await put(scene, body, fields)
        assert response.status == status
        assert len(scene.small.requests) == (status == 200)


async def test_the_chosen_targets_largest_body_holds_for_bodies_without_a_name(lane: bool) -> None:
    """A header names the rule, and the body nobody."""
    body = b'{"prompt":"easy"}'
    async with crossing(lane, options={"small": {"max_body": len(body) - 1}}) as scene:
        response = await put(scene, body, b"Model-Override: auto\r\n")
    assert (response.status, len(scene.small.requests)) == (413, 0)


async def test_the_chosen_targets_places_hold_to_the_last_byte(lane: bool) -> None:
    """While a stream of its pool runs, the next one that is led there is refused; those led elsewhere are not."""
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


async def test_the_rules_own_places_hold_to_the_last_byte(lane: bool) -> None:
    """A rule's limit bounds the exchanges that come through it, question and answer; nobody else."""
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
    """One token of the key's bucket, though two targets and a classifier are passed."""
    auth = {"key_definitions": {"a": {"key": "sk-a", "rate_limit": {"requests_per_second": 0.01, "burst_size": 2}}}}
    async with crossing(lane, auth=auth) as scene:
        statuses = [(await put(scene, chat("easy"), KEY)).status for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_the_chosen_target_falls_back_by_its_own_rules(lane: bool) -> None:
    """The pool that was chosen is a pool like any other."""
    async with (
        origin(serve(answer(b"by the spare one"))) as spare,
        crossing(lane, options={"small": first_gone(spare.url)}) as scene,
    ):
        assert (await put(scene, chat("easy"))).body == b"by the spare one"
    assert scene.line("small")["attempts"] == 2


# Streams, and clients that leave


async def test_a_streamed_answer_arrives_as_it_is_made(lane: bool) -> None:
    """The first event before the last one is there, each in its own chunk."""
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
    """No promise about endings is lost on the way round."""

    async def cuts(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(b"data: 1\n\n"))
        peer.rst()

    async with crossing(lane, small=cuts) as scene:
        response = await put(scene, chat("easy", stream=True))
    assert not response.whole
    assert scene.line("small")["outcome"] == "upstream_cut"


@pytest.mark.parametrize("leave", [Client.fin, Client.rst, Client.half_close])
async def test_a_client_that_leaves_during_the_question_ends_it(lane: bool, leave: Callable[[Client], None]) -> None:
    """The classifier is told at once, no target is asked, and nothing is held any more."""
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


async def test_many_at_once_are_not_mixed_up(lane: bool) -> None:
    """Forty requests on one classifier, half of them hard: each gets the answer of its own label."""
    async with crossing(lane, says_what_it_is_told) as scene:
        labels = ["hard", "easy"] * 20
        responses = await asyncio.gather(*(put(scene, chat(label)) for label in labels))
    assert [response.body for response in responses] == [b"by big", b"by small"] * 20


async def test_pipelined_requests_are_answered_in_order(lane: bool) -> None:
    """On one connection, led to different targets."""
    async with crossing(lane) as scene, connect(scene.gateway.port) as client:
        await client.send(b"".join(post(chat(label)) for label in ("easy", "hard", "easy")))
        bodies = [(await client.response()).body for _ in range(3)]
    assert bodies == [b"by small", b"by big", b"by small"]
