"""POST /completions (the older text interface), complete and streamed."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from onwards_py.transports.echo.answers import CompleteAnswer, EchoRequest, StreamedAnswer
from onwards_py.transports.echo.chunks import FINGERPRINT, Chunks, finish_reason, usage_of, wants_usage
from onwards_py.transports.echo.inputs import read_inputs
from onwards_py.transports.echo.params import JsonObject, flag, integer, parse
from onwards_py.transports.echo.words import Reply, reply

MOST_CHOICES = 8
MOST_PROMPTS = 64


def answer(ask: EchoRequest) -> CompleteAnswer | StreamedAnswer:
    """Repeat each prompt ``n`` times. Choices are numbered prompt by prompt. Raises EchoError."""
    body = parse(ask.body)
    prompts = read_inputs(body, "prompt", MOST_PROMPTS)
    limit = integer(body, "max_tokens", 1)
    copies = integer(body, "n", 1, MOST_CHOICES) or 1
    replies = [reply(prompt.text if ask.text is None else ask.text, limit) for prompt in prompts for _ in range(copies)]
    tokens = sum(len(said.words) for said in replies)
    usage = usage_of(sum(prompt.tokens for prompt in prompts), tokens)
    envelope: JsonObject = {
        "id": ask.new_id("cmpl-echo-"),
        "object": "text_completion",
        "created": int(ask.now()),
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }
    if flag(body, "stream"):
        chunks = Chunks(envelope, b'"text":', b"", wants_usage(body))
        return StreamedAnswer((), chunks.words(replies), _closing(chunks, replies, usage), tokens)
    envelope["choices"] = [_choice(index, said.text, said) for index, said in enumerate(replies)]
    envelope["usage"] = usage
    return CompleteAnswer(orjson.dumps(envelope), tokens)


def _choice(index: int, text: str, said: Reply) -> JsonObject:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason(said)}


def _closing(chunks: Chunks, replies: list[Reply], usage: JsonObject) -> Iterator[bytes]:
    for index, said in enumerate(replies):
        yield chunks.choice(_choice(index, "", said))
    yield from chunks.closing(usage)
