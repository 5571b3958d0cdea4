"""The request's plain fields: what reaches the provider, what is refused, what the response repeats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from request_helpers import DROP, GENERIC, OPENAI, function, generic, refusal, translate, user
from support.responses_schema import schema_breaches

from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.policy import HostedTools, InvalidRequest, OnUnsupported, Policy
from onwards_py.transcode.neutral.quirks import HINTS, Effort, Quirks, Structured
from onwards_py.transcode.pairs import to_chat
from onwards_py.transcode.responses.context import ENCRYPTED_REASONING

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
ECHOED = {  # type: ignore[var-annotated]
    "model": "m",
    "previous_response_id": None,
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1,
    "reasoning": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": False,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
}


def json_schema(**more: object) -> dict[str, object]:
    return {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, **more}}


def resource_of(echo: Any) -> dict[str, object]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "completed_at": None,
        "status": "in_progress",
        "incomplete_details": None,
        "output": [],
        "error": None,
        "usage": None,
        **echo,
    }


def test_a_bare_request_sends_nothing_that_was_not_asked_for() -> None:
    """Null is as good as missing."""
    nothing = dict.fromkeys(["temperature", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "seed"])
    expected = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert translate(**nothing).body == expected  # type: ignore[arg-type]
    assert translate().body == expected


def test_the_echo_of_a_bare_request_has_the_defaults_of_the_specification() -> None:
    """22 members; with the nine that only the answer knows they are the 31."""
    assert translate().context.request_echo == ECHOED


def test_sampling_travels_as_it_is() -> None:
    """Zero is a value."""
    fields: dict[str, Any] = {"temperature": 0, "top_p": 0.5, "presence_penalty": -1, "frequency_penalty": 0.0}
    made = translate(**fields)
    assert {name: made.body[name] for name in fields} == fields
    assert {name: made.context.request_echo[name] for name in fields} == fields


@pytest.mark.parametrize(("quirks", "name"), [(GENERIC, "max_tokens"), (OPENAI, "max_completion_tokens")])
def test_max_output_tokens_goes_under_the_name_that_the_provider_reads(quirks: Any, name: str) -> None:
    """llama-cpp-python ignores the one, OpenAI's reasoning models refuse the other. One token is a legal wish."""
    made = translate(quirks=quirks, max_output_tokens=1)
    assert made.body[name] == 1
    assert len(made.body) == 3
    assert translate(quirks=quirks, max_tokens=5).body[name] == 5


def test_B3_usage_is_always_asked_for_in_a_stream() -> None:
    """The last event has to carry it; a provider that refuses the option is spared."""
    made = translate(stream=True)
    assert (made.body["stream"], made.body["stream_options"]) == (True, {"include_usage": True})
    assert made.context.wants_stream
    assert "stream_options" not in translate(stream=True, quirks=generic(stream_usage=False)).body
    whole = translate(stream=False)
    assert not whole.body.keys() & {"stream", "stream_options"}
    assert not whole.context.wants_stream
    assert translate(stream=True, stream_options={"include_obfuscation": True}).context.obfuscation


def test_C8_a_schema_without_a_name_gets_one() -> None:
    """Chat completions demands it."""
    made: Any = translate(text={"format": {"type": "json_schema", "schema": SCHEMA}})
    assert made.body["response_format"]["json_schema"]["name"] == "response"


def test_G23_a_json_schema_keeps_its_description_and_strict() -> None:
    """Neither lost nor forced."""
    made: Any = translate(text=json_schema(description="d", strict=True))
    assert made.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": SCHEMA, "description": "d", "strict": True},
    }
    lax: Any = translate(text=json_schema(strict=False))
    assert lax.body["response_format"]["json_schema"]["strict"] is False
    bare: Any = translate(text=json_schema())
    assert bare.body["response_format"]["json_schema"] == {"name": "n", "schema": SCHEMA}


def test_G23_response_format_of_chat_completions_is_understood() -> None:
    """Clients send it to this endpoint too."""
    chat = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    assert translate(response_format=chat).body["response_format"] == chat
    assert translate(response_format={"type": "json_object"}).body["response_format"] == {"type": "json_object"}
    assert "response_format" not in translate(text={"format": {"type": "text"}}).body


def test_G23_a_format_that_the_provider_lacks_is_refused_or_described() -> None:
    """By policy; never silently left out."""
    for weak in (Structured.JSON_OBJECT, Structured.NONE):
        bare = generic(structured=weak, schema_in_prompt=False)
        assert refusal(quirks=bare, text=json_schema()).param == "text.format"
    left: Any = translate(
        quirks=generic(structured=Structured.JSON_OBJECT, schema_in_prompt=False), policy=DROP, text=json_schema()
    )
    assert (left.body["response_format"], left.body["messages"]) == ({"type": "json_object"}, [user("hi")])
    assert left.dropped == ("text.format",)
    none: Any = translate(
        quirks=generic(structured=Structured.NONE), policy=DROP, text={"format": {"type": "json_object"}}
    )
    assert "response_format" not in none.body
    assert none.body["messages"][0]["role"] == "system"


@pytest.mark.parametrize("quirks", [PRESETS["deepseek"], generic(structured=Structured.JSON_OBJECT)])
@pytest.mark.parametrize(
    "form", [{"text": json_schema(strict=True)}, {"response_format": json_schema(strict=True)["format"]}]
)
def test_where_there_is_only_json_object_the_schema_is_in_the_prompt_as_well(quirks: Quirks, form: Any) -> None:
    """As the provider asks for by its own guide; that nothing holds the model to it is told."""
    made: Any = translate(quirks=quirks, instructions="A", **form)
    assert made.body["response_format"] == {"type": "json_object"}
    said = made.body["messages"][0]["content"]
    assert said.startswith("A\n\nAnswer with a single JSON object that matches")
    assert json.loads(said[said.index("{") :]) == SCHEMA
    assert made.dropped == (f"{next(iter(form)).replace('text', 'text.format')}.strict",)
    forced = translate(quirks=quirks, tools=[function()], tool_choice="required", **form)
    assert "JSON" not in str(forced.body["messages"])


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ({"format": "json"}, "text.format"),
        ({"format": {}}, "text.format.type"),
        ({"format": {"type": "json_schema"}}, "text.format.schema"),
        ({"format": {"type": "json_schema", "schema": SCHEMA, "strict": 1}}, "text.format.strict"),
        ({"format": {"type": "json_schema", "schema": SCHEMA, "name": 1}}, "text.format.name"),
        ({"format": {"type": "grammar"}}, "text.format.type"),
        ("x", "text"),
    ],
)
def test_G23_broken_formats_are_refused(text: object, param: str) -> None:
    """With their path."""
    assert refusal(text=text).param == param


def test_a_forced_call_wins_over_a_schema() -> None:
    """instructor sends both; servers that hold the answer to the schema could not make the call."""
    made = translate(tools=[function()], tool_choice={"type": "function", "name": "f"}, text=json_schema())
    assert "response_format" not in made.body
    assert made.dropped == ("text.format",)


def test_logprobs_are_asked_for_by_include_or_by_number() -> None:
    """Either is a wish for them."""
    by_include = translate(include=["message.output_text.logprobs"])
    assert by_include.body["logprobs"] is True
    assert "top_logprobs" not in by_include.body
    by_number = translate(top_logprobs=3)
    assert (by_number.body["logprobs"], by_number.body["top_logprobs"]) == (True, 3)
    assert "message.output_text.logprobs" in by_number.context.include
    assert "logprobs" not in translate(top_logprobs=0).body
    assert refusal(top_logprobs=3, quirks=generic(logprobs=False)).param == "top_logprobs"


@pytest.mark.parametrize(
    ("preset", "asked", "sent"),
    [
        ("generic", "minimal", {"reasoning_effort": "none"}),
        ("generic", "xhigh", {"reasoning_effort": "high"}),
        ("ollama", "max", {"reasoning_effort": "high"}),
        ("gemini", "xhigh", {"reasoning_effort": "high"}),
        ("sglang", "max", {"reasoning_effort": "high"}),
        ("llama_cpp", "xhigh", {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "high"}}),
        ("deepseek", "xhigh", {"reasoning_effort": "high"}),
        ("deepseek", "medium", {"reasoning_effort": "low"}),
        ("deepseek", "none", {"thinking": {"type": "disabled"}}),
        ("mistral", "max", {"reasoning_effort": "high"}),
        ("mistral", "medium", {"reasoning_effort": "none"}),
        ("openrouter", "max", {"reasoning": {"effort": "xhigh"}}),
        ("openrouter", "minimal", {"reasoning": {"effort": "minimal"}}),
        ("openai", "max", {"reasoning_effort": "max"}),
        ("vllm", "minimal", {"reasoning_effort": "minimal"}),
        ("generic", "enormous", {"reasoning_effort": "enormous"}),
    ],
)
def test_an_effort_that_a_provider_does_not_have_is_the_next_lower(
    preset: str, asked: str, sent: dict[str, object]
) -> None:
    """As the client is told: its own word is repeated in the answer."""
    made = translate(reasoning={"effort": asked}, quirks=PRESETS[preset])
    assert {name: made.body.get(name) for name in sent} == sent
    assert ("thinking" in made.body) is ("thinking" in sent)
    assert made.dropped == ()


@pytest.mark.parametrize(("known", "sent"), [(("low", "high"), "low"), (("high",), "high"), (("max", "none"), "none")])
def test_the_least_effort_stands_for_those_below_it(known: tuple[str, ...], sent: str) -> None:
    """Nothing is lower; the order in which an operator lists them does not matter."""
    assert translate(reasoning={"effort": "none"}, quirks=generic(efforts=known)).body["reasoning_effort"] == sent


@pytest.mark.parametrize(
    ("effort", "expected"),
    [
        (Effort.REASONING_EFFORT, {"reasoning_effort": "low"}),
        (Effort.THINKING_OBJECT, {"reasoning_effort": "low"}),
        (Effort.REASONING_OBJECT, {"reasoning": {"effort": "low"}}),
        (Effort.TEMPLATE_KWARGS, {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}}),
        (Effort.DROP, {}),
    ],
)
def test_reasoning_effort_is_said_as_the_provider_hears_it(effort: Effort, expected: dict[str, object]) -> None:
    """Or its loss is noted."""
    made = translate(reasoning={"effort": "low", "summary": "auto"}, quirks=generic(effort=effort))
    assert {name: made.body[name] for name in made.body.keys() - {"model", "messages"}} == expected
    assert made.dropped == (("reasoning.effort",) if effort is Effort.DROP else ())
    assert made.context.summary == "auto"


def test_template_kwargs_of_the_client_go_before_ours() -> None:
    """An extra that both have is merged."""
    quirks = generic(effort=Effort.TEMPLATE_KWARGS)
    made = translate(
        reasoning={"effort": "none"}, chat_template_kwargs={"x": 1, "reasoning_effort": "y"}, quirks=quirks
    )
    assert made.body["chat_template_kwargs"] == {"enable_thinking": False, "reasoning_effort": "y", "x": 1}


def test_G22_fields_of_this_api_alone_are_not_forwarded() -> None:
    """Chat servers answer them with 400. What Codex sends with every request is no reason to refuse it."""
    made = translate(
        store=False,
        include=[ENCRYPTED_REASONING],
        prompt_cache_key="k",
        client_metadata={"a": "b"},
        prompt_cache_retention="24h",
        truncation="auto",
        max_tool_calls=3,
        metadata={"a": "b"},
        safety_identifier="s",
        user="u",
        service_tier="flex",
        text={"verbosity": "low"},
    )
    assert made.body.keys() == {"model", "messages"}
    assert set(made.dropped) == {
        "client_metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "text.verbosity",
        "user",
    }
    assert made.context.include == {ENCRYPTED_REASONING}


def test_hints_go_to_who_knows_them() -> None:
    """OpenAI takes all but metadata, which it only takes with store."""
    fields: dict[str, Any] = {name: name for name in set(HINTS) - {"metadata", "verbosity"}}
    made = translate(**fields, text={"verbosity": "low"}, metadata={"a": "b"}, quirks=OPENAI)
    assert made.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "verbosity": "low",
        **fields,
    }
    assert made.dropped == ()


def test_unknown_fields_pass_but_never_replace_what_the_translation_says() -> None:
    """seed, stop, top_k: chat completions and its vendors know more than this API does."""
    made = translate(seed=1, stop=["x"], top_k=4, messages=[], functions=[], logprobs=True)
    assert {name: made.body[name] for name in ("seed", "stop", "top_k")} == {"seed": 1, "stop": ["x"], "top_k": 4}
    assert made.body["messages"] == [{"role": "user", "content": "hi"}]
    assert set(made.dropped) == {"messages", "functions", "logprobs"}
    both = translate(reasoning={"effort": "low"}, reasoning_effort="high")
    assert both.body["reasoning_effort"] == "low"


def test_the_operator_can_add_and_leave_out_fields() -> None:
    """Per provider; what the client says goes before what is added."""
    quirks = generic(drop=frozenset({"temperature"}), extra={"top_k": 1, "seed": 2})
    made = translate(temperature=1, seed=3, quirks=quirks)
    assert made.body.keys() == {"model", "messages", "top_k", "seed"}
    assert (made.body["top_k"], made.body["seed"]) == (1, 3)
    assert made.dropped == ("temperature",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("background", True),
        ("store", True),
        ("conversation", "conv_1"),
        ("prompt", {"id": "pmpt_1"}),
        ("context_management", [{"type": "compaction"}]),
    ],
)
def test_F10_what_needs_a_server_with_state_is_refused_or_dropped_visibly(field: str, value: object) -> None:
    """Never accepted and ignored; the echo says what is true."""
    assert refusal(**{field: value}).param == field  # type: ignore[arg-type]
    made = translate(policy=DROP, **{field: value})  # type: ignore[arg-type]
    assert field in made.dropped
    assert (made.context.request_echo["store"], made.context.request_echo["background"]) == (False, False)


def test_F10_a_proxy_that_stores_says_so() -> None:
    """The default of the specification is true."""
    stores = Policy(stores=True)
    assert translate(policy=stores).context.request_echo["store"] is True
    assert translate(policy=stores, store=True).context.request_echo["store"] is True
    assert translate(policy=stores, store=False).context.request_echo["store"] is False


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", 1),
        ("input", 1),
        ("instructions", ["x"]),
        ("temperature", "1"),
        ("temperature", True),
        ("max_output_tokens", 1.5),
        ("max_output_tokens", 0),
        ("max_output_tokens", True),
        ("max_tool_calls", 0),
        ("top_logprobs", -1),
        ("stream", "yes"),
        ("store", 1),
        ("truncation", "never"),
        ("metadata", []),
        ("include", "x"),
        ("reasoning", "low"),
        ("reasoning", {"effort": 1}),
        ("stream_options", 1),
        ("n", 2),
        ("service_tier", 1),
        ("parallel_tool_calls", "no"),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(field: str, value: object) -> None:
    """What is echoed has to be valid, so what is taken has to be."""
    request: dict[str, object] = {"model": "m", "input": "hi", field: value}
    with pytest.raises(InvalidRequest) as caught:
        to_chat(request, GENERIC, DROP)
    assert caught.value.param in (field, f"{field}.effort")


FULL: dict[str, Any] = {
    "instructions": "i",
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 1,
    "frequency_penalty": 1,
    "parallel_tool_calls": False,
    "max_output_tokens": 16,
    "max_tool_calls": 1,
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "truncation": "auto",
    "service_tier": "flex",
    "metadata": {"a": "b"},
    "store": False,
    "top_logprobs": 2,
    "text": {**json_schema(), "verbosity": "low"},
    "reasoning": {"effort": "minimal"},
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        FULL,
        {"tools": [function(), {"type": "function", "name": "g"}], "tool_choice": {"type": "function", "name": "f"}},
        {
            "tools": [function()],
            "tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]},
        },
        {"tools": [{"type": "custom", "name": "c"}], "tool_choice": {"type": "custom", "name": "c"}},
        {"tools": [function(), {"type": "web_search"}], "service_tier": "auto"},
        {"reasoning": {}, "text": {"verbosity": "extreme"}},
        {"reasoning": {"effort": "max", "summary": "none"}, "text": {"format": {"type": "json_object"}}},
    ],
)
def test_the_echo_is_valid_by_the_specification_whatever_was_asked(fields: dict[str, Any]) -> None:
    """Checked against the specification's own schema."""
    made = translate(policy=Policy(profile=Profile.OPENRESPONSES), **fields)
    assert schema_breaches("ResponseResource", resource_of(made.context.request_echo), "$") == []


def test_the_echo_in_openais_profile_is_what_was_sent() -> None:
    """Schema, efforts and tools of other kinds in full; secrets of tools never. Responses case I3."""
    mcp = {"type": "mcp", "server_url": "http://x", "headers": {"a": "secret"}, "authorization": "secret"}
    policy = Policy(profile=Profile.OPENAI, hosted_tools=HostedTools.PASS)
    tools = [function(), {"type": "custom", "name": "c"}, mcp]
    echo: Any = translate(
        policy=policy, text=json_schema(), reasoning={"effort": "minimal"}, tools=tools
    ).context.request_echo
    assert echo["text"]["format"]["schema"] == SCHEMA
    assert echo["reasoning"] == {"effort": "minimal", "summary": None}
    assert echo["tools"][1:] == [{"type": "custom", "name": "c"}, {"type": "mcp", "server_url": "http://x"}]


def test_a_tool_that_was_left_out_is_not_echoed() -> None:
    """The response shows what the model was offered."""
    tools = [function(), {"type": "custom", "name": "c"}, {"type": "web_search"}]
    echo: Any = translate(policy=Policy(profile=Profile.OPENAI), tools=tools).context.request_echo
    assert [tool["type"] for tool in echo["tools"]] == ["function", "custom"]


def test_the_profile_follows_the_request_unless_the_operator_says_which() -> None:
    """Tools that only OpenAI's schema knows are a mark."""
    assert translate().context.profile is Profile.OPENRESPONSES
    assert translate(tools=[function()]).context.profile is Profile.OPENRESPONSES
    assert translate(tools=[{"type": "custom", "name": "c"}]).context.profile is Profile.OPENAI
    assert translate(policy=Policy(profile=Profile.OPENAI)).context.profile is Profile.OPENAI


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_takes_a_conversation_with_tools(preset: str) -> None:
    """No combination of quirks breaks the translation, and what it drops of this is nothing that a text needs."""
    items = [
        {"role": "developer", "content": "d"},
        {"role": "user", "content": "u"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "r"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "o"},
    ]
    made: Any = translate(items, tools=[function()], stream=True, quirks=PRESETS[preset])
    assert [one["role"] for one in made.body["messages"]][1:] == ["user", "assistant", "tool"]
    assert set(made.dropped) <= {"input[].reasoning"}


@pytest.mark.parametrize(
    ("by_key", "refused", "dropped"),
    [
        ({"background": OnUnsupported.DROP}, "store", None),
        ({"background": OnUnsupported.DROP, "store": OnUnsupported.DROP}, "input[0].content[0].file_id", None),
        ({"input": OnUnsupported.DROP, "background": OnUnsupported.DROP, "store": OnUnsupported.DROP}, None, 3),
        ({"input": OnUnsupported.DROP, "input[].content": OnUnsupported.REJECT}, "background", None),
    ],
)
def test_on_unsupported_decides_by_the_path_or_its_beginning(
    by_key: dict[str, OnUnsupported], refused: str | None, dropped: int | None
) -> None:
    """The longest that is named counts; what is not named goes by the rule for all."""
    content = [{"type": "input_image", "file_id": "f"}, {"type": "input_text", "text": "x"}]
    fields: dict[str, Any] = {"background": True, "store": True}
    policy = Policy(unsupported=by_key)
    if refused is not None:
        assert refusal([{"role": "user", "content": content}], policy=policy, **fields).param == refused
    else:
        made = translate([{"role": "user", "content": content}], policy=policy, **fields)
        assert made.dropped == ("background", "store", "input[].content[].file_id")
        assert len(made.dropped) == dropped
