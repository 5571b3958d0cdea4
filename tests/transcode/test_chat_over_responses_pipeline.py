"""Bytes in, bytes out: frames without names, the end mark only behind a whole answer, failures where they belong."""

import orjson
from openai.types.chat import ChatCompletion
from reverse_helpers import (
    DONE,
    PLAIN,
    Json,
    chunks,
    collected,
    ended,
    event,
    event_filter,
    filtered,
    heard,
    machine,
    message,
    read,
    sse,
    told,
)

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.pipeline import AnswerBody as ResponsesBody
from onwards_py.transcode.neutral.pipeline import AnswerCollector, KeepAlive

TEXT = event("output_text.delta", delta="é", item_id="msg_1", output_index=0)
FAILED = ended("failed", error={"code": "server_error", "message": "secret"})
WHOLE: Json = {"object": "response", "status": "completed", "model": "m-1", "output": [message("hi")]}


def test_a_whole_stream_ends_with_the_end_mark() -> None:
    """At the terminal event already: a provider that keeps the connection open afterwards keeps nobody waiting."""
    core = event_filter()
    out = core.feed(sse([TEXT, ended()]))
    assert out.endswith(DONE)
    assert heard(read(out))["content"] == "é"
    assert core.feed(sse([TEXT])) == core.finish(Ending.EOF) == core.begin() == b""


def test_a_failed_stream_ends_without_the_end_mark() -> None:
    """The error chunk is the last frame, and names no secret."""
    out = filtered([sse([TEXT, FAILED])])
    assert not out.endswith(DONE)
    assert b"secret" not in out
    assert "error" in read(out)[-1]


def test_a_failure_before_the_first_chunk_is_withheld() -> None:
    """G1: nothing is returned, so that it can be an HTTP status or another provider's turn; asked for, it is told."""
    core = event_filter()
    assert core.feed(sse([event("created", response={}), FAILED])) == b""
    assert core.failure is not None
    assert core.failure.status == 502
    assert [set(chunk) for chunk in read(core.begin())] == [{"error"}]
    assert core.failure is None
    assert core.begin() == b""


def test_a_failure_that_shows_only_in_the_whole_answer_is_withheld_too() -> None:
    """A nameless call beside text, in one body: nothing was returned of it yet."""
    nameless = {"type": "function_call", "call_id": "c", "arguments": "{}"}
    core = event_filter()
    assert core.feed(orjson.dumps({**WHOLE, "output": [message("hi"), nameless]})) == core.finish(Ending.DONE) == b""
    assert core.failure is not None


def test_an_early_beginning_commits() -> None:
    """The role is told by a timer; a failure afterwards is a chunk."""
    core = event_filter()
    assert heard(read(core.begin()))["finish"] is None
    assert core.begin() == b""
    assert "error" in read(core.feed(sse([FAILED])))[0]
    assert core.failure is None


def test_signs_of_life() -> None:
    """A comment, or a chunk that says nothing; neither before the beginning nor after the end."""
    core = event_filter()
    assert core.keepalive(KeepAlive.EVENT) == core.keepalive(KeepAlive.COMMENT) == b""
    core.begin()
    assert core.keepalive(KeepAlive.COMMENT) == b": keepalive\n\n"
    assert read(core.keepalive(KeepAlive.EVENT))[0]["choices"][0]["delta"] == {}
    assert core.keepalive(KeepAlive.OFF) == b""
    core.feed(sse([TEXT, ended()]))
    assert core.keepalive(KeepAlive.EVENT) == core.keepalive(KeepAlive.COMMENT) == b""


def test_G21_a_json_body_becomes_a_stream() -> None:
    out = filtered([b"\xef\xbb\xbf \n", orjson.dumps(WHOLE)])
    assert heard(read(out))["content"] == "hi"
    assert out.endswith(DONE)


def test_G21_a_stream_becomes_a_json_body() -> None:
    answer = collected([sse([TEXT, ended(output=[message("é")])])])
    assert answer.status == 200
    assert told(orjson.loads(answer.body))["content"] == "é"


def test_a_failed_answer_has_a_status_and_the_envelope() -> None:
    """Cut in its middle, failed, or no JSON: never a completion."""
    for pieces, ending, status in (
        ([sse([TEXT])], Ending.EOF, 502),
        ([sse([TEXT])], Ending.IDLE, 504),
        ([sse([TEXT, FAILED])], Ending.DONE, 502),
        ([orjson.dumps(WHOLE)[:-5]], Ending.EOF, 502),
        ([b"<html>"], Ending.DONE, 502),
        ([], Ending.DONE, 502),
    ):
        answer = collected(pieces, ending)
        assert answer.status == status
        assert set(orjson.loads(answer.body)["error"]) == {"message", "type", "param", "code"}


def test_limits_of_one_event_and_of_a_body() -> None:
    """In bytes; passed, the answer failed."""
    for limits, body in (
        ({"event_limit": 200}, sse([TEXT, ended(x="y" * 300)])),
        ({"body_limit": 50}, orjson.dumps(WHOLE)),
    ):
        core = machine()
        collector = AnswerCollector(core, ResponsesBody(core, **limits))
        collector.feed(body)
        assert collector.finish(Ending.DONE).status == 504


def test_G20_line_ends_and_comments_of_any_kind() -> None:
    raw = sse([TEXT, ended()]).replace(b"\n", b"\r\n").replace(b"data: ", b"data:")
    assert heard(read(filtered([b": ping\r\n\r\n", raw])))["finish"] == "stop"


def test_what_is_no_json_is_a_keep_alive_unless_it_began_as_json() -> None:
    assert heard(read(filtered([b"data: ping\n\n", sse([TEXT, ended()])])))["finish"] == "stop"
    assert "error" in heard(read(filtered([sse([TEXT]), b'data: {"type"\n\n', sse([ended()])])))


def test_halves_of_characters_do_not_break_the_answer() -> None:
    """An emoji cut between two tokens: each half is replaced, the stream goes on."""
    raw = b'data: {"type":"response.output_text.delta","delta":"\\ud83d"}\n\n' + sse([ended()])
    assert heard(read(filtered([raw])))["content"] == "�"


def test_the_whole_answer_is_what_the_sdk_reads() -> None:
    """Every member of the SDK's type, strictly."""
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    call = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "{}"}
    answer = collected([orjson.dumps({**WHOLE, "output": [message("hi"), call], "usage": usage})])
    completion = ChatCompletion.model_validate_json(answer.body, strict=True)
    assert completion.choices[0].finish_reason == "tool_calls"
    assert completion.usage is not None
    assert completion.usage.total_tokens == 3
    assert heard(chunks([{"type": "response.completed", "response": WHOLE}], context=PLAIN))["content"] == "hi"
