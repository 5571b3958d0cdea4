"""The oracle itself: silent about a conforming stream, and able to name the promise that a planted defect breaks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from oracle_sample import CALL, FINAL, MESSAGE, REASONING, USAGE, as_wire, conforming, numbered
from support.responses_oracle import Allowance, check_events, check_resource, check_wire, events_of
from support.responses_promises import Json, Promise, promises_of
from support.responses_readers import openai_stream_text, openresponses_final

Edit = Callable[[list[Json]], list[Json]]


def without(*types: str) -> Edit:
    """The stream without the events of some types, numbered anew."""
    return lambda events: numbered([event for event in events if event["type"] not in types])


def where(kind: str, **members: object) -> Edit:
    """All events of one type with other members; a member that is ``...`` is left out."""

    def edit(events: list[Json]) -> list[Json]:
        changed = [{**event, **members} if event["type"] == kind else event for event in events]
        return [{key: value for key, value in event.items() if value is not ...} for event in changed]

    return edit


def inside(kind: str, key: str, **members: object) -> Edit:
    """Like `where`, in the object under ``key`` of the last event of one type."""

    def edit(events: list[Json]) -> list[Json]:
        event = [each for each in events if each["type"] == kind][-1]
        body = event[key]
        assert isinstance(body, dict)
        changed = {k: v for k, v in {**body, **members}.items() if v is not ...}
        return [{**each, key: changed} if each is event else each for each in events]

    return edit


def after(kind: str, event: Json) -> Edit:
    """The stream with one more event behind the first of a type."""

    def edit(events: list[Json]) -> list[Json]:
        at = next(place for place, each in enumerate(events) if each["type"] == kind) + 1
        return numbered([*events[:at], event, *events[at:]])

    return edit


def in_item_everywhere(item_id: str, **members: object) -> Edit:
    """One item with other members wherever it is shown whole."""

    def edit(events: list[Json]) -> list[Json]:
        return [_renamed(event, item_id, members) for event in events]

    return edit


def _renamed(event: Json, item_id: str, members: Json) -> Json:
    item, body = event.get("item"), event.get("response")
    if isinstance(item, dict) and item.get("id") == item_id:
        return {**event, "item": {k: v for k, v in {**item, **members}.items() if v is not ...}}
    if isinstance(body, dict):
        output = [
            {k: v for k, v in {**each, **members}.items() if v is not ...} if each["id"] == item_id else each
            for each in body["output"]
        ]
        return {**event, "response": {**body, "output": output}}
    return event


def interleaved(events: list[Json]) -> list[Json]:
    """The second call is added before the first is done."""
    order = [e for e in events if e.get("output_index") != 3 or e["type"] != "response.output_item.added"]
    added = next(e for e in events if e.get("output_index") == 3)
    at = next(place for place, e in enumerate(order) if e.get("item_id") == "fc_1")
    return numbered([*order[:at], added, *order[at:]])


def doubled(events: list[Json]) -> list[Json]:
    """The terminal comes twice."""
    return numbered([*events, events[-1]])


COMPLETED, DONE, ADDED = "response.completed", "response.output_item.done", "response.output_item.added"
DEFECTS: dict[str, tuple[Edit, set[Promise]]] = {
    # of the table of single defects that break real clients
    "no terminal": (without(COMPLETED), {Promise.ONE_TERMINAL}),
    "no item done": (without(DONE), {Promise.SERIAL_ITEMS, Promise.OUTPUT_INDEX, Promise.FINAL_OUTPUT}),
    "no item added": (without(ADDED), {Promise.SERIAL_ITEMS, Promise.PARTS}),
    "no output_index": (
        where("response.output_text.delta", output_index=...),
        {Promise.OUTPUT_INDEX, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "no content_index": (
        where("response.output_text.delta", content_index=...),
        {Promise.PARTS, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "no part events": (
        without("response.content_part.added", "response.content_part.done"),
        {Promise.PARTS, Promise.SAME_TEXT},
    ),
    "no item_id on deltas": (
        where("response.output_text.delta", item_id=...),
        {Promise.ITEM_ID, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "no created": (without("response.created"), {Promise.CREATED_FIRST}),
    "no in_progress": (without("response.in_progress"), {Promise.CREATED_FIRST}),
    "empty final output": (inside(COMPLETED, "response", output=[]), {Promise.FINAL_OUTPUT}),
    "no annotations": (
        lambda events: [
            {**event, "part": {"type": "output_text", "text": "", "logprobs": []}} if number == 10 else event
            for number, event in enumerate(events)
        ],
        {Promise.ANNOTATIONS, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "item without id": (
        in_item_everywhere("msg_1", id=...),
        {Promise.OWN_IDS, Promise.ITEM_ID, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "item without status": (
        in_item_everywhere("fc_2", status=...),
        {Promise.EMPTY_ADDED, Promise.SAME_ITEM, Promise.SCHEMA},
    ),
    "no created_at": (
        inside(COMPLETED, "response", created_at=...),
        {Promise.ONE_RESPONSE, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "usage null": (inside(COMPLETED, "response", usage=None), {Promise.USAGE}),
    "null inside usage": (
        inside(COMPLETED, "response", usage={**USAGE, "input_tokens": None}),
        {Promise.USAGE, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "arguments only in done": (without("response.function_call_arguments.delta"), {Promise.DELTAS, Promise.SAME_TEXT}),
    "invented event": (
        after("response.in_progress", {"type": "response.tool_calls.created"}),
        {Promise.KNOWN_EVENTS},
    ),
    "reasoning without summary": (
        in_item_everywhere("rs_1", summary=...),
        {Promise.EMPTY_ADDED, Promise.REASONING, Promise.SAME_TEXT, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "reasoning only in content": (
        lambda events: in_item_everywhere("rs_1", summary=[])(
            [event for event in events if "summary" not in str(event["type"])]
        ),
        {Promise.REASONING, Promise.SEQUENCE},
    ),
    "no summary_index": (
        where("response.reasoning_summary_text.delta", summary_index=...),
        {Promise.PARTS, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "reasoning by the specification's own names": (
        after(
            "response.reasoning_summary_text.delta",
            {
                "type": "response.reasoning.delta",
                "item_id": "rs_1",
                "output_index": 0,
                "content_index": 0,
                "delta": "x",
            },
        ),
        {Promise.KNOWN_EVENTS},
    ),
    # of the invariant
    "sequence number missing": (
        where("response.refusal.delta", sequence_number=...),
        {Promise.SEQUENCE, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "sequence starts again": (where("response.refusal.done", sequence_number=0), {Promise.SEQUENCE}),
    "gap in the sequence": (
        lambda events: events[:5] + events[6:],
        {Promise.SEQUENCE, Promise.DELTAS, Promise.SAME_TEXT},
    ),
    "output in created": (inside("response.created", "response", output=[MESSAGE]), {Promise.BLANK_START}),
    "response id changes": (inside(COMPLETED, "response", id="resp_2"), {Promise.ONE_RESPONSE}),
    "two terminals": (doubled, {Promise.ONE_TERMINAL}),
    "calls interleaved": (
        interleaved,
        {Promise.SERIAL_ITEMS, Promise.OUTPUT_INDEX, Promise.ITEM_ID, Promise.SAME_ITEM},
    ),
    "same call_id twice": (in_item_everywhere("fc_2", call_id="call_1"), {Promise.UNIQUE_IDS}),
    "upstream's id on an item": (in_item_everywhere("fc_2", id="chatcmpl-1"), {Promise.OWN_IDS, Promise.ITEM_ID}),
    "done renames the call": (
        inside(DONE, "item", name="other"),
        {Promise.SAME_ITEM, Promise.FINAL_OUTPUT},
    ),
    "empty delta": (
        after(
            "response.output_text.delta",
            {
                "type": "response.output_text.delta",
                "item_id": "msg_1",
                "output_index": 1,
                "content_index": 0,
                "delta": "",
                "logprobs": [],
            },
        ),
        {Promise.DELTAS},
    ),
    "text done differs": (where("response.output_text.done", text="Hell"), {Promise.DELTAS}),
    "delta without logprobs": (
        where("response.output_text.delta", logprobs=...),
        {Promise.LOGPROBS, Promise.SDK_TYPES},
    ),
    "logprobs lost": (where("response.output_text.done", logprobs=[]), {Promise.LOGPROBS}),
    "annotation index": (where("response.output_text.annotation.added", annotation_index=1), {Promise.ANNOTATIONS}),
    "half a call completed": (
        in_item_everywhere("fc_2", arguments='{"at":'),
        {Promise.WHOLE_CALLS, Promise.SAME_TEXT, Promise.EMPTY_ADDED},
    ),
    "incomplete item in a completed response": (
        lambda events: [
            _renamed(event, "fc_1", {"status": "incomplete"}) if event["type"] != ADDED else event for event in events
        ],
        {Promise.INCOMPLETE_LAST},
    ),
    "completed with an error": (
        inside(COMPLETED, "response", error={"code": "server_error", "message": "x"}),
        {Promise.STATUS},
    ),
    "incomplete without a reason": (
        lambda events: inside("response.incomplete", "response", status="incomplete", completed_at=None)(
            where(COMPLETED, type="response.incomplete")(events)
        ),
        {Promise.STATUS},
    ),
    "completed_at missing": (inside(COMPLETED, "response", completed_at=None), {Promise.STATUS}),
    "float time": (inside(COMPLETED, "response", completed_at=1.7e9), {Promise.INTEGERS, Promise.STATUS}),
    "boolean index": (
        where("response.output_text.annotation.added", annotation_index=False),
        {Promise.INTEGERS, Promise.SCHEMA, Promise.SDK_TYPES},
    ),
    "error key on an event": (where("response.refusal.done", error={"message": "x"}), {Promise.NO_ERROR_KEY}),
    # traps of the schema
    "null encrypted_content": (in_item_everywhere("rs_1", encrypted_content=None), {Promise.SCHEMA}),
    "verbosity null": (
        inside(COMPLETED, "response", text={"format": {"type": "text"}, "verbosity": None}),
        {Promise.SCHEMA},
    ),
    "reasoning echo with one key": (inside(COMPLETED, "response", reasoning={"effort": "low"}), {Promise.SCHEMA}),
    "hosted tool in the echo": (inside(COMPLETED, "response", tools=[{"type": "web_search"}]), {Promise.SCHEMA}),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_named(defect: str) -> None:
    """One defect in a conforming stream: exactly the promises that it breaks are reported."""
    edit, expected = DEFECTS[defect]
    assert promises_of(check_events(edit(conforming()))) == expected


def test_a_conforming_stream_breaks_nothing() -> None:
    """No false alarm on a stream with reasoning, text, citation, logprobs, refusal and two calls."""
    assert check_wire(as_wire(conforming())) == []
    assert check_resource(FINAL) == []
    assert events_of(as_wire(conforming())) == conforming()


@pytest.mark.parametrize(
    ("damage", "promise"),
    [
        (lambda raw: raw.replace(b"\n", b"\r\n"), Promise.FRAMING),
        (lambda raw: raw.replace(b"data: [DONE]\n\n", b""), Promise.DONE_MARK),
        (lambda raw: raw + b"data: [DONE]\n\n", Promise.DONE_MARK),
        (lambda raw: raw.replace(b"event: response.created\n", b"", 1), Promise.FRAMING),
        (lambda raw: raw.replace(b"event: response.created\n", b"event: message\n", 1), Promise.FRAMING),
        (lambda raw: raw.removesuffix(b"\n"), Promise.FRAMING),
        (lambda raw: raw.replace(b'"type"', b'\ndata: "type"', 1), Promise.FRAMING),
    ],
    ids=["CRLF", "no end mark", "two end marks", "no name", "other name", "no blank line", "two data lines"],
)
def test_framing_that_the_strictest_parser_refuses_is_named(damage: Callable[[bytes], bytes], promise: Promise) -> None:
    """The specification's own suite reads LF only, one data line, and wants the end mark."""
    assert promise in promises_of(check_wire(damage(as_wire(conforming()))))


def test_comments_between_events_are_fine() -> None:
    """A keep-alive comment is no event."""
    assert check_wire(as_wire(conforming()).replace(b"\n\nevent", b"\n\n: ping\n\nevent")) == []


def test_a_body_is_judged_like_a_snapshot() -> None:
    """A whole answer with a half call, a null where the schema forbids it, and a foreign id."""
    broken = {
        **FINAL,
        "output": [REASONING, {**CALL, "arguments": '{"a'}, {**MESSAGE, "id": "chatcmpl-1"}],
        "store": None,
    }
    assert promises_of(check_resource(broken)) == {Promise.WHOLE_CALLS, Promise.OWN_IDS, Promise.SCHEMA}


def test_where_the_schemas_disagree_the_profile_decides() -> None:
    """The echo of a json_schema: null by the specification's file, the schema by OpenAI's."""
    form: Json = {"type": "json_schema", "name": "n", "description": None, "strict": True}
    null, full = ({**FINAL, "text": {"format": {**form, "schema": schema}}} for schema in (None, {"type": "object"}))
    assert check_resource(null) == check_resource(full, Allowance("openai")) == []
    assert promises_of(check_resource(full)) == {Promise.SCHEMA}
    assert promises_of(check_resource(null, Allowance("openai"))) == {Promise.SDK_TYPES}


def test_error_codes_are_an_open_set() -> None:
    """Codes that clients decide by are fine although the SDK does not list them; what is no text is not."""
    body: Json = {**FINAL, "status": "failed", "completed_at": None}
    assert check_resource({**body, "error": {"code": "context_length_exceeded", "message": "x"}}) == []
    broken = {**body, "error": {"code": 400, "message": "x"}}
    assert promises_of(check_resource(broken)) == {Promise.STATUS, Promise.SCHEMA, Promise.SDK_TYPES}


def test_custom_calls_are_allowed_where_asked_for() -> None:
    """A custom tool's call is outside the specification; it passes only if the request had such a tool."""
    item: Json = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "patch", "input": "x"}
    body = {**FINAL, "output": [{**item, "status": "completed"}]}
    assert check_resource(body, Allowance(item_types=frozenset({"custom_tool_call"}))) == []
    assert promises_of(check_resource(body)) == {Promise.SCHEMA}


def test_real_clients_agree_with_the_oracle_about_the_conforming_stream() -> None:
    """The sample is no fiction: the openai SDK's helper and the strict client read it to the end."""
    raw = as_wire(conforming())
    assert openai_stream_text(raw) == "Hello"
    assert [item.root.id for item in openresponses_final(raw).output] == ["rs_1", "msg_1", "fc_1", "fc_2"]
