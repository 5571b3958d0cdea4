"""What travels: one chat request, one answer, one event. Shared by the load and the upstream.

The upstream is steered by two fields that every chat client knows and every gateway forwards:

* ``max_tokens``: how many events a stream has, or how many bytes a whole answer has (if over 4096);
* ``seed``: milliseconds between two events, or before a whole answer.

Without ``seed`` the answer is the prebuilt one, at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

MODEL = "bench"
UPSTREAM_KEY = "sk-upstream"
"""The credential that each proxy has to put in the place of the client's."""

CLIENT_KEY = "sk-client-0123456789abcdef0123456789abcdef"
"""The credential that the client presents."""

EVENT_MARK = b"~"
"""Stands once in each event and nowhere else in a stream; the time of sending follows it."""

EVENT_STAMP_BYTES = 17
"""``time.monotonic()`` as ``%017.6f``: the clock is common to all processes of a machine."""

DELTA_MARK = b'"delta":"' + EVENT_MARK
"""The same of a stream that was translated to Responses events: the last ones repeat the text, but not in a delta."""

STREAM_END = b"data: [DONE]\n\n"

_INSTRUCTIONS = "You are a concise assistant that answers in one short paragraph."
_QUESTION = "Why does a proxy that copies bytes need to look at the model name first?"


def chat_request(
    port: int,
    *,
    model: str = MODEL,
    stream: bool = False,
    max_tokens: int = 256,
    seed: int | None = None,
    close: bool = False,
    key: str = CLIENT_KEY,
) -> bytes:
    """Return one HTTP/1.1 request with the 15 header fields of an OpenAI SDK and about 300 bytes of JSON."""
    chat: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": _INSTRUCTIONS},
            {"role": "user", "content": _QUESTION},
        ],
        "temperature": 0.2,
        "max_tokens": max_tokens,
        "stream": stream,
    }
    if seed is not None:
        chat["seed"] = seed
    return _request(port, "/v1/chat/completions", chat, close=close, key=key)


def responses_request(port: int, *, model: str, max_tokens: int, seed: int) -> bytes:
    """Return the same question, streamed, to the Responses API; ``seed`` reaches the upstream as it is."""
    asked: dict[str, object] = {
        "model": model,
        "instructions": _INSTRUCTIONS,
        "input": [{"role": "user", "content": _QUESTION}],
        "temperature": 0.2,
        "max_output_tokens": max_tokens,
        "stream": True,
        "seed": seed,
    }
    return _request(port, "/v1/responses", asked)


def _request(port: int, path: str, content: dict[str, object], *, close: bool = False, key: str = CLIENT_KEY) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    fields = [
        f"Host: 127.0.0.1:{port}",
        "Accept-Encoding: gzip, deflate",
        f"Connection: {'close' if close else 'keep-alive'}",
        "Accept: application/json",
        "Content-Type: application/json",
        "User-Agent: OpenAI/Python 2.8.0",
        "X-Stainless-Lang: python",
        "X-Stainless-Package-Version: 2.8.0",
        "X-Stainless-OS: Linux",
        "X-Stainless-Arch: x64",
        "X-Stainless-Runtime: CPython",
        "X-Stainless-Runtime-Version: 3.11.7",
        f"Authorization: Bearer {key}",
        "X-Stainless-Async: false",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([f"POST {path} HTTP/1.1", *fields, "", ""]).encode() + body


def response(body: bytes, status: str = "200 OK", further: Sequence[str] = ()) -> bytes:
    """Return one HTTP/1.1 response with 10 header fields, and those ``further`` lines."""
    fields = [
        "Date: Thu, 01 Jan 2026 00:00:00 GMT",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Server: bench-upstream",
        "openai-organization: bench",
        "openai-processing-ms: 12",
        "openai-version: 2020-10-01",
        "x-ratelimit-limit-requests: 10000",
        "x-ratelimit-remaining-requests: 9999",
        "x-request-id: req_0123456789abcdef0123456789abcdef",
        *further,
    ]
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode() + body


def _chat_answer() -> bytes:
    answer = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1767225600,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Because the name decides where they go. " * 4},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 31, "completion_tokens": 38, "total_tokens": 69},
        "system_fingerprint": "fp_0123456789",
    }
    return json.dumps(answer, separators=(",", ":")).encode()


ANSWER = response(_chat_answer())
"""A whole answer: 10 header fields and about 0.5 kB of JSON."""

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nServer: bench-upstream\r\nopenai-organization: bench\r\nopenai-processing-ms: 12\r\n"
    b"openai-version: 2020-10-01\r\nx-request-id: req_0123456789abcdef0123456789abcdef\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)

_EVENT = (
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1767225600,"model":"bench",'
    b'"system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":"~%017.6f words"},'
    b'"logprobs":null,"finish_reason":null}]}\n\n'
)


def event_chunk(now: float) -> bytes:
    """Return one event of about 250 bytes as one HTTP chunk; ``now`` in seconds of the monotonic clock."""
    event = _EVENT % now
    return b"%x\r\n%b\r\n" % (len(event), event)


LAST_CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(STREAM_END), STREAM_END)


def big_answer(size: int) -> bytes:
    """Return a whole answer with a body of ``size`` bytes."""
    return response(b'{"data":"' + b"x" * (size - 11) + b'"}')
