"""Translate mode in pools: each provider has its own mode, and fallback ends with the first event."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from support.chat_upstream import DONE, create, end, error, frame, streamed, text, whole
from support.gateway import Gateway, running
from support.origin import STREAM_HEAD, Origin, Script, answer, chunk, once, origin, refused_port, serve
from support.raw import ask
from support.responses_oracle import check_resource, check_wire, events_of
from support.responses_promises import Json
from support.targets import snapshot

FALLBACK: Json = {"enabled": True, "on_status": [429, 5]}
BUSY = error(b"429 Slow", "busy secret", b"Retry-After: 9\r\n")
NATIVE = b'{"object":"response","native":true}'
NATIVE_ANSWER = answer(NATIVE, fields=b"Content-Type: application/json\r\n")


@asynccontextmanager
async def pooled(
    lane: bool, scripts: Sequence[Script], modes: Sequence[str], **options: object
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """One provider for each script, tried in their order, each with its own mode."""
    async with origin(scripts[0]) as first, origin(scripts[1]) as second:
        origins = [first, second]
        providers = [
            {"url": upstream.url, "open_responses_mode": mode} for upstream, mode in zip(origins, modes, strict=True)
        ]
        target = {"strategy": "priority", "fallback": FALLBACK, "providers": providers, **options}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            yield origins, gateway


async def test_a_native_provider_fails_over_to_a_translated_one(lane: bool) -> None:
    """The first provider gets the client's bytes, the second a chat request."""
    request = create(fields=b"Accept-Encoding: gzip\r\n")
    scripts = [serve(BUSY), serve(whole("hello"))]
    async with pooled(lane, scripts, ["native", "translate"]) as (origins, gateway):
        response = await ask(gateway.port, request)
    assert check_resource(json.loads(response.body)) == []
    first, second = origins[0].last, origins[1].last
    assert (first.target, first.body) == (b"/v1/responses", request.partition(b"\r\n\r\n")[2])
    assert first.values(b"accept-encoding") == [b"gzip"]
    assert (second.target, second.values(b"accept-encoding")) == (b"/v1/chat/completions", [])
    assert gateway.lines()[0]["attempts"] == 2


async def test_a_translated_provider_fails_over_to_a_native_one(lane: bool) -> None:
    """Every byte of the native answer passes unchanged."""
    request = create(stream=True)
    async with pooled(lane, [serve(BUSY), serve(NATIVE_ANSWER)], ["translate", "native"]) as (origins, gateway):
        response = await ask(gateway.port, request)
    assert response.body == NATIVE
    assert response.value(b"retry-after") is None
    assert origins[0].last.target == b"/v1/chat/completions"
    assert origins[1].last.body == request.partition(b"\r\n\r\n")[2]


async def test_the_streams_of_the_second_provider_are_translated(lane: bool) -> None:
    """They contain no part of the first answer."""
    scripts = [serve(BUSY), serve(streamed(*text("a")))]
    async with pooled(lane, scripts, ["translate", "translate"]) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert check_wire(response.body) == []
    assert b"busy" not in response.body


async def test_a_refused_connection_causes_fallback_in_translate_mode(lane: bool) -> None:
    """A provider that refused the connection has not received the request."""
    async with origin(serve(whole("x"))) as second:
        providers = [{"url": f"http://127.0.0.1:{refused_port()}"}, {"url": second.url}]
        target = {"strategy": "priority", "fallback": FALLBACK, "providers": providers}
        targets = snapshot({"m": {**target, "open_responses_mode": "translate"}})
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, create())).status == 200


@pytest.mark.parametrize(
    ("modes", "own_words"),
    [(["translate", "translate"], False), (["native", "translate"], False), (["translate", "native"], True)],
)
async def test_the_last_error_has_the_mode_of_its_provider(lane: bool, modes: list[str], own_words: bool) -> None:
    """A translated error is sanitised, a native one passes unchanged. Both keep Retry-After."""
    async with pooled(lane, [serve(BUSY), serve(BUSY)], modes) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert (response.status, response.value(b"retry-after")) == (429, b"9")
    assert (b"secret" in response.body) is own_words


async def test_a_kept_error_is_sent_if_the_last_attempt_has_no_response(lane: bool) -> None:
    """The client gets the first provider's 429 rather than the second one's cut connection."""
    async with origin(serve(BUSY)) as first:
        providers = [{"url": first.url}, {"url": f"http://127.0.0.1:{refused_port()}"}]
        target = {"strategy": "priority", "fallback": FALLBACK, "providers": providers}
        targets = snapshot({"m": {**target, "open_responses_mode": "translate"}})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, create())
    assert (response.status, response.error["code"]) == (429, "rate_limit_exceeded")
    assert b"secret" not in response.body


async def test_there_is_no_fallback_after_the_first_event(lane: bool) -> None:
    """The client has begun to read the first provider's answer. Responses case G24."""
    cut = once(STREAM_HEAD + chunk(frame(content="Hel")))
    async with pooled(lane, [cut, serve(streamed(*text("a")))], ["translate", "translate"]) as (origins, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert events_of(response.body)[-1]["type"] == "response.failed"
    assert not origins[1].requests


async def test_an_untranslatable_request_is_refused_without_fallback(lane: bool) -> None:
    """The client's request is at fault, so no other provider is tried."""
    request = create(tools=[{"type": "web_search"}])
    async with pooled(lane, [serve(), serve()], ["translate", "translate"]) as (origins, gateway):
        response = await ask(gateway.port, request)
    assert response.status == 400
    assert not origins[0].requests + origins[1].requests


async def test_each_provider_has_its_own_dialect(lane: bool) -> None:
    """The same request is written in the dialect of each provider that is tried."""
    async with origin(serve(BUSY)) as first, origin(serve(streamed(frame(content="x"), end(), DONE))) as second:
        providers = [{"url": first.url, "preset": "openai"}, {"url": second.url, "preset": "mistral"}]
        target = {"strategy": "priority", "fallback": FALLBACK, "providers": providers}
        targets = snapshot({"m": {**target, "open_responses_mode": "translate"}})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True, max_output_tokens=16))
    assert response.status == 200
    assert "max_completion_tokens" in json.loads(first.last.body)
    assert "max_tokens" in json.loads(second.last.body)


TOLD = streamed(b'data: {"error":{"message":"secret","code":503}}\n\n')
EMPTY = answer(b"", fields=b"Content-Type: text/event-stream\r\n")


@pytest.mark.either_door
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reply", [TOLD, EMPTY], ids=["an error within a success", "nothing"])
async def test_an_answer_that_fails_at_once_causes_fallback(lane: bool, reply: bytes, stream: bool) -> None:
    """B13: its status is a success, but the client has got no byte, so ``on_status`` applies to the status of the
    error. Responses case G24."""
    scripts = [serve(reply), serve(streamed(*text("a")))]
    async with pooled(lane, scripts, ["translate", "translate"]) as (_, gateway):
        response = await ask(gateway.port, create(stream=stream))
    if stream:
        assert check_wire(response.body) == []
    else:
        assert check_resource(json.loads(response.body)) == []
    assert (gateway.lines()[0]["attempts"], gateway.lines()[0]["outcome"]) == (2, "done")


async def test_an_unlisted_failure_inside_a_200_does_not_cause_fallback(lane: bool) -> None:
    """With ``on_status: [429]`` the client gets the 503."""
    quiet = {"fallback": {"enabled": True, "on_status": [429]}}
    async with pooled(lane, [serve(TOLD), serve()], ["translate", "translate"], **quiet) as (origins, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert response.status == 503
    assert not origins[1].requests


@pytest.mark.parametrize(("retry_sent", "status"), [(False, 502), (True, 200)])
async def test_an_answer_cut_at_once_needs_retry_sent(lane: bool, retry_sent: bool, status: int) -> None:
    """As in native mode, a POST is repeated only with ``retry_sent``, because it may have been billed."""
    fallback = {"fallback": {**FALLBACK, "retry_sent": retry_sent}}
    scripts = [once(STREAM_HEAD), serve(streamed(*text("a")))]
    async with pooled(lane, scripts, ["translate", "translate"], **fallback) as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert response.status == status


async def test_the_last_failed_answer_has_its_own_status(lane: bool) -> None:
    """Its status and form are those of its provider."""
    async with pooled(lane, [serve(BUSY), serve(TOLD)], ["translate", "translate"]) as (origins, gateway):
        response = await ask(gateway.port, create(stream=True))
    assert response.status == 503
    assert b"secret" not in response.body
    assert gateway.lines()[0]["provider"] == f"127.0.0.1:{origins[1].port}"
