"""Input items become messages that strict providers take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from request_helpers import (
    DROP,
    OPENAI,
    call,
    function,
    generic,
    image,
    messages,
    output,
    reasoning,
    refusal,
    text,
    translate,
    user,
)

from onwards_py.transcode.neutral.policy import NO_OUTPUT, Orphans, Policy, Unanswered
from onwards_py.transcode.neutral.quirks import EmptyContent, Replay, System, ToolImages


def roles(found: Any) -> list[str]:
    return [message["role"] for message in found]


def test_D1_a_call_and_its_output_become_an_assistant_and_a_tool_message() -> None:
    """Not a message of role tool for both, and no prose."""
    assert messages([user("hi"), call("c1", "f", '{"a": 1}'), output("c1", "sun")]) == [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sun"},
    ]


def test_D2_parallel_calls_followed_by_their_outputs_share_one_message() -> None:
    """Outputs stand in the order of the calls, however they came."""
    found = messages([user("hi"), call("a"), call("b"), output("b", "B"), output("a", "A")])
    assert roles(found) == ["user", "assistant", "tool", "tool"]
    assert [one["id"] for one in found[1]["tool_calls"]] == ["a", "b"]
    assert [(one["tool_call_id"], one["content"]) for one in found[2:]] == [("a", "A"), ("b", "B")]


def test_D2_calls_with_outputs_between_stay_rounds_unless_the_provider_wants_them_merged() -> None:
    """call, output, call, output is what every agent loop looks like: merging would rewrite history at each step."""
    items = [user("hi"), call("a"), output("a"), call("b"), output("b")]
    assert roles(messages(items)) == ["user", "assistant", "tool", "assistant", "tool"]
    merged = messages(items, quirks=generic(merge_rounds=True))
    assert roles(merged) == ["user", "assistant", "tool", "tool"]
    assert [one["id"] for one in merged[1]["tool_calls"]] == ["a", "b"]


def test_D2_a_call_added_while_another_still_waits_belongs_to_the_same_message() -> None:
    """a, b, output of a, c: all three were under way together."""
    found = messages([call("a"), call("b"), output("a"), call("c"), output("b"), output("c")])
    assert roles(found) == ["assistant", "tool", "tool", "tool"]


def test_D3_assistant_text_between_call_and_output_joins_the_calls_message() -> None:
    """Codex and others write a comment between them."""
    found = messages([user("hi"), call("a"), {"role": "assistant", "content": "wait"}, output("a")])
    assert roles(found) == ["user", "assistant", "tool"]
    assert found[1]["content"] == "wait"
    assert found[1]["tool_calls"][0]["id"] == "a"


@pytest.mark.parametrize("role", ["user", "developer"])
def test_D3_other_messages_between_call_and_output_move_behind_the_output(role: str) -> None:
    """Tool messages have to follow their calls at once."""
    found = messages(
        [user("hi"), call("a"), {"role": role, "content": "stop"}, output("a")], quirks=generic(system=System.KEEP)
    )
    assert roles(found)[1:] == ["assistant", "tool", "user" if role == "user" else "system"]


def test_D4_a_call_without_output_gets_one_that_says_so() -> None:
    """An interrupted turn must not brick the conversation."""
    made = translate([user("hi"), call("a"), user("go on")])
    assert made.body["messages"][2] == {"role": "tool", "tool_call_id": "a", "content": NO_OUTPUT}  # type: ignore[index]


def test_D4_a_call_without_output_can_be_dropped_or_refused() -> None:
    """By policy."""
    items = [user("hi"), call("a"), user("go on")]
    dropped = translate(items, policy=Policy(unanswered=Unanswered.DROP))
    assert dropped.body["messages"] == [{"role": "user", "content": "hi\n\ngo on"}]
    assert dropped.dropped == ("input[]",)
    assert refusal(items, policy=Policy(unanswered=Unanswered.REJECT)).param == "input[1].call_id"


def test_D5_an_output_without_call_is_refused_or_repaired() -> None:
    """InvalidRequest with its path; as repair, its text stays in the conversation."""
    assert refusal([user("hi"), output("nope")]).param == "input[1].call_id"
    made = translate([user("hi"), output("nope", "42")], policy=Policy(orphans=Orphans.REPAIR))
    assert made.body["messages"] == [{"role": "user", "content": "hi\n\nOutput of a tool call (nope):\n42"}]


def test_D6_adjacent_assistant_and_user_messages_are_merged() -> None:
    """Templates with alternating roles refuse anything else."""
    said = {"role": "assistant", "content": "a"}
    items = [user("1"), user("2"), said, said]
    assert messages(items) == [{"role": "user", "content": "1\n\n2"}, {"role": "assistant", "content": "a\n\na"}]
    assert roles(messages(items, quirks=OPENAI)) == ["user", "user", "assistant", "assistant"]


def test_D7_instructions_and_developer_messages_are_one_system_message_at_the_beginning() -> None:
    """Strict templates: 'System message must be at the beginning'."""
    items = [{"role": "developer", "content": "B"}, user("hi"), {"role": "system", "content": "C"}, user("ho")]
    made = translate(items, instructions="A")
    assert made.body["messages"] == [
        {"role": "system", "content": "A\n\nB\n\nC"},
        {"role": "user", "content": "hi\n\nho"},
    ]


def test_D7_merge_leading_and_keep_leave_later_system_messages_where_they_are() -> None:
    """System placement is the provider's."""
    items = [{"role": "system", "content": "B"}, user("hi"), {"role": "system", "content": "C"}]
    leading = messages(items, instructions="A", quirks=generic(system=System.MERGE_LEADING))
    assert [one["content"] for one in leading] == ["A\n\nB", "hi", "C"]
    kept = messages(items, instructions="A", quirks=generic(system=System.KEEP))
    assert [one["content"] for one in kept] == ["A", "B", "hi", "C"]


def test_D7_images_in_system_messages_survive_the_merge() -> None:
    """Joined contents keep their parts."""
    items = [{"role": "system", "content": [text("B"), image()]}, user("hi")]
    content = messages(items, instructions="A")[0]["content"]
    assert [part["type"] for part in content] == ["text", "text", "image_url"]


def test_D8_developer_is_system_unless_the_provider_knows_it() -> None:
    """Never dropped, never sent to who refuses it."""
    items = [{"role": "developer", "content": "B"}, user("hi")]
    assert roles(messages(items)) == ["system", "user"]
    assert roles(messages(items, quirks=OPENAI)) == ["developer", "user"]


@pytest.mark.parametrize("policy", list(ToolImages))
def test_D10_images_in_tool_outputs_never_become_text(policy: ToolImages) -> None:
    """Inline, behind in a user message, or a placeholder; base64 stands in no text. Responses case D12."""
    url = "data:image/png;base64,QUJD"
    made = translate([user("x"), call("a"), output("a", [text("see"), image(url)])], quirks=generic(tool_images=policy))
    found: Any = made.body["messages"]
    tool = found[2]
    if policy is ToolImages.INLINE:
        assert [part["type"] for part in tool["content"]] == ["text", "image_url"]
    elif policy is ToolImages.FOLLOWUP_USER:
        assert tool["content"] == "see"
        assert found[3]["role"] == "user"
        assert found[3]["content"][1] == {"type": "image_url", "image_url": {"url": url}}
    else:
        assert tool["content"] == "see\n[1 attachment(s) that cannot be shown]"
        assert made.dropped == ("input[].output",)
    texts = [
        part["text"] for one in found if isinstance(one["content"], list) for part in one["content"] if "text" in part
    ]
    assert not any("QUJD" in said for said in [*texts, *(o["content"] for o in found if isinstance(o["content"], str))])


def test_D11_text_parts_of_an_output_become_one_string() -> None:
    """Arrays are a 422 at many servers, and then at every later turn."""
    found = messages([call("a"), output("a", [text("one "), text("two")])])
    assert found[1]["content"] == "one two"


def test_D13_images_of_outputs_follow_all_tool_messages() -> None:
    """They are a user's, and no user message may stand between the tool messages."""
    found = messages([call("a"), call("b"), output("a", [image()]), output("b"), user("next")])
    assert roles(found) == ["assistant", "tool", "tool", "user"]
    assert found[1]["content"]
    assert found[3]["content"][-1] == {"type": "text", "text": "next"}


def test_D14_reasoning_goes_back_on_the_message_that_follows_it() -> None:
    """And not into its content."""
    found = messages([user("hi"), reasoning("because"), call("a"), output("a")])
    assert found[1]["reasoning_content"] == "because"
    assert found[1]["content"] == ""


def test_D14_later_rounds_of_a_turn_carry_the_reasoning_that_the_client_sent_once() -> None:
    """Codex sends no reasoning item before later calls; providers that insist on it refuse a call without."""
    found = messages([user("hi"), reasoning("because"), call("a"), output("a"), call("b"), output("b")])
    assert [one.get("reasoning_content") for one in found if one["role"] == "assistant"] == ["because", "because"]


@pytest.mark.parametrize(
    ("replay", "expected"),
    [
        (Replay.NONE, [None, None, None]),
        (Replay.TOOL_TURNS, [None, "r2", None]),
        (Replay.LAST, [None, None, "r3"]),
        (Replay.ALWAYS, ["r1", "r2", "r3"]),
    ],
)
def test_D14_which_turns_get_their_reasoning_back_is_the_providers_choice(
    replay: Replay, expected: list[str | None]
) -> None:
    """DeepSeek R1 refuses what V4 demands."""
    said = {"role": "assistant", "content": "x"}
    items = [user("1"), reasoning("r1"), said, user("2"), reasoning("r2"), call("a"), output("a"), user("3")]
    made = translate([*items, reasoning("r3"), said], quirks=generic(replay=replay))
    found: Any = made.body["messages"]
    assert [one.get("reasoning_content") for one in found if one["role"] == "assistant"] == expected
    assert made.dropped == (("input[].reasoning",) if replay is Replay.NONE else ())


def test_D14_reasoning_goes_back_under_the_names_that_the_provider_reads() -> None:
    """One or several."""
    found = messages([reasoning("r"), call("a"), output("a")], quirks=generic(reasoning_out=("reasoning", "thoughts")))
    assert (found[0]["reasoning"], found[0]["thoughts"]) == ("r", "r")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "content": None}, "s"),
        ({"type": "reasoning", "summary": [], "content": None, "encrypted_content": "gAAAA"}, None),
        ({"type": "reasoning", "summary": []}, None),
        ({"type": "reasoning", "summary": None, "content": "plain"}, "plain"),
    ],
)
def test_D15_every_form_of_a_reasoning_item_is_accepted(item: dict[str, object], expected: str | None) -> None:
    """Summary only, encrypted only, null content."""
    assert messages([user("hi"), item, call("a"), output("a")])[1].get("reasoning_content") == expected


def test_D17_calls_and_outputs_pair_by_call_id_alone() -> None:
    """The items' own ids say nothing about it."""
    found = messages([call("c", id="fc_1"), {**output("c", "x"), "id": "fco_9"}])
    assert found[0]["tool_calls"][0]["id"] == found[1]["tool_call_id"] == "c"


def test_D18_items_without_id_are_fine_but_a_call_needs_its_call_id() -> None:
    """D20 too: what would be a tool message without tool_call_id is refused at our edge."""
    assert refusal([{"type": "function_call", "name": "f", "arguments": "{}"}]).param == "input[0].call_id"
    assert refusal([{"type": "function_call_output", "output": "x"}]).param == "input[0].call_id"
    assert refusal([call("")]).param == "input[0].call_id"


def test_D19_long_call_ids_are_shortened_alike_for_call_and_output() -> None:
    """64 characters stay, 65 do not; ids with the same beginning stay apart; the way back is known."""
    exact, one, other = "x" * 64, "x" * 65, "x" * 64 + "y"
    made = translate([call(i) for i in (exact, one, other)] + [output(i) for i in (exact, one, other)])
    found: Any = made.body["messages"]
    ids = [each["id"] for each in found[0]["tool_calls"]]
    assert ids[0] == exact
    assert len(set(ids)) == 3
    assert all(len(each) <= 64 for each in ids)
    assert [each["tool_call_id"] for each in found[1:]] == ids
    assert made.context.call_ids == {ids[1]: one, ids[2]: other}
    assert translate([call(one), output(one)]).context.call_ids == {ids[1]: one}


def test_D19_mistral_gets_ids_of_nine_letters_and_digits() -> None:
    """Its own pass, all others are mapped."""
    found = messages(
        [call("abcDEF123"), call("call_1"), output("abcDEF123"), output("call_1")], quirks=generic(short_call_ids=True)
    )
    ids = [each["id"] for each in found[0]["tool_calls"]]
    assert ids[0] == "abcDEF123"
    assert len(ids[1]) == 9
    assert ids[1].isalnum()


def test_D21_a_string_is_one_user_message_and_nothing_is_refused() -> None:
    """Not split into characters; an empty list is no empty message."""
    assert messages("hello") == [{"role": "user", "content": "hello"}]
    assert refusal([]).param == "input"
    assert refusal(None).param == "input"


def test_D22_items_without_type_are_understood_by_their_members() -> None:
    """Agents SDK and AI SDK leave it out."""
    assert messages([{"role": "user", "content": "hi"}]) == [{"role": "user", "content": "hi"}]
    assert refusal([{"id": "msg_1"}]).code == "item_not_found"


def test_D23_our_own_output_is_understood_as_the_next_input() -> None:
    """Status, ids, annotations, logprobs and content on reasoning included."""
    ours = [
        {
            "type": "reasoning",
            "id": "rs_1",
            "status": "completed",
            "summary": [{"type": "summary_text", "text": "why"}],
            "content": [{"type": "reasoning_text", "text": "why"}],
        },
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
    ]
    made = translate([user("hi"), *ours, output("c"), user("go")], tools=[function()])
    found: Any = made.body["messages"]
    assert found[1]["content"] == "hello"
    assert found[1]["reasoning_content"] == "why"
    assert found[1]["tool_calls"][0]["id"] == "c"
    assert made.dropped == ()


def test_D24_text_parts_are_joined_without_a_space_or_kept() -> None:
    """By the provider's quirk."""
    item = {"role": "user", "content": [text("a"), text("b")]}
    assert messages([item])[0]["content"] == "ab"
    kept = messages([item], quirks=OPENAI)[0]["content"]
    assert [part["text"] for part in kept] == ["a", "b"]


@pytest.mark.parametrize("kind", ["local_shell_call", "compaction_trigger", "web_search_call"])
def test_D25_unknown_items_are_refused_with_their_path_or_dropped_visibly(kind: str) -> None:
    """Never a crash, never in silence."""
    items = [user("hi"), {"type": kind, "role": "x", "content": [1]}]
    assert refusal(items).param == "input[1].type"
    made = translate(items, policy=DROP)
    assert made.body["messages"] == [{"role": "user", "content": "hi"}]
    assert made.dropped == ("input[].type",)


@pytest.mark.parametrize("arguments", ['{"a":  1}', '{"b":"\\u00e9"}', "{}", '{ "x" : [1, 2.50] }'])
def test_D26_arguments_stay_equal_to_the_byte(arguments: str) -> None:
    """They are a string, and not encoded once more."""
    assert (
        messages([call("a", arguments=arguments), output("a")])[0]["tool_calls"][0]["function"]["arguments"]
        == arguments
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": ', '{"arguments":"{\\"a\\": "}'),
        ("[1]", '{"arguments":"[1]"}'),
        ("", "{}"),
        (None, "{}"),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_D27_broken_arguments_in_the_history_are_wrapped(arguments: object, expected: str) -> None:
    """Servers parse them again at every turn; OpenAI's own takes any string."""
    found = messages([call("a", arguments=arguments), output("a")])
    assert found[0]["tool_calls"][0]["function"]["arguments"] == expected
    if isinstance(arguments, str) and arguments:
        kept = messages([call("a", arguments=arguments), output("a")], quirks=OPENAI)
        assert kept[0]["tool_calls"][0]["function"]["arguments"] == arguments


def test_F9_an_unknown_previous_response_is_refused() -> None:
    """Never answered as if it had not been named."""
    refused = refusal("hi", previous_response_id="resp_9")
    assert (refused.param, refused.code) == ("previous_response_id", "previous_response_not_found")


@pytest.mark.parametrize(("quirk", "expected"), [(EmptyContent.EMPTY, ""), (EmptyContent.NULL, None)])
def test_a_message_of_calls_alone_has_the_content_that_the_provider_takes(
    quirk: EmptyContent, expected: object
) -> None:
    """llama-cpp-python refuses null and missing, others the empty string."""
    assert messages([call("a"), output("a")], quirks=generic(empty_content=quirk))[0]["content"] == expected
    assert "content" not in messages([call("a"), output("a")], quirks=generic(empty_content=EmptyContent.OMIT))[0]


def test_a_refusal_of_the_assistant_is_a_field_or_text() -> None:
    """By what the provider knows."""
    item = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    assert messages([user("hi"), item])[1] == {"role": "assistant", "content": "no"}
    assert messages([user("hi"), item], quirks=OPENAI)[1] == {"role": "assistant", "content": None, "refusal": "no"}


def test_the_same_call_id_in_two_turns_pairs_with_the_call_that_waits() -> None:
    """Some providers count from call_0 in every answer."""
    found = messages([call("0", "f"), output("0", "1"), user("x"), call("0", "g"), output("0", "2")])
    assert [one["content"] for one in found if one["role"] == "tool"] == ["1", "2"]
    interrupted = messages([call("0", "f"), user("x"), call("0", "g"), output("0", "2")])
    assert [one["content"] for one in interrupted if one["role"] == "tool"][1] == "2"
    rounds = [call("0", "f"), output("0", "1"), call("0", "g"), output("0", "2")]
    for merge in (False, True):  # merged into one message they would have one id
        assert roles(messages(rounds, quirks=generic(merge_rounds=merge))) == ["assistant", "tool"] * 2


@pytest.mark.parametrize(
    "items",
    [
        [call("0", "f"), call("0", "g"), output("0", "1"), output("0", "2")],
        [call("0", "f"), {"role": "assistant", "content": "wait"}, call("0", "g"), output("0"), output("0")],
        [call("0"), call("1"), output("0"), call("0"), output("1"), output("0")],
        [call("0"), {"type": "custom_tool_call", "call_id": "0", "name": "p", "input": "x"}, output("0")],
    ],
)
def test_equal_call_ids_in_one_round_are_refused_with_the_path_of_the_second(items: list[dict[str, object]]) -> None:
    """No output could be given to the right one of them, and providers refuse the message."""
    second = max(index for index, item in enumerate(items) if item.get("call_id") == "0" and "output" not in item)
    refused = refusal([user("hi"), *items])
    assert (refused.param, refused.code) == (f"input[{second + 1}].call_id", "invalid_value")


def test_an_output_that_lists_parts_in_a_string_is_that_list() -> None:
    """Some clients make JSON of an output once too often; for custom tools as well."""
    parts = [text("a"), image("http://x")]
    for item in (call("c"), {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"}):
        kind = f"{item['type']}_output"
        listed, said = ({"type": kind, "call_id": "c", "output": form} for form in (parts, f" {json.dumps(parts)}\n"))
        assert messages([item, said]) == messages([item, listed])


@pytest.mark.parametrize(
    "said",
    [
        "[]",
        '[{"type":"file","name":"a.txt"}]',
        '[{"type":"text","text":"a"},{"type":"row","text":"b"}]',
        '[{"type":"text","text":"a"},"b"]',
        '[{"type":"text","text":1}]',
        '{"type":"text","text":"a"}',
        '[{"type":"text","text":"a"}',
        '[{"type":["text"],"text":"a"}]',
        '[{"type":"text","text":"a","score":0.5}]',
        '[{"type":"file","file_id":"f"}]',
        '[{"type":"input_image","image_url":"http://x","size":1}]',
    ],
)
def test_an_output_that_is_json_of_its_own_stays_as_it_came(said: str) -> None:
    """One entry that is no content part, or more than one, and the text is the tool's."""
    assert messages([call("c"), output("c", said)])[-1]["content"] == said


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_an_empty_array_of_parts_is_refused_with_its_path(role: str) -> None:
    """As by OpenAI; an assistant that said nothing is another matter."""
    refused = refusal([user("hi"), {"type": "message", "role": role, "content": []}])
    assert (refused.param, refused.code) == ("input[1].content", "empty_array")
    assert messages([user("hi"), {"role": "assistant", "content": []}]) == [user("hi")]


@pytest.mark.parametrize("item", [1, None, [], True])
def test_an_item_that_is_no_object_is_refused_with_its_path(item: object) -> None:
    """Whatever JSON it is."""
    assert refusal([user("hi"), item]).param == "input[1]"


def test_an_unknown_role_and_a_missing_content_are_refused() -> None:
    """Role tool has no place in this API: outputs are items."""
    assert refusal([{"role": "tool", "content": "x"}]).param == "input[0].role"
    assert refusal([{"role": "user"}]).param == "input[0].content"


def test_phase_is_noted_since_no_chat_provider_has_it() -> None:
    """Accepted, and its loss visible."""
    made = translate([user("hi"), {"role": "assistant", "content": "x", "phase": "commentary"}])
    assert made.dropped == ("input[].phase",)


def test_notes_do_not_grow_with_the_conversation() -> None:
    """They travel in a header: paths without indexes, each once."""
    items = [{"role": "assistant", "content": "x", "phase": "commentary"}, user("y")] * 200
    assert translate(items).dropped == ("input[].phase",)
