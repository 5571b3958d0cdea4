"""Errors: all of a file at once, each with its place, a hint where there is one, and never a value."""

from __future__ import annotations

import json
import re

import pytest
from config_helpers import ALL_SHAPES, AnyVariable, error, errors, loaded
from hypothesis import example, given
from hypothesis import strategies as st
from support.examples import examples

from onwards_py.config.diagnostics import ConfigError, Problem
from onwards_py.config.parse import LoadedConfig, parse

MANY = """\
target: {}
targets:
  a: {url: "https://h/?x=1", wieght: 3}
  b:
    url: ftp://x
    fallback: {enabled: perhaps, on_status: [700, 5], max_attempts: 0}
  c:
    providers:
      - {url: "http://h", weight: heavy}
      - {local: {engine: ehco}}
      - {}
  d: {url: http://h, onwards_key: "${NOPE}", strategy: prioritty, timeouts: [1]}
  d: {}
  e: {url: http://h, local: {engine: echo}}
  f: 5
auth:
  key_definitions: {k: {rate_limit: {requests_per_second: 0}}}
"""


def test_all_errors_of_a_file_are_reported_at_once_in_the_order_of_the_file() -> None:
    """Syntax aside, nothing hides anything: unknown keys, wrong types, bad values, contradictions."""
    assert errors(MANY) == [
        "f.yaml:1:1: unknown key 'target'; did you mean 'targets'?",
        "f.yaml:3:12: targets.a.url: must not have a query; give its parameters as 'query', {name: value}",
        "f.yaml:3:30: targets.a: unknown key 'wieght'; did you mean 'weight'?",
        "f.yaml:5:10: targets.b.url: must begin with http:// or https://",
        "f.yaml:6:25: targets.b.fallback.enabled: expected true or false",
        "f.yaml:6:46: targets.b.fallback.on_status[0]: "
        "expected a status such as 503, or a pattern: 5 or 5xx, 50 or 50x",
        "f.yaml:6:69: targets.b.fallback.max_attempts: must be at least 1",
        "f.yaml:9:35: targets.c.providers[0].weight: expected a whole number",
        "f.yaml:10:26: targets.c.providers[1].local.engine: "
        "expected one of classifier, echo, embedding, llama_cpp; did you mean 'echo'?",
        "f.yaml:11:9: targets.c.providers[2]: needs 'url', 'base_url' or 'local'",
        "f.yaml:12:35: targets.d.onwards_key: the environment variable NOPE is not set",
        "f.yaml:12:56: targets.d.strategy: "
        "expected one of weighted_random, priority, least_inflight, p2c; did you mean 'priority'?",
        "f.yaml:12:77: targets.d.timeouts: expected a mapping, found a list",
        "f.yaml:13:3: targets.d: this key was already given at line 12, column 3",
        "f.yaml:14:22: targets.e.local: give either 'url' or 'local', not both",
        "f.yaml:15:6: targets.f: expected a mapping or a list, found text",
        "f.yaml:17:21: auth.key_definitions.k: needs 'key' or 'key_sha256'",
        "f.yaml:17:59: auth.key_definitions.k.rate_limit.requests_per_second: must be more than 0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("auth: {}", "f.yaml:1:1: 'targets' is missing"),
        ("targets:", "f.yaml:1:1: targets: expected a mapping, found nothing"),
        ("targets: {m: }", "f.yaml:1:11: targets.m: expected a mapping or a list, found nothing"),
        ("targets: {m: {url: null}}", "f.yaml:1:11: targets.m: needs 'url', 'base_url' or 'local'"),
        ("targets: {m: {providers: null}}", "f.yaml:1:11: targets.m: needs 'url', 'base_url' or 'local'"),
        ("targets: {'': {url: http://h}}", "f.yaml:1:11: targets.'': a target must have a name"),
        ("targets: {m: {providers: [5]}}", "f.yaml:1:27: targets.m.providers[0]: expected a mapping, found text"),
        ("targets: {m: {url: http://h, keys: [null]}}", "f.yaml:1:37: targets.m.keys[0]: expected text, found nothing"),
        (
            "targets: {m: {url: http://h, concurrency_limit: 5}}",
            "f.yaml:1:49: targets.m.concurrency_limit: "
            "expected a mapping with the key 'max_concurrent_requests', found text",
        ),
        (
            "targets: {m: {url: http://h}}\nserver: {port: 80}",
            "f.yaml:2:10: server: unknown key 'port'; the port is an option of serve: --port or ONWARDS_PORT",
        ),
        ("targets: {m: {url: http://h, keys: k}}", "f.yaml:1:36: targets.m.keys: expected a list, found text"),
        (
            "targets: {m: {url: http://h, weight: 2, providers: [{url: http://h}]}}",
            "f.yaml:1:15: targets.m.url: is not allowed beside 'providers'",
        ),
        (
            "targets: {m: {url: http://h, open_responses: {mode: native}, open_responses_mode: disabled}}",
            "f.yaml:1:30: targets.m.open_responses: contradicts open_responses_mode",
        ),
        (
            "targets: {m: {url: http://h, open_responses: {mode: native, adapter: true}}}",
            "f.yaml:1:30: targets.m.open_responses: 'adapter' and 'mode' contradict each other",
        ),
        (
            "targets: {m: {url: http://h, preset: vllm, dialect: openai}}",
            "f.yaml:1:44: targets.m.dialect: contradicts preset",
        ),
        (
            "targets: {m: {url: http://h, timeouts: {first_byte: 1s}, request_timeout_secs: 2}}",
            "f.yaml:1:58: targets.m.request_timeout_secs: means the same as timeouts.first_byte",
        ),
        (
            "targets: {m: {url: http://h, fallback: {on_error: [a, 'b c']}}}",
            "f.yaml:1:55: targets.m.fallback.on_error[1]: is not the code of an error",
        ),
        (
            "targets: {m: {url: http://h, reasoning_translation: 5}}",
            "targets.m.reasoning_translation: expected a mapping",
        ),
    ],
)
def test_an_error_names_its_place(text: str, message: str) -> None:
    assert message in errors(text)[0]


def test_an_unreadable_item_does_not_shift_the_others() -> None:
    """What comes behind it in a list is not reported under another index."""
    text = "targets: {m: {providers: [5, {url: http://h, local: {engine: echo}}]}}"
    assert errors(text) == ["f.yaml:1:27: targets.m.providers[0]: expected a mapping, found text"]


def test_a_key_is_printed_short_and_without_control_characters() -> None:
    """A terminal must not be steered by a file."""
    message = error('targets: {}\n"\\e[31m' + "x" * 500 + '": 1')
    assert "\x1b" not in message
    assert len(message) < 200


CANARY = "sk-canary-5ecret"
SECRET_PLACES = [
    "onwards_key: {}",
    "keys: [{}]",
    "url: 'http://u:{}@h'",
    "url: 'http://h?key={}'",
    "url: {}",
    "proxy: 'http://u:{}@p/x'",
    "proxy: {}",
    "onwards_key: [{}]",
    "onwards_key: {{a: {}}}",
    "onwards_key: *{}",
    "onwards_key: !{} x",
    "onwards_key: !{}!x y",
    "onwards_key: '{}",
    "onwards_key: \"\\q{}\"",
    "onwards_key: '${{{}}}'",
    "onwards_key: '${{X-{}'",
    "onwards_key: \"{}\\n\"",
    "keys: {}",
    "keys: [\"{}\\n\"]",
    "upstream_auth_header_prefix: \"{}\\n\"",
    "response_headers: {{X-A: \"{}\\n\"}}",
    "strategy: {}",
    "weight: {}",
    "trusted: {}",
    "max_body: {}",
    "timeouts: {{idle: {}}}",
    "timeouts: {}",
    "fallback: {{on_status: [{}]}}",
    "onwards_model: {}, onwards_key: k}}, {}",
]  # fmt: skip


@pytest.mark.parametrize("place", SECRET_PLACES)
def test_no_message_repeats_a_value(place: str) -> None:
    """Whatever is wrong with a secret or its surroundings, the secret is not in the log."""
    text = "targets: {m: {url2: http://h, " + place.replace("{}", CANARY).replace("{{", "{").replace("}}", "}") + "}}"
    found = errors(text)
    assert found
    assert CANARY not in "\n".join(found)


def test_no_repr_of_a_snapshot_shows_a_secret() -> None:
    """Snapshots end up in tracebacks and debug logs."""
    text = f"""
auth: {{global_keys: ["{CANARY}-1"], key_definitions: {{id: {{key: "{CANARY}-2"}}}}}}
targets:
  m:
    url: https://h
    onwards_key: {CANARY}
    upstream_auth_header_prefix: "{CANARY}-p "
    keys: ["{CANARY}-3"]
    proxy: http://u:{CANARY}@p
  n: {{providers: [{{url: http://h, onwards_key: "${{K}}"}}]}}
"""
    made = loaded(text, {"K": CANARY})
    assert CANARY not in repr(made)
    assert made.snapshot.pools["n"].providers[0].credential == (b"Authorization", b"Bearer " + CANARY.encode())


_WORDS = re.findall(
    r"[^ ]+",
    "targets: defaults: auth: m: url: http://h providers: keys: onwards_key: ${A} ${file:/etc/hostname} 'x \" "
    "{ } [ ] , - ? : & * &a *a <<: *a !!x | > # % @ ` \t \n - null true 5 -1 1e5 10s 64MiB timeouts: {idle: "
    "fallback: on_status: --- ... \\u \x00 é 😀 \ud800 server: x-a: local: {engine: echo} weight: 0 %YAML 1.1",
)
_PIECES = st.lists(st.sampled_from([*_WORDS, "\n  ", "\n    ", "\n  - "]), max_size=40)
_TEXTS = st.one_of(st.text(max_size=200), _PIECES.map(" ".join), _PIECES.map("".join))


def _outcome(text: str) -> LoadedConfig | tuple[Problem, ...]:
    try:
        return parse(text, "f.yaml", AnyVariable())
    except ConfigError as failure:
        return failure.problems


@examples(400)
@example("%YAML 1." + "1" * 5000)
@example("&a" * 3000)
@example("{" * 3000)
@example("? " * 3000)
@example("- " * 3000)
@example("\ufeff")
@example("targets: {m: {url: http://h, weight: " + "9" * 5000 + "}}")
@example('"\\x')
@example('targets: {m: {url: https://h, tls: {ca_file: "a\\0b"}}}')
@example('targets: {m: {url: http://h, onwards_key: "${file:a\\0b}"}}')
@given(_TEXTS)
def test_any_text_loads_or_is_a_configuration_error(text: str) -> None:
    """Total: nothing else ever comes out, whatever the file holds."""
    assert _outcome(text)


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8),
    st.sampled_from(["http://h", "10s", "5xx", "echo", "native", "${A}", "direct", "full", "deny"]),
)  # fmt: skip
_NAMES = st.sampled_from(
    sorted({name for shape in ALL_SHAPES for name in shape.__struct_fields__} | {"unknown", "<<", "", "x-a"})
)


@examples(300)
@given(
    st.recursive(
        _SCALARS,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=5)),
        max_leaves=25,
    )
)
def test_any_value_in_place_of_a_target_loads_or_is_a_configuration_error(target: object) -> None:
    """The same below the outline, where every type meets every other."""
    assert _outcome(json.dumps({"targets": {"m": target}, "defaults": target}))
