"""Fault catalogue G: resources run out, and what many faults in a row leave behind."""

from __future__ import annotations

import asyncio
import logging
import os
import time

import pytest
from fault_providers import FALLBACK, UNREACHABLE
from fault_stage import SERVED, Case, Stage, Table, Told, perform
from support.origin import STREAM_HEAD, Origin, Peer, Script, answer, chunk, refused_port
from support.raw import Client, connect, post
from support.scene import until
from test_faults_a_connect import descriptors_gone

MEBIBYTE = 1024 * 1024
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
CASES = Table()


@CASES.case("G110", "no file descriptor left for a client")
async def no_descriptors(stage: Stage) -> list[Told]:
    """Who is connected is served on; who comes is let in, at the latest, once there is room again."""
    upstream = await stage.single()
    async with connect(stage.port) as client:
        await client.send(post())
        assert (await client.response()).status == 200
        async with connect(stage.port) as late:  # its socket is there, but nobody has accepted it yet
            with descriptors_gone():
                await client.send(post())
                assert (await client.response()).status == 200
        assert late.raw == b""
        await client.send(post())
        assert (await client.response()).status == 200
    assert len(upstream.peers) == 1
    return [SERVED] * 3


@CASES.case("G111", "many clients that do not read")
async def many_unread(stage: Stage) -> list[Told]:
    """Six answers of 32 MiB: beyond what kernels hold, the gateway leaves them where they are."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * MEBIBYTE)

    async def script(peer: Peer) -> None:
        await peer.request()
        peer.write(head + b"x" * (32 * MEBIBYTE))
        await peer.gone()

    upstream = await stage.single(script)
    clients: list[Client] = []

    async def one(done: asyncio.Event) -> None:
        async with connect(stage.port, buffer=4096) as client:
            await client.send(post())
            await client.head()
            clients.append(client)
            await done.wait()
            client.rst()

    done = asyncio.Event()
    calls = [asyncio.ensure_future(one(done)) for _ in range(6)]
    await until(lambda: len(clients) == 6)
    for _ in range(10):
        assert (await stage.ask(post(b'{"model":"well"}'))).status == 200
    assert all(peer.unsent > 4 * MEBIBYTE for peer in upstream.peers), "the gateway holds what nobody reads"
    done.set()
    await asyncio.gather(*calls)
    await until(lambda: stage.held() == 0)
    return [Told(200, "client_gone_streaming")] * 6


def mixed(start: int = 0) -> Script:
    """A provider whose connections fail in every way in turn, the first of them in this one."""

    async def script(peer: Peer) -> None:
        await peer.request()
        way = (start + peer.number) % 8
        if way == 1:
            peer.rst()
        elif way == 2:
            await peer.send(b"HTTP/1.1 2")
        elif way == 3:
            await peer.send(STREAM_HEAD + chunk(WORD))
        elif way == 4:
            await peer.send(answer() + b"poison")
        elif way == 5:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx")
        elif way == 6:
            await peer.send(answer(b"no", b"500 X"))
        elif way == 7:
            await peer.send(STREAM_HEAD + chunk(WORD))
            await peer.gone()

    return script


@CASES.case("G112", "240 mixed faults")
async def mixed_faults(stage: Stage) -> None:
    """Neither a descriptor, nor a task, nor a connection is left of them."""
    upstream = await stage.single(mixed(), timeouts={"idle": "10s"})
    await storm(stage, post(), [upstream])


@CASES.case("G112", "240 mixed faults, with all that is done about faults")
async def mixed_faults_in_pool(stage: Stage) -> None:
    """Hedges, holds, lines, budgets, ejection and limits at every level, all at the same time, and nothing is left."""
    upstreams = [await stage.origin(mixed(start)) for start in (0, 3, 6)]
    queue = {"on_limit": "queue", "queue": {"max_waiting": 4, "timeout": "100ms"}}
    providers = [
        {"url": upstream.url, "concurrency_limit": {"max_concurrent_requests": 4}, **queue} for upstream in upstreams
    ]
    fallback = {
        **FALLBACK, "retry_sent": True, "max_attempts": 4, "on_rate_limit": True, "hold": {"max_time": "50ms"},
        "backoff": {"initial_ms": 1, "max_ms": 5}, "retry_budget": {"ratio": 1.0, "min_per_second": 100},
    }  # fmt: skip
    target = {
        "strategy": "p2c", "providers": providers, "fallback": fallback, "hedge": {"after": "5ms", "ratio": 1.0},
        "ejection": {"consecutive_failures": 2, "base_time": "10ms", "max_time": "20ms"}, "keys": ["all"],
        "affinity": {"session": ["x-session-id"]}, "timeouts": {"first_token": "50ms", "first_byte": "200ms"},
        "concurrency_limit": {"max_concurrent_requests": 10}, **queue,
    }  # fmt: skip
    key = {"key": "sk-all", "concurrency_limit": {"max_concurrent_requests": 9}, **queue,
           "token_limit": {"tokens_per_minute": 1_000_000}}  # fmt: skip
    await stage.start({"m": target}, auth={"key_definitions": {"all": key}})
    await storm(stage, post(fields=b"Authorization: Bearer sk-all\r\nX-Session-Id: 1\r\n"), upstreams)


def translated(stream: bool) -> Case:
    """The same in another dialect, where a stream may begin before its provider has answered."""

    async def play(stage: Stage) -> None:
        upstreams = [await stage.origin(mixed(start)) for start in (0, 3, 6)]
        fallback = {**FALLBACK, "retry_sent": True, "max_attempts": 4, "hold": {"max_time": "50ms"}}
        target = {
            "providers": [{"url": upstream.url} for upstream in upstreams], "fallback": fallback,
            "open_responses_mode": "translate", "translate": {"commit_after": "10ms"},
            "hedge": {"after": "5ms", "ratio": 1.0}, "ejection": {"consecutive_failures": 2, "base_time": "10ms"},
            "timeouts": {"first_token": "50ms", "first_byte": "200ms", "idle": "80ms"},
        }  # fmt: skip
        await stage.start({"m": target})
        body = b'{"model":"m","input":"x","store":false,"stream":%b}' % (b"true" if stream else b"false")
        await storm(stage, post(body, b"/v1/responses"), upstreams)

    return Case("G112", f"240 mixed faults, translated {'streams' if stream else 'whole'}", play)


CASES += [translated(stream=True), translated(stream=False)]


async def storm(stage: Stage, request: bytes, upstreams: list[Origin]) -> None:
    """Waves of clients, some of whom leave before the head, some in the body; then nothing may be left of them."""

    async def call(number: int) -> None:
        async with connect(stage.port) as client:
            await client.send(request)
            try:
                if number % 5 == 1:
                    await asyncio.sleep(number / 1000)
                    client.rst()
                response = await client.head()
                if number % 3 == 0:
                    client.rst()
                elif response.status == 200 and response.value(b"content-length") is None:
                    await client.chunk(response)
                    client.fin()
                else:
                    await client.rest(response)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass

    await stage.ask(post(b'{"model":"well"}'))
    before = descriptors()
    for _ in range(12):
        await asyncio.gather(*map(call, range(20)))
    await until(lambda: stage.held() == 0)
    await until(lambda: not any(upstream._tasks for upstream in upstreams))
    await until(lambda: descriptors() <= before)


def descriptors() -> int:
    """Files and sockets that this process has open."""
    return len(os.listdir("/proc/self/fd"))


@CASES.case("G116", "the processor is taken away")
async def stalled_loop(stage: Stage) -> list[Told]:
    """A stall of ours is no failure of a provider: who waited is answered, and nobody is given up."""
    answers = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await answers.wait()
        await peer.send(answer(b"abc"))

    first, second = await stage.origin(script), await stage.origin()
    providers = [{"url": first.url}, {"url": second.url}]
    await stage.start({"m": {"strategy": "priority", "providers": providers, "fallback": FALLBACK}})
    async with connect(stage.port) as client:
        await client.send(post())
        await first.seen(1)
        time.sleep(0.5)  # noqa: ASYNC251  (the fault itself)
        answers.set()
        assert (await client.response()).body == b"abc"
    assert not second.peers
    return [SERVED]


@CASES.case("G120", "the same failure again and again")
async def log_storm(stage: Stage) -> list[Told]:
    """It is not told each time: a log that grows as fast as requests come is a failure of its own."""
    await stage.start({"m": {"url": f"http://127.0.0.1:{refused_port()}"}})
    lines = Lines()
    logging.getLogger("onwards").addHandler(lines)
    try:
        for _ in range(200):
            assert (await stage.ask()).status == 503
    finally:
        logging.getLogger("onwards").removeHandler(lines)
    assert lines.count <= 50
    return [UNREACHABLE] * 200


class Lines(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


@pytest.mark.parametrize("case", CASES.parameters())
async def test_resources_run_out(lane: bool, case: Case) -> None:
    """The proxy bends, and is what it was when there is room again."""
    await perform(case, lane=lane)
