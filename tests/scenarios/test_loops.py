"""A provider that is this proxy itself is detected at once, before the loop uses up all connections."""

from __future__ import annotations

import asyncio
import json

from support.gateway import free_socket, running
from support.origin import origin
from support.raw import ask, post
from support.targets import snapshot


async def test_a_provider_that_is_the_proxy_itself_is_508(lane: bool) -> None:
    """The request passes the proxy once and is refused. Without the check it would loop until connections or limits
    are exhausted. Other targets still work."""
    listener = free_socket()
    port = listener.getsockname()[1]
    async with origin() as upstream:
        targets = {"m": {"url": f"http://127.0.0.1:{port}"}, "well": {"url": upstream.url}}
        async with running(snapshot(targets), lane=lane, listener=listener) as gateway:
            looped = await ask(gateway.port, post())
            well = await ask(gateway.port, post(b'{"model":"well"}'))
    assert (looped.status, well.status) == (508, 200)
    assert json.loads(looped.body)["error"]["code"] == "loop_detected"
    assert [(line["status"], line["outcome"]) for line in gateway.lines()[:2]] == [(508, "overloaded"), (508, "done")]


async def test_other_local_clients_are_not_a_loop(lane: bool) -> None:
    """Only the proxy's own connections are recognised, not others from the same machine or from a port that one of
    them used before."""
    async with origin() as upstream, running(snapshot({"m": {"url": upstream.url}}), lane=lane) as gateway:
        answers = await asyncio.gather(*(ask(gateway.port, post()) for _ in range(20)))
    assert {response.status for response in answers} == {200}
