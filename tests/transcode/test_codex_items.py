"""What only Codex has: a search for tools that it runs itself, messages between its agents, phases of messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from request_helpers import function, generic, messages, refusal, text, translate, user
from stream_helpers import call as called
from stream_helpers import delta, events, items
from stream_helpers import text as said
from support.responses_oracle import Allowance

from onwards_py.transcode.neutral.context import ToolKind, ToolName
from onwards_py.transcode.neutral.policy import Policy

SEARCH: dict[str, Any] = {
    "type": "tool_search",
    "execution": "client",
    "description": "Find tools.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}, "limit": {"type": "number"}}},
}
CALENDAR: dict[str, Any] = {
    "type": "namespace",
    "name": "mcp__calendar",
    "description": "Calendars.",
    "tools": [function("create", description="Create an event.", strict=False)],
}
FOUND: list[dict[str, Any]] = [
    {"type": "tool_search_call", "call_id": "c", "execution": "client", "arguments": {"query": "calendar"}},
    {"type": "tool_search_output", "call_id": "c", "status": "completed", "execution": "client", "tools": [CALENDAR]},
]
ALLOW = Allowance("openai", frozenset({"tool_search_call"}))


def test_a_search_that_the_client_runs_is_a_function() -> None:
    """One that a server would run is a hosted tool like others."""
    made: Any = translate(tools=[function(), SEARCH])
    assert made.body["tools"][1]["function"] == {
        "name": "tool_search",
        "description": "Find tools.",
        "parameters": SEARCH["parameters"],
    }
    assert made.context.tools["tool_search"] == ToolName(ToolKind.SEARCH, "tool_search")
    assert made.dropped == ()
    bare: Any = translate(tools=[{"type": "tool_search", "execution": "client"}])
    assert bare.body["tools"][0]["function"]["parameters"]["required"] == ["query"]
    for hosted in ({"type": "tool_search"}, {**SEARCH, "execution": "server"}):
        assert translate(tools=[function(), hosted]).dropped == ("tools[].tool_search",)
    forced = translate(tools=[function(), SEARCH], tool_choice={"type": "tool_search"})
    assert forced.body["tool_choice"] == {"type": "function", "function": {"name": "tool_search"}}


def test_a_call_of_it_comes_back_as_one() -> None:
    """Its arguments are an object, so there are no deltas of them."""
    context = translate(tools=[function(), SEARCH], stream=True).context
    chunks = [called(0, "c", "tool_search", '{"que'), called(0, None, None, 'ry":"calendar"}')]
    out = events(chunks, "tool_calls", context=context, allow=ALLOW)
    assert [event["type"] for event in out[2:-1]] == ["response.output_item.added", "response.output_item.done"]
    (item,) = items(out)
    assert item == {
        "type": "tool_search_call",
        "id": item["id"],
        "call_id": "c",
        "execution": "client",
        "status": "completed",
        "arguments": {"query": "calendar"},
    }


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ("", {}),
        ("{}", {}),
        ("calendar", {"query": "calendar"}),
        ('"calendar"', {"query": "calendar"}),
        ("[1]", {"query": "[1]"}),
    ],
)
def test_arguments_that_are_no_object_are_the_query(arguments: str, read: dict[str, object]) -> None:
    """Codex takes nothing but an object."""
    context = translate(tools=[SEARCH], stream=True).context
    out = events([called(0, "c", "tool_search", arguments)], "tool_calls", context=context, allow=ALLOW)
    assert items(out)[0]["arguments"] == read


def test_what_was_found_is_offered_and_named_as_the_model_calls_it() -> None:
    """Chat has no other way to make a tool known; calls of it come back with namespace and name apart."""
    made: Any = translate([user("x"), *FOUND], tools=[SEARCH])
    assert [tool["function"]["name"] for tool in made.body["tools"]] == ["tool_search", "mcp__calendar__create"]
    assistant, tool = made.body["messages"][1:]
    assert assistant["tool_calls"][0]["function"] == {"name": "tool_search", "arguments": '{"query":"calendar"}'}
    assert json.loads(tool["content"]) == {
        "tools": [{"name": "mcp__calendar__create", "description": "Create an event."}]
    }
    assert made.context.tools["mcp__calendar__create"] == ToolName(ToolKind.FUNCTION, "create", "mcp__calendar")
    assert made.dropped == ()


def test_a_tool_may_be_found_twice_and_be_offered_anyway() -> None:
    """The declaration of the request counts."""
    again = {**FOUND[1], "call_id": "d", "tools": [CALENDAR, CALENDAR, function("f", description="found")]}
    items_ = [user("x"), *FOUND, {**FOUND[0], "call_id": "d"}, again]
    made: Any = translate(items_, tools=[SEARCH, function("f", description="own")])
    functions = [tool["function"] for tool in made.body["tools"]]
    assert [one["name"] for one in functions] == ["tool_search", "f", "mcp__calendar__create"]
    assert functions[1]["description"] == "own"


def test_a_search_that_a_server_ran_is_left_out_and_noted() -> None:
    """Nothing was called here; what it found is offered all the same."""
    ran = [{**item, "call_id": None, "execution": "server"} for item in FOUND]
    made: Any = translate([user("x"), *ran])
    assert made.body["messages"] == [user("x")]
    assert len(made.body["tools"]) == 1
    assert made.dropped == ("input[]",)


def agent_message(*content: object, **more: object) -> dict[str, object]:
    return {"type": "agent_message", "author": "/root/a", "recipient": "/root", "content": list(content), **more}


SECRET = {"type": "encrypted_content", "encrypted_content": "gAAA"}


def test_a_message_of_another_agent_is_told_with_its_names() -> None:
    """What only its maker can read is left out, and noted."""
    told = user("Message from /root/a to /root:\nDone.")
    assert messages([agent_message(text("Done."))]) == [told]
    made = translate([agent_message(text("Done."), SECRET)])
    assert (made.body["messages"], made.dropped) == ([told], ("input[].content[].encrypted_content",))
    assert messages([user("x"), agent_message(SECRET)]) == [user("x")]
    assert refusal([agent_message(text("x"), author=None)]).param == "input[0].author"


def test_the_phase_of_a_message_goes_to_who_knows_it() -> None:
    """Others would refuse the member; for them it is noted."""
    commentary = {"role": "assistant", "content": "Looking.", "phase": "commentary"}
    made = translate([user("x"), commentary], quirks=generic(phase=True))
    assert made.body["messages"] == [user("x"), commentary]
    assert made.dropped == ()


@pytest.mark.parametrize(
    "known",
    [
        translate(stream=True, client_metadata={}).context,
        translate([user("x"), {"role": "assistant", "content": "x", "phase": "commentary"}], stream=True).context,
        translate(stream=True, policy=Policy(phased=True)).context,
    ],
)
def test_messages_of_an_answer_have_their_phase_for_who_knows_it(known: Any) -> None:
    """Commentary is what more follows, or what stands beside calls; the rest is the final answer."""

    def phases(*chunks: Any, finish: str = "stop") -> list[object]:
        return [item.get("phase") for item in items(events(chunks, finish, context=known)) if item["type"] == "message"]

    assert phases(said("Hi.")) == ["final_answer"]
    assert phases(said("Hi."), called(0, "c", "f", "{}"), finish="tool_calls") == ["commentary"]
    assert phases(called(0, "c", "f", "{}"), said("Hi."), finish="tool_calls") == ["commentary"]
    assert phases(said("a"), delta(reasoning_content="b"), said("c")) == ["commentary", "final_answer"]


def test_others_get_no_phase() -> None:
    assert "phase" not in items(events([said("Hi.")]))[0]
