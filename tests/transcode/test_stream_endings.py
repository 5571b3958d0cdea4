"""How an answer ends: one terminal event, and it is honest."""

import pytest
from stream_helpers import (
    PLAIN,
    call,
    delta,
    events,
    final,
    items,
    kinds,
    machine,
    of_type,
    text,
    thought,
    usage,
    with_quirks,
)
from support.responses_promises import Json, as_dict
from support.transcoding import answer_context

from onwards_py.messages import Ending

CUTS = [Ending.EOF, Ending.RESET, Ending.IDLE, Ending.LIMIT]


def tokens(out: list[Json]) -> tuple[object, object, object]:
    """input, output and total tokens of the final response."""
    known = as_dict(final(out)["usage"])
    return known["input_tokens"], known["output_tokens"], known["total_tokens"]


def test_B1_the_terminal_event_waits_for_usage_behind_the_finish_reason() -> None:
    """B1: null before the value changes nothing, and null after it neither."""
    core = machine()
    core.feed({**text("a"), "usage": None})
    assert core.feed(delta("stop")) == []
    assert core.feed(usage(3, 4)) == []
    assert core.feed({"choices": [], "usage": None}) == []
    assert tokens(core.finish(Ending.DONE, done=True)) == (3, 4, 7)


def test_B2_of_usage_on_every_chunk_the_last_counts() -> None:
    chunks = [{**text("a", tool_calls=[]), "usage": {"prompt_tokens": 3, "completion_tokens": n}} for n in (1, 2)]
    assert tokens(events(chunks)) == (3, 2, 5)


@pytest.mark.parametrize("place", ["choice", "groq"])
def test_usage_is_found_where_single_providers_put_it(place: str) -> None:
    known = {"prompt_tokens": 3, "completion_tokens": 4}
    choice = {"choices": [{"delta": {}, "usage": known}]}
    assert tokens(events([text("a"), choice if place == "choice" else {"x_groq": {"usage": known}}])) == (3, 4, 7)  # type: ignore[list-item]


def test_counts_of_tokens_are_whole_numbers_that_json_readers_keep() -> None:
    """0 is a count, 2**53 - 1 is the largest; anything else is not counted."""
    largest = 2**53 - 1
    assert tokens(events([text("a"), usage(0, largest, input_tokens=5)])) == (0, largest, largest)
    assert tokens(events([text("a"), usage(2**53, -1)])) == (0, 0, 0)


def test_B3_B5_B16_without_usage_the_end_comes_all_the_same_and_says_zeros() -> None:
    out = events([text("a"), {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": "many"}}])
    assert tokens(out) == (0, 0, 0)
    assert final(out)["status"] == "completed"


@pytest.mark.parametrize(
    "known",
    [
        {"prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 1}},
        {"prompt_cache_hit_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}},
    ],
)
def test_B6_cached_and_reasoning_tokens_are_mapped(known: Json) -> None:
    found = as_dict(final(events([text("a"), usage(3, 4, **known)]))["usage"])
    assert as_dict(found["input_tokens_details"])["cached_tokens"] == 2
    assert as_dict(found["output_tokens_details"])["reasoning_tokens"] == 1


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("length", "max_output_tokens"),
        ("max_tokens", "max_output_tokens"),
        ("MAX_TOKENS", "max_output_tokens"),
        ("max_output_tokens", "max_output_tokens"),
        ("model_length", "max_output_tokens"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
    ],
)
def test_B7_B11_a_truncated_answer_is_incomplete_and_says_why(finish: str, reason: str) -> None:
    out = events([text("a")], finish)
    assert out[-1]["type"] == "response.incomplete"
    assert (final(out)["incomplete_details"], final(out)["completed_at"]) == ({"reason": reason}, None)
    assert items(out)[-1]["status"] == "incomplete"


@pytest.mark.parametrize("finish", ["stop", "eos", "end_turn", "STOP", "tool_calls", "whatever"])
def test_B11_other_words_for_a_normal_stop_complete_the_answer(finish: str) -> None:
    assert final(events([text("a")], finish))["status"] == "completed"


@pytest.mark.parametrize("finish", ["error", "insufficient_system_resource", "abort"])
def test_B11_B15_a_finish_reason_that_tells_of_an_error_fails_the_answer(finish: str) -> None:
    assert out_status(events([text("a")], finish)) == "failed"


WORDS = {
    "completed": "stop eos tool_calls function_call tool_use tool_call",
    "max_output_tokens": "length max_tokens max_output_tokens model_length token_limit max_length context_length "
    "model_context_window_exceeded",
    "content_filter": "content_filter content_filtered safety recitation sensitive prohibited_content blocklist spii "
    "image_safety refusal",
    "failed": "error insufficient_system_resource network_error abort aborted cancelled canceled "
    "malformed_function_call repetition_truncation",
}


@pytest.mark.parametrize("meaning", WORDS)
def test_B11_each_word_of_a_provider_has_its_meaning(meaning: str) -> None:
    """In lower and in upper case."""
    for word in WORDS[meaning].split():
        for finish in (word, word.upper()):
            response = final(events([text("a")], finish))
            incomplete = {"max_output_tokens": {"reason": meaning}, "content_filter": {"reason": meaning}}.get(meaning)
            assert response["status"] == ("incomplete" if incomplete else meaning), finish
            assert response["incomplete_details"] == incomplete, finish


def out_status(out: list[Json]) -> object:
    return final(out)["status"]


def test_B8_reasoning_that_used_up_the_tokens_is_incomplete_without_a_message() -> None:
    out = events([thought("hm"), usage(3, 4)], "length")
    assert (kinds(out), out_status(out), tokens(out)) == (["reasoning"], "incomplete", (3, 4, 7))


@pytest.mark.parametrize("cut", ['{"a":', '{"a', '{"a": tru', '{"a": 1', '{"a": "x\\u00', "{"])
def test_B9_arguments_that_were_cut_are_incomplete_whatever_the_finish_reason_says(cut: str) -> None:
    out = events([call(0, "c", "get_time", cut)], "tool_calls")
    assert (items(out)[0]["status"], out_status(out)) == ("incomplete", "incomplete")


@pytest.mark.parametrize("arguments", ["[" * 100_000, '{"a":' + "9" * 5_000, '{"a":' * 100_000])
def test_arguments_that_no_reader_will_have_are_told_all_the_same(arguments: str) -> None:
    assert items(events([call(0, "c", "get_time", arguments)], "tool_calls"))[0]["arguments"] == arguments


@pytest.mark.parametrize("finish", ["tool_calls", "stop", None])
@pytest.mark.parametrize("arguments", ["{'a': 1}", "{'a':", "nothing", '{"a": 1,}', '{"a": NaN}', '{"a" "b"}', "a b c"])
def test_arguments_that_are_no_json_are_handed_over_as_the_model_made_them(arguments: str, finish: str | None) -> None:
    """They were not cut, so the answer is whole: what to make of them is the client's to say, as without us."""
    out = events([call(0, "c", "get_time", arguments)], finish)
    assert (items(out)[0]["status"], out_status(out)) == ("completed", "completed")
    assert items(out)[0]["arguments"] == arguments
    assert out_status(events([call(0, "c", "get_time", arguments)], "length")) == "incomplete"
    assert out_status(events([call(0, "c", "get_time", arguments)], None, done=False)) == "failed"


def test_B10_a_call_at_which_the_tokens_ended_is_incomplete_even_if_it_parses() -> None:
    out = events([call(0, "c", "get_time", "{}"), call(1, "d", "get_time", "{}")], "length")
    assert [item["status"] for item in items(out)] == ["completed", "incomplete"]


def test_B10_of_calls_that_were_waiting_only_the_last_is_incomplete() -> None:
    out = events([call(0, "c", "get_time", ""), call(1, "d", "get_time", "{}")], "length")
    assert [item["status"] for item in items(out)] == ["completed", "incomplete"]


@pytest.mark.parametrize("finish", ["stop", None])
def test_B12_calls_complete_an_answer_under_any_finish_reason(finish: str | None) -> None:
    assert out_status(events([call(0, "c", "get_time", "{}")], finish)) == "completed"


@pytest.mark.parametrize("chunks", [[], [delta(role="assistant", content="")], [text("")], [delta(content=None)]])
def test_an_answer_that_stops_with_nothing_to_say_is_an_empty_message(chunks: list[Json]) -> None:
    out = events(chunks, "stop")
    assert (kinds(out), out_status(out)) == (["message"], "completed")
    assert items(out)[0]["content"] == [{"type": "output_text", "text": "", "annotations": [], "logprobs": []}]


@pytest.mark.parametrize("preset", ["gemini", "deepseek"])
def test_B13_an_empty_answer_of_a_provider_that_fails_in_this_way_failed(preset: str) -> None:
    """BerriAI/litellm#24442; api-docs.deepseek.com on JSON output."""
    out = events([text("")], "stop", context=answer_context(preset))
    assert (kinds(out), out_status(out)) == ([], "failed")


@pytest.mark.parametrize("finish", [None, "tool_calls", "function_call"])
def test_B13_an_answer_that_says_nothing_and_does_not_stop_either_failed(finish: str | None) -> None:
    """Nor does one stop that speaks of calls and has none. OpenRouter calls a blank finish reason the same."""
    out = events([delta(role="assistant", content="")], finish)
    assert (kinds(out), out_status(out)) == ([], "failed")


def test_B14_object_and_status_are_those_of_a_response() -> None:
    response = final(events([{"object": "chat.completion.chunk", **text("a")}]))
    assert (response["object"], response["status"]) == ("response", "completed")
    assert type(response["created_at"]) is int


def test_A39_a_finish_reason_on_every_chunk_is_no_end() -> None:
    assert len(of_type(events([text("a", finish="stop"), text("b", finish="stop")]), "output_text.delta")) == 2


@pytest.mark.parametrize("ending", CUTS)
def test_G6_a_stream_that_breaks_off_fails_and_keeps_the_items_that_were_whole(ending: Ending) -> None:
    """Incomplete items are for incomplete responses: the item in which a failed one stopped has no end."""
    out = events([thought("hm"), text("a")], None, done=False, ending=ending)
    assert out[-1]["type"] == "response.failed"
    assert as_dict(final(out)["error"])["code"] == "server_error"
    assert [event["delta"] for event in of_type(out, "output_text.delta")] == ["a"]
    assert [(item["type"], item["status"]) for item in items(out)] == [("reasoning", "completed")]


@pytest.mark.parametrize("end", ["error", {"error": {"message": "no", "code": 500}}, "nameless"])
def test_no_item_of_a_failed_response_is_incomplete(end: object) -> None:
    """Item statuses: a call in its middle, and one behind it, when the finish reason, an error or a call says no."""
    chunks = [text("a"), call(0, "c", "get_time", '{"a":'), call(1, "d", "get_time", '{"b":1}')]
    more = {"error": [], "nameless": [call(2, "e", "", "{}")]}.get(str(end), [end])
    out = events([*chunks, *more], "error" if end == "error" else "tool_calls")
    assert out_status(out) == "failed"
    assert [(item["type"], item["status"]) for item in items(out)] == [("message", "completed")]
    assert not of_type(out, "function_call_arguments.done")


def test_G6_the_end_of_the_body_alone_is_no_end_of_the_answer() -> None:
    assert out_status(events([text("a")], None, done=False)) == "failed"


@pytest.mark.parametrize("ending", [Ending.DONE, *CUTS])
def test_G6_a_finish_reason_behind_everything_else_is_an_end_without_the_mark(ending: Ending) -> None:
    assert out_status(events([text("a")], "stop", done=False, ending=ending)) == "completed"


def test_A39_a_finish_reason_on_every_chunk_counts_where_the_body_ended_well() -> None:
    assert out_status(events([text("a", finish="stop"), text("b", finish="stop")], None, done=False)) == "completed"


@pytest.mark.parametrize("ending", CUTS)
def test_A39_G6_a_finish_reason_that_came_too_early_before_proves_nothing(ending: Ending) -> None:
    chunks = [text("a", finish="stop"), text("b", finish="stop")]
    assert out_status(events(chunks, None, done=False, ending=ending)) == "failed"


def test_G6_the_mark_alone_is_an_end() -> None:
    assert out_status(events([text("a")], None)) == "completed"


def test_G3_G4_an_error_in_the_stream_is_a_failed_response_and_no_bare_error_event() -> None:
    out = events([text("a"), {"error": {"message": "secret host down", "code": 500}}, text("b")])
    assert [event["type"] for event in out if event["type"] in ("error", "response.failed")] == ["response.failed"]
    assert as_dict(final(out)["error"]) == {"code": "server_error", "message": "The provider could not answer."}
    assert len(of_type(out, "output_text.delta")) == 1


def test_an_answer_that_grows_beyond_the_limit_fails() -> None:
    core = machine(PLAIN, limit=10)
    core.feed(text("a" * 10))
    out = core.feed(text("a"))
    assert (out[-1]["type"], core.feed(text("b"))) == ("response.failed", [])


def test_incomplete_can_be_called_completed_for_clients_that_raise_on_it() -> None:
    """The event and the status only: ``incomplete_details`` and the item's status still tell the truth."""
    core = machine(with_quirks(incomplete_as_completed=True))
    core.feed(text("a", finish="length"))
    out = core.finish(Ending.DONE)
    assert (out[-1]["type"], out_status(out)) == ("response.completed", "completed")
    assert final(out)["incomplete_details"] == {"reason": "max_output_tokens"}
    assert items(out)[0]["status"] == "incomplete"


def test_service_tier_is_the_providers_if_it_is_one_that_clients_know() -> None:
    assert final(events([{**text("a"), "service_tier": "flex"}]))["service_tier"] == "flex"
    assert final(events([{**text("a"), "service_tier": "on_demand"}]))["service_tier"] == "default"
