"""A provider's error that repeats our credential is told without it, and otherwise as it came."""

from __future__ import annotations

import gzip
import json

import pytest
from support.coders import coded
from support.gateway import Gateway, running
from support.origin import Peer, Script, answer, chunk, origin, serve
from support.raw import End, Response, ask, get, post
from support.responses_promises import Json
from support.targets import snapshot

KEY = "sk-operator/secret+1"
SPELLINGS = (KEY, KEY.replace("/", "\\/"), "sk-operator%2Fsecret%2B1", "operator", "secret+1")
TOLD = b'{"error":{"message":"Incorrect API key: %b","code":"x"}}' % KEY.encode()
BLANKED = TOLD.replace(KEY.encode(), b"*" * len(KEY))
JSON = b"Content-Type: application/json\r\n"
STREAMED = b"HTTP/1.1 401 No\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
WS = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
)


def in_pieces(content_type: bytes = b"application/json") -> Script:
    """The body chunk by chunk, each of three bytes, and in a read of its own as far as the machine lets it."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(STREAMED % content_type)
            for at in range(0, len(TOLD), 3):
                await peer.send(chunk(TOLD[at : at + 3]))
            await peer.send(b"0\r\n\r\n")

    return script


ZIPPED = coded("gzip", TOLD)
ZIPPED_NOTHING = coded("gzip", b"{}")
ERRORS: dict[str, Script] = {
    "whole": serve(answer(TOLD, b"401 No", JSON)),
    "in pieces": in_pieces(),
    "as events": in_pieces(b"text/event-stream"),
    "in gzip": serve(answer(ZIPPED, b"401 No", JSON + b"Content-Encoding: gzip\r\nETag: x\r\n")),
    "in gzip, of which nothing else is said": serve(answer(ZIPPED, b"401 No", b"Content-Encoding: gzip\r\n")),
    "in gzip twice": serve(answer(gzip.compress(ZIPPED), b"401 No", b"Content-Encoding: gzip, gzip\r\n")),
    "in many members of gzip": serve(
        answer(gzip.compress(b"") * 100 + ZIPPED, b"401 No", b"Content-Encoding: gzip\r\n")
    ),
    "in zstd": serve(answer(coded("zstd", TOLD), b"401 No", JSON + b"Content-Encoding: zstd\r\n")),
}


async def answered(lane: bool, script: Script, request: bytes, **options: object) -> tuple[Response, Gateway]:
    async with origin(script) as upstream:
        target = {"url": upstream.url, "onwards_key": KEY, **options}
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            return await ask(gateway.port, request), gateway


def tells(response: Response, gateway: Gateway) -> bool:
    said = (response.head + response.body + gateway.log.getvalue()).decode("latin-1")
    return any(spelling in said for spelling in SPELLINGS)


@pytest.mark.either_door
@pytest.mark.parametrize("error", ERRORS)
async def test_an_error_is_told_without_the_credential(lane: bool, error: str) -> None:
    """Same length, same framing; a content coding is gone, since what was in it is another thing now."""
    response, gateway = await answered(lane, ERRORS[error], post(b'{"model":"m"}'))
    assert (response.status, response.end, response.body) == (401, End.WHOLE, BLANKED)
    assert response.value(b"content-encoding") is None
    assert response.value(b"content-length") in (None, b"%d" % len(BLANKED))
    assert not tells(response, gateway)


@pytest.mark.either_door
@pytest.mark.parametrize("before", [b"", ZIPPED_NOTHING, ZIPPED_NOTHING[:-8], b"\xff\xff"])
async def test_what_is_called_gzip_and_is_not_is_searched_as_it_is(lane: bool, before: bytes) -> None:
    """All of it, or behind what is; as many bytes go out as came."""
    error = answer(before + TOLD, b"401 No", JSON + b"Content-Encoding: gzip\r\n")
    response, gateway = await answered(lane, serve(error), post())
    assert response.body == before + BLANKED
    assert not tells(response, gateway)


@pytest.mark.either_door
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("stream", [b"true", b"false"])
async def test_a_translated_error_in_a_trusted_providers_words(lane: bool, error: str, stream: bytes) -> None:
    request = post(b'{"model":"m","input":"hi","stream":%b}' % stream, b"/v1/responses")
    trusted = {"open_responses_mode": "translate", "trusted": True}
    response, gateway = await answered(lane, ERRORS[error], request, **trusted)
    assert "Incorrect API key: ****" in str(response.error["message"])
    assert not tells(response, gateway)


@pytest.mark.parametrize("stream", [b"true", b"false"])
async def test_a_translated_error_inside_a_200(lane: bool, stream: bytes) -> None:
    """As its first event, or where the answer was to be."""
    events = b"data: " + TOLD + b"\n\n" if stream == b"true" else TOLD
    kind = b"text/event-stream" if stream == b"true" else b"application/json"
    request = post(b'{"model":"m","input":"hi","stream":%b}' % stream, b"/v1/responses")
    trusted = {"open_responses_mode": "translate", "trusted": True}
    script = serve(answer(events, fields=b"Content-Type: %b\r\n" % kind))
    response, gateway = await answered(lane, script, request, **trusted)
    assert b"Incorrect API key: ****" in response.body
    assert not tells(response, gateway)


async def test_a_credential_in_the_query_is_not_told(lane: bool) -> None:
    """Whoever repeats the URL; what is no credential in it helps to understand the error."""
    said = b"cannot POST /v1/chat/completions?api-version=2024-10-21&api-key=sk-operator%2Fsecret%2B1"
    query = {"api-version": "2024-10-21", "api-key": KEY}
    response, gateway = await answered(
        lane, serve(answer(said, b"404 No")), post(b'{"model":"m"}'), query=query, onwards_key=None
    )
    assert response.body == said[:-24] + b"*" * 24
    assert not tells(response, gateway)


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/responses"])
async def test_heads_are_told_without_it(lane: bool, path: bytes) -> None:
    """Reason, fields, and those that a translated error takes over."""
    fields = b'X-Key: %b\r\nWWW-Authenticate: Bearer realm="%b"\r\n' % (KEY.encode(), b"sk-operator%2Fsecret%2B1")
    mode = "translate" if path.endswith(b"responses") else "native"
    script = serve(answer(b"{}", b"401 Bad " + KEY.encode(), fields))
    response, gateway = await answered(
        lane, script, post(b'{"model":"m","input":"hi"}', path), open_responses_mode=mode
    )
    assert response.value(b"x-key") == b"*" * len(KEY)
    assert not tells(response, gateway)


async def test_a_refused_handshake_is_told_without_it(lane: bool) -> None:
    for refusal in (ERRORS["whole"], ERRORS["in gzip"], serve(answer(b"", b"401 No", b"X: %b\r\n" % KEY.encode()))):
        response, gateway = await answered(lane, refusal, get(b"/v1/realtime?model=m", WS))
        assert (response.status, response.end) == (401, End.WHOLE)
        assert response.body in (BLANKED, b"")
        assert not tells(response, gateway)


@pytest.mark.either_door
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("hedge", [None, {"after": "1ms"}])
async def test_the_last_answer_of_a_pool_is_told_without_it(lane: bool, error: str, hedge: Json | None) -> None:
    """One that was kept in case all others are worse; each provider has a credential of its own."""
    second = serve(answer(b"%b" % KEY.replace("1", "2").encode(), b"503 No"))
    async with origin(ERRORS[error]) as one, origin(second) as two:
        providers = [
            {"url": one.url, "onwards_key": KEY},
            {"url": two.url, "onwards_key": KEY.replace("1", "2")},
        ]
        target: Json = {"strategy": "priority", "providers": providers}
        target |= {"fallback": {"enabled": True, "on_status": [401, 503]}}
        if hedge is not None:
            target["hedge"] = hedge
        async with running(snapshot({"m": target}), lane=lane) as gateway:
            response = await ask(gateway.port, post(b'{"model":"m"}'))
    assert response.status in (401, 503)
    assert not tells(response, gateway)


@pytest.mark.parametrize(
    "reply",
    [
        answer(ZIPPED, b"200 OK", JSON + b"Content-Encoding: gzip\r\n"),
        answer(coded("gzip", b"no"), b"401 No", b"Content-Encoding: gzip\r\n"),
        answer(TOLD.replace(b"operator", b"stranger"), b"401 No"),
    ],
    ids=["an answer", "a coded error without it", "somebody else's key"],
)
async def test_all_else_is_left_alone(lane: bool, reply: bytes) -> None:
    response, _ = await answered(lane, serve(reply), post(b'{"model":"m"}'))
    assert response.head + response.body == reply


async def test_a_coded_error_that_is_too_large_is_told_in_our_words(lane: bool) -> None:
    """4 MiB that unfold from a few kilobytes, the credential behind them: the status stays."""
    reply = answer(coded("gzip", b"x" * (4 << 20) + KEY.encode()), b"429 No", b"Content-Encoding: gzip\r\nX: y\r\n")
    response, _ = await answered(lane, serve(reply), post(b'{"model":"m"}'))
    assert (response.status, response.value(b"x"), response.value(b"content-encoding")) == (429, b"y", None)
    assert json.loads(response.body)["error"]["code"] == "bad_gateway"
