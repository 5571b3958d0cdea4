"""What a chat provider sends, for scripts of `support.origin`: whole answers, and streams frame by frame."""

from __future__ import annotations

import json

from support.origin import LAST_CHUNK, STREAM_HEAD, answer, chunk
from support.raw import post
from support.responses_promises import Json

USAGE: Json = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
DONE = b"data: [DONE]\n\n"
_JSON = b"Content-Type: application/json\r\n"
_HEAD: Json = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "chat-model"}


def whole(message: Json | str, finish: str = "stop", fields: bytes = b"", **more: object) -> bytes:
    """A whole answer; ``message`` are members of the assistant's message, or its text."""
    said = {"content": message} if isinstance(message, str) else {"content": None, **message}
    choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": finish}
    body = {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE, **more}
    return answer(json.dumps(body).encode(), fields=_JSON + fields)


def frame(**delta: object) -> bytes:
    """One event with these members of ``delta``."""
    return _frame([{"index": 0, "delta": delta, "finish_reason": None}])


def end(finish: str = "stop") -> bytes:
    """The event with the finish reason, and the one with usage."""
    last = {"index": 0, "delta": {}, "finish_reason": finish}
    return _frame([last]) + _frame([], usage=USAGE)


def text(*pieces: str) -> list[bytes]:
    """The events of an answer of text, up to the end mark."""
    return [frame(role="assistant", content=""), *(frame(content=piece) for piece in pieces), end(), DONE]


def streamed(*frames: bytes) -> bytes:
    """A whole event stream, each frame in a chunk of its own."""
    return STREAM_HEAD + b"".join(map(chunk, frames)) + LAST_CHUNK


def error(status: bytes, message: str, fields: bytes = b"") -> bytes:
    """An error as OpenAI words it."""
    told = {"error": {"message": message, "type": "their_type", "param": "their_param", "code": "their_code"}}
    return answer(json.dumps(told).encode(), status, _JSON + fields)


def create(target: bytes = b"/v1/responses", fields: bytes = b"", **request: object) -> bytes:
    """A request that creates a response, with ``request`` as further members."""
    body = {"model": "m", "input": "hi", **request}
    return post(json.dumps(body).encode(), target, b"Content-Type: application/json\r\n" + fields)


def _frame(choices: list[Json], **more: object) -> bytes:
    body = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
    return b"data: %b\n\n" % json.dumps(body).encode()


def event(value: object) -> bytes:
    """A frame with any JSON in it."""
    return b"data: %b\n\n" % json.dumps(value).encode()
