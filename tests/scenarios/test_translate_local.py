"""Translate mode with the built-in echo provider: the answers are those of a remote provider."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.chat_upstream import create
from support.gateway import running
from support.raw import Client, ask, connect
from support.responses_oracle import check_resource, check_wire, events_of
from support.responses_promises import Json, as_dict
from support.scene import until
from support.targets import snapshot

from onwards_py.model.snapshot import Snapshot


def echo(**settings: object) -> Snapshot:
    return snapshot({"m": {"local": {"engine": "echo", **settings}, "open_responses_mode": "translate"}})


async def test_whole_and_streamed_answers_agree(lane: bool) -> None:
    """Both are valid and have the same text and usage."""
    async with running(echo(), lane=lane) as gateway:
        whole = await ask(gateway.port, create(input="one two three"))
        stream = await ask(gateway.port, create(input="one two three", stream=True))
    body: Json = json.loads(whole.body)
    assert check_resource(body) == []
    assert check_wire(stream.body) == []
    last = as_dict(events_of(stream.body)[-1]["response"])
    assert last["usage"] == body["usage"]
    assert b"one two three" in whole.body


@pytest.mark.parametrize(
    ("settings", "status", "outcome"),
    [
        ({"error_rate": 1, "error_status": 429}, 429, "done"),
        ({"cut_after": 1}, 200, "upstream_cut"),
    ],
)
async def test_failures_of_the_echo_provider_are_reported(
    lane: bool, settings: Json, status: int, outcome: str
) -> None:
    """The client gets a status before the first event, and response.failed after it."""
    async with running(echo(**settings), lane=lane) as gateway:
        response = await ask(gateway.port, create(input="one two three", stream=True))
    assert response.status == status
    if status == 200:
        assert check_wire(response.body) == []
        assert events_of(response.body)[-1]["type"] == "response.failed"
    else:
        assert response.error["code"] == "rate_limit_exceeded"
    assert gateway.lines()[0]["outcome"] == outcome


@pytest.mark.parametrize("leave", [Client.fin, Client.rst], ids=["FIN", "RST"])
async def test_a_client_may_leave(lane: bool, leave: Callable[[Client], None]) -> None:
    """No resources stay in use, as the gateway itself checks at its end."""
    async with running(echo(token_delay="50ms"), lane=lane) as gateway, connect(gateway.port) as client:
        await client.send(create(input="word " * 1000, stream=True))
        await client.chunk(await client.head())
        leave(client)
        await until(lambda: gateway.application.proxy.in_flight == 0)
    assert gateway.lines()[0]["outcome"] == "client_gone_streaming"
