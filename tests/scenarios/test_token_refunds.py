"""``token_limit``: refunds, debts, estimates, and the fields of the response."""

from __future__ import annotations

import pytest
from support.chat_upstream import DONE, create, event, frame, streamed, whole
from support.gateway import running
from support.levels import KEY, LEVELS, estimate, limited, spent
from support.origin import STREAM_HEAD, Peer, answer, chunk, no_answer, origin, refused_port, serve
from support.raw import ask, connect, get, post
from support.responses_promises import Json
from support.scene import until
from support.targets import pool

TOKENS: Json = {"token_limit": {"tokens_per_minute": 1, "burst_size": 1000}}
CHAT = post(b'{"model":"m","messages":[{"role":"user","content":"hello"}]}', fields=KEY)


LARGE = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"x" * 2_000_000)


async def refuses_at_length(peer: Peer) -> None:
    """An error whose body comes in pieces."""
    await peer.request()
    await peer.send(LARGE, chunk(b"more"), b"0\r\n\r\n")


FAILING = {
    "500": serve(answer(b'{"error":1}', b"500 Oops")),
    "400": serve(answer(b'{"error":{"usage":{"total_tokens":500}}}', b"400 Bad")),
    "a long 400": refuses_at_length,
    "no answer": no_answer,
    "an error in a 200, translated": serve(streamed(event({"error": {"message": "no", "code": 500}}))),
}


@pytest.mark.either_door
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", FAILING)
async def test_a_failed_request_costs_nothing(lane: bool, case: str, level: str) -> None:
    """Its estimate is refunded."""
    mode, request = "native", CHAT
    if "translated" in case:
        mode, request = "translate", create(fields=KEY, stream=True)
    async with origin(FAILING[case]) as upstream:
        targets = limited(level, TOKENS, url=upstream.url, open_responses_mode=mode)
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, request)).status >= 400
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, level) == 0


@pytest.mark.parametrize("level", LEVELS)
async def test_without_a_provider_nothing_is_charged(lane: bool, level: str) -> None:
    """The provider's port is closed, or the request cannot be translated."""
    targets = limited(level, TOKENS, url=f"http://127.0.0.1:{refused_port()}", open_responses_mode="translate")
    async with running(targets, lane=lane) as gateway:
        assert (await ask(gateway.port, CHAT)).status == 503
        assert (await ask(gateway.port, create(fields=KEY, previous_response_id="resp_1"))).status >= 400
        assert (await ask(gateway.port, get(b"/v1/responses/resp_1", KEY + b"Model-Override: m\r\n"))).status == 404
        await until(lambda: gateway.held_permits() == 0)
        assert spent(gateway, level) == 0


@pytest.mark.parametrize("level", LEVELS)
async def test_above_the_token_limit_the_response_is_429(lane: bool, level: str) -> None:
    """It has the fields that OpenAI uses, and Retry-After. No provider gets the request."""
    limits: Json = {"token_limit": {"tokens_per_minute": 60, "burst_size": 20}}
    async with origin(serve(whole("hello"))) as upstream:
        async with running(limited(level, limits, url=upstream.url), lane=lane) as gateway:
            first = await ask(gateway.port, CHAT)
            await until(lambda: gateway.held_permits() == 0)
            second = await ask(gateway.port, CHAT)
    assert (first.status, first.value(b"x-ratelimit-limit-tokens")) == (200, None)
    assert (second.status, second.error["code"]) == (429, "rate_limit")
    assert "tokens" in str(second.error["message"])
    assert second.value(b"x-ratelimit-limit-tokens") == b"20"
    assert second.value(b"x-ratelimit-remaining-tokens") in (b"2", b"3")
    assert (second.value(b"x-ratelimit-reset-tokens") or b"").endswith(b"s")
    assert 10 <= int(second.value(b"retry-after") or 0) <= 20
    assert len(upstream.requests) == 1


async def test_usage_above_the_bucket_is_a_debt(lane: bool) -> None:
    """An answer that used more tokens than the bucket had is not cut. Later requests wait until the debt is
    refilled."""
    limits: Json = {"token_limit": {"tokens_per_minute": 1, "burst_size": 16}}
    async with origin(serve(whole("hello"))) as upstream:
        async with running(limited("key", limits, url=upstream.url), lane=lane) as gateway:
            first = await ask(gateway.port, CHAT)
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, "key") == 18
            second = await ask(gateway.port, CHAT)
    assert (first.status, second.status) == (200, 429)
    assert second.value(b"x-ratelimit-remaining-tokens") == b"0"


async def test_a_request_larger_than_the_bucket_is_admitted_when_it_is_full(lane: bool) -> None:
    """Otherwise it could never be sent."""
    request = post(b'{"model":"m","x":"%b"}' % (b"y" * 8000), fields=KEY)
    limits: Json = {"token_limit": {"tokens_per_minute": 1, "burst_size": 10}}
    async with origin(serve(whole("hello"))) as upstream:
        async with running(limited("key", limits, url=upstream.url), lane=lane) as gateway:
            statuses = [(await ask(gateway.port, request)).status for _ in range(2)]
    assert statuses == [200, 429]


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_a_stream_without_usage_is_estimated(lane: bool, mode: str) -> None:
    """Its size gives the estimate, which is more than zero and less than one token for each byte."""
    frames = [frame(content="word") for _ in range(20)]
    request = create(fields=KEY, stream=True) if mode == "translate" else CHAT
    async with origin(
        serve(
            streamed(
                *frames,
                frame(content="."),
                b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
                DONE,
            )
        )
    ) as upstream:
        async with running(limited("key", TOKENS, url=upstream.url, open_responses_mode=mode), lane=lane) as gateway:
            assert (await ask(gateway.port, request)).status == 200
            await until(lambda: gateway.held_permits() == 0)
            assert estimate(request) + 10 <= spent(gateway, "key") <= estimate(request) + 60


@pytest.mark.parametrize("ending", ["client", "provider"])
async def test_a_cut_stream_is_charged_for_the_received_part(lane: bool, ending: str) -> None:
    """A disconnect before the usage does not bypass the limit."""
    frames = [frame(content="word") for _ in range(40)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, *map(chunk, frames))
        if ending == "client":
            await peer.gone()

    async with origin(script) as upstream:
        async with (
            running(limited("key", TOKENS, url=upstream.url), lane=lane) as gateway,
            connect(gateway.port) as client,
        ):
            await client.send(CHAT)
            response = await client.head()
            while response.body.count(b"word") < 40:
                await client.chunk(response)
            client.fin()
            await until(lambda: gateway.held_permits() == 0)
            assert estimate(CHAT) + 20 <= spent(gateway, "key") <= estimate(CHAT) + 80


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_a_discarded_answer_is_not_charged(lane: bool, mode: str) -> None:
    """Only the answer that the client got is charged, whatever usage or size a discarded one has."""
    failed = answer(
        b'{"error":{"code":500},"usage":{"total_tokens":500}}', fields=b"Content-Type: application/json\r\n"
    )
    async with origin(serve(failed)) as first, origin(serve(whole("hello"))) as second:
        fallback = {"enabled": True, "on_status": [5], "hold": {"max_time": "5s"}}
        targets = pool(first.url, second.url, fallback=fallback, open_responses_mode=mode, **TOKENS)
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, create() if mode == "translate" else CHAT)).status == 200
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, "pool") == 18
