"""Values: durations, sizes, statuses, URLs, numbers, references, and what is inherited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from config_helpers import error, errors, loaded, pool, provider, warnings

from onwards_py.config.diagnostics import ConfigError
from onwards_py.config.parse import load, parse
from onwards_py.model.apis import ALL_NATIVE, ApiTable
from onwards_py.model.policies import FallbackPolicy
from onwards_py.model.pool import Pool
from onwards_py.model.provider import EchoSettings, Timeouts
from onwards_py.model.snapshot import ServerSettings
from onwards_py.transcode.chat.presets import PRESETS
from onwards_py.transcode.neutral.policy import OnUnsupported


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("1.5", 1.5),
        ("7", 7.0),
        ("'7'", 7.0),
        ("0.25s", 0.25),
    ],
)
def test_durations_have_units_and_plain_numbers_are_seconds(written: str, seconds: float) -> None:
    assert provider(f"targets: {{m: {{url: http://h, timeouts: {{idle: {written}}}}}}}").timeouts.idle == seconds


@pytest.mark.parametrize(
    "written", ["0", "0s", "-1", "1 week", "s", "1e3", ".inf", "1m30s", "999d", "''", "[]", "true"]
)
def test_what_is_no_timeout_is_an_error(written: str) -> None:
    assert ".timeouts.idle: " in error(f"targets: {{m: {{url: http://h, timeouts: {{idle: {written}}}}}}}")


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("64MiB", 67108864),
        ("10MB", 10_000_000),
        ("512", 512),
        ("1kB", 1000),
        ("1.5KiB", 1536),
        ("2 GiB", 2**31),
        ("9B", 9),
    ],
)
def test_sizes_have_decimal_and_binary_units(written: str, size: int) -> None:
    assert pool(f"targets: {{m: {{url: http://h, max_body: {written}}}}}").max_body == size


@pytest.mark.parametrize("written", ["0", "-5", "64 parsecs", "1.2.3MB", "MiB", "0.1B"])
def test_what_is_no_size_is_an_error(written: str) -> None:
    assert "targets.m.max_body: " in error(f"targets: {{m: {{url: http://h, max_body: {written}}}}}")


@pytest.mark.parametrize(
    ("written", "statuses"),
    [
        ("429", {429}),
        ("5", set(range(500, 600))),
        ("5xx", set(range(500, 600))),
        ("'5XX'", set(range(500, 600))),
        ("50", set(range(500, 510))),
        ("50x", set(range(500, 510))),
        ("429, 502", {429, 502}),
    ],
)
def test_status_patterns(written: str, statuses: set[int]) -> None:
    """One digit is a class, two are tens, three are themselves; x may be written out."""
    text = f"targets: {{m: {{url: http://h, fallback: {{enabled: true, on_status: [{written}]}}}}}}"
    assert pool(text).fallback == FallbackPolicy(enabled=True, statuses=frozenset(statuses))


@pytest.mark.parametrize("written", ["0", "6", "99", "600", "1000", "5x", "x5", "-5", "5.5", "abc"])
def test_what_is_no_status_is_an_error(written: str) -> None:
    text = f"targets: {{m: {{url: http://h, fallback: {{enabled: true, on_status: [{written}]}}}}}}"
    assert "on_status[0]: expected a status" in error(text)


@pytest.mark.parametrize(
    ("url", "host", "port", "header", "path"),
    [
        ("https://api.openai.com", "api.openai.com", 443, b"api.openai.com", b""),
        ("HTTPS://API.OpenAI.com:443/v1/", "api.openai.com", 443, b"api.openai.com", b"/v1"),
        ("http://10.0.0.5:8000/v1", "10.0.0.5", 8000, b"10.0.0.5:8000", b"/v1"),
        ("http://[::1]:8000", "::1", 8000, b"[::1]:8000", b""),
        ("https://[2001:DB8::1]/a%20b/c%2Fd", "2001:db8::1", 443, b"[2001:db8::1]", b"/a%20b/c%2Fd"),
        ("https://h:80/", "h", 80, b"h:80", b""),
        ("http://my_service.ns", "my_service.ns", 80, b"my_service.ns", b""),
    ],
)
def test_urls_become_origin_host_field_and_base_path(
    url: str, host: str, port: int, header: bytes, path: bytes
) -> None:
    """The path stays percent-encoded as written; one trailing slash is dropped; a default port is not sent."""
    made = provider(f"targets: {{m: {{url: '{url}'}}}}")
    assert made.origin is not None
    assert (made.origin.host, made.origin.port, made.host, made.base_path) == (host, port, header, path)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h", "h", "//h", "http:h", "http://", "http:///p", "http://u:p@h", "http://h?x=1", "http://h#f", "http://h:0",
        "http://h:65536", "http://h:x", "http://h:", "http://h h", "http://[::g]", "http://[::1", "http://h/../x",
        "http://h/a/%2E%2e", "http://h/./x", "http://h//x", "http://h/x//", "http://h/a b", "http://h/ü", "http://ü",
        "http://h/%zz", "http://h\\x", "http://-h", " http://h", "http://h?", "http://h#",
    ],
)  # fmt: skip
def test_urls_that_are_not_clearly_one_place_are_errors(url: str) -> None:
    """User names, queries, fragments, dot segments and bad ports are refused, and the URL is not repeated."""
    message = error(f"targets: {{m: {{url: '{url}'}}}}")
    assert message.startswith("f.yaml:1:20: targets.m.url: ")


@pytest.mark.parametrize("written", ["yes", "true", "True", "on"])
def test_switches_understand_both_yaml_versions(written: str) -> None:
    assert provider(f"targets: {{m: {{url: http://h, trusted: {written}}}}}").trusted is True


@pytest.mark.parametrize(
    ("where", "written"),
    [
        ("trusted", "'true'"), ("trusted", "1"), ("trusted", "maybe"), ("weight", "'3'"), ("weight", "1.5"),
        ("weight", "010"), ("weight", "-1"), ("weight", "99999999999"),
        ("weight", "0x10"), ("weight", "many"), ("weight", "[1]"),
    ],
)  # fmt: skip
def test_numbers_and_switches_are_not_quoted_text_and_not_octal(where: str, written: str) -> None:
    """`010` is 8 to YAML 1.1 and 10 to everybody else, so it is refused."""
    assert f"targets.m.{where}: " in error(f"targets: {{m: {{url: http://h, {where}: {written}}}}}")


def test_a_reference_gives_text_numbers_and_switches() -> None:
    """`${VAR}` and `${VAR:-default}`, also inside other text; what is substituted may be a number."""
    text = """
targets:
  m: {url: "http://${HOST}:${PORT:-8080}", weight: "${WEIGHT}", trusted: "${T:-true}", onwards_model: "a${E}b${E:-x}"}
"""
    made = provider(text, {"HOST": "h", "WEIGHT": "3", "E": ""})
    assert (made.host, made.weight, made.trusted, made.model_name) == (b"h:8080", 3, True, "abx")


def test_a_substituted_value_cannot_become_structure() -> None:
    """Substitution happens after parsing."""
    assert provider("targets: {m: {url: http://h, onwards_model: $X}}", {}).model_name == "$X"
    made = provider("targets: {m: {url: http://h, onwards_model: '${X}'}}", {"X": "a, weight: 7}"})
    assert (made.model_name, made.weight) == ("a, weight: 7}", 1)


@pytest.mark.parametrize("literal", ["'$'", "'$5'", "$key", "a$KEY", "$KEY-1", "$${KEY}"])
def test_a_variable_without_braces_is_text_and_causes_a_warning(literal: str) -> None:
    """Shells and other proxies replace $NAME; here the provider would get these characters as its credential."""
    text = 'targets: {m: {url: http://h, onwards_key: "%s"}}'
    assert provider(text % "$KEY").credential == (b"Authorization", b"Bearer $KEY")
    assert warnings(text % "$KEY") == [
        "f.yaml:1:43: targets.m.onwards_key: is used as it is: a reference to a variable needs braces, ${NAME}"
    ]
    assert warnings(text % literal) == []


def test_a_doubled_dollar_is_a_literal_reference() -> None:
    assert provider("targets: {m: {url: http://h, onwards_model: '$${X}'}}").model_name == "${X}"


def test_a_file_gives_its_text_without_the_last_line_end(tmp_path: Path) -> None:
    """Editors end files with a line end; relative paths start from the configuration's folder."""
    (tmp_path / "key").write_bytes(b"sk-file\r\n")
    text = "targets: {m: {url: http://h, onwards_key: '${file:key}'}}"
    made = parse(text, str(tmp_path / "t.yaml"), {}).snapshot.pools["m"].providers[0]
    assert made.credential == (b"Authorization", b"Bearer sk-file")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${NOPE}", "the environment variable NOPE is not set"),
        ("${file:/no/such}", "there is no file '/no/such'"),
        ("${file:/dev/zero}", "there is no file '/dev/zero'"),
        ("${X", "'${' without a closing '}'"),
        ("${sk-canary}", "not a variable name"),
        ("${BAD}", "not UTF-8"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error_at_its_place(written: str, message: str) -> None:
    """With the variable or file by name, and the position of the value."""
    said = error(f"targets: {{m: {{url: http://h, onwards_key: '{written}'}}}}", {"BAD": "\udcff"})
    assert said.startswith("f.yaml:1:43: targets.m.onwards_key: ")
    assert message in said
    assert "canary" not in said


def test_references_in_ignored_keys_are_not_resolved() -> None:
    """An anchor that nobody uses needs no variable."""
    assert errors("x-a: {k: '${NOPE}'}\n$schema: s\ntargets: {}") == []


def test_defaults_give_way_to_the_target_and_the_target_to_its_provider() -> None:
    """timeouts are merged key by key; a second spelling counts at its own level."""
    text = """
defaults:
  timeouts: {connect: 1s, first_byte: 1s, idle: 1s, total: 1s}
  onwards_key: default
  open_responses_mode: disabled
  max_body: 1KiB
  keys: [k]
targets:
  m:
    timeouts: {first_byte: 2s, idle: 2s}
    max_body: 2KiB
    providers:
      - {url: http://a, timeouts: {idle: 3s}, onwards_key: own, rechunk: false, max_event: 1MB}
      - {url: http://b, request_timeout_secs: 4, open_responses: {mode: native}}
  n: [{url: http://c}]
  o: {url: http://d, keys: []}
"""
    snapshot = loaded(text).snapshot
    first, second = snapshot.pools["m"].providers
    assert first.timeouts == Timeouts(1.0, 2.0, 3.0, 1.0)
    assert second.timeouts == Timeouts(1.0, 4.0, 2.0, 1.0)
    assert (first.credential, second.credential) == (
        (b"Authorization", b"Bearer own"),
        (b"Authorization", b"Bearer default"),
    )
    assert (first.apis, second.apis) == (ApiTable(responses=None), ALL_NATIVE)
    assert (first.rechunk, first.max_event_bytes, second.rechunk) == (False, 1_000_000, True)
    assert [pool.max_body for pool in snapshot.pools.values()] == [2048, 1024, 1024]
    assert snapshot.max_body == 2048
    assert snapshot.pools["n"].providers[0].timeouts.connect == 1.0
    assert len(snapshot.pools["n"].keys or ()) == 1
    assert snapshot.pools["o"].keys == frozenset()


def test_limits_beside_providers_are_not_handed_down() -> None:
    """A pool of three with 10 requests per second allows 10, not 30 and not 10 each."""
    made = pool("targets: {m: {concurrency_limit: {max_concurrent_requests: 2}, providers: [{url: http://a}]}}")
    assert made.limits.concurrency == 2
    assert made.providers[0].limits.concurrency is None


def test_an_embedded_provider_needs_no_url() -> None:
    text = """
targets:
 m:
   local:
     {engine: echo, first_token_delay: 100ms, token_delay: 1, error_status: 503, error_rate: 0.5, cut_after: 3}
"""
    made = provider(text)
    assert (made.name, made.origin) == ("echo", None)
    assert made.local == EchoSettings(0.1, 1.0, 503, 0.5, 3)


def test_names_are_unique_in_a_pool_and_identities_tell_twins_apart() -> None:
    """Logs and counters must not mix two providers up."""
    text = "targets: {m: {providers: [{url: http://h}, {url: http://h}, {url: http://i, name: h#2}]}}"
    made = pool(text).providers
    assert [member.name for member in made] == ["h", "h#3", "h#2"]
    assert len({member.identity for member in made}) == 3


def test_an_identity_stays_as_long_as_place_credential_and_model_do() -> None:
    """Counters survive a reload that changes anything else."""
    base = "targets: {m: {url: http://h, onwards_key: k, onwards_model: a%s}}"
    same = {provider(base % extra).identity for extra in ("", ", weight: 5", ", timeouts: {idle: 1s}", ", name: x")}
    assert len(same) == 1
    others = [
        "targets: {m: {url: http://i, onwards_key: k, onwards_model: a}}",
        "targets: {m: {url: http://h, onwards_model: a}}",
    ]
    assert not same & {provider(text).identity for text in others}


def test_the_model_name_is_escaped_no_more_than_needed() -> None:
    """It is spliced into the client's bytes."""
    made = provider('targets: {m: {url: http://h, onwards_model: "a/é\\"b"}}')
    assert made.model_json == 'a/é\\"b'.join('""').encode()


def test_server_bounds_are_read() -> None:
    text = "server: {max_connections: 5, max_head_bytes: 1KiB, drain_timeout: 0, header_timeout: 500ms}\ntargets: {}"
    expected = ServerSettings(max_connections=5, max_head_bytes=1024, drain_timeout=0.0, header_timeout=0.5)
    assert loaded(text).snapshot.server == expected


def test_defaults_of_the_file_are_those_of_the_compiled_classes() -> None:
    """Said in one place only."""
    made = pool("targets: {m: {url: http://h}}")
    assert made == Pool("m", made.providers)
    assert made.providers[0].timeouts == Timeouts()
    assert loaded("targets: {}").snapshot.server == ServerSettings()


@pytest.mark.parametrize(
    ("env", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:8080"}, "https://h", "http://p:8080"),
        ({"https_proxy": "p"}, "https://h", "http://p:3128"),
        ({"HTTPS_PROXY": "http://u:p%40w@p:8080/"}, "https://h", "http://u:p%40w@p:8080"),
        ({"HTTPS_PROXY": "http://p:8080"}, "http://h", None),
        ({"HTTPS_PROXY": "http://p:8080", "NO_PROXY": "a, .h.example"}, "https://x.h.example", None),
        ({"HTTPS_PROXY": "http://p:8080", "NO_PROXY": "h.example"}, "https://h.example", None),
        ({"HTTPS_PROXY": "http://p:8080", "no_proxy": "*"}, "https://h", None),
        ({"HTTPS_PROXY": "http://p:8080", "no_proxy": "h:444"}, "https://h", "http://p:8080"),
        ({"HTTPS_PROXY": "http://p:8080", "no_proxy": "example"}, "https://myexample", "http://p:8080"),
    ],
)
def test_the_proxy_of_the_environment_concerns_https_and_knows_exceptions(
    env: dict[str, str], url: str, proxy: str | None
) -> None:
    made = provider(f"targets: {{m: {{url: '{url}'}}}}", env)
    assert made.origin is not None
    assert made.origin.proxy_url == proxy


def test_a_proxy_of_the_file_wins_and_direct_means_none() -> None:
    env = {"HTTPS_PROXY": "http://p:8080"}
    for written, expected in (("http://q:1", "http://q:1"), ("direct", None)):
        made = provider(f"targets: {{m: {{url: https://h, proxy: '{written}'}}}}", env)
        assert made.origin is not None
        assert made.origin.proxy_url == expected


def test_an_unusable_proxy_variable_is_an_error_not_a_direct_connection() -> None:
    """Going around a proxy that was asked for could be a leak."""
    message = error("targets: {m: {url: https://h}}", {"HTTPS_PROXY": "socks5://u:canary@p"})
    assert "HTTPS_PROXY is not usable" in message
    assert "canary" not in message


def test_a_trust_store_is_looked_at_when_the_file_is_loaded(tmp_path: Path) -> None:
    """A missing one would fail every request."""
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "not.pem").write_text("hello")
    config = tmp_path / "t.yaml"
    config.write_text("targets: {m: {url: https://h, tls: {ca_file: ca.pem}}}")
    origin = load(config, {}).snapshot.pools["m"].providers[0].origin
    assert origin is not None
    assert (origin.ca_file, origin.verify) == (str(tmp_path / "ca.pem"), True)
    for name, message in (("no.pem", "there is no file"), ("not.pem", "not in PEM form")):
        config.write_text(f"targets: {{m: {{url: https://h, tls: {{ca_file: {name}}}}}}}")
        with pytest.raises(ConfigError, match=message):
            load(config, {})


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    """Missing, a folder, or not UTF-8 (with the place of the first bad byte)."""
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"targets: {}\n# \xff\n")
    for path, message in (
        (tmp_path / "no.yaml", "cannot be read"),
        (tmp_path, "cannot be read"),
        (bad, ":2:3: is not UTF-8"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(path, {})


@pytest.mark.parametrize("key", ["preset", "dialect"])
def test_a_preset_gives_the_quirks_that_the_file_does_not_set(key: str) -> None:
    """Also under its earlier name; a provider's own preset is stronger than its target's."""
    quirks = "translate: {quirks: {drop: [seed], extra: {a: 1}, reasoning_in: [r], call_stand_in: {b: 2}}}"
    text = (
        f"targets: {{m: {{{key}: openai, providers: [{{url: http://a, {quirks}}}, {{url: http://b, {key}: vllm}}]}}}}"
    )
    first, second = pool(text).providers
    assert first.translate is not None
    assert second.translate is not None
    changed = replace(PRESETS["openai"], drop=frozenset({"seed"}), extra={"a": 1}, reasoning_in=("r",))
    assert first.translate.quirks == replace(changed, call_placeholder={"b": 2})
    assert second.translate.quirks == PRESETS["vllm"]


def test_the_earlier_name_of_the_placeholder_is_read_where_it_is_written() -> None:
    """At each level the key that is nearest to the provider counts, under either name."""
    own = "{url: http://a, translate: {quirks: {call_placeholder: {b: 2}}}}, {url: http://b}"
    first, second = pool(
        f"targets: {{m: {{translate: {{quirks: {{call_stand_in: {{a: 1}}}}}}, providers: [{own}]}}}}"
    ).providers
    assert first.translate is not None
    assert second.translate is not None
    assert (first.translate.quirks.call_placeholder, second.translate.quirks.call_placeholder) == ({"b": 2}, {"a": 1})
    above = "defaults: {translate: {quirks: {call_placeholder: {c: 3}}}}\n"
    (third,) = pool(
        f"{above}targets: {{m: {{translate: {{quirks: {{call_stand_in: {{a: 1}}}}}}, providers: [{{url: http://a}}]}}}}"
    ).providers
    assert third.translate is not None
    assert third.translate.quirks.call_placeholder == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "targets: {m: {url: http://a, BOTH}}",
        "targets: {m: {BOTH, providers: [{url: http://a}]}}",
        "defaults: {BOTH}\ntargets: {m: {url: http://a}}",
    ],
)
def test_both_names_of_the_placeholder_at_one_level_are_an_error(text: str) -> None:
    """At the level where they are written, also if it is inherited."""
    both = "translate: {quirks: {call_placeholder: {b: 2}, call_stand_in: {a: 1}}}"
    assert "means the same as call_placeholder" in error(text.replace("BOTH", both))


def test_on_unsupported_is_one_word_or_one_for_each_field() -> None:
    """``default`` is for all that are not named."""
    text = "targets: {{m: {{url: http://h, translate: {{on_unsupported: {}}}}}}}"
    made = provider(text.format("{seed: drop, 'input[].content': drop, default: reject}")).translate
    assert made is not None
    assert made.policy.on_unsupported is OnUnsupported.REJECT
    assert made.policy.unsupported == {"seed": OnUnsupported.DROP, "input[].content": OnUnsupported.DROP}
    made = provider(text.format("{stop: reject, default: drop}")).translate
    assert made is not None
    assert made.policy.on_unsupported is OnUnsupported.DROP
    made = provider(text.format("drop")).translate
    assert made is not None
    assert (made.policy.on_unsupported, made.policy.unsupported) == (OnUnsupported.DROP, {})


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{sede: drop}", "is not a known field"),
        ("{seed: no}", "expected one of"),
        ("never", "expected one of"),
        ("[drop]", "expected"),
    ],
)
def test_an_on_unsupported_that_decides_nothing_is_an_error(written: str, message: str) -> None:
    """A field that is written wrongly would be refused all the same, unseen."""
    assert message in error(f"targets: {{m: {{url: http://h, translate: {{on_unsupported: {written}}}}}}}")
