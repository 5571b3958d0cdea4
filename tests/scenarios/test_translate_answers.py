"""Translate mode: a provider's chat answer reaches the client as a valid answer of the Responses API."""

from __future__ import annotations

import json

import pytest
from support.chat_upstream import DONE, create, end, error, frame, streamed, text, whole
from support.origin import STREAM_HEAD, Peer, answer, chunk, once, serve
from support.raw import Response, ask, connect, get
from support.responses_oracle import check_resource, check_wire, events_of
from support.responses_promises import Json, as_dict, as_list
from support.scene import proxied

TOOLS = [{"type": "function", "name": "weather", "description": None, "parameters": {"type": "object"}, "strict": None}]
CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}
MESSAGES: dict[str, Json] = {
    "text": {"content": "Hello there."},
    "reasoning": {"content": "Four.", "reasoning_content": "Two and two."},
    "call": {"tool_calls": [CALL]},
    "text and call": {"content": "One moment.", "tool_calls": [CALL]},
    "refusal": {"refusal": "No."},
}
STREAMS: dict[str, list[bytes]] = {
    "text": text("Hello ", "there."),
    "reasoning": [frame(role="assistant"), frame(reasoning_content="Two and two."), *text("Four.")],
    "call": [frame(role="assistant", tool_calls=[CALL]), end("tool_calls"), DONE],
    "text and call": [frame(content="One moment."), frame(tool_calls=[CALL]), end("tool_calls"), DONE],
    "refusal": [frame(refusal="No."), end(), DONE],
    "no end mark": text("Hello ", "there.")[:-1],
}
WHOLES = {"text": "message", "reasoning": "reasoning", "call": "function_call"}


async def asked(lane: bool, reply: bytes, *, stream: bool, script: object = None, **options: object) -> Response:
    """The answer to a small request, complete or streamed, when the provider sends ``reply``."""
    async with proxied(lane, serve(reply), open_responses_mode="translate", **options) as (_, gateway):
        return await ask(gateway.port, create(stream=stream, tools=TOOLS))


def resource(response: Response) -> Json:
    """The body of a complete answer, checked for validity."""
    assert response.status == 200, response.body
    assert response.value(b"content-type") == b"application/json"
    body = json.loads(response.body)
    assert check_resource(body) == []
    assert isinstance(body, dict)
    return body


def terminal(response: Response) -> Json:
    """The last event of a streamed answer, checked for validity."""
    assert response.status == 200, response.body
    assert response.whole
    assert check_wire(response.body) == []
    return events_of(response.body)[-1]


@pytest.mark.either_door
@pytest.mark.parametrize("kind", MESSAGES)
async def test_a_whole_answer_is_valid(lane: bool, kind: str) -> None:
    """It satisfies the specification's schema, the SDK's models, and the checks for known problems of clients."""
    body = resource(await asked(lane, whole(MESSAGES[kind]), stream=False))
    assert body["status"] == "completed"
    assert as_dict(body["usage"])["total_tokens"] == 18


@pytest.mark.either_door
@pytest.mark.parametrize("kind", STREAMS)
async def test_a_streamed_answer_is_valid(lane: bool, kind: str) -> None:
    """The check covers each event, their order and their sum."""
    response = await asked(lane, streamed(*STREAMS[kind]), stream=True)
    body = as_dict(terminal(response)["response"])
    assert body["status"] == "completed"
    assert as_dict(body["usage"])["total_tokens"] == 18


@pytest.mark.parametrize("stream", [False, True])
async def test_a_character_that_the_provider_cut_in_half_is_whole(lane: bool, stream: bool) -> None:
    """Its two escapes come in two chunks. Half a character without the other half becomes U+FFFD (RFC 8259, section
    8.2)."""
    frames = [frame(content=piece) for piece in ("a\ud83d", "\ude00b", "\ud83d")]
    response = await asked(lane, streamed(*frames, end(), DONE), stream=stream)
    body = as_dict(terminal(response)["response"]) if stream else resource(response)
    item = as_dict(as_list(body["output"])[0])
    assert as_dict(as_list(item["content"])[0])["text"] == "a\U0001f600b\ufffd"


async def test_the_head_of_a_stream_suits_proxies(lane: bool) -> None:
    """G14: proxies before the client must not buffer events, and no length is announced."""
    response = await asked(lane, streamed(*text("a")), stream=True)
    assert (response.value(b"content-type") or b"").startswith(b"text/event-stream")
    assert response.value(b"cache-control") == b"no-cache"
    assert response.value(b"x-accel-buffering") == b"no"
    assert response.value(b"content-length") is None


@pytest.mark.parametrize("stream", [False, True])
async def test_other_choices_are_named_as_dropped(lane: bool, stream: bool) -> None:
    """The head names them as far as they are known by then, and the metric counts them."""
    first = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    other = {"index": 1, "message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}
    reply = whole("", choices=[first, other])
    if stream:
        late = frame(index=1, tool_calls=[CALL]).replace(b'"index": 0, "delta"', b'"index": 1, "delta"')
        reply = streamed(late, *text("hi")[:-2], late.replace(b"tool_calls", b"content"), *text()[-2:])
    async with proxied(lane, serve(reply), open_responses_mode="translate") as (_, gateway):
        response = await ask(gateway.port, create(stream=stream, tools=TOOLS))
        metrics = (await ask(gateway.admin_port, get(b"/metrics"))).body
    body = as_dict(terminal(response)["response"]) if stream else resource(response)
    assert [as_dict(item)["type"] for item in as_list(body["output"])] == ["message"]
    path = b"choices[].delta.tool_calls" if stream else b"choices[].message.tool_calls"
    assert (response.value(b"x-onwards-dropped") or b"").split(b", ")[0] == path
    assert path in metrics
    assert (b"choices[].delta.content" in metrics) is stream


async def test_each_event_is_a_chunk_of_its_own(lane: bool) -> None:
    """Some clients take one read for one event, so the provider's chunks must not decide."""
    frames = text("one ", "two ", "three")
    reply = STREAM_HEAD + chunk(b"".join(frames)) + b"0\r\n\r\n"
    response = await asked(lane, reply, stream=True)
    assert response.chunks == [frame + b"\n\n" for frame in response.body.split(b"\n\n")[:-1]]
    assert len(response.chunks) == len(events_of(response.body)) + 1


@pytest.mark.parametrize("stream", [False, True])
async def test_the_providers_own_fields_pass(lane: bool, stream: bool) -> None:
    """Request ids help support. Fields that describe the original body are removed."""
    fields = b"X-Request-Id: req-1\r\nETag: x\r\nContent-Disposition: inline\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
    response = await asked(lane, whole("x", fields=fields), stream=stream)
    assert response.value(b"x-request-id") == b"req-1"
    assert response.values(b"etag") + response.values(b"x-hop") == []


async def test_a_whole_answer_to_a_streamed_request_is_streamed(lane: bool) -> None:
    """Some providers cannot stream, or not with tools."""
    response = await asked(lane, whole({"content": "Hello", "tool_calls": [CALL]}), stream=True)
    output = as_list(as_dict(terminal(response)["response"])["output"])
    assert [as_dict(item)["type"] for item in output] == ["message", "function_call"]


async def test_a_streamed_answer_to_a_whole_request_is_collected(lane: bool) -> None:
    """Some providers can only stream."""
    body = resource(await asked(lane, streamed(*STREAMS["text and call"]), stream=False))
    assert [as_dict(item)["type"] for item in as_list(body["output"])] == ["message", "function_call"]


@pytest.mark.either_door
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [b"400 Bad Request", b"401 Unauthorized", b"429 Too Many Requests", b"500 Oops"])
async def test_an_error_of_an_untrusted_provider_keeps_its_status(lane: bool, status: bytes, stream: bool) -> None:
    """Its message may contain keys and hosts that the client must not see."""
    reply = error(status, "org-secret at 10.0.0.1", b"Retry-After: 7\r\n")
    response = await asked(lane, reply, stream=stream)
    assert response.status == int(status[:3])
    assert response.value(b"retry-after") == b"7"
    assert response.value(b"content-type") == b"application/json"
    assert set(response.error) == {"message", "type", "param", "code"}
    assert b"secret" not in response.body
    assert b"their_" not in response.body


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_a_trusted_provider_keeps_its_message(lane: bool, stream: bool) -> None:
    """The provider has ``trusted: true``."""
    response = await asked(lane, error(b"422 Odd", "No such tool."), stream=stream, trusted=True)
    assert response.status == 422
    expected = {"message": "No such tool.", "type": "their_type", "param": "their_param", "code": "their_code"}
    assert response.error == expected


async def test_error_codes_that_clients_use_are_kept(lane: bool) -> None:
    """G5: Codex shortens its history at context_length_exceeded, so the code is kept even for untrusted providers."""
    response = await asked(lane, error(b"400 Bad Request", "maximum context length is 4096 tokens"), stream=True)
    assert response.error["code"] == "context_length_exceeded"
    response = await asked(lane, error(b"429 Slow", "slow down", b"Retry-After: 3\r\n"), stream=True)
    assert response.error["code"] == "rate_limit_exceeded"
    assert "try again in 3s" in str(response.error["message"])


@pytest.mark.either_door
@pytest.mark.parametrize("body", [b"", b"<html>Bad gateway</html>", b"\xff\xfe", b"[]", b'"no"'])
async def test_an_error_page_becomes_an_envelope(lane: bool, body: bytes) -> None:
    """The page is from a load balancer before the provider."""
    response = await asked(lane, answer(body, b"503 Away", b"Content-Type: text/html\r\n"), stream=True)
    assert response.status == 503
    assert response.error["message"]
    assert b"html" not in response.body


@pytest.mark.parametrize("status", [b"302 Found", b"304 Not Modified"])
async def test_a_redirection_is_not_followed_and_not_passed_on(lane: bool, status: bytes) -> None:
    """The client gets 502, and the provider's credential is not sent to another server."""
    reply = b"HTTP/1.1 %b\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n" % status
    response = await asked(lane, reply, stream=True)
    assert response.status == 502
    assert response.values(b"location") == []


GARBAGE = {
    "nothing": b"",
    "a page": b"<html>hello</html>",
    "half JSON": b'{"choices":[{"mess',
    "an array": b"[1,2]",
    "no choices": b'{"id":"x"}',
    "an error in a success": b'{"error":{"message":"secret","code":500}}',
    "an error event first": b'data: {"error":{"message":"secret"}}\n\n',
    "an end mark alone": b"data: [DONE]\n\n",
}


@pytest.mark.either_door
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", GARBAGE)
async def test_a_failure_before_the_first_event_has_a_status(lane: bool, kind: str, stream: bool) -> None:
    """An answer that fails at once does not begin with a 200."""
    reply = answer(GARBAGE[kind], fields=b"Content-Type: text/event-stream\r\n")
    response = await asked(lane, reply, stream=stream)
    assert response.status >= 500, response.body
    assert response.error["message"]
    assert b"secret" not in response.body


async def test_an_error_within_a_stream_ends_it_as_failed(lane: bool) -> None:
    """The status was already sent: the client gets response.failed, the end mark, and a regular end of the body."""
    frames = [frame(content="Hel"), b'data: {"error":{"message":"secret","code":"overloaded"}}\n\n']
    response = await asked(lane, streamed(*frames), stream=True)
    last = terminal(response)
    assert last["type"] == "response.failed"
    assert b"secret" not in response.body


async def test_a_truncated_answer_is_incomplete(lane: bool) -> None:
    """B7, complete and streamed."""
    body = resource(await asked(lane, whole("Hel", "length"), stream=False))
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    response = await asked(lane, streamed(frame(content="Hel"), end("length"), DONE), stream=True)
    assert terminal(response)["type"] == "response.incomplete"


async def test_what_follows_the_end_mark_is_ignored(lane: bool) -> None:
    """A41: the terminal event is the last."""
    response = await asked(lane, streamed(*text("a"), frame(content="more"), end(), DONE), stream=True)
    output = as_list(as_dict(terminal(response)["response"])["output"])
    assert as_dict(as_list(as_dict(output[0])["content"])[0])["text"] == "a"


async def test_the_providers_connection_is_used_again(lane: bool) -> None:
    """This holds after complete and streamed answers."""
    script = serve(streamed(*text("a")), whole("b"), error(b"400 Bad", "c"), streamed(*text("d")))
    async with proxied(lane, script, open_responses_mode="translate") as (upstream, gateway):
        async with connect(gateway.port) as client:
            for stream, status in ((True, 200), (False, 200), (False, 400), (True, 200)):
                await client.send(create(stream=stream))
                assert (await client.response()).status == status
    assert len(upstream.peers) == 1


async def test_an_undecodable_answer_is_not_translated(lane: bool) -> None:
    """The provider compresses although it was not asked to. The client gets 502, never bytes that it cannot decode."""
    reply = answer(b"\x1f\x8b\x08\x00\x00", fields=b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n")
    response = await asked(lane, reply, stream=False)
    assert response.status == 502
    assert response.values(b"content-encoding") == []


async def test_a_body_that_is_too_long_for_its_event_limit_fails(lane: bool) -> None:
    """``max_event`` bounds one event of the provider, as in native mode."""
    frames = [frame(content="a"), frame(content="b" * 3000)]
    response = await asked(lane, streamed(*frames), stream=True, max_event="2kB")
    assert terminal(response)["type"] == "response.failed"


async def test_half_events_wait_for_their_rest(lane: bool) -> None:
    """The provider's bytes may be cut anywhere, even within a character."""
    raw = b"".join(text("Grüße, 日本", "!"))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, *(chunk(raw[at : at + 7]) for at in range(0, len(raw), 7)), b"0\r\n\r\n")

    async with proxied(lane, script, open_responses_mode="translate") as (_, gateway):
        response = await ask(gateway.port, create(stream=True))
    output = as_list(as_dict(terminal(response)["response"])["output"])
    assert as_dict(as_list(as_dict(output[0])["content"])[0])["text"] == "Grüße, 日本!"


async def test_an_interim_response_is_no_answer(lane: bool) -> None:
    """A 1xx response of the provider is not forwarded."""
    reply = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + streamed(*text("a"))
    async with proxied(lane, once(reply), open_responses_mode="translate") as (_, gateway):
        assert terminal(await ask(gateway.port, create(stream=True)))["type"] == "response.completed"
