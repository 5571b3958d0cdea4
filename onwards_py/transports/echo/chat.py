"""POST /chat/completions, complete and streamed."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from onwards_py.transports.echo.answers import CompleteAnswer, EchoRequest, StreamedAnswer
from onwards_py.transports.echo.chunks import FINGERPRINT, Chunks, finish_reason, usage_of, wants_usage
from onwards_py.transports.echo.params import JsonObject, flag, integer, parse
from onwards_py.transports.echo.words import Reply, count_all, last_user_text, messages, reply

MOST_CHOICES = 8


def answer(ask: EchoRequest) -> CompleteAnswer | StreamedAnswer:
    """Repeat the user's last message. Raises EchoError."""
    body = parse(ask.body)
    conversation = messages(body, "messages")
    said = reply(last_user_text(conversation) if ask.text is None else ask.text, _limit(body))
    choices = integer(body, "n", 1, MOST_CHOICES) or 1
    tokens = len(said.words) * choices
    usage = usage_of(count_all(conversation), tokens)
    envelope: JsonObject = {
        "id": ask.new_id("chatcmpl-echo-"),
        "object": "chat.completion",
        "created": int(ask.now()),
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
        "service_tier": "default",
    }
    if flag(body, "stream"):
        return _streamed(envelope, wants_usage(body), [said] * choices, usage)
    envelope["choices"] = [_choice(index, said) for index in range(choices)]
    envelope["usage"] = usage
    return CompleteAnswer(orjson.dumps(envelope), tokens)


def _limit(body: JsonObject) -> int | None:
    """``max_tokens`` is the older name; the newer one wins, as at OpenAI."""
    newer = integer(body, "max_completion_tokens", 1)
    older = integer(body, "max_tokens", 1)
    return older if newer is None else newer


def _choice(index: int, said: Reply) -> JsonObject:
    return {
        "index": index,
        "message": {"role": "assistant", "content": said.text, "refusal": None, "annotations": []},
        "logprobs": None,
        "finish_reason": finish_reason(said),
    }


def _streamed(envelope: JsonObject, include_usage: bool, replies: list[Reply], usage: JsonObject) -> StreamedAnswer:
    chunks = Chunks(envelope | {"object": "chat.completion.chunk"}, b'"delta":{"content":', b"}", include_usage)
    return StreamedAnswer(
        opening=_opening(chunks, replies),
        words=chunks.words(replies),
        closing=_closing(chunks, replies, usage),
        tokens=sum(len(said.words) for said in replies),
    )


def _opening(chunks: Chunks, replies: list[Reply]) -> Iterator[bytes]:
    for index in range(len(replies)):
        delta = {"role": "assistant", "content": "", "refusal": None}
        yield chunks.choice({"index": index, "delta": delta, "logprobs": None, "finish_reason": None})


def _closing(chunks: Chunks, replies: list[Reply], usage: JsonObject) -> Iterator[bytes]:
    for index, said in enumerate(replies):
        yield chunks.choice({"index": index, "delta": {}, "logprobs": None, "finish_reason": finish_reason(said)})
    yield from chunks.closing(usage)
