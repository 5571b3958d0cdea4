"""Reasoning that clients carry for us, and whose schema they want."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from request_helpers import call, generic, messages, output, refusal, translate, user
from stream_helpers import PLAIN, events, thought
from stream_helpers import items as items_of

from onwards_py.sealing import Keyring
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.policy import ForeignReasoning, Policy
from onwards_py.transcode.neutral.sealed import open_reasoning, seal_reasoning
from onwards_py.transcode.responses.profile import profile_of_client

SEALER = Keyring(["a secret of some length"]).sealer("key-1")
SEALING = Policy(sealer=SEALER)
DETAILS = [{"type": "reasoning.text", "text": "why", "signature": "s"}]


def carried(blob: str, **more: object) -> list[dict[str, object]]:
    item = {"type": "reasoning", "summary": [], "content": None, "encrypted_content": blob, **more}
    return [user("hi"), item, call("a"), output("a")]


def test_our_own_blob_brings_the_reasoning_back() -> None:
    """A client that keeps nothing else carries it."""
    blob = seal_reasoning({"reasoning_content": "why"}, SEALER)
    assert messages(carried(blob), policy=SEALING)[1]["reasoning_content"] == "why"


def test_our_own_blob_wins_over_the_summary() -> None:
    """The summary is for people, the blob is what the provider said."""
    blob = seal_reasoning({"reasoning": "exact"}, SEALER)
    items = carried(blob, summary=[{"type": "summary_text", "text": "short"}])
    assert messages(items, policy=SEALING)[1]["reasoning_content"] == "exact"


def test_raw_reasoning_details_go_back_as_they_came() -> None:
    """OpenRouter's signatures count by the byte; others get the text only."""
    items = carried(seal_reasoning({"reasoning": "why", "reasoning_details": DETAILS}, SEALER))
    routed = messages(items, policy=SEALING, quirks=PRESETS["openrouter"])[1]
    assert (routed["reasoning"], routed["reasoning_details"]) == ("why", DETAILS)
    assert "reasoning_details" not in messages(items, policy=SEALING)[1]


THOUGHT = {"type": "reasoning.text", "text": "why", "index": 0}
SIGNED = {"type": "reasoning.text", "signature": "s", "index": 0}


def routed(*items: dict[str, object]) -> list[Any]:
    """The reasoning details of each assistant message at OpenRouter; nothing may be dropped."""
    made: Any = translate([user("hi"), *items, user("go on")], policy=SEALING, quirks=PRESETS["openrouter"])
    assert made.dropped == ()
    return [one.get("reasoning_details") for one in made.body["messages"] if one["role"] == "assistant"]


def sealed(*details: dict[str, object]) -> dict[str, object]:
    blob = seal_reasoning({"reasoning_details": list(details)}, SEALER)
    return {"type": "reasoning", "summary": [], "encrypted_content": blob}


@pytest.mark.parametrize("places", [(1, 0, 2), (1, 2, 0), (0, 1, 2)], ids=["behind", "around", "before"])
@pytest.mark.parametrize("follower", [{"role": "assistant", "content": "x"}, call("a")], ids=["text", "call"])
def test_D14_a_late_signature_signs_its_thought(places: tuple[int, int, int], follower: dict[str, object]) -> None:
    """Anthropic signs a thought when the text has begun; thought and signature apart are refused."""
    items = [follower, sealed(THOUGHT), sealed(SIGNED)]
    answered = [output("a")] if "call_id" in follower else []
    found = routed(*(items[place] for place in places), *answered)
    assert found == [[{**THOUGHT, "signature": "s"}]]


def test_D14_what_is_signed_or_says_more_is_a_thought_of_its_own() -> None:
    """Every answer counts its pieces from 0."""
    whole = {**THOUGHT, "signature": "s"}
    assert routed(sealed(whole), sealed(whole), call("a"), output("a")) == [[whole, whole]]
    assert routed(sealed(whole), sealed(SIGNED), call("a"), output("a")) == [[whole, SIGNED]]
    other = {**SIGNED, "index": 1}
    assert routed(sealed(THOUGHT), sealed(other), call("a"), output("a")) == [[THOUGHT, other]]


def test_D14_a_signature_that_goes_back_in_several_rounds_is_joined_in_each() -> None:
    """Later rounds carry the reasoning that the client sent once."""
    rounds = [sealed(THOUGHT), sealed(SIGNED), call("a"), output("a"), call("b"), output("b")]
    assert routed(*rounds) == [[{**THOUGHT, "signature": "s"}]] * 2


def test_reasoning_between_outputs_and_their_next_round_belongs_to_that_round() -> None:
    """What came after an output is another answer."""
    first, second = {**THOUGHT, "text": "1"}, {**THOUGHT, "text": "2"}
    items = [sealed(first), call("a"), output("a"), sealed(second), call("b"), output("b")]
    assert routed(*items) == [[first], [second]]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_no_reasoning_is_no_loss(preset: str) -> None:
    """A provider that gets none back misses nothing."""
    items = [user("hi"), {"role": "assistant", "content": "x"}, user("y"), call("a"), output("a")]
    assert translate(items, quirks=PRESETS[preset]).dropped == ()


@pytest.mark.parametrize("policy", [Policy(), SEALING])
def test_G25_a_foreign_blob_is_skipped_visibly_and_what_can_be_read_is_used(policy: Policy) -> None:
    """Another provider's blob would be refused there for ever."""
    items = carried("gAAAAAB", summary=[{"type": "summary_text", "text": "short"}])
    made: Any = translate(items, policy=policy)
    assert made.body["messages"][1]["reasoning_content"] == "short"
    assert made.dropped == ("input[].encrypted_content",)


@pytest.mark.parametrize(
    ("origin", "back"), [("a", True), ("b", False), ("", True)], ids=["the same", "another", "not told"]
)
def test_G25_what_is_opaque_goes_back_only_to_who_said_it(origin: str, back: bool) -> None:
    """Another member of the pool would refuse the signature in every later turn; what can be read it gets."""
    policy = Policy(sealer=SEALER, origin=origin)
    sealed_by_a = {"reasoning": "why", "reasoning_details": DETAILS, "onwards_origin": "a"}
    items = carried(seal_reasoning({**sealed_by_a, "tool_call_extra_content": {"a": SIGNATURE}}, SEALER))
    made: Any = translate(items, policy=policy, quirks=PRESETS["openrouter"])
    message = made.body["messages"][1]
    assert message["reasoning"] == "why"
    assert ("reasoning_details" in message) is ("extra_content" in message["tool_calls"][0]) is back
    assert made.dropped == (() if back else ("input[].encrypted_content",))
    assert "onwards_origin" not in message


def test_G25_of_anothers_blob_without_text_the_summary_is_used() -> None:
    """It is for people, and better than nothing."""
    policy = Policy(sealer=SEALER, origin="b")
    blob = seal_reasoning({"reasoning_details": DETAILS, "onwards_origin": "a"}, SEALER)
    items = carried(blob, summary=[{"type": "summary_text", "text": "short"}])
    assert messages(items, policy=policy)[1]["reasoning_content"] == "short"


def test_G25_blobs_remember_who_said_it() -> None:
    """Only where the operator's pool tells providers apart."""
    for origin in ("", "a"):
        context = replace(PLAIN, sealer=SEALER, include=frozenset({"reasoning.encrypted_content"}), origin=origin)
        (item,) = items_of(events([thought("x")], context=context))
        fields = open_reasoning(str(item["encrypted_content"]), SEALER)
        assert fields == {"reasoning_content": "x", **({"onwards_origin": origin} if origin else {})}


def test_G25_a_foreign_blob_can_be_refused() -> None:
    """By policy, with its path."""
    refused = refusal(carried("gAAAAAB"), policy=Policy(foreign_reasoning=ForeignReasoning.REJECT))
    assert (refused.param, refused.code) == ("input[1].encrypted_content", "invalid_encrypted_content")


def test_a_compaction_is_refused() -> None:
    """None is made here, so none can be read; without it the conversation would be another."""
    for blob in ("gAAAAAB", seal_reasoning({"reasoning": "x"}, SEALER)):
        item = {"type": "compaction", "encrypted_content": blob}
        assert refusal([item], policy=SEALING).param == "input[0].encrypted_content"


def test_a_sealed_blob_of_another_kind_is_no_reasoning() -> None:
    made = translate(carried(SEALER.seal(b"\x02x")), policy=SEALING)
    assert made.dropped == ("input[].encrypted_content",)


def test_reasoning_without_anything_after_it_is_noted() -> None:
    """An answer that was all reasoning has no message to stand on."""
    item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}]}
    assert translate([user("a"), item, user("b")]).dropped == ("input[].reasoning",)
    assert translate([user("a"), item]).dropped == ("input[].reasoning",)


def test_the_sealer_reaches_the_answer() -> None:
    """What opens also mints."""
    assert translate(policy=SEALING, include=["reasoning.encrypted_content"]).context.sealer is SEALER
    assert translate(quirks=generic()).context.sealer is None


SIGNATURE = {"google": {"thought_signature": "sig"}}
STAND_IN = {"google": {"thought_signature": "skip_thought_signature_validator"}}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("preset", ["generic", "gemini"])
def test_what_came_with_a_call_goes_back_with_it(preset: str, behind: bool) -> None:
    """Gemini refuses a call without its signature; the blob that holds it may stand before or behind the call."""
    blob = seal_reasoning({"tool_call_extra_content": {"a": SIGNATURE, "gone": SIGNATURE}}, SEALER)
    item = {"type": "reasoning", "summary": [], "encrypted_content": blob}
    items = [user("hi"), *([call("a"), item] if behind else [item, call("a")]), call("b"), output("a"), output("b")]
    made: Any = translate(items, policy=SEALING, quirks=PRESETS[preset])
    calls = made.body["messages"][1]["tool_calls"]
    assert calls[0]["extra_content"] == SIGNATURE
    assert "extra_content" not in calls[1]
    assert made.dropped == ()


def test_a_call_whose_signature_is_lost_gets_the_placeholder_where_one_is_demanded() -> None:
    """Once for each step, on its first call; nobody else ever sees it."""
    items = [user("hi"), call("a"), call("b"), output("a"), output("b"), call("c"), output("c")]
    found = messages(items, quirks=PRESETS["gemini"])
    extras = [[one.get("extra_content") for one in message.get("tool_calls", [])] for message in found]
    assert extras == [[], [STAND_IN, None], [], [], [STAND_IN], []]
    assert not any("extra_content" in one for message in messages(items) for one in message.get("tool_calls", []))


def test_what_came_with_a_call_stays_away_from_providers_that_know_no_such_member() -> None:
    """A pool may mix them."""
    blob = seal_reasoning({"tool_call_extra_content": {"a": SIGNATURE}}, SEALER)
    found = messages(carried(blob), policy=SEALING, quirks=PRESETS["openai"])
    assert "extra_content" not in found[1]["tool_calls"][0]


@pytest.mark.parametrize("extras", [1, [], {"a": 1}, None])
def test_odd_extras_in_a_blob_are_no_error(extras: object) -> None:
    """An older or newer release may have sealed it."""
    blob = seal_reasoning({"tool_call_extra_content": extras, "reasoning": "why"}, SEALER)
    assert messages(carried(blob), policy=SEALING)[1]["reasoning_content"] == "why"


@pytest.mark.parametrize(
    ("fields", "profile"),
    [
        ([], None),
        ([(b"User-Agent", b"curl/8")], None),
        ([(b"User-Agent", b"AsyncOpenAI/Python 3.52.0")], Profile.OPENAI),
        ([(b"user-agent", b"codex_cli_rs/0.145.0 (Linux)")], Profile.OPENAI),
        ([(b"user-agent", b"ai-sdk/open-responses/1.0.39")], None),
        ([(b"X-Stainless-Lang", b"js")], Profile.OPENAI),
        ([(b"x-onwards-profile", b"OpenResponses"), (b"x-stainless-lang", b"js")], Profile.OPENRESPONSES),
        ([(b"x-stainless-lang", b"js"), (b"X-Onwards-Profile", b" openresponses ")], Profile.OPENRESPONSES),
        ([(b"x-onwards-profile", b"other")], None),
    ],
)
def test_the_profile_is_asked_for_or_given_away_by_header_fields(
    fields: list[tuple[bytes, bytes]], profile: Profile | None
) -> None:
    """The override header wins over every mark, in whatever order they stand."""
    assert profile_of_client(fields) is profile
