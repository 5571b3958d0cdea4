"""The first 404 or 405 of a provider is told to its operator, who may have meant another URL."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from support.chat_upstream import create
from support.gateway import running
from support.origin import answer, origin, serve
from support.raw import ask, get, post
from support.targets import snapshot

from onwards_py.config.parse import LoadedConfig
from onwards_py.model.snapshot import Snapshot

NOT_FOUND = serve(answer(b"{}", b"404 Not Found"))
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"


class Warnings:
    """What was said about URLs."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __iter__(self) -> Iterator[str]:
        return (record.getMessage() for record in self._caplog.records if " answered 40" in record.getMessage())


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Warnings:
    caplog.set_level(logging.WARNING, "onwards")
    return Warnings(caplog)


def two(first: str, second: str, **options: object) -> Snapshot:
    """A pool whose first provider is asked first."""
    return snapshot({"m": {"strategy": "priority", "providers": [{"url": first, **options}, {"url": second}]}})


@pytest.mark.parametrize("status", [b"404 Not Found", b"405 Method Not Allowed"])
async def test_the_first_is_told_once_with_the_url_that_was_asked(lane: bool, told: Warnings, status: bytes) -> None:
    """The client has the provider's answer all the same; after a change of the configuration it is told again."""
    async with origin(serve(answer(b"{}", status))) as upstream:
        targets = snapshot({"m": {"url": upstream.url + "/v2"}})
        async with running(targets, lane=lane) as gateway:
            for _ in range(3):
                assert (await ask(gateway.port, post())).status == int(status[:3])
            (line,) = told
            gateway.application.apply(LoadedConfig(targets))
            await ask(gateway.port, post())
    assert f" answered {status[:3].decode()} to {upstream.url}/v2/v1/chat/completions: " in line
    assert len(list(told)) == 2


@pytest.mark.either_door
@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad", b"403 No", b"406 No", b"500 No"])
async def test_other_statuses_say_nothing_about_a_url(lane: bool, told: Warnings, status: bytes) -> None:
    async with origin(serve(answer(b"{}", status))) as upstream:
        async with running(snapshot({"m": {"url": upstream.url}}), lane=lane) as gateway:
            await ask(gateway.port, post())
    assert list(told) == []


REQUESTS: dict[str, tuple[dict[str, object], bytes, str]] = {
    "native": ({}, post(), "/v1/chat/completions"),
    "translated": ({"open_responses_mode": "translate"}, create(), "/v1/chat/completions"),
    "WebSocket": ({}, get(b"/v1/realtime?model=m", UPGRADE), "/v1/realtime?..."),
}


@pytest.mark.either_door
@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("alone", [True, False])
async def test_every_kind_of_request_tells_it(lane: bool, told: Warnings, kind: str, alone: bool) -> None:
    """To a provider alone and to one of a pool."""
    options, request, path = REQUESTS[kind]
    async with origin(NOT_FOUND) as upstream, origin() as other:
        single = snapshot({"m": {"url": upstream.url, **options}})
        async with running(single if alone else two(upstream.url, other.url, **options), lane=lane) as gateway:
            await ask(gateway.port, request)
    (line,) = told
    assert f" answered 404 to {upstream.url}{path}: " in line


async def test_a_health_check_tells_it_and_then_requests_need_not(lane: bool, told: Warnings) -> None:
    """One line for a provider, whoever finds out."""
    async with origin(NOT_FOUND) as upstream, origin() as other:
        targets = two(upstream.url, other.url, health_check={"interval": "20ms", "unhealthy_after": 1000})
        async with running(targets, lane=lane) as gateway:
            await upstream.seen(2)
            await ask(gateway.port, post())
    (line,) = told
    assert f" answered 404 to {upstream.url}/v1/models: " in line


async def test_a_provider_that_was_given_up_is_told_of(lane: bool, told: Warnings) -> None:
    """The client has seen nothing of it."""
    async with origin(NOT_FOUND) as upstream, origin() as other:
        providers = [{"url": upstream.url}, {"url": other.url}]
        fallback = {"enabled": True, "on_status": [404]}
        targets = snapshot({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, post())).status == 200
    assert len(list(told)) == 1


async def test_nothing_secret_or_long_is_told(lane: bool, told: Warnings) -> None:
    """No query of the client or the operator, and a bounded part of the path, in printable characters."""
    async with origin(NOT_FOUND) as upstream:
        targets = snapshot({"m": {"base_url": upstream.url, "query": {"key": "canary-1"}, "onwards_key": "canary-2"}})
        async with running(targets, lane=lane) as gateway:
            await ask(gateway.port, post(target=b"/v1/" + b"x" * 9000 + b"?key=canary-3"))
    (line,) = told
    assert "canary" not in line
    assert "...?..." in line
    assert len(line) < 600
    assert line.isprintable()


async def test_a_local_provider_has_no_url_to_be_wrong(lane: bool, told: Warnings) -> None:
    """What it does not have is not the operator's mistake."""
    async with running(snapshot({"m": {"local": {"engine": "echo"}}}), lane=lane) as gateway:
        assert (await ask(gateway.port, post(target=b"/v1/nothing/here"))).status == 404
    assert list(told) == []
