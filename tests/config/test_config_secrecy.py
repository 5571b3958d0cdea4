"""A secret that stands where a name belongs is not repeated: not by check, serve, route, a reload or /status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from config_helpers import errors, loaded
from support.gateway import running
from support.program import serving, until
from support.raw import ask, get

from onwards_py.cli import main
from onwards_py.config.secret_shapes import has_secret_shape, looks_secret

SECRETS = [
    "sk-proj-Tq3" + "x9" * 20,
    "sk-ant-api03-AbC_d-eF",
    "sk-or-v1-" + "0f" * 32,
    "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "gsk_" + "aB3d" * 13,
    "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "user:hunter2hunter@example.com",
    "hf_" + "kQwErTyUiOpAsDfGhJkL",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy",
    "Bearer hunter2",
    "bearer: hunter2",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
    "d41d8cd98f00b204e9800998ecf8427e",
    "0b5f6c9e-6b0c-4e52-9a6b-3b1f0d2a9c77",
    "https://user:hunter2@example.com/v1",
    "kR7vQ2mX9pL4tZ8w",
    "correct horse battery staple and then some more words",
    "x" * 41,
    "y z" * 60,
    "-----BEGIN PRIVATE KEY-----",
]

# Where a name can be wrong; @ is the secret, quoted for YAML.
PLACES = {
    "top": "@: 1\ntargets: {}",
    "of a target": "targets: {m: {url: 'http://h', @: 1}}",
    "of a section": "targets: {m: {url: 'http://h', timeouts: {@: 1s}}}",
    "above a key that is given twice": "targets: {m: {url: 'http://h', @: {a: {b: 1, b: 2}}}}",
    "above a tag": "@: {a: {@: !x y}}",
    "twice": "targets: {m: {url: 'http://h', @: 1, @: 2}}",
    "header": "targets: {m: {url: 'http://h', response_headers: {@: [1], '': x}}}",
    "list of keys": "auth: {global_keys: {@: 1}}\ntargets: {}",
    "allowed target": "auth: {key_definitions: {a: {key: k, allowed_targets: [@]}}}\ntargets: {}",
    "redirect": "targets: {m: {url: 'http://h', routing_rules: [{match_labels: {a: b}, action: {type: redirect, "
    "target: @}}]}}",
    "route_by": "targets: {m: {route_by: {classifier: @, default: @, labels: {a: @}}}}",
    "strategy": "targets: {m: {url: 'http://h', strategy: @}}",
    "variable": "targets: {m: {url: 'http://h', onwards_key: @}}",
}


def planted(place: str, secret: str) -> str:
    """YAML text with the secret in it."""
    return PLACES[place].replace("@", json.dumps("${" + secret + "}" if place == "variable" else secret))


@pytest.mark.parametrize("place", PLACES)
def test_no_message_repeats_a_secret_that_stands_for_a_name(place: str) -> None:
    """In any position where errors contain names, and for a secret of any form."""
    for secret in SECRETS:
        messages = "\n".join(errors(planted(place, secret)))
        assert messages, secret
        assert secret not in messages
        assert secret[:12] not in messages


# Where an operator is free to choose.
FREE_PLACES = {
    "target": "targets: {@: {url: 'ftp://h'}}",
    "id of a key": "auth: {key_definitions: {@: {limits: 1}}}\ntargets: {m: {url: 'http://h'}}",
    "file": "targets: {m: {url: 'http://h', onwards_key: @}}",
}


@pytest.mark.parametrize("place", FREE_PLACES)
def test_names_that_an_operator_may_choose_are_hidden_by_their_looks(place: str) -> None:
    """They may be long, and errors contain them where they look like names; a secret does not."""
    for secret in filter(has_secret_shape, SECRETS):
        written = "${file:/run/" + secret + "}" if place == "file" else secret
        messages = "\n".join(errors(FREE_PLACES[place].replace("@", json.dumps(written))))
        assert "(hidden)" in messages, secret
        assert secret[:12] not in messages


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-2024-11-20",
        "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        "accounts/fireworks/models/llama-v3p1-405b-instruct",
        "text-embedding-3-small",
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "Qwen/Qwen2.5-VL-72B-Instruct-AWQ",
        "deepseek-r1-distill-qwen-32b",
        "upstream_auth_header_prefix",
        "team-a",
        "frontend-production-eu-west-1",
        "pplx-70b-online",
        "max_concurrent_requests",
        "OpenResponsesCompliance",
        "basic",
        "internationalization",
        "skills-router",
    ],
)
def test_names_are_told(name: str) -> None:
    """What people call models and teams is no secret."""
    assert not looks_secret(name)


PREFIXES = (
    "sk pk rk gsk csk sess glpat nvapi github_pat gho ghp ghu ghs ghr xoxa xoxb xoxe xoxo xoxp xoxr xoxs xapp dapi"
)
LONG_PREFIXES = "xai hf pplx fw tgp r8 key lsv2 tvly"


def test_each_prefix_of_a_token_is_known() -> None:
    """With a rest that would be a word without it, behind a hyphen and an underscore, and not within a word."""
    for prefix in PREFIXES.split():
        for separator in "-_":
            assert has_secret_shape(f"{prefix}{separator}abc"), prefix
            assert not has_secret_shape(f"x{prefix}{separator}abc"), prefix
    for prefix in LONG_PREFIXES.split():
        assert has_secret_shape(f"{prefix}-{'a' * 16}"), prefix
        assert has_secret_shape(f"{prefix}_v1_{'a' * 16}"), prefix
        assert not has_secret_shape(f"{prefix}-{'a' * 15}"), prefix
    for token in (
        "AIza" + "a" * 8,
        "AKIA" + "A" * 8,
        "ASIA" + "A" * 8,
        "ya29.",
        "eyJ" + "a" * 8,
        "Basic x",
        "BEARER=x",
    ):
        assert has_secret_shape(token), token


def test_bounds_of_what_looks_like_a_name() -> None:
    """24 letters are a word, 25 are not; 80 characters are a name, 81 are not."""
    assert not has_secret_shape("a" * 24)
    assert has_secret_shape("a" * 25)
    assert not looks_secret("ab c" * 20)
    assert looks_secret("ab c" * 20 + "x")


def test_a_known_key_is_still_suggested() -> None:
    """The messages that matter most are as they were."""
    assert "unknown key 'ulr'; did you mean 'url'?" in "\n".join(errors("targets: {m: {ulr: 'http://h'}}"))


def test_chosen_names_that_look_like_secrets_are_warned_of() -> None:
    """Logs and metrics would repeat them for ever."""
    secret = SECRETS[0]
    keys = f"auth: {{key_definitions: {{{secret}: {{key: k}}}}}}"
    made = loaded(f"{keys}\ntargets: {{{secret}: {{url: 'http://h', query: {{{secret}: 1}}}}}}")
    warnings = "\n".join(map(str, made.warnings))
    assert warnings.count("looks like a secret") == 3
    assert secret not in warnings


async def test_no_command_no_reload_and_no_status_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """check and route in this process, serve and a reload in one of their own."""
    secret = SECRETS[0]
    bad = planted("of a target", secret)
    file = tmp_path / "bad.yaml"
    file.write_text(bad)
    for arguments in (["check", str(file)], ["route", "m", "-f", str(file)], ["models", "-f", str(file)]):
        assert main(arguments, {}) == 2
    captured = capsys.readouterr()
    assert "unknown key (hidden" in captured.err
    assert secret not in captured.err + captured.out
    good = tmp_path / "targets.yaml"
    good.write_text("targets: {m: {local: {engine: echo}}}")
    with serving(good, tmp_path) as program:
        good.write_text(bad)
        await until(lambda: "configuration refused" in program.stderr)
        status = (await ask(program.admin_port, get(b"/status", host=b"127.0.0.1"))).body.decode()
        assert "unknown key (hidden" in status
        assert secret not in status + program.stderr


async def test_the_admin_port_shows_no_configured_key() -> None:
    """What is in force is shown by its names, never by its values."""
    snapshot = loaded("targets: {m: {url: 'http://h', onwards_key: sk-canary-1, keys: [sk-canary-2]}}").snapshot
    async with running(snapshot, lane=True) as gateway:
        for path in (b"/status", b"/metrics", b"/readyz"):
            assert b"canary" not in (await ask(gateway.admin_port, get(path))).body
