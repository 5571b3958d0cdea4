"""If all targets are closed, the body of a request without a key is not read: its head decides."""

from __future__ import annotations

import gzip

import pytest
from support.gateway import running
from support.origin import origin
from support.raw import ask, connect, get, post
from support.targets import snapshot

CLOSED = {"m": {"url": "http://127.0.0.1:1", "keys": ["sk-a"]}, "n": {"url": "http://127.0.0.1:1", "keys": ["sk-b"]}}
BODIES = [
    (b"", b'{"model":"m"}'),
    (b"", b"no JSON"),
    (b"", b""),
    (b"Content-Encoding: gzip\r\n", b"no gzip"),
    (b"Content-Encoding: gzip\r\n", gzip.compress(b'{"model":"m","x":[' + b"0," * 1_000_000 + b"0]}")),
    (b"Content-Encoding: compress\r\n", b"x"),
    (b"Content-Type: multipart/form-data\r\n", b"no form"),
    (b"Model-Override: m\r\n", b"x"),
]


@pytest.mark.parametrize(
    ("token", "status"), [(b"", 401), (b"Authorization: Bearer sk-x\r\n", 403), (b"X-Api-Key: m\r\n", 403)], ids=str
)
async def test_the_answer_does_not_depend_on_the_body(lane: bool, token: bytes, status: int) -> None:
    """A request without a key gets 401 and one with a wrong key gets 403, whatever its body is. The connection stays
    open."""
    async with running(snapshot(CLOSED), lane=lane) as gateway, connect(gateway.port) as client:
        for fields, body in BODIES:
            await client.send(post(body, fields=token + fields))
            assert (await client.response()).status == status


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 60000000\r\n", b"Transfer-Encoding: chunked\r\n"], ids=["counted", "chunked"]
)
async def test_a_large_body_is_not_waited_for(lane: bool, framing: bytes) -> None:
    """The refusal is sent before the body has arrived. So is the refusal of a header that names a closed target."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\n" + framing
    half_open = {**CLOSED, "open": {"url": "http://127.0.0.1:1"}}
    async with running(snapshot(CLOSED), lane=lane) as gateway, connect(gateway.port) as client:
        await client.send(head + b"\r\n")
        assert (await client.response()).status == 401
    async with running(snapshot(half_open), lane=lane) as gateway, connect(gateway.port) as client:
        await client.send(head + b"Model-Override: m\r\nX-Api-Key: sk-x\r\n\r\n")
        assert (await client.response()).status == 403


async def test_the_body_is_read_if_any_target_accepts_the_key(lane: bool) -> None:
    """This holds even if the request is for another target. The list of models does not change."""
    async with origin() as upstream:
        targets = {**CLOSED, "m": {"url": upstream.url, "keys": ["sk-a"]}}
        async with running(snapshot(targets), lane=lane) as gateway:
            key = b"X-Api-Key: sk-a\r\n"
            statuses = [
                (await ask(gateway.port, post(b'{"model":"%b"}' % m, fields=key))).status for m in (b"m", b"n", b"o")
            ]
            broken = await ask(gateway.port, post(b"no JSON", fields=key))
            listing = await ask(gateway.port, get(b"/v1/models"))
    assert statuses == [200, 403, 404]
    assert (broken.status, listing.status) == (400, 200)
