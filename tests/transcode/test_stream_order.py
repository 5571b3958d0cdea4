"""Items are serial, numbered and named alike everywhere, in whatever order a provider speaks."""

import pytest
from stream_helpers import PLAIN, call, delta, entry, events, final, items, kinds, machine, of_type, text, thought
from support.responses_promises import as_dict, as_list

from onwards_py.messages import Ending


def test_A1_every_delta_belongs_to_an_item_that_was_announced_and_is_closed() -> None:
    out = events([thought("a"), text("b"), call(0, "c", "get_time", "{}")])
    added = [as_dict(event["item"])["id"] for event in of_type(out, "output_item.added")]
    done = [as_dict(event["item"])["id"] for event in of_type(out, "output_item.done")]
    assert added == done == [item["id"] for item in items(out)]
    assert {event["item_id"] for event in out if "item_id" in event} == set(added)


def test_A2_text_and_refusal_are_announced_as_parts_before_their_first_delta() -> None:
    out = [str(event["type"]) for event in events([text("a"), delta(refusal="no")])]
    assert out.index("response.content_part.added") < out.index("response.output_text.delta")
    assert out.index("response.content_part.done") < out.index("response.refusal.delta")


@pytest.mark.parametrize("content", ["", None])
def test_A4_a_turn_with_only_a_call_has_no_message_and_no_id_of_the_provider(content: str | None) -> None:
    out = events([{"id": "chatcmpl-9", **delta(role="assistant", content=content)}, call(0, "c", "get_time", "{}")])
    assert kinds(out) == ["function_call"]
    assert "chatcmpl" not in repr(out)


def test_A5_items_close_in_the_order_of_their_indexes_and_of_the_final_output() -> None:
    out = events([thought("a"), text("b"), call(0, "c", "get_time", "{}"), call(1, "d", "get_time", "{}")])
    done = of_type(out, "output_item.done")
    assert [event["output_index"] for event in done] == [0, 1, 2, 3]
    assert [event["item"] for event in done] == items(out)


def test_A6_an_item_is_closed_before_the_next_one_is_announced() -> None:
    out = events([thought("a"), text("b"), call(0, "c", "get_time", "{}")])
    order = [str(e["type"]).split(".")[-1] for e in out if "output_item" in str(e["type"])]
    assert order == ["added", "done"] * 3


def test_A7_a_first_chunk_with_only_a_role_opens_nothing() -> None:
    out = events([delta(role="assistant", content=""), thought("a"), text("b")])
    assert kinds(out) == ["reasoning", "message"]


def test_A8_indexes_are_said_even_if_they_are_zero() -> None:
    out = events([thought("a")])
    assert [event["summary_index"] for event in out if "summary" in str(event["type"])] == [0, 0, 0, 0]


def test_A9_A10_indexes_of_calls_count_items_and_not_calls() -> None:
    for before in (thought("a"), text("a")):
        out = events([before, call(0, "c", "get_time", "{}")])
        assert [event["output_index"] for event in of_type(out, "function_call_arguments.delta")] == [1]


def test_A11_reasoning_that_comes_after_text_is_an_item_of_its_own() -> None:
    out = events([text("a"), thought("b"), text("c"), call(0, "c", "get_time", "{}"), thought("d")])
    assert kinds(out) == ["message", "reasoning", "message", "function_call", "reasoning"]


def test_A12_indexes_are_integers_and_not_booleans() -> None:
    out = events([thought("a"), text("b"), call(0, "c", "get_time", "{}")])
    assert {type(event["output_index"]) for event in out if "output_index" in event} == {int}


def test_A13_A14_what_is_announced_as_final_is_what_the_response_holds() -> None:
    """A13: one id an item; A14: deep-equal items in output_item.done and in the terminal event."""
    out = events([thought("a"), thought("b"), text("c"), text("d")])
    assert [event["item"] for event in of_type(out, "output_item.done")] == items(out)
    assert len({as_dict(event["item"])["id"] for event in of_type(out, "output_item.added")}) == 2


def test_A16_content_indexes_begin_again_in_each_item() -> None:
    out = events([text("a"), thought("b"), text("c"), delta(refusal="d")])
    indexes = [(e["output_index"], e["content_index"]) for e in of_type(out, "content_part.added")]
    assert indexes == [(0, 0), (2, 0), (2, 1)]


def test_A17_reasoning_is_reasoning_text_in_content_and_the_same_text_in_summary() -> None:
    """Responses case H3."""
    (item,) = items(events([thought("a"), thought("b")]))
    assert item["content"] == [{"type": "reasoning_text", "text": "ab"}]
    assert item["summary"] == [{"type": "summary_text", "text": "ab"}]


def test_A21_every_lifecycle_event_carries_a_whole_response() -> None:
    out = events([text("a")])
    members = [set(as_dict(event["response"])) for event in out if "response" in event]
    assert len(members) == 3
    assert all(keys == members[0] and len(keys) >= 31 for keys in members)
    assert as_dict(out[1]["response"])["output"] == []


def test_A22_A24_sequence_numbers_count_every_event_that_is_sent_from_zero() -> None:
    """Responses case A25."""
    core = machine()
    out = core.feed(text("a")) + core.keepalive() + core.feed(text("b"))
    out += core.finish(Ending.DONE, done=True) + core.keepalive()
    assert [event["sequence_number"] for event in out] == list(range(len(out)))


def test_A23_a_failure_goes_on_counting_and_keeps_the_id() -> None:
    """Responses case F1."""
    out = events([text("a"), {"error": {"message": "boom"}}], None)
    assert out[-1]["sequence_number"] == len(out) - 1
    assert as_dict(out[0]["response"])["id"] == final(out)["id"]


def test_A38_C5_ids_are_ours_unique_and_of_the_right_prefix() -> None:
    out = events([thought("a"), text("b"), call(0, "c", "get_time", "{}")])
    ids = [str(item["id"]) for item in items(out)]
    assert [id_.partition("_")[0] for id_ in ids] == ["rs", "msg", "fc"]
    assert len({*ids, str(final(out)["id"])}) == 4


def test_A40_empty_content_neither_opens_a_message_nor_closes_reasoning() -> None:
    out = events([thought("a"), text(""), thought("b"), text(""), text("c")])
    assert kinds(out) == ["reasoning", "message"]


def test_A41_nothing_comes_after_the_terminal_event() -> None:
    core = machine()
    core.feed(text("a"))
    core.finish(Ending.DONE)
    assert core.feed(text("b")) == core.finish(Ending.DONE) == core.begin() == []


def test_annotations_become_events_and_stay_in_the_part_each_once() -> None:
    citation = {
        "type": "url_citation",
        "url_citation": {"url": "http://a", "title": "A", "start_index": 0, "end_index": 1},
    }
    out = events([text("a"), delta(annotations=[citation]), delta(annotations=[citation, {"type": "file"}])])
    flat = {"type": "url_citation", "url": "http://a", "title": "A", "start_index": 0, "end_index": 1}
    assert [event["annotation"] for event in of_type(out, "output_text.annotation.added")] == [flat]
    assert as_dict(as_list(items(out)[0]["content"])[0])["annotations"] == [flat]


def test_C6_log_probabilities_have_every_member_and_are_those_of_their_delta() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "b", "logprob": -1}]}
    chunk = {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [token], "refusal": None}}]}
    out = events([chunk, text("b")])  # type: ignore[list-item]
    first, second = of_type(out, "output_text.delta")
    known = {"token": "a", "logprob": -0.5, "bytes": [], "top_logprobs": [{"token": "b", "logprob": -1, "bytes": []}]}
    assert (first["logprobs"], second["logprobs"]) == ([known], [])
    assert as_dict(as_list(items(out)[0]["content"])[0])["logprobs"] == [known]


def test_a_refusal_is_a_part_of_the_message_and_the_answer_is_complete() -> None:
    out = events([delta(refusal="I "), delta(refusal="can't")])
    assert items(out)[0]["content"] == [{"type": "refusal", "refusal": "I can't"}]
    assert final(out)["status"] == "completed"


def test_other_choices_than_the_first_are_left_out() -> None:
    second = {"choices": [{"index": 1, "delta": {"content": "x"}}]}
    out = events([text("a"), second, {"choices": [{"delta": {"content": "b"}}]}])  # type: ignore[list-item]
    assert [event["delta"] for event in of_type(out, "output_text.delta")] == ["a", "b"]


def test_a_whole_message_at_the_end_of_a_stream_repeats_it_and_is_left_out() -> None:
    """Perplexity sends what has been said so far with every chunk, others once in the last one."""
    last = {"choices": [{"message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"}]}
    beside = {"choices": [{"delta": {"content": "b"}, "message": {"content": "ab"}}]}
    out = events([text("a"), beside, last], None)  # type: ignore[list-item]
    assert [event["delta"] for event in of_type(out, "output_text.delta")] == ["a", "b"]


def test_early_begin_is_said_once() -> None:
    core = machine(PLAIN)
    assert [event["type"] for event in core.begin()] == ["response.created", "response.in_progress"]
    assert core.begin() == []
    assert [event["type"] for event in core.feed(call(0, "c", "get_time"))] == ["response.output_item.added"]
    assert core.feed({"choices": [{"delta": {"tool_calls": [entry(0), None, 3, {}]}}]}) == []
