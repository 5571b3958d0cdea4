"""What holds for every request: it is translated or refused, and what is made has the shape that providers demand."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from request_helpers import DROP, call, image, messages, output, reasoning, text, user
from support.examples import examples

from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.names import ToolNames
from onwards_py.transcode.neutral.policy import HostedTools, InvalidRequest, Orphans, Policy, TranslationContext
from onwards_py.transcode.neutral.request import Message, Step
from onwards_py.transcode.neutral.turns import Joined, as_parts
from onwards_py.transcode.pairs import Translated, to_chat
from onwards_py.transcode.responses.context import ResponsesContext
from onwards_py.transcode.responses.read_items import ItemReader

WORDS = st.sampled_from(
    re.findall(
        r"\w+",
        """type role content text name id call_id arguments output input summary encrypted_content namespace tools
        function custom message user assistant system developer reasoning item_reference compaction input_text
        output_text refusal input_image image_url url file_id input_file file_data filename input_audio data
        allowed_tools mode auto required none json_schema schema strict format grammar syntax definition parameters
        description effort verbosity web_search function_call function_call_output custom_tool_call
        custom_tool_call_output phase detail""",
    )
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=25,
)
FIELDS = st.sampled_from(
    re.findall(
        r"\w+",
        """input instructions previous_response_id include tools tool_choice metadata text temperature top_p
        presence_penalty frequency_penalty parallel_tool_calls stream stream_options background max_output_tokens
        max_tool_calls reasoning safety_identifier prompt_cache_key truncation store service_tier top_logprobs user
        response_format n seed messages conversation prompt max_tokens stop""",
    )
)
QUIRKS = st.sampled_from(sorted(PRESETS)).map(PRESETS.__getitem__)
LENIENT = replace(DROP, hosted_tools=HostedTools.DROP, orphans=Orphans.REPAIR)

IDS = st.sampled_from(["a", "b", "c", "d" * 70])
ITEMS = st.one_of(
    st.just(user("u")),
    st.just({"role": "assistant", "content": [{"type": "output_text", "text": "t"}]}),
    st.just({"role": "assistant", "content": ""}),
    st.just({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
    st.sampled_from(["system", "developer"]).map(lambda role: {"role": role, "content": "s"}),
    st.just(reasoning("r")),
    IDS.map(call),
    IDS.map(output),
    IDS.map(lambda ident: output(ident, [text("x"), image()])),
)


def legal(items: list[dict[str, object]]) -> list[dict[str, object]]:
    """``items`` without outputs that no call waits for, and without second calls of one id in one round."""
    waiting: list[object] = []
    kept = []
    told: set[object] = set()
    for item in items:
        if item.get("type") == "function_call":
            if item["call_id"] in told:
                continue
            told.add(item["call_id"])
            waiting.append(item["call_id"])
        elif item.get("type") == "function_call_output":
            if item["call_id"] not in waiting:
                continue
            waiting.remove(item["call_id"])
            told = told if waiting else set()
        kept.append(item)
    return kept


def translated(
    request: dict[str, object], quirks: Any, policy: Policy
) -> Translated[ResponsesContext] | InvalidRequest:
    """Nothing but a refusal may be raised."""
    try:
        return to_chat({"model": "m", "input": "hi", **request}, quirks, policy)
    except InvalidRequest as refused:
        return refused


def check(made: Translated[ResponsesContext] | InvalidRequest) -> None:
    """A refusal names a member and says why; what is made can be sent."""
    if isinstance(made, InvalidRequest):
        assert made.param
        assert made.message
        return
    assert orjson.dumps(made.body)
    assert orjson.dumps(dict(made.context.request_echo))


@examples(400)
@given(st.dictionaries(FIELDS, VALUES, max_size=6), QUIRKS, st.sampled_from([Policy(), DROP, LENIENT]))
def test_any_json_anywhere_is_translated_or_refused(fields: dict[str, object], quirks: Any, policy: Policy) -> None:
    """Whatever stands in whatever field."""
    check(translated(fields, quirks, policy))


@examples(400)
@given(st.lists(VALUES, min_size=1, max_size=4), st.lists(VALUES, max_size=4), VALUES, QUIRKS)
def test_any_items_tools_and_choice_are_translated_or_refused(
    items: list[object], tools: list[object], choice: object, quirks: Any
) -> None:
    """The same, with more of what is odd inside of items and tools."""
    check(translated({"input": items, "tools": tools, "tool_choice": choice}, quirks, LENIENT))


ODD = st.one_of(VALUES, WORDS, st.none())
MEMBERS = (
    "call_id",
    "name",
    "arguments",
    "output",
    "content",
    "summary",
    "encrypted_content",
    "role",
    "input",
    "tools",
)


@examples(400)
@given(
    st.lists(st.tuples(WORDS, st.dictionaries(st.sampled_from(MEMBERS), ODD, max_size=5)), max_size=4),
    QUIRKS,
    st.sampled_from([Policy(), LENIENT]),
)
def test_items_and_tools_of_known_types_with_odd_members_are_translated_or_refused(
    odd: list[tuple[str, dict[str, object]]], quirks: Any, policy: Policy
) -> None:
    """A type that is known leads further in than noise would."""
    items = [{"type": kind, **members} for kind, members in odd]
    check(translated({"input": items}, quirks, policy))
    check(translated({"tools": items}, quirks, policy))


@examples(300)
@given(st.lists(ITEMS, max_size=14).map(legal), QUIRKS)
def test_messages_have_the_shape_that_strict_providers_demand(items: list[dict[str, object]], quirks: Any) -> None:
    """Every call is answered exactly once, right behind its message, in the order of the calls; no orphans."""
    found = messages([user("hi"), *items], quirks=quirks, policy=DROP)
    waiting: list[str] = []
    for message in found:
        if message["role"] == "tool":
            assert waiting
            assert message["tool_call_id"] == waiting.pop(0)
            continue
        assert waiting == []
        waiting = [one["id"] for one in message.get("tool_calls", [])]
        assert all(len(ident) <= 64 for ident in waiting)
        assert message.get("content") or waiting or message.keys() - {"role", "content"}
    assert waiting == []


@examples(300)
@given(st.lists(ITEMS, max_size=14).map(legal))
def test_templates_with_strict_roles_get_one_system_message_first_and_alternating_roles(
    items: list[dict[str, object]],
) -> None:
    """With the generic quirks."""
    roles = [message["role"] for message in messages([user("hi"), *items])]
    assert "system" not in roles[1:]
    assert "developer" not in roles
    assert all(one != other for one, other in pairwise(roles) if one != "tool")


@examples(200)
@given(st.lists(ITEMS, max_size=14).map(legal), QUIRKS)
def test_a_translation_is_the_same_every_time_and_leaves_the_request_alone(
    items: list[dict[str, object]], quirks: Any
) -> None:
    """A fallback to another provider translates the same request again."""
    given_items = [user("hi"), *items]
    before = orjson.dumps(given_items)
    first = orjson.dumps(messages(given_items, quirks=quirks, policy=DROP))
    assert orjson.dumps(messages(given_items, quirks=quirks, policy=DROP)) == first
    assert orjson.dumps(given_items) == before


@examples(400)
@given(st.lists(ITEMS, max_size=8).map(legal), st.lists(VALUES, max_size=3), QUIRKS)
def test_the_short_way_of_plain_messages_is_the_long_one(
    items: list[dict[str, object]], odd: list[object], quirks: Any
) -> None:
    """What is read in a run is what is read one by one."""
    plain = [
        {"role": "user", "content": [text("x")]},
        {"type": "message", **user("y")},
        {**user("z"), "phase": "final"},
    ]
    given_items = [*items, *odd, *plain]

    def read(*, together: bool) -> object:
        context = TranslationContext(quirks, LENIENT)
        reader = ItemReader(ToolNames(), context)
        try:
            if together:
                steps = list(reader.read_all(given_items))
            else:
                steps = [step for i, item in enumerate(given_items) for step in reader.read(item, f"input[{i}]")]
        except InvalidRequest as refused:
            return refused.param, refused.message
        return [_bare(step) for step in steps], context.dropped

    assert read(together=True) == read(together=False)


def _bare(step: Step) -> Step:
    """A user's message of plain text may be its text alone."""
    plain = isinstance(step, Message) and step.role == "user" and isinstance(step.content, str)
    return step.content if plain else step  # type: ignore[return-value, union-attr]


@given(st.lists(st.text("ab", max_size=2) | st.lists(st.just({"type": "text", "text": "p"}), min_size=1, max_size=2)))
def test_many_contents_are_joined_as_two_are(contents: list[Any]) -> None:
    """A string as long as there are only strings, else parts."""

    def two(first: Any, second: Any) -> Any:
        if isinstance(first, str) and isinstance(second, str):
            return f"{first}\n\n{second}" if first and second else first or second
        return as_parts(first) + as_parts(second)

    assert Joined(*contents).content() == reduce(two, contents, "")


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_joining_takes_time_that_grows_with_the_request(role: str) -> None:
    """40 MB in messages that become one: with a copy of all before for each of them, this would take minutes."""
    made = messages([{"role": role, "content": "w" * 2000}] * 20_000, quirks=PRESETS["anthropic_compat"])
    assert [(message["role"], len(message["content"])) for message in made] == [(role, 20_000 * 2002 - 2)]
