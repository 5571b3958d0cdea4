"""Translate mode: a request of the Responses API reaches the provider as a valid Chat Completions request."""

from __future__ import annotations

import gzip
import json
from itertools import cycle, product

import pytest
import zstandard
from support.chat_upstream import create, streamed, text, whole
from support.gateway import running
from support.origin import Received, origin, serve
from support.raw import Response, ask, get, post
from support.responses_promises import Json
from support.scene import proxied
from support.targets import single, snapshot

CODINGS = {b"zstd": zstandard.ZstdCompressor().compress, b"gzip": gzip.compress}
WEB_SEARCH: Json = {"type": "web_search"}
FUNCTION: Json = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}


async def sent(lane: bool, request: bytes, base: str = "", **options: object) -> Received:
    """The request that the provider, whose URL ends with ``base``, gets for ``request``."""
    async with origin(serve(whole("hello"))) as upstream:
        targets = single(upstream.url + base, open_responses_mode="translate", **options)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, request)
    assert response.status == 200, response.body
    return upstream.last


async def refused(lane: bool, request: bytes, **options: object) -> Response:
    """The response to a request that no provider may get."""
    async with proxied(lane, **{"open_responses_mode": "translate", **options}) as (upstream, gateway):
        response = await ask(gateway.port, request)
    assert not upstream.requests
    assert response.value(b"content-type") == b"application/json"
    return response


def chat_of(received: Received) -> Json:
    value = json.loads(received.body)
    assert isinstance(value, dict)
    return value


async def test_the_provider_gets_a_chat_completion_request(lane: bool) -> None:
    """Path, body and length are new; the method is still POST with JSON."""
    received = await sent(lane, create(instructions="Be short.", max_output_tokens=16))
    assert (received.method, received.target) == (b"POST", b"/v1/chat/completions")
    assert received.values(b"content-type") == [b"application/json"]
    assert received.values(b"content-length") == [b"%d" % len(received.body)]
    chat = chat_of(received)
    assert chat["messages"] == [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hi"}]
    assert (chat["model"], chat["max_tokens"]) == ("m", 16)
    assert "input" not in chat


@pytest.mark.either_door
@pytest.mark.parametrize(
    ("base", "target", "expected"),
    [
        ("", b"/v1/responses", b"/v1/chat/completions"),
        ("/v1", b"/v1/responses", b"/v1/chat/completions"),
        ("/api", b"/v1/responses?api-version=2&x=%2F", b"/api/v1/chat/completions?api-version=2&x=%2F"),
        ("", b"/responses/", b"/chat/completions"),
    ],
)
async def test_only_the_last_part_of_the_path_changes(lane: bool, base: str, target: bytes, expected: bytes) -> None:
    """The provider's prefix is that of native mode. The query does not change."""
    assert (await sent(lane, create(target), base)).target == expected


async def test_the_model_is_the_providers(lane: bool) -> None:
    """``onwards_model`` replaces the name, as in native mode."""
    assert chat_of(await sent(lane, create(), onwards_model="their/model"))["model"] == "their/model"


async def test_host_and_credential_are_the_providers(lane: bool) -> None:
    """The client's own key is not forwarded."""
    request = create(fields=b"Authorization: Bearer sk-client\r\nX-Own: kept\r\n")
    received = await sent(lane, request, onwards_key="sk-provider")
    (host,) = received.values(b"host")
    assert host.startswith(b"127.0.0.1:")
    assert received.values(b"authorization") == [b"Bearer sk-provider"]
    assert received.values(b"x-own") == [b"kept"]
    assert b"sk-client" not in received.raw


async def test_no_content_coding_is_requested(lane: bool) -> None:
    """The proxy must read the response."""
    received = await sent(lane, create(fields=b"Accept-Encoding: gzip, br\r\nAccept-Language: de\r\n"))
    assert received.values(b"accept-encoding") == []
    assert received.values(b"accept-language") == [b"de"]


@pytest.mark.either_door
@pytest.mark.parametrize("override", [b"", b"Model-Override: m\r\n"], ids=["by body", "by header"])
@pytest.mark.parametrize("coding", CODINGS)
async def test_g15_a_coded_request_is_decoded(lane: bool, coding: bytes, override: bytes) -> None:
    """Codex sends zstd. The chat request is not compressed, whichever way the model was named."""
    body = json.dumps({"model": "m", "input": "hi"}).encode()
    fields = b"Content-Type: application/json\r\nContent-Encoding: %b\r\n" % coding + override
    received = await sent(lane, post(CODINGS[coding](body), b"/v1/responses", fields))
    assert received.values(b"content-encoding") == []
    assert chat_of(received)["messages"] == [{"role": "user", "content": "hi"}]


async def test_a_model_named_by_header_needs_none_in_the_body(lane: bool) -> None:
    """The provider still gets the model."""
    request = post(b'{"input":"hi"}', b"/v1/responses", b"Model-Override: m\r\n")
    assert chat_of(await sent(lane, request))["model"] == "m"


async def test_the_proxys_own_fields_are_not_forwarded(lane: bool) -> None:
    """The profile header is for the proxy."""
    received = await sent(lane, create(fields=b"X-Onwards-Profile: openai\r\n"))
    assert received.values(b"x-onwards-profile") == []


async def test_a_streamed_request_asks_for_usage(lane: bool) -> None:
    """Without the usage chunk, the client would get zeros."""
    async with proxied(lane, serve(streamed(*text("a"))), open_responses_mode="translate") as (upstream, gateway):
        await ask(gateway.port, create(stream=True))
    chat = chat_of(upstream.last)
    assert (chat["stream"], chat["stream_options"]) == (True, {"include_usage": True})


async def test_other_paths_stay_native(lane: bool) -> None:
    """Chat Completions pass unchanged."""
    body = b'{ "model":"m", "messages":[] }'
    received = await sent(lane, post(body, fields=b"Accept-Encoding: gzip\r\n"))
    assert (received.target, received.body) == (b"/v1/chat/completions", body)
    assert received.values(b"accept-encoding") == [b"gzip"]


async def test_text_with_half_a_character_is_translated(lane: bool) -> None:
    """JavaScript cuts strings this way. In native mode the text passes unchanged."""
    assert chat_of(await sent(lane, create(input="cut \ud83d")))["messages"] == [
        {"role": "user", "content": "cut \ufffd"}
    ]


async def test_dropped_members_are_named(lane: bool) -> None:
    """``x-onwards-dropped`` lists all members that were not translated."""
    options = {"open_responses_mode": "translate", "translate": {"hosted_tools": "drop"}}
    async with proxied(lane, serve(whole("x")), **options) as (_, gateway):
        lossy = await ask(gateway.port, create(tools=[FUNCTION, WEB_SEARCH]))
        lossless = await ask(gateway.port, create(tools=[FUNCTION]))
        metrics = (await ask(gateway.admin_port, get(b"/metrics"))).body
    assert b"tools" in (lossy.value(b"x-onwards-dropped") or b"")
    assert lossless.value(b"x-onwards-dropped") is None
    assert b"dropped" in metrics


async def test_untranslatable_members_are_refused_by_name(lane: bool) -> None:
    """The client gets 400 in the envelope with the member's name. The provider gets no request."""
    response = await refused(lane, create(tools=[WEB_SEARCH]), translate={"hosted_tools": "reject"})
    assert response.status == 400
    assert response.error["param"] == "tools[0].type"
    assert response.error["type"] == "invalid_request_error"


@pytest.mark.either_door
@pytest.mark.parametrize(
    "body", [b'{"model":"m","input":', b'["m"]', b"{}", b'{"model":"m"}', b'{"model":"m","input":7}', b""]
)
async def test_an_invalid_request_is_refused(lane: bool, body: bytes) -> None:
    """The proxy sends 400 in the envelope."""
    assert (await refused(lane, post(body, b"/v1/responses"))).status == 400


@pytest.mark.parametrize(
    "request_",
    [get(b"/v1/responses/resp_1"), get(b"/v1/responses/resp_1/input_items"), b"DELETE"],
    ids=["retrieve", "list items", "delete"],
)
async def test_stored_responses_are_not_found(lane: bool, request_: bytes) -> None:
    """The client gets 404 in the envelope if a header names the target."""
    field = b"Model-Override: m\r\n"
    if request_ == b"DELETE":
        request_ = b"DELETE /v1/responses/resp_1 HTTP/1.1\r\nHost: gw\r\n\r\n"
    response = await refused(lane, request_.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n"))
    assert response.status == 404
    assert response.error["code"] == "not_found"


OVERRIDE = b"Model-Override: m\r\n"


def asked(method: bytes, path: bytes, fields: bytes = b"", body: bytes = b"") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n%b\r\n%b" % (method, path, len(body), fields, body)


FORMS = [(OVERRIDE, b""), (b"", b""), (b"", b"{}"), (b"", b'{"model":"m"}'), (b"Content-Encoding: identity\r\n", b"{}")]


EACH_KIND = [
    ("responses", b"GET", b"/v1/responses/resp_1", 404),
    ("responses", b"GET", b"/v1/responses", 405),
    ("chat", b"GET", b"/v1/chat/completions/chatcmpl-1", 404),
    ("chat", b"GET", b"/v1/chat/completions", 405),
    ("disabled", b"GET", b"/v1/responses/resp_1", 404),
]
OTHER_PATHS = [
    ("responses", b"DELETE", b"/v1/responses/resp_1?x=1", 404),
    ("responses", b"POST", b"/v1/responses/resp_1/cancel", 404),
    ("responses", b"POST", b"/v1/responses/compact/", 404),
    ("responses", b"POST", b"/v1/responses/resp_1/responses", 404),
    ("responses", b"POST", b"/v1/responses/responses/input_tokens", 404),
    ("responses", b"PUT", b"/v1/responses/", 405),
    ("responses", b"GET", b"/responses/input_tokens", 405),
    ("chat", b"POST", b"/v1/chat/completions/chatcmpl-1/messages", 404),
    ("chat", b"DELETE", b"/v1/chat/completions?limit=1", 405),
    ("disabled", b"GET", b"/v1/responses", 404),
]


@pytest.mark.either_door
@pytest.mark.parametrize(
    ("case", "form"),
    [*product(EACH_KIND, FORMS), *zip(OTHER_PATHS, cycle(FORMS), strict=False)],
)
async def test_unknown_paths_and_wrong_methods_of_a_translated_api(
    lane: bool, case: tuple[str, bytes, bytes, int], form: tuple[bytes, bytes]
) -> None:
    """The client gets 404, or 405 with the allowed method: with a model, and without one if no target serves the
    path."""
    (mode, method, path, status), (fields, body) = case, form
    options = {"chat_completions_mode": "translate", "open_responses_mode": "native"} if mode == "chat" else {}
    if mode == "disabled":
        options = {"open_responses_mode": "disabled"}
    response = await refused(lane, asked(method, path, fields, body), **options)
    assert (response.status, response.value(b"allow")) == (status, b"POST" if status == 405 else None)
    assert response.error["code"] == ("not_found" if status == 404 else "method_not_allowed")


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_a_stored_response_needs_a_model_if_a_native_target_exists(lane: bool, method: bytes) -> None:
    """Only the header can name the target of a stored response, and the message explains this."""
    async with origin() as upstream:
        targets = {"m": {"url": upstream.url, "open_responses_mode": "translate"}, "n": {"url": upstream.url}}
        async with running(snapshot(targets), lane=lane) as gateway:
            response = await ask(gateway.port, asked(method, b"/v1/responses/resp_1"))
    assert response.status == 400
    assert "Model-Override" in str(response.error["message"])


async def test_a_request_that_creates_a_response_needs_a_model(lane: bool) -> None:
    """The path is right, and the message names the missing model."""
    assert (await refused(lane, asked(b"POST", b"/v1/responses", body=b'{"input":"x"}'))).error["param"] == "model"


async def test_apis_decide_what_is_translated_and_what_is_refused(lane: bool) -> None:
    """`apis`: a request for an API that the provider lacks is translated to one that it has, or refused with 404.
    Other requests pass."""
    only_chat: Json = {"open_responses_mode": None, "apis": ["chat_completions"]}
    async with origin(serve(whole("hello"))) as upstream, running(single(upstream.url, **only_chat), lane=lane) as own:
        response = await ask(own.port, create())
        message = await ask(own.port, asked(b"POST", b"/v1/messages", body=b'{"model":"m"}'))
        embedding = await ask(own.port, asked(b"POST", b"/v1/embeddings", body=b'{"model":"m"}'))
    assert (response.status, message.status, embedding.status) == (200, 404, 200)
    assert message.error["message"] == "The Messages API is not served for this model."
    assert [received.target for received in upstream.requests] == [b"/v1/chat/completions", b"/v1/embeddings"]


@pytest.mark.parametrize("request_", [create(), create(stream=True), create(b"/v1/responses/resp_1/cancel")])
async def test_disabled_is_not_found(lane: bool, request_: bytes) -> None:
    """``open_responses_mode: disabled`` gives 404 in the envelope for every request."""
    response = await refused(lane, request_, open_responses_mode="disabled")
    assert response.status == 404
    assert response.error["code"] == "not_found"
