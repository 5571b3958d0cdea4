"""When the proxy makes another attempt, what it sends, and what the client gets if no attempt succeeds."""

from __future__ import annotations

import asyncio
import socket

import pytest
from support.gateway import running
from support.origin import Peer, Script, answer, no_answer, origin, refused_port, serve, silent
from support.raw import ask, connect, get, post
from support.scene import proxied, until
from support.targets import pool, snapshot

ON = {"enabled": True, "on_status": [429, 5]}
QUICK = {"first_byte": "50ms"}
OVERLOADED = answer(b"busy", b"503 X")
BUSY = answer(b'{"error":"busy"}', b"429 Slow Down", b"Retry-After: 17\r\nX-RateLimit-Reset: 9\r\n")


async def resets(peer: Peer) -> None:
    """Take one request and reset the connection without sending a byte."""
    await peer.request()
    peer.rst()


async def answers_then_dies(peer: Peer) -> None:
    """Answer one request, take another and close the connection."""
    await peer.request()
    await peer.send(answer())
    await peer.request()


async def dies_late(peer: Peer) -> None:
    """Answer one request, take another, wait for more than a second, and close the connection."""
    await answers_then_dies(peer)
    await asyncio.sleep(1.1)


async def resets_late(peer: Peer) -> None:
    """The same, but the connection ends with a reset."""
    await dies_late(peer)
    peer.rst()


async def answers_then_resets(peer: Peer) -> None:
    """Answer one request, take another and reset the connection."""
    await answers_then_dies(peer)
    peer.rst()


def not_again(response: bytes) -> bytes:
    """The response if it is the last of several attempts."""
    head, _, body = response.partition(b"\r\n\r\n")
    return head + b"\r\nX-Should-Retry: false\r\n\r\n" + body


def nowhere() -> str:
    return f"http://127.0.0.1:{refused_port()}"


async def test_a_refused_connection_causes_fallback(lane: bool) -> None:
    """This does not depend on ``on_status``. The next provider gets the complete body."""
    async with (
        origin() as second,
        running(pool(nowhere(), second.url, fallback={"enabled": True}), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post())
    assert response.status == 200
    assert second.last.body == b'{"model":"m"}'
    (line,) = gateway.lines()
    assert (line["attempts"], line["provider"]) == (2, f"127.0.0.1:{second.port}")


async def test_a_late_head_causes_fallback_and_closes_the_connection(lane: bool) -> None:
    """The next provider is tried after timeouts.first_byte, and the first one's connection is closed."""
    closed = asyncio.Event()

    async def sleeps(peer: Peer) -> None:
        await silent(peer)
        closed.set()

    async with origin(sleeps) as first, origin() as second:
        targets = pool(first.url, second.url, fallback={"enabled": True}, timeouts=QUICK)
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, post())).status == 200
            await asyncio.wait_for(closed.wait(), 5)
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.either_door
@pytest.mark.parametrize("status", [b"429 X", b"500 X", b"503 X", b"599 X"])
async def test_a_status_in_on_status_causes_fallback(lane: bool, status: bytes) -> None:
    """No part of the first response reaches the client."""
    async with (
        origin(serve(answer(b"no", status, b"X-First: 1\r\n"))) as first,
        origin() as second,
        running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post())
    assert (response.status, response.body) == (200, b'{"ok":true}')
    assert response.value(b"x-first") is None


@pytest.mark.parametrize("status", [b"400 X", b"404 X", b"428 X"])
async def test_a_status_outside_on_status_does_not_cause_fallback(lane: bool, status: bytes) -> None:
    """Another provider cannot correct an error of the client."""
    async with (
        origin(serve(answer(b"no", status))) as first,
        origin() as second,
        running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post())
    assert (response.status, response.body) == (int(status[:3]), b"no")
    assert not second.peers


@pytest.mark.parametrize("on_status", [[5], []])
async def test_without_fallback_the_first_answer_counts(lane: bool, on_status: list[int]) -> None:
    """``enabled: false`` switches fallback off."""
    async with origin(serve(BUSY)) as first, origin() as second:
        targets = pool(first.url, second.url, fallback={"enabled": False, "on_status": on_status})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert response.status == 429
    assert not second.peers


@pytest.mark.parametrize("count", [1, 2])
async def test_after_the_last_attempt_the_client_gets_the_last_response(lane: bool, count: int) -> None:
    """Status, reason, body, Retry-After and rate-limit fields are kept. A field tells clients that several attempts
    were made; otherwise they would retry as well (gateways.md section 3)."""
    async with (
        origin(serve(BUSY)) as first,
        origin(serve(BUSY)) as second,
        running(pool(*[first.url, second.url][:count], fallback=ON), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post())
    assert response.head + response.body == (BUSY if count == 1 else not_again(BUSY))
    assert [len(first.requests), len(second.requests)] == [1, count - 1]
    assert gateway.lines()[0]["outcome"] == "done"


async def test_the_last_response_may_be_of_any_size(lane: bool) -> None:
    """The kept part of a discarded response is bounded; the response of the last attempt is streamed."""
    body = b"x" * 3_000_000
    async with proxied(lane, serve(answer(body, b"503 Busy")), fallback=ON) as (upstream, gateway):
        response = await ask(gateway.port, post())
    assert (response.status, response.body) == (503, body)
    assert len(upstream.requests) == 1


async def test_an_earlier_response_is_sent_if_the_last_attempt_has_none(lane: bool) -> None:
    """The client gets the last *response*. The log names the provider that sent it."""
    async with origin(serve(BUSY)) as first, running(pool(first.url, nowhere(), fallback=ON), lane=lane) as gateway:
        response = await ask(gateway.port, post())
    assert response.head + response.body == not_again(BUSY)
    (line,) = gateway.lines()
    assert (line["attempts"], line["provider"]) == (2, f"127.0.0.1:{first.port}")


async def test_an_unreachable_provider_is_503(lane: bool) -> None:
    """The error has its own code, and the response has Retry-After."""
    async with running(pool(nowhere(), nowhere(), fallback=ON), lane=lane) as gateway:
        response = await ask(gateway.port, post())
    assert (response.status, response.error["code"]) == (503, "upstream_unreachable")
    assert response.value(b"retry-after") is not None
    (line,) = gateway.lines()
    assert (line["outcome"], line["attempts"], line["code"]) == ("upstream_unreachable", 2, "upstream_unreachable")


async def test_a_late_first_byte_is_504(lane: bool) -> None:
    """The provider takes the request and sends no byte within ``timeouts.first_byte``."""
    async with proxied(lane, silent, timeouts=QUICK) as (_, gateway):
        response = await ask(gateway.port, post())
    assert (response.status, response.error["code"]) == (504, "gateway_timeout")
    assert gateway.lines()[0]["outcome"] == "upstream_timeout"


async def test_a_connection_that_is_never_accepted_is_504(lane: bool) -> None:
    """A full backlog drops SYNs; timeouts.connect ends the wait."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with running(pool(url, timeouts={"connect": "50ms"}), lane=lane) as gateway:
            began = loop.time()
            response = await ask(gateway.port, post())
            assert loop.time() - began < 5
        for filler in fillers:
            filler.close()
    assert (response.status, response.error["code"]) == (504, "gateway_timeout")


async def test_retry_after_holds_for_both_entries_of_a_provider(lane: bool) -> None:
    """A provider that is listed twice sends Retry-After. Neither of its entries is tried; the other provider gets
    the request without a wait."""
    async with origin(serve(BUSY)) as first, origin() as second:
        backoff = {"initial_ms": 60_000, "max_ms": 60_000, "jitter": "none"}
        targets = pool(first.url, first.url, second.url, fallback={**ON, "backoff": backoff})
        async with running(targets, lane=lane) as gateway:
            assert [(await ask(gateway.port, post())).status for _ in range(3)] == [200] * 3
            text = (await ask(gateway.admin_port, get(b"/metrics"))).body
    assert (len(first.requests), len(second.requests)) == (1, 3)
    name = b'onwards_provider_state{provider="127.0.0.1:%d%b",state="rate_limited",target="m"} 1.0'
    assert name % (first.port, b"") in text
    assert name % (first.port, b"#2") in text


@pytest.mark.parametrize("death", [answers_then_dies, answers_then_resets])
@pytest.mark.parametrize("method", [b"POST", b"GET"])
async def test_a_pooled_connection_that_died_costs_no_request(lane: bool, death: Script, method: bytes) -> None:
    """A reused connection closed without a response byte. The request is sent once more, on a new connection, even
    without fallback."""
    request = post() if method == b"POST" else get(b"/v1/x", b"Model-Override: m\r\n")
    async with proxied(lane, death, serve()) as (upstream, gateway), connect(gateway.port) as client:
        for _ in range(2):
            await client.send(request)
            assert (await client.response()).status == 200
    assert [len(peer.requests) for peer in upstream.peers] == [2, 1]
    assert upstream.peers[1].requests[0].raw == upstream.peers[0].requests[1].raw
    assert [line["attempts"] for line in gateway.lines()] == [1, 2]


@pytest.mark.parametrize("death", [dies_late, resets_late])
async def test_a_pooled_connection_that_closes_late_is_not_treated_as_stale(lane: bool, death: Script) -> None:
    """After more than a second the provider may have processed the request, so a POST needs ``retry_sent``."""
    async with origin(death, serve()) as first, origin() as second:
        targets = pool(first.url, second.url, fallback=ON)
        async with running(targets, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(post())
            await client.response()
            await client.send(post())
            response = await client.response()
    assert (response.status, response.error["code"]) == (502, "bad_gateway")
    assert [len(peer.requests) for peer in first.peers] == [2]
    assert not second.requests
    assert [line["attempts"] for line in gateway.lines()] == [1, 1]


async def test_first_byte_is_for_a_request_and_its_repetition_together(lane: bool) -> None:
    """The repeated request has only the rest of timeouts.first_byte, which is too short for its response."""

    async def dies_soon(peer: Peer) -> None:
        await answers_then_dies(peer)
        await asyncio.sleep(0.5)

    async def answers_late(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(1.3)
        await peer.send(answer())

    async with proxied(lane, dies_soon, answers_late, timeouts={"first_byte": "1500ms"}) as (upstream, gateway):
        await ask(gateway.port, post())
        response = await ask(gateway.port, post())
    assert response.status == 504
    assert [len(peer.requests) for peer in upstream.peers] == [2, 1]
    assert gateway.lines()[1]["attempts"] == 2


async def test_repetitions_are_counted_and_affect_health(lane: bool) -> None:
    """They are not counted as retries. A provider that closes most connections early is ejected, although all
    requests succeeded."""
    ejection = {"consecutive_failures": 1, "failure_rate": 0.5, "min_requests": 4}
    scripts = [answers_then_dies] * 4
    async with origin(*scripts) as first, origin() as second:
        targets = pool(first.url, second.url, ejection=ejection)
        async with running(targets, lane=lane) as gateway:
            states = []
            for _ in range(5):
                assert (await ask(gateway.port, post())).status == 200
                health = gateway.application.holder.current.table.targets[0].endpoints[0].health
                assert health is not None
                states.append(health.state.value)
            text = (await ask(gateway.admin_port, get(b"/metrics"))).body
    assert states == ["healthy", "healthy", "healthy", "ejected", "ejected"]
    assert b'onwards_repeats_total{provider="127.0.0.1:%d",target="m"} 3.0' % first.port in text
    assert b'onwards_retries_total{target="m"}' not in text
    assert len(second.requests) == 1


async def test_a_repetition_is_counted_at_its_provider(lane: bool) -> None:
    """It is counted there even if it failed and another provider answered."""

    async def dies(peer: Peer) -> None:
        await peer.request()

    async with origin(answers_then_dies, no_answer) as first, origin() as second:
        targets = pool(first.url, second.url, fallback={"enabled": True, "retry_sent": True})
        async with running(targets, lane=lane) as gateway:
            for _ in range(2):
                assert (await ask(gateway.port, post())).status == 200
            text = (await ask(gateway.admin_port, get(b"/metrics"))).body
    assert b'onwards_repeats_total{provider="127.0.0.1:%d",target="m"} 1.0' % first.port in text
    assert b'onwards_retries_total{target="m"} 1.0' in text
    assert len(second.requests) == 1


async def test_a_fresh_connection_that_died_is_not_repeated(lane: bool) -> None:
    """The second connection is new; if it closes as well, the client gets 502."""
    async with proxied(lane, answers_then_dies, no_answer, serve()) as (upstream, gateway):
        await ask(gateway.port, post())
        response = await ask(gateway.port, post())
    assert (response.status, response.error["code"]) == (502, "bad_gateway")
    assert [len(peer.requests) for peer in upstream.peers] == [2, 1]


@pytest.mark.either_door
@pytest.mark.parametrize("death", [no_answer, resets])
@pytest.mark.parametrize(
    ("request_", "retry_sent", "repeated"),
    [
        (post(), False, False),
        (post(), True, True),
        (get(b"/v1/x", b"Model-Override: m\r\n"), False, True),
    ],
    ids=["POST", "POST, opted in", "GET"],
)
async def test_a_sent_post_is_repeated_only_with_retry_sent(
    lane: bool, death: Script, request_: bytes, retry_sent: bool, repeated: bool
) -> None:
    """A POST that was sent on a new connection goes to the next provider only with ``retry_sent``. An idempotent
    method always does (RFC 9110 section 9.2.2)."""
    async with origin(death) as first, origin() as second:
        targets = pool(first.url, second.url, fallback={**ON, "retry_sent": retry_sent})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, request_)
    assert response.status == (200 if repeated else 502)
    assert len(second.requests) == int(repeated)
    assert gateway.lines()[0]["outcome"] == ("done" if repeated else "upstream_invalid")


async def test_a_reused_connection_that_began_to_answer_is_not_repeated(lane: bool) -> None:
    """After one byte of a response the connection is not stale."""

    async def half(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer())
        await peer.request()
        await peer.send(b"HTTP/1.1 200")

    async with proxied(lane, half, serve()) as (upstream, gateway):
        await ask(gateway.port, post())
        response = await ask(gateway.port, post())
    assert response.status == 502
    assert len(upstream.peers) == 1


async def test_nothing_is_repeated_after_commit(lane: bool) -> None:
    """After the head was sent to the client, a cut body cuts the client's connection, with fallback or without."""

    async def breaks(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        peer.fin()

    async with origin(breaks) as first, origin() as second:
        targets = pool(first.url, second.url, fallback={**ON, "retry_sent": True})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert not response.whole
    assert response.body == b"abc"
    assert not second.peers
    assert gateway.lines()[0]["outcome"] == "upstream_cut"


async def test_each_attempt_has_the_settings_of_its_provider(lane: bool) -> None:
    """URL, Host, credential, model name and Content-Length are those of the provider of the attempt."""
    async with origin(serve(BUSY)) as first, origin(serve(BUSY)) as second, origin() as third:
        providers = [
            {"url": first.url + "/v1", "onwards_key": "k1", "onwards_model": "a-longer-name"},
            {"url": second.url + "/openai", "onwards_key": "k2", "upstream_auth_header_name": "api-key"},
            {"url": third.url, "onwards_model": "c"},
        ]
        targets = snapshot({"m": {"strategy": "priority", "providers": providers, "fallback": ON}})
        async with running(targets, lane=lane) as gateway:
            await ask(gateway.port, post(b'{"model":"m","n":1}'))
    shape = b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n%b\r\n%b"
    assert first.last.raw == shape % (
        b"/v1/chat/completions", first.port, 31, b"Authorization: Bearer k1\r\n", b'{"model":"a-longer-name","n":1}'
    )  # fmt: skip
    assert second.last.raw == shape % (
        b"/openai/v1/chat/completions", second.port, 19, b"api-key: Bearer k2\r\n", b'{"model":"m","n":1}'
    )  # fmt: skip
    assert third.last.raw == shape % (b"/v1/chat/completions", third.port, 19, b"", b'{"model":"c","n":1}')


async def test_attempts_cycle_through_the_providers(lane: bool) -> None:
    """Five attempts over two providers go to a, b, a, b, a."""
    async with (
        origin(serve(OVERLOADED)) as first,
        origin(serve(OVERLOADED)) as second,
        running(pool(first.url, second.url, fallback={**ON, "max_attempts": 5}), lane=lane) as gateway,
    ):
        await ask(gateway.port, post())
    assert (len(first.requests), len(second.requests)) == (3, 2)
    assert gateway.lines()[0]["attempts"] == 5


async def test_a_discarded_response_is_read_to_its_end(lane: bool) -> None:
    """Its connection is then reused, so that many errors do not cause many new connections."""
    chunked = b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with (
        origin(serve(OVERLOADED, chunked)) as first,
        origin() as second,
        running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway,
    ):
        for _ in range(4):
            assert (await ask(gateway.port, post())).status == 200
    assert [len(peer.requests) for peer in first.peers] == [4]
    assert [len(peer.requests) for peer in second.peers] == [4]


async def test_reading_a_discarded_response_has_an_idle_timeout(lane: bool) -> None:
    """The next provider still answers."""

    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\nabc")
        await peer.gone()

    async with origin(stalls) as first, origin() as second:
        targets = pool(first.url, second.url, fallback=ON, timeouts={"idle": "50ms"})
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, post())).status == 200


async def test_a_rate_limited_provider_is_skipped_with_on_rate_limit(lane: bool) -> None:
    """Without ``on_rate_limit`` the provider's own limit is the response."""
    bucket = {"rate_limit": {"requests_per_second": 0.01, "burst_size": 1}}
    async with origin() as first, origin() as second:
        providers = [{"url": first.url, **bucket}, {"url": second.url}]
        verdicts = {}
        for on_rate_limit in (True, False):
            fallback = {"enabled": True, "on_rate_limit": on_rate_limit}
            targets = snapshot({"m": {"strategy": "priority", "providers": providers, "fallback": fallback}})
            async with running(targets, lane=lane) as gateway:
                verdicts[on_rate_limit] = [(await ask(gateway.port, post())).status for _ in range(2)]
    assert verdicts == {True: [200, 200], False: [200, 429]}
    assert len(second.requests) == 1


async def test_no_place_is_held_while_waiting_for_the_next_attempt(lane: bool) -> None:
    """During the backoff the provider's place is free for others. A client that disconnects ends the wait."""
    waits = {**ON, "max_attempts": 2, "backoff": {"initial_ms": 60_000, "max_ms": 60_000, "jitter": "none"}}
    async with origin(serve(OVERLOADED, answer())) as upstream:
        provider = {"url": upstream.url, "concurrency_limit": {"max_concurrent_requests": 1}}
        targets = snapshot({"m": {"providers": [provider], "fallback": waits}})
        async with running(targets, lane=lane) as gateway, connect(gateway.port) as client:
            await client.send(post())
            await upstream.seen(1)
            await until(lambda: gateway.held_permits() == 1)  # the pool's; the provider's is back
            assert (await ask(gateway.port, post())).status == 200
            client.fin()
    assert len(upstream.requests) == 2
    assert [line["outcome"] for line in gateway.lines()] == ["done", "client_gone_waiting"]


async def test_waits_are_bounded_together(lane: bool) -> None:
    """A wait that would exceed max_total_backoff_ms does not begin; the client gets the last response."""
    waits = {**ON, "max_attempts": 3, "max_total_backoff_ms": 10, "backoff": {"initial_ms": 60_000, "jitter": "none"}}
    async with (
        proxied(lane, serve(BUSY)) as (upstream, _),
        running(pool(upstream.url, fallback=waits), lane=lane) as gateway,
    ):
        response = await ask(gateway.port, post())
    assert response.head + response.body == BUSY
    assert len(upstream.requests) == 1
