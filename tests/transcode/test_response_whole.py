"""A whole chat answer becomes a whole response, and keeps the same promises as a streamed one."""

from typing import Any

import pytest
from stream_helpers import PLAIN, with_quirks
from support.responses_oracle import check_resource
from support.responses_promises import Json, as_dict, as_list
from support.transcoding import CREATED, ENDED, answer_context
from support.transcoding import whole as whole_answer

from onwards_py.transcode.neutral.quirks import Think
from onwards_py.transcode.responses.context import ResponsesContext


def answer(finish: str | None = "stop", **message: object) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {"id": "chatcmpl-9", "object": "chat.completion", "model": "m-1", "choices": [choice], "usage": usage}


def whole(chat: Json, context: ResponsesContext = PLAIN, trusted: bool = False) -> dict[str, Any]:
    resource = whole_answer(chat, context, trusted=trusted)
    assert check_resource(resource) == []
    return resource


def call(name: str, **more: object) -> Json:
    return {"type": "function", "function": {"name": name, "arguments": "{}"}, **more}


def test_C1_C2_C3_C4_C5_a_text_answer_has_every_member_that_strict_clients_want() -> None:
    response = whole(answer(content="hi"))
    assert len(response) >= 31
    assert (response["created_at"], response["completed_at"]) == (CREATED, ENDED)
    assert response["usage"]["total_tokens"] == 7
    (item,) = response["output"]
    assert (item["status"], item["role"]) == ("completed", "assistant")
    assert item["content"] == [{"type": "output_text", "text": "hi", "annotations": [], "logprobs": []}]


def test_reasoning_text_refusal_and_calls_come_in_this_order() -> None:
    response = whole(
        answer(
            "tool_calls",
            content="a",
            reasoning_content="hm",
            refusal="no",
            tool_calls=[call("get_time", id="c"), call("get_weather", id="d")],
        )
    )
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert [part["type"] for part in response["output"][1]["content"]] == ["output_text", "refusal"]
    assert response["status"] == "completed"


@pytest.mark.parametrize("identity", [{}, {"id": ""}, {"id": "same"}, {"index": 0}, {"id": "same", "index": 0}])
def test_A38_each_entry_of_tool_calls_is_a_call_whatever_its_id_and_index_say(identity: Json) -> None:
    response = whole(answer(tool_calls=[call("get_time", **identity), call("get_time", **identity)]))
    assert len({item["call_id"] for item in response["output"]}) == 2


@pytest.mark.parametrize("content", ["", None])
def test_a_turn_with_only_calls_has_no_message(content: str | None) -> None:
    response = whole(answer(content=content, tool_calls=[call("get_time", id="c")]))
    assert [item["type"] for item in response["output"]] == ["function_call"]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_B7_B8_a_truncated_answer_is_incomplete(finish: str, reason: str) -> None:
    for message in ({"content": "a"}, {"reasoning_content": "hm"}, {}):
        response = whole(answer(finish, **message))
        assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert response["output"] == []


def test_an_answer_without_a_finish_reason_is_whole_since_its_body_was() -> None:
    assert whole(answer(None, content="a"))["status"] == "completed"


@pytest.mark.parametrize(
    "chat", [{}, {"choices": None}, {"choices": {}}, {"choices": []}, {"choices": [None]}, answer("tool_calls")]
)
def test_B13_an_answer_with_nothing_in_it_failed(chat: Json) -> None:
    response = whole(chat)
    assert (response["status"], response["output"]) == ("failed", [])
    assert response["error"]["code"] == "server_error"


@pytest.mark.parametrize("finish", ["stop", None])
@pytest.mark.parametrize("message", [{"content": ""}, {"content": None}, {}, {"content": []}])
def test_B13_an_answer_that_is_empty_on_purpose_is_an_empty_message(message: Json, finish: str | None) -> None:
    """Not of a provider that is known to fail in this way."""
    response = whole(answer(finish, **message))
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", "")
    assert whole(answer(finish, **message), with_quirks(empty_answer_failed=True))["status"] == "failed"


def test_an_error_in_a_success_is_a_failed_response() -> None:
    error = {"error": {"message": "too many tokens", "code": "context_length_exceeded"}}
    assert whole(error)["error"]["code"] == "context_length_exceeded"  # type: ignore[arg-type]
    assert whole(error, trusted=True)["error"]["message"] == "too many tokens"  # type: ignore[arg-type]
    assert whole({"detail": "no"})["status"] == "failed"


def test_H1_tags_are_split_in_whole_answers_too() -> None:
    response = whole(answer(content="<think>hm</think>yes"), with_quirks(think=Think.TAGGED))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]


def test_E4_the_call_of_a_custom_tool_is_one_again() -> None:
    context = answer_context(tools=[{"type": "custom", "name": "apply_patch"}])
    patch = {"id": "c", "function": {"name": "apply_patch", "arguments": '{"input":"x"}'}}
    resource = whole_answer(answer(tool_calls=[patch]), context)
    item = as_dict(as_list(resource["output"])[0])
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", "x")
    assert "arguments" not in item


def test_audio_is_answered_with_its_transcript() -> None:
    assert whole(answer(content=None, audio={"transcript": "hi"}))["output"][0]["content"][0]["text"] == "hi"
