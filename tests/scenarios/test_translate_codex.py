"""Codex CLI in translate mode: its request, its tools in both directions, its WebSocket attempt, and its list of
models."""

from __future__ import annotations

import json

import pytest
import zstandard
from support.chat_upstream import DONE, end, frame, streamed, text
from support.gateway import running
from support.origin import Script, origin, serve
from support.raw import Response, ask, get, post
from support.responses_oracle import Allowance, check_wire, events_of
from support.responses_promises import Json, as_dict, as_list
from support.targets import single, snapshot

PATCH = "*** Begin Patch\n*** Add File: a\n+b\n*** End Patch"
CUSTOM = frozenset({"custom_tool_call"})
TOOLS: list[Json] = [
    {"type": "function", "name": "shell", "description": "Run.", "strict": False, "parameters": {"type": "object"}},
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edit files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
    },
    {
        "type": "namespace",
        "name": "mcp__files",
        "description": "Files.",
        "tools": [{"type": "function", "name": "read", "strict": False, "parameters": {"type": "object"}}],
    },
    {"type": "web_search", "external_web_access": False},
]
REQUEST: Json = {
    "model": "m",
    "instructions": "You are a coding agent. " * 800,
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "<permissions>"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    ],
    "tools": TOOLS,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199-thread",
    "client_metadata": {"x-codex-installation-id": "0199-installation"},
    "text": {"verbosity": "low"},
}


def packed(request: Json) -> bytes:
    """The request in the form that Codex sends."""
    body = zstandard.ZstdCompressor().compress(json.dumps(request).encode())
    fields = b"Content-Type: application/json\r\nContent-Encoding: zstd\r\nAccept: text/event-stream\r\n"
    return post(body, b"/v1/responses", fields + b"Originator: codex_cli_rs\r\n")


def call(name: str, arguments: str, ident: str = "call_1") -> bytes:
    """The frames of an answer with one call."""
    function = {"index": 0, "id": ident, "type": "function", "function": {"name": name, "arguments": arguments}}
    return streamed(frame(role="assistant", content=None), frame(tool_calls=[function]), end("tool_calls"), DONE)


async def turn(lane: bool, script: Script, *requests: Json) -> tuple[list[Json], list[Response]]:
    """The chat requests that the provider got, and the answers."""
    async with origin(script) as upstream:
        targets = single(upstream.url, open_responses_mode="translate", trusted=True)
        async with running(targets, lane=lane) as gateway:
            answers = [await ask(gateway.port, packed(request)) for request in requests]
    return [json.loads(received.body) for received in upstream.requests], answers


def output(response: Response) -> list[Json]:
    """The items of a streamed answer, checked for validity."""
    assert response.status == 200, response.body
    assert check_wire(response.body, Allowance("openai", CUSTOM)) == []
    return [as_dict(item) for item in as_list(as_dict(events_of(response.body)[-1]["response"])["output"])]


async def test_e12_the_request_of_codex_is_translated(lane: bool) -> None:
    """It has zstd, 20 kB of instructions, four kinds of tools, and fields that chat providers do not know."""
    (chat,), (response,) = await turn(lane, serve(streamed(*text("Hello."))), REQUEST)
    assert [item["type"] for item in output(response)] == ["message"]
    names = [as_dict(as_dict(tool)["function"])["name"] for tool in as_list(chat["tools"])]
    assert names == ["shell", "apply_patch", "mcp__files__read"]
    assert "client_metadata" not in chat
    assert [as_dict(message)["role"] for message in as_list(chat["messages"])][-1] == "user"
    assert b"tools" in (response.value(b"x-onwards-dropped") or b""), "the hosted tool is left out, and that is said"


async def test_e2_a_namespaced_call_comes_back_in_two_fields(lane: bool) -> None:
    """Codex finds its tool by ``namespace`` and ``name``. In the next request the name is flattened again."""
    result = {"type": "function_call_output", "call_id": "call_1", "output": "text of a"}
    script = serve(call("mcp__files__read", '{"path":"a"}'), streamed(*text("Done.")))
    _, (response,) = await turn(lane, script, REQUEST)
    (item,) = output(response)
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "mcp__files", "read")
    assert (item["call_id"], item["arguments"]) == ("call_1", '{"path":"a"}')
    follow_up = {**REQUEST, "input": [*as_list(REQUEST["input"]), item, result]}
    (chat,), _ = await turn(lane, serve(streamed(*text("Done."))), follow_up)
    assistant, tool = as_list(chat["messages"])[-2:]
    assert as_dict(as_list(as_dict(assistant)["tool_calls"])[0])["function"] == {
        "name": "mcp__files__read",
        "arguments": '{"path":"a"}',
    }
    assert tool == {"role": "tool", "tool_call_id": "call_1", "content": "text of a"}


async def test_e4_a_patch_is_a_custom_call(lane: bool) -> None:
    """The provider gets a function with one string; Codex gets a ``custom_tool_call`` with the raw input."""
    script = serve(call("apply_patch", json.dumps({"input": PATCH})))
    (chat,), (response,) = await turn(lane, script, REQUEST)
    parameters = as_dict(as_dict(as_dict(as_list(chat["tools"])[1])["function"])["parameters"])
    assert list(as_dict(parameters["properties"])) == ["input"]
    (item,) = output(response)
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", PATCH)
    deltas = [e["delta"] for e in events_of(response.body) if e["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(map(str, deltas)) == PATCH
    result = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Success."}
    follow_up = {**REQUEST, "input": [*as_list(REQUEST["input"]), item, result]}
    (chat,), _ = await turn(lane, serve(streamed(*text("Done."))), follow_up)
    function = as_dict(as_dict(as_list(as_dict(as_list(chat["messages"])[-2])["tool_calls"])[0])["function"])
    assert json.loads(str(function["arguments"])) == {"input": PATCH}


async def test_messages_have_their_phase_for_codex_alone(lane: bool) -> None:
    """Header fields identify Codex; the body of the request does not matter."""
    plain = {"model": "m", "input": "hi", "stream": True}
    async with origin(serve(streamed(*text("Hello.")))) as upstream:
        async with running(single(upstream.url, open_responses_mode="translate"), lane=lane) as gateway:
            for fields, phase in ((b"Originator: codex_exec\r\n", "final_answer"), (b"", None)):
                response = await ask(gateway.port, post(json.dumps(plain).encode(), b"/v1/responses", fields))
                assert output(response)[0].get("phase") == phase


async def test_replayed_reasoning_without_content_is_accepted(lane: bool) -> None:
    """Codex sends ``content: null`` and the sealed reasoning of an earlier provider."""
    reasoning = {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "gAAAAA"}  # type: ignore[var-annotated]
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}
    user = as_list(REQUEST["input"])[1]
    request = {**REQUEST, "input": [user, reasoning, said, user]}
    (chat,), _ = await turn(lane, serve(streamed(*text("Hello."))), request)
    assert "gAAAAA" not in json.dumps(chat)


# Its WebSocket attempt

HANDSHAKE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOpenAI-Beta: responses_websockets=2026-02-06\r\n"
)


@pytest.mark.parametrize("mode", ["native", "translate"])
async def test_g17_a_websocket_attempt_of_codex_gets_426(lane: bool, mode: str) -> None:
    """Only 426 makes Codex use HTTP. Its handshake names no model, so native mode cannot serve it either."""
    async with origin() as upstream:
        async with running(single(upstream.url, open_responses_mode=mode), lane=lane) as gateway:
            response = await ask(gateway.port, get(b"/v1/responses", HANDSHAKE))
    assert (response.status, response.error["code"]) == (426, "websocket_not_supported")
    assert response.value(b"upgrade") == b"HTTP/1.1"  # RFC 9110 section 15.5.22: which protocol to use
    assert not upstream.peers


@pytest.mark.parametrize(
    ("mode", "target", "fields", "status"),
    [
        ("translate", b"/v1/responses?model=m", b"", 426),
        ("translate", b"/v1/responses", b"Model-Override: m\r\n", 426),
        ("disabled", b"/v1/responses?model=m", b"", 404),
        ("translate", b"/v1/responses?model=nobody", b"", 404),
        ("translate", b"/v1/realtime", b"", 400),
    ],
)
async def test_other_handshakes_are_refused_for_their_own_reasons(
    lane: bool, mode: str, target: bytes, fields: bytes, status: int
) -> None:
    """A handshake that names a model gets the response of that model's target."""
    async with origin() as upstream:
        async with running(single(upstream.url, open_responses_mode=mode), lane=lane) as gateway:
            response = await ask(gateway.port, get(target, HANDSHAKE + fields))
    assert response.status == status
    assert not upstream.peers


# Its list of models


@pytest.mark.parametrize("target", [b"/v1/models?client_version=0.150.0", b"/models?x=1&client_version=0.150.0"])
async def test_g19_codex_gets_the_list_in_its_form(lane: bool, target: bytes) -> None:
    """``models`` must be present and readable. If it is empty, Codex uses its own prompts and defaults."""
    async with running(snapshot({"m": {"local": {"engine": "echo"}}}), lane=lane) as gateway:
        listing = json.loads((await ask(gateway.port, get(target))).body)
    assert listing["models"] == []
    assert [entry["id"] for entry in listing["data"]] == ["m"]


@pytest.mark.parametrize("target", [b"/v1/models", b"/v1/models?limit=2", b"/v1/models?my_client_version=1"])
async def test_other_clients_get_openais_list_of_models(lane: bool, target: bytes) -> None:
    """The list has no member that they do not know."""
    async with running(snapshot({"m": {"local": {"engine": "echo"}}}), lane=lane) as gateway:
        listing = json.loads((await ask(gateway.port, get(target))).body)
    assert set(listing) == {"object", "data"}
