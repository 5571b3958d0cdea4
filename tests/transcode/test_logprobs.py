"""Log probabilities of tokens whose text has not come yet: where a character takes several, it comes with the last."""

from __future__ import annotations

import pytest
from reverse_helpers import Json, chunks, ended, event, heard, message
from stream_helpers import call, delta, events, final, items, machine, of_type, text, thought, with_quirks
from support.transcoding import answer_context, whole

from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.neutral.logprobs import read_logprobs
from onwards_py.transcode.neutral.quirks import Think

CONTEXT = answer_context(include=["message.output_text.logprobs"])
CHAT = ChatContext("m", wants_stream=True, wants_logprobs=True)


def token(text_: str, *bytes_: int) -> Json:
    return {"token": text_, "logprob": -0.5, "bytes": list(bytes_), "top_logprobs": []}


FIRST, SECOND, THIRD = token("", 0xE4), token("", 0xB8), token("\u4e2d", 0xAD)


def said(content: str | None, *tokens: Json, **members: object) -> Json:
    choice = {"index": 0, "delta": {"content": content, **members}, "logprobs": {"content": list(tokens)}}
    return {"choices": [choice]}


def told(out: list[Json]) -> tuple[object, object]:
    """Log probabilities of all deltas, and of the part in the end."""
    deltas = [token for one in of_type(out, "output_text.delta") for token in one["logprobs"]]  # type: ignore[attr-defined]
    parts = [part for item in items(out) if item["type"] == "message" for part in item["content"]]  # type: ignore[attr-defined]
    return deltas, [token for part in parts for token in part["logprobs"]]


@pytest.mark.parametrize("before", [[], [text("a")], [thought("hm")]])
def test_a_chunk_with_empty_text_keeps_its_log_probabilities(before: list[Json]) -> None:
    """They go with the text that the tokens add up to; where there is none any more, with none."""
    out = events([*before, said("", FIRST), said("", SECOND), said("\u4e2d", THIRD)], context=CONTEXT)
    assert told(out) == ([FIRST, SECOND, THIRD],) * 2
    assert [one["delta"] for one in of_type(out, "output_text.delta")][-1] == "\u4e2d"
    assert told(events([text("a"), said("", FIRST)], context=CONTEXT)) == ([FIRST],) * 2
    assert told(events([said("", FIRST)], context=CONTEXT)) == ([FIRST],) * 2


def test_text_that_is_not_said_is_as_good_as_empty() -> None:
    """Null, or not there, in a chunk that has nothing but the log probabilities of what came before."""
    last: Json = {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [SECOND]}, "finish_reason": "stop"}]}
    assert told(events([text("a"), said(None, FIRST), last], None, context=CONTEXT)) == ([FIRST, SECOND],) * 2


def test_a_character_cut_in_half_keeps_the_log_probabilities_of_both_halves() -> None:
    out = events([said("\ud83d", FIRST), said("\ude00", SECOND)], context=CONTEXT)
    assert told(out) == ([FIRST, SECOND],) * 2


def test_a_whole_answer_with_empty_text_keeps_them() -> None:
    choice = {"index": 0, "message": {"content": ""}, "logprobs": {"content": [FIRST]}, "finish_reason": "stop"}
    (item,) = whole({"choices": [choice]}, CONTEXT)["output"]  # type: ignore[misc]
    assert item["content"][0]["logprobs"] == [FIRST]  # type: ignore[has-type]


def test_tokens_of_something_else_make_no_text() -> None:
    """Some providers give those of calls, reasoning and the end along with empty text."""
    chunks_ = [said("", FIRST, reasoning_content="hm"), call(0, "c", "get_time", "{}"), said("", SECOND)]
    assert [item["type"] for item in items(events(chunks_, context=CONTEXT))] == ["reasoning", "function_call"]
    calls = said("", FIRST, tool_calls=[{"index": 0, "id": "c", "function": {"name": "get_time", "arguments": "{}"}}])
    assert [item["type"] for item in items(events([calls], context=CONTEXT))] == ["function_call"]


def test_an_answer_does_not_begin_with_a_token_that_says_nothing() -> None:
    """So that one that fails behind it can still be another provider's."""
    core = machine(CONTEXT)
    assert core.feed(said("", FIRST)) == []
    core.feed({"error": {"message": "no"}})
    assert core.failed_before_output


def test_text_that_was_held_back_to_be_told_from_a_tag_keeps_them() -> None:
    context = with_quirks(think=Think.TAGGED)
    out = events([said("<", FIRST), said("b", SECOND)], context=context)
    assert told(out) == ([FIRST, SECOND],) * 2
    tagged = events(
        [said("<think>", FIRST), said("hm", FIRST), said("</think>", FIRST), said("b", SECOND)], context=context
    )
    assert told(tagged) == ([SECOND],) * 2


def test_the_same_of_events() -> None:
    """Deltas with empty text, and what only the whole text tells."""
    deltas = [
        event("output_text.delta", item_id="m", delta=text_, logprobs=[one])
        for text_, one in (("", FIRST), ("", SECOND), ("\u4e2d", THIRD))
    ]
    found = heard(chunks([*deltas, ended()], context=CHAT))
    assert (found["content"], found["logprobs"]) == ("\u4e2d", [FIRST, SECOND, THIRD])
    whole_ = heard(chunks([ended(output=[message("", logprobs=[FIRST])])], context=CHAT))
    assert whole_["logprobs"] == [FIRST]
    unasked = chunks([*deltas, ended()])
    assert [one["choices"][0]["delta"].get("content") for one in unasked] == ["", "\u4e2d", None]


def test_log_probabilities_add_up_to_those_of_the_last_event() -> None:
    """The final response has what the deltas had."""
    out = events([said("a", FIRST), said("", SECOND), delta(content="b"), said("", THIRD)], context=CONTEXT)
    assert told(out) == ([FIRST, SECOND, THIRD],) * 2
    assert final(out)["status"] == "completed"


@pytest.mark.parametrize("bytes_", [[97, "x"], [97, None], [300], [-1], [True], [97.0], "a", {"0": 97}])
def test_bytes_that_are_none_are_unknown(bytes_: object) -> None:
    """A client that joins them would get another text than the token's."""
    (read,) = read_logprobs([{"token": "a", "logprob": -1, "bytes": bytes_}])
    assert read["bytes"] is None


def test_bytes_stay() -> None:
    (read,) = read_logprobs([{"token": "\xff", "logprob": -1, "bytes": [0, 255]}])
    assert read["bytes"] == [0, 255]
