"""Reasoning under all of its names, once, and back to the client sealed where it asked for that."""

import pytest
from stream_helpers import PLAIN, delta, events, items, kinds, text, with_quirks
from support.responses_promises import Json, as_dict, as_list
from support.transcoding import PlainSealer, answer_context

from onwards_py.transcode.neutral.quirks import Think
from onwards_py.transcode.neutral.sealed import open_reasoning
from onwards_py.transcode.responses.context import ResponsesContext

SEALING = answer_context(include=["reasoning.encrypted_content"])


def reasoning(chunks: list[Json], context: ResponsesContext = PLAIN) -> str:
    """The one reasoning item's text."""
    (item,) = [item for item in items(events(chunks, context=context)) if item["type"] == "reasoning"]
    return str(as_dict(as_list(item["content"])[0])["text"])


@pytest.mark.parametrize(
    "members",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ],
)
def test_H2_reasoning_is_found_under_each_name_and_counted_once(members: Json) -> None:
    assert reasoning([delta(**members), text("yes")]) == "hm"  # type: ignore[arg-type]


def test_D16_text_that_is_said_as_reasoning_too_can_be_left_out_of_the_content() -> None:
    both = delta(reasoning_content="hm", content="hm")
    assert kinds(events([both])) == ["reasoning", "message"]
    assert kinds(events([both], context=with_quirks(dedupe_reasoning=True))) == ["reasoning"]


def test_content_parts_become_reasoning_and_text_in_their_order() -> None:
    """Mistral: thinking and text chunks in one content."""
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, {"type": "reference"}, "b", None]
    out = events([delta(content=parts)])
    assert kinds(out) == ["reasoning", "message"]
    assert as_dict(as_list(items(out)[1]["content"])[0])["text"] == "ab"


def test_H1_tags_in_the_content_are_reasoning_where_the_provider_is_known_for_them() -> None:
    chunks = [text("<th"), text("ink>hm</thi"), text("nk>\n\nyes")]
    out = events(chunks, context=with_quirks(think=Think.TAGGED))
    assert kinds(out) == ["reasoning", "message"]
    assert kinds(events(chunks)) == ["message"]


def test_H1_what_was_held_back_as_a_possible_tag_is_not_lost_at_the_end() -> None:
    out = events([text("<th")], context=with_quirks(think=Think.TAGGED))
    assert as_dict(as_list(items(out)[0]["content"])[0])["text"] == "<th"


def sealed(chunks: list[Json]) -> Json | None:
    """The provider's own fields, out of the blob of the first reasoning item."""
    blob = items(events(chunks, context=SEALING))[0]["encrypted_content"]
    return open_reasoning(str(blob), PlainSealer())


def test_reasoning_is_sealed_under_the_name_it_came_by_if_the_client_asked_for_it() -> None:
    assert sealed([delta(reasoning="h"), delta(reasoning="m"), text("a")]) == {"reasoning": "hm"}
    assert "encrypted_content" not in items(events([delta(reasoning="h")]))[0]


def test_streamed_pieces_of_reasoning_details_are_sealed_as_a_whole_answer_would_have_them() -> None:
    pieces: list[Json] = [
        {"type": "reasoning.text", "index": 0, "text": "h", "signature": None},
        {"type": "reasoning.text", "index": 0, "text": "m"},
        {"type": "reasoning.text", "index": 0, "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "x", "id": "1"},
    ]
    chunks = [delta(reasoning=piece.get("text"), reasoning_details=[piece]) for piece in pieces]
    assert sealed([*chunks, text("a")]) == {
        "reasoning": "hm",
        "reasoning_details": [
            {"type": "reasoning.text", "index": 0, "text": "hm", "signature": "s"},
            {"type": "reasoning.encrypted", "index": 1, "data": "x", "id": "1"},
        ],
    }


SIGNED = {"google": {"thought_signature": "s"}}


def signed_call(**more: object) -> Json:
    function = {"name": "get_time", "arguments": "{}"}
    return delta(tool_calls=[{"index": 0, "id": "c", "function": function, **more}])


@pytest.mark.parametrize(
    ("chunks", "order", "fields"),
    [
        (
            [signed_call(extra_content=SIGNED)],
            ["reasoning", "function_call"],
            {},
        ),
        (
            [delta(reasoning="hm"), signed_call(extra_content=SIGNED)],
            ["reasoning", "function_call"],
            {"reasoning": "hm"},
        ),
        (
            [signed_call(), delta(tool_calls=[{"extra_content": SIGNED}])],
            ["function_call", "reasoning"],
            {},
        ),
        (
            [signed_call(), delta(extra_content=SIGNED)],
            ["function_call", "reasoning"],
            {},
        ),
    ],
)
def test_what_a_provider_wants_back_with_a_call_is_sealed_under_the_calls_id(
    chunks: list[Json], order: list[str], fields: Json
) -> None:
    """Gemini signs its thoughts in ``extra_content`` of a call and refuses the next turn without it."""
    out = events(chunks, "tool_calls", context=SEALING)
    assert kinds(out) == order
    blob = items(out)[order.index("reasoning")]["encrypted_content"]
    assert open_reasoning(str(blob), PlainSealer()) == {**fields, "tool_call_extra_content": {"c": SIGNED}}
    assert "reasoning" not in kinds(events([signed_call(extra_content=SIGNED)]))


def test_reasoning_that_nobody_can_read_is_an_item_only_if_it_goes_back_sealed() -> None:
    chunks = [delta(reasoning_details=[{"type": "reasoning.encrypted", "data": "x"}]), text("a")]
    assert kinds(events(chunks)) == ["message"]
    assert sealed(chunks) == {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}
