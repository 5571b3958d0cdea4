"""The choice of a provider and the number of concurrent exchanges: strategies and limits, until the last byte."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from support.gateway import Gateway, running
from support.origin import Origin, answer, origin, refused_port, serve, streaming
from support.raw import Client, Response, ask, connect, post
from support.scene import proxied
from support.targets import snapshot

from onwards_py.config.diagnostics import ConfigError

ONE_PLACE = {"concurrency_limit": {"max_concurrent_requests": 1}}
ONE_TOKEN = {"rate_limit": {"requests_per_second": 0.01, "burst_size": 1}}
KEY = b"Authorization: Bearer sk-a\r\n"


def members(*providers: dict[str, object], **options: object) -> dict[str, object]:
    return {"m": {"providers": list(providers), **options}}


async def begin_stream(stack: AsyncExitStack, gateway: Gateway, fields: bytes = b"") -> tuple[Client, Response]:
    """A stream whose head and first event have arrived."""
    client = await stack.enter_async_context(connect(gateway.port))
    await client.send(post(fields=fields))
    response = await client.head()
    assert response.status == 200
    assert await client.chunk(response) == b"data: 1\n\n"
    return client, response


async def end_streams(release: asyncio.Event, *streams: tuple[Client, Response]) -> None:
    release.set()
    for client, response in streams:
        await client.rest(response)
        assert response.whole


def counts(*origins: Origin) -> list[int]:
    return [len(upstream.requests) for upstream in origins]


async def test_a_provider_of_weight_zero_is_not_chosen(lane: bool) -> None:
    """Weight 0 drains a provider."""
    async with origin() as drained, origin() as serving:
        targets = members({"url": drained.url, "weight": 0}, {"url": serving.url})
        async with running(snapshot(targets), lane=lane) as gateway:
            for _ in range(6):
                assert (await ask(gateway.port, post())).status == 200
    assert counts(drained, serving) == [0, 6]


@pytest.mark.parametrize(("strategy", "wanted"), [("weighted_random", [3, 1]), ("least_inflight", [2, 2])])
async def test_open_streams_count_as_load(lane: bool, strategy: str, wanted: list[int]) -> None:
    """An exchange counts until its last byte, with every strategy of load."""
    release = asyncio.Event()
    async with origin(streaming(release)) as heavy, origin(streaming(release)) as light:
        targets = members({"url": heavy.url, "weight": 3}, {"url": light.url}, strategy=strategy)
        async with running(snapshot(targets), lane=lane) as gateway, AsyncExitStack() as stack:
            streams = [await begin_stream(stack, gateway) for _ in range(4)]
            assert counts(heavy, light) == wanted
            await end_streams(release, *streams)


async def test_priority_chooses_the_first_provider_with_a_permit(lane: bool) -> None:
    """The order is that of the file. A provider at its limit is skipped without an attempt."""
    release = asyncio.Event()
    async with origin(streaming(release)) as first, origin() as second:
        targets = members({"url": first.url, **ONE_PLACE}, {"url": second.url}, strategy="priority")
        async with running(snapshot(targets), lane=lane) as gateway, AsyncExitStack() as stack:
            stream = await begin_stream(stack, gateway)
            assert (await ask(gateway.port, post())).body == b'{"ok":true}'
            await end_streams(release, stream)
    assert counts(first, second) == [1, 1]
    assert [line["attempts"] for line in gateway.lines()] == [1, 1]


@pytest.mark.parametrize("bound", ["pool", "key", "provider"])
async def test_a_stream_holds_its_permit_until_its_last_byte(lane: bool, bound: str) -> None:
    """With one permit, a second stream is refused while the first one runs, and admitted after its end."""
    release = asyncio.Event()
    async with origin(streaming(release)) as upstream:
        targets = members(
            {"url": upstream.url, **(ONE_PLACE if bound == "provider" else {})},
            keys=["a"],
            **(ONE_PLACE if bound == "pool" else {}),
        )
        auth = {"key_definitions": {"a": {"key": "sk-a", **(ONE_PLACE if bound == "key" else {})}}}
        async with running(snapshot(targets, auth=auth), lane=lane) as gateway, AsyncExitStack() as stack:
            stream = await begin_stream(stack, gateway, KEY)
            refused = await ask(gateway.port, post(fields=KEY))
            await end_streams(release, stream)
            admitted = await ask(gateway.port, post(fields=KEY))
    assert (refused.status, refused.error["code"]) == (429, "concurrency_limit_exceeded")
    assert refused.error["type"] == "rate_limit_error"
    assert int(refused.value(b"retry-after") or 0) >= 1
    assert admitted.status == 200
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("bound", ["pool", "key", "provider"])
async def test_above_the_rate_limit_the_response_has_retry_after(lane: bool, bound: str) -> None:
    """The response is 429 with Retry-After in whole seconds."""
    async with origin() as upstream:
        targets = members(
            {"url": upstream.url, **(ONE_TOKEN if bound == "provider" else {})},
            keys=["a"],
            **(ONE_TOKEN if bound == "pool" else {}),
        )
        auth = {"key_definitions": {"a": {"key": "sk-a", **(ONE_TOKEN if bound == "key" else {})}}}
        async with running(snapshot(targets, auth=auth), lane=lane) as gateway:
            first = await ask(gateway.port, post(fields=KEY))
            second = await ask(gateway.port, post(fields=KEY))
    assert first.status == 200
    assert (second.status, second.error["code"]) == (429, "rate_limit")
    assert 90 <= int(second.value(b"retry-after") or 0) <= 100
    assert len(upstream.requests) == 1
    assert [line["outcome"] for line in gateway.lines()] == ["done", "refused"]


async def test_limits_of_a_key_are_its_own(lane: bool) -> None:
    """They do not slow another key or an open target; but the key is limited at the open target, too."""
    auth = {"key_definitions": {"a": {"key": "sk-a", **ONE_TOKEN}, "b": {"key": "sk-b"}}}
    async with origin() as upstream, running(snapshot({"m": {"url": upstream.url}}, auth=auth), lane=lane) as gateway:
        statuses = [
            (await ask(gateway.port, post(fields=fields))).status
            for fields in (KEY, KEY, KEY.replace(b"sk-a", b"sk-b"), b"", KEY)
        ]
    assert statuses == [200, 429, 200, 200, 429]


async def test_a_refused_request_releases_its_permits(lane: bool) -> None:
    """A permit of the pool is free again after each response, whatever it is."""
    async with proxied(lane, serve(answer(status=b"500 Oops"), answer()), **ONE_PLACE) as (_, gateway):
        statuses = [(await ask(gateway.port, post())).status for _ in range(3)]
    assert statuses == [500, 200, 200]


async def test_a_limit_of_zero_refuses_every_request(lane: bool) -> None:
    """0 is a limit; it does not mean "unlimited"."""
    async with proxied(lane, concurrency_limit={"max_concurrent_requests": 0}) as (upstream, gateway):
        assert (await ask(gateway.port, post())).status == 429
    assert not upstream.peers


async def test_a_pool_without_providers_is_503(lane: bool) -> None:
    """The model exists, so 404 would be wrong."""
    async with running(snapshot({"m": {"providers": []}}), lane=lane) as gateway:
        response = await ask(gateway.port, post())
    assert (response.status, response.error["code"]) == (503, "service_unavailable")
    assert [line["outcome"] for line in gateway.lines()] == ["overloaded"]


@pytest.mark.parametrize(
    ("provider", "options"),
    [
        ({"weight": 0}, {}),
        ({"onwards_key": "sk\r\nX: y"}, {}),
        ({"onwards_key": "schlüssel"}, {}),
        ({"upstream_auth_header_name": "X Key"}, {}),
        ({"upstream_auth_header_name": "Host"}, {}),
        ({"response_headers": {"X-A": "a\nb"}}, {}),
        ({}, {"fallback": {"enabled": True, "max_attempts": 0}}),
    ],
)
def test_settings_that_cannot_work_are_errors_at_load(provider: dict[str, object], options: dict[str, object]) -> None:
    """Examples are weights that are all 0, values that no header can hold, and zero attempts."""
    targets = members({"url": f"http://127.0.0.1:{refused_port()}", **provider}, **options)
    with pytest.raises(ConfigError):
        snapshot(targets)
