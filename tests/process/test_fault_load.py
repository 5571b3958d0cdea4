"""Load on a pool whose providers fail: the real program and thousands of requests; the tests compare counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.origin import Origin, Peer, answer, origin, refused_port
from support.program import PATIENCE, Program, serving
from support.raw import connect, post

REQUESTS, CONNECTIONS = 2_000, 24
RATIO = 0.2
LEAST_BUDGET = 10
"""Further attempts that a budget without a rate per second holds at the beginning."""

QUESTION = post(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
OK = answer(b'{"well":true}')
ERROR = answer(b'{"error":{"message":"no"}}', b"500 Internal Server Error")
LIMITED = answer(b'{"error":{"message":"slow down"}}', b"429 Too Many Requests", b"Retry-After: 60\r\n")


class Provider:
    """Answers each request with ``reply``; None: it reads the request and closes. ``served`` counts successful
    responses."""

    def __init__(self, reply: bytes | None = OK) -> None:
        self.reply = reply
        self.served = 0

    async def script(self, peer: Peer) -> None:
        while True:
            await peer.request()
            if self.reply is None:
                return
            self.served += self.reply is OK
            await peer.send(self.reply)


async def hanging(peer: Peer) -> None:
    """Take a request and send no byte until the gateway disconnects."""
    await peer.request()
    await peer.gone()


ILL = {
    "answers 500": Provider(ERROR).script,
    "answers 429": Provider(LIMITED).script,
    "cuts before commit": Provider(None).script,
    "hangs": hanging,
    "refuses": None,
}


def config(ports: Sequence[int], *, out: str = "60s", per_second: int = 10) -> str:
    """A pool of these providers. An ejection lasts to the end of the test, unless ``out`` sets another time.
    ``first_byte`` is so long that a healthy provider on a busy machine is not ejected."""
    providers = "".join(f"      - {{url: 'http://127.0.0.1:{port}/'}}\n" for port in ports)
    return f"""
targets:
  m:
    fallback:
      enabled: true
      on_status: [429, 5xx]
      retry_sent: true
      retry_budget: {{ratio: {RATIO}, min_per_second: {per_second}}}
    ejection: {{base_time: {out}, max_time: {out}}}
    timeouts: {{first_byte: 2s}}
    providers:
{providers}"""


async def load(program: Program, count: int = REQUESTS) -> Counter[int]:
    """Send this many requests on reused connections; return the count of each status. Each response must be
    complete."""
    statuses: Counter[int] = Counter()
    left = iter(range(count))

    async def work() -> None:
        async with connect(program.port) as client:
            for _ in left:
                await client.send(QUESTION)
                response = await client.response()
                assert response.whole
                statuses[response.status] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(work())
    return statuses


async def attempts_of(program: Program, upstreams: Sequence[Origin]) -> int:
    """The number of upstream requests by the access log, including refused ones; the program ends. The log omits
    none."""
    assert await asyncio.to_thread(program.stop) == 0
    lines = program.lines()
    assert len(lines) == REQUESTS
    attempts = [line["attempts"] for line in lines]
    total = sum(count for count in attempts if isinstance(count, int))
    assert total >= sum(len(upstream.requests) for upstream in upstreams)
    return total


@pytest.mark.parametrize("illness", ILL)
async def test_one_of_three_providers_fails_and_clients_do_not_notice(tmp_path: Path, illness: str) -> None:
    """At least 99.9 % of the requests succeed, and providers get at most 1.2 times the clients' requests."""
    script = ILL[illness]
    async with origin(Provider().script) as first, origin(Provider().script) as second:
        async with AsyncExitStack() as stack:
            upstreams = [first, second]
            if script is not None:
                upstreams.insert(0, await stack.enter_async_context(origin(script)))
            ports = [upstream.port for upstream in upstreams]
            if script is None:
                ports.insert(0, refused_port())
            with serving(config(ports), tmp_path) as program:
                statuses = await load(program)
                assert statuses[200] >= REQUESTS * 0.999, statuses
                assert await attempts_of(program, upstreams) <= REQUESTS * 1.2


@pytest.mark.parametrize(("illness", "status"), [("answers 500", 500), ("refuses", 503)])
async def test_all_providers_fail_and_no_request_is_multiplied(tmp_path: Path, illness: str, status: int) -> None:
    """Each request gets an error, and the retry budget bounds the upstream requests. No provider stays ejected,
    since there is no other."""
    script = ILL[illness]
    async with AsyncExitStack() as stack:
        upstreams: list[Origin] = []
        if script is not None:
            upstreams += [await stack.enter_async_context(origin(script)) for _ in range(3)]
        ports = [upstream.port for upstream in upstreams] or [refused_port() for _ in range(3)]
        with serving(config(ports, per_second=0), tmp_path) as program:
            assert await load(program) == {status: REQUESTS}
            attempts = await attempts_of(program, upstreams)
            assert REQUESTS <= attempts <= REQUESTS * (1 + RATIO) + LEAST_BUDGET


async def test_a_recovered_provider_is_used_again(tmp_path: Path) -> None:
    """While it fails it gets few requests. After its recovery it gets its share again, and no request fails."""
    provider = Provider(ERROR)
    async with origin(Provider().script) as other, origin(provider.script) as upstream:
        with serving(config([other.port, upstream.port], out="500ms"), tmp_path) as program:
            assert await load(program, 500) == {200: 500}
            assert 0 < len(upstream.requests) < 100
            provider.reply = OK
            async with asyncio.timeout(PATIENCE):
                served = 0
                while provider.served - served < 50:
                    served = provider.served
                    assert await load(program, 200) == {200: 200}
