"""openai-node and the AI SDK against the running program, whose provider has only the other of the two APIs.

The programs are in `tests/node`: they make assertions of their own and tell what they saw. Two generations of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.chat_model import ChatModel
from support.node import needed, pinned, seen
from support.program import Program, serving
from support.tables import table

CALLED = ["get_weather", "get_time"]


@pytest.fixture(params=["newest", "previous"])
def generation(request: pytest.FixtureRequest) -> str:
    for package in ("openai", "openai-6", "ai", "ai-6"):
        needed(package)
    return str(request.param)


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "aiohttp"])
def reverse(
    request: pytest.FixtureRequest, model: ChatModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """The program in front of providers that only have the Responses API: a second one, in translate mode."""
    folder = tmp_path_factory.mktemp("reverse")
    responses = f"""
targets:
  plain: {{url: '{model.url}', open_responses_mode: translate, preset: vllm}}
  cut: {{url: '{model.url}', open_responses_mode: translate}}
  fails: {{url: '{model.url}', open_responses_mode: translate, onwards_model: '429'}}
"""
    with serving(responses, folder) as provider:
        url = f"{provider.url}/v1"
        chat = f"""
targets:
  modern: {{url: '{url}', chat_completions_mode: translate, onwards_model: plain}}
  modern-cut: {{url: '{url}', chat_completions_mode: translate, onwards_model: cut}}
  modern-fails: {{url: '{url}', chat_completions_mode: translate, onwards_model: fails}}
"""
        with serving(chat, folder, lane=request.param) as program:
            yield program
            assert program.stop() == 0
            assert "Traceback" not in program.stderr


def test_openai_node_reads_responses(translating: Program, generation: str) -> None:
    """Whole, event by event, by the stream helper, with tools, and parsed by zod schemas."""
    told = seen("openai_responses", translating.url, generation)
    assert told["tokens"] == 18
    assert (told["events"][0], told["events"][-1]) == ("response.created", "response.completed")
    assert told["helper"] == ["reasoning", "message"]
    assert told["tools"] == [CALLED, CALLED]
    assert told["parsed"] == [{"name": "Ulm", "days": 3, "guests": ["Ulm"]}] * 2


def test_openai_node_meets_failures_as_its_own_classes(translating: Program, generation: str) -> None:
    """With code, param and Retry-After; a cut stream ends in ``response.failed``."""
    told = seen("openai_failures", translating.url, generation)
    found = [(one["kind"], one["status"], one["code"], one["param"], one["wait"]) for one in told["refused"]]
    limited = ("RateLimitError", 429, "rate_limit_exceeded", None, "7")
    assert found == [
        ("BadRequestError", 400, "previous_response_not_found", "previous_response_id", None),
        ("BadRequestError", 400, "invalid_value", "input[0].call_id", None),
        limited,
        limited,
        ("NotFoundError", 404, "model_not_found", "model", None),
    ]
    assert told["cut"] == "response.failed"


def test_openai_node_chats_with_a_provider_of_responses(reverse: Program, generation: str) -> None:
    """Chunks, the stream helper, the runner of tools, a parsed answer, 429 and a cut stream."""
    told = seen("openai_chat", reverse.url, generation)
    assert told["chunks"] == told["helper"] == "You said: hello there"
    assert told["runner"]["asked"] == [[name, "Ulm"] for name in CALLED]
    assert told["runner"]["answer"] == "It is get_weather! and get_time!."
    assert told["parsed"] == {"name": "Ulm", "days": 3}
    assert told["limited"] == [[429, "rate_limit_exceeded", "7"]] * 2
    assert told["cut"] == []


def test_the_ai_sdk_generates_and_streams(translating: Program, model: ChatModel, generation: str) -> None:
    """Text with reasoning, turns of several steps, an image, an object, a forced call."""
    before = len(model.asked)
    told = seen("ai_sdk", translating.url, generation)
    assert told["usage"] == [11, 7, 18]
    assert told["stream"] == [
        *("start", "start-step", "reasoning-start", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-end", "finish-step", "finish"),
    ]
    for steps in told["steps"]:
        assert (steps["asked"], steps["counts"], steps["carried"]) == (4, [2, 2], 2)
        assert steps["answers"][0] == "It is get_weather! and get_time!."
    assert told["object"] == {"name": "Ulm", "days": 1.5}
    assert told["forced"] == ["tool-calls", ["get_time"]]
    asked = model.asked[before:]
    assert image_parts(asked) == ["data:image/png;base64,"]
    rounds = [chat["messages"] for chat in asked if chat["messages"][-1]["role"] == "tool"]
    assert [[message["role"] for message in messages] for messages in rounds][1] == [
        *("user", "assistant", "tool", "tool", "assistant"),
        *("user", "assistant", "tool", "tool"),
    ]
    for messages in rounds:
        assert messages[-3]["reasoning_content"] == "Let me think."


def image_parts(asked: list[Any]) -> list[str]:
    """The heads of the images that reached the provider."""
    contents = [message["content"] for chat in asked for message in chat["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part["image_url"]["url"][:22] for part in parts if part["type"] == "image_url"]


def test_the_ai_sdk_is_told_that_items_are_not_stored(translating: Program, generation: str) -> None:
    """By default its histories refer to items: a 400 that says what to do instead; by ``store: false`` they work."""
    told = seen("ai_sdk_history", translating.url, generation)
    for refused in told["references"]:
        assert (refused["status"], refused["code"], refused["param"]) == (400, "item_not_found", "input[1].id")
        assert "'store: false'" in refused["message"]
        assert not refused["again"]
    assert told["stateless"] == "You said: and now?"
    assert (told["limited"]["status"], told["limited"]["again"]) == (429, True)
    assert told["cut"] == {"reason": "error", "errors": 1}


def test_the_guide_names_the_versions_that_are_run() -> None:
    """docs/guides/translate.md and tests/node/package.json."""
    documented = {name.strip() for row in table("guides/translate.md", "client") for name in row[0].split(",")}
    assert {name for name in documented if "@" in name} == {name for name in pinned() if not name.startswith("zod@")}
