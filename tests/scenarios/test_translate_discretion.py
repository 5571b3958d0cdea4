"""Translate mode: logs and metrics contain no part of a conversation, and long requests need no setting."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
from support.chat_upstream import create, error, frame, streamed, text, whole
from support.gateway import running
from support.origin import once, origin, refused_port, serve
from support.program import serving
from support.raw import Response, ask
from support.targets import single

CANARY = "canary-7f3a"
"""In all that a request says, and in all that a provider says about it."""
CALL = {"type": "function_call", "call_id": f"call_{CANARY}", "name": "f", "arguments": f'{{"a": "{CANARY}'}
OUTPUT = {"type": "function_call_output", "call_id": CALL["call_id"], "output": CANARY}
PICTURE = {"type": "input_image", "image_url": f"data:image/png;base64,{CANARY}"}
SAID: Any = {
    "instructions": CANARY,
    "input": [{"role": "user", "content": [{"type": "input_text", "text": CANARY}, PICTURE]}, CALL, OUTPUT],
    "metadata": {"about": CANARY},
    "user": CANARY,
    "tools": [{"type": "function", "name": "f", "description": CANARY, "parameters": {"type": "object"}}],
}
REFUSED: Any = (
    {"input": [{"role": CANARY, "content": "x"}]},
    {"input": [{"type": CANARY}]},
    {"input": [OUTPUT]},
    {"previous_response_id": CANARY},
    {"tool_choice": {"type": "function", "name": CANARY}},
    {"truncation": CANARY},
)


async def test_l1_no_log_or_metric_contains_the_conversation(tmp_path: Path, lane: bool) -> None:
    """This holds at the most verbose level for every outcome: answered, cut, refused by the proxy or by the
    provider."""
    cut = streamed(frame(content=CANARY), frame(content=CANARY))[:-20]
    scripts = [whole(CANARY), streamed(*text(CANARY)), error(b"400 Bad Request", CANARY)]
    scripts += [
        error(b"500 Internal Server Error", CANARY),
        streamed(b'data: {"error":{"message":"%b"}}\n\n' % b"x"),
        cut,
    ]
    async with origin(*map(once, scripts)) as upstream:
        mode = "open_responses_mode: translate"
        config = f"""
targets:
  m: {{url: '{upstream.url}/v1', {mode}}}
  absent: {{url: 'http://127.0.0.1:{refused_port()}/v1', {mode}}}
"""
        with serving(config, tmp_path, lane=lane, arguments=["--log-level", "debug"]) as program:
            told = [await ask(program.port, create(**SAID, stream=n > 0)) for n in range(len(scripts))]
            told.append(await ask(program.port, create(**SAID, model="absent")))
            told += [await ask(program.port, create(**fields)) for fields in REFUSED]
            async with aiohttp.ClientSession() as session, session.get(program.admin_url + "/metrics") as response:
                written = await response.text()
            assert await asyncio.to_thread(program.stop) == 0
            written += program.stdout + program.stderr
            assert len(program.lines()) == len(told)
    assert sum(CANARY.encode() in answer.body for answer in told[:2]) == 2  # it was said
    assert [answer.status for answer in told[2:5]] == [400, 500, 502]
    assert b"response.failed" in told[5].body
    assert [answer.status for answer in told[7:]] == [400] * len(REFUSED)
    assert CANARY not in written


async def test_g16_a_request_of_several_megabytes_needs_no_setting(lane: bool) -> None:
    """Coding agents send such requests, and a default limit of 1 MiB breaks them."""
    said = "x" * 1_000_000
    items = [{"role": "user" if n % 2 else "assistant", "content": f"{n}{said}"} for n in range(8)]
    async with origin(serve(whole("hello"))) as upstream:
        async with running(single(upstream.url, open_responses_mode="translate"), lane=lane) as gateway:
            response: Response = await ask(gateway.port, create(input=items))
    assert response.status == 200
    messages = json.loads(upstream.last.body)["messages"]
    assert [len(message["content"]) for message in messages] == [1_000_001] * 8
