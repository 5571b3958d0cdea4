"""What holds for a machine of every pair: how reads are cut does not show, one end, and whole equals streamed.

The pair of chat with itself is no translation that is offered: it shows that a reader and a writer know nothing of each
other.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest
from chat_streams import PLACES, Stream, streams
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reverse_helpers import PLAIN, Json, told
from support.pieces import cut_at
from support.responses_promises import as_dict, as_list
from support.transcoding import CountingIds, answer_context, clock, translate
from test_stream_properties import said

from onwards_py.messages import Ending
from onwards_py.transcode.chat.context import ChatContext
from onwards_py.transcode.chat.read_answer import ChatReader
from onwards_py.transcode.chat.write_answer import ChatWriter
from onwards_py.transcode.neutral.failure import malformed
from onwards_py.transcode.neutral.machine import Machine, State
from onwards_py.transcode.neutral.pipeline import AnswerBody, EventFilter
from onwards_py.transcode.pairs import chat_over_responses, responses_over_chat

CONTEXT = answer_context()
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ENDINGS = st.sampled_from(list(Ending))


def chat_source(stream: Stream) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in stream.chunks) + b"data: [DONE]\n\n"


def responses_source(stream: Stream) -> bytes:
    return translate(chat_source(stream), CONTEXT, Ending.DONE)


def chat_whole(stream: Stream) -> Json:
    return stream.whole()


def responses_whole(stream: Stream) -> Json:
    """The response in the last event of the stream: a whole chat answer may divide its reasoning into fewer items."""
    return as_dict(parts(responses_source(stream))[-1]["response"])


def response_content(answer: Any) -> Json:
    rest = ("status", "incomplete_details", "usage", "error", "model")
    return {**said(answer["output"]), **{name: answer[name] for name in rest}}


def completion_content(answer: Any) -> Json:
    """A call without arguments has ``{}``, unless it is the last item of an answer that was cut."""
    content = told(answer)
    calls: Any = content["calls"]
    return {**content, "calls": [(id_, name, arguments or "{}") for id_, name, arguments in calls]}


def is_response_end(event: Json) -> bool:
    return event["type"] in ("response.completed", "response.incomplete", "response.failed")


def is_completion_end(chunk: Json) -> bool:
    return "error" in chunk or any(choice["finish_reason"] for choice in chunk["choices"])


class Pair(NamedTuple):
    """``content``: what is in a whole answer to the client, apart from how it is divided."""

    machine: Callable[..., Machine]
    source: Callable[[Stream], bytes]
    whole: Callable[[Stream], Json]
    content: Callable[[Any], Json]
    is_end: Callable[[Json], bool]


def _to_responses(context: Any = CONTEXT, **more: Any) -> Machine:
    return responses_over_chat(context, CountingIds(), clock(), **more)


def _to_chat(context: ChatContext = PLAIN, **more: Any) -> Machine:
    return chat_over_responses(context, CountingIds(), clock(), **more)


def _chat_to_chat(context: ChatContext = PLAIN, **more: Any) -> Machine:
    ids = CountingIds()
    return Machine(ChatReader(context, ids), ChatWriter(context, ids, clock()), **more)


PAIRS = {
    "responses over chat": Pair(_to_responses, chat_source, chat_whole, response_content, is_response_end),
    "chat over responses": Pair(_to_chat, responses_source, responses_whole, completion_content, is_completion_end),
    "chat over chat": Pair(_chat_to_chat, chat_source, chat_whole, completion_content, is_completion_end),
}
each_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())


def streamed(pair: Pair, pieces: list[bytes], ending: Ending) -> tuple[bytes, Machine]:
    """What the client is sent, a failure before the first event included, and nothing more behind the end."""
    machine = pair.machine()
    events = EventFilter(machine, AnswerBody(machine))
    out = b"".join(map(events.feed, pieces)) + events.finish(ending)
    out += events.begin() if events.failure is not None else b""
    assert machine.state.ended
    again = [machine.feed({}), machine.whole({}), machine.finish(Ending.DONE), machine.fail(malformed("more"))]
    assert [*again, machine.begin(), machine.keepalive()] == [[]] * 6
    return out, machine


def parts(out: bytes) -> list[Json]:
    """The JSON of each event, in order."""
    lines = [line.removeprefix(b"data: ") for line in out.split(b"\n") if line.startswith(b"data: {")]
    return [orjson.loads(line) for line in lines]


@each_pair
@PATIENT
@given(streams(), PLACES, ENDINGS, st.data())
def test_the_cut_of_the_reads_does_not_show(
    pair: Pair, stream: Stream, places: list[int], ending: Ending, data: st.DataObject
) -> None:
    """The joined output is the same bytes, wherever the provider's stream stops, and so is all else that is known."""
    raw = pair.source(stream)
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    out, machine = streamed(pair, cut_at(raw, places), ending)
    out_at_once, at_once = streamed(pair, [raw], ending)
    assert (out, machine.failure, machine.dropped) == (out_at_once, at_once.failure, at_once.dropped)


@each_pair
@PATIENT
@given(streams(), PLACES, ENDINGS, st.data())
def test_there_is_exactly_one_end(
    pair: Pair, stream: Stream, places: list[int], ending: Ending, data: st.DataObject
) -> None:
    """Also where bytes in the middle are missing or replaced: it is in the last event with content of any kind."""
    raw = pair.source(stream)
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 50)))
    junk = data.draw(st.binary(max_size=20))
    out, machine = streamed(pair, cut_at(raw[:start] + junk + raw[stop:], places), ending)
    ends = [pair.is_end(part) for part in parts(out) if part.get("choices") != []]
    assert ends == [False] * (len(ends) - 1) + [True]
    assert out.endswith(b"data: [DONE]\n\n") is machine.ends_with_done


@each_pair
@PATIENT
@given(streams())
def test_a_whole_answer_equals_a_streamed_one(pair: Pair, stream: Stream) -> None:
    """For the client, whichever of the two the provider sent."""
    _, machine = streamed(pair, [pair.source(stream)], Ending.DONE)
    at_once = pair.machine()
    at_once.whole(pair.whole(stream))
    assert at_once.state is machine.state is State.FINISHED
    assert pair.content(at_once.answer()) == pair.content(machine.answer())


@each_pair
@PATIENT
@given(streams())
def test_content_is_known_as_soon_as_there_is_any(pair: Pair, stream: Stream) -> None:
    """From the first event with text, arguments or an end on, and not before."""
    machine = pair.machine()
    events = EventFilter(machine, AnswerBody(machine))
    out = b""
    for line in pair.source(stream).splitlines(keepends=True):
        out += events.feed(line)
        assert events.has_content is any(map(_has_content, parts(out)))
    assert events.has_content


def _has_content(part: Json) -> bool:
    if "choices" in part:
        choices = [as_dict(choice) for choice in as_list(part["choices"])]
        return any(choice["finish_reason"] or any(as_dict(_without_role(choice)).values()) for choice in choices)
    return "delta" in part or is_response_end(part)


def _without_role(choice: Json) -> Json:
    return {name: value for name, value in as_dict(choice["delta"]).items() if name != "role"}


@each_pair
def test_the_limit_of_an_answer_is_in_characters(pair: Pair) -> None:
    """Not in bytes: a text of as many characters as are allowed passes, however many bytes it takes."""
    for size, failed in ((2000, False), (2001, True)):
        machine = pair.machine(limit=2000 + (256 if pair.source is responses_source else 0))
        machine.feed(_text(pair, "\N{GRINNING FACE}" * size))
        assert (machine.failure is not None) is failed


def _text(pair: Pair, text: str) -> Json:
    if pair.source is responses_source:
        return {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": text}
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


@each_pair
def test_the_states_of_an_answer(pair: Pair) -> None:
    """Idle until something is written; a failure before that can still become a status of its own."""
    machine = pair.machine()
    states = [machine.state]
    machine.feed(_text(pair, "a"))
    states.append(machine.state)
    machine.finish(Ending.DONE, done=True)
    assert [*states, machine.state] == [State.IDLE, State.OPEN, State.FINISHED]

    failed = pair.machine()
    failed.fail(malformed("nothing"))
    assert failed.state is State.FAILED_BEFORE_OUTPUT
    assert failed.failed_before_output
    assert not failed.has_content

    late = pair.machine()
    assert late.begin()
    late.fail(malformed("nothing"))
    assert (late.state, late.has_content) == (State.FAILED, False)
