"""The repair of native Responses streams: what is broken is put right, and what is not stays byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_sample import CALL, FINAL, MESSAGE, REASONING, TEXT, as_wire, conforming, numbered
from support.responses_oracle import check_wire, events_of
from support.responses_promises import Json, as_dict, as_list
from support.responses_readers import openai_stream_text

from onwards_py.messages import Ending
from onwards_py.transcode.responses.repair.filter import Repair
from onwards_py.wire.rechunk import EventTooLarge

LLAMA_CPP = (Path(__file__).parents[1] / "data" / "responses" / "llama_cpp.sse").read_bytes()
NOW = 1_700_000_000
PATIENT = settings(suppress_health_check=[HealthCheck.too_slow])

Edit = Callable[[Json], Json | None]


def repaired(raw: bytes, cuts: tuple[int, ...] = (), ending: Ending = Ending.DONE) -> bytes:
    repair = Repair(NOW, "m")
    places = [0, *sorted(cuts), len(raw)]
    pieces = [raw[a:b] for a, b in pairwise(places)]
    out = b"".join(map(repair.feed, pieces)) + repair.finish(ending)
    assert (repair.changes == 0) == (out == raw)
    return out


def broken(edit: Edit) -> list[Json]:
    """The conforming stream after ``edit`` of each event; None leaves one out."""
    return [changed for event in conforming() if (changed := edit(event)) is not None]


def without(*members: str) -> Edit:
    return lambda event: {name: value for name, value in event.items() if name not in members}


def lacking(*types: str) -> Edit:
    return lambda event: None if event["type"] in types else event


def of(raw: bytes, *types: str) -> list[Json]:
    return [event for event in events_of(raw) if event["type"] in types]


def types(raw: bytes) -> list[object]:
    return [event["type"] for event in events_of(raw)]


CONFORMING = as_wire(conforming())


def test_a_conforming_stream_passes_byte_for_byte() -> None:
    """Also with comments, CRLF, ids and other fields, and numbers that begin anywhere, as after a resumption."""
    assert check_wire(CONFORMING) == []
    assert repaired(CONFORMING) == CONFORMING
    dressed = b": hello\n\n" + CONFORMING.replace(b"event:", b"id: 7\nretry: 5\nevent:").replace(b"\n", b"\r\n")
    assert repaired(dressed) == dressed
    later = as_wire([{**event, "sequence_number": number} for number, event in enumerate(conforming(), 40)])
    assert repaired(later) == later


def test_changes_are_counted_by_event() -> None:
    """An operator sees which provider needs the repair."""
    lost = without("output_index")
    repair = Repair(NOW, "m")
    repair.feed(as_wire(broken(lambda event: lost(event) if event["type"] == "response.output_text.delta" else event)))
    assert repair.changes == sum(event["type"] == "response.output_text.delta" for event in conforming())
    assert repair.finish(Ending.DONE) == b""


def test_a_missing_end_mark_is_a_change() -> None:
    """And nothing else is, where all events are right."""
    repair = Repair(NOW, "m")
    repair.feed(CONFORMING.removesuffix(b"data: [DONE]\n\n"))
    assert repair.changes == 0
    assert repair.finish(Ending.DONE)
    assert repair.changes == 1


def test_what_is_no_event_stream_passes_byte_for_byte() -> None:
    """A whole answer, an error, nothing at all, white space."""
    for body in (
        b'{"object":"response","output":[]}',
        b'\xef\xbb\xbf [1]\n\n{"type":"response.created"}',
        b"",
        b" \r\n",
    ):
        assert repaired(body) == body
        assert repaired(body, tuple(range(len(body)))) == body


def test_a_resumed_stream_keeps_its_indexes() -> None:
    """It begins in the middle, with items whose beginning this filter never saw."""
    tail = as_wire(conforming()[10:])
    assert repaired(tail) == tail


@pytest.mark.parametrize("number", [None, -1, 0, True, "3", 1.0, 2**60])
def test_A22_numbers_that_do_not_grow_are_given_anew(number: object) -> None:
    """Missing, always the same, or of another type."""
    events = broken(without("sequence_number"))
    if number is not None:
        events = [{**event, "sequence_number": number} for event in events]
    assert events_of(repaired(as_wire(events))) == conforming()


def test_A23_numbers_that_start_again_go_on() -> None:
    """As after a failure that somebody else announced."""
    events = conforming()
    events[-1]["sequence_number"] = 0
    assert events_of(repaired(as_wire(events)))[-1]["sequence_number"] == len(events) - 1


def test_A15_content_indexes_that_count_tokens_count_parts() -> None:
    """The index of the part was announced; texts that claim another one belong to the last of their kind."""
    counter = iter(range(1, 100))

    def count(event: Json) -> Json:
        counted = "content_index" in event and event["type"] != "response.content_part.added"
        return {**event, "content_index": next(counter)} if counted and event["item_id"] == "msg_1" else event

    assert events_of(repaired(as_wire(broken(count)))) == conforming()


def test_A16_parts_are_counted_from_zero_in_each_item() -> None:
    """One counter for all items: the second item's part claims to be at 1, throughout."""

    def shift(event: Json) -> Json:
        index = event.get("content_index")
        return {**event, "content_index": index + 1} if isinstance(index, int) else event

    assert events_of(repaired(as_wire(broken(shift)))) == conforming()


@pytest.mark.parametrize("member", ["output_index", "content_index", "summary_index", "item_id"])
def test_A8_members_that_were_left_out_are_put_in(member: str) -> None:
    """Whoever leaves out what is zero leaves out indexes."""
    assert events_of(repaired(as_wire(broken(without(member))))) == conforming()


def test_A9_items_do_not_share_an_index() -> None:
    """The index of the call among the calls was taken for that of the item."""

    def claim(event: Json) -> Json:
        index = event.get("output_index")
        return {**event, "output_index": index - 2} if isinstance(index, int) and index >= 2 else event

    assert events_of(repaired(as_wire(broken(claim)))) == conforming()


def test_A13_a_new_item_id_with_every_delta_is_the_announced_one() -> None:
    """Found by its index."""
    counter = iter(range(100))

    def rotate(event: Json) -> Json:
        return {**event, "item_id": f"rs_{next(counter)}x"} if event.get("item_id") == "rs_1" else event

    assert events_of(repaired(as_wire(broken(rotate)))) == conforming()


def test_A14_an_item_that_ends_under_another_id_keeps_the_first() -> None:
    """In its own events; the final output stays as the provider knows it."""

    def rename(event: Json) -> Json:
        if event["type"] == "response.output_item.done" and as_dict(event["item"])["id"] == "msg_1":
            return {**event, "item": {**as_dict(event["item"]), "id": "msg_other"}}
        return event

    assert events_of(repaired(as_wire(broken(rename)))) == conforming()


def test_A17_a_part_of_reasoning_is_reasoning_text() -> None:
    """Not output text, which clients would show."""
    events = numbered(
        [
            conforming()[0],
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1"}},
            {
                "type": "response.content_part.added",
                "item_id": "rs_1",
                "output_index": 0,
                "content_index": 0,
                "part": {"type": "output_text", "text": ""},
            },
        ]
    )
    added, part = events_of(repaired(as_wire(events)))[1:]
    assert as_dict(added["item"])["summary"] == []
    assert part["part"] == {"type": "reasoning_text", "text": ""}


@pytest.mark.parametrize(
    "missing",
    [("response.content_part.added",), ("response.output_item.added",)],
    ids=["A2", "A1"],
)
def test_announcements_that_were_left_out_are_made(missing: tuple[str, ...]) -> None:
    """A1, A2: openai's helper crashes on text without them; messages and reasoning are known by their texts."""
    keep = {"rs_1", "msg_1"}

    def edit(event: Json) -> Json | None:
        about = event.get("item_id") or as_dict(event.get("item") or {}).get("id")
        if about is not None and about not in keep:
            return None
        return lacking(*missing)(event)

    raw = as_wire(broken(edit))
    with pytest.raises((RuntimeError, IndexError, TypeError)):
        openai_stream_text(raw)
    out = repaired(raw)
    assert openai_stream_text(out) == TEXT
    expected = [event["type"] for event in conforming() if event.get("item_id") in keep or "item" in event][:-4]
    assert [kind for kind in types(out) if kind not in ("response.created", "response.in_progress")][:-1] == expected


def test_A1_a_call_that_is_only_told_in_its_end_is_announced_with_its_arguments() -> None:
    """Its name is known then, and only then."""
    raw = as_wire(broken(lambda event: None if event.get("item_id") == "fc_1" else event))
    raw = as_wire(
        [event for event in events_of(raw) if event.get("item") != {**CALL, "arguments": "", "status": "in_progress"}]
    )
    out = repaired(raw)
    first = [event for event in events_of(out) if event.get("output_index") == 2]
    assert [event["type"] for event in first] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.output_item.done",
    ]
    assert first[0]["item"] == {**CALL, "arguments": "", "status": "in_progress"}
    assert first[1]["delta"] == CALL["arguments"]
    assert as_dict(events_of(out)[-1]["response"])["output"] == FINAL["output"]


def test_A28_texts_and_arguments_without_deltas_get_one() -> None:
    """Some clients read nothing but deltas."""
    out = repaired(
        as_wire(
            broken(
                lambda event: (
                    None if str(event["type"]).endswith(("text.delta", "arguments.delta", "refusal.delta")) else event
                )
            )
        )
    )
    said = [event["delta"] for event in events_of(out) if str(event["type"]).endswith(".delta")]
    assert said == [TEXT, "I cannot.", CALL["arguments"], CALL["arguments"]]
    assert openai_stream_text(out) == TEXT


@pytest.mark.parametrize("place", [{}, {"output_index": 0}, {"output_index": 9}])
def test_an_event_of_a_type_unknown_here_announces_nothing(place: Json) -> None:
    """It is about an item that is announced in a way unknown here, or not at all; so it stays as it came."""
    events = conforming()
    unknown: Json = {"type": "response.acme_search.searching", "item_id": "as_1", "sequence_number": 0, **place}
    stream = [*events[:3], unknown, *events[3:]]
    after = events_of(repaired(as_wire(numbered(stream))))
    assert [event["type"] for event in after] == [event["type"] for event in stream]
    assert [event for event in after if event.get("item_id") == "as_1"] == [{**unknown, "sequence_number": 3}]


def test_a_part_of_a_type_unknown_here_announces_nothing() -> None:
    """Whose part it is, is not known either."""
    events = conforming()
    part = {"type": "response.content_part.added", "item_id": "x_1", "content_index": 0, "part": {"type": "acme"}}
    after = events_of(repaired(as_wire(numbered([*events[:2], {**part, "sequence_number": 2}, *events[2:]]))))
    assert [event["type"] for event in after[:3]] == [*(event["type"] for event in events[:2]), part["type"]]


def test_an_item_announced_twice_is_announced_once() -> None:
    """openai's helpers crash on the second one, which becomes a comment."""
    events = conforming()
    at = next(number for number, event in enumerate(events) if event["type"] == "response.output_item.added")
    raw = as_wire(numbered([*events[: at + 1], events[at], *events[at + 1 :]]))
    out = repaired(raw)
    assert b"\n\n: repeated\n\n" in out
    assert [without("sequence_number")(event) for event in events_of(out)] == [
        without("sequence_number")(event) for event in events
    ]


def test_two_items_under_one_id_are_two_items() -> None:
    """Told by their indexes, also where their events come in turn; none is taken for the other, or for a repetition."""
    items: list[Json] = [{**CALL, "id": "fc_1", "call_id": f"call_{at}", "arguments": ""} for at in (0, 1)]
    events: list[Json] = [
        {"type": "response.created", "response": {"id": "resp_1"}},
        *({"type": "response.output_item.added", "output_index": at, "item": item} for at, item in enumerate(items)),
        *(
            {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": at, "delta": delta}
            for at, delta in [(0, '{"a"'), (1, '{"b"'), (0, ":1}"), (1, ":2}")]
        ),
        *(
            {"type": "response.output_item.done", "output_index": at, "item": {**items[at], "arguments": said}}
            for at, said in enumerate(['{"a":1}', '{"b":2}'])
        ),
    ]
    after = events_of(repaired(as_wire(events)))
    assert [event.get("output_index") for event in after] == [event.get("output_index") for event in events]
    ends = of(repaired(as_wire(events)), "response.output_item.done")
    assert [as_dict(event["item"])["arguments"] for event in ends] == ['{"a":1}', '{"b":2}']


def test_A20_an_empty_final_output_is_what_was_streamed() -> None:
    """Null and missing count as empty."""
    empties: list[object] = [[], None, ...]
    for empty in empties:

        def edit(event: Json, empty: object = empty) -> Json:
            if event["type"] != "response.completed":
                return event
            response = {**as_dict(event["response"]), "output": empty}
            return {**event, "response": {name: value for name, value in response.items() if value is not ...}}

        assert as_dict(events_of(repaired(as_wire(broken(edit))))[-1]["response"])["output"] == FINAL["output"]


def test_a_final_output_stays_empty_where_what_was_streamed_is_too_large_to_keep() -> None:
    """A bound on memory, not a failure."""
    events = conforming()
    events[-1]["response"] = {**as_dict(events[-1]["response"]), "output": []}
    repair = Repair(NOW, keep=300)
    assert repair.feed(as_wire(events)) == as_wire(events)


def test_items_without_an_end_get_it_from_the_final_output() -> None:
    """Codex reads nothing else."""
    out = repaired(as_wire(broken(lacking("response.output_item.done"))))
    done = of(out, "response.output_item.done")
    assert [event["item"] for event in done] == [REASONING, MESSAGE, CALL, {**CALL, "id": "fc_2", "call_id": "call_2"}]
    assert [event["output_index"] for event in done] == [0, 1, 2, 3]
    assert types(out)[-1] == "response.completed"


def test_an_item_does_not_end_as_one_of_another_kind() -> None:
    """Deltas that name a foreign id announce an item of their own kind under it; the final output has the other."""
    refusal: Json = {"type": "response.refusal.delta", "item_id": REASONING["id"], "delta": "no"}
    first, *_, last = conforming()
    out = repaired(as_wire([first, refusal, last]))
    assert [event["type"] for event in of(out, "response.output_item.added", "response.output_item.done")] == [
        "response.output_item.added"
    ]
    assert repaired(out) == out


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (None, {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}),
        ({"input_tokens": 3, "output_tokens": 4}, {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}),
        ({"input_tokens": None, "output_tokens": 4, "total_tokens": 9}, {"input_tokens": 0, "total_tokens": 9}),
    ],
    ids=["none", "no total", "null"],
)
def test_C1_usage_is_integers(said: object, meant: Json) -> None:
    """Zeros for what is not known: clients crash on null."""
    events = conforming()
    events[-1]["response"] = {**as_dict(events[-1]["response"]), "usage": said}
    usage = as_dict(as_dict(events_of(repaired(as_wire(events)))[-1]["response"])["usage"])
    assert meant.items() <= usage.items()


def test_C2_C3_C4_members_without_which_clients_crash_are_filled_in() -> None:
    """created_at and model of the response, status and annotations of items."""
    gone = ("created_at", "model", "status", "annotations", "output")

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {name: strip(one) for name, one in value.items() if name not in gone}
        return [strip(one) for one in value] if isinstance(value, list) else value

    out = events_of(repaired(as_wire([as_dict(strip(event)) for event in conforming()])))
    created = as_dict(out[0]["response"])
    assert [created[name] for name in ("created_at", "model", "status", "output")] == [NOW, "m", "in_progress", []]
    final = as_dict(out[-1]["response"])
    message = as_dict(as_list(final["output"])[1])
    assert message["status"] == "completed"
    assert as_dict(as_list(message["content"])[0])["annotations"] == []


def test_C7_a_time_in_floats_is_an_integer() -> None:
    """serde clients take nothing else."""
    raw = CONFORMING.replace(b'"created_at":1700000000', b'"created_at":1700000000.0')
    assert events_of(repaired(raw)) == conforming()
    assert b"00000.0" not in repaired(raw)


def test_the_name_line_says_the_type() -> None:
    """Added, put right, or read where the data has no type; the data stay as they are."""
    bare = CONFORMING.replace(b"event: response.created\n", b"")
    wrong = CONFORMING.replace(b"event: response.created\n", b"event: message\n")
    assert repaired(bare) == CONFORMING
    assert repaired(wrong) == CONFORMING
    untyped = CONFORMING.replace(b'"type":"response.in_progress",', b"")
    assert events_of(repaired(untyped)) == conforming()


def test_the_end_mark_follows_an_answer_that_ended() -> None:
    """And no other: it is never made up for a stream that was cut, or that never said how it ended."""
    body = CONFORMING.removesuffix(b"data: [DONE]\n\n")
    assert repaired(body) == CONFORMING
    assert repaired(body.rstrip(b"\n")) == CONFORMING
    assert repaired(body, ending=Ending.RESET) == body
    unfinished = as_wire(conforming()[:-1]).removesuffix(b"data: [DONE]\n\n")
    assert repaired(unfinished) == unfinished


def test_data_that_are_no_json_become_a_comment() -> None:
    """A keep-alive on which all SDKs break; an error in plain words and broken JSON stay what they are."""
    assert repaired(b"data: ping\n\n") == b": ping\n\n"
    for other in (b"event: error\ndata: out of memory\n\n", b'data: {"type":"resp\n\n', b"data: 7\n\n", b"id: 4\n\n"):
        assert repaired(other) == other


def test_other_lines_of_a_repaired_event_stay() -> None:
    """Its id, its retry time, a comment."""
    raw = b'id: 7\n: note\ndata: {"type":"keepalive"}\nretry: 5\n\n'
    expected = b'id: 7\n: note\nretry: 5\nevent: keepalive\ndata: {"type":"keepalive","sequence_number":0}\n\n'
    assert repaired(raw) == expected


def test_a_last_event_without_its_blank_line_gets_one_and_no_more() -> None:
    """Whichever of its line ends is there."""
    mark = b"data: [DONE]"
    for end in (b"", b"\n"):
        assert repaired(mark + end) == mark + b"\n\n"
    assert repaired(mark + b"\r") == mark + b"\r\n\n"


def test_an_event_nested_deeper_than_can_be_written_stays_as_it_came() -> None:
    """Though it lacks its number."""
    raw = b'event: x\ndata: {"type":"x","a":%b%b}\n\n' % (b"[" * 400, b"]" * 400)
    assert repaired(raw) == raw


def test_parts_of_one_kind_are_told_apart_by_their_index() -> None:
    """Text may still come for the first when the second was announced."""
    part: Json = {"type": "output_text", "text": "", "annotations": []}
    at: Json = {"item_id": "msg_1", "output_index": 0}
    events = numbered(
        [
            conforming()[0],
            {"type": "response.output_item.added", "output_index": 0, "item": {**MESSAGE, "content": []}},
            {"type": "response.content_part.added", **at, "content_index": 0, "part": part},
            {"type": "response.content_part.added", **at, "content_index": 1, "part": part},
            {"type": "response.output_text.delta", **at, "content_index": 0, "delta": "a"},
            {"type": "response.output_text.delta", **at, "content_index": 1, "delta": "b"},
        ]
    )
    raw = as_wire(events)
    assert repaired(raw) == raw
    bare = raw.replace(b',"annotations":[]', b"")
    assert events_of(repaired(bare)) == events


def test_reasoning_that_is_only_told_in_its_end_is_announced_empty() -> None:
    """Without its text, and without what is encrypted."""
    item = {**REASONING, "encrypted_content": "x"}
    done: Json = {"type": "response.output_item.done", "output_index": 0, "item": item}
    added = events_of(repaired(as_wire(numbered([conforming()[0], done]))))[1]
    assert added["item"] == {"type": "reasoning", "id": "rs_1", "status": "in_progress", "summary": []}


def test_what_llama_cpp_sends_can_be_read_by_openais_helper() -> None:
    """Recorded from llama.cpp's own server: no numbers, no indexes, no annotations, no end mark."""
    with pytest.raises(TypeError):
        openai_stream_text(LLAMA_CPP)
    out = repaired(LLAMA_CPP)
    assert openai_stream_text(out) == "Hello, welcome to my little corner of the world."
    assert [event["sequence_number"] for event in events_of(out)] == list(range(19))
    assert out.endswith(b"data: [DONE]\n\n")


def test_an_event_over_the_limit_has_a_name() -> None:
    """The whole events before it are delivered, repaired."""
    repair = Repair(NOW, limit=400)
    with pytest.raises(EventTooLarge) as caught:
        repair.feed(b'data: {"type":"keepalive"}\n\ndata: ' + b"x" * 500)
    assert caught.value.ready == b'event: keepalive\ndata: {"type":"keepalive","sequence_number":0}\n\n'


KINDS = st.sampled_from(
    [
        *{str(event["type"]) for event in conforming()},
        "response.reasoning_text.delta",
        "response.x",
        "keepalive",
        "error",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | st.sampled_from(["", "msg_1", "rs_1", "message"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "id", "content", "output", "usage", "text"]), inner, max_size=3)
    ),
    max_leaves=6,
)
MEMBERS = st.sampled_from(
    ["item", "part", "response", "item_id", "output_index", "content_index", "sequence_number", "delta", "text"]
)
GARBAGE = st.lists(
    st.builds(lambda kind, rest: {**rest, "type": kind}, KINDS, st.dictionaries(MEMBERS, JSON, max_size=5)), max_size=8
)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """The conforming stream with events left out, repeated, stripped or replaced by anything."""
    events: list[Json] = []
    for event in conforming():
        fate = draw(st.sampled_from(["keep", "keep", "keep", "drop", "twice", "strip", "garbage"]))
        gone = draw(st.sets(st.sampled_from(sorted(event)), max_size=3)) if fate == "strip" else set()
        kept = {name: value for name, value in event.items() if name not in gone}
        events += {"drop": [], "twice": [kept, kept], "garbage": draw(GARBAGE) if fate == "garbage" else []}.get(
            fate, [kept]
        )
    end = draw(LINE_ENDS)
    named = draw(st.booleans())
    out = b""
    for event in events:
        name = b"event: " + str(event.get("type")).encode() + end if named else b""
        out += name + b"data: " + orjson.dumps(event) + end + end
    return out + draw(st.sampled_from([b"", b"data: [DONE]" + end + end, b"data: [DONE]", b": bye" + end]))


@PATIENT
@given(streams(), st.data())
def test_a_repair_of_anything_is_total_cut_invariant_and_final(raw: bytes, data: st.DataObject) -> None:
    """However the bytes were cut, the result is the same; and there is nothing left to be repaired in it."""
    whole = repaired(raw)
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12))
    assert repaired(raw, tuple(cuts)) == whole
    assert repaired(whole) == whole
    numbers = [event["sequence_number"] for event in events_of(whole)]
    assert all(type(number) is int for number in numbers)
    assert sorted(set(map(str, numbers)), key=int) == list(map(str, numbers))


@PATIENT
@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"data:", b"event: error", b"\n", b"\r", b"{", b'"', b"x", b"\xef\xbb\xbf"])).map(
        b"".join
    ),
    st.data(),
)
def test_a_repair_of_any_bytes_is_total_cut_invariant_and_final(raw: bytes, data: st.DataObject) -> None:
    """Down to bytes that mean nothing."""
    whole = repaired(raw)
    assert repaired(raw, tuple(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))) == whole
    assert repaired(whole) == whole


@PATIENT
@given(st.lists(st.integers(0, len(CONFORMING)), max_size=20))
def test_a_conforming_stream_passes_however_it_is_cut(cuts: list[int]) -> None:
    """Byte for byte."""
    assert repaired(CONFORMING, tuple(cuts)) == CONFORMING
