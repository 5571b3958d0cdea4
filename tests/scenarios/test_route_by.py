"""``route_by``: a classifier labels the request, and the target that the label names answers."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.leading import chat, crossing, first_gone, put, said, says_what_it_is_told
from support.origin import Peer, Script, answer, chunk, once, origin, refused_port, serve, silent


@pytest.mark.parametrize(("label", "target"), [("hard", "big"), ("easy", "small")])
async def test_a_label_leads_to_its_target(lane: bool, label: str, target: str) -> None:
    """The log names both targets and the metric the reason. No other target gets the request, and the classifier
    gets one."""
    async with crossing(lane) as scene:
        response = await put(scene, chat(f"this is {label}"))
        led = await scene.led(target, "label")
    assert response.body == b"by " + target.encode()
    assert led == 1
    assert [len(scene.which.requests), len(scene.big.requests) + len(scene.small.requests)] == [1, 1]
    line = scene.line(target)
    assert (line["via"], line["status"], line["outcome"], line["attempts"]) == ("auto", 200, "done", 1)


async def test_the_classifier_request_is_an_exchange_of_its_own(lane: bool) -> None:
    """It is a small chat with only the last user message. It has no field of the client's request, and its own log
    line."""
    async with crossing(lane) as scene:
        await put(
            scene, chat("my name is easy", metadata={"secret": "x"}), b"Authorization: Bearer sk-a\r\nCookie: a=b\r\n"
        )
    asked = scene.which.last
    assert (asked.method, asked.target) == (b"POST", b"/v1/chat/completions")
    body = json.loads(asked.body)
    assert (body["model"], body["messages"]) == ("which", [{"role": "user", "content": "my name is easy"}])
    assert not asked.values(b"authorization")
    assert not asked.values(b"cookie")
    line = scene.line("which")
    assert (line["via"], line["status"], line["outcome"], line["key"]) == (None, 200, "done", None)


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (b"/v1/responses", b'{"model":"auto","input":"easy"}'),
        (b"/v1/completions", b'{"prompt":"rather easy","model":"auto"}'),
        (b"/v1/chat/completions", chat([{"type": "text", "text": "it is"}, {"type": "text", "text": "easy"}])),
    ],
)
async def test_requests_of_every_dialect_can_be_routed(lane: bool, target: bytes, body: bytes) -> None:
    """The classifier gets a chat; the client's request keeps its path."""
    async with crossing(lane) as scene:
        await put(scene, body, target=target)
    assert [request.target for request in scene.small.requests] == [target]


@pytest.mark.either_door
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (chat("unheard of"), "other_label"),
        (b'{"model":"auto"}', "no_text"),
        (chat([{"type": "image_url", "image_url": {"url": "data:,x"}}]), "no_text"),
        (b'{"model":"auto","messages":[{"role":"assistant","content":"easy"}]}', "no_text"),
    ],
)
async def test_without_a_known_label_the_default_answers(lane: bool, body: bytes, reason: str) -> None:
    """The rule does not have the label, or the request has no text to classify; in that case the classifier gets no
    request."""
    async with crossing(lane) as scene:
        response = await put(scene, body)
        led = await scene.led("big", reason)
    assert (response.body, led) == (b"by big", 1)
    assert len(scene.which.requests) == (1 if reason == "other_label" else 0)
    assert scene.line("big")["via"] == "auto"


EASY = said("easy")[said("easy").index(b"\r\n\r\n") + 4 :]

FAILURES: dict[str, Script] = {
    "500, with a label": serve(answer(EASY, b"500 Oops")),
    "429": serve(answer(b'{"error":{}}', b"429 Slow Down")),
    "201": serve(answer(EASY, b"201 Created")),
    "no JSON": serve(answer(b"easy")),
    "no bytes": serve(answer(b"")),
    "no UTF-8": serve(answer(EASY.replace(b"easy", b"\xff"))),
    "no choice": serve(answer(b'{"choices":[]}')),
    "no text": serve(answer(b'{"choices":[{"message":{"content":null}}]}')),
    "an object": serve(answer(b'{"choices":[{"message":{"content":{"label":"easy"}}}]}')),
    "an event stream": serve(answer(b"data: " + EASY + b"\n\n", fields=b"Content-Type: text/event-stream\r\n")),
    "no end of it": serve(answer(EASY[:-1] + b" " * 70_000 + b"}")),
    "cut off": once(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + EASY),
    "closed without an answer": once(b""),
    "no HTTP": once(b"easy\r\n\r\n"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("failure", FAILURES)
async def test_if_the_classifier_fails_the_default_answers(lane: bool, failure: str) -> None:
    """The kind of failure does not matter: the client gets its answer, and the reason is counted."""
    async with crossing(lane, FAILURES[failure]) as scene:
        response = await put(scene, chat("easy"))
        led = await scene.led("big", "failed")
    assert (response.status, response.body, led) == (200, b"by big", 1)
    assert not scene.small.requests


@pytest.mark.parametrize(
    "options",
    [
        {"url": f"http://127.0.0.1:{refused_port()}"},
        {"concurrency_limit": {"max_concurrent_requests": 0}},
        {"local": {"engine": "classifier", "model": "package:there-is-no-such-package"}, "url": None},
    ],
    ids=["refused connection", "no place", "not installed"],
)
async def test_if_the_classifier_is_unavailable_the_default_answers(lane: bool, options: dict[str, object]) -> None:
    """The limits of the classifier and the failures of its provider do not reach the client."""
    async with crossing(lane, options={"which": options}) as scene:
        response = await put(scene, chat("easy"))
        led = await scene.led("big", "failed")
    assert (response.status, response.body, led) == (200, b"by big", 1)


async def test_fallback_works_within_the_classifiers_pool(lane: bool) -> None:
    """A pool whose first provider is down still returns a label."""
    async with (
        origin(says_what_it_is_told) as spare,
        crossing(lane, options={"which": first_gone(spare.url)}) as scene,
    ):
        assert (await put(scene, chat("easy"))).body == b"by small"
    assert scene.line("which")["attempts"] == 2


async def test_the_wait_for_the_classifier_is_bounded(lane: bool) -> None:
    """After the timeout the default answers, and the connection to the classifier is closed, so that it stops
    computing."""
    closed = asyncio.Event()

    async def sleeps(peer: Peer) -> None:
        await silent(peer)
        closed.set()

    async with crossing(lane, sleeps, patience="50ms") as scene:
        response = await put(scene, chat("easy"))
        await asyncio.wait_for(closed.wait(), 5)
        led = await scene.led("big", "timeout")
    assert (response.body, led) == (b"by big", 1)
    assert scene.line("which")["status"] == 0


async def test_a_chunked_classifier_answer_counts(lane: bool) -> None:
    """A chunked answer is a label like any other, if its end comes in time."""

    async def in_pieces(peer: Peer) -> None:
        await peer.request()
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await peer.send(head, *(chunk(bytes([byte])) for byte in EASY), b"0\r\n\r\n")

    async with crossing(lane, in_pieces) as scene:
        assert (await put(scene, chat("hard"))).body == b"by small"


async def test_a_classifier_answer_without_an_end_is_a_timeout(lane: bool) -> None:
    """The received part already contains a label."""

    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(EASY))
        await peer.gone()

    async with crossing(lane, stalls, patience="50ms") as scene:
        response = await put(scene, chat("easy"))
        led = await scene.led("big", "timeout")
    assert (response.body, led) == (b"by big", 1)
