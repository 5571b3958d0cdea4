"""Tool calls: whole, serial and under their right names, however a provider cuts, numbers and names them."""

from dataclasses import replace

import pytest
from stream_helpers import PLAIN, call, delta, entry, events, final, items, kinds, machine, of_type, text
from support.responses_promises import Json
from support.transcoding import answer_context

from onwards_py.messages import Ending
from onwards_py.transcode.neutral.context import ToolKind, ToolName

TOOLS = {
    "get_weather": ToolName(ToolKind.FUNCTION, "get_weather"),
    "crm__find": ToolName(ToolKind.FUNCTION, "find", "crm"),
    "apply_patch": ToolName(ToolKind.CUSTOM, "apply_patch"),
}


def said(out: list[Json]) -> list[tuple[object, object, object]]:
    """call_id, name and arguments of each call in the final output."""
    return [(item["call_id"], item["name"], item["arguments"]) for item in items(out)]


def test_A3_A26_A27_each_fragment_is_streamed_once_and_they_add_up() -> None:
    """A3: calls stream; A26: nothing twice; A27: later fragments have no id."""
    out = events([call(0, "c", "get_time", '{"a"'), call(0, arguments=":"), call(0, arguments="1}")])
    assert [event["delta"] for event in of_type(out, "function_call_arguments.delta")] == ['{"a"', ":", "1}"]
    assert of_type(out, "function_call_arguments.done")[0]["arguments"] == '{"a":1}'
    assert said(out) == [("c", "get_time", '{"a":1}')]


def test_A29_E10_empty_arguments_are_an_empty_object_in_the_end() -> None:
    out = events([call(0, "c", "get_time", ""), call(0, arguments="")])
    assert [event["delta"] for event in of_type(out, "function_call_arguments.delta")] == ["{}"]
    assert said(out) == [("c", "get_time", "{}")]


def test_a_placeholder_before_the_real_arguments_is_not_a_part_of_them() -> None:
    assert said(events([call(0, "c", "get_time", "{}"), call(0, arguments='{"a":1}')])) == [
        ("c", "get_time", '{"a":1}')
    ]


def test_A30_a_call_is_announced_when_its_name_is_known() -> None:
    core = machine()
    assert len(core.feed(call(0, "c", arguments='{"a"'))) == 2
    events_ = core.feed(call(0, name="get_time"))
    assert [event["type"] for event in events_] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
    ]


@pytest.mark.parametrize(("finish", "status"), [("tool_calls", "failed"), ("length", "incomplete")])
def test_A30_a_call_without_a_name_is_never_shown_and_never_a_success(finish: str, status: str) -> None:
    out = events([text("a"), call(0, "c", "", "{}")], finish)
    assert kinds(out) == ["message"]
    assert final(out)["status"] == status


def test_A31_A33_repeated_and_empty_names_and_ids_change_nothing() -> None:
    out = events([call(0, "c", "get_time", '{"a"'), call(0, "c", "get_time", ":1"), call(0, "", "", "}")])
    assert said(out) == [("c", "get_time", '{"a":1}')]


@pytest.mark.parametrize("pieces", [["get_", "time"], ["g", "e", "t", "_time"], ["get", "", "_time"], ["get_time"] * 3])
@pytest.mark.parametrize("index", [0, None])
def test_a_name_in_pieces_is_joined_unless_a_piece_is_the_whole_name_again(
    pieces: list[str], index: int | None
) -> None:
    named = [call(index, "c" if n == 0 else None, piece, "") for n, piece in enumerate(pieces)]
    for arguments in (['{"a"', ":1}"], []):
        out = events([*named, *(call(index, arguments=one) for one in arguments)])
        assert said(out) == [("c", "get_time", "".join(arguments) or "{}")]
        assert of_type(out, "output_item.added")[0]["item"]["name"] == "get_time"  # type: ignore[index]


def test_a_name_that_nobody_offered_is_joined_as_well() -> None:
    """Told again with each fragment of the arguments; in pieces before them, and with text behind it."""
    repeated = [call(0, "c", "gone", ""), call(0, "c", "gone", '{"a"'), call(0, "c", "gone", ":1}")]
    assert said(events(repeated)) == [("c", "gone", '{"a":1}')]
    assert said(events([call(0, "c", "go", ""), call(0, None, "ne", '{"a":1}')])) == [("c", "gone", '{"a":1}')]
    out = events([call(0, "c", "go", ""), call(1, "d", "get_", ""), call(0, None, "ne"), call(1, None, "time", "{}")])
    assert said(out) == [("c", "gone", "{}"), ("d", "get_time", "{}")]


def test_the_tools_that_were_offered_tell_a_piece_from_a_repetition() -> None:
    """``go`` twice is ``gogo`` if only that is a tool; a name that may be the beginning of another's waits."""
    tools = {name: ToolName(ToolKind.FUNCTION, name) for name in ("gogo", "get", "get_time")}
    context = replace(PLAIN, tools=tools)
    assert said(events([call(0, "c", "go", ""), call(0, None, "go", "{}")], context=context)) == [("c", "gogo", "{}")]
    long = [call(0, "c", "get", ""), call(0, None, "_time", ""), call(0, None, None, "{}")]
    assert said(events(long, context=context)) == [("c", "get_time", "{}")]
    assert said(events([call(0, "c", "get", ""), call(0, None, "get", "")], context=context)) == [("c", "get", "{}")]
    assert said(events([call(0, "c", "get_", ""), call(0, None, "get_time", "")], context=context)) == [
        ("c", "get_time", "{}")
    ]


@pytest.mark.parametrize("pieces", [["go_", "go_", "up"], ["go", "_", "go", "_", "up"], ["x", "x", "x"]])
def test_pieces_of_a_name_may_be_alike(pieces: list[str]) -> None:
    """The second is no repetition where both together begin a tool's name, and one alone is none."""
    tools = {name: ToolName(ToolKind.FUNCTION, name) for name in ("go_go_up", "xxx")}
    out = events([call(0, "c", piece) for piece in pieces], context=replace(PLAIN, tools=tools))
    assert said(out) == [("c", "".join(pieces), "{}")]


def test_a_call_whose_name_comes_in_pieces_is_held_against_the_allowed_ones_when_it_is_whole() -> None:
    context = replace(PLAIN, allowed=frozenset({"get_time"}))
    forbidden = [call(0, "c", "get_", ""), call(0, None, "weather", "")]
    allowed = [call(1, "d", "get_", ""), call(1, None, "time", "")]
    assert said(events([*forbidden, *allowed], context=context)) == [("d", "get_time", "{}")]


def test_A32_a_fragment_that_says_nothing_is_no_call() -> None:
    null = {"index": 0, "function": {"name": None, "arguments": None}}
    assert kinds(events([text("a"), delta(tool_calls=[null])])) == ["message"]


@pytest.mark.parametrize("missing", ["", None, "null"])
def test_A34_a_call_without_an_id_gets_one_and_keeps_it(missing: str | None) -> None:
    out = events([call(0, missing, "get_time", '{"a"'), call(0, "late", None, ":1}")])
    added = of_type(out, "output_item.added")[0]["item"]
    assert isinstance(added, dict)
    assert str(added["call_id"]).startswith("call_")
    assert said(out) == [(added["call_id"], "get_time", '{"a":1}')]


def test_A35_a_whole_call_in_one_chunk_keeps_its_arguments() -> None:
    out = events([delta("tool_calls", tool_calls=[entry(0, "c", "get_time", '{"a":1}')])])
    assert said(out) == [("c", "get_time", '{"a":1}')]


@pytest.mark.parametrize("index", [0, None])
def test_A36_another_id_under_the_same_index_is_another_call(index: int | None) -> None:
    out = events(
        [call(index, "c", "get_time", "{}"), call(index, "d", "get_time", '{"b"'), call(index, arguments=":2}")]
    )
    assert said(out) == [("c", "get_time", "{}"), ("d", "get_time", '{"b":2}')]


@pytest.mark.parametrize("index", [0, None])
def test_A36_a_fresh_id_on_every_fragment_is_not_another_call(index: int | None) -> None:
    """There are providers that mint an id a chunk; the first one stays."""
    chunks = [call(index, "c", "get_time", '{"a"'), call(index, "d", arguments=":1}"), call(index, "e", arguments="")]
    assert said(events(chunks)) == [("c", "get_time", '{"a":1}')]


@pytest.mark.parametrize("index", [0, None])
def test_A36_a_name_behind_whole_arguments_begins_another_call_if_there_are_no_ids(index: int | None) -> None:
    out = events([call(index, None, "get_time", '{"a":1}'), call(index, None, "get_time", '{"a":2}')])
    assert [arguments for _, _, arguments in said(out)] == ['{"a":1}', '{"a":2}']


@pytest.mark.parametrize("index", [0, None])
def test_two_calls_under_one_id_are_two_calls(index: int | None) -> None:
    """Told by a name and other arguments behind whole ones; the second gets an id of ours."""
    chunks = [
        call(index, "c", "get_time", '{"a":1}'),
        call(index, "c", "get_time", '{"a"'),
        call(index, None, None, ":2}"),
    ]
    ids, _, arguments = zip(*said(events(chunks)), strict=True)
    assert (len(set(ids)), arguments) == (2, ('{"a":1}', '{"a":2}'))
    again = [call(index, "c", "get_time", "{}"), call(index, "c", "get_time", '{"a":1}')]
    assert said(events(again)) == [("c", "get_time", '{"a":1}')]


def test_a_call_that_is_sent_again_as_a_whole_counts_once() -> None:
    out = events([call(0, "c", "get_time", '{"a":1}'), call(0, "c", "get_time", '{"a":1}')])
    assert said(out) == [("c", "get_time", '{"a":1}')]


def test_A37_two_calls_in_one_delta_are_two_calls() -> None:
    out = events([delta(tool_calls=[entry(0, "c", "get_time", "{}"), entry(1, "d", "get_weather", "{}")])])
    assert [name for _, name, _ in said(out)] == ["get_time", "get_weather"]


def test_A19_interleaved_calls_come_out_one_after_the_other() -> None:
    chunks = [call(0, "c", "get_time", '{"a"'), call(1, "d", "get_weather", '{"b"')]
    out = events([*chunks, call(0, arguments=":1}"), call(1, arguments=":2}")], "tool_calls")
    assert said(out) == [("c", "get_time", '{"a":1}'), ("d", "get_weather", '{"b":2}')]
    assert [event["output_index"] for event in of_type(out, "function_call_arguments.delta")] == [0, 0, 1, 1]


def test_serial_calls_leave_at_once() -> None:
    core = machine()
    core.feed(call(0, "c", "get_time", '{"a":1}'))
    types = [str(event["type"]) for event in core.feed(call(1, "d", "get_time", '{"b"'))]
    assert types[-3:] == [
        "response.output_item.done",
        "response.output_item.added",
        "response.function_call_arguments.delta",
    ]


def test_text_between_the_fragments_of_a_call_follows_the_call() -> None:
    out = events([call(0, "c", "get_time", '{"a"'), text("x"), call(0, arguments=":1}"), text("y")])
    assert kinds(out) == ["function_call", "message"]
    assert [event["delta"] for event in of_type(out, "output_text.delta")] == ["x", "y"]


def test_D19_call_ids_are_unique_and_at_most_64_characters() -> None:
    """The provider's id is kept where it will do; one that the request had to shorten is given back as it was."""
    out = events([call(i, id_, "get_time", "{}") for i, id_ in enumerate(["x" * 64, "x" * 65, "same", "same"])])
    ids = [str(id_) for id_, _, _ in said(out)]
    assert (ids[0], ids[2]) == ("x" * 64, "same")
    assert len(set(ids)) == 4
    assert all(len(id_) <= 64 for id_ in ids)
    context = replace(PLAIN, call_ids={"short": "client's own"})
    assert said(events([call(0, "short", "get_time", "{}")], context=context))[0][0] == "client's own"


def test_half_a_surrogate_pair_does_not_make_arguments_broken() -> None:
    """JSON by RFC 8259, though not to every parser: what a tokenizer leaves of an emoji that the tokens ended in."""
    out = events([call(0, "c", "get_time", '{"a":"\\ud83d"}'), call(1, "d", "get_time", "{}")], "tool_calls")
    assert [item["status"] for item in items(out)] == ["completed", "completed"]


def test_arguments_that_are_an_object_are_written_as_json() -> None:
    assert said(events([call(0, "c", "get_time", {"a": 1})])) == [("c", "get_time", '{"a":1}')]


def test_the_old_function_call_member_is_a_call_unless_there_are_tool_calls() -> None:
    legacy = {"name": "get_time", "arguments": "{}"}
    assert [name for _, name, _ in said(events([delta(function_call=legacy)], "function_call"))] == ["get_time"]
    both = delta(function_call=legacy, tool_calls=[entry(0, "c", "get_time", "{}")])
    assert said(events([both])) == [("c", "get_time", "{}")]


def test_E2_a_member_of_a_namespace_is_called_by_its_own_two_names() -> None:
    context = replace(PLAIN, tools=TOOLS)
    (item,) = items(events([call(0, "c", "crm__find", "{}")], context=context))
    assert (item["namespace"], item["name"]) == ("crm", "find")


def test_E3_a_bare_member_name_is_understood() -> None:
    context = replace(PLAIN, tools=TOOLS)
    (item,) = items(events([call(0, "c", "find", "{}")], context=context))
    assert (item["namespace"], item["name"]) == ("crm", "find")


@pytest.mark.parametrize("whole", [True, False])
def test_E4_E5_a_custom_tool_gets_its_text_back_as_it_streams(whole: bool) -> None:
    context = answer_context(tools=[{"type": "custom", "name": "apply_patch"}])
    arguments = '{"input":"*** Begin\\n\\u00e9"}'
    chunks = [arguments] if whole else list(arguments)
    out = events([call(0, "c", "apply_patch", ""), *(call(0, arguments=part) for part in chunks)], context=context)
    (item,) = items(out)
    assert (item["type"], item["input"], item["status"]) == ("custom_tool_call", "*** Begin\né", "completed")
    assert str(item["id"]).startswith("ctc_")
    deltas = [str(event["delta"]) for event in of_type(out, "custom_tool_call_input.delta")]
    assert "".join(deltas) == of_type(out, "custom_tool_call_input.done")[0]["input"] == "*** Begin\né"
    assert whole or len(deltas) > 5


def test_a_call_outside_the_allowed_tools_is_suppressed() -> None:
    context = replace(PLAIN, allowed=frozenset({"get_time"}))
    chunks = [text("a"), call(0, "c", "get_weather", "{}"), call(1, "d", "get_time", "{}")]
    core = machine(context)
    for chunk in chunks:
        core.feed(chunk)
    assert kinds(core.finish(Ending.DONE, done=True)) == ["message", "function_call"]
    assert final(events([chunks[1]], context=context))["status"] == "failed"


def test_a_suppressed_call_does_not_divide_the_text_around_it() -> None:
    context = replace(PLAIN, allowed=frozenset({"get_time"}))
    assert kinds(events([text("a"), call(0, "c", "get_weather", "{}"), text("b")], context=context)) == ["message"]


def test_a_call_whose_late_name_is_not_allowed_is_suppressed_with_what_came_before_the_name() -> None:
    context = replace(PLAIN, allowed=frozenset({"get_time"}), one_call=True)
    chunks = [call(0, "c", arguments='{"a"'), call(0, name="get_weather", arguments=":1}")]
    assert kinds(events([text("a"), *chunks], context=context)) == ["message"]
    assert kinds(events([*chunks, call(1, "d", "get_time", "{}")], context=context)) == ["function_call"]


def test_only_the_first_call_is_kept_where_one_is_all_the_client_allows() -> None:
    context = replace(PLAIN, one_call=True)
    out = events(
        [call(0, "c", "get_time", "{}"), call(1, "d", "get_time", "{}"), call(1, arguments="")], context=context
    )
    assert [id_ for id_, _, _ in said(out)] == ["c"]
