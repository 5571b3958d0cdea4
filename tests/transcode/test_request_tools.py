"""Tools, and which of them may be called."""

from __future__ import annotations

from typing import Any

import pytest
from request_helpers import DROP, OPENAI, call, function, generic, messages, output, refusal, translate, user

from onwards_py.transcode.neutral.context import ToolKind, ToolName
from onwards_py.transcode.neutral.policy import HostedTools, Policy

PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
}


def namespace(name: str, *tools: object, **more: object) -> dict[str, object]:
    return {"type": "namespace", "name": name, "tools": list(tools), **more}


def functions(*tools: object, **fields: Any) -> Any:
    return [tool["function"] for tool in translate(tools=list(tools), **fields).body["tools"]]  # type: ignore[attr-defined]


def test_E1_a_hosted_tool_beside_others_is_left_out_visibly() -> None:
    """Codex always offers web_search; the rest of the request is no worse for it."""
    made = translate(tools=[function(), {"type": "web_search"}])
    assert len(made.body["tools"]) == 1  # type: ignore[arg-type]
    assert made.dropped == ("tools[].web_search",)


@pytest.mark.parametrize("kind", ["web_search", "file_search", "mcp", "code_interpreter", "image_generation", "acme:x"])
def test_E1_hosted_tools_alone_are_refused(kind: str) -> None:
    """A client that offers nothing else counts on it."""
    refused = refusal(tools=[{"type": kind}])
    assert (refused.param, refused.code) == ("tools[0].type", "unsupported_tool")


def test_E1_hosted_tools_follow_the_policy() -> None:
    """Always refused, always dropped, or passed as they are."""
    tools = [function(), {"type": "web_search", "x": 1}]
    assert refusal(tools=tools, policy=Policy(hosted_tools=HostedTools.REJECT)).param == "tools[1].type"
    alone = translate(tools=tools[1:], policy=Policy(hosted_tools=HostedTools.DROP))
    assert "tools" not in alone.body
    passed: Any = translate(tools=tools, policy=Policy(hosted_tools=HostedTools.PASS))
    assert passed.body["tools"][1] == {"type": "web_search", "x": 1}
    assert passed.dropped == ()


def test_E2_members_of_a_namespace_become_functions_and_the_way_back_is_known() -> None:
    """Name and namespace are to be returned apart."""
    made: Any = translate(tools=[namespace("mcp", function("ls"), {**PATCH, "name": "put"})])
    assert [tool["function"]["name"] for tool in made.body["tools"]] == ["mcp__ls", "mcp__put"]
    assert made.context.tools == {
        "mcp__ls": ToolName(ToolKind.FUNCTION, "ls", "mcp"),
        "mcp__put": ToolName(ToolKind.CUSTOM, "put", "mcp"),
    }


def test_E2_calls_of_a_namespace_in_the_history_are_flattened_alike() -> None:
    """Also those of tools that are no longer offered."""
    items = [user("x"), call("a", "ls", namespace="mcp"), call("b", "gone", namespace="old"), output("a"), output("b")]
    found = messages(items, tools=[namespace("mcp", function("ls"))])
    assert [one["function"]["name"] for one in found[1]["tool_calls"]] == ["mcp__ls", "old__gone"]


def test_E2_a_member_whose_flat_name_is_taken_gets_another_one() -> None:
    """The top-level function keeps its name, wherever it stands."""
    for order in (1, -1):
        made: Any = translate(tools=[namespace("a", function("b")), function("a__b")][::order])
        names = made.context.tools
        assert names["a__b"] == ToolName(ToolKind.FUNCTION, "a__b")
        (other,) = set(names) - {"a__b"}
        assert names[other] == ToolName(ToolKind.FUNCTION, "b", "a")
        assert {tool["function"]["name"] for tool in made.body["tools"]} == set(names)


def test_E2_odd_namespaces() -> None:
    """Empty: no tools. Nested: opened. Its description is not lost. Two underscores at its end are not doubled."""
    assert "tools" not in translate(tools=[namespace("a")]).body
    assert "tools" not in translate(tools=[{"type": "namespace", "name": "a"}]).body
    nested = namespace("a", namespace("b", function("f", description="F"), description="B"), description="A")
    assert functions(nested) == [
        {"name": "a__b__f", "description": "A\n\nB\n\nF", "parameters": {"type": "object", "properties": {}}}
    ]
    assert functions(namespace("mcp__x__", function("f")))[0]["name"] == "mcp__x__f"


def test_E2_a_namespaces_description_is_said_once() -> None:
    """On its first member: a copy on each would cost tokens in every request."""
    made = functions(namespace("n", function("f"), function("g", description="G"), function("h"), description="N"))
    assert [one.get("description") for one in made] == ["N", "G", None]


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ({}, "tools"),
        ("x", "tools"),
        ([1], "tools[0]"),
        ([{}], "tools[0].type"),
        ([{"type": "function"}], "tools[0].name"),
        ([{"type": "function", "name": ""}], "tools[0].name"),
        ([function(strict="yes")], "tools[0].strict"),
        ([{"type": "function", "name": "f", "parameters": []}], "tools[0].parameters"),
        ([function(description=1)], "tools[0].description"),
        ([namespace("a", 1)], "tools[0].tools[0]"),
        ([{"type": "namespace", "name": "a", "tools": {}}], "tools[0].tools"),
        ([function("a"), function("a")], "tools[1].name"),
    ],
)
def test_E2_broken_tools_are_refused_with_their_path(tools: object, param: str) -> None:
    """Never a crash, never sent on."""
    assert refusal(tools=tools).param == param


def test_namespaces_cannot_be_nested_without_end() -> None:
    """A hostile depth is a refusal and no recursion error."""
    tool: dict[str, object] = function()
    for _ in range(900):
        tool = namespace("n", tool)
    assert "nested" in refusal(tools=[tool]).message


def test_E3_names_that_a_provider_would_refuse_are_made_plain_and_found_again() -> None:
    """Dots, spaces, other scripts, too many characters."""
    long = "x" * 65
    made: Any = translate(tools=[function("fs.read"), function("fs_read"), function(long), function("größe")])
    names = [tool["function"]["name"] for tool in made.body["tools"]]
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isascii() for name in names)
    assert [made.context.tools[name].name for name in names] == ["fs.read", "fs_read", long, "größe"]


def test_E3_a_bare_member_name_is_understood_where_only_one_has_it() -> None:
    """Models leave the namespace out now and then."""
    one = translate(tools=[namespace("a", function("f")), namespace("b", function("g"))]).context
    assert one.tool("f") == ToolName(ToolKind.FUNCTION, "f", "a")
    two = translate(tools=[namespace("a", function("f")), namespace("b", function("f"))]).context
    assert two.tool("f") is None


def test_E4_a_custom_tool_is_a_function_of_one_string_with_its_grammar_described() -> None:
    """And its calls in the history are calls of that function."""
    (made,) = functions(PATCH)
    assert made["name"] == "apply_patch"
    assert made["description"] == "Edit files.\n\nThe input must match this lark grammar:\nstart: x"
    assert made["parameters"]["required"] == ["input"]
    assert made["parameters"]["properties"]["input"]["type"] == "string"
    items = [
        {"type": "custom_tool_call", "call_id": "a", "name": "apply_patch", "input": '*** "é"\n'},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "done"},
    ]
    found = messages(items, tools=[PATCH])
    assert found[0]["tool_calls"][0]["function"] == {"name": "apply_patch", "arguments": '{"input":"*** \\"é\\"\\n"}'}
    assert found[1]["content"] == "done"


def test_E6_tool_choice_is_nested_as_chat_completions_wants_it() -> None:
    """Flat and nested are understood; named custom tools and members of namespaces too."""
    tools = [function("f"), PATCH, namespace("n", function("g"))]
    for choice, name in [
        ({"type": "function", "name": "f"}, "f"),
        ({"type": "function", "function": {"name": "f"}}, "f"),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch"),
        ({"type": "function", "name": "g", "namespace": "n"}, "n__g"),
    ]:
        made = translate(tools=tools, tool_choice=choice)
        assert made.body["tool_choice"] == {"type": "function", "function": {"name": name}}
        assert made.context.allowed == {name}


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "nope"},
        {"type": "web_search"},
        {"type": "allowed_tools", "tools": [{"type": "function", "name": "nope"}]},
        {"type": "allowed_tools", "tools": []},
        {"type": "allowed_tools", "tools": [1]},
        {"type": "allowed_tools", "tools": [{"type": "mcp"}]},
        {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}], "mode": "never"},
        {"type": "function"},
        {"name": "f"},
        "f",
        1,
    ],
)
def test_E6_a_choice_of_what_is_not_offered_is_refused(choice: object) -> None:
    """Whatever the policy: it could not be kept."""
    assert refusal(tools=[function()], tool_choice=choice, policy=DROP).param.startswith("tool_choice")


def test_E6_a_choice_of_a_tool_that_was_left_out_is_refused_or_auto() -> None:
    """By policy, visibly."""
    fields: dict[str, Any] = {"tools": [function(), {"type": "web_search"}], "tool_choice": {"type": "web_search"}}
    assert refusal(**fields).param == "tool_choice"
    made = translate(**fields, policy=DROP)
    assert made.body["tool_choice"] == "auto"
    assert "tool_choice" in made.dropped


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_E7_without_tools_neither_choice_nor_parallel_calls_are_sent(choice: str) -> None:
    """Providers refuse them."""
    made = translate(tool_choice=choice, parallel_tool_calls=True, tools=[])
    assert not made.body.keys() & {"tools", "tool_choice", "parallel_tool_calls"}
    assert made.context.request_echo["tool_choice"] == choice


def test_E7_a_required_call_without_tools_is_refused() -> None:
    """It could not be kept."""
    assert refusal(tool_choice="required").param == "tool_choice"


def test_E8_tools_nested_as_in_chat_completions_are_understood() -> None:
    """Flat and nested give the same."""
    nested = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    flat = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
    assert functions(nested) == functions(flat)
    assert (
        translate(tools=[nested]).context.request_echo["tools"] == translate(tools=[flat]).context.request_echo["tools"]
    )


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"additionalProperties": True}, {"type": "object", "additionalProperties": True}),
        ({"type": None, "anyOf": [{"type": "object"}]}, {"type": "object", "anyOf": [{"type": "object"}]}),
        ({"type": ["object", "null"]}, {"type": "object"}),
        ({"type": "array"}, {"type": "array"}),
    ],
)
def test_the_root_of_a_schema_says_that_it_is_an_object(given: dict[str, object], sent: dict[str, object]) -> None:
    """Also of a namespace's members; the echo repeats what was sent. Another type is for the provider to refuse."""
    space = {"type": "namespace", "name": "n", "tools": [function("g", parameters=given)]}
    made: Any = translate(tools=[function("f", parameters=given), space])
    assert [tool["function"]["parameters"] for tool in made.body["tools"]] == [sent, sent]
    assert made.context.request_echo["tools"][0]["parameters"] == given


@pytest.mark.parametrize("mode", ["none", "auto", "required"])
def test_a_mode_may_come_as_an_object(mode: str) -> None:
    """It is the mode; for a choice among nothing as well."""
    made = translate(tools=[function()], tool_choice={"type": mode})
    assert (made.body["tool_choice"], made.context.request_echo["tool_choice"]) == (mode, mode)
    assert made.context == translate(tools=[function()], tool_choice=mode).context
    if mode == "required":
        assert refusal(tool_choice={"type": mode}).param == "tool_choice"
    else:
        assert "tool_choice" not in translate(tool_choice={"type": mode}).body


@pytest.mark.parametrize("parameters", [None, {}])
def test_E9_missing_parameters_are_the_empty_object_and_strict_is_only_sent_if_given(parameters: object) -> None:
    """Nothing is forced onto a schema whose author did not ask."""
    (made,) = functions(
        {"type": "function", "name": "f", "parameters": parameters, "strict": None, "description": None}
    )
    assert made == {"name": "f", "parameters": {"type": "object", "properties": {}}}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    for strict in (True, False):
        assert functions(function(parameters=schema, strict=strict))[0] == {
            "name": "f",
            "parameters": schema,
            "strict": strict,
        }


def test_E11_a_required_call_among_custom_tools_alone() -> None:
    """Custom tools count as tools."""
    assert translate(tools=[PATCH], tool_choice="required").body["tool_choice"] == "required"
    quirks = generic(tool_choice_required="any")
    assert translate(tools=[PATCH], tool_choice="required", quirks=quirks).body["tool_choice"] == "any"


def allowed(*names: str, **more: object) -> dict[str, object]:
    return {"type": "allowed_tools", "tools": [{"type": "function", "name": name} for name in names], **more}


def test_allowed_tools_are_a_hard_constraint() -> None:
    """Only they are sent; the answer can be checked; the response still shows all tools."""
    tools = [function("a"), function("b"), function("c")]
    made: Any = translate(tools=tools, tool_choice=allowed("a", "c"))
    assert [tool["function"]["name"] for tool in made.body["tools"]] == ["a", "c"]
    assert made.body["tool_choice"] == "auto"
    assert [made.context.may_call(name) for name in "abc"] == [True, False, True]
    assert len(made.context.request_echo["tools"]) == 3
    assert made.context.request_echo["tool_choice"] == allowed("a", "c", mode="auto")


def test_one_allowed_tool_that_is_required_is_the_named_one() -> None:
    """The strongest form that every provider has."""
    made = translate(tools=[function("a"), function("b")], tool_choice=allowed("a", mode="required"))
    assert made.body["tool_choice"] == {"type": "function", "function": {"name": "a"}}


def test_allowed_tools_stay_whole_for_a_provider_that_knows_them() -> None:
    """All tools stay in the prompt, so its cache holds."""
    tools = [function("a"), function("b")]
    made: Any = translate(tools=tools, tool_choice=allowed("a", mode="required"), quirks=OPENAI)
    assert len(made.body["tools"]) == 2
    assert made.body["tool_choice"] == {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "a"}}]},
    }
    assert made.context.allowed == {"a"}


def test_no_call_may_be_made_where_none_is_chosen() -> None:
    """The tools stay visible, the choice is said, and the answer can be checked."""
    for choice in ("none", allowed("f", mode="none")):
        made = translate(tools=[function()], tool_choice=choice)
        assert made.body["tool_choice"] == "none"
        assert made.context.allowed == frozenset()
        assert not made.context.may_call("f")
    assert translate(tools=[function()]).context.may_call("f")


def test_parallel_calls_are_forbidden_by_the_provider_or_by_us() -> None:
    """The wish travels where it is understood; the answer is held to it in any case."""
    made = translate(tools=[function()], parallel_tool_calls=False)
    assert made.body["parallel_tool_calls"] is False
    assert made.context.one_call
    unaware = translate(tools=[function()], parallel_tool_calls=False, quirks=generic(parallel_tool_calls=False))
    assert "parallel_tool_calls" not in unaware.body
    assert unaware.context.one_call


def test_members_of_a_tool_that_chat_completions_lacks_are_noted() -> None:
    """Not lost in silence."""
    assert translate(tools=[function(defer_loading=True)]).dropped == ("tools[].defer_loading",)


def test_the_number_of_tools_is_bounded() -> None:
    """By policy."""
    tools = [function("a"), function("b")]
    assert translate(tools=tools, policy=Policy(max_tools=2)).body["tools"]
    assert refusal(tools=tools, policy=Policy(max_tools=1)).param == "tools"
