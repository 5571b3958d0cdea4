"""Text to nodes: YAML's traps, JSON's habits, and bounds on what a file may grow into."""

from __future__ import annotations

import pytest
from config_helpers import error, errors, loaded, pool, provider


def test_words_that_yaml_1_1_takes_for_booleans_are_text_as_keys_and_as_values() -> None:
    """`on:`, `no:` and `yes` stay what they look like where text is expected."""
    snapshot = loaded(
        "targets: {on: {url: http://a}, no: {url: http://b}, 1: {url: http://c, onwards_model: yes}}"
    ).snapshot
    assert list(snapshot.pools) == ["on", "no", "1"]
    assert snapshot.pools["1"].providers[0].model_name == "yes"


def test_a_number_in_a_text_position_keeps_its_spelling() -> None:
    """A model called 1.10 is not 1.1."""
    assert provider("targets: {m: {url: http://a, onwards_model: 1.10}}").model_name == "1.10"


def test_duplicate_keys_are_errors_with_both_positions() -> None:
    """PyYAML would silently take the last."""
    text = "targets:\n  m: {url: http://a}\n  m: {url: http://b}\n"
    assert error(text) == "f.yaml:3:3: targets.m: this key was already given at line 2, column 3"


def test_a_key_is_a_duplicate_in_any_quotes() -> None:
    """Quotes are no difference to YAML."""
    assert "already given" in error("targets: {m: {url: http://a, 'url': http://b}}")


def test_merge_keys_give_way_to_own_keys_wherever_they_stand() -> None:
    """Own keys win over merged ones, earlier merges over later (YAML merge key type)."""
    text = """
x-a: &a {onwards_model: a, weight: 2}
x-b: &b {onwards_model: b, max_body: 1MB}
targets:
  m: {url: http://h, weight: 3, <<: [*a, *b]}
"""
    made = pool(text)
    assert (made.providers[0].model_name, made.providers[0].weight, made.max_body) == ("a", 3, 1_000_000)


def test_only_mappings_can_be_merged() -> None:
    """A scalar behind `<<` is an error, not ignored."""
    assert "only mappings can be merged" in error("targets: {m: {url: http://a, <<: 5}}")


def test_an_alias_to_nothing_is_an_error_that_does_not_repeat_its_name() -> None:
    """`*sk-…` without quotes is how a secret ends up as an alias."""
    message = error("targets: {m: {url: http://a, onwards_key: *sk-canary}}")
    assert message.startswith("f.yaml:1:43: an alias")
    assert "canary" not in message


def test_a_node_cannot_contain_itself() -> None:
    """A recursive alias would never end."""
    assert "not defined before it" in error("targets: &t {m: *t}")


def test_an_alias_bomb_is_refused() -> None:
    """Nine levels of ten references each are a billion values in a short file."""
    lines = ["x-0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "values through aliases, counting each use" in error("\n".join([*lines, "targets: {}"]))


def test_a_chain_of_aliases_counts_as_depth() -> None:
    """Each link is shallow as written and deep as meant."""
    lines = ["x-0: &a0 [x]"] + [f"x-{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    assert "nested more than" in error("\n".join([*lines, "targets: {}"]))


def test_deep_nesting_is_an_error() -> None:
    """Ten thousand brackets must not exhaust the stack."""
    assert "nested more than" in error("targets: " + "[" * 10_000)


def test_json_may_be_indented_and_separated_by_tabs() -> None:
    """YAML forbids tabs between tokens, JSON does not."""
    assert provider('{\n\t"targets":\t{\n\t\t"m":\t{"url"\t:\t"http://h"}\n\t}\n}').host == b"h"


def test_json_escapes_are_understood() -> None:
    r"""`\/`, `\u00e9`, and characters beyond the BMP as two escapes (RFC 8259 section 7)."""
    text = r'{"targets": {"m": {"url": "http:\/\/h", "onwards_model": "\u00e9\ud83d\ude00"}}}'
    assert provider(text).model_name == "é😀"


def test_half_a_surrogate_pair_is_an_error() -> None:
    """It could not be encoded when it is sent."""
    assert "surrogate" in error(r'{"targets": {"m": {"url": "http://h", "onwards_model": "\ud83d"}}}')


def test_a_byte_order_mark_is_skipped() -> None:
    """Windows editors write one."""
    assert provider("\ufefftargets: {m: {url: http://h}}").host == b"h"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml: the file is empty"),
        ("# nothing\n", "f.yaml: the file is empty"),
        ("targets: {}\n---\ntargets: {}\n", "f.yaml:2:1: a second document begins; one file holds one configuration"),
        ("- targets\n", "f.yaml:1:1: expected a mapping, found a list"),
        ("targets: {}\n[a]: b\n", "f.yaml:2:1: a key must be text"),
        ("targets: {m: {url: !!str http://h}}", "f.yaml:1:20: targets.m.url: tags"),
        ("targets: {m: {url: 'http://h}}", "f.yaml:1:31: not valid YAML: found unexpected end of stream"),
        ("targets: {}\nserver: \x07\n", "f.yaml:2:9: a control character is not allowed here"),
        ("targets:\n\tm: {url: http://h}", "f.yaml:2:1: not valid YAML: a tab is not allowed here; indent with spaces"),
        ('targets: {m: {url: "\\U99999999"}}', "f.yaml:1:23: not valid YAML"),
        ("? [a]\n: b\ntargets: {}", "f.yaml:1:3: a key must be text"),
    ],
)
def test_text_that_is_no_configuration_says_where(text: str, message: str) -> None:
    """Each with the line and column of what is wrong."""
    assert errors(text)[0].startswith(message)
