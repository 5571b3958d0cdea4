"""Both doors accept or refuse the same requests, and forward the same bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import pytest
import uvloop
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.gateway import Gateway, running
from support.origin import Origin, origin
from support.pieces import single_bytes
from support.raw import Client, connect
from support.targets import single

VALID = [
    b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: h:80\r\nX-A: 1\r\nContent-Type: application/json\r\n"
    b'Content-Length: 13\r\n\r\n{"model":"m"}',
    b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: x-a, close\r\nX-A: 1\r\n\r\n"
    b'd\r\n{"model":"m"}\r\n0\r\n\r\n',
    b"GET http://h/v1/x HTTP/1.1\r\nhost: h\r\nModel-Override: m\r\nAuthorization: Bearer k\r\nTE: trailers\r\n\r\n",
    b'POST /v1/x HTTP/1.0\r\nContent-Length: 13\r\nConnection: keep-alive\r\nX-A:\r\n\r\n{"model":"m"}',
]
SPLINTERS = [
    *(bytes([byte]) for byte in range(256)),
    *(b"\r\n", b"\n\n", b"\r\n ", b" :", b": ", b",", b"//", b"..", b"%2e", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0"),
    *(b"Host: h\r\n", b"Content-Length: 13\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"chunked", b"Content-Length: 0\r\n"),
]

REST = b"\r\n\r\n" + b"rest " * 40  # ends any head, fills most bodies, and is no request by itself


@dataclass
class Doors:
    """Both gateways before one provider, on a loop of their own."""

    runner: asyncio.Runner
    upstream: Origin
    gateways: tuple[Gateway, Gateway]

    def forwarded(self, raw: bytes, lane: bool) -> list[bytes]:
        """The bytes that the provider got for the first request in ``raw``; empty if it was refused."""
        return self.runner.run(self._forwarded(raw, self.gateways[0 if lane else 1]))

    async def _forwarded(self, raw: bytes, gateway: Gateway) -> list[bytes]:
        self.upstream.requests.clear()
        async with connect(gateway.port) as client:
            with suppress(ConnectionError):
                await client.send(*packets(raw))
            if not await answered(client, 0.05):  # it waits for more, and gets it
                with suppress(ConnectionError):
                    await client.send(*single_bytes(REST))
                await answered(client, 0.5)
        return [received.raw for received in self.upstream.requests[:1]]


def packets(raw: bytes) -> list[bytes]:
    """Bytes after a head are sent one by one, because aiohttp forgets a request if malformed bytes follow in the
    same packet."""
    head, blank, rest = raw.partition(b"\r\n\r\n")
    return [head + blank, *single_bytes(rest)]


async def answered(client: Client, seconds: float) -> bool:
    """Whether a final response, or the end of the connection, arrives in time."""
    try:
        async with asyncio.timeout(seconds):
            while (await client.head()).status < 200:
                pass
    except TimeoutError:
        return False
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # aiohttp closes at once: a client that is still sending may see only a reset
    return True


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()

        async def start() -> Doors:
            upstream = await stack.enter_async_context(origin())
            snapshot = single(upstream.url)
            lane = await stack.enter_async_context(running(snapshot, lane=True))
            aiohttp = await stack.enter_async_context(running(snapshot, lane=False))
            return Doors(runner, upstream, (lane, aiohttp))

        yield runner.run(start())
        runner.run(stack.aclose())


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid request in whose head a few bytes are removed, doubled or overwritten."""
    raw = draw(st.sampled_from(VALID))
    end = raw.index(b"\r\n\r\n") + 4
    head, rest = raw[:end], raw[end:]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(head)))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 5]))
        splinter = draw(st.sampled_from(SPLINTERS) | st.just(head[at : at + length] * 2) | st.just(b""))
        head = head[:at] + splinter + head[at + length :]
    return head + rest


@settings(examples(300), derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutated())
@example(VALID[0])
@example(VALID[1])
@example(VALID[2])
@example(VALID[3])
def test_both_doors_accept_the_same_and_forward_the_same(doors: Doors, raw: bytes) -> None:
    """A head on which the doors disagree could bypass the guard."""
    assert doors.forwarded(raw, lane=True) == doors.forwarded(raw, lane=False)


@pytest.mark.parametrize("raw", VALID)
def test_the_unmutated_requests_are_served(doors: Doors, raw: bytes) -> None:
    """Otherwise the comparison above would compare only refusals."""
    for lane in (True, False):
        assert len(doors.forwarded(raw, lane=lane)) == 1
