"""What a trial with scripted providers found: shapes of errors, waits, hints to clients, handshakes and hedges."""

from __future__ import annotations

import asyncio
from email.utils import formatdate

import pytest
from support.chat_upstream import create, streamed, text
from support.gateway import running
from support.origin import Peer, answer, once, origin, serve
from support.raw import ask, get, post
from support.responses_promises import Json
from support.targets import pool

ON: Json = {"enabled": True, "on_status": [429, 5]}
HELD: Json = {**ON, "hold": {"max_time": "5s"}}
JSON = b"Content-Type: application/json\r\n"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true}'
SHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def busy(fields: bytes = b"", status: bytes = b"429 Slow Down") -> bytes:
    return answer(b'{"error":{"message":"busy"}}', status, JSON + fields)


# Errors inside a 200

FAILING = {
    "Google's array": streamed(b'data: [{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]\n\n'),
    "Google's array as a body": answer(b'[{"error":{"code":503,"message":"m"}}]', fields=JSON),
    "a reason to end that is an error": streamed(b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}\n\n'),
    "a completed response that failed": streamed(
        b'data: {"type":"response.completed","response":{"status":"failed","error":{"code":"server_error"}}}\n\n'
    ),
    "an exception by its name": streamed(b'event: throttlingException\ndata: {"message":"m"}\n\n'),
    "an exception as the only member": streamed(b'data: {"modelStreamErrorException":{"message":"m"}}\n\n'),
    "nothing, and no type": answer(b""),
}


@pytest.mark.parametrize("case", FAILING)
async def test_further_shapes_of_failure_move_on(lane: bool, case: str) -> None:
    """Gemini, OpenRouter, Bedrock behind gateways, and balancers that answer 200 with nothing."""
    async with origin(serve(FAILING[case])) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=HELD), lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
    assert (response.status, response.body) == (200, b'{"ok":true}')
    assert [len(first.requests), len(second.requests)] == [1, 1]


GOOD = {
    "an error that ends a text": streamed(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"error"}]}\n\n'),
    "text of no type": answer(b"hello"),
    "a validation exception": streamed(b'event: validationException\ndata: {"message":"m"}\n\n'),
    "an array of several": answer(b'[{"error":{"code":503}},{}]', fields=JSON),
    "a member that is called like an exception": answer(b'{"throttlingException":0,"a":1,"b":2}', fields=JSON),
}


@pytest.mark.parametrize("case", GOOD)
async def test_what_only_looks_like_it_does_not(lane: bool, case: str) -> None:
    """Nobody else is asked."""
    async with origin(serve(GOOD[case])) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=HELD), lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
    assert response.status == 200
    assert not second.peers


async def test_nothing_is_an_answer_where_no_model_is_asked(lane: bool) -> None:
    """POST to other paths, without a type and without a body."""
    async with origin(serve(answer(b""))) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=HELD), lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY, b"/v1/threads"))
    assert (response.status, response.body) == (200, b"")
    assert not second.peers


@pytest.mark.parametrize("opening", [b"", b"HTTP/1.1 200 OK\r\nContent-Ty", b"no HTTP\r\n\r\n"])
@pytest.mark.parametrize(("store", "seconds"), [(b"false", 1), (b"true", 0)])
async def test_under_a_hold_a_cut_before_the_head_moves_on(
    lane: bool, opening: bytes, store: bytes, seconds: int
) -> None:
    """As one behind the head does; unless two answers would be stored."""
    async with origin(once(opening)) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=HELD), lane=lane) as gateway:
            response = await ask(gateway.port, post(b'{"model":"m","store":%b}' % store))
    assert response.status == (200 if seconds else 502)
    assert len(second.requests) == seconds


THROTTLED = b"Too many tokens, please wait before trying again."


@pytest.mark.parametrize(
    "reply",
    [
        streamed(b'data: {"error":{"message":"%b","type":"ThrottlingException"}}\n\n' % THROTTLED),
        answer(b'{"message":"%b"}' % THROTTLED, b"429 Too Many Requests", JSON),
    ],
)
async def test_too_many_tokens_of_a_minute_are_no_long_prompt(lane: bool, reply: bytes) -> None:
    """Bedrock, translated: the next provider is asked; and who is left without one is told to wait, not to shorten."""
    mode = {"open_responses_mode": "translate", "ejection": {"enabled": False}}
    async with origin(serve(reply)) as first, origin(serve(streamed(*text("hello")))) as second:
        async with running(pool(first.url, second.url, fallback=ON, **mode), lane=lane) as gateway:
            moved = await ask(gateway.port, create(stream=True))
        async with running(pool(first.url, fallback=ON, **mode), lane=lane) as gateway:
            alone = await ask(gateway.port, create(stream=True))
    assert b"hello" in moved.body
    assert (alone.status, alone.error["code"]) == (429, "rate_limit_exceeded")


# A first token that does not come, not even a head


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_a_head_is_due_with_the_first_token(lane: bool, mode: str) -> None:
    """Many servers send the head of a stream only when they have something to say."""
    gone = asyncio.Event()

    async def mute(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        gone.set()

    async with origin(mute) as upstream:
        soon = {"first_token": "50ms"}
        async with running(pool(upstream.url, timeouts=soon, open_responses_mode=mode), lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=True) if mode == "translate" else post(BODY))
            await asyncio.wait_for(gone.wait(), 5)
    assert (response.status, response.error["code"]) == (504, "gateway_timeout")


async def test_what_is_no_stream_has_no_first_token(lane: bool) -> None:
    """A whole answer takes as long as it takes."""
    late = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await late.wait()
        await peer.send(answer())

    async with origin(slow) as upstream:
        async with running(pool(upstream.url, timeouts={"first_token": "50ms"}), lane=lane) as gateway:
            asyncio.get_running_loop().call_later(1.5, late.set)  # later than connections are looked after
            response = await ask(gateway.port, post(b'{"model":"m","stream":false,"input":"\\"stream\\":true"}'))
    assert response.body == b'{"ok":true}'


# Retry-After


@pytest.mark.parametrize("said", [formatdate(4e9, usegmt=True).encode(), b"9" * 40])
async def test_a_far_retry_after_is_told_and_not_ignored(lane: bool, said: bytes) -> None:
    """A date without a Date to count from, and a number larger than anybody's patience."""
    async with origin(serve(busy(b"Retry-After: %b\r\n" % said), answer())) as upstream:
        targets = pool(upstream.url, fallback={**ON, "max_attempts": 2})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
    assert (response.status, response.value(b"retry-after")) == (429, said)
    assert len(upstream.requests) == 1


# X-Should-Retry


@pytest.mark.parametrize("options", [{}, {"response_headers": {"X-Should-Retry": "true"}}])
async def test_should_retry_is_said_once(lane: bool, options: Json) -> None:
    """OpenAI says it, too; SDKs join two values to one that they do not know, and try again."""
    failing = busy(b"x-should-retry: true\r\n", b"500 Oops")
    async with origin(serve(failing)) as first, origin(serve(failing)) as second:
        async with running(pool(first.url, second.url, fallback=ON, **options), lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
    assert response.status == 500
    assert response.head.lower().count(b"x-should-retry") == 1
    assert response.value(b"x-should-retry") == b"false"


# Tunnels


@pytest.mark.parametrize("status", [b"500 Oops", b"503 Busy", b"429 Slow Down"])
async def test_a_refused_handshake_moves_on_by_its_status(lane: bool, status: bytes) -> None:
    """As any other request."""
    async with origin(serve(busy(status=status))) as first, origin(once(AGREED + b"hello")) as second:
        async with running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert response.status == 101
    assert [len(first.requests), len(second.requests)] == [1, 1]
    assert gateway.lines()[0]["attempts"] == 2


async def test_the_last_refusal_of_a_handshake_is_passed_on(lane: bool) -> None:
    """The provider's own words."""
    async with origin(serve(busy(status=b"503 Busy"))) as first, origin(serve(busy(status=b"500 Oops"))) as second:
        async with running(pool(first.url, second.url, fallback=ON), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert (response.status, response.body) == (500, b'{"error":{"message":"busy"}}')


async def test_failing_handshakes_take_a_provider_out(lane: bool) -> None:
    """5xx is no success because it answers a handshake."""
    async with origin(serve(busy(status=b"500 Oops"))) as first, origin(once(AGREED)) as second:
        targets = pool(first.url, second.url, fallback=ON, ejection={"consecutive_failures": 2})
        async with running(targets, lane=lane) as gateway:
            for _ in range(4):
                await ask(gateway.port, get(b"/v1/realtime?model=m", SHAKE))
    assert [len(first.requests), len(second.requests)] == [2, 4]


# Hedges


@pytest.mark.parametrize("status", [b"500 Oops", b"429 Slow Down"])
async def test_a_hedge_that_fails_does_not_win(lane: bool, status: bytes) -> None:
    """Also without fallback: a client must not be worse off because a second provider was asked."""
    failed = asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.request()
        await failed.wait()
        await peer.send(answer())

    async def failing(peer: Peer) -> None:
        await peer.request()
        await peer.send(busy(status=status))
        asyncio.get_running_loop().call_later(0.1, failed.set)

    async with origin(slow) as first, origin(failing) as second:
        hedge = {"after": "50ms", "ratio": 1}
        async with running(pool(first.url, second.url, hedge=hedge), lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
    assert (response.status, response.body) == (200, b'{"ok":true}')


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","metadata":{"store":false}}',
        b'{"model":"m","store":false,"store":true}',
        b'{"model":"m","\\u0073tore":true}',
        b'{"model":"m","input":"\\"store\\":false"}',
    ],
)
async def test_a_response_that_is_kept_is_asked_for_once(lane: bool, body: bytes) -> None:
    """``store`` is the request's own member, however it is written, and no other of that name."""
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
