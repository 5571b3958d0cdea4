"""Events to chunks, case by case: what providers leave out, repeat, or get wrong, a client of chat does not notice."""

from typing import Any

import orjson
import pytest
from reverse_helpers import (
    USAGE,
    Json,
    check_chunks,
    chunks,
    collected,
    completion,
    ended,
    event,
    function_call,
    heard,
    machine,
    message,
    told,
)
from support.transcoding import CREATED

from onwards_py.messages import Ending
from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.neutral.quirks import Quirks

CREATED_EVENT = event("created", response={"model": "m-1", "service_tier": "flex", "status": "in_progress"})


def text(delta: str, **more: object) -> Json:
    return event("output_text.delta", delta=delta, **{"item_id": "msg_1", "output_index": 0, **more})


def added(item: Any, index: int = 0) -> Json:
    return event("output_item.added", item=item, output_index=index)


def item_done(item: Any, index: int = 0) -> Json:
    return event("output_item.done", item=item, output_index=index)


def arguments(delta: str, id_: str = "fc_1", index: int = 0) -> Json:
    return event("function_call_arguments.delta", delta=delta, item_id=id_, output_index=index)


def plain(value: object) -> Any:
    """A JSON value to look into."""
    return value


def test_the_role_comes_first_and_the_model_is_the_providers() -> None:
    """No chunk is written before the first content; then a chunk with the role, and the model that answered."""
    core = machine()
    assert core.feed(CREATED_EVENT) == []
    first, second = map(plain, core.feed(text("hi")))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert second["choices"][0]["delta"] == {"content": "hi"}
    assert (first["model"], first["service_tier"], first["created"]) == ("m-1", "flex", CREATED)


def test_calls_are_told_by_index_with_id_and_name_first() -> None:
    """Two calls whose fragments are interleaved: each chunk has its call's index, only the first has id and name."""
    out = chunks(
        [
            added(function_call("c", "f", "", "fc_1"), 0),
            added(function_call("d", "g", "", "fc_2"), 1),
            arguments('{"a"', "fc_1", 0),
            arguments("{", "fc_2", 1),
            arguments(":1}", "fc_1", 0),
            arguments("}", "fc_2", 1),
            ended(),
        ]
    )
    assert heard(out)["calls"] == [("c", "f", '{"a":1}'), ("d", "g", "{}")]
    assert heard(out)["finish"] == "tool_calls"


@pytest.mark.parametrize(
    ("terminal", "finish"),
    [
        (ended("completed"), "stop"),
        (ended("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (ended("incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (ended("incomplete", incomplete_details=None), "length"),
        (event("done", response={"status": "completed"}), "stop"),
        (event("completed", response={"status": "incomplete"}), "length"),
        (event("completed"), "stop"),
    ],
)
def test_B7_the_terminal_event_is_the_finish_reason(terminal: Json, finish: str) -> None:
    """What was cut is never a normal end, also where event and status disagree."""
    assert heard(chunks([text("hi"), terminal]))["finish"] == finish


@pytest.mark.parametrize(
    "terminal",
    [
        ended("failed", error={"code": "rate_limit_exceeded", "message": "secret"}),
        event("completed", response={"status": "failed", "error": {"code": "rate_limit_exceeded"}}),
        {"type": "error", "error": {"type": "x", "code": "rate_limit_exceeded", "message": "secret"}},
        {"type": "error", "code": "rate_limit_exceeded", "message": "secret", "param": None, "sequence_number": 3},
        {"error": {"code": "rate_limit_exceeded", "message": "secret"}},
    ],
)
def test_a_failure_is_an_error_chunk_and_the_end(terminal: Json) -> None:
    """Every shape of error: the envelope in our own words, and nothing behind it."""
    core = machine()
    core.feed(text("hi"))
    out = core.feed(terminal)
    assert [set(chunk) for chunk in out] == [{"error"}]
    error = out[0]["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["message"]) == ("rate_limit_exceeded", "The provider's rate limit was reached.")
    assert core.feed(text("more")) == core.finish(Ending.DONE) == []
    assert core.failure is not None
    assert core.failure.status == 429
    assert not core.failed_before_output


def test_a_trusted_providers_words_are_kept() -> None:
    core = machine(trusted=True)
    core.feed(ended("failed", error={"code": "server_error", "message": "the very words"}))
    assert core.failure is not None
    assert core.failure.message == "the very words"
    assert core.failed_before_output


@pytest.mark.parametrize("ending", list(Ending))
def test_G6_a_stream_without_its_terminal_event_was_cut(ending: Ending) -> None:
    """However the connection ended: an error, no finish reason."""
    out = heard(chunks([text("hi")], ending=ending))
    assert out["content"] == "hi"
    assert out["finish"] is None
    assert "error" in out


def test_the_end_mark_counts_where_the_terminal_event_is_missing() -> None:
    """``[DONE]`` means that the answer is complete, as it does from a provider of Chat Completions."""
    assert heard(chunks([text("hi")], done=True))["finish"] == "stop"


def test_A20_only_the_terminal_with_its_output() -> None:
    """The stream had no items: all of them are written at the end, in order."""
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    out = chunks([ended(output=[reasoning, message("hi"), function_call("c", "f", "{}")], usage=USAGE)])
    said = heard(out)
    assert (said["reasoning_content"], said["content"]) == ("hm", "hi")
    assert said["calls"] == [("c", "f", "{}")]
    assert said["usage"]["total_tokens"] == 18
    fields = [next(iter(chunk["choices"][0]["delta"]), "") for chunk in out if chunk["choices"]]
    assert fields == ["role", "reasoning_content", "content", "tool_calls", "tool_calls", ""]


def test_A1_deltas_without_their_items() -> None:
    """Neither added nor done: text is text."""
    assert heard(chunks([text("a"), text("b"), ended()]))["content"] == "ab"


def test_events_that_name_no_item_belong_to_the_open_one() -> None:
    """Events without id and index: the text is not repeated with its item."""
    nameless = event("output_text.delta", delta="hi")
    events = [added({"type": "message", "id": "msg_1", "content": []}), nameless, item_done(message("hi"))]
    assert heard(chunks([*events, ended(output=[message("hi")])]))["content"] == "hi"


def test_parts_that_are_only_told_when_they_are_done() -> None:
    """Two parts of one message, without deltas; the second begins like the first."""
    done = [
        event("output_text.done", item_id="msg_1", output_index=0, content_index=index, text=said)
        for index, said in enumerate(["a", "ab"])
    ]
    again = [event("content_part.done", item_id="msg_1", content_index=1, part={"type": "output_text", "text": "ab"})]
    assert heard(chunks([*done, *again, ended()]))["content"] == "aab"


def test_an_item_that_is_done_says_no_more() -> None:
    """A late repetition of its text is one."""
    late = event("output_text.done", item_id="msg_1", output_index=0, content_index=1, text="hi")
    assert heard(chunks([text("hi"), item_done(message("hi")), text("hi"), late, ended()]))["content"] == "hi"


def test_A15_a_content_index_for_each_token_is_no_new_part() -> None:
    """vLLM increments content_index with each token, and then sends the complete text."""
    events = [text("a", content_index=0), text("b", content_index=1), text("c", content_index=2)]
    events += [event("output_text.done", item_id="msg_1", output_index=0, content_index=3, text="abc")]
    assert heard(chunks([*events, item_done(message("abc")), ended(output=[message("abc")])]))["content"] == "abc"


def test_each_token_a_part_of_its_own_is_not_told_twice() -> None:
    """The same with ``content_part.added`` before each token."""
    events = [event("content_part.added", item_id="msg_1", output_index=0, part={}) for _ in range(3)]
    between = [text("a"), text("b")]
    all_ = [events[0], between[0], events[1], between[1], events[2]]
    all_ += [event("output_text.done", item_id="msg_1", output_index=0, text="ab")]
    assert heard(chunks([*all_, ended(output=[message("ab")])]))["content"] == "ab"


def test_A17_the_text_of_a_reasoning_item_is_reasoning_whatever_its_part_is_called() -> None:
    """vLLM calls the parts of a reasoning item ``output_text``."""
    part = {"type": "output_text", "text": "hm"}
    events = [
        added({"type": "reasoning", "id": "rs_1"}),
        event("reasoning_text.delta", item_id="rs_1", output_index=0, content_index=0, delta="hm"),
        event("content_part.done", item_id="rs_1", output_index=0, content_index=0, part=part),
    ]
    said = heard(chunks([*events, text("x", item_id="msg_1", output_index=1), ended()]))
    assert (said["reasoning_content"], said["content"]) == ("hm", "x")


def test_A28_arguments_only_when_they_are_done() -> None:
    """Without deltas the arguments are written once, from the first event that has them."""
    done = event("function_call_arguments.done", item_id="fc_1", output_index=0, arguments='{"a":1}')
    whole = function_call("c", "f", '{"a":1}')
    for events in ([done, item_done(whole)], [item_done(whole)], []):
        out = chunks([added(function_call("c", "f", "")), *events, ended(output=[whole])])
        assert heard(out)["calls"] == [("c", "f", '{"a":1}')]


def test_A26_arguments_that_are_told_at_the_beginning_are_told_once() -> None:
    """Some providers send all arguments in ``added``: they are used only if no other event has them."""
    whole = function_call("c", "f", '{"a":1}')
    assert heard(chunks([added(whole), ended()]))["calls"] == [("c", "f", '{"a":1}')]
    assert heard(chunks([added(whole), arguments('{"a":1}'), ended()]))["calls"] == [("c", "f", '{"a":1}')]


def test_A30_a_call_waits_for_its_name_and_its_id() -> None:
    """Without ``added`` both come last; the fragments wait, and nothing is called ''."""
    core = machine()
    assert core.feed(arguments('{"a":')) == []
    out = core.feed(arguments("1}")) + core.feed(item_done(function_call("c", "f", '{"a":1}'))) + core.feed(ended())
    check_chunks(out)
    assert heard(out)["calls"] == [("c", "f", '{"a":1}')]


def test_A30_the_id_is_the_providers_although_it_comes_last() -> None:
    """``arguments.done`` may contain the name; the call id is in the item, whose item id may have changed."""
    done = event("function_call_arguments.done", item_id="x1", output_index=0, arguments='{"a":1}', name="f")
    whole = function_call("c", "f", '{"a":1}', "x2")
    assert heard(chunks([done, item_done(whole), ended()]))["calls"] == [("c", "f", '{"a":1}')]


def test_A30_an_answer_with_a_nameless_call_failed() -> None:
    out = heard(chunks([text("hi"), arguments("{}"), ended()]))
    assert out["calls"] == []
    assert "error" in out


def test_B9_arguments_that_stop_in_their_middle_were_cut() -> None:
    """Although the provider reports "completed", the finish reason is "length", so that no client runs the call."""
    out = chunks([added(function_call("c", "f", "")), arguments('{"a'), ended()])
    assert heard(out)["finish"] == "length"


@pytest.mark.parametrize("said", ["{'a': 1}", "nothing", '{"a": 1,}'])
def test_arguments_that_are_no_json_are_handed_over_as_the_model_made_them(said: str) -> None:
    """They were not cut: the finish reason is that of calls."""
    found = heard(chunks([added(function_call("c", "f", "")), arguments(said), ended()]))
    assert (found["calls"], found["finish"]) == ([("c", "f", said)], "tool_calls")
    assert heard(chunks([ended(output=[function_call("c", "f", said)])])) == {**found}


def test_E10_no_arguments_are_an_empty_object() -> None:
    assert heard(chunks([item_done(function_call("c", "f", "")), ended()]))["calls"] == [("c", "f", "{}")]


def test_A34_a_call_without_an_id_gets_one() -> None:
    """And two calls with one id are two calls with two ids."""
    calls = heard(chunks([item_done(function_call("", "f", "{}")), ended()]))["calls"]
    assert calls == [("call_1", "f", "{}")]
    twice = [function_call("c", "f", "{}", "fc_1"), {**function_call("", "f", "{}", "fc_2"), "call_id": "c"}]
    twice[1]["arguments"] = '{"a":1}'
    out = chunks([added(twice[0], 0), added(twice[1], 1), item_done(twice[0], 0), item_done(twice[1], 1), ended()])
    assert heard(out)["calls"] == [("c", "f", "{}"), ("call_1", "f", '{"a":1}')]


TWO_CALLS = [function_call("c", "f", '{"a":1}', "fc"), function_call("d", "g", '{"b":2}', "fc")]
TWO_TEXTS = [message("a", "msg"), message("b", "msg")]


def serial(items: list[Json]) -> list[Json]:
    return [one(item, at) for at, item in enumerate(items) for one in (added, item_done)]


@pytest.mark.parametrize("last", [[], TWO_CALLS])
@pytest.mark.parametrize(
    "stream",
    [
        serial(TWO_CALLS),
        [item_done(item, at) for at, item in enumerate(TWO_CALLS)],
        [added({**item, "arguments": ""}, at) for at, item in enumerate(TWO_CALLS)]
        + [
            event("function_call_arguments.delta", item_id="fc", output_index=at, delta=piece)
            for at, piece in [(0, '{"a"'), (1, '{"b"'), (0, ":1}"), (1, ":2}")]
        ],
        [event("output_item.done", item=item) for item in TWO_CALLS],
        [item_done(item, 0) for item in TWO_CALLS],
    ],
    ids=["serial", "only done", "interleaved", "no index", "one index"],
)
def test_two_calls_under_one_item_id_are_two_calls(stream: list[Json], last: list[Json]) -> None:
    assert heard(chunks([*stream, ended(output=last)]))["calls"] == [("c", "f", '{"a":1}'), ("d", "g", '{"b":2}')]


@pytest.mark.parametrize("ids", [("c", "d"), ("c", "c"), ("", "")])
def test_no_item_of_a_whole_answer_is_lost_whatever_the_ids(ids: tuple[str, str]) -> None:
    """The second of two calls with one call id gets an id of this proxy."""
    calls = [{**call, "call_id": id_} for call, id_ in zip(TWO_CALLS, ids, strict=True)]
    found = heard(chunks([ended(output=[*TWO_TEXTS, *calls])]))
    assert found["content"] == "ab"
    assert [call[1:] for call in found["calls"]] == [("f", '{"a":1}'), ("g", '{"b":2}')]
    assert len({call[0] for call in found["calls"]}) == 2
    whole_ = orjson.loads(collected([orjson.dumps(ended(output=[*TWO_TEXTS, *calls])["response"])]).body)
    assert told(whole_)["calls"] == found["calls"]
    assert told(whole_)["content"] == "ab"


def test_a_second_call_under_one_call_id_that_only_the_last_event_tells_is_told() -> None:
    same = [{**call, "call_id": "c"} for call in TWO_CALLS]
    found = heard(chunks([*serial(same[:1]), ended(output=same)]))
    assert [call[1:] for call in found["calls"]] == [("f", '{"a":1}'), ("g", '{"b":2}')]


@pytest.mark.parametrize("stream", [serial(TWO_TEXTS), [item_done(item, at) for at, item in enumerate(TWO_TEXTS)]])
@pytest.mark.parametrize("last", [[], TWO_TEXTS])
def test_two_messages_under_one_id_are_both_told(stream: list[Json], last: list[Json]) -> None:
    assert heard(chunks([*stream, ended(output=last)]))["content"] == "ab"


def test_an_item_that_is_done_twice_is_told_once() -> None:
    for items in ([TWO_CALLS[0]] * 2, [TWO_TEXTS[0]] * 2):
        found = heard(chunks([*(item_done(item, 0) for item in items), ended()]))
        assert (len(found["calls"]), found["content"]) in ((1, ""), (0, "a"))


def test_custom_tool_calls_are_told_as_chat_tells_them() -> None:
    """Type ``custom``, with ``input`` in place of arguments; text that is no JSON was not cut."""
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "patch", "input": ""}
    events = [
        added(item),
        event("custom_tool_call_input.delta", item_id="ctc_1", output_index=0, delta="*** Be"),
        event("custom_tool_call_input.done", item_id="ctc_1", output_index=0, input="*** Begin"),
        item_done({**item, "input": "*** Begin"}),
        ended(),
    ]
    out = chunks(events)
    assert heard(out)["calls"] == [("c", "patch", "*** Begin")]
    assert heard(out)["finish"] == "tool_calls"
    core = machine()
    core.whole({"status": "completed", "output": [{**item, "input": "x"}]})
    call = {"id": "c", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    assert plain(core.answer())["choices"][0]["message"]["tool_calls"] == [call]


def test_a_custom_call_is_a_function_call_to_a_client_of_the_old_functions() -> None:
    """Streamed and whole: it has no other word for a call."""
    core = machine(ChatContext("m", legacy_functions=True))
    item = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x"}
    out: Any = core.whole({"status": "completed", "output": [item]})
    assert [chunk["choices"][0]["delta"].get("function_call") for chunk in out] == [
        None,
        {"name": "patch", "arguments": ""},
        {"arguments": "x"},
        None,
    ]
    answer: Any = core.answer()
    assert answer["choices"][0]["message"]["function_call"] == {"name": "patch", "arguments": "x"}


def test_a_request_with_functions_is_answered_with_a_function_call() -> None:
    """The API before tools has one call, without an id; a second call is left out."""
    core = machine(ChatContext("m", legacy_functions=True))
    out = core.feed(item_done(function_call("c", "f", '{"a":1}')))
    out += core.feed(item_done(function_call("d", "g", "{}", "fc_2"), 1)) + core.feed(ended())
    deltas = [plain(chunk)["choices"][0]["delta"] for chunk in out]
    assert {"function_call": {"name": "f", "arguments": ""}} in deltas
    assert {"function_call": {"arguments": '{"a":1}'}} in deltas
    assert plain(out[-1])["choices"][0]["finish_reason"] == "function_call"
    assert "tool_calls" not in str(out)
    assert plain(core.answer())["choices"][0]["message"]["function_call"] == {
        "name": "f",
        "arguments": '{"a":1}',
    }


def _reasoning(type_: str, said: str, **more: object) -> Json:
    key = "text" if type_.endswith("done") else "delta"
    return event(type_, item_id="rs_1", output_index=0, **{key: said}, **more)


def test_every_name_of_reasoning_is_understood() -> None:
    """The specification's, OpenAI's, and that of summaries."""
    for name in ("reasoning", "reasoning_text", "reasoning_summary_text"):
        assert heard(chunks([_reasoning(f"{name}.delta", "hm"), ended()]))["reasoning_content"] == "hm"


def test_the_parts_of_a_summary_are_paragraphs() -> None:
    """So is reasoning that comes later: words of different thoughts are not glued together."""
    parts = [
        _reasoning("reasoning_summary_text.delta", "one", summary_index=0),
        _reasoning("reasoning_summary_text.done", "one", summary_index=0),
        _reasoning("reasoning_summary_text.delta", "two", summary_index=1),
    ]
    summary = [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two!"}]
    later = {"type": "reasoning", "id": "rs_2", "summary": [], "content": [{"type": "reasoning_text", "text": "three"}]}
    events = [*parts, item_done({"type": "reasoning", "id": "rs_1", "summary": summary}), item_done(later, 1), ended()]
    assert heard(chunks(events))["reasoning_content"] == "one\n\ntwo!\n\nthree"


def test_H2_reasoning_in_two_forms_is_told_once() -> None:
    """Raw and summarised, streamed or in the item: the form that comes first counts."""
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "long"}],
    }
    deltas = [_reasoning("reasoning_text.delta", "long"), _reasoning("reasoning_summary_text.delta", "short")]
    for events in (deltas, [*deltas, item_done(item)], [item_done(item)], [*deltas, ended(output=[item])]):
        assert heard(chunks([*events, ended(output=[item])]))["reasoning_content"] == "long"


def test_sealed_reasoning_reaches_the_client_once_as_a_detail() -> None:
    """In the form that clients know of OpenRouter, so that they give it back."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "blob"}
    out = heard(chunks([item_done(item), text("x", output_index=1), ended(output=[item, message("x")])]))
    detail = {"type": "reasoning.encrypted", "id": "rs_1", "format": "openai-responses-v1", "data": "blob", "index": 0}
    assert out["reasoning_details"] == [detail]


def test_annotations_count_from_the_beginning_of_all_content() -> None:
    """Indices of a citation in the second message count from the first message; a repeated citation is written once."""
    cited = {"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://x", "title": "X"}
    second = message("de", "msg_2", annotations=[cited])
    streamed = [
        item_done(message("abc")),
        added({**second, "content": []}, 1),
        text("de", item_id="msg_2", output_index=1),
        event("output_text.annotation.added", item_id="msg_2", output_index=1, annotation=cited),
        item_done(second, 1),
        ended(output=[message("abc"), second]),
    ]
    place = {"start_index": 3, "end_index": 5, "url": "https://x", "title": "X"}
    expected = [{"type": "url_citation", "url_citation": place}]
    assert heard(chunks(streamed))["annotations"] == expected
    late = [text("abc"), text("de", item_id="msg_2", output_index=1), ended(output=[message("abc"), second])]
    assert heard(chunks(late))["annotations"] == expected
    whole = completion({"output": [message("abc"), second]})
    assert told(whole)["annotations"] == expected


def test_log_probabilities_are_told_if_they_were_asked_for() -> None:
    """``bytes`` may be missing in events, and null stands for them."""
    token = {"token": "hi", "logprob": -0.5, "top_logprobs": [{"token": "ho", "logprob": -1}]}
    events = [text("hi", logprobs=[token]), ended()]
    top = [{"token": "ho", "logprob": -1, "bytes": None}]
    expected = [{"token": "hi", "logprob": -0.5, "bytes": None, "top_logprobs": top}]
    assert heard(chunks(events, context=ChatContext("m", wants_logprobs=True)))["logprobs"] == expected
    assert "logprobs" not in heard(chunks(events))


def test_usage_is_told_if_it_was_asked_for_and_is_known() -> None:
    """B4: a chunk without choices behind the finish reason, for clients that asked; none where nothing is known."""
    known = chunks([text("hi"), ended(usage=USAGE)])
    assert known[-1]["choices"] == []
    assert [chunk["usage"] for chunk in known[:-1]] == [None] * (len(known) - 1)
    unasked = chunks([text("hi"), ended(usage=USAGE)], context=ChatContext("m"))
    assert not any("usage" in chunk for chunk in unasked)
    core = machine()
    assert all(chunk["choices"] for chunk in core.feed(text("hi")) + core.feed(ended(usage=None)))
    assert "usage" not in core.answer()


def test_B6_details_of_usage_are_kept() -> None:
    usage = heard(chunks([text("hi"), ended(usage=USAGE)]))["usage"]
    assert usage == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def test_unknown_events_and_items_say_nothing() -> None:
    """Hosted tools have no words in chat; an answer of nothing else is empty, but no failure."""
    call = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    events = [
        event("web_search_call.searching", item_id="ws_1"),
        {"type": "keepalive", "sequence_number": 1},
        added(call),
        item_done(call),
        {"type": "acme:thing"},
        {"no": "type"},
    ]
    out = chunks([*events, ended(output=[call])])
    assert heard(out) | {"content": "", "finish": "stop"} == heard(out)


@pytest.mark.parametrize("output", [[], [message("")], [{"type": "message", "content": []}]])
def test_B13_an_answer_that_is_empty_on_purpose_has_empty_content(output: list[Json]) -> None:
    found = heard(chunks([ended(output=output)]))
    assert (found["content"], found["finish"]) == ("", "stop")
    whole_ = collected([orjson.dumps(ended(output=output)["response"])])
    assert told(orjson.loads(whole_.body)) == found
    assert orjson.loads(whole_.body)["choices"][0]["message"]["content"] == ""


def test_B13_an_answer_with_nothing_in_it_failed_of_a_provider_that_is_known_for_it() -> None:
    """And one that has no end but the mark, of any provider."""
    core = machine(ChatContext("m", quirks=Quirks(empty_answer_failed=True)))
    core.feed(ended())
    assert core.failed_before_output
    assert "error" in chunks([], done=True)[-1]


def test_an_answer_passes_a_limit() -> None:
    """Counted in characters of what is kept, however small the pieces are."""
    core = machine(limit=1000)
    out: list[Json] = []
    for _ in range(300):
        out += core.feed(text("four"))
    assert "error" in out[-1]
    assert core.finished


def test_a_message_that_only_refuses_has_no_content() -> None:
    refusal = {"type": "message", "id": "msg_1", "content": [{"type": "refusal", "refusal": "no"}]}
    whole = completion({"output": [refusal], "status": "completed"})
    said = plain(whole)["choices"][0]["message"]
    assert (said["content"], said["refusal"]) == (None, "no")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"error": {"message": "x"}},
        {"choices": []},
        {"status": "failed", "output": [], "error": {"code": "server_error", "message": "x"}},
        {"status": "in_progress", "output": []},
        {"status": "cancelled", "output": []},
    ],
)
def test_a_whole_answer_that_is_none_is_a_failure(body: Json) -> None:
    envelope = completion(body)
    assert set(envelope) == {"error"}
    assert orjson.dumps(envelope)
