"""Emoji that a provider cuts in half reach the client whole, in every kind of text and in both directions.

Pieces are cut between UTF-16 units, as JavaScript and Java cut strings, and written with escapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reverse_helpers import collected, ended, event, filtered, function_call, heard, message, read, told
from support.responses_oracle import check_wire, events_of
from support.responses_promises import Json, as_dict, as_list
from support.transcoding import answer_context, collect_pieces, translate

from onwards_py.messages import Ending
from onwards_py.transcode.neutral import lenient_json
from onwards_py.transcode.neutral.surrogates import Halves, well_formed
from onwards_py.transcode.responses.repair.filter import Repair

CONTEXT = answer_context()
DONE = b"data: [DONE]\n\n"
TEXT = st.text(st.sampled_from("a<\u00e9\u4e2d\ufffd\U0001f600\U0001f468\U0010ffff"), min_size=1, max_size=8)
HALVES = st.text(st.sampled_from("ab\ud83d\ude00\U0001f600\udbff\udc00"), max_size=8)
CUTS = st.lists(st.integers(0, 16), max_size=6)


def units(text: str) -> list[str]:
    raw = text.encode("utf-16-le", "surrogatepass")
    return [raw[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(raw), 2)]


def cut(text: str, places: Iterable[int]) -> list[str]:
    """``text`` in pieces, of which one may end with one half of a pair and the next begin with the other."""
    all_ = units(text)
    edges = [0, *sorted({place for place in places if 0 < place < len(all_)}), len(all_)]
    return ["".join(all_[a:b]) for a, b in pairwise(edges)]


@given(HALVES, CUTS)
def test_the_cut_does_not_show(text: str, places: list[int]) -> None:
    """Any text, also with halves that belong to nothing: what comes out is fit for UTF-8, and the same."""
    core = Halves()
    pieces = [str(lenient_json.loads(json.dumps(piece).encode())) for piece in cut(text, places)]
    out = "".join(map(core.feed, pieces)) + core.finish()
    assert out == well_formed(text)
    out.encode()


@given(HALVES)
def test_what_is_read_keeps_what_may_be_completed(text: str) -> None:
    """Halves at the borders, and nothing else that UTF-8 cannot say; and all of it can be written."""
    read_ = lenient_json.loads(json.dumps([text]).encode())
    assert isinstance(read_, list)
    read_[0][1:-1].encode()
    assert json.loads(lenient_json.dumps(read_)) == [well_formed(text)]
    assert json.loads(lenient_json.dumps_as_read(read_)) == read_


def test_halves_in_a_request_are_replacement_characters_and_nothing_else_is_forgiven() -> None:
    """JavaScript makes them when it cuts strings. What is no JSON for another reason is none."""
    assert lenient_json.loads_request(b'{"a\\ud83d":["b\\ude00c\\ud83d"]}') == {"a\ufffd": ["b\ufffdc\ufffd"]}
    for broken in (b'["\\ud83d"', b'["\\ud83d", NaN]', b"[NaN]", b'["\xff"]', b"{'a': 1}"):
        with pytest.raises(ValueError):
            lenient_json.loads_request(broken)


# Chat to Responses


def arguments(text: str) -> str:
    return json.dumps({"a": text}, ensure_ascii=False)


Delta = Callable[[str], Json]
CHAT: dict[str, Delta] = {
    "content": lambda piece: {"content": piece},
    "parts": lambda piece: {"content": [{"type": "text", "text": piece}]},
    "reasoning": lambda piece: {"reasoning_content": piece},
    "thinking": lambda piece: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]},
    "refusal": lambda piece: {"refusal": piece},
    "arguments": lambda piece: {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]},
    "legacy": lambda piece: {"function_call": {"arguments": piece}},
    "name": lambda piece: {"tool_calls": [{"index": 0, "function": {"name": piece}}]},
}
BEFORE: dict[str, Json] = {
    "arguments": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "get_time"}}]},
    "legacy": {"function_call": {"name": "get_time"}},
}


def chunk(delta: Json, finish: str | None = None) -> bytes:
    return (
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"
    )


def chat_stream(kind: str, pieces: Iterable[str]) -> bytes:
    before = [BEFORE[kind]] if kind in BEFORE else []
    return b"".join(map(chunk, [*before, *map(CHAT[kind], pieces)])) + chunk({}, "stop") + DONE


def said(item: Json) -> str:
    """The text of an item, whatever its kind."""
    if item["type"] == "function_call":
        return str(item["arguments"])
    part = as_dict(as_list(item["content"])[0])
    return str(part.get("text", part.get("refusal")))


@pytest.mark.parametrize("kind", [kind for kind in CHAT if kind != "name"])
@given(TEXT, CUTS)
def test_streamed_chat_is_joined(kind: str, text: str, places: list[int]) -> None:
    """Each delta is fit for UTF-8, they add up, and the whole answer is the same."""
    text = arguments(text) if kind in BEFORE else text
    raw = chat_stream(kind, cut(text, places))
    out = translate(raw, CONTEXT, Ending.DONE)
    assert check_wire(out) == []
    response = as_dict(events_of(out)[-1]["response"])
    assert [said(as_dict(item)) for item in as_list(response["output"])] == [text]
    assert json.loads(collect_pieces([raw], CONTEXT, Ending.DONE).body) == response


@given(TEXT, CUTS)
def test_a_name_is_joined(text: str, places: list[int]) -> None:
    pieces = cut(text, places)
    assume(all(piece != "".join(pieces[:at]) for at, piece in enumerate(pieces)))  # that would be the name again
    out = translate(chat_stream("name", pieces), CONTEXT, Ending.DONE)
    added = next(one for one in events_of(out) if one["type"] == "response.output_item.added")
    assert as_dict(added["item"])["name"] == text


@pytest.mark.parametrize("kind", [kind for kind in CHAT if kind not in BEFORE])
def test_a_half_of_chat_that_nothing_completes_is_a_replacement_character_in_the_end(kind: str) -> None:
    out = translate(chat_stream(kind, ["a\ud83d"]), CONTEXT, Ending.DONE)
    assert check_wire(out) == []
    (item,) = (as_dict(one) for one in as_list(as_dict(events_of(out)[-1]["response"])["output"]))
    assert (item["name"] if kind == "name" else said(item)) == "a\ufffd"


def test_interleaved_calls_keep_their_own_halves() -> None:
    """A half of one call is not completed by the other's."""

    def entry(index: int, piece: str, **more: object) -> Json:
        return {"tool_calls": [{"index": index, "function": {"arguments": piece, **more}}]}

    deltas = [entry(0, '{"a":"\ud83d', name="get_time"), entry(1, '{"b":"\ud83d', name="get_time")]
    deltas += [entry(0, '\ude00"}'), entry(1, '\ude01"}')]
    out = translate(b"".join(map(chunk, deltas)) + chunk({}, "tool_calls") + DONE, CONTEXT, Ending.DONE)
    assert check_wire(out) == []
    output = as_list(as_dict(events_of(out)[-1]["response"])["output"])
    assert [said(as_dict(item)) for item in output] == ['{"a":"\U0001f600"}', '{"b":"\U0001f601"}']


def test_the_input_of_a_custom_tool_is_joined() -> None:
    """As characters cut in half, and as escapes within the arguments."""
    context = answer_context(tools=[{"type": "custom", "name": "patch"}])
    for pieces in (['{"input":"a\ud83d', '\ude00b"}'], ['{"input":"a\\ud8', "3d\\u", 'de00b"}']):
        calls = [{"tool_calls": [{"index": 0, "function": {"name": "patch", "arguments": one}}]} for one in pieces]
        out = translate(b"".join(map(chunk, calls)) + chunk({}, "tool_calls") + DONE, context, Ending.DONE)  # type: ignore[arg-type]
        (item,) = as_list(as_dict(events_of(out)[-1]["response"])["output"])
        assert as_dict(item)["input"] == "a\U0001f600b"


def test_sealed_reasoning_is_joined() -> None:
    """Opaque details are kept although UTF-8 cannot say their pieces."""
    context = answer_context("openrouter", include=["reasoning.encrypted_content"])
    details = [[{"type": "reasoning.text", "index": 0, "text": piece}] for piece in ("a\ud83d", "\ude00b")]
    raw = b"".join(chunk({"reasoning_details": one}) for one in details) + chunk({"content": "x"}, "stop") + DONE
    item = as_dict(as_list(as_dict(events_of(translate(raw, context, Ending.DONE))[-1]["response"])["output"])[0])
    assert context.sealer is not None
    plain = context.sealer.open(str(item["encrypted_content"]))
    assert plain is not None
    assert json.loads(plain[1:])["reasoning_details"][0]["text"] == "a\U0001f600b"


def test_an_error_with_half_a_character_is_told() -> None:
    broken = json.dumps({"error": {"message": "no \ud83d", "code": "x\ud83d"}}).encode()
    for raw in (broken, b"data: " + broken + b"\n\n"):
        answer = collect_pieces([raw], CONTEXT, Ending.DONE)
        assert (answer.status, set(json.loads(answer.body))) == (502, {"error"})


# Responses to chat

EVENTS: dict[str, tuple[str, str, str]] = {
    "content": ("output_text", "text", "content"),
    "refusal": ("refusal", "refusal", "refusal"),
    "reasoning": ("reasoning_text", "text", "reasoning_content"),
    "summary": ("reasoning_summary_text", "text", "reasoning_content"),
}


@pytest.mark.parametrize("kind", EVENTS)
@given(TEXT, CUTS, st.sampled_from(["done", "item", "terminal", "nothing"]))
def test_streamed_events_are_joined(kind: str, text: str, places: list[int], last: str) -> None:
    """Whether or not the text is told again as a whole; then it is told once."""
    type_, member, field = EVENTS[kind]
    place = {"item_id": "i", "output_index": 0, "content_index": 0, "summary_index": 0}
    events = [event(f"{type_}.delta", delta=piece, **place) for piece in cut(text, places)]
    item: Json = {"type": "message", "id": "i", "content": [{"type": type_, member: text}]}
    if field == "reasoning_content":
        parts = "content" if kind == "reasoning" else "summary"
        item = {"type": "reasoning", "id": "i", parts: [{"type": "summary_text", "text": text}]}
    more = {"done": [event(f"{type_}.done", **{member: text}, **place)], "item": [event("output_item.done", item=item)]}
    raw = escaped([*events, *more.get(last, []), ended(output=[item] if last == "terminal" else [])])
    assert heard(read(filtered([raw])))[field] == text
    assert told(json.loads(collected([raw]).body))[field] == text


def escaped(events: Iterable[Json]) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)


@given(TEXT, CUTS, st.booleans())
def test_streamed_arguments_are_joined(text: str, places: list[int], done: bool) -> None:
    text = arguments(text)
    place = {"item_id": "fc_1", "output_index": 0}
    events = [event("output_item.added", item=function_call("c", "f", ""), output_index=0)]
    events += [event("function_call_arguments.delta", delta=piece, **place) for piece in cut(text, places)]
    if done:
        events += [event("function_call_arguments.done", arguments=text, **place)]
    assert heard(read(filtered([escaped([*events, ended()])])))["calls"] == [("c", "f", text)]


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("done", [True, False])
def test_a_half_of_events_that_nothing_completes_is_a_replacement_character_in_the_end(kind: str, done: bool) -> None:
    type_, member, field = EVENTS[kind]
    events = [event(f"{type_}.delta", delta="a\ud83d", item_id="i", output_index=0)]
    if done:
        events += [event(f"{type_}.done", **{member: "a\ud83d"}, item_id="i", output_index=0)]
    assert heard(read(filtered([escaped([*events, ended()])])))[field] == "a\ufffd"


def test_a_whole_answer_with_halves_in_its_parts_is_joined() -> None:
    parts = [{"type": "output_text", "text": piece, "annotations": []} for piece in ("a\ud83d", "\ude00b")]  # type: ignore[var-annotated]
    response = ended(output=[{**message(""), "content": parts}])["response"]
    answer = json.loads(collected([json.dumps(response).encode()]).body)
    assert answer["choices"][0]["message"]["content"] == "a\U0001f600b"


# Repair


def test_a_repair_leaves_halves_as_they_came() -> None:
    """It puts right what is not theirs: a client that joins the deltas gets the character."""
    deltas = [event("output_text.delta", delta=piece, item_id="m", output_index=0) for piece in ("a\ud83d", "\ude00b")]
    raw = escaped([event("created", response={"id": "r"}), *deltas])
    core = Repair(0)
    out = core.feed(raw) + core.finish(Ending.DONE)
    found = [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: {")]
    assert [one["delta"] for one in found if "delta" in one] == ["a\ud83d", "\ude00b"]
    assert all("sequence_number" in one for one in found)
