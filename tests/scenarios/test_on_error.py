"""``on_error``: an error's own code causes fallback, beside its status; a refusal of the content does not."""

from __future__ import annotations

import gzip
import json

import pytest
from support.chat_upstream import create, streamed, text, whole
from support.gateway import running
from support.origin import Script, answer, once, origin, serve
from support.raw import End, ask, post
from support.responses_promises import Json
from support.targets import pool

LISTED: Json = {"enabled": True, "on_error": ["context_length_exceeded", "Model_Busy"]}


def error(body: object, status: bytes = b"400 Bad Request", coding: bytes = b"") -> bytes:
    data = json.dumps(body).encode()
    fields = b"Content-Type: application/json\r\n"
    if coding:
        data, fields = gzip.compress(data), fields + b"Content-Encoding: gzip\r\n"
    return answer(data, status, fields)


TOO_LONG = {"error": {"message": "no", "type": "invalid_request_error", "code": "context_length_exceeded"}}
MOVES = {
    "a code": error(TOO_LONG),
    "a code in a coded body": error(TOO_LONG, coding=b"gzip"),
    "a type": error({"type": "error", "error": {"type": "model_busy", "message": "x"}}, b"409 Conflict"),
    "in words": error(
        {"error": {"message": "prompt is too long: 9 tokens > 8 maximum", "type": "invalid_request_error"}}
    ),
    "in another case": error({"error": {"code": "MODEL_BUSY"}}, b"500 Oops"),
    "at the top": error({"object": "error", "message": "x", "type": "model_busy", "code": 40001}),
    "inside another one": error({"error": {"code": "bad", "innererror": {"code": "model_busy"}}}),
}
STAYS = {
    "another code": error({"error": {"code": "invalid_value", "message": "temperature"}}),
    "no JSON": answer(b"model_busy", b"400 X"),
    "the code in a message": error({"error": {"code": "x", "message": "not model_busy"}}),
    "nothing": answer(b"", b"400 X"),
}


@pytest.mark.either_door
@pytest.mark.parametrize("case", MOVES)
async def test_a_listed_error_code_causes_fallback(lane: bool, case: str) -> None:
    """This does not depend on the status or ``on_status``. The client gets the last provider's error."""
    async with origin(serve(MOVES[case])) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=LISTED), lane=lane) as gateway:
            assert (await ask(gateway.port, post())).body == b'{"ok":true}'
        async with running(pool(first.url, fallback=LISTED), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert response.head + response.body == MOVES[case]


@pytest.mark.either_door
@pytest.mark.parametrize("case", STAYS)
async def test_an_unlisted_error_code_does_not_cause_fallback(lane: bool, case: str) -> None:
    """Every byte of the error passes unchanged, though the proxy has read it."""
    async with origin(serve(STAYS[case])) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=LISTED), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert response.head + response.body == STAYS[case]
    assert not second.requests
    assert [line["attempts"] for line in gateway.lines()] == [1]


CUT = (
    b"HTTP/1.1 400 Bad\r\nX-Request-Id: 7\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
    + json.dumps(TOO_LONG).encode()
)


@pytest.mark.either_door
@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/responses"])
@pytest.mark.parametrize("script", [once(CUT), serve(answer(b"x" * 1_100_000, b"400 Bad", b"X-Request-Id: 7\r\n"))])
async def test_an_error_that_cannot_be_read_keeps_its_status(lane: bool, script: Script, path: bytes) -> None:
    """The code is unknown, but a client error must not tell the client to retry."""
    async with origin(script) as first, origin() as second:
        targets = pool(first.url, second.url, fallback=LISTED, open_responses_mode="translate")
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post(b'{"model":"m","input":"hi"}', path))
    assert (response.status, response.end, response.value(b"x-request-id")) == (400, End.WHOLE, b"7")
    assert response.error["message"]
    assert not second.requests


@pytest.mark.either_door
@pytest.mark.parametrize(
    ("code", "more", "moves"),
    [
        ("content_filter", {}, False),
        ("content_policy_violation", {}, False),
        ("ResponsibleAIPolicyViolation", {}, False),
        ("content_filter", {"on_error": ["content_filter"]}, True),
        ("content_filter", {"retry_same": {"on_status": [4]}}, False),
        ("anything_else", {}, True),
    ],
)
async def test_a_content_filter_refusal_does_not_cause_fallback(lane: bool, code: str, more: Json, moves: bool) -> None:
    """Its status is listed. The proxy does not look for a provider without the filter, unless this is configured."""
    refused = error({"error": {"code": code, "message": "no"}})
    fallback = {"enabled": True, "on_status": [4, 5], **more}
    async with origin(serve(refused)) as first, origin() as second:
        async with running(pool(first.url, second.url, fallback=fallback), lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert response.status == (200 if moves else 400)
    assert (len(first.requests), len(second.requests)) == (1, int(moves))


@pytest.mark.parametrize(
    ("code", "moves"), [("context_length_exceeded", True), ("content_filter", False), ("invalid_value", False)]
)
async def test_a_code_inside_a_held_200_causes_fallback(lane: bool, code: str, moves: bool) -> None:
    """The status of the error, 400, is not listed."""
    failing = streamed(b'data: {"error":{"code":"%b"}}\n\n' % code.encode())
    async with origin(serve(failing)) as first, origin() as second:
        targets = pool(first.url, second.url, fallback={**LISTED, "hold": {}})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post())
    assert (response.body == b'{"ok":true}') is moves
    assert len(second.requests) == int(moves)


@pytest.mark.either_door
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("inside", [True, False])
async def test_a_code_of_a_translated_error_causes_fallback(lane: bool, stream: bool, inside: bool) -> None:
    """The error is an HTTP status, or the first event or the complete body of a 200."""
    told = json.dumps(TOO_LONG).encode()
    inside_200 = streamed(b"data: %b\n\n" % told) if stream else answer(told)
    good = streamed(*text("well")) if stream else whole("well")
    async with origin(serve(inside_200 if inside else error(TOO_LONG))) as first, origin(serve(good)) as second:
        targets = pool(first.url, second.url, fallback=LISTED, open_responses_mode="translate")
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, create(stream=stream))
    assert b"well" in response.body
    assert [line["attempts"] for line in gateway.lines()] == [2]


WORDS = "prompt is too long: 9 tokens > 8 maximum"
EVENTS: dict[str, object] = {
    "an error": {"error": {"message": WORDS, "type": "invalid_request_error"}},
    "an error with a number": {"error": {"message": WORDS, "code": 500}},
    "a string": {"error": WORDS},
    "an array": [{"error": {"code": 400, "message": WORDS, "status": "INVALID_ARGUMENT"}}],
    "nothing around it": {"message": WORDS},
    "a code": {"error": {"message": "x", "type": "t", "code": "model_busy"}},
    "a type": {"error": {"message": "x", "type": "model_busy"}},
    "a code inside": {"error": {"message": "x", "innererror": {"code": "MODEL_BUSY"}}},
}


@pytest.mark.either_door
@pytest.mark.parametrize("way", ["native, held", "translated", "translated, held", "translated, trusted"])
@pytest.mark.parametrize("case", EVENTS)
async def test_codes_and_messages_in_the_first_event_cause_fallback(lane: bool, way: str, case: str) -> None:
    """The same codes count in every mode, whether or not the client may get the provider's messages."""
    translated = "translated" in way
    failing = streamed(b"data: %b\n\n" % json.dumps(EVENTS[case]).encode())
    more: Json = {"open_responses_mode": "translate"} if translated else {}
    fallback = {**LISTED, **({"hold": {}} if "held" in way else {})}
    request = create(stream=True) if translated else post(b'{"model":"m","stream":true}')
    async with origin(serve(failing)) as first, origin(serve(streamed(*text("well")))) as second:
        targets = pool(first.url, second.url, fallback=fallback, trusted="trusted" in way, **more)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, request)
    assert b"well" in response.body
    assert [line["attempts"] for line in gateway.lines()] == [2]


@pytest.mark.either_door
@pytest.mark.parametrize("translated", [False, True])
@pytest.mark.parametrize(
    ("words", "moves"), [("Blocked by the content management policy.", False), ("Temperature is too high.", True)]
)
async def test_a_refusal_in_the_message_does_not_cause_fallback(
    lane: bool, translated: bool, words: str, moves: bool
) -> None:
    """This holds inside a 200 and with an error status; 400 is listed."""
    told = {"error": {"message": words, "type": "invalid_request_error"}}
    more: Json = {"open_responses_mode": "translate"} if translated else {}
    request = create(stream=True) if translated else post(b'{"model":"m","stream":true}')
    for failing in (error(told), streamed(b"data: %b\n\n" % json.dumps(told).encode())):
        async with origin(serve(failing)) as first, origin(serve(streamed(*text("well")))) as second:
            targets = pool(first.url, second.url, fallback={"enabled": True, "on_status": [4], "hold": {}}, **more)
            async with running(targets, lane=lane) as gateway:
                assert (b"well" in (await ask(gateway.port, request)).body) is moves
