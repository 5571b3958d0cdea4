"""The body, a form or a header names the requested model; a request that does not name one clearly gets 400."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from support.gateway import running
from support.origin import origin
from support.raw import ask, get, post
from support.targets import single, snapshot

BOUNDARY = b"Content-Type: multipart/form-data; boundary=xYz\r\n"
MODEL_PART = b'--xYz\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
FILE_PART = (
    b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n\x00\xff\r\n--xY\r\nmodel\r\n"
)

ROUTED = {
    "plain": b'{"model":"org/m"}',
    "escaped slash, as PHP writes it": rb'{"model":"org\/m"}',
    "escaped letters in the name": rb'{"model":"\u006frg/\u006d"}',
    "escaped letters in the key": rb'{"mod\u0065l":"org/m"}',
    "white space everywhere": b' \t\r\n{ "model" :\n"org/m" }\r\n ',
    "behind the messages": b'{"messages":[{"role":"user","content":"hi"}],"model":"org/m"}',
    "another model inside an object": b'{"metadata":{"model":"other"},"model":"org/m"}',
    "another model inside a list": b'{"a":[{"model":"other"}],"model":"org/m"}',
    "the words inside a string": rb'{"content":"\"model\":\"other\"","model":"org/m"}',
    "provider's own controls": b'{"model":"org/m","chat_template_kwargs":{"thinking":true},"reasoning":null}',
    "text that was cut in half a surrogate pair": rb'{"model":"org/m","x":"cut \ud83d"}',
    "halves of pairs in keys and lists, before the model": rb'{"\ude00":[["\uD83D\u0041"]],"model":"org/m"}',
    "numbers that no float holds": b'{"seed":123456789012345678901,"x":1.10,"model":"org/m"}',
}

REFUSED = {
    "no body": b"",
    "empty object": b"{}",
    "not an object": b'["model","m"]',
    "a string": b'"m"',
    "not JSON": b"model=m",
    "trailing garbage": b'{"model":"m"} x',
    "two documents": b'{"model":"m"}{"model":"m"}',
    "cut off": b'{"model":"m"',
    "null": b'{"model":null}',
    "a number": b'{"model":1}',
    "a list": b'{"model":["m"]}',
    "an object": b'{"model":{"id":"m"}}',
    "empty name": b'{"model":""}',
    "twice": b'{"model":"m","model":"m"}',
    "twice, the other in between": b'{"model":"other","x":1,"model":"m"}',
    "twice, once in another spelling": rb'{"mod\u0065l":"m","model":"m"}',
    "twice, once in capitals, as Go reads it": b'{"model":"m","Model":"other"}',
    "twice, once in escaped capitals": rb'{"\u004dodel":"other","model":"m"}',
    "only inside another object": b'{"x":{"model":"m"}}',
    "key in capitals": b'{"Model":"m"}',
    "invalid UTF-8": b'{"x":"\xff","model":"m"}',
    "invalid UTF-8 in the name": b'{"model":"m\xc3"}',
    "lone surrogate in the name": rb'{"model":"m\ud800"}',
    "UTF-16": '{"model":"m"}'.encode("utf-16"),
    "too deep": b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"model":"m"}',
    "bare NaN": b'{"x":NaN,"model":"m"}',
}

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "br": brotli.compress,
    "deflate": zlib.compress,
}


@pytest.mark.either_door
@pytest.mark.parametrize("case", ROUTED)
async def test_a_body_names_the_target_and_arrives_as_it_was(lane: bool, case: str) -> None:
    """Every legal spelling of one top-level ``model`` selects the target. No byte of the body changes."""
    async with origin() as upstream:
        targets = snapshot({"org/m": {"url": upstream.url}, "other": {"url": "http://127.0.0.1:1"}})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post(ROUTED[case]))
    assert (response.status, response.body) == (200, b'{"ok":true}')
    assert upstream.last.body == ROUTED[case]


@pytest.mark.either_door
@pytest.mark.parametrize("case", REFUSED)
async def test_a_body_that_names_no_single_model_is_refused(lane: bool, case: str) -> None:
    """The response is 400 and names the parameter. No provider gets the request."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(REFUSED[case]))
    assert response.status == 400
    assert response.error["param"] == "model"
    assert response.error["type"] == "invalid_request_error"
    assert not upstream.requests


@pytest.mark.parametrize("parts", [MODEL_PART + FILE_PART, FILE_PART + MODEL_PART], ids=["before", "behind"])
async def test_a_form_names_the_target_wherever_its_model_part_stands(lane: bool, parts: bytes) -> None:
    """Design section 6: clients put ``model`` before or after the file. The form passes unchanged."""
    body = parts + b"--xYz--\r\n"
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(body, b"/v1/audio/transcriptions", BOUNDARY))
    assert response.status == 200
    assert upstream.last.body == body
    assert upstream.last.values(b"content-type") == [b"multipart/form-data; boundary=xYz"]


@pytest.mark.parametrize("parts", [FILE_PART, MODEL_PART + MODEL_PART], ids=["none", "two"])
async def test_a_form_without_one_model_part_is_refused(lane: bool, parts: bytes) -> None:
    """A form without a model part is refused, and so is one with two."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(parts + b"--xYz--\r\n", b"/v1/audio/transcriptions", BOUNDARY))
    assert (response.status, response.error["param"]) == (400, "model")
    assert not upstream.requests


@pytest.mark.either_door
@pytest.mark.parametrize("coding", CODINGS)
async def test_a_coded_body_is_read_in_a_copy_and_arrives_as_it_was(lane: bool, coding: str) -> None:
    """Codex sends zstd. The name is read in a decoded copy; the original bytes and their Content-Encoding are
    forwarded."""
    body = CODINGS[coding](b'{"model":"m","input":"' + b"a" * 5000 + b'"}')
    fields = b"Content-Encoding: %b\r\n" % coding.encode()
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(body, b"/v1/responses", fields))
    assert response.status == 200
    assert upstream.last.body == body
    assert upstream.last.values(b"content-encoding") == [coding.encode()]


@pytest.mark.either_door
@pytest.mark.parametrize("coding", CODINGS)
async def test_an_invalidly_coded_body_is_a_client_error(lane: bool, coding: str) -> None:
    """The response is not 500, and the body is not forwarded."""
    fields = b"Content-Encoding: %b\r\n" % coding.encode()
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(b"\x01" * 40, b"/v1/responses", fields))
    assert response.status == 400
    assert not upstream.requests


async def test_an_unknown_coding_is_415(lane: bool) -> None:
    """The model cannot be read in a coding that the proxy cannot decode."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(b"x", fields=b"Content-Encoding: compress\r\n"))
    assert (response.status, response.error["code"]) == (415, "unsupported_content_encoding")
    assert not upstream.requests


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_body_that_inflates_beyond_max_body_is_413(lane: bool, coding: str) -> None:
    """The limit applies to the decoded copy, so a small compressed body cannot fill the memory."""
    bomb = CODINGS[coding](b'{"model":"m","input":"' + b"a" * 1_000_000 + b'"}')
    fields = b"Content-Encoding: %b\r\n" % coding.encode()
    async with origin() as upstream, running(single(upstream.url, max_body="100kB"), lane=lane) as gateway:
        response = await ask(gateway.port, post(bomb, fields=fields))
    assert (response.status, response.error["code"]) == (413, "payload_too_large")
    assert not upstream.requests


@pytest.mark.parametrize("name", [b"model-override", b"Model-Override", b"MODEL-OVERRIDE"])
async def test_the_header_takes_precedence_over_the_body(lane: bool, name: bytes) -> None:
    """The header, in any case, selects the target and is not forwarded. The body keeps its own name."""
    body = b'{"model":"other"}'
    async with origin() as upstream:
        targets = snapshot({"m": {"url": upstream.url}, "other": {"url": "http://127.0.0.1:1"}})
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, post(body, fields=b"%b: m\r\n" % name))
    assert response.status == 200
    assert upstream.last.body == body
    assert not upstream.last.values(b"model-override")


@pytest.mark.either_door
@pytest.mark.parametrize("value", [b"", b"  ", b"\xff\xfe", b"m\xc3"], ids=["empty", "blank", "not UTF-8", "cut UTF-8"])
async def test_an_empty_header_is_refused_although_the_body_names_a_model(lane: bool, value: bytes) -> None:
    """The response is 400."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(fields=b"Model-Override: %b\r\n" % value))
    assert (response.status, response.error["param"]) == (400, "model")
    assert not upstream.requests


async def test_with_the_header_any_body_is_forwarded(lane: bool) -> None:
    """Audio and octet streams are forwarded unchanged."""
    body = bytes(range(256)) * 40
    fields = b"Model-Override: m\r\nContent-Type: audio/wav\r\n"
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(body, b"/v1/audio/x", fields))
    assert response.status == 200
    assert upstream.last.body == body


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"OPTIONS"])
async def test_a_request_without_body_is_routed_by_the_header(lane: bool, method: bytes) -> None:
    """It is forwarded with its query, and without a Content-Length that the client did not send."""
    request = get(b"/v1/organization/usage?x=1", b"Model-Override: m\r\n").replace(b"GET", method, 1)
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, request)
    assert response.status == 200
    assert (upstream.last.method, upstream.last.target) == (method, b"/v1/organization/usage?x=1")
    assert not upstream.last.values(b"content-length")


async def test_a_get_without_the_header_is_refused(lane: bool) -> None:
    """``?model=`` is for WebSocket upgrades only."""
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, get(b"/v1/files?model=m"))
    assert (response.status, response.error["param"]) == (400, "model")
    assert not upstream.requests


@pytest.mark.either_door
@pytest.mark.parametrize("name", ["M", "m ", "m/x", "nothing", "ⅿ"])
async def test_names_match_exactly(lane: bool, name: str) -> None:
    """There is no case folding, no prefix match and no Unicode compatibility form. The response is 404 and names the
    model."""
    body = b'{"model":"%b"}' % name.encode()
    async with origin() as upstream, running(single(upstream.url), lane=lane) as gateway:
        response = await ask(gateway.port, post(body))
    assert response.status == 404
    assert (response.error["code"], response.error["param"]) == ("model_not_found", "model")
    assert name in str(response.error["message"])
    assert not upstream.requests
