"""``hedge``: if the first provider is slow, a second one gets the request, and the first response wins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.gateway import Gateway, running
from support.levels import health
from support.origin import Origin, Peer, Script, answer, origin, serve, silent, streaming
from support.raw import Client, ask, connect, get, post
from support.responses_promises import Json
from support.scene import until
from support.targets import pool, snapshot

from onwards_py.routing.health import HealthState

SOON: Json = {"after": "30ms"}
NEVER: Json = {"after": "60s"}
ON: Json = {"enabled": True, "on_status": [5]}
PLACE: Json = {"concurrency_limit": {"max_concurrent_requests": 1}}
FIRST = answer(b'{"by":"first"}')
SECOND = answer(b'{"by":"second"}')


class Stuck:
    """Takes requests and answers with ``reply`` when ``go`` is set; counts the requests that the gateway cancelled."""

    def __init__(self, reply: bytes = FIRST) -> None:
        self._reply = reply
        self.go = asyncio.Event()
        self.left = 0

    async def __call__(self, peer: Peer) -> None:
        while True:
            await peer.request()
            going = asyncio.create_task(self.go.wait())
            leaving = asyncio.create_task(peer.gone())
            try:
                await asyncio.wait((going, leaving), return_when=asyncio.FIRST_COMPLETED)
                self.left += leaving.done()
                if leaving.done():
                    return
            finally:
                going.cancel()
                leaving.cancel()
                await asyncio.gather(going, leaving, return_exceptions=True)
            await peer.send(self._reply)


@asynccontextmanager
async def hedged(
    lane: bool, *scripts: Script, hedge: Json = SOON, provider: Json | None = None, **options: object
) -> AsyncIterator[tuple[list[Origin], Gateway]]:
    """One provider for each script, in this order; ``provider`` and ``options`` are settings."""
    async with origin(scripts[0]) as one, origin(scripts[1]) as two, origin(*scripts[2:]) as three:
        origins = [one, two, three][: max(2, len(scripts))]
        providers = [{"url": upstream.url, **(provider or {})} for upstream in origins]
        target = {"strategy": "priority", "hedge": hedge, "providers": providers, **options}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            yield origins, gateway


async def test_the_losers_permit_is_released_at_once(lane: bool) -> None:
    """The permit is not held until the winner's last byte."""
    release = asyncio.Event()
    async with hedged(lane, silent, streaming(release), provider=PLACE) as (_, gateway):
        async with connect(gateway.port) as client:
            await client.send(post())
            response = await client.head()
            target = gateway.application.holder.current.table.find("m")
            assert target is not None
            assert [member.limiter.in_flight for member in target.endpoints] == [0, 1]
            release.set()
            await client.rest(response)
    assert response.whole


@pytest.mark.parametrize("fallback", [{}, ON])
async def test_the_second_provider_answers_for_a_slow_first(lane: bool, fallback: Json) -> None:
    """The client gets the second response. The first connection is closed and its permit released at once."""
    stuck = Stuck()
    async with hedged(lane, stuck, serve(SECOND), fallback=fallback, provider=PLACE) as (origins, gateway):
        for _ in range(2):
            assert (await ask(gateway.port, post())).body == b'{"by":"second"}'
            await until(lambda: stuck.left == len(origins[0].requests))
    assert origins[0].last.body == origins[1].last.body == b'{"model":"m"}'
    (line, _) = gateway.lines()
    assert (line["attempts"], line["provider"]) == (2, f"127.0.0.1:{origins[1].port}")


async def test_a_fast_first_provider_needs_no_hedge(lane: bool) -> None:
    """No other provider gets a request."""
    async with hedged(lane, serve(FIRST), serve(SECOND), hedge=NEVER) as (origins, gateway):
        assert (await ask(gateway.port, post())).body == b'{"by":"first"}'
    assert not origins[1].peers
    assert gateway.lines()[0]["attempts"] == 1


async def test_the_first_may_still_win(lane: bool) -> None:
    """In that case the connection to the second provider is closed."""
    one, two = Stuck(FIRST), Stuck(SECOND)
    async with hedged(lane, one, two) as (origins, gateway):
        asked = asyncio.create_task(ask(gateway.port, post()))
        await origins[1].seen(1)
        one.go.set()
        assert (await asked).body == b'{"by":"first"}'
        await until(lambda: two.left == 1)
    assert gateway.lines()[0]["provider"] == f"127.0.0.1:{origins[0].port}"


async def test_without_retry_budget_there_is_no_hedge(lane: bool) -> None:
    """The budget allows ten hedges and one more for every hundred requests. The eleventh slow request waits for its
    provider."""
    stuck = Stuck()
    off = {"enabled": False}  # it would be left out after the fifth
    async with hedged(lane, stuck, serve(SECOND), hedge={**SOON, "ratio": 0.01}, ejection=off) as (origins, gateway):
        for _ in range(10):
            assert (await ask(gateway.port, post())).body == b'{"by":"second"}'
        asked = asyncio.create_task(ask(gateway.port, post()))
        await origins[0].seen(11)
        asyncio.get_running_loop().call_later(0.1, stuck.go.set)
        assert (await asked).body == b'{"by":"first"}'
    assert len(origins[1].requests) == 10


async def test_hedges_lost_in_a_row_are_failures(lane: bool) -> None:
    """Otherwise each request would wait for a dead provider, and the provider would never be ejected."""
    ejection = {"consecutive_failures": 3, "base_time": "60s"}
    async with hedged(lane, Stuck(), serve(SECOND), ejection=ejection) as (origins, gateway):
        for _ in range(4):
            assert (await ask(gateway.port, post())).body == b'{"by":"second"}'
        assert health(gateway).state is HealthState.EJECTED
        text = (await ask(gateway.admin_port, get(b"/metrics"))).body
    assert len(origins[0].requests) == 3
    assert [line["attempts"] for line in gateway.lines()] == [2, 2, 2, 1]
    assert b'onwards_hedges_total{target="m"} 3.0' in text
    assert b'onwards_retries_total{target="m"}' not in text


async def test_no_failure_is_counted_if_the_first_provider_wins(lane: bool) -> None:
    """The second provider had less time, so its loss is not a failure either."""
    one, two = Stuck(FIRST), Stuck(SECOND)
    async with hedged(lane, one, two, ejection={"consecutive_failures": 1}) as (origins, gateway):
        asked = asyncio.create_task(ask(gateway.port, post()))
        await origins[1].seen(1)
        one.go.set()
        await asked
        target = gateway.application.holder.current.table.find("m")
        assert target is not None
        assert [member.health and member.health.state for member in target.endpoints] == [
            HealthState.HEALTHY,
            HealthState.HEALTHY,
        ]


LEAVES_A_TRACE = {
    "a response": post(b'{"model":"m","input":"x"}', b"/v1/responses"),
    "a stored chat": post(b'{"model":"m","store": true}'),
    "a batch": post(b'{"model":"m"}', b"/v1/batches"),
}


@pytest.mark.parametrize("case", LEAVES_A_TRACE)
async def test_a_request_with_side_effects_is_not_hedged(lane: bool, case: str) -> None:
    """Two requests would create two objects, so only one is sent, however slow the provider is."""
    stuck = Stuck()
    async with hedged(lane, stuck, serve(SECOND), hedge={"after": "10ms"}) as (origins, gateway):
        asked = asyncio.create_task(ask(gateway.port, LEAVES_A_TRACE[case]))
        await origins[0].seen(1)
        asyncio.get_running_loop().call_later(0.1, stuck.go.set)
        assert (await asked).body == b'{"by":"first"}'
    assert not origins[1].peers


LEAVES_NOTHING = {
    "a response that is not stored": post(b'{"model":"m","store":false}', b"/v1/responses"),
    "embeddings": post(b'{"model":"m"}', b"/v1/embeddings"),
    "a stream": post(b'{"model":"m","stream":true}'),
    "GET": get(b"/v1/files", b"Model-Override: m\r\n"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("case", LEAVES_NOTHING)
async def test_a_request_without_side_effects_is_hedged(lane: bool, case: str) -> None:
    """The same request goes to two providers."""
    async with hedged(lane, silent, serve(SECOND)) as (origins, gateway):
        assert (await ask(gateway.port, LEAVES_NOTHING[case])).body == b'{"by":"second"}'
    assert origins[0].last.body == origins[1].last.body


async def test_a_failed_hedge_does_not_end_the_exchange(lane: bool) -> None:
    """The client gets the first provider's response, though it comes later."""
    stuck = Stuck()
    async with hedged(lane, stuck, serve(answer(b"no", b"503 X")), fallback=ON) as (origins, gateway):
        asked = asyncio.create_task(ask(gateway.port, post()))
        await origins[1].seen(1)
        asyncio.get_running_loop().call_later(0.05, stuck.go.set)
        assert (await asked).body == b'{"by":"first"}'


async def test_the_hedge_answers_if_the_first_provider_fails(lane: bool) -> None:
    """This holds even without fallback, because the second request was already sent."""
    go, two = asyncio.Event(), Stuck(SECOND)

    async def dies(peer: Peer) -> None:
        await peer.request()
        await go.wait()

    async with hedged(lane, dies, two) as (origins, gateway):
        asked = asyncio.create_task(ask(gateway.port, post()))
        await origins[1].seen(1)
        go.set()
        asyncio.get_running_loop().call_later(0.05, two.go.set)
        assert (await asked).body == b'{"by":"second"}'
    assert gateway.lines()[0]["attempts"] == 2


async def test_the_hedge_answers_if_the_first_coded_error_stalls(lane: bool) -> None:
    """With a credential of the operator, an error is complete only after its redaction."""

    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n")
        await peer.gone()

    async with hedged(lane, stalls, serve(SECOND), onwards_key="sk-operator") as (_, gateway):
        assert (await ask(gateway.port, post())).body == b'{"by":"second"}'


async def test_a_third_provider_is_tried_if_both_fail(lane: bool) -> None:
    """The rules of fallback apply, and both requests count as attempts."""
    busy = answer(b"no", b"503 X")
    one = Stuck(busy)
    async with hedged(lane, one, serve(busy), serve(answer(b'{"by":"third"}')), fallback=ON) as (origins, gateway):
        asked = asyncio.create_task(ask(gateway.port, post()))
        await origins[1].seen(1)
        one.go.set()
        assert (await asked).body == b'{"by":"third"}'
    assert [len(upstream.requests) for upstream in origins] == [1, 1, 1]
    assert gateway.lines()[0]["attempts"] == 3


async def test_a_dead_hedge_does_not_retry_the_late_first_provider(lane: bool) -> None:
    """`retry_same` repeats the request only at the provider whose connection closed."""
    gone = asyncio.Event()

    async def too_late(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        gone.set()

    async def dies(peer: Peer) -> None:
        await peer.request()
        await gone.wait()

    policy = {**ON, "retry_same": {"on_reset": True}}
    options = {"fallback": policy, "timeouts": {"first_byte": "300ms"}}
    async with hedged(lane, too_late, dies, **options) as (origins, gateway):  # type: ignore[arg-type]
        assert (await ask(gateway.port, post())).status == 502
    assert [len(upstream.requests) for upstream in origins] == [1, 1]


async def test_if_all_providers_fail_the_client_gets_the_last_response(lane: bool) -> None:
    """A field tells the client not to retry."""
    one = Stuck(answer(b"last", b"503 X"))
    async with hedged(lane, one, serve(answer(b"no", b"500 X")), fallback=ON) as (origins, gateway):
        asked = asyncio.create_task(ask(gateway.port, post()))
        await origins[1].seen(1)
        one.go.set()
        response = await asked
    assert (response.status, response.body, response.value(b"x-should-retry")) == (503, b"last", b"false")


@pytest.mark.parametrize("leave", [Client.fin, Client.rst], ids=["FIN", "RST"])
async def test_a_disconnect_closes_both_connections(lane: bool, leave: object) -> None:
    """Both connections are closed at once."""
    one, two = Stuck(), Stuck()
    async with hedged(lane, one, two) as (origins, gateway), connect(gateway.port) as client:
        await client.send(post())
        await origins[1].seen(1)
        assert callable(leave)
        leave(client)
        await until(lambda: (one.left, two.left) == (1, 1))
    assert gateway.lines()[0]["outcome"] == "client_gone_waiting"


async def test_a_full_second_provider_gets_no_hedge(lane: bool) -> None:
    """Another exchange holds its permit. The first provider answers later."""
    one, two = Stuck(), Stuck(SECOND)
    async with hedged(lane, one, two, provider=PLACE) as (origins, gateway), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(gateway.port, post())) for _ in range(2)]
        await origins[0].seen(1)
        await origins[1].seen(1)
        asyncio.get_running_loop().call_later(0.1, one.go.set)
        asyncio.get_running_loop().call_later(0.1, two.go.set)
    assert {task.result().status for task in asked} == {200}
    assert (len(origins[0].requests), len(origins[1].requests)) == (1, 1)


@pytest.mark.parametrize("status", [b"500 Oops", b"429 Slow Down"])
async def test_a_hedge_that_fails_does_not_win(lane: bool, status: bytes) -> None:
    """This holds without fallback, too: a hedge must not make the result worse."""
    failed = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await failed.wait()
        await peer.send(answer())

    async def failing(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer(b"busy", status))
        asyncio.get_running_loop().call_later(0.1, failed.set)

    async with origin(slow) as first, origin(failing) as second:
        hedge = {"after": "50ms", "ratio": 1}
        async with running(pool(first.url, second.url, hedge=hedge), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert (response.status, response.body) == (200, b'{"ok":true}')


@pytest.mark.either_door
@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","metadata":{"store":false}}',
        b'{"model":"m","store":false,"store":true}',
        b'{"model":"m","\\u0073tore":true}',
        b'{"model":"m","input":"\\"store\\":false"}',
    ],
)
async def test_a_request_with_store_is_not_hedged(lane: bool, body: bytes) -> None:
    """``store`` counts only as a top-level member of the request, in any spelling of JSON."""
    due = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        asyncio.get_running_loop().call_later(0.2, due.set)
        await due.wait()
        await peer.send(answer())

    async with origin(slow) as first, origin() as second:
        hedge = {"after": "10ms", "ratio": 1}
        async with running(pool(first.url, second.url, hedge=hedge), lane=lane) as gateway:
            await ask(gateway.port, post(body, b"/v1/responses"))
    assert not second.peers
