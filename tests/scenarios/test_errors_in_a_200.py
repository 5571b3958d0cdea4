"""Failures with a status of success: shapes of errors, empty bodies, cut heads, and content that only resembles an
error."""

from __future__ import annotations

import pytest
from support.chat_upstream import create, streamed, text
from support.gateway import running
from support.origin import answer, once, origin, serve
from support.raw import ask, post
from support.responses_promises import Json
from support.targets import pool

ON: Json = {"enabled": True, "on_status": [429, 5]}


HELD: Json = {**ON, "hold": {"max_time": "5s"}}


JSON = b"Content-Type: application/json\r\n"


BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true}'


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


@pytest.mark.either_door
@pytest.mark.parametrize("case", FAILING)
async def test_further_shapes_of_errors_cause_fallback(lane: bool, case: str) -> None:
    """The shapes are those of Gemini, OpenRouter, Bedrock behind gateways, and load balancers that send an empty
    200."""
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


@pytest.mark.either_door
@pytest.mark.parametrize("case", GOOD)
async def test_content_that_resembles_an_error_does_not_cause_fallback(lane: bool, case: str) -> None:
    """No other provider gets a request."""
    async with origin(serve(GOOD[case])) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=HELD), lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY))
    assert response.status == 200
    assert not second.peers


async def test_an_empty_answer_is_content_on_other_paths(lane: bool) -> None:
    """A POST to a path outside inference may get a response without a type and a body."""
    async with origin(serve(answer(b""))) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=HELD), lane=lane) as gateway:
            response = await ask(gateway.port, post(BODY, b"/v1/threads"))
    assert (response.status, response.body) == (200, b"")
    assert not second.peers


@pytest.mark.either_door
@pytest.mark.parametrize("opening", [b"", b"HTTP/1.1 200 OK\r\nContent-Ty", b"no HTTP\r\n\r\n"])
@pytest.mark.parametrize(("store", "seconds"), [(b"false", 1), (b"true", 0)])
async def test_with_a_hold_a_cut_before_the_head_causes_fallback(
    lane: bool, opening: bytes, store: bytes, seconds: int
) -> None:
    """The same holds for a cut after the head, but not if two answers would be stored."""
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
async def test_too_many_tokens_per_minute_is_a_rate_limit(lane: bool, reply: bytes) -> None:
    """Bedrock, translated: the next provider is tried. Without one, the client is told to wait, not to shorten the
    prompt."""
    mode = {"open_responses_mode": "translate", "ejection": {"enabled": False}}
    async with origin(serve(reply)) as first, origin(serve(streamed(*text("hello")))) as second:
        async with running(pool(first.url, second.url, fallback=ON, **mode), lane=lane) as gateway:
            moved = await ask(gateway.port, create(stream=True))
        async with running(pool(first.url, fallback=ON, **mode), lane=lane) as gateway:
            alone = await ask(gateway.port, create(stream=True))
    assert b"hello" in moved.body
    assert (alone.status, alone.error["code"]) == (429, "rate_limit_exceeded")
