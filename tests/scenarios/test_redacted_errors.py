"""A provider's error that repeats the proxy's credential is redacted and otherwise unchanged."""

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
    """The body in chunks of three bytes, each in a read of its own as far as possible."""

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
async def test_a_credential_in_an_error_body_is_redacted(lane: bool, error: str) -> None:
    """Length and framing stay. A content coding is removed, since the decoded body has changed."""
    response, gateway = await answered(lane, ERRORS[error], post(b'{"model":"m"}'))
    assert (response.status, response.end, response.body) == (401, End.WHOLE, BLANKED)
    assert response.value(b"content-encoding") is None
    assert response.value(b"content-length") in (None, b"%d" % len(BLANKED))
    assert not tells(response, gateway)


@pytest.mark.either_door
@pytest.mark.parametrize("before", [b"", ZIPPED_NOTHING, ZIPPED_NOTHING[:-8], b"\xff\xff"])
async def test_an_invalid_gzip_body_is_redacted_as_plain_bytes(lane: bool, before: bytes) -> None:
    """The complete body, or the part after its valid gzip data, is searched. The number of bytes does not change."""
    error = answer(before + TOLD, b"401 No", JSON + b"Content-Encoding: gzip\r\n")
    response, gateway = await answered(lane, serve(error), post())
    assert response.body == before + BLANKED
    assert not tells(response, gateway)


@pytest.mark.either_door
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("stream", [b"true", b"false"])
async def test_a_trusted_providers_translated_error_is_redacted(lane: bool, error: str, stream: bytes) -> None:
    request = post(b'{"model":"m","input":"hi","stream":%b}' % stream, b"/v1/responses")
    trusted = {"open_responses_mode": "translate", "trusted": True}
    response, gateway = await answered(lane, ERRORS[error], request, **trusted)
    assert "Incorrect API key: ****" in str(response.error["message"])
    assert not tells(response, gateway)


@pytest.mark.parametrize("stream", [b"true", b"false"])
async def test_a_translated_error_inside_a_200_is_redacted(lane: bool, stream: bytes) -> None:
    """The error is the first event or the complete answer."""
    events = b"data: " + TOLD + b"\n\n" if stream == b"true" else TOLD
    kind = b"text/event-stream" if stream == b"true" else b"application/json"
    request = post(b'{"model":"m","input":"hi","stream":%b}' % stream, b"/v1/responses")
    trusted = {"open_responses_mode": "translate", "trusted": True}
    script = serve(answer(events, fields=b"Content-Type: %b\r\n" % kind))
    response, gateway = await answered(lane, script, request, **trusted)
    assert b"Incorrect API key: ****" in response.body
    assert not tells(response, gateway)


async def test_a_credential_in_the_query_is_redacted(lane: bool) -> None:
    """Some errors repeat the URL. Its other parts stay, because they help to understand the error."""
    said = b"cannot POST /v1/chat/completions?api-version=2024-10-21&api-key=sk-operator%2Fsecret%2B1"
    query = {"api-version": "2024-10-21", "api-key": KEY}
    response, gateway = await answered(
        lane, serve(answer(said, b"404 No")), post(b'{"model":"m"}'), query=query, onwards_key=None
    )
    assert response.body == said[:-24] + b"*" * 24
    assert not tells(response, gateway)


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/responses"])
async def test_a_credential_in_a_response_head_is_redacted(lane: bool, path: bytes) -> None:
    """This holds for the reason, the fields, and the fields of a translated error."""
    fields = b'X-Key: %b\r\nWWW-Authenticate: Bearer realm="%b"\r\n' % (KEY.encode(), b"sk-operator%2Fsecret%2B1")
    mode = "translate" if path.endswith(b"responses") else "native"
    script = serve(answer(b"{}", b"401 Bad " + KEY.encode(), fields))
    response, gateway = await answered(
        lane, script, post(b'{"model":"m","input":"hi"}', path), open_responses_mode=mode
    )
    assert response.value(b"x-key") == b"*" * len(KEY)
    assert not tells(response, gateway)


async def test_a_refused_handshake_is_redacted(lane: bool) -> None:
    for refusal in (ERRORS["whole"], ERRORS["in gzip"], serve(answer(b"", b"401 No", b"X: %b\r\n" % KEY.encode()))):
        response, gateway = await answered(lane, refusal, get(b"/v1/realtime?model=m", WS))
        assert (response.status, response.end) == (401, End.WHOLE)
        assert response.body in (BLANKED, b"")
        assert not tells(response, gateway)


@pytest.mark.either_door
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("hedge", [None, {"after": "1ms"}])
async def test_a_kept_response_of_a_pool_is_redacted(lane: bool, error: str, hedge: Json | None) -> None:
    """The response was kept in case all later ones are worse. Each provider has its own credential."""
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
async def test_other_bytes_are_not_changed(lane: bool, reply: bytes) -> None:
    response, _ = await answered(lane, serve(reply), post(b'{"model":"m"}'))
    assert response.head + response.body == reply


async def test_a_coded_error_that_is_too_large_is_replaced(lane: bool) -> None:
    """A few kilobytes decode to 4 MiB with the credential at the end. The body is the proxy's own; the status stays."""
    reply = answer(coded("gzip", b"x" * (4 << 20) + KEY.encode()), b"429 No", b"Content-Encoding: gzip\r\nX: y\r\n")
    response, _ = await answered(lane, serve(reply), post(b'{"model":"m"}'))
    assert (response.status, response.value(b"x"), response.value(b"content-encoding")) == (429, b"y", None)
    assert json.loads(response.body)["error"]["code"] == "bad_gateway"
