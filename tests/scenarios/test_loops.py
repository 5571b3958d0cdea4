"""A provider that is this very proxy: said at once, instead of going round until everything is used up."""

from __future__ import annotations

import asyncio
import json

from support.gateway import free_socket, running
from support.origin import origin
from support.raw import ask, post
from support.targets import snapshot


async def test_a_provider_that_leads_back_is_508(lane: bool) -> None:
    """Without it a request turns until connections or limits end; here it turns once, and another
    target is served as ever."""
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


async def test_clients_from_here_are_no_loop(lane: bool) -> None:
    """Only our own connections are recognised, not whatever comes from the same machine, or from a port that one of
    them had before."""
    async with origin() as upstream, running(snapshot({"m": {"url": upstream.url}}), lane=lane) as gateway:
        answers = await asyncio.gather(*(ask(gateway.port, post()) for _ in range(20)))
    assert {response.status for response in answers} == {200}
