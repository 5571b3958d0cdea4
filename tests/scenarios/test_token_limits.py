"""``token_limit``: the number of tokens that are charged, by the provider's usage, and the time of the charge."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.chat_upstream import create, event, streamed, text, whole
from support.gateway import running
from support.levels import KEY, LEVELS, estimate, limited, spent
from support.origin import answer, origin, serve, streaming
from support.raw import ask, connect, post
from support.responses_promises import Json
from support.scene import until

BURST = 1000
TOKENS: Json = {"token_limit": {"tokens_per_minute": 1, "burst_size": BURST}}
CHAT = post(b'{"model":"m","messages":[{"role":"user","content":"hello"}]}', fields=KEY)
MESSAGE: Json = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
SAID: Json = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "theirs",
    "status": "completed",
    "output": [{**MESSAGE, "content": [{"type": "output_text", "text": "Hello.", "annotations": []}]}],
    "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11},
}
ANTHROPIC = (
    b'data: {"type":"message_start","message":{"usage":{"input_tokens":20,"output_tokens":1}}}\n\n',
    b'data: {"type":"message_delta","delta":{},"usage":{"output_tokens":15}}\n\n',
)


def told(value: object) -> bytes:
    return answer(json.dumps(value).encode(), fields=b"Content-Type: application/json\r\n")


CHARGED = {
    "chat": (CHAT, whole("hello"), "native", 18),
    "a chat stream with usage": (CHAT, streamed(*text("hello")), "native", 18),
    "a long chat": (CHAT, whole("word " * 100_000), "native", 18),
    "a response": (create(fields=KEY), told(SAID), "native", 11),
    "a stream of responses": (
        create(fields=KEY, stream=True),
        streamed(event({"type": "response.completed", "response": SAID})),
        "native",
        11,
    ),
    "embeddings": (
        post(b'{"model":"m","input":"x"}', b"/v1/embeddings", KEY),
        told({"data": [{"embedding": [0.5] * 3000}], "usage": {"prompt_tokens": 8, "total_tokens": 8}}),
        "native",
        8,
    ),
    "messages, streamed": (
        post(b'{"model":"m"}', b"/v1/messages", KEY),
        streamed(*ANTHROPIC),
        "native",
        35,
    ),
    "a translated response": (create(fields=KEY), whole("hello"), "translate", 18),
    "a translated stream": (create(fields=KEY, stream=True), streamed(*text("hello")), "translate", 18),
    "a translated stream to a whole": (create(fields=KEY), streamed(*text("hello")), "translate", 18),
}


@pytest.mark.either_door
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", CHARGED)
async def test_the_providers_usage_is_charged(lane: bool, case: str, level: str) -> None:
    """It replaces the estimate. The bytes of the response do not change."""
    request, reply, mode, tokens = CHARGED[case]
    async with origin(serve(reply)) as upstream:
        targets = limited(level, TOKENS, url=upstream.url, open_responses_mode=mode)
        async with running(targets, lane=lane) as gateway:
            response = await ask(gateway.port, request)
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, level) == tokens
            await ask(gateway.port, request)
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, level) == 2 * tokens
    assert response.status == 200
    if mode == "native":
        assert response.chunks or reply.endswith(response.body)


@pytest.mark.parametrize("stream", [False, True])
async def test_chats_over_responses_are_charged(lane: bool, stream: bool) -> None:
    """The usage of the response is charged in this direction of translation."""
    done = event({"type": "response.completed", "sequence_number": 0, "response": SAID})
    reply = streamed(done) if stream else told(SAID)
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    async with origin(serve(reply)) as upstream:
        targets = limited("key", TOKENS, url=upstream.url, chat_completions_mode="translate")
        async with running(targets, lane=lane) as gateway:
            assert (await ask(gateway.port, post(json.dumps(request).encode(), fields=KEY))).status == 200
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, "key") == 11


@pytest.mark.either_door
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_local_providers_are_charged(lane: bool, mode: str, level: str) -> None:
    """The usage in their answers is charged, native and translated."""
    async with running(
        limited(level, TOKENS, local={"engine": "echo"}, open_responses_mode=mode), lane=lane
    ) as gateway:
        request = CHAT if mode == "native" else create(fields=KEY, input="one two three")
        response = await ask(gateway.port, request)
        await until(lambda: gateway.held_permits() == 0)
        assert spent(gateway, level) == json.loads(response.body)["usage"]["total_tokens"]


@pytest.mark.parametrize("level", LEVELS)
async def test_an_estimate_is_charged_until_the_last_byte(lane: bool, level: str) -> None:
    """It keeps many concurrent requests from passing the limit before the first answer. The last byte replaces it by
    the usage."""
    release = asyncio.Event()
    async with origin(streaming(release, *text("hello"))) as upstream:
        async with (
            running(limited(level, TOKENS, url=upstream.url), lane=lane) as gateway,
            connect(gateway.port) as client,
        ):
            await client.send(CHAT)
            response = await client.head()
            assert spent(gateway, level) == estimate(CHAT)
            release.set()
            await client.rest(response)
            await until(lambda: gateway.held_permits() == 0)
            assert spent(gateway, level) == 18
