"""The end of the program: running exchanges finish, no request is lost, and a second signal ends it at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from support.origin import LAST_CHUNK, STREAM_HEAD, Origin, Peer, chunk, origin
from support.program import Program, serving, until
from support.raw import CAP, Client, End, Response, connect, post

EVENT = b'data: {"n":1}\n\n'


class Gate:
    """An upstream whose streams send one event at once and the rest when the gate opens."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def script(self, peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(STREAM_HEAD, chunk(EVENT))
            await self.open.wait()
            await peer.send(chunk(EVENT), LAST_CHUNK)


@pytest.fixture
async def gate() -> Gate:
    return Gate()


@pytest.fixture
async def upstream(gate: Gate) -> AsyncIterator[Origin]:
    async with origin(gate.script) as upstream:
        yield upstream


def targets(upstream: Origin, drain: str = "60s") -> str:
    return f"""
server: {{drain_timeout: {drain}}}
targets:
  slow: {{url: '{upstream.url}/v1'}}
  echo: {{local: {{engine: echo, token_delay: 5ms}}}}
"""


async def begin(client: Client) -> Response:
    """A stream whose first event has arrived."""
    await client.send(post(b'{"model":"slow","stream":true}'))
    response = await client.head()
    assert await client.chunk(response) == EVENT
    return response


async def status_of(program: Program, path: str) -> int:
    """The status code of the admin port."""
    async with aiohttp.ClientSession() as session, session.get(program.admin_url + path) as response:
        return response.status


async def draining(program: Program) -> None:
    """Wait until the signal has arrived."""
    async with asyncio.timeout(CAP):
        while await status_of(program, "/readyz") != 503:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def refused(program: Program) -> None:
    """Wait until the port is closed. Connections from before are served, as other tests show."""
    async with asyncio.timeout(CAP):
        while True:
            try:
                async with connect(program.port):
                    pass
            except ConnectionRefusedError:
                return


async def ended(program: Program) -> int:
    return await asyncio.to_thread(program.wait)


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_streams_finish_while_readiness_fails_and_no_connection_is_accepted(
    tmp_path: Path, gate: Gate, upstream: Origin, lane: bool
) -> None:
    """After SIGTERM the program is not ready but alive. It accepts no connection, and a running stream is delivered
    to its end."""
    with serving(targets(upstream), tmp_path, lane=lane) as program:
        assert await status_of(program, "/readyz") == 200
        async with connect(program.port) as client:
            response = await begin(client)
            program.signal()
            await draining(program)
            await refused(program)
            assert await status_of(program, "/healthz") == 200
            assert program.process.poll() is None
            gate.open.set()
            await client.rest(response)
            assert (response.end, response.body) == (End.WHOLE, EVENT * 2)
            assert await client.closed() is End.CLOSED
        assert await ended(program) == 0
        assert [line["outcome"] for line in program.lines()] == ["done"]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_an_idle_connection_is_closed_soon(tmp_path: Path, upstream: Origin, lane: bool) -> None:
    """An idle keep-alive connection does not delay the end of the program."""
    with serving(targets(upstream), tmp_path, lane=lane) as program:
        async with connect(program.port) as client:
            await client.send(post(b'{"model":"echo","messages":[{"role":"user","content":"x"}]}'))
            assert (await client.response()).status == 200
            program.signal()
            assert await client.closed() is End.CLOSED
        assert await ended(program) == 0


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_a_request_on_an_idle_connection_is_still_answered(tmp_path: Path, upstream: Origin, lane: bool) -> None:
    """It may have crossed the signal. Its response has Connection: close."""
    with serving(targets(upstream), tmp_path, lane=lane) as program:
        async with connect(program.port) as client:
            question = post(b'{"model":"echo","messages":[{"role":"user","content":"x"}]}')
            await client.send(question)
            assert (await client.response()).status == 200
            program.signal()
            await draining(program)
            await client.send(question)
            response = await client.response()
            assert (response.status, response.value(b"connection")) == (200, b"close")
            assert await client.closed() is End.CLOSED
        assert await ended(program) == 0


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_a_second_signal_cuts_at_once(tmp_path: Path, upstream: Origin, lane: bool) -> None:
    """The client gets no last chunk. The exit code is still 0."""
    with serving(targets(upstream), tmp_path, lane=lane) as program:
        async with connect(program.port) as client:
            response = await begin(client)
            program.signal()
            await draining(program)
            program.signal()
            await client.rest(response)
            assert response.end in (End.CLOSED, End.RESET)
        assert await ended(program) == 0
        assert "aborting 1 unfinished exchange" in program.stderr


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_the_drain_timeout_cuts(tmp_path: Path, upstream: Origin, lane: bool) -> None:
    """Without a second signal, an exchange that runs longer than drain_timeout is cut."""
    with serving(targets(upstream, drain="100ms"), tmp_path, lane=lane) as program:
        async with connect(program.port) as client:
            response = await begin(client)
            program.signal()
            await client.rest(response)
            assert response.end in (End.CLOSED, End.RESET)
        assert await ended(program) == 0
        assert "aborting 1 unfinished exchange" in program.stderr


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_a_cut_response_without_framing_is_reset(tmp_path: Path, upstream: Origin, lane: bool) -> None:
    """For HTTP/1.0, a close would be the regular end of the response."""
    with serving(targets(upstream, drain="100ms"), tmp_path, lane=lane) as program:
        async with connect(program.port) as client:
            await client.send(post(b'{"model":"slow","stream":true}').replace(b"HTTP/1.1", b"HTTP/1.0"))
            response = await client.head()
            assert await client.exactly(len(EVENT)) == EVENT
            program.signal()
            await client.rest(response)
            assert response.end is End.RESET
        assert await ended(program) == 0


@dataclass
class Tally:
    """The results of a load. ``crossed``: a reused connection was closed when the next request was sent, without a
    byte of response. RFC 9112 section 9.6 has clients repeat those requests, which is allowed here because the port
    is closed."""

    whole: int = 0
    crossed: int = 0
    lost: list[str] = field(default_factory=list)


async def one_client(port: int, tally: Tally, streamed: bool) -> None:
    """Send requests repeatedly on reused connections, until the port is closed."""
    request = {"model": "echo", "stream": streamed, "messages": [{"role": "user", "content": "a b c d e f g h"}]}
    while True:
        try:
            reader_writer = connect(port)
            async with reader_writer as client:
                await _until_closed(client, post(json.dumps(request).encode()), tally)
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            tally.crossed += 1  # it was still in the queue of connections to accept


async def _until_closed(client: Client, request: bytes, tally: Tally) -> None:
    first = True
    while True:
        before = len(client.raw)
        try:
            await client.send(request)
            response = await client.response()
        except (asyncio.IncompleteReadError, ConnectionError):
            if first or len(client.raw) != before:
                tally.lost.append("no answer")
            tally.crossed += 1
            return
        if response.status != 200 or not response.whole:
            tally.lost.append(f"{response.status} {response.end}")
            return
        tally.whole += 1
        first = False
        if response.value(b"connection") == b"close":
            return


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_no_request_is_lost_to_a_signal_under_load(tmp_path: Path, upstream: Origin, lane: bool) -> None:
    """SIGTERM comes during streams and requests. Every response that is due arrives complete."""
    with serving(targets(upstream), tmp_path, lane=lane) as program:
        tally = Tally()
        load = [asyncio.create_task(one_client(program.port, tally, number % 2 == 0)) for number in range(24)]
        await until(lambda: tally.whole >= 100)
        program.signal()
        async with asyncio.timeout(2 * CAP):
            await asyncio.gather(*load)
        assert tally.lost == []
        assert await ended(program) == 0
        assert {line["outcome"] for line in program.lines()} == {"done"}
        assert len(program.lines()) == tally.whole


PROVIDER = "targets: {m: {local: {engine: echo, token_delay: 2ms}}}"


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "aiohttp"])
async def test_no_request_fails_when_a_provider_is_killed_under_load(tmp_path: Path, lane: bool) -> None:
    """With fallback and ``retry_sent``, the other provider answers and clients notice no failure."""
    request = post(b'{"model":"m","messages":[{"role":"user","content":"a b c d e f g h"}]}')
    with serving(PROVIDER, tmp_path) as doomed, serving(PROVIDER, tmp_path) as steady:
        config = f"""
targets:
  m:
    strategy: least_inflight
    fallback: {{enabled: true, retry_sent: true, max_attempts: 3}}
    providers:
      - {{url: '{doomed.url}/v1', name: doomed}}
      - {{url: '{steady.url}/v1', name: steady}}
"""
        with serving(config, tmp_path, lane=lane) as program:
            seen: list[tuple[int, End | None]] = []
            over = asyncio.Event()

            async def client() -> None:
                async with connect(program.port) as client:
                    while not over.is_set():
                        await client.send(request)
                        response = await client.response()
                        seen.append((response.status, response.end))

            async with asyncio.timeout(4 * CAP), asyncio.TaskGroup() as load:
                for _ in range(16):
                    load.create_task(client())
                await until(lambda: len(seen) >= 60)
                doomed.process.kill()
                killed_at = len(seen)
                await until(lambda: len(seen) >= killed_at + 100)
                over.set()
            assert set(seen) == {(200, End.WHOLE)}
            assert await asyncio.to_thread(program.stop) == 0
            by_provider = [line["provider"] for line in program.lines()]
            assert "doomed" in by_provider
            # A repetition on a fresh connection, if the kept one died with the request, and the other provider.
            assert any(line["attempts"] in (2, 3) for line in program.lines())
