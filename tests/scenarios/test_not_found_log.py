"""The first 404 or 405 of a provider causes a log line for the operator, whose URL may be wrong."""

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
    """The log lines about URLs."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __iter__(self) -> Iterator[str]:
        return (record.getMessage() for record in self._caplog.records if " answered 40" in record.getMessage())


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Warnings:
    caplog.set_level(logging.WARNING, "onwards")
    return Warnings(caplog)


def two(first: str, second: str, **options: object) -> Snapshot:
    """A pool with two providers, in this order."""
    return snapshot({"m": {"strategy": "priority", "providers": [{"url": first, **options}, {"url": second}]}})


@pytest.mark.parametrize("status", [b"404 Not Found", b"405 Method Not Allowed"])
async def test_the_first_404_is_logged_once_with_its_url(lane: bool, told: Warnings, status: bytes) -> None:
    """The client gets the provider's response. After a change of the configuration the line is logged again."""
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
async def test_other_statuses_are_not_logged(lane: bool, told: Warnings, status: bytes) -> None:
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
async def test_every_kind_of_request_causes_the_line(lane: bool, told: Warnings, kind: str, alone: bool) -> None:
    """The request goes to a single provider or to one of a pool."""
    options, request, path = REQUESTS[kind]
    async with origin(NOT_FOUND) as upstream, origin() as other:
        single = snapshot({"m": {"url": upstream.url, **options}})
        async with running(single if alone else two(upstream.url, other.url, **options), lane=lane) as gateway:
            await ask(gateway.port, request)
    (line,) = told
    assert f" answered 404 to {upstream.url}{path}: " in line


async def test_health_checks_and_requests_share_one_line(lane: bool, told: Warnings) -> None:
    """There is one line for a provider, whether a check or a request causes it."""
    async with origin(NOT_FOUND) as upstream, origin() as other:
        targets = two(upstream.url, other.url, health_check={"interval": "20ms", "unhealthy_after": 1000})
        async with running(targets, lane=lane) as gateway:
            await upstream.seen(2)
            await ask(gateway.port, post())
    (line,) = told
    assert f" answered 404 to {upstream.url}/v1/models: " in line


async def test_a_404_before_fallback_is_logged(lane: bool, told: Warnings) -> None:
    """The client gets another provider's response."""
    async with origin(NOT_FOUND) as upstream, origin() as other:
        providers = [{"url": upstream.url}, {"url": other.url}]
        fallback = {"enabled": True, "on_status": [404]}
        targets = snapshot({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, post())).status == 200
    assert len(list(told)) == 1


async def test_the_line_contains_no_secret_and_is_short(lane: bool, told: Warnings) -> None:
    """It contains no query of the client or the operator, and only a bounded, printable part of the path."""
    async with origin(NOT_FOUND) as upstream:
        targets = snapshot({"m": {"base_url": upstream.url, "query": {"key": "canary-1"}, "onwards_key": "canary-2"}})
        async with running(targets, lane=lane) as gateway:
            await ask(gateway.port, post(target=b"/v1/" + b"x" * 9000 + b"?key=canary-3"))
    (line,) = told
    assert "canary" not in line
    assert "...?..." in line
    assert len(line) < 600
    assert line.isprintable()


async def test_a_404_of_a_local_provider_is_not_logged(lane: bool, told: Warnings) -> None:
    """A local provider has no URL that the operator could correct."""
    async with running(snapshot({"m": {"local": {"engine": "echo"}}}), lane=lane) as gateway:
        assert (await ask(gateway.port, post(target=b"/v1/nothing/here"))).status == 404
    assert list(told) == []
