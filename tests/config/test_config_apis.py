"""``apis`` and the modes of single APIs: what they compile to, and how they contradict each other."""

from __future__ import annotations

import pytest
from config_helpers import errors, pool

from onwards_py.model.apis import ALL_NATIVE, ApiTable
from onwards_py.wire.api import Api

TARGET = "targets: {m: {url: http://h, KEYS}}"
CHAT, RESPONSES, MESSAGES = Api.CHAT_COMPLETIONS, Api.RESPONSES, Api.MESSAGES


@pytest.mark.parametrize(
    ("keys", "table"),
    [
        ("", ALL_NATIVE),
        ("apis: [chat_completions, responses, messages]", ALL_NATIVE),
        ("apis: [chat_completions]", ApiTable(CHAT, CHAT, None)),
        ("apis: [responses]", ApiTable(RESPONSES, RESPONSES, None)),
        ("apis: [messages]", ApiTable(None, None, MESSAGES)),
        ("apis: [chat_completions, responses]", ApiTable(CHAT, RESPONSES, None)),
        ("open_responses_mode: native", ALL_NATIVE),
        ("open_responses_mode: translate", ApiTable(CHAT, CHAT, MESSAGES)),
        ("open_responses_mode: disabled", ApiTable(CHAT, None, MESSAGES)),
        ("chat_completions_mode: translate", ApiTable(RESPONSES, RESPONSES, MESSAGES)),
        ("apis: [chat_completions], open_responses_mode: disabled", ApiTable(CHAT, None, None)),
        ("apis: [chat_completions, responses], open_responses_mode: translate", ApiTable(CHAT, CHAT, None)),
    ],
)
def test_a_table_follows_from_apis_and_modes(keys: str, table: ApiTable) -> None:
    """What a provider has is native, the other of Chat Completions and Responses is translated, the rest refused."""
    made = pool(TARGET.replace("KEYS", keys)).providers[0].apis
    assert made == table
    assert made.all_native is (table == ALL_NATIVE)
    assert made.translates is ("translate" in (made.mode(CHAT), made.mode(RESPONSES)))


def test_apis_of_a_target_are_those_of_its_providers() -> None:
    """As every key that a target has for its providers; a provider's own list replaces it."""
    text = "targets: {m: {apis: [chat_completions], providers: [{url: http://a}, {url: http://b, apis: [responses]}]}}"
    first, second = pool(text).providers
    assert (first.apis.responses, second.apis.responses) == (CHAT, RESPONSES)


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ("apis: [chat_completions], open_responses_mode: native", "1:56", "add responses to 'apis'"),
        ("apis: [responses], open_responses_mode: translate", "1:49", "add chat_completions to 'apis'"),
        ("apis: [chat_completions], chat_completions_mode: translate", "1:56", "add responses to 'apis'"),
        ("apis: []", "1:30", "name at least one API"),
        ("apis: [completions]", "", "completions"),
    ],
)
def test_a_mode_that_contradicts_apis_is_an_error(keys: str, place: str, words: str) -> None:
    """By line and column, with what to do about it."""
    found = errors(TARGET.replace("KEYS", keys))
    assert len(found) == 1
    assert words in found[0]
    assert place in found[0]
