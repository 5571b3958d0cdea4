"""Tools that come as items of the input, as Codex sends them for the models that it knows best."""

from __future__ import annotations

from typing import Any

import pytest
from request_helpers import call, function, output, refusal, translate, user

from onwards_py.transcode.neutral.context import ToolKind, ToolName
from onwards_py.transcode.neutral.policy import Policy


def more(*tools: object, **members: object) -> dict[str, object]:
    """The item."""
    return {"type": "additional_tools", "role": "developer", "id": "at_1", "tools": list(tools), **members}


def offered(*items: object, **fields: Any) -> dict[str, Any]:
    """Chat function name -> chat function."""
    made: Any = translate([*items, user("hi")], **fields)
    assert made.body["messages"] == [user("hi")]
    return {tool["function"]["name"]: tool["function"] for tool in made.body.get("tools", ())}


def test_D25_additional_tools_are_offered_beside_those_of_the_request() -> None:
    """The item itself says nothing to the model."""
    assert list(offered(more(function("g")), tools=[function("f")])) == ["f", "g"]
    assert list(offered(more(function("g")), more(function("h")))) == ["g", "h"]


def test_E2_the_way_back_from_a_namespace_of_them_is_known() -> None:
    """A call comes back with namespace and name apart, and as what the client declared."""
    space = {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}, function("wait")]}
    made = translate([more(space), user("hi")])
    assert made.context.tools == {
        "functions__exec": ToolName(ToolKind.CUSTOM, "exec", "functions"),
        "functions__wait": ToolName(ToolKind.FUNCTION, "wait", "functions"),
    }


def test_a_later_declaration_replaces_an_earlier_one() -> None:
    """As a client changes its tools on the way; its calls go by the same name."""
    found = offered(more(function("f", description="old")), more(function("f", description="new")), tools=[function()])
    assert [made["description"] for made in found.values()] == ["new"]
    conversation = [user("x"), call("c", "f"), output("c"), more(function("f"))]
    made: Any = translate(conversation, tools=[function("f", description="old")])
    assert made.body["messages"][1]["tool_calls"][0]["function"]["name"] == "f"


def test_a_choice_may_name_one_of_them() -> None:
    """They are as good as those of the request."""
    made: Any = translate([more(function("g")), user("x")], tool_choice={"type": "function", "name": "g"})
    assert made.body["tool_choice"] == {"type": "function", "function": {"name": "g"}}


def test_a_hosted_tool_among_them_follows_the_policy() -> None:
    """Left out beside others, and told."""
    made = translate([more(function("g"), {"type": "web_search"}), user("x")])
    assert made.dropped == ("tools[].web_search",)


@pytest.mark.parametrize("tools", [None, []])
def test_no_tools_in_the_item_are_no_tools(tools: object) -> None:
    """The item then says nothing at all."""
    assert offered(more(tools=tools)) == {}


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (more(tools="x"), "input[0].tools"),
        (more(1), "input[0].tools[0]"),
        (more({"type": "function"}), "input[0].tools[0].name"),
        (more(function("f"), function("f")), "input[0].tools[1].name"),
        (more({"type": "web_search"}), "input[0].tools[0].type"),
    ],
)
def test_broken_ones_are_refused_with_their_path(item: object, param: str) -> None:
    """Where the client wrote them."""
    assert refusal([item, user("x")]).param == param


def test_all_together_count_against_the_bound() -> None:
    """Whichever list they are in."""
    items = [more(function("f")), more(function("g")), user("x")]
    assert translate(items, policy=Policy(max_tools=2)).body["tools"]
    refused = refusal([more(function("h")), *items], policy=Policy(max_tools=2))
    assert (refused.param, refused.code) == ("input[2].tools", "array_above_max_length")
