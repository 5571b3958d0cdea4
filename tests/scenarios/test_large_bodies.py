"""Bodies that take long to read pass unchanged, and clients that disconnect meanwhile leave no resources in use."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest
from support.gateway import running
from support.origin import origin, silent
from support.raw import ask, connect, post
from support.targets import single

LIMITS = {"concurrency_limit": {"max_concurrent_requests": 50}}
FORM = b"Content-Type: multipart/form-data; boundary=b\r\n"
MODEL = b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
FILE = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
HALF, UMLAUTS = b"\\ud83d" + b"x" * 1_000_000, "ü".encode() * 500_000
NUMBERS = b'{"x":[' + b"0," * 2_000_000 + b'0],"model":"m"}'
BODIES: Mapping[str, tuple[bytes, bytes]] = {
    "numbers": (b"", NUMBERS),
    "text and a half pair": (b"", b'{"x":"' + HALF + b'","model":"m","y":"' + UMLAUTS + b'"}'),
    "messages": (b"", b'{"messages":[' + b'{"role":"user","content":"hi"},' * 30_000 + b'{}],"model":"m"}'),
    "form": (FORM, FILE + b"\r\n-" * 500_000 + MODEL),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("renamed", [False, True], ids=["as it is", "renamed"])
async def test_a_large_body_is_unchanged_except_for_the_model_name(lane: bool, case: str, renamed: bool) -> None:
    """Every byte is equal, also of a body whose model is renamed."""
    fields, body = BODIES[case]
    options = {"onwards_model": "up"} if renamed else {}
    async with origin() as upstream, running(single(upstream.url, **options), lane=lane) as gateway:
        response = await ask(gateway.port, post(body, fields=fields))
    assert response.status == 200
    wanted = body.replace(b'"m"', b'"up"').replace(b"\r\nm\r\n", b"\r\nup\r\n") if renamed else body
    assert upstream.last.body == wanted


@pytest.mark.parametrize(
    "tail", [b'0],"model":"m","model":"m"}', b'0],"model":"m"}{}', b'0,],"model":"m"}', b'0],"model":"m"']
)
async def test_a_large_body_is_refused_as_a_small_one_is(lane: bool, tail: bytes) -> None:
    """The size of a body does not bypass the checks."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(b'{"x":[' + b"0," * 500_000 + tail))
    assert (response.status, response.error["param"]) == (400, "model")
    assert not upstream.requests


@pytest.mark.parametrize("coded", [False, True], ids=["plain", "gzip"])
async def test_a_disconnect_while_a_body_is_read_frees_its_resources(lane: bool, coded: bool) -> None:
    """More clients disconnect than bodies are read at one time. The others are answered, and no permit is held
    (`running` checks)."""
    fields = b"Content-Encoding: gzip\r\n" if coded else b""
    request = post(gzip.compress(NUMBERS, 1) if coded else NUMBERS, fields=fields)

    async def visit(port: int, leaves: bool) -> int:
        async with connect(port) as client:
            await client.send(request)
            if leaves:
                client.rst()
                return 0
            return (await client.response()).status

    async with (
        origin() as upstream,
        running(single(upstream.url, **LIMITS), lane=lane) as gateway,
    ):
        async with asyncio.timeout(30):
            statuses = await asyncio.gather(*(visit(gateway.port, number % 2 == 0) for number in range(14)))
        assert (await ask(gateway.port, post())).status == 200
    assert statuses == [0, 200] * 7


async def test_the_decoded_copy_of_a_body_is_freed_before_the_answer(lane: bool) -> None:
    """The decoded copy is freed as soon as the model is known."""
    count, request = 8, post(gzip.compress(NUMBERS), fields=b"Content-Encoding: gzip\r\n")
    async with (
        origin(silent) as upstream,
        running(single(upstream.url), lane=lane) as gateway,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(connect(gateway.port)) for _ in range(count)]
        tracemalloc.start()
        try:
            for client in clients:
                await client.send(request)
            await upstream.seen(count)
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert held < len(NUMBERS)
