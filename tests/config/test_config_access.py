"""Who may use what, as the file says it: keys, their names, the targets they are allowed, and rules on their labels."""

from __future__ import annotations

import pytest
from config_helpers import digest, error, errors, loaded, pool, warnings

from onwards_py.model.policies import RoutingRule
from onwards_py.model.pool import Pool


def keys_of(definitions: str, target: str = "", extra: str = "") -> Pool:
    """Target ``m``, in a file with these key definitions."""
    return pool(f"auth: {{key_definitions: {{{definitions}}}{extra}}}\ntargets: {{m: {{url: http://h{target}}}}}")


def error_of(definitions: str, target: str = "", extra: str = "") -> str:
    return error(f"auth: {{key_definitions: {{{definitions}}}{extra}}}\ntargets: {{m: {{url: http://h{target}}}}}")


@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_a_definition_may_hold_the_digest_instead_of_the_key(spelled) -> None:  # type: ignore[no-untyped-def]
    """What ``sha256sum`` prints, in either case; the key itself is then in no file."""
    snapshot = loaded(
        f"auth: {{key_definitions: {{ci: {{key_sha256: {spelled(digest('sk-ci').hex())}}}}}}}\n"
        "targets: {m: {url: http://h, keys: [ci]}}"
    ).snapshot
    assert snapshot.pools["m"].keys == {digest("sk-ci")}
    assert snapshot.key_definitions[digest("sk-ci")].id == "ci"


@pytest.mark.parametrize("value", ["abc", "g" * 64, "a" * 63, "a" * 65, "'" + "a" * 63 + " '"])
def test_what_is_no_digest_is_an_error_that_does_not_show_it(value: str) -> None:
    """It may be the key itself, put into the wrong place."""
    message = error_of(f"ci: {{key_sha256: {value}}}")
    assert message == (
        "f.yaml:1:43: auth.key_definitions.ci.key_sha256: expected a SHA-256 digest: 64 hexadecimal digits"
    )


def test_a_definition_has_a_key_or_a_digest_and_not_both() -> None:
    """Either alone says all; both could contradict each other."""
    assert error_of("a: {labels: {x: y}}") == "f.yaml:1:26: auth.key_definitions.a: needs 'key' or 'key_sha256'"
    both = error_of(f"a: {{key: k, key_sha256: {'a' * 64}}}")
    assert both == "f.yaml:1:38: auth.key_definitions.a.key_sha256: is not allowed beside 'key'; remove one of them"


def test_an_unreadable_key_is_not_a_missing_one() -> None:
    """One mistake, one error."""
    assert "no client could present this key" in error_of('a: {key: "a b\\n"}')


def test_a_digest_and_a_key_of_the_same_token_are_two_definitions_of_one_key() -> None:
    """Their limits and labels would contradict each other."""
    message = error_of(f"a: {{key: k}}, b: {{key_sha256: {digest('k').hex()}}}")
    assert message.endswith("auth.key_definitions.b.key_sha256: is the same key as that of 'a'")


def test_a_key_that_is_the_id_of_another_definition_is_an_error_although_no_list_uses_it() -> None:
    """The message shows neither, since one of them is a secret."""
    text = "auth: {key_definitions: {team: {key: s3cret-word}, s3cret-word: {key: k}}}\ntargets: {}"
    assert error(text) == (
        "f.yaml:1:33: auth.key_definitions.team.key: "
        "is also the id of another key definition, so a list of keys could mean either; rename that id"
    )
    hidden = f"team: {{key_sha256: {digest('other').hex()}}}, other: {{key: k}}"
    assert "is also the id of another" in error_of(hidden)


def test_the_digest_of_a_key_in_a_list_is_an_error() -> None:
    """It would be a key of its own, which everybody who can read the file could present."""
    message = error_of(f"ci: {{key_sha256: {digest('k').hex()}}}", f", keys: [{digest('k').hex()}]")
    assert message.endswith(
        "targets.m.keys[0]: is the digest of a key, and would itself be accepted as a key; give the id instead"
    )


@pytest.mark.parametrize("word", ["team_a", "taem-a", "Team-a", "team-b"])
def test_a_word_that_resembles_an_id_causes_a_warning(word: str) -> None:
    """A misspelt or removed id in a list of keys is accepted as a key, which could be guessed."""
    text = "auth: {key_definitions: {team-a: {key: sk-1}}}\ntargets: {m: {url: http://h, keys: [%s]}}"
    (warning,) = warnings(text % word)
    assert warning.endswith(
        "targets.m.keys[0]: is not the id of a key definition, so it is accepted as a key itself; "
        "did you mean 'team-a'?"
    )
    assert warnings(text % "team-a") == warnings(text % "sk-1") == warnings(text % "sk-team-other") == []


def test_an_allowed_target_lets_the_key_in_and_is_closed_to_others() -> None:
    """As if its ``keys`` named the definition."""
    made = keys_of("a: {key: ka, allowed_targets: [m]}, b: {key: kb}")
    assert made.keys == {digest("ka")}


def test_an_allowed_target_keeps_its_own_keys_and_the_global_ones() -> None:
    """Nobody is shut out by the permission of another."""
    made = keys_of("a: {key: ka, allowed_targets: [m]}", ", keys: [own]", ", global_keys: [g]")
    assert made.keys == {digest("ka"), digest("own"), digest("g")}
    assert keys_of("a: {key: ka, allowed_targets: [m]}", "", ", global_keys: [g]").keys == {digest("ka"), digest("g")}


def test_a_definition_knows_the_targets_that_it_is_allowed() -> None:
    """None of them, some, or any."""
    text = """
auth: {key_definitions: {a: {key: ka, allowed_targets: [m, n]}, b: {key: kb}, c: {key: kc, allowed_targets: []}}}
targets: {m: {url: http://h}, n: {url: http://h}, o: {url: http://h}}
"""
    definitions = loaded(text).snapshot.key_definitions
    assert definitions[digest("ka")].targets == {"m", "n"}
    assert definitions[digest("kb")].targets is None
    assert definitions[digest("kc")].targets == frozenset()
    assert loaded(text).snapshot.pools["o"].keys is None


def test_an_unknown_allowed_target_is_an_error() -> None:
    """With a hint; a target that is there but has errors of its own is not unknown."""
    assert error_of("a: {key: k, allowed_targets: [n]}") == (
        "f.yaml:1:56: auth.key_definitions.a.allowed_targets[0]: there is no target 'n'"
    )
    hint = "auth: {key_definitions: {a: {key: k, allowed_targets: [lama]}}}\ntargets: {llama: {url: http://h}}"
    assert error(hint).endswith("there is no target 'lama'; did you mean 'llama'?")
    broken = "auth: {key_definitions: {a: {key: k, allowed_targets: [m]}}}\ntargets: {m: {url: http://h, weight: x}}"
    assert len(errors(broken)) == 1


def test_permissions_that_come_to_nothing_are_said() -> None:
    """A list that names a key beyond what it is allowed, and a key that may use nothing."""
    text = """
auth:
  global_keys: [a]
  key_definitions: {a: {key: ka, allowed_targets: [m]}, c: {key: kc, allowed_targets: []}}
targets: {m: {url: http://h, keys: [a]}, n: {url: http://h, keys: [ka]}}
"""
    assert warnings(text) == [
        "f.yaml:3:17: auth.global_keys[0]: does not extend the allowed_targets of 'a'",
        "f.yaml:4:70: auth.key_definitions.c.allowed_targets: is empty: this key may not use any target",
        "f.yaml:5:68: targets.n.keys[0]: does not extend the allowed_targets of 'a'",
    ]


RULED = """
auth: {{key_definitions: {{a: {{key: ka, labels: {{tier: free}}}}}}}}
targets:
  m: {{url: http://h, routing_rules: [{rules}]}}
  small: {{url: http://h}}
"""
FREE = "match_labels: {tier: free}"


def ruled(rules: str) -> str:
    return RULED.format(rules=rules)


def test_rules_are_read_in_their_order() -> None:
    """Deny, and redirect to a target."""
    text = ruled(
        f"{{{FREE}, action: {{type: redirect, target: small}}}}, {{match_labels: {{}}, action: {{type: deny}}}}"
    )
    assert pool(text).rules == (RoutingRule({"tier": "free"}, "small"), RoutingRule({}))
    assert warnings(text) == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (f"{{{FREE}, action: {{type: deny, target: small}}}}", "action.target: has no meaning for 'deny'"),
        (f"{{{FREE}, action: {{type: redirect}}}}", "action: 'redirect' needs a 'target'"),
        (f"{{{FREE}, action: {{type: redirect, target: smal}}}}", "there is no target 'smal'; did you mean 'small'?"),
        (f"{{{FREE}, action: {{type: redirect, target: m}}}}", "action.target: is the target that the rule belongs to"),
        (f"{{{FREE}, action: {{type: allow}}}}", "action.type: expected one of deny, redirect"),
        ("{action: {type: deny}}", "'match_labels' is missing"),
        (f"{{{FREE}}}", "'action' is missing"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_an_error(rule: str, message: str) -> None:
    """In Onwards a missing target is found by the first caller, as a 502."""
    line = error(ruled(rule))
    assert line.startswith("f.yaml:4:")
    assert "targets.m.routing_rules[0]" in line
    assert message in line


@pytest.mark.parametrize(
    ("rules", "warning"),
    [
        (
            "{match_labels: {tier: fre}, action: {type: deny}}",
            "routing_rules[0].match_labels: never matches: no key definition has these labels",
        ),
        (
            f"{{match_labels: {{}}, action: {{type: deny}}}}, {{{FREE}, action: {{type: deny}}}}",
            "routing_rules[1]: is never reached: the rule before it matches every key",
        ),
    ],
)
def test_a_rule_that_never_counts_is_said(rules: str, warning: str) -> None:
    """A misspelt label would let everybody pass."""
    (line,) = warnings(ruled(rules))
    assert line.startswith("f.yaml:4:")
    assert line.endswith(warning)


def test_rules_of_defaults_are_inherited_and_judged_once() -> None:
    """Also by the target that they lead to, where they mean itself."""
    text = """
auth: {key_definitions: {a: {key: ka, labels: {tier: free}}}}
defaults: {routing_rules: [{match_labels: {tier: free}, action: {type: redirect, target: %s}}]}
targets: {m: {url: http://h}, small: {url: http://h}, old: [{url: http://h}], own: {url: http://h, routing_rules: []}}
"""
    pools = loaded(text % "small").snapshot.pools
    rule = RoutingRule({"tier": "free"}, "small")
    assert {name: made.rules for name, made in pools.items()} == {
        "m": (rule,),
        "small": (rule,),
        "old": (rule,),
        "own": (),
    }
    assert error(text % "none").startswith("f.yaml:3:82: defaults.routing_rules[0].action.target: there is no target")


def test_a_redirect_that_refuses_everybody_is_said() -> None:
    """Onwards does not look at the keys of where a redirect leads: files that rely on it must not fail silently."""
    text = """
auth: {key_definitions: {a: {key: ka, labels: {tier: free}}, b: {key: kb, labels: {tier: %s}}}}
targets:
  m: {url: http://h, routing_rules: [{match_labels: {tier: free}, action: {type: redirect, target: small}}]}
  small: {url: http://h, keys: [b]}
"""
    (line,) = warnings(text % "paid")
    assert line == (
        "f.yaml:4:92: targets.m.routing_rules[0].action.target: "
        "this target accepts none of the keys that the rule matches"
    )
    assert warnings(text % "free") == []


def test_twenty_thousand_keys_load() -> None:
    """Neither the number of values in a file nor its size stands in the way."""
    count = 20_000
    lines = [f"    u{number}: {{key: sk-{number:08}, labels: {{tier: free}}}}" for number in range(count)]
    text = "auth:\n  key_definitions:\n" + "\n".join(lines) + "\ntargets: {m: {url: http://h, keys: [u5]}}\n"
    snapshot = loaded(text).snapshot
    assert len(snapshot.key_definitions) == count
    assert snapshot.pools["m"].keys == {digest("sk-00000005")}
