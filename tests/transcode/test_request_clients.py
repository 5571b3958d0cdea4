"""Whole requests as real clients send them (shapes recorded by running the clients; texts are made up)."""

from __future__ import annotations

from typing import Any

import pytest
from request_helpers import refusal, translate, user

from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.policy import Policy
from onwards_py.transcode.responses.context import ENCRYPTED_REASONING

OBJECT = {"type": "object", "properties": {"command": {"type": "string"}}, "additionalProperties": False}
CODEX: dict[str, Any] = {
    "instructions": "You are a coding agent. " * 900,
    "tools": [
        {"type": "function", "name": "shell", "description": "Run.", "strict": False, "parameters": OBJECT},
        {"type": "namespace", "name": "mcp__git__", "description": "Git.", "tools": [
            {"type": "function", "name": "log", "strict": False, "parameters": OBJECT},
        ]},
        {"type": "custom", "name": "apply_patch", "description": "Edit.", "format": {
            "type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk+ end_patch",
        }},
        {"type": "web_search", "external_web_access": False},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "stream": True,
    "include": [ENCRYPTED_REASONING],
    "prompt_cache_key": "0198",
    "client_metadata": {"x-codex-installation-id": "0199"},
}  # fmt: skip
CODEX_INPUT: list[Any] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: none."}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context/>"}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
    {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "gAAAAABo"},
    {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": "Looking."}]},
    {
        "type": "function_call",
        "id": "fc_1",
        "name": "log",
        "namespace": "mcp__git__",
        "arguments": "{}",
        "call_id": "c1",
    },
    {"type": "custom_tool_call", "id": "ctc_1", "name": "apply_patch", "input": "*** Begin", "call_id": "c2"},
    {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "abc"},
    {"type": "custom_tool_call_output", "call_id": "c2", "output": "Done."},
]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_E12_a_whole_request_of_codex_is_translated_for_every_preset(preset: str) -> None:
    """Long instructions, every form of tool and reasoning at once; web_search and what is Codex's own are left out."""
    made: Any = translate(CODEX_INPUT, quirks=PRESETS[preset], **CODEX)
    roles = [message["role"] for message in made.body["messages"]]
    assert roles[-3:] == ["assistant", "tool", "tool"]
    assert [tool["function"]["name"] for tool in made.body["tools"]] == ["shell", "mcp__git__log", "apply_patch"]
    assert not made.body.keys() & {"client_metadata", "include", "store", "instructions", "input"}
    assert {"tools[].web_search", "client_metadata", "input[].encrypted_content"} <= set(made.dropped)
    assert made.context.profile is Profile.OPENAI
    assert made.context.include == {ENCRYPTED_REASONING}


def test_E12_the_messages_of_codex_for_a_strict_template() -> None:
    """One system message, one user message, one assistant message with its calls and their outputs."""
    made: Any = translate(CODEX_INPUT, **CODEX)
    system, asked, said, *outputs = made.body["messages"]
    assert system["content"].endswith("coding agent. \n\nSandbox: none.")
    assert asked == user("<environment_context/>\n\nFix it.")
    assert said["content"] == "Looking."
    assert [one["function"]["name"] for one in said["tool_calls"]] == ["mcp__git__log", "apply_patch"]
    assert [one["content"] for one in outputs] == ["abc", "Done."]


def test_the_ai_sdk_refers_to_items_that_nobody_kept() -> None:
    """Dropping them would answer another conversation: refused with the item's path."""
    items = [user("hi"), {"type": "item_reference", "id": "msg_1"}, user("and?")]
    refused = refusal(items)
    assert (refused.param, refused.code) == ("input[1].id", "item_not_found")


def test_llama_index_sends_a_string_and_every_field() -> None:
    """Nulls and defaults are no wishes."""
    fields: dict[str, Any] = {
        "user": None,
        "metadata": None,
        "truncation": "disabled",
        "temperature": 0.1,
        "top_p": 1.0,
    }
    made = translate("hi", **fields, include=None, instructions=None, tools=[], tool_choice="auto")
    assert made.body == {"model": "m", "messages": [user("hi")], "temperature": 0.1, "top_p": 1.0}
    assert made.dropped == ()


def test_the_number_of_items_is_bounded() -> None:
    """By policy."""
    assert translate([user("b"), user("a")], policy=Policy(max_items=2)).body
    assert refusal([user("b"), user("a")], policy=Policy(max_items=1)).param == "input"
