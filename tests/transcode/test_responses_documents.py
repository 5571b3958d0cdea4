"""docs/reference/responses.md and docs/guides/translate.md say what the code does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import replace
from enum import Enum
from pathlib import Path

import pytest
from support.tables import table

from onwards_py.config.setting_shapes import keys_of
from onwards_py.transcode.chat import read_fields as reverse
from onwards_py.transcode.chat import write_request
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral import policy as policies
from onwards_py.transcode.neutral.context import Profile
from onwards_py.transcode.neutral.policy import InvalidRequest, Policy
from onwards_py.transcode.neutral.quirks import Quirks
from onwards_py.transcode.pairs import to_chat
from onwards_py.transcode.responses import read_content as content
from onwards_py.transcode.responses import read_fields as fields
from onwards_py.transcode.responses import read_items as items
from onwards_py.transcode.responses import read_tools as tools
from onwards_py.transcode.responses.request_echo import choose_profile

PAGE = "reference/responses.md"
GUIDE = "guides/translate.md"
SHARED = "### Settings of a provider, a target, or all targets"
OTHERS = "anything else"
TRANSCODE = Path(items.__file__).parent.parent
WRITERS = [TRANSCODE / "responses/written_items.py", TRANSCODE / "responses/write_answer.py"]

TOOL = {"type": "function", "name": "look"}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
SAMPLES: Mapping[str, Mapping[str, object]] = {
    "model": {},
    "input": {},
    "instructions": {"instructions": "Be brief."},
    "tools": {"tools": [TOOL]},
    "tool_choice": {"tool_choice": "required", "tools": [TOOL]},
    "parallel_tool_calls": {"parallel_tool_calls": False, "tools": [TOOL]},
    "text": {"text": {"format": SCHEMA}},
    "response_format": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "reasoning": {"reasoning": {"effort": "low"}},
    "top_logprobs": {"top_logprobs": 2},
    "include": {"include": ["message.output_text.logprobs"]},
    "stream_options": {"stream_options": {"include_obfuscation": False}},
    "metadata": {"metadata": {"a": "b"}},
    "truncation": {"truncation": "auto"},
    "conversation": {"conversation": {"id": "conv_1"}},
    "prompt": {"prompt": {"id": "pmpt_1"}},
    "context_management": {"context_management": [{"type": "compaction"}]},
    "client_metadata": {"client_metadata": {"a": "b"}},
    "n": {"n": 2},
    OTHERS: {"top_k": 5},
    **{name: {name: True} for name in ("stream", "store", "background", "logprobs")},
    **{name: {name: 0.5} for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty")},
    **{name: {name: 7} for name in ("max_output_tokens", "max_tool_calls", "max_tokens", "max_completion_tokens")},
}


def rows(section: str, first: str) -> list[list[str]]:
    return table(PAGE, first, f"## {section}")


def names(section: str, first: str) -> set[str]:
    listed = [row[0] for row in rows(section, first)]
    assert len(listed) == len(set(listed))
    return set(listed) - {OTHERS}


FIELDS = rows("Request fields", "field")


def test_every_field_that_is_dealt_with_is_listed() -> None:
    """And none that is not."""
    known = fields._READ | fields._RESPONSES_ONLY | write_request._OURS
    assert names("Request fields", "field") == known


@pytest.mark.parametrize("row", FIELDS, ids=[row[0] for row in FIELDS])
def test_a_field_becomes_what_the_table_says(row: list[str]) -> None:
    """Sent through the code: under a chat name, kept, dropped (and listed), or rejected."""
    name, becomes = row[0], row[1]
    sample = SAMPLES.get(name, {name: "default" if name == "truncation" else "x"})
    request = {"model": "m", "input": "Hello.", **sample}
    quirks = PRESETS["openai"]
    if becomes == "rejected":
        with pytest.raises(InvalidRequest) as refused:
            to_chat(request, quirks, Policy())
        assert refused.value.param == name
        return
    translated = to_chat(request, quirks, Policy())
    without = to_chat({"model": "m", "input": "Hello."}, quirks, Policy()).body
    if becomes in ("kept", "dropped"):
        assert translated.body == without
        assert translated.dropped == ((name,) if becomes == "dropped" else ())
        return
    (own,) = sample if name == OTHERS else (name,)
    chat_names = {own} if becomes == "the same" else set(becomes.split(" / "))
    assert chat_names & translated.body.keys()
    if name not in ("model", "input"):
        assert translated.body != without
    assert translated.dropped == ()


@pytest.mark.parametrize(
    ("section", "known"),
    [
        ("Input items", set(items._READERS)),
        ("Content parts", set(content._READERS) | set(content.TEXTS)),
        ("Tools", {*tools._KINDS, "namespace", "tool_search"}),
    ],
)
def test_every_type_that_is_understood_is_listed(section: str, known: set[str]) -> None:
    """And none that is not."""
    assert names(section, "type") == known


def test_every_event_that_is_sent_is_listed() -> None:
    """Those that stand in the source, and the three terminal ones."""
    written = set()
    for source in WRITERS:
        written |= set(re.findall(r'"(response\.[a-z_.]*[a-z])"', source.read_text()))
    assert names("Events", "event") == written | {f"response.{end}" for end in ("completed", "incomplete", "failed")}


def test_the_other_way_every_field_that_is_dealt_with_is_listed() -> None:
    """Of a chat request to a provider that only has Responses."""
    assert names("Fields of a chat request", "chat field") == reverse.READ


def word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, frozenset):
        value = tuple(sorted(value))
    if isinstance(value, Mapping):
        return "(a thought signature)"
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value)


def test_the_presets_differ_as_the_guide_says() -> None:
    """Each preset, compared field by field with the defaults, under the keys of the configuration."""
    plain = Quirks()
    keys = dict(zip((field.name for field in fields_of(Quirks)), keys_of(Quirks), strict=True))
    expected = {}
    for preset, quirks in PRESETS.items():
        different = {
            key: getattr(quirks, name) for name, key in keys.items() if getattr(quirks, name) != getattr(plain, name)
        }
        expected[preset] = ", ".join(f"{key}: {word(value)}" for key, value in different.items()) or "–"
    assert {row[0]: row[1] for row in table(GUIDE, "preset")} == expected


def test_every_preset_can_be_configured() -> None:
    """The reference lists each preset; the configuration takes their names from the same table."""
    row = next(row for row in table("reference/configuration.md", "key", SHARED) if row[0] == "preset")
    assert tuple(row[1].split(" / ")) == tuple(PRESETS)


def test_the_policies_default_to_what_the_guide_says() -> None:
    """And their other values are all there are."""
    for setting, default, others in table(GUIDE, "setting"):
        value = getattr(Policy(), setting)
        assert default.startswith(f"{value.value}:")
        assert {each.split(":")[0] for each in others.split(", ")} == {each.value for each in type(value)} - {
            value.value
        }


def test_a_tool_other_than_a_function_marks_a_request_for_openai() -> None:
    """The rule of ``profile: auto``."""
    assert choose_profile({"tools": [TOOL, {"type": "custom", "name": "x"}]}) is Profile.OPENAI
    assert choose_profile({"tools": [TOOL]}) is choose_profile({}) is Profile.OPENRESPONSES


def test_dropping_takes_the_place_of_refusing() -> None:
    """``on_unsupported: drop``, for what the table calls refused and nothing else."""
    drop = replace(Policy(), on_unsupported=policies.OnUnsupported.DROP)
    for row in FIELDS:
        if row[1] == "rejected" and "in any case" not in row[2]:
            request = {"model": "m", "input": "Hello.", **SAMPLES.get(row[0], {row[0]: "x"})}
            assert to_chat(request, PRESETS["openai"], drop).dropped == (row[0],)
