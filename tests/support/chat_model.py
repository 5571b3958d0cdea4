"""A provider of Chat Completions that plays a model which calls tools, reasons and keeps to schemas, by fixed rules.

``weather`` in what the user said, or ``tool_choice: required``, makes it call each function offered, once; after their
results it says what they were. ``think``, or an effort asked for, makes it reason first. A JSON schema is filled in.
Otherwise it repeats. A model whose name is a status, as in ``429``, fails with it; ``cut`` breaks off.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
_HEAD = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "played"}
_FIRST_FILLING = {"string": "Ulm", "integer": 3, "number": 1.5, "boolean": True}
Chat = dict[str, Any]


def fill(schema: Chat) -> object:
    """A value of ``schema``."""
    if "enum" in schema:
        return schema["enum"][0]
    if "$ref" in schema or "anyOf" in schema:
        return None
    if schema.get("type") == "array":
        return [fill(schema.get("items", {"type": "string"}))]
    if schema.get("type") in _FIRST_FILLING:
        return _FIRST_FILLING[schema["type"]]
    return {name: fill(member) for name, member in schema.get("properties", {}).items()}


def reply(chat: Chat) -> Chat:
    """The assistant's message."""
    messages = chat["messages"]
    said = _text(messages[-1])
    message: Chat = {"role": "assistant", "content": None}
    if "think" in said or "reasoning_effort" in chat:
        message["reasoning_content"] = "Let me think."
    schema = chat.get("response_format", {}).get("json_schema", {}).get("schema")
    if messages[-1]["role"] == "tool":
        results = [_text(message) for message in messages if message["role"] == "tool"]
        message["content"] = "It is " + " and ".join(results) + "."
    elif _wants_call(chat, said):
        message["tool_calls"] = [_call(number, tool) for number, tool in enumerate(chat["tools"])]
    elif schema is not None:
        message["content"] = json.dumps(fill(schema))
    else:
        message["content"] = f"You said: {said}"
    return message


def _wants_call(chat: Chat, said: str) -> bool:
    offered = bool(chat.get("tools")) and chat.get("tool_choice") != "none"
    return offered and ("weather" in said or chat.get("tool_choice") not in (None, "auto"))


def _call(number: int, tool: Chat) -> Chat:
    function = tool["function"]
    arguments = json.dumps(fill(function.get("parameters") or {}))
    return {"id": f"call_{number}", "type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _text(message: Chat) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def deltas(message: Chat) -> Iterator[Chat]:
    """The message in small pieces."""
    yield {"role": "assistant", "content": ""}
    for name in ("reasoning_content", "content"):
        for piece in re.findall(r"\S+\s*", message.get(name) or ""):
            yield {name: piece}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": {"name": function["name"], "arguments": ""}}]}
        for piece in re.findall(r"..?", function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    asked: list[Chat]
    play: Callable[[Chat], Chat]

    def do_POST(self) -> None:
        chat = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(chat)
        if self.path != "/v1/chat/completions":
            self._answer(404, {"error": {"message": f"nothing at {self.path}"}})
        elif chat["model"].isdigit():
            self._answer(int(chat["model"]), {"error": {"message": "no", "type": "t", "code": "c"}})
        elif chat.get("stream"):
            self._stream(chat)
        else:
            message = self.play(chat)
            finish = "tool_calls" if "tool_calls" in message else "stop"
            choice = {"index": 0, "message": message, "finish_reason": finish}
            self._answer(200, {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE})

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, chat: Chat) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        message = self.play(chat)
        for delta in deltas(message):
            self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])
            if chat["model"] == "cut" and delta.get("content"):
                self.close_connection = True
                return
        finish = "tool_calls" if "tool_calls" in message else "stop"
        self._chunk([{"index": 0, "delta": {}, "finish_reason": finish}])
        if chat.get("stream_options", {}).get("include_usage"):
            self._chunk([], usage=USAGE)
        self._write(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, choices: list[Chat], **more: object) -> None:
        event = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
        self._write(b"data: %b\n\n" % json.dumps(event).encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class ChatModel:
    """The running provider. ``asked`` holds all chat requests that came."""

    def __init__(self, port: int, asked: list[Chat]) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.asked = asked


@contextmanager
def playing(play: Callable[[Chat], Chat] = reply) -> Iterator[ChatModel]:
    """Serve on a free port, in threads. ``play`` makes the assistant's message of a request."""
    asked: list[Chat] = []
    handler = type("Handler", (_Handler,), {"asked": asked, "play": staticmethod(play)})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield ChatModel(server.server_address[1], asked)
        server.shutdown()
        thread.join(5)
