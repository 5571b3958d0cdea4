"""Chat requests to Responses requests: every field is said, refused or noted; what comes out fits the specification."""

import json
from dataclasses import replace
from typing import Any

import pytest
from reverse_helpers import Json
from support.responses_schema import schema_breaches

from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.policy import NO_OUTPUT, InvalidRequest, OnUnsupported, Orphans, Policy, Unanswered
from onwards_py.transcode.neutral.quirks import COMMON_EFFORTS, Quirks, Replay, System
from onwards_py.transcode.pairs import Translated, to_responses

DROP = Policy(on_unsupported=OnUnsupported.DROP)
KEEP = replace(PRESETS["generic"], system=System.KEEP)
HI: Json = {"role": "user", "content": "hi"}
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}}


def translate(
    *messages: Json, quirks: Quirks = PRESETS["generic"], policy: Policy | None = None, fits: bool = True, **fields: Any
) -> Translated[ChatContext]:
    """The translation of these messages; ``fits``: the specification has a schema for what comes out."""
    request = {"model": "m", "messages": list(messages) or [HI], **fields}
    made = to_responses(request, quirks, policy or Policy())
    if fits:
        assert schema_breaches("CreateResponseBody", made.body, "request") == []
    return made


def as_list(value: object) -> Any:
    """A JSON array to look into."""
    return value


def items(*messages: Json, **more: Any) -> Any:
    return translate(*messages, **more).body["input"]


def made(**fields: Any) -> Any:
    return translate(**fields).body


def refused(*messages: Json, policy: Policy | None = None, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        translate(*messages, policy=policy, fits=False, **fields)
    return caught.value


def call(id_: str, name: str = "f", arguments: str = "{}") -> Json:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Json, **more: object) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def output(id_: str, content: object = "ok") -> Json:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def function(name: str = "f", **more: object) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **more}}


def test_the_least_request() -> None:
    """``store`` is always said: left out it means false to chat, and true to Responses."""
    assert made() == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "store": False,
    }
    assert made(store=True)["store"] is True


def test_roles() -> None:
    """In their places, where the provider takes system messages anywhere."""
    said = [{"role": role, "content": role} for role in ("system", "user", "developer", "assistant")]
    assert [item["role"] for item in items(*said, quirks=KEEP)] == ["system", "user", "system", "assistant"]
    knowing = replace(KEEP, developer_role=True)
    assert items(*said, quirks=knowing)[2]["role"] == "developer"


def test_D7_system_messages_become_instructions() -> None:
    """Those at the beginning; a later one stays in its place as a developer item."""
    said: list[Json] = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        HI,
        {"role": "system", "content": "c"},
    ]
    for system in (System.HOIST, System.MERGE_LEADING):
        leading = translate(*said, quirks=replace(PRESETS["generic"], system=system))
        assert leading.body["instructions"] == "a\n\nb"
        assert as_list(leading.body["input"])[1] == {"type": "message", "role": "developer", "content": "c"}


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_messages_that_stand_alone_are_the_input(preset: str, role: str) -> None:
    """Providers refuse an input without items."""
    said = translate({"role": role, "content": "a"}, {"role": role, "content": "b"}, quirks=PRESETS[preset])
    assert [item["content"] for item in as_list(said.body["input"])] == ["a", "b"]
    assert {item["role"] for item in as_list(said.body["input"])} <= {"system", "developer"}
    assert "instructions" not in said.body


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_an_empty_array_of_parts_is_refused_with_its_path(role: str) -> None:
    error = refused(HI, {"role": role, "content": []})
    assert (error.param, error.code) == ("messages[1].content", "empty_array")


def test_equal_call_ids_in_one_message_are_refused_with_the_path_of_the_second() -> None:
    """In two messages they are two calls."""
    error = refused(HI, calling(call("a"), call("b"), call("a")), output("a"), output("b"))
    assert error.param == "messages[1].tool_calls[2].id"
    twice = items(HI, calling(call("a")), output("a", "1"), calling(call("a")), output("a", "2"))
    assert [item.get("output") for item in twice[1:]] == [None, "1", None, "2"]


def test_content_parts() -> None:
    """Text, images by URL and data, files, video; order kept."""
    parts: list[Json] = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
        {"type": "image_url", "image_url": "data:image/png;base64,AA=="},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
    ]
    assert items({"role": "user", "content": parts})[0]["content"] == [
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
    ]
    more: list[Json] = [
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "video_url", "video_url": {"url": "https://x/y.mp4"}},
    ]
    assert items({"role": "user", "content": more}, fits=False)[0]["content"] == [
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_video", "video_url": "https://x/y.mp4"},
    ]


def test_audio_goes_where_it_is_understood() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    said = {"role": "user", "content": [{"type": "text", "text": "x"}, audio]}
    knowing = replace(PRESETS["generic"], audio=True)
    assert items(said, quirks=knowing, fits=False)[0]["content"][1] == audio
    assert refused(said).param == "messages[0].content[1]"
    assert translate(said, policy=DROP).dropped == ("messages[].content[]",)
    alone = {"role": "user", "content": [audio]}
    assert items(alone, policy=DROP) == [{"type": "message", "role": "user", "content": ""}]  # [] is refused


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "x"}, "messages[0].content[0].type"),
        ({"type": "text", "text": 1}, "messages[0].content[0].text"),
        ({"type": "image_url", "image_url": {}}, "messages[0].content[0].image_url"),
        ({"type": "file", "file": {}}, "messages[0].content[0].file"),
        (7, "messages[0].content[0]"),
    ],
)
def test_parts_that_are_none_are_refused_by_their_path(part: object, param: str) -> None:
    assert refused({"role": "user", "content": [part]}).param == param


def test_D1_calls_and_their_outputs() -> None:
    """Text, then a call for each entry; arguments byte for byte; each output with its call's id."""
    said = calling(call("c", "f", '{ "a":1}'), call("d", "g"), content="wait")
    assert items(HI, said, output("d", "2"), output("c", [{"type": "text", "text": "1"}]))[1:] == [
        {"type": "message", "role": "assistant", "content": "wait"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{ "a":1}'},
        {"type": "function_call", "call_id": "d", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": "2"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ]


def test_D10_images_in_outputs_stay_images() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    said = items(HI, calling(call("c")), output("c", [{"type": "text", "text": "see"}, image]))
    assert said[-1]["output"] == [
        {"type": "input_text", "text": "see"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
    ]


def test_an_output_that_lists_parts_in_a_string_is_that_list() -> None:
    """One entry that is no content part, and the text is the tool's."""
    image = {"type": "image_url", "image_url": {"url": "http://x"}}
    parts: list[Json] = [{"type": "text", "text": "a"}, image]
    assert items(calling(call("a")), output("a", json.dumps(parts))) == items(calling(call("a")), output("a", parts))
    own = '[{"type":"file","name":"a.txt"}]'
    assert items(calling(call("a")), output("a", own))[1]["output"] == own


def test_custom_calls_and_their_outputs() -> None:
    """A custom tool's call has text in place of arguments, and an output of its own type."""
    custom = {"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    assert items(HI, calling(custom), output("c"), fits=False)[1:] == [
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
    ]


def test_legacy_function_messages_find_their_call_by_name() -> None:
    """From before calls had ids: the ids are ours, and the same for a call and its output."""
    said: list[Json] = [
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "2"},
    ]
    ids = [item["call_id"] for item in items(*said)[1:]]
    assert ids == ["call_function_0"] * 2 + ["call_function_1"] * 2


def test_D19_long_call_ids_are_shortened_alike() -> None:
    """More than 64 characters: the same digest for the call and for its output, another for another id."""
    long = "c" * 65
    said = items(HI, calling(call(long), call(long + "d")), output(long), output(long + "d"))
    ids = [item["call_id"] for item in said[1:]]
    assert ids[:2] == ids[2:]
    assert len(set(ids)) == 2
    assert all(len(id_) <= 64 for id_ in ids)
    assert items(HI, calling(call("c" * 64)), output("c" * 64))[1]["call_id"] == "c" * 64


def test_D4_a_call_without_an_output_gets_one() -> None:
    """Right behind the call, since providers refuse it otherwise; or the call goes, or the request."""
    said = [HI, calling(call("c"), call("d")), output("d"), {"role": "user", "content": "go on"}]
    kept = translate(*said)
    assert [item["type"] for item in as_list(kept.body["input"])] == [
        "message",
        "function_call",
        "function_call_output",
        "function_call",
        "function_call_output",
        "message",
    ]
    dropped = items(*said, policy=Policy(unanswered=Unanswered.DROP))
    assert [item.get("call_id") for item in dropped] == [None, "d", "d", None]
    assert refused(*said, policy=Policy(unanswered=Unanswered.REJECT)).param == "messages"
    again = [HI, calling(call("c")), {"role": "user", "content": "go on"}, calling(call("c", "g")), output("c")]
    assert [item.get("output") for item in items(*again)] == [None, None, NO_OUTPUT, None, None, "ok"]
    assert refused(*again, policy=Policy(unanswered=Unanswered.REJECT)).param == "messages"


def test_D5_an_output_without_a_call() -> None:
    """Refused, or a user's words; two outputs for one call are one too many."""
    assert refused(HI, output("c")).param == "messages[1]"
    assert refused(HI, calling(call("c")), output("c"), output("c")).param == "messages[3]"
    assert refused({"role": "function", "name": "f", "content": "x"}).param == "messages[0]"
    said = items(HI, output("c"), policy=Policy(orphans=Orphans.REPAIR))
    assert [part["text"] for part in said[1]["content"]] == ["Output of a tool call:\n", "ok"]


def test_D20_a_tool_message_needs_an_id() -> None:
    assert refused(HI, {"role": "tool", "content": "x"}).param == "messages[1].tool_call_id"


def test_refusals_of_earlier_turns() -> None:
    """As a field, and as a part: both are parts of the message."""
    as_field = {"role": "assistant", "content": None, "refusal": "no"}
    as_part = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    for said in (as_field, as_part):
        assert items(HI, said)[1]["content"] == [{"type": "refusal", "refusal": "no"}]


def test_the_phase_of_a_message_is_kept() -> None:
    """Responses have it; what is none is nothing."""
    said = items(HI, *({"role": "assistant", "content": "x", "phase": phase} for phase in ("commentary", 1)))
    assert [item.get("phase") for item in said] == [None, "commentary", None]


def test_names_of_speakers_are_noted_as_left_out() -> None:
    assert translate({**HI, "name": "ada"}).dropped == ("messages[].name",)


def test_D14_reasoning_goes_back_where_it_is_wanted() -> None:
    """As a summary, the one place that the specification has for it; else it is noted as left out."""
    said = [HI, calling(call("c"), reasoning_content="hm"), output("c")]
    assert items(*said)[1] == {
        "type": "reasoning",
        "id": "rs_0",
        "summary": [{"type": "summary_text", "text": "hm"}],
    }
    left = translate(*said, quirks=PRESETS["openai"])
    assert left.dropped == ("messages[].reasoning_content",)
    earlier = [HI, {"role": "assistant", "content": "x", "reasoning_content": "hm"}, HI]
    for replay, count in ((Replay.TOOL_TURNS, 0), (Replay.LAST, 0), (Replay.ALWAYS, 1)):
        kinds = [item["type"] for item in items(*earlier, quirks=replace(KEEP, replay=replay))]
        assert kinds.count("reasoning") == count


def test_sealed_reasoning_goes_back_always() -> None:
    """The provider's own blob under the id that it came with, before what it led to."""
    detail = {"type": "reasoning.encrypted", "id": "rs_9", "data": "blob", "format": "openai-responses-v1", "index": 0}
    said = items(HI, calling(call("c"), reasoning_details=[detail]), output("c"), quirks=PRESETS["openai"])
    assert said[1] == {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": "blob"}
    assert said[2]["type"] == "function_call"


def test_E9_strict_is_always_said() -> None:
    """Left out it means false to chat, and true to Responses; no parameters are an object without members."""
    bare = {"type": "function", "function": {"name": "g"}}
    flat = {"type": "function", "name": "h", "parameters": SCHEMA, "strict": True}
    assert made(tools=[function(description="d"), bare, flat])["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "function", "name": "h", "parameters": SCHEMA, "strict": True},
    ]


def test_custom_tools_and_those_that_chat_does_not_know() -> None:
    """A grammar is not nested; a hosted tool goes on as it is."""
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}
    custom = {"type": "custom", "custom": {"name": "patch", "description": "d", "format": grammar}}
    said = made(tools=[custom, {"type": "web_search"}], tool_choice={"type": "web_search"}, fits=False)
    assert said["tools"] == [
        {
            "type": "custom",
            "name": "patch",
            "description": "d",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"},
        },
        {"type": "web_search"},
    ]
    assert said["tool_choice"] == {"type": "web_search"}


def test_web_search_options_are_a_tool() -> None:
    place = {"type": "approximate", "approximate": {"country": "FR"}}
    said = made(web_search_options={"search_context_size": "low", "user_location": place}, fits=False)
    location = {"type": "approximate", "country": "FR"}
    assert said["tools"] == [{"type": "web_search", "search_context_size": "low", "user_location": location}]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "none"}, "none"),
        ({"type": "auto"}, "auto"),
        ({"type": "required"}, "required"),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function()]}},
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
        ),
    ],
)
def test_E6_tool_choices(choice: object, said: object) -> None:
    """Nested or flat, they come out flat."""
    assert made(tools=[function()], tool_choice=choice)["tool_choice"] == said


def test_E6_a_choice_of_what_is_not_offered_is_refused() -> None:
    for choice in (
        {"type": "function", "function": {"name": "g"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function("g")]}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        "any",
        7,
    ):
        assert refused(tools=[function()], tool_choice=choice).param.startswith("tool_choice")
    assert refused(tool_choice="required").param == "tool_choice"
    assert refused(tool_choice={"type": "required"}).param == "tool_choice"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"properties": {"a": {}}}, {"type": "object", "properties": {"a": {}}}),
        ({"anyOf": [SCHEMA]}, {"type": "object", "anyOf": [SCHEMA]}),
        ({"type": None, "$ref": "#/$defs/x"}, {"type": "object", "$ref": "#/$defs/x"}),
        ({"type": ["object", "null"]}, {"type": "object"}),
        ({"type": "string"}, {"type": "string"}),
    ],
)
def test_the_root_of_a_tools_schema_says_that_it_is_an_object(given: Json, sent: Json) -> None:
    """Only what says another type stays, for the provider to refuse."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": given}}]
    assert made(tools=tools)["tools"][0]["parameters"] == sent


def test_E7_without_tools_nothing_is_said_about_them() -> None:
    said = made(tool_choice="auto", parallel_tool_calls=True)
    assert not said.keys() & {"tools", "tool_choice", "parallel_tool_calls"}
    assert made(tools=[function()], parallel_tool_calls=False)["parallel_tool_calls"] is False


def test_functions_from_before_tools() -> None:
    """One call at a time, as the old answer has room for one; the context remembers it."""
    one = {"name": "f", "parameters": SCHEMA}
    old = translate(functions=[one], function_call={"name": "f"})
    assert old.body["tools"] == [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": False}]
    assert old.body["tool_choice"] == {"type": "function", "name": "f"}
    assert old.body["parallel_tool_calls"] is False
    assert old.context.legacy_functions
    assert made(functions=[one], function_call="none")["tool_choice"] == "none"
    assert not translate(tools=[function()]).context.legacy_functions


def test_G23_response_formats() -> None:
    """A schema is not nested, and always has a name; text is what is there anyway."""
    schema = {"name": "n", "description": "d", "schema": SCHEMA, "strict": True}
    form = {"type": "json_schema", "json_schema": schema}
    assert made(response_format=form)["text"]["format"] == {"type": "json_schema", **schema}
    bare = {"type": "json_schema", "json_schema": {"schema": SCHEMA, "strict": None}}
    assert made(response_format=bare, fits=False)["text"]["format"] == {
        "type": "json_schema",
        "name": "response",
        "schema": SCHEMA,
    }
    assert made(response_format={"type": "json_object"}, fits=False)["text"] == {"format": {"type": "json_object"}}
    assert "text" not in made(response_format={"type": "text"})
    assert refused(response_format={"type": "json_schema"}).param == "response_format.json_schema.schema"
    assert refused(response_format={"type": "grammar"}).param == "response_format.type"


def test_plain_fields() -> None:
    """Under their names in Responses; the newer name of the limit wins."""
    said = made(
        temperature=0.5,
        top_p=0.9,
        presence_penalty=0,
        frequency_penalty=0.5,
        max_tokens=100,
        max_completion_tokens=200,
        reasoning_effort="low",
        verbosity="high",
        metadata={"a": "b"},
        safety_identifier="s",
        prompt_cache_key="k",
        service_tier="flex",
        seed=None,
    )
    assert {key: value for key, value in said.items() if key not in ("model", "input", "store")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "frequency_penalty": 0.5,
        "max_output_tokens": 200,
        "reasoning": {"effort": "low"},
        "text": {"verbosity": "high"},
        "metadata": {"a": "b"},
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
    }
    assert made(max_tokens=100)["max_output_tokens"] == 100
    assert made(user="u", fits=False)["user"] == "u"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("limit", [1, 5, 15, 5.0])
def test_a_limit_of_tokens_below_the_schemas_is_the_schemas_and_named(name: str, limit: float) -> None:
    translated = translate(**{name: limit})  # type: ignore[arg-type]
    assert (translated.body["max_output_tokens"], translated.dropped) == (16, (name,))
    assert translate(**{name: 16}).dropped == ()  # type: ignore[arg-type]


def test_streams() -> None:
    """Usage is in the terminal event anyway: the wish for a chunk of it is the answer's business."""
    plain = translate(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})
    assert plain.body["stream"] is True
    assert "stream_options" not in plain.body
    assert plain.context.wants_stream
    assert plain.context.wants_usage_chunk
    assert plain.dropped == ("stream_options.continuous_usage_stats",)
    padded = made(stream=True, stream_options={"include_obfuscation": False})
    assert padded["stream_options"] == {"include_obfuscation": False}
    assert not translate().context.wants_stream


def test_log_probabilities() -> None:
    """Asked for by name, and by number; other wishes of ``include`` are kept."""
    said = translate(logprobs=True, top_logprobs=2, include=["reasoning.encrypted_content"])
    assert said.body["include"] == ["message.output_text.logprobs", "reasoning.encrypted_content"]
    assert said.body["top_logprobs"] == 2
    assert said.context.wants_logprobs
    assert refused(logprobs=True, quirks=PRESETS["mistral"]).param == "logprobs"
    assert "include" not in made(logprobs=False)


@pytest.mark.parametrize(
    ("name", "value", "neutral"),
    [
        ("n", 2, 1),
        ("stop", ["x"], []),
        ("stop", "x", None),
        ("seed", 7, None),
        ("logit_bias", {"50256": -100}, {}),
        ("modalities", ["text", "audio"], ["text"]),
        ("audio", {"voice": "v"}, None),
        ("background", True, False),
    ],
)
def test_what_responses_have_no_words_for(name: str, value: object, neutral: object) -> None:
    """InvalidRequest by name, or left out and noted; where it says nothing it is nothing."""
    said: Json = {name: value}
    assert refused(**said).param == name
    left = translate(policy=DROP, **said)
    assert left.dropped == (name,)
    assert name not in left.body
    nothing: Json = {name: neutral}
    assert translate(**nothing).dropped == ()


def test_each_of_them_is_decided_on_by_its_key() -> None:
    """As ``seed``, without which an answer is as good, and ``stop``, without which it is another."""
    policy = Policy(unsupported={"seed": OnUnsupported.DROP, "logit_bias": OnUnsupported.DROP})
    left = translate(policy=policy, seed=7, logit_bias={"1": 1})
    assert left.dropped == ("seed", "logit_bias")
    assert refused(policy=policy, seed=7, stop="x").param == "stop"
    other = Policy(on_unsupported=OnUnsupported.DROP, unsupported={"stop": OnUnsupported.REJECT})
    assert translate(policy=other, seed=7).dropped == ("seed",)
    assert refused(policy=other, stop=["x"]).param == "stop"


def test_efforts_that_a_provider_does_not_have_are_the_next_lower() -> None:
    """Where its preset says which it has; what is common among providers of chat is no bound here."""
    assert made(reasoning_effort="xhigh", quirks=PRESETS["deepseek"])["reasoning"] == {"effort": "high"}
    assert made(reasoning_effort="xhigh")["reasoning"] == {"effort": "xhigh"}
    said = replace(PRESETS["generic"], efforts=(*COMMON_EFFORTS,))
    assert made(reasoning_effort="xhigh", quirks=said)["reasoning"] == {"effort": "high"}  # an operator's bound is one


def test_a_prediction_is_a_hint() -> None:
    assert translate(prediction={"type": "content", "content": "x"}).dropped == ("prediction",)


def test_unknown_fields_pass() -> None:
    """Those of Responses join what was made of chat's; the messages stay the input."""
    said = translate(
        top_k=5,
        reasoning_effort="low",
        reasoning={"summary": "auto"},
        instructions="first",
        truncation="auto",
        nothing=None,
        input="x",
        fits=False,
        policy=Policy(),
    )
    assert said.body["top_k"] == 5
    assert said.body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert said.body["truncation"] == "auto"
    assert said.body["instructions"] == "first"
    assert said.dropped == ("input",)
    assert "nothing" not in said.body
    both = translate({"role": "system", "content": "second"}, HI, instructions="first")
    assert both.body["instructions"] == "first\n\nsecond"


def test_the_operators_fields() -> None:
    """``extra`` is added unless it is there, ``drop`` is never sent."""
    quirks = replace(PRESETS["generic"], extra={"truncation": "auto"}, drop=frozenset({"metadata", "temperature"}))
    said = translate(quirks=quirks, metadata={"a": "b"}, truncation="disabled")
    assert said.body["truncation"] == "disabled"
    assert "metadata" not in said.body
    assert said.dropped == ("metadata",)
    assert translate(quirks=quirks).body["truncation"] == "auto"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].id"),
        ({"model": ""}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].name"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(fields: Json, param: str) -> None:
    assert refused(**fields).param == param


def test_sizes_have_limits() -> None:
    small = Policy(max_items=1, max_part=10, max_tools=1)
    assert refused(HI, HI, policy=small).code == "array_above_max_length"
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert refused({"role": "user", "content": [image]}, policy=small).code == "string_above_max_length"
    assert refused(tools=[function("f"), function("g")], policy=small).code == "array_above_max_length"
